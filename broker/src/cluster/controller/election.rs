//! Who should lead a partition and who is in sync, given who is alive. Pure: looks at the mirror and says what should
//! stand in the state znode; writes nothing.

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
    /// This should stand in the state znode.
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
    /// Epoch of this controller, to be written down.
    pub(crate) controller_epoch: i32,
}

impl Case<'_> {
    /// The replica is one, and can be elected.
    fn is_online(&self, broker: i32) -> bool {
        self.is_replica(broker) && self.mirror.is_online(broker, self.topic, self.number)
    }

    /// Replicas that a cancelled reassignment dropped may still be in the ISR, or lead.
    fn is_replica(&self, broker: i32) -> bool {
        self.partition.assignment.replicas.contains(&broker)
    }

    /// What should stand there, if nobody asks for anything special.
    pub(crate) fn judge(&self) -> Verdict {
        let Some(state) = &self.partition.state else { return self.first_state() };
        let online = |&broker: &i32| self.is_online(broker);
        let leader_stays = self.is_replica(state.leader) && self.mirror.can_stay(state.leader, self.topic, self.number);
        if leader_stays && self.mirror.shutting_down.contains(&state.leader) {
            return self.leave_shutting_down_leader(state);
        }
        if leader_stays {
            // A leader that is itself not in the ISR cannot be; keep what stands there.
            let isr: Vec<i32> =
                state.isr.iter().copied().filter(|broker| *broker == state.leader || online(broker)).collect();
            return if isr.len() == state.isr.len() { Verdict::Keep } else { self.write(state, state.leader, isr) };
        }
        let in_sync =
            |broker: &&i32| online(broker) && (state.isr.contains(broker) || mutants::is_on("elected-out-of-sync"));
        if let Some(&leader) = self.partition.assignment.replicas.iter().find(in_sync) {
            let isr = state.isr.iter().copied().filter(online).collect();
            return self.write(state, leader, isr);
        }
        self.no_in_sync_replica(state)
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
        })
    }

    /// Moves the lead from a broker that is leaving, if another in-sync replica stays.
    fn leave_shutting_down_leader(&self, state: &PartitionState) -> Verdict {
        let stays = |broker: &&i32| self.is_online(**broker) && state.isr.contains(broker);
        let Some(&leader) = self.partition.assignment.replicas.iter().find(stays) else { return Verdict::Keep };
        let isr = state.isr.iter().copied().filter(|&broker| self.is_online(broker)).collect();
        self.write(state, leader, isr)
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
        })
    }

    fn write(&self, state: &PartitionState, leader: i32, isr: Vec<i32>) -> Verdict {
        Verdict::Write(PartitionState {
            controller_epoch: self.controller_epoch,
            leader,
            leader_epoch: state.leader_epoch + i32::from(!mutants::is_on("leader-epoch-stays")),
            isr,
            recovering: state.recovering,
        })
    }

    /// The outcome of an election that was asked for; `Keep` if it is not needed or not possible.
    pub(crate) fn grant(&self, wish: Wish) -> Verdict {
        let Some(state) = &self.partition.state else { return Verdict::Keep };
        match wish {
            Wish::Preferred => match self.partition.assignment.replicas.first() {
                Some(&first) if first != state.leader && self.is_online(first) && state.isr.contains(&first) => {
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
            match target.iter().copied().find(|&replica| self.is_online(replica)) {
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
    use crate::cluster::json::BrokerRegistration;

    fn mirror(live: &[i32], leaving: &[i32]) -> Mirror {
        let registration = BrokerRegistration {
            endpoints: Vec::new(),
            rack: None,
            jmx_port: -1,
            timestamp_ms: 0,
            features: Default::default(),
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
        Case { mirror, topic: "t", number: 0, partition, unclean, controller_epoch: 2 }
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
