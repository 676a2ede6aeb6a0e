//! Who may lead beside the in-sync replicas (KIP-966): those that left them while they were fewer than
//! `min.insync.replicas`. From then on the leader moves no high watermark, so such a replica has all that was ever
//! acknowledged, unless it lost records since, which its registration tells. Pure: looks at the mirror; writes nothing.

use super::mirror::{Mirror, PartitionMirror};
use crate::cluster::image::NO_LEADER;
use crate::cluster::json::{DiskPast, Eligibility, PartitionState};
use common::mutants;

/// What can be said of the log of a replica that is registered, against what it was in an earlier life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// A log directory was empty or another one since.
    Lost,
    /// Its machine went down: its newest records may be gone, if they were not synced.
    Crashed,
    /// It has what it had.
    Whole,
}

/// How far a broker is what it was when its epoch was `then`; `None` if it is not registered.
pub(super) fn trust(mirror: &Mirror, broker: i32, then: Option<i64>) -> Option<Trust> {
    let live = mirror.brokers.get(&broker)?;
    // Nothing was noted of it.
    let Some(then) = then else { return Some(Trust::Whole) };
    if live.epoch == then {
        return Some(Trust::Whole);
    }
    let Some(past) = live.registration.past else { return Some(Trust::Crashed) };
    Some(kept(past, live.epoch, then))
}

/// What is left, since the zxid `then`, to a broker whose present epoch is `epoch`.
fn kept(past: DiskPast, epoch: i64, then: i64) -> Trust {
    let is_since = |since: Option<i64>| since.unwrap_or(epoch) <= then;
    if is_since(past.clean_since) || mutants::is_on("unclean-stays-eligible") {
        Trust::Whole
    } else if is_since(past.kept_since) || mutants::is_on("empty-disk-trusted") {
        Trust::Crashed
    } else {
        Trust::Lost
    }
}

/// As [`trust`], for a member of the ISR in `state`, the partition's. Where no epochs are noted, those count that are later
/// than the state: the broker has ended and come back since, which nobody noticed while there was no controller. One of
/// Apache Kafka's is believed then, as its own controller does.
pub(super) fn trust_in_sync(mirror: &Mirror, partition: &PartitionMirror, broker: i32) -> Option<Trust> {
    let noted = partition.state.as_ref().and_then(|state| state.eligibility.as_ref());
    if let Some(&then) = noted.and_then(|noted| noted.isr.get(&broker)) {
        return trust(mirror, broker, Some(then));
    }
    let live = mirror.brokers.get(&broker)?;
    Some(match (live.registration.past, partition.written_at) {
        (Some(past), Some(written_at)) if live.epoch > written_at => kept(past, live.epoch, written_at),
        _ => Trust::Whole,
    })
}

/// True if the leader has ended and come back without all that it had, which nobody noticed while there was no controller.
pub(super) fn is_less_than_it_was(mirror: &Mirror, partition: &PartitionMirror) -> bool {
    let leader = partition.state.as_ref().map_or(NO_LEADER, |state| state.leader);
    trust_in_sync(mirror, partition, leader).is_some_and(|trust| trust < Trust::Whole)
}

/// `min.insync.replicas` of a partition: no more than it has replicas.
pub(super) fn effective_min(min_isr: i32, partition: &PartitionMirror) -> i32 {
    min_isr.min(i32::try_from(partition.assignment.replicas.len()).unwrap_or(i32::MAX))
}

/// What should stand beside `new`, which is about to be written in place of the partition's state. `min_isr` is the topic's
/// setting; if it is not known yet, what stands there counts.
pub(super) fn next(
    mirror: &Mirror,
    partition: &PartitionMirror,
    new: &PartitionState,
    min_isr: Option<i32>,
) -> Option<Eligibility> {
    let before = partition.state.as_ref();
    let stood = before.and_then(|state| state.eligibility.as_ref());
    let min_isr = effective_min(min_isr.or(stood.map(|stood| stood.min_isr))?, partition);
    let replicas = &partition.assignment.replicas;
    let isr_len = i32::try_from(new.isr.len()).unwrap_or(i32::MAX);
    // Where all are in sync, nothing is noted. After an unclean election nobody has all that was acknowledged.
    if min_isr < 2 || isr_len > min_isr || new.isr.len() >= replicas.len() || new.recovering {
        return None;
    }
    // Without a leader nothing is committed. One that knows nothing of this could commit below `min_isr`.
    let heeds = |leader: &i32| mirror.brokers.get(leader).is_some_and(|live| live.registration.past.is_some());
    if new.leader != NO_LEADER && !heeds(&new.leader) {
        return None;
    }
    let now = |broker: i32| mirror.brokers.get(&broker).map(|live| live.epoch);
    let last = |broker: i32| now(broker).or_else(|| mirror.last_epochs.get(&broker).copied());
    let noted = |broker: i32| {
        let stood = stood?;
        stood.isr.get(&broker).or_else(|| stood.eligible.get(&broker)).copied()
    };
    let was_in_sync = |broker: i32| before.is_some_and(|state| state.isr.contains(&broker));
    let epoch_in_sync = |broker: i32| {
        // What the leader has is what counts; a newcomer has just caught up with it. The others are what they were.
        let is_new = broker == new.leader || !was_in_sync(broker);
        let epoch = if is_new { now(broker).or(noted(broker)) } else { noted(broker).or(last(broker)) };
        Some((broker, epoch?))
    };
    let isr = new.isr.iter().filter_map(|&broker| epoch_in_sync(broker)).collect();
    let mut eligible = std::collections::BTreeMap::new();
    if isr_len < min_isr {
        let was_eligible = stood.into_iter().flat_map(|stood| stood.eligible.keys().copied());
        let left = before.into_iter().flat_map(|state| state.isr.iter().copied()).chain(was_eligible);
        for broker in left.filter(|broker| replicas.contains(broker) && !new.isr.contains(broker)) {
            let Some(epoch) = noted(broker).or(last(broker)) else { continue };
            // It came back already, and not as it was.
            if trust(mirror, broker, Some(epoch)).is_none_or(|trust| trust == Trust::Whole) {
                eligible.insert(broker, epoch);
            }
        }
    }
    Some(Eligibility { min_isr, isr, eligible })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::assignment::Assignment;
    use crate::cluster::controller::mirror::LiveBroker;
    use crate::cluster::json::BrokerRegistration;
    use std::collections::BTreeMap;

    /// Id, epoch, and clean and kept since (0: this registration); none of these for an Apache broker.
    type Live = (i32, i64, Option<(i64, i64)>);

    fn mirror(live: &[Live]) -> Mirror {
        let since = |epoch: i64| (epoch > 0).then_some(epoch);
        let broker = |&(id, epoch, past): &Live| {
            let past = past.map(|(clean, kept)| DiskPast { clean_since: since(clean), kept_since: since(kept) });
            let registration = BrokerRegistration {
                undelete_ms: 0,
                endpoints: Vec::new(),
                rack: None,
                jmx_port: -1,
                timestamp_ms: 0,
                features: Default::default(),
                past,
            };
            (id, LiveBroker { registration, epoch })
        };
        Mirror { brokers: live.iter().map(broker).collect(), ..Mirror::default() }
    }

    fn noted(min_isr: i32, isr: &[(i32, i64)], eligible: &[(i32, i64)]) -> Option<Eligibility> {
        let map = |epochs: &[(i32, i64)]| epochs.iter().copied().collect::<BTreeMap<_, _>>();
        Some(Eligibility { min_isr, isr: map(isr), eligible: map(eligible) })
    }

    fn state(leader: i32, isr: &[i32], eligibility: Option<Eligibility>) -> PartitionState {
        let isr = isr.to_vec();
        PartitionState { controller_epoch: 1, leader, leader_epoch: 5, isr, recovering: false, eligibility }
    }

    const OURS: [Live; 3] = [(1, 10, Some((0, 0))), (2, 20, Some((0, 0))), (3, 30, Some((0, 0)))];

    #[test]
    fn a_broker_is_trusted_as_far_as_its_disks_tell() {
        let check = |live: Live, then: Option<i64>, expected: Option<Trust>| {
            assert_eq!(trust(&mirror(&[live]), 1, then), expected, "{live:?} since {then:?}");
        };
        check((1, 50, Some((10, 10))), Some(20), Some(Trust::Whole));
        check((1, 50, Some((0, 10))), Some(50), Some(Trust::Whole));
        check((1, 50, Some((0, 10))), Some(20), Some(Trust::Crashed));
        check((1, 50, Some((30, 10))), Some(20), Some(Trust::Crashed));
        check((1, 50, Some((0, 0))), Some(20), Some(Trust::Lost));
        check((1, 50, Some((0, 0))), None, Some(Trust::Whole));
        check((1, 50, None), Some(20), Some(Trust::Crashed));
        check((2, 50, None), Some(20), None);
    }

    /// What stands there, what is to be written (leader and ISR), `min.insync.replicas`, who is alive: what stands beside it.
    type Step<'a> = (PartitionState, (i32, &'a [i32]), Option<i32>, &'a [Live], Option<Eligibility>);

    #[test]
    fn who_leaves_below_the_minimum_stays_eligible() {
        let steps: &[Step<'_>] = &[
            // Enough are left: one more loss would matter, so it is noted who they are.
            (state(1, &[1, 2, 3], None), (1, &[1, 2]), Some(2), &OURS[..2], noted(2, &[(1, 10), (2, 20)], &[])),
            (state(1, &[1, 2, 3], None), (1, &[1, 2, 3]), Some(2), &OURS, None),
            // Only who leaves now is eligible; who left before was not waited for.
            (
                state(1, &[1, 2], noted(2, &[(1, 10), (2, 20)], &[])),
                (1, &[1]),
                Some(2),
                &OURS[..1],
                noted(2, &[(1, 10)], &[(2, 20)]),
            ),
            // The eligible one leads, the last in-sync replica is eligible from now on.
            (
                state(1, &[1], noted(2, &[(1, 10)], &[(2, 20)])),
                (2, &[2]),
                Some(2),
                &OURS[1..2],
                noted(2, &[(2, 20)], &[(1, 10)]),
            ),
            // Nobody leads: nothing changes.
            (
                state(1, &[1], noted(2, &[(1, 10)], &[(2, 20)])),
                (-1, &[1]),
                Some(2),
                &[],
                noted(2, &[(1, 10)], &[(2, 20)]),
            ),
            // Who came back without all of it is none any more.
            (
                state(1, &[1], noted(2, &[(1, 10)], &[(2, 20)])),
                (1, &[1]),
                Some(2),
                &[OURS[0], (2, 40, Some((0, 20)))],
                noted(2, &[(1, 10)], &[]),
            ),
            (
                state(1, &[1], noted(2, &[(1, 10)], &[(2, 20)])),
                (1, &[1]),
                Some(2),
                &[OURS[0], (2, 40, Some((20, 20)))],
                noted(2, &[(1, 10)], &[(2, 20)]),
            ),
            // Enough are in sync again, or the topic asks for no more.
            (
                state(1, &[1], noted(2, &[(1, 10)], &[(2, 20)])),
                (1, &[1, 3]),
                Some(2),
                &[OURS[0], OURS[2]],
                noted(2, &[(1, 10), (3, 30)], &[]),
            ),
            (state(1, &[1], noted(2, &[(1, 10)], &[(2, 20)])), (1, &[1]), Some(1), &OURS[..1], None),
            // The setting is not known yet: what stood there holds.
            (
                state(1, &[1], noted(2, &[(1, 10)], &[(2, 20)])),
                (1, &[1]),
                None,
                &OURS[..1],
                noted(2, &[(1, 10)], &[(2, 20)]),
            ),
            (state(1, &[1, 2], None), (1, &[1]), None, &OURS[..1], None),
            // A leader of Apache Kafka's keeps no promise.
            (state(1, &[1, 2], None), (1, &[1]), Some(2), &[(1, 10, None)], None),
            // Its epoch is not known: it could be in another life by now.
            (state(1, &[1, 2], None), (1, &[1]), Some(2), &OURS[..1], noted(2, &[(1, 10)], &[])),
        ];
        for (before, (leader, isr), min_isr, live, expected) in steps {
            let partition = PartitionMirror {
                assignment: Assignment::new(vec![1, 2, 3]),
                state: Some(before.clone()),
                ..PartitionMirror::default()
            };
            let new = state(*leader, isr, None);
            let found = next(&mirror(live), &partition, &new, *min_isr);
            assert_eq!(found, *expected, "{before:?} to {leader} {isr:?} with {min_isr:?}, alive {live:?}");
        }
    }
}
