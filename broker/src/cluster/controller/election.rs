//! Who should lead a partition and who is in sync, given who is alive. Pure: looks at the mirror and says what should
//! stand in the state znode; writes nothing.

use super::eligible::{Trust, effective_min, is_less_than_it_was, trust, trust_in_sync};
use super::mirror::{Mirror, PartitionMirror};
use crate::cluster::image::NO_LEADER;
use crate::cluster::json::PartitionState;
use common::mutants;

/// An election that somebody asked for, beside those that deaths make necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The first replica, if it is in sync.
    Preferred,
    /// Whoever is alive, though records may be lost.
    Unclean,
}

/// What should be done about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything is as it should be.
    Keep,
    /// This should stand in the state znode, with the eligibility that follows from it.
    Write(PartitionState),
    /// No in-sync replica is alive; whether another may lead depends on the topic's setting, which is not known yet.
    NeedsUncleanSetting,
    /// A new partition none of whose replicas is alive.
    NobodyAlive,
}

/// One partition in its surroundings.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) mirror: &'a Mirror,
    pub(crate) topic: &'a str,
    pub(crate) number: i32,
    pub(crate) partition: &'a PartitionMirror,
    /// `unclean.leader.election.enable` of the topic.
    pub(crate) unclean: Option<bool>,
    /// `min.insync.replicas` of the topic.
    pub(crate) min_isr: Option<i32>,
    /// Epoch of this controller, to be written down.
    pub(crate) controller_epoch: i32,
}

impl Case<'_> {
    /// The replica is one, and can be elected.
    fn is_online(&self, broker: i32) -> bool {
        self.is_replica(broker) && self.mirror.is_online(broker, self.topic, self.number)
    }

    /// The in-sync replica can be elected, and has all that it had when it became one.
    fn is_whole(&self, broker: i32) -> bool {
        self.is_online(broker) && trust_in_sync(self.mirror, self.partition, broker) == Some(Trust::Whole)
    }

    /// Replicas that a cancelled reassignment dropped may still be in the ISR, or lead.
    fn is_replica(&self, broker: i32) -> bool {
        self.partition.assignment.replicas.contains(&broker)
    }

    /// What should stand there, if nobody asks for anything special.
    pub(crate) fn judge(&self) -> Verdict {
        let Some(state) = &self.partition.state else { return self.first_state() };
        let leader_stays = self.is_replica(state.leader)
            && self.mirror.can_stay(state.leader, self.topic, self.number)
            && !is_less_than_it_was(self.mirror, self.partition)
            && !self.partition.has_leader_ended();
        if leader_stays && self.mirror.shutting_down.contains(&state.leader) {
            return self.leave_shutting_down_leader(state);
        }
        if leader_stays {
            // A leader that is itself not in the ISR cannot be; keep what stands there.
            let isr = self.still_in_sync(state, state.leader);
            let is_right =
                isr.len() == state.isr.len() && self.is_minimum_right(state) && !self.partition.is_taken_back;
            return if is_right { Verdict::Keep } else { self.write(state, state.leader, isr) };
        }
        self.elect(state)
    }

    /// The ISR under a leader that has all that was acknowledged: those that are alive and have it, too.
    fn still_in_sync(&self, state: &PartitionState, leader: i32) -> Vec<i32> {
        state.isr.iter().copied().filter(|broker| *broker == leader || self.is_whole(*broker)).collect()
    }

    /// The leader holds to the setting as it was when the state was written. Who lowers it wants it to go on.
    fn is_minimum_right(&self, state: &PartitionState) -> bool {
        let (Some(noted), Some(min_isr)) = (&state.eligibility, self.min_isr) else { return true };
        noted.min_isr == effective_min(min_isr, self.partition)
    }

    /// The leader is gone. Whoever is certain to have all that was acknowledged comes first: an in-sync replica whose log
    /// is what it was, then one that is eligible. Then an in-sync replica whose machine went down, unless another in-sync one
    /// may return whole: one that was left alone had synced its log. At last one that lost its disk, if no one better can
    /// come back.
    fn elect(&self, state: &PartitionState) -> Verdict {
        let replicas = &self.partition.assignment.replicas;
        let noted = state.eligibility.as_ref();
        let in_sync = |least: Trust| {
            let is_trusted =
                |broker: i32| trust_in_sync(self.mirror, self.partition, broker).is_some_and(|found| found >= least);
            let can_lead = |broker: &i32| {
                let is_in_sync = state.isr.contains(broker) || mutants::is_on("elected-out-of-sync");
                is_in_sync && self.is_online(*broker) && is_trusted(*broker)
            };
            // The next life of the leader comes last.
            let other = replicas.iter().find(|broker| **broker != state.leader && can_lead(broker));
            other.or_else(|| replicas.iter().find(|broker| can_lead(broker))).copied()
        };
        if let Some(leader) = in_sync(Trust::Whole) {
            return self.write(state, leader, self.still_in_sync(state, leader));
        }
        let eligible = noted.into_iter().flat_map(|noted| &noted.eligible);
        let of_eligible = |(&broker, &then): (&i32, &i64)| (broker, trust(self.mirror, broker, Some(then)));
        let eligible: Vec<(i32, Option<Trust>)> = eligible.map(of_eligible).collect();
        let is_eligible =
            |broker: &&i32| self.is_online(**broker) && eligible.contains(&(**broker, Some(Trust::Whole)));
        if let Some(&leader) = replicas.iter().find(is_eligible)
            && !mutants::is_on("eligible-not-elected")
        {
            return self.write(state, leader, vec![leader]);
        }
        let may_be_whole = |trust: Option<Trust>| trust.is_none_or(|trust| trust == Trust::Whole);
        let in_sync_may_return = state.isr.iter().any(|broker| {
            let then = noted.and_then(|noted| noted.isr.get(broker).copied());
            then.is_some() && may_be_whole(trust(self.mirror, *broker, then))
        });
        let eligible_may_return = eligible.iter().any(|(_, trust)| may_be_whole(*trust));
        let least = match (in_sync_may_return, eligible_may_return) {
            (true, _) => Trust::Whole,
            (false, true) => Trust::Crashed,
            (false, false) => Trust::Lost,
        };
        let best = [Trust::Crashed, Trust::Lost].into_iter().filter(|trust| *trust >= least).find_map(in_sync);
        match best {
            Some(leader) => {
                let isr = state.isr.iter().copied().filter(|broker| self.is_online(*broker)).collect();
                self.write(state, leader, isr)
            }
            None => self.no_in_sync_replica(state),
        }
    }

    fn first_state(&self) -> Verdict {
        let isr: Vec<i32> =
            self.partition.assignment.replicas.iter().copied().filter(|&broker| self.is_online(broker)).collect();
        let Some(&leader) = isr.first() else { return Verdict::NobodyAlive };
        Verdict::Write(PartitionState {
            controller_epoch: self.controller_epoch,
            leader,
            leader_epoch: 0,
            isr,
            recovering: false,
            eligibility: None,
        })
    }

    /// Moves the lead from a broker that is leaving, if another in-sync replica stays.
    fn leave_shutting_down_leader(&self, state: &PartitionState) -> Verdict {
        let stays = |broker: &&i32| self.is_whole(**broker) && state.isr.contains(broker);
        let Some(&leader) = self.partition.assignment.replicas.iter().find(stays) else { return Verdict::Keep };
        self.write(state, leader, self.still_in_sync(state, leader))
    }

    fn no_in_sync_replica(&self, state: &PartitionState) -> Verdict {
        let alive = self.partition.assignment.replicas.iter().copied().find(|&broker| self.is_online(broker));
        match (alive, self.unclean) {
            (Some(_), None) => Verdict::NeedsUncleanSetting,
            (Some(leader), Some(true)) => self.unclean_write(state, leader),
            // The ISR stays: each of its members holds every acknowledged record, and the first to return leads.
            _ if state.leader != NO_LEADER => self.write(state, NO_LEADER, state.isr.clone()),
            _ => Verdict::Keep,
        }
    }

    fn unclean_write(&self, state: &PartitionState, leader: i32) -> Verdict {
        Verdict::Write(PartitionState {
            controller_epoch: self.controller_epoch,
            leader,
            leader_epoch: state.leader_epoch + 1,
            isr: vec![leader],
            recovering: true,
            eligibility: None,
        })
    }

    fn write(&self, state: &PartitionState, leader: i32, isr: Vec<i32>) -> Verdict {
        Verdict::Write(PartitionState {
            controller_epoch: self.controller_epoch,
            leader,
            leader_epoch: state.leader_epoch + i32::from(!mutants::is_on("leader-epoch-stays")),
            isr,
            recovering: state.recovering,
            eligibility: None,
        })
    }

    /// The outcome of an election that was asked for; `Keep` if it is not needed or not possible.
    pub(crate) fn grant(&self, wish: Wish) -> Verdict {
        let Some(state) = &self.partition.state else { return Verdict::Keep };
        match wish {
            Wish::Preferred => match self.partition.assignment.replicas.first() {
                Some(&first) if first != state.leader && self.is_whole(first) && state.isr.contains(&first) => {
                    self.write(state, first, state.isr.clone())
                }
                _ => Verdict::Keep,
            },
            Wish::Unclean if self.mirror.can_stay(state.leader, self.topic, self.number) => Verdict::Keep,
            Wish::Unclean => match self.judge() {
                Verdict::Write(new) if new.leader >= 0 => Verdict::Write(new),
                _ => {
                    let replicas = &self.partition.assignment.replicas;
                    match replicas.iter().copied().find(|&broker| self.is_online(broker)) {
                        Some(leader) => self.unclean_write(state, leader),
                        None => Verdict::Keep,
                    }
                }
            },
        }
    }

    /// The next state of a partition that is being reassigned: a new epoch to tell the replicas of the larger set, later one
    /// to tell them of the smaller; `Keep` while the new replicas catch up.
    pub(crate) fn reassign(&self) -> Verdict {
        let Some(state) = &self.partition.state else { return Verdict::Keep };
        let target = self.partition.assignment.target();
        if !target.iter().all(|replica| state.isr.contains(replica)) {
            if self.partition.reassignment_begun {
                return Verdict::Keep;
            }
            // Nothing changes but the epoch, so that every replica learns of the new set.
            return self.write(state, state.leader, state.isr.clone());
        }
        let leader = if target.contains(&state.leader) && self.is_online(state.leader) {
            state.leader
        } else {
            match target.iter().copied().find(|&replica| self.is_whole(replica)) {
                Some(leader) => leader,
                None => return Verdict::Keep,
            }
        };
        let isr: Vec<i32> = state.isr.iter().copied().filter(|replica| target.contains(replica)).collect();
        self.write(state, leader, isr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::assignment::Assignment;
    use crate::cluster::controller::mirror::LiveBroker;
    use crate::cluster::json::{BrokerRegistration, DiskPast, Eligibility};
    use std::collections::BTreeMap;

    fn mirror(live: &[i32], leaving: &[i32]) -> Mirror {
        let registration = BrokerRegistration {
            undelete_ms: 0,
            endpoints: Vec::new(),
            rack: None,
            jmx_port: -1,
            timestamp_ms: 0,
            features: Default::default(),
            past: None,
        };
        let broker = |&id: &i32| (id, LiveBroker { registration: registration.clone(), epoch: 1 });
        Mirror {
            brokers: live.iter().chain(leaving).map(broker).collect(),
            shutting_down: leaving.iter().copied().collect(),
            ..Mirror::default()
        }
    }

    fn partition(replicas: &[i32], leader: i32, isr: &[i32]) -> PartitionMirror {
        PartitionMirror {
            assignment: Assignment::new(replicas.to_vec()),
            state: Some(PartitionState {
                controller_epoch: 1,
                leader,
                leader_epoch: 5,
                isr: isr.to_vec(),
                recovering: false,
                eligibility: None,
            }),
            ..PartitionMirror::default()
        }
    }

    /// Leader and ISR that the verdict writes, `None` for keep.
    fn outcome(verdict: Verdict) -> Option<(i32, Vec<i32>)> {
        match verdict {
            Verdict::Write(state) => Some((state.leader, state.isr)),
            _ => None,
        }
    }

    fn case<'a>(mirror: &'a Mirror, partition: &'a PartitionMirror, unclean: Option<bool>) -> Case<'a> {
        Case { mirror, topic: "t", number: 0, partition, unclean, min_isr: None, controller_epoch: 2 }
    }

    fn check(live: &[i32], leaving: &[i32], partition: PartitionMirror, expected: Option<(i32, &[i32])>) {
        let mirror = mirror(live, leaving);
        let verdict = case(&mirror, &partition, Some(false)).judge();
        let text = format!("live {live:?} leaving {leaving:?} {partition:?}");
        assert_eq!(outcome(verdict), expected.map(|(leader, isr)| (leader, isr.to_vec())), "{text}");
    }

    #[test]
    fn leaders_follow_the_living() {
        check(&[1, 2, 3], &[], partition(&[1, 2, 3], 1, &[1, 2, 3]), None);
        check(&[2, 3], &[], partition(&[1, 2, 3], 1, &[1, 2, 3]), Some((2, &[2, 3])));
        check(&[2, 3], &[], partition(&[1, 2, 3], 1, &[1, 3]), Some((3, &[3])));
        check(&[1, 3], &[], partition(&[1, 2, 3], 1, &[1, 2, 3]), Some((1, &[1, 3])));
        check(&[2], &[], partition(&[1, 2], 1, &[1]), Some((-1, &[1])));
        check(&[], &[], partition(&[1, 2], 1, &[1, 2]), Some((-1, &[1, 2])));
        check(&[2], &[], partition(&[1, 2], -1, &[1]), None);
        check(&[1, 2], &[], partition(&[1, 2], -1, &[1]), Some((1, &[1])));
        check(&[2, 1], &[3], partition(&[3, 1, 2], 3, &[3, 1, 2]), Some((1, &[1, 2])));
        check(&[], &[3], partition(&[3, 1], 3, &[3, 1]), None);
        check(&[1], &[3], partition(&[1, 3], 1, &[1, 3]), Some((1, &[1])));
    }

    /// The leader of three replicas, 1, is gone with the in-sync replicas as noted: who is to lead, and the ISR then.
    #[test]
    fn whoever_certainly_has_everything_comes_first() {
        // Id, epoch, clean and kept since.
        type Live = (i32, i64, i64, i64);
        let check = |live: &[Live], eligible: &[(i32, i64)], expected: Option<(i32, &[i32])>| {
            let mut mirror = mirror(&live.iter().map(|live| live.0).collect::<Vec<_>>(), &[]);
            for &(id, epoch, clean, kept) in live {
                let known = mirror.brokers.get_mut(&id).unwrap();
                known.epoch = epoch;
                known.registration.past = Some(DiskPast { clean_since: Some(clean), kept_since: Some(kept) });
            }
            let mut partition = partition(&[1, 2, 3], 1, &[1]);
            // It ended: what is registered now is another life.
            mirror.unreachable.extend(live.iter().filter(|live| live.1 == 10).map(|live| live.0));
            partition.state.as_mut().unwrap().eligibility = Some(Eligibility {
                min_isr: 2,
                isr: BTreeMap::from([(1, 10)]),
                eligible: eligible.iter().copied().collect(),
            });
            partition.state.as_mut().unwrap().leader = NO_LEADER;
            let verdict = case(&mirror, &partition, Some(false)).judge();
            assert_eq!(outcome(verdict), expected.map(|(leader, isr)| (leader, isr.to_vec())), "{live:?} {eligible:?}");
        };
        let eligible = [(2, 20)];
        // The eligible one, in the life it left in or in a later one of a clean past.
        check(&[(2, 20, 20, 20)], &eligible, Some((2, &[2])));
        check(&[(2, 40, 15, 15)], &eligible, Some((2, &[2])));
        check(&[(1, 10, 10, 10), (2, 20, 20, 20)], &eligible, Some((2, &[2])));
        // It crashed, or lost its disk: it is none.
        check(&[(2, 40, 40, 20)], &eligible, None);
        check(&[(2, 40, 40, 40), (3, 30, 30, 30)], &eligible, None);
        // The in-sync one that is what it was comes before it, one that is not behind it.
        check(&[(1, 50, 5, 5), (2, 20, 20, 20)], &eligible, Some((1, &[1])));
        check(&[(1, 50, 50, 5), (2, 20, 20, 20)], &eligible, Some((2, &[2])));
        check(&[(1, 50, 50, 5)], &eligible, Some((1, &[1])));
        // One that lost its disk leads only if nobody better can come; it is not asked to, either.
        let lost = mirror(&[1], &[]);
        let mut waiting = partition(&[1, 2], NO_LEADER, &[1]);
        let noted = Eligibility { min_isr: 2, isr: BTreeMap::from([(1, 0)]), eligible: BTreeMap::from([(2, 0)]) };
        waiting.state.as_mut().unwrap().eligibility = Some(noted);
        let mut known = lost.clone();
        known.brokers.get_mut(&1).unwrap().registration.past = Some(DiskPast::default());
        assert_eq!(case(&known, &waiting, Some(false)).grant(Wish::Preferred), Verdict::Keep);
        check(&[(1, 50, 50, 50)], &eligible, None);
        check(&[(1, 50, 50, 50), (2, 60, 60, 60)], &eligible, Some((1, &[1])));
        check(&[(1, 50, 50, 50)], &[], Some((1, &[1])));
    }

    #[test]
    fn a_leader_is_told_when_the_minimum_changes() {
        let mirror = mirror(&[1], &[]);
        let mut partition = partition(&[1, 2, 3], 1, &[1]);
        let noted = Eligibility { min_isr: 2, isr: BTreeMap::from([(1, 1)]), eligible: BTreeMap::new() };
        partition.state.as_mut().unwrap().eligibility = Some(noted);
        for (min_isr, expected) in [(None, None), (Some(2), None), (Some(1), Some((1, vec![1])))] {
            let case = Case { min_isr, ..case(&mirror, &partition, None) };
            assert_eq!(outcome(case.judge()), expected, "{min_isr:?}");
        }
    }

    #[test]
    fn the_next_life_of_a_leader_begins_a_new_epoch() {
        let ended = |isr: &[i32], epoch| PartitionMirror { ended_epoch: Some(epoch), ..partition(&[1, 2, 3], 1, isr) };
        check(&[1, 2, 3], &[], ended(&[1, 2, 3], 5), Some((2, &[1, 2, 3])));
        check(&[1, 2, 3], &[], ended(&[1], 5), Some((1, &[1])));
        check(&[1, 2, 3], &[], ended(&[1, 2, 3], 4), None);
    }

    /// Id, epoch and clean since (the disks were kept); the state was written at 30, with all three in sync and 1 leading.
    #[test]
    fn who_crashed_while_nobody_looked_is_not_in_sync() {
        type Expected<'a> = Option<(i32, &'a [i32])>;
        let check = |live: &[(i32, i64, i64)], expected: Expected<'_>| {
            let mut mirror = mirror(&live.iter().map(|live| live.0).collect::<Vec<_>>(), &[]);
            for &(id, epoch, clean) in live {
                let known = mirror.brokers.get_mut(&id).unwrap();
                known.epoch = epoch;
                // 0: one of Apache Kafka's.
                let past = DiskPast { clean_since: Some(clean), kept_since: Some(10) };
                known.registration.past = Some(past).filter(|_| clean > 0);
            }
            let partition = PartitionMirror { written_at: Some(30), ..partition(&[1, 2, 3], 1, &[1, 2, 3]) };
            let verdict = case(&mirror, &partition, Some(false)).judge();
            assert_eq!(outcome(verdict), expected.map(|(leader, isr)| (leader, isr.to_vec())), "{live:?}");
        };
        check(&[(1, 10, 10), (2, 20, 20), (3, 30, 30)], None);
        check(&[(1, 40, 10), (2, 20, 20), (3, 30, 30)], None);
        check(&[(1, 40, 40), (2, 20, 20), (3, 30, 30)], Some((2, &[2, 3])));
        check(&[(1, 40, 40), (2, 50, 50), (3, 30, 30)], Some((3, &[3])));
        check(&[(1, 10, 10), (2, 50, 50), (3, 30, 30)], Some((1, &[1, 3])));
        check(&[(1, 40, 0), (2, 20, 20), (3, 30, 30)], None);
        // The machines of all went down: the leader's next life comes last.
        check(&[(1, 40, 40), (2, 50, 50), (3, 60, 60)], Some((2, &[1, 2, 3])));
        check(&[(1, 40, 40)], Some((1, &[1])));
    }

    #[test]
    fn new_partitions_are_led_by_their_first_live_replica() {
        let new = PartitionMirror { assignment: Assignment::new(vec![1, 2, 3]), ..PartitionMirror::default() };
        check(&[2, 3], &[], new.clone(), Some((2, &[2, 3])));
        assert_eq!(case(&mirror(&[], &[]), &new, None).judge(), Verdict::NobodyAlive);
    }

    #[test]
    fn unclean_elections_only_where_allowed() {
        let (mirror, dead) = (mirror(&[2], &[]), partition(&[1, 2], 1, &[1]));
        assert_eq!(case(&mirror, &dead, None).judge(), Verdict::NeedsUncleanSetting);
        let Verdict::Write(state) = case(&mirror, &dead, Some(true)).judge() else { panic!("no election") };
        assert_eq!((state.leader, state.leader_epoch, state.isr, state.recovering), (2, 6, vec![2], true));
        let asked = case(&mirror, &dead, Some(false)).grant(Wish::Unclean);
        assert_eq!(outcome(asked), Some((2, vec![2])));
    }

    #[test]
    fn preferred_leaders_must_be_in_sync() {
        let mirror = mirror(&[1, 2], &[]);
        let granted = |partition: &PartitionMirror| outcome(case(&mirror, partition, None).grant(Wish::Preferred));
        assert_eq!(granted(&partition(&[1, 2], 2, &[2, 1])), Some((1, vec![2, 1])));
        assert_eq!(granted(&partition(&[1, 2], 2, &[2])), None);
        assert_eq!(granted(&partition(&[3, 2], 2, &[2, 3])), None);
        assert_eq!(granted(&partition(&[1, 2], 1, &[1, 2])), None);
    }

    #[test]
    fn reassignment_waits_for_the_new_replicas() {
        let mirror = mirror(&[1, 2, 3, 4], &[]);
        let mut moving = partition(&[1, 2], 1, &[1, 2]);
        moving.assignment = moving.assignment.reassign_to(&[3, 4]);
        let next = |partition: &PartitionMirror| outcome(case(&mirror, partition, None).reassign());
        assert_eq!(next(&moving), Some((1, vec![1, 2])));
        moving.reassignment_begun = true;
        assert_eq!(next(&moving), None);
        moving.state.as_mut().unwrap().isr = vec![1, 2, 3, 4];
        assert_eq!(next(&moving), Some((3, vec![3, 4])));
        moving.state.as_mut().unwrap().leader = 4;
        assert_eq!(next(&moving), Some((4, vec![3, 4])));
    }
}
