//! What each broker still has to be told: leaderships (LeaderAndIsr), the cluster (UpdateMetadata), replicas to give up
//! (StopReplica). Remembers partitions, not messages: a message is made when it can be sent, from what is then true, so a
//! slow broker is told once and the last word. One request at a time is on its way to a broker.

use super::eligible::is_less_than_it_was;
use super::mirror::{Mirror, Tp};
use crate::cluster::image::LEADER_DURING_DELETE;
use crate::outbox::PeerAddress;
use common::id::BrokerId;
use common::kafka::messages::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrTopicState,
    StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState, UpdateMetadataBroker, UpdateMetadataEndpoint,
    UpdateMetadataPartitionState, UpdateMetadataRequest, UpdateMetadataTopicState,
};
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// How long after a failed request the next one is tried; Kafka's controller waits as long.
pub(crate) const RETRY_AFTER_MS: u64 = 100;

/// Leader epoch in a StopReplica request that overrides any other: the topic is being deleted.
const EPOCH_DURING_DELETE: i32 = -2;

/// What one request told, kept until it is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Flight {
    /// LeaderAndIsr; true: the replica is new.
    Roles(BTreeMap<Tp, bool>),
    /// UpdateMetadata.
    Metadata { everything: bool, partitions: BTreeSet<Tp> },
    /// StopReplica; true: delete the log.
    Stops(BTreeMap<Tp, bool>),
}

/// A message to a broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Roles(LeaderAndIsrRequest),
    Metadata(UpdateMetadataRequest),
    Stops(StopReplicaRequest),
}

/// Kinds of requests, in the order in which they take turns. A slow broker is told leaderships again and again while topics are
/// made; if these always came first, its clients would not hear of the topics until the last of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Roles,
    Metadata,
    Stops,
}

impl Kind {
    fn next(self) -> Kind {
        match self {
            Kind::Roles => Kind::Metadata,
            Kind::Metadata => Kind::Stops,
            Kind::Stops => Kind::Roles,
        }
    }
}

/// All that is to be said to one registration of one broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channel {
    /// The whole metadata: the broker knows nothing yet.
    everything: bool,
    /// The list of live brokers changed.
    brokers: bool,
    roles: BTreeMap<Tp, bool>,
    metadata: BTreeSet<Tp>,
    stops: BTreeMap<Tp, bool>,
    /// Under its number: the answer to an earlier request, perhaps to an earlier life of the broker, may still come.
    flight: Option<(u64, Flight)>,
    retry_at: Option<Millis>,
    /// What is looked at first for the next request.
    turn: Kind,
    /// It answered at least once: from then on a refused connection means that it is gone.
    pub(crate) has_answered: bool,
    /// Refusals that may still be those of a broker that is just starting; without them, it was there before the reign.
    patience: u8,
}

impl Channel {
    /// A broker that joins and is to be told everything.
    pub(crate) fn new() -> Channel {
        Channel { everything: true, patience: u8::MAX, ..Channel::default() }
    }

    /// A broker that was registered before the reign began. Brokers listen before they register, so that a port that
    /// refuses twice is that of one that died together with the controller before.
    pub(crate) fn of_a_registered_broker() -> Channel {
        Channel { everything: true, patience: 1, ..Channel::default() }
    }

    /// It refused a connection: true if its process must be gone.
    pub(crate) fn is_refused(&mut self) -> bool {
        let is_gone = self.has_answered || self.patience == 0;
        if self.patience != u8::MAX {
            self.patience = self.patience.saturating_sub(1);
        }
        is_gone
    }

    /// It must learn its role in a partition.
    pub(crate) fn tell_role(&mut self, tp: Tp, is_new: bool) {
        self.stops.remove(&tp);
        *self.roles.entry(tp).or_default() |= is_new;
    }

    /// It must learn the state of a partition.
    pub(crate) fn tell_metadata(&mut self, tp: Tp) {
        self.metadata.insert(tp);
    }

    /// It must learn which brokers are alive.
    pub(crate) fn tell_brokers(&mut self) {
        self.brokers = true;
    }

    /// It must give a replica up.
    pub(crate) fn tell_stop(&mut self, tp: Tp, delete: bool) {
        self.roles.remove(&tp);
        *self.stops.entry(tp).or_default() |= delete;
    }

    pub(crate) fn retry_at(&self) -> Option<Millis> {
        self.retry_at
    }

    /// What to say next, if anything can be said now. A new broker hears of the others before it follows one of them.
    fn take_off(&mut self, number: u64, now: Millis) -> Option<Flight> {
        if self.flight.is_some() || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        self.retry_at = None;
        let kinds = [self.turn, self.turn.next(), self.turn.next().next()];
        let kind = if self.everything {
            Kind::Metadata
        } else {
            kinds.into_iter().find(|kind| match kind {
                Kind::Roles => !self.roles.is_empty(),
                Kind::Metadata => self.brokers || !self.metadata.is_empty(),
                Kind::Stops => !self.stops.is_empty(),
            })?
        };
        self.turn = kind.next();
        let flight = match kind {
            Kind::Roles => Flight::Roles(std::mem::take(&mut self.roles)),
            Kind::Metadata => {
                self.brokers = false;
                let everything = std::mem::take(&mut self.everything);
                Flight::Metadata { everything, partitions: std::mem::take(&mut self.metadata) }
            }
            Kind::Stops => Flight::Stops(std::mem::take(&mut self.stops)),
        };
        self.flight = Some((number, flight.clone()));
        Some(flight)
    }

    /// A request was answered: what it told, if it is the one on its way.
    pub(crate) fn landed(&mut self, number: u64) -> Option<Flight> {
        let (_, flight) = self.flight.take_if(|(flight, _)| *flight == number)?;
        self.has_answered = true;
        Some(flight)
    }

    /// A request failed. If it is the one on its way, it must be told again, unless something newer is to be told; false
    /// if it is not.
    pub(crate) fn crashed(&mut self, number: u64, now: Millis) -> bool {
        let Some((_, flight)) = self.flight.take_if(|(flight, _)| *flight == number) else { return false };
        self.retry_at = Some(now + RETRY_AFTER_MS);
        match flight {
            Flight::Roles(roles) => {
                for (tp, is_new) in roles {
                    if !self.stops.contains_key(&tp) {
                        *self.roles.entry(tp).or_default() |= is_new;
                    }
                }
            }
            Flight::Metadata { everything, partitions } => {
                self.everything |= everything;
                self.brokers = true;
                self.metadata.extend(partitions);
            }
            Flight::Stops(stops) => {
                for (tp, delete) in stops {
                    if !self.roles.contains_key(&tp) {
                        *self.stops.entry(tp).or_default() |= delete;
                    }
                }
            }
        }
        true
    }

    /// The next message to this broker; `None` if there is none, or not now.
    pub(crate) fn next_message(&mut self, number: u64, teller: &Teller<'_>, now: Millis) -> Option<Message> {
        loop {
            let message = match self.take_off(number, now)? {
                Flight::Roles(roles) => teller.roles(&roles).map(Message::Roles),
                Flight::Metadata { everything, partitions } => {
                    Some(Message::Metadata(teller.metadata(everything, &partitions)))
                }
                Flight::Stops(stops) => Some(Message::Stops(teller.stops(&stops))),
            };
            match message {
                Some(message) => return Some(message),
                // What was to be told is no longer true.
                None => self.flight = None,
            }
        }
    }
}

/// Who speaks, to whom, and of what.
pub(crate) struct Teller<'a> {
    pub(crate) mirror: &'a Mirror,
    pub(crate) controller: i32,
    pub(crate) controller_epoch: i32,
    /// Listener by which brokers reach each other.
    pub(crate) listener: &'a str,
    pub(crate) broker: i32,
    pub(crate) broker_epoch: i64,
}

impl Teller<'_> {
    fn roles(&self, roles: &BTreeMap<Tp, bool>) -> Option<LeaderAndIsrRequest> {
        let mut topics: Vec<LeaderAndIsrTopicState> = Vec::new();
        let mut leaders = BTreeSet::new();
        for (tp, &is_new) in roles {
            let Some(state) = self.role(tp, is_new) else { continue };
            leaders.insert(state.leader);
            match topics.last_mut() {
                Some(topic) if topic.topic_name == tp.0 => topic.partition_states.push(state),
                _ => topics.push(LeaderAndIsrTopicState {
                    topic_name: tp.0.clone(),
                    topic_id: self.mirror.topics.get(&tp.0).and_then(|topic| topic.id).unwrap_or_default(),
                    partition_states: vec![state],
                }),
            }
        }
        if topics.is_empty() {
            return None;
        }
        let live_leaders = leaders.into_iter().filter_map(|leader| {
            let endpoint = self.mirror.brokers.get(&leader)?.registration.endpoint(self.listener)?;
            Some(LeaderAndIsrLiveLeader {
                broker_id: leader,
                host_name: endpoint.host.clone(),
                port: i32::from(endpoint.port),
            })
        });
        Some(LeaderAndIsrRequest {
            controller_id: self.controller,
            controller_epoch: self.controller_epoch,
            broker_epoch: self.broker_epoch,
            topic_states: topics,
            live_leaders: live_leaders.collect(),
            ..Default::default()
        })
    }

    fn role(&self, tp: &Tp, is_new: bool) -> Option<LeaderAndIsrPartitionState> {
        if self.mirror.deletions.contains(&tp.0) {
            return None;
        }
        let partition = self.mirror.partition(tp)?;
        let state = partition.state.as_ref()?;
        let assignment = &partition.assignment;
        // A leader that is to lose its lead must not be told of it once more; all are told who leads then.
        let is_to_lose = is_less_than_it_was(self.mirror, partition) || partition.has_leader_ended();
        if !assignment.replicas.contains(&self.broker) || is_to_lose {
            return None;
        }
        Some(LeaderAndIsrPartitionState {
            partition_index: tp.1,
            controller_epoch: state.controller_epoch,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr.clone(),
            partition_epoch: partition.version,
            replicas: assignment.replicas.clone(),
            adding_replicas: assignment.adding.clone(),
            removing_replicas: assignment.removing.clone(),
            is_new,
            leader_recovery_state: i8::from(state.recovering),
            eligible_min_isr: state.eligible_min_isr(),
            ..Default::default()
        })
    }

    fn metadata(&self, everything: bool, partitions: &BTreeSet<Tp>) -> UpdateMetadataRequest {
        let mut topics: Vec<UpdateMetadataTopicState> = Vec::new();
        let mut push = |topic: &str, state: UpdateMetadataPartitionState| match topics.last_mut() {
            Some(last) if last.topic_name == topic => last.partition_states.push(state),
            _ => topics.push(UpdateMetadataTopicState {
                topic_name: topic.to_owned(),
                topic_id: self.mirror.topics.get(topic).and_then(|topic| topic.id).unwrap_or_default(),
                partition_states: vec![state],
            }),
        };
        if everything {
            for (topic, number, partition) in self.mirror.all_partitions() {
                if partition.state.is_some()
                    && !self.mirror.deletions.contains(topic)
                    && let Some(state) = self.partition_metadata(topic, number)
                {
                    push(topic, state);
                }
            }
        }
        for (topic, number) in partitions {
            if (!everything || self.is_gone(topic, *number))
                && let Some(state) = self.partition_metadata(topic, *number)
            {
                push(topic, state);
            }
        }
        UpdateMetadataRequest {
            controller_id: self.controller,
            controller_epoch: self.controller_epoch,
            broker_epoch: self.broker_epoch,
            topic_states: topics,
            live_brokers: self.live_brokers(),
            ..Default::default()
        }
    }

    fn is_gone(&self, topic: &str, number: i32) -> bool {
        self.mirror.deletions.contains(topic)
            || self.mirror.topics.get(topic).is_none_or(|topic| !topic.partitions.contains_key(&number))
    }

    fn partition_metadata(&self, topic: &str, number: i32) -> Option<UpdateMetadataPartitionState> {
        let partition = self.mirror.topics.get(topic).and_then(|topic| topic.partitions.get(&number));
        let state = partition.and_then(|partition| partition.state.as_ref());
        if self.is_gone(topic, number) {
            return Some(UpdateMetadataPartitionState {
                partition_index: number,
                controller_epoch: self.controller_epoch,
                leader: LEADER_DURING_DELETE,
                isr: state.map(|state| state.isr.clone()).unwrap_or_default(),
                replicas: partition.map(|partition| partition.assignment.replicas.clone()).unwrap_or_default(),
                ..Default::default()
            });
        }
        let (partition, state) = (partition?, state?);
        let replicas = &partition.assignment.replicas;
        Some(UpdateMetadataPartitionState {
            partition_index: number,
            controller_epoch: state.controller_epoch,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr.clone(),
            zk_version: partition.version,
            replicas: replicas.clone(),
            offline_replicas: replicas
                .iter()
                .copied()
                .filter(|&replica| !self.mirror.is_online(replica, topic, number))
                .collect(),
            eligible_leader_replicas: state
                .eligibility
                .iter()
                .flat_map(|eligibility| eligibility.eligible.keys().copied())
                .collect(),
            ..Default::default()
        })
    }

    fn live_brokers(&self) -> Vec<UpdateMetadataBroker> {
        let endpoint = |endpoint: &crate::cluster::image::Endpoint| UpdateMetadataEndpoint {
            port: i32::from(endpoint.port),
            host: endpoint.host.clone(),
            listener: endpoint.listener.clone(),
            security_protocol: endpoint.security_protocol.id(),
        };
        self.mirror
            .brokers
            .iter()
            .filter(|(id, _)| !self.mirror.unreachable.contains(id))
            .map(|(&id, broker)| UpdateMetadataBroker {
                id,
                endpoints: broker.registration.endpoints.iter().map(endpoint).collect(),
                rack: broker.registration.rack.clone(),
                ..Default::default()
            })
            .collect()
    }

    fn stops(&self, stops: &BTreeMap<Tp, bool>) -> StopReplicaRequest {
        let mut topics: Vec<StopReplicaTopicState> = Vec::new();
        for (tp, &delete) in stops {
            let leader_epoch = if self.mirror.deletions.contains(&tp.0) {
                EPOCH_DURING_DELETE
            } else {
                self.mirror
                    .partition(tp)
                    .and_then(|partition| partition.state.as_ref())
                    .map_or(-1, |state| state.leader_epoch)
            };
            let state = StopReplicaPartitionState { partition_index: tp.1, leader_epoch, delete_partition: delete };
            match topics.last_mut() {
                Some(topic) if topic.topic_name == tp.0 => topic.partition_states.push(state),
                _ => topics.push(StopReplicaTopicState { topic_name: tp.0.clone(), partition_states: vec![state] }),
            }
        }
        StopReplicaRequest {
            controller_id: self.controller,
            controller_epoch: self.controller_epoch,
            broker_epoch: self.broker_epoch,
            topic_states: topics,
            ..Default::default()
        }
    }

    /// Where the broker is reached; `None` if it has no listener for brokers.
    pub(crate) fn address(&self) -> Option<PeerAddress> {
        let endpoint = self.mirror.brokers.get(&self.broker)?.registration.endpoint(self.listener)?;
        Some(PeerAddress { broker: BrokerId(self.broker), host: endpoint.host.clone(), port: endpoint.port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that takes long over its leaderships, while more come, hears of the topics in between, and what to delete.
    #[test]
    fn kinds_of_news_take_turns() {
        let mut channel = Channel::new();
        let tp = |number| ("t".to_owned(), number);
        let mut heard = Vec::new();
        for round in 0..7 {
            channel.tell_role(tp(round), true);
            channel.tell_metadata(tp(round));
            channel.tell_stop(tp(100 + round), true);
            let number = u64::try_from(round).unwrap();
            heard.push(match channel.take_off(number, Millis(0)).unwrap() {
                Flight::Roles(_) => "roles",
                Flight::Metadata { everything: true, .. } => "everything",
                Flight::Metadata { .. } => "metadata",
                Flight::Stops(_) => "stops",
            });
            channel.landed(number);
        }
        assert_eq!(heard, ["everything", "stops", "roles", "metadata", "stops", "roles", "metadata"]);
    }

    /// The answer to a request to an earlier life of a broker comes when the new life is being told everything.
    #[test]
    fn an_old_answer_does_not_land_a_new_flight() {
        let mut channel = Channel::new();
        let tp = ("t".to_owned(), 0);
        channel.tell_role(tp.clone(), false);
        let everything = Flight::Metadata { everything: true, partitions: BTreeSet::new() };
        assert_eq!(channel.take_off(7, Millis(0)), Some(everything.clone()));
        assert_eq!(channel.landed(6), None);
        assert!(!channel.crashed(6, Millis(0)));
        assert_eq!(channel.take_off(8, Millis(0)), None, "the first is still on its way");
        assert!(channel.crashed(7, Millis(0)));
        assert_eq!(channel.take_off(8, Millis(RETRY_AFTER_MS)), Some(everything.clone()));
        assert_eq!(channel.landed(8), Some(everything));
        assert_eq!(channel.take_off(9, Millis(RETRY_AFTER_MS)), Some(Flight::Roles(BTreeMap::from([(tp, false)]))));
    }
}
