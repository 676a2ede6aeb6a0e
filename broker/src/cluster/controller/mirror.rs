//! What the controller knows of the znodes: live brokers, topics, assignments, leaders. Holds and answers; decides nothing.

use crate::cluster::assignment::Assignment;
use crate::cluster::json::{BrokerRegistration, PartitionState, TopicRecord};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

/// Topic and partition number.
pub(crate) type Tp = (String, i32);

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveBroker {
    pub(crate) registration: BrokerRegistration,
    /// czxid of the registration.
    pub(crate) epoch: i64,
}

/// A leader's wish to change the ISR, held back while the partition is being written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IsrProposal {
    pub(crate) request: u64,
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) isr: Vec<i32>,
    pub(crate) recovering: bool,
    pub(crate) partition_epoch: i32,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartitionMirror {
    pub(crate) assignment: Assignment,
    /// `None` until it has a state znode.
    pub(crate) state: Option<PartitionState>,
    /// Version of the state znode: the partition epoch.
    pub(crate) version: i32,
    /// mzxid of the state znode, if it is known: broker epochs after it are of lives that began since.
    pub(crate) written_at: Option<i64>,
    /// A write of the state, or a reading after a failed write, is on its way.
    pub(crate) is_busy: bool,
    /// Proposals that wait for that.
    pub(crate) proposals: VecDeque<IsrProposal>,
    /// The leader epoch whose leader has ended, though its broker may be back. The next life does not go on leading in it:
    /// it may have lost records that the others have, and knows nothing of what its earlier life asked for.
    pub(crate) ended_epoch: Option<i32>,
    /// The replicas were told of the reassignment under way, with a leader epoch of its own.
    pub(crate) reassignment_begun: bool,
    /// A reassignment was taken back: those who knew of it are to hear of the replicas as they are, in a leader epoch of its
    /// own.
    pub(crate) is_taken_back: bool,
    /// Replicas that left the assignment and are to delete their log.
    pub(crate) removed: BTreeSet<i32>,
}

impl PartitionMirror {
    /// The leader that stands in the state has ended: another is to be elected, perhaps its next life.
    pub(crate) fn has_leader_ended(&self) -> bool {
        self.state.as_ref().is_some_and(|state| self.ended_epoch == Some(state.leader_epoch))
    }
}

/// Which nodes below a topic are known to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Only the topic itself: all below can be created at once.
    Bare,
    /// `partitions` is there, those without state have no node.
    HasPartitions,
    /// A creation met a node that was there: each is created for itself.
    Unknown,
}

/// One topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicMirror {
    pub(crate) id: Option<Uuid>,
    /// Version of the topic znode.
    pub(crate) version: i32,
    pub(crate) layout: Layout,
    pub(crate) partitions: BTreeMap<i32, PartitionMirror>,
    /// Settings in force, once they are read.
    pub(crate) settings: Option<ElectionSettings>,
    /// They are being read.
    pub(crate) is_reading_settings: bool,
}

/// The settings of a topic that decide who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElectionSettings {
    /// `unclean.leader.election.enable`.
    pub(crate) unclean: bool,
    /// `min.insync.replicas`.
    pub(crate) min_isr: i32,
}

/// What one znode of settings, of a topic or of all brokers (`/config/brokers/<default>`), says about it; `None` where it
/// says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ElectionOverrides {
    /// `unclean.leader.election.enable`.
    pub(crate) unclean: Option<bool>,
    /// `min.insync.replicas`.
    pub(crate) min_isr: Option<i32>,
}

impl ElectionOverrides {
    /// Takes what matters from all that the znode says.
    pub(crate) fn of(settings: &BTreeMap<String, String>) -> ElectionOverrides {
        let own = |name: &str| settings.get(name).map(|value| value.trim());
        ElectionOverrides {
            unclean: own("unclean.leader.election.enable").map(|value| value.eq_ignore_ascii_case("true")),
            min_isr: own("min.insync.replicas").and_then(|value| value.parse().ok()),
        }
    }
}

impl TopicMirror {
    /// The topic's znode as it should be written.
    pub(crate) fn record(&self) -> TopicRecord {
        let partitions = self.partitions.iter().map(|(&number, partition)| (number, partition.assignment.clone()));
        TopicRecord { topic_id: self.id, partitions: partitions.collect() }
    }
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) brokers: BTreeMap<i32, LiveBroker>,
    /// Broker epochs of those that left, as long as they are not back.
    pub(crate) last_epochs: BTreeMap<i32, i64>,
    /// Brokers that asked for a controlled shutdown: alive, but nothing is to be led by them any more.
    pub(crate) shutting_down: BTreeSet<i32>,
    /// Brokers that refuse connections though their session still lives.
    pub(crate) unreachable: BTreeSet<i32>,
    /// Replicas on failed log directories, by broker.
    pub(crate) offline_replicas: BTreeMap<i32, BTreeSet<Tp>>,
    pub(crate) topics: BTreeMap<String, TopicMirror>,
    pub(crate) names: BTreeMap<Uuid, String>,
    /// Topics marked for deletion.
    pub(crate) deletions: BTreeSet<String>,
}

/// How the cluster stands, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Registered brokers.
    pub brokers: usize,
    /// Topics.
    pub topics: usize,
    /// Partitions of all topics.
    pub partitions: usize,
    /// Partitions without a live leader, but for those of topics that are being deleted.
    pub offline_partitions: usize,
    /// Partitions whose leader is not the first of their replicas, but for those of topics that are being deleted.
    pub not_led_by_preferred: usize,
    /// Topics that are being deleted.
    pub deletions: usize,
}

impl Mirror {
    /// Looks at every partition.
    pub(crate) fn standing(&self) -> Standing {
        let mut standing = Standing {
            brokers: self.brokers.len(),
            topics: self.topics.len(),
            deletions: self.deletions.len(),
            ..Standing::default()
        };
        for (topic, _, partition) in self.all_partitions() {
            standing.partitions += 1;
            if self.deletions.contains(topic) {
                continue;
            }
            let leader = partition.state.as_ref().map(|state| state.leader);
            let is_online = leader.is_some_and(|leader| self.is_registered(leader));
            standing.offline_partitions += usize::from(!is_online);
            let is_preferred = partition.assignment.replicas.first().copied() == leader;
            standing.not_led_by_preferred += usize::from(!is_preferred);
        }
        standing
    }

    /// Registered, reachable and not leaving.
    pub(crate) fn is_live(&self, broker: i32) -> bool {
        self.is_registered(broker) && !self.shutting_down.contains(&broker) && !self.unreachable.contains(&broker)
    }

    /// Registered, maybe leaving.
    pub(crate) fn is_registered(&self, broker: i32) -> bool {
        self.brokers.contains_key(&broker)
    }

    /// The replica can be elected.
    pub(crate) fn is_online(&self, broker: i32, topic: &str, partition: i32) -> bool {
        self.is_live(broker) && !self.is_on_offline_dir(broker, topic, partition)
    }

    /// The replica can go on leading, though maybe not be elected: its broker may be leaving.
    pub(crate) fn can_stay(&self, broker: i32, topic: &str, partition: i32) -> bool {
        self.is_registered(broker)
            && !self.unreachable.contains(&broker)
            && !self.is_on_offline_dir(broker, topic, partition)
    }

    fn is_on_offline_dir(&self, broker: i32, topic: &str, partition: i32) -> bool {
        let Some(offline) = self.offline_replicas.get(&broker) else { return false };
        offline.contains(&(topic.to_owned(), partition))
    }

    pub(crate) fn live_brokers(&self) -> impl Iterator<Item = i32> {
        self.brokers.keys().copied().filter(|&broker| self.is_live(broker))
    }

    pub(crate) fn partition(&self, tp: &Tp) -> Option<&PartitionMirror> {
        self.topics.get(&tp.0)?.partitions.get(&tp.1)
    }

    pub(crate) fn partition_mut(&mut self, tp: &Tp) -> Option<&mut PartitionMirror> {
        self.topics.get_mut(&tp.0)?.partitions.get_mut(&tp.1)
    }

    /// Every partition with a replica on a broker.
    pub(crate) fn partitions_on(&self, broker: i32) -> Vec<Tp> {
        self.all_partitions()
            .filter(|(_, _, partition)| partition.assignment.replicas.contains(&broker))
            .map(|(topic, number, _)| (topic.to_owned(), number))
            .collect()
    }

    pub(crate) fn all_partitions(&self) -> impl Iterator<Item = (&str, i32, &PartitionMirror)> {
        self.topics.iter().flat_map(|(name, topic)| {
            topic.partitions.iter().map(move |(&number, partition)| (name.as_str(), number, partition))
        })
    }

    /// Takes a topic's znode over; the partitions that are new to the mirror. Assignments that are known stay: only the
    /// controller itself changes them.
    pub(crate) fn merge_topic(&mut self, name: &str, record: TopicRecord, version: i32) -> Vec<Tp> {
        let topic = self.topics.entry(name.to_owned()).or_insert_with(|| TopicMirror {
            id: record.topic_id,
            version,
            layout: Layout::Unknown,
            partitions: BTreeMap::new(),
            settings: None,
            is_reading_settings: false,
        });
        topic.version = version;
        topic.id = record.topic_id.or(topic.id);
        if let Some(id) = topic.id {
            self.names.insert(id, name.to_owned());
        }
        let mut added = Vec::new();
        for (number, assignment) in record.partitions {
            topic.partitions.entry(number).or_insert_with(|| {
                added.push((name.to_owned(), number));
                PartitionMirror { assignment, ..PartitionMirror::default() }
            });
        }
        added
    }

    pub(crate) fn remove_topic(&mut self, name: &str) -> Option<TopicMirror> {
        self.deletions.remove(name);
        let topic = self.topics.remove(name)?;
        if let Some(id) = topic.id {
            self.names.remove(&id);
        }
        for offline in self.offline_replicas.values_mut() {
            offline.retain(|(topic, _)| topic != name);
        }
        Some(topic)
    }
}
