//! Clients of the brokers: what producers and consumers have in common, which is finding out who leads what. Each uses one
//! version of each API, drawn at its start.

pub mod administrator;
mod committed;
pub mod consumer;
mod group;
pub mod member;
pub mod new_member;
pub mod producer;
mod share_keeper;
pub mod share_member;
pub mod transactor;
pub mod wire;

use crate::sim::world::{Ctx, Happening, Program};
use administrator::Administrator;
use bytes::Bytes;
use common::id::TopicPartition;
use common::kafka::error::ErrorCode;
use common::kafka::header::decode_response;
use common::kafka::messages::metadata::MetadataRequestTopic;
use common::kafka::messages::{MetadataRequest, MetadataResponse, Request};
use common::time::Millis;
use consumer::{Consumer, Reads};
use member::Member;
use new_member::NewMember;
use producer::Producer;
use share_member::ShareMember;
use std::collections::BTreeMap;
use transactor::Transactor;
use uuid::Uuid;
use wire::{Answered, Correlation, Wire};

const WAKE: u64 = 1;
const WAKE_EVERY_MS: u64 = 10;
/// Time limit of requests that should be answered at once.
const REQUEST_TIMEOUT_MS: u64 = 3_000;
/// Pause after a failure.
const RETRY_MS: u64 = 100;
/// Metadata is asked for anew after this, even if all is well.
const METADATA_MS: u64 = 5_000;

/// What a client of the brokers does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Creates the topics if it is the first, and writes to them.
    Produce {
        /// With a producer id, so that nothing is written twice.
        is_idempotent: bool,
    },
    /// Reads everything.
    Consume,
    /// Creates a compacted topic, and writes values of a few keys to it, some often and some hardly ever.
    Upsert,
    /// Reads what compaction leaves: all the while, or from the beginning when all is over if its number is 0.
    ConsumeCompacted,
    /// Has partitions moved.
    Administer,
    /// Writes in transactions; creates the topics if it is the first.
    Transact,
    /// Reads what is committed.
    ConsumeCommitted,
    /// Reads what is committed from the beginning when all is over.
    VerifyCommitted,
    /// Is in a consumer group.
    Join,
    /// Is in a consumer group of the new protocol.
    JoinNew,
    /// Is in a share group.
    Share,
    /// Reads everything from the beginning when all is over.
    Verify,
}

/// The name of the topic that is compacted.
pub const COMPACTED: &str = "compacted";

/// What is written to and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Name and number of partitions.
    pub topics: Vec<(String, i32)>,
    /// Replicas of each.
    pub replication_factor: i16,
}

impl Topics {
    /// Every partition.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.topics.iter().flat_map(|(topic, count)| (0..*count).map(move |index| TopicPartition::new(topic, index)))
    }
}

/// What a client knows of the cluster, and its connections.
pub(crate) struct Cluster {
    number: u64,
    topics: Topics,
    wire: Wire,
    bootstrap: Vec<String>,
    brokers: BTreeMap<i32, String>,
    /// Leaders and their epochs.
    leaders: BTreeMap<TopicPartition, (i32, i32)>,
    /// Names by id, from version 10 of Metadata on.
    topic_ids: BTreeMap<Uuid, String>,
    metadata: Option<Correlation>,
    metadata_at: Millis,
    metadata_version: i16,
}

impl Cluster {
    /// The address of a partition's leader, if it is known to have one.
    fn leader(&self, partition: &TopicPartition) -> Option<(i32, String)> {
        let (leader, _) = *self.leaders.get(partition)?;
        Some((leader, self.brokers.get(&leader)?.clone()))
    }

    /// Any broker.
    fn any(&self, ctx: &mut Ctx<'_>) -> String {
        let known: Vec<&String> = self.brokers.values().chain(&self.bootstrap).collect();
        known[ctx.core.rng.usize(..known.len())].clone()
    }

    /// Asks for metadata soon.
    fn refresh(&mut self, ctx: &Ctx<'_>) {
        self.metadata_at = self.metadata_at.min(ctx.now().mono + RETRY_MS);
    }

    fn step(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        if self.metadata.is_some() || now < self.metadata_at {
            return;
        }
        let topic = |(name, _): &(String, i32)| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(self.topics.topics.iter().map(topic).collect()),
            allow_auto_topic_creation: self.metadata_version < 4,
            ..MetadataRequest::default()
        };
        let address = self.any(ctx);
        let version = self.metadata_version;
        self.metadata = Some(self.wire.send(&address, (&request, version), REQUEST_TIMEOUT_MS, ctx));
    }

    /// True if it was the answer to a question for metadata.
    fn learn(&mut self, (correlation, frame): &Answered, ctx: &mut Ctx<'_>) -> bool {
        if self.metadata != Some(*correlation) {
            return false;
        }
        self.metadata = None;
        let now = ctx.now().mono;
        let Some(frame) = frame else {
            self.metadata_at = now + RETRY_MS;
            return true;
        };
        let Some(response) = decode::<MetadataRequest>(frame, self.metadata_version, ctx) else { return true };
        self.metadata_at = now + if self.take(response) { METADATA_MS } else { RETRY_MS };
        true
    }

    /// True if every partition has a leader.
    fn take(&mut self, response: MetadataResponse) -> bool {
        for broker in response.brokers {
            self.brokers.insert(broker.node_id, format!("{}:{}", broker.host, broker.port));
        }
        let mut is_whole = true;
        for topic in response.topics {
            let Some(name) = topic.name.filter(|_| topic.error_code == ErrorCode::None.code()) else {
                is_whole = false;
                continue;
            };
            if !topic.topic_id.is_nil() {
                self.topic_ids.insert(topic.topic_id, name.clone());
            }
            for partition in topic.partitions {
                let key = TopicPartition::new(name.clone(), partition.partition_index);
                let known = self.leaders.get(&key).map_or(-1, |(_, epoch)| *epoch);
                if partition.leader_epoch < known {
                    // From a broker that was away and does not know it: a step back would lead to a leader that is none.
                    is_whole = false;
                    continue;
                }
                is_whole &= partition.leader_id >= 0;
                self.leaders.insert(key, (partition.leader_id, partition.leader_epoch));
            }
        }
        is_whole
    }
}

/// Reads an answer; that it cannot be read is a violation.
fn decode<R: Request>(frame: &Bytes, version: i16, ctx: &mut Ctx<'_>) -> Option<R::Response> {
    match decode_response::<R>(frame.clone(), version) {
        Ok((_, response)) => Some(response),
        Err(error) => {
            ctx.violation(format!("an answer to {} version {version} cannot be read: {error}", R::NAME));
            None
        }
    }
}

/// What it does beside.
enum Work {
    Produce(Producer),
    Consume(Consumer),
    Join(Member),
    JoinNew(NewMember),
    Share(ShareMember),
    Transact(Transactor),
    Administer(Administrator),
}

/// The client.
pub struct KafkaClient {
    cluster: Cluster,
    work: Work,
}

impl KafkaClient {
    pub(crate) fn start(number: u64, duty: &Duty, topics: &Topics, bootstrap: &[String], ctx: &mut Ctx<'_>) -> Program {
        let cluster = Cluster {
            number,
            topics: topics.clone(),
            wire: Wire::default(),
            bootstrap: bootstrap.to_vec(),
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            topic_ids: BTreeMap::new(),
            metadata: None,
            metadata_at: Millis(0),
            // From version 7 on leaders have epochs, without which an idempotent producer is lost; from 10 on topics have ids.
            metadata_version: ctx.core.rng.i16(if [Duty::JoinNew, Duty::Share].contains(duty) {
                10..=12
            } else {
                7..=12
            }),
        };
        let work = match duty {
            Duty::Produce { is_idempotent } => Work::Produce(Producer::new(&cluster, *is_idempotent, ctx)),
            Duty::Join => Work::Join(Member::new()),
            Duty::JoinNew => Work::JoinNew(NewMember::new(ctx)),
            Duty::Share => Work::Share(ShareMember::new(&cluster, ctx)),
            Duty::Consume => Work::Consume(Consumer::new(&cluster, Reads::All, ctx)),
            Duty::Verify => Work::Consume(Consumer::new(&cluster, Reads::AllAtLast, ctx)),
            Duty::Upsert => Work::Produce(Producer::new(&cluster, true, ctx)),
            Duty::ConsumeCompacted => Work::Consume(Consumer::new(&cluster, Reads::Compacted, ctx)),
            Duty::Administer => Work::Administer(Administrator::new(ctx)),
            Duty::Transact => Work::Transact(Transactor::new(&cluster, ctx)),
            Duty::ConsumeCommitted | Duty::VerifyCommitted => {
                Work::Consume(Consumer::new(&cluster, Reads::Committed, ctx))
            }
        };
        ctx.wake_at(ctx.now().mono + 1, WAKE);
        Program::Kafka(Box::new(KafkaClient { cluster, work }))
    }

    pub(crate) fn happen(&mut self, happening: Happening, ctx: &mut Ctx<'_>) {
        let mut answered = self.cluster.wire.happen(&happening, ctx);
        if let Happening::Timer(WAKE) = happening {
            ctx.wake_at(ctx.now().mono + WAKE_EVERY_MS, WAKE);
            answered.extend(self.cluster.wire.expire(ctx));
        }
        for answer in answered {
            if !self.cluster.learn(&answer, ctx) {
                match &mut self.work {
                    Work::Produce(producer) => producer.answered(answer, &mut self.cluster, ctx),
                    Work::Consume(consumer) => consumer.answered(answer, &mut self.cluster, ctx),
                    Work::Join(member) => member.answered(answer, &mut self.cluster, ctx),
                    Work::JoinNew(member) => member.answered(answer, &mut self.cluster, ctx),
                    Work::Share(member) => member.answered(answer, &mut self.cluster, ctx),
                    Work::Administer(administrator) => administrator.answered(answer, ctx),
                    Work::Transact(transactor) => transactor.answered(answer, &mut self.cluster, ctx),
                }
            }
        }
        self.cluster.step(ctx);
        match &mut self.work {
            Work::Produce(producer) => producer.step(&mut self.cluster, ctx),
            Work::Consume(consumer) => consumer.step(&mut self.cluster, ctx),
            Work::Join(member) => member.step(&mut self.cluster, ctx),
            Work::JoinNew(member) => member.step(&mut self.cluster, ctx),
            Work::Share(member) => member.step(&mut self.cluster, ctx),
            Work::Administer(administrator) => administrator.step(&mut self.cluster, ctx),
            Work::Transact(transactor) => transactor.step(&mut self.cluster, ctx),
        }
    }

    /// Begins nothing new from now on.
    pub fn fall_silent(&mut self) {
        match &mut self.work {
            Work::Produce(producer) => producer.is_idle = true,
            Work::Transact(transactor) => transactor.is_idle = true,
            Work::Administer(administrator) => administrator.fall_silent(&self.cluster),
            Work::Share(member) => member.is_eager = true,
            Work::Consume(_) | Work::Join(_) | Work::JoinNew(_) => {}
        }
    }

    /// The group and the commits acknowledged, if it is in one.
    pub fn commits(&self) -> Option<(&'static str, u64)> {
        match &self.work {
            Work::Join(member) => Some((member::GROUP, member.commits)),
            Work::JoinNew(member) => Some((new_member::NEW_GROUP, member.commits)),
            _ => None,
        }
    }

    /// What was acknowledged, each number of its own kind: batches in each partition, if it is a producer; transactions.
    pub fn acknowledged(&self) -> Vec<u64> {
        match &self.work {
            Work::Produce(producer) => producer.acknowledged(),
            Work::Transact(transactor) => vec![transactor.ended],
            Work::Share(member) => vec![member.acquired],
            Work::Consume(_) | Work::Join(_) | Work::JoinNew(_) | Work::Administer(_) => Vec::new(),
        }
    }

    /// Where the share group stands, if it is the member that looks.
    pub fn shared(&self) -> Option<BTreeMap<TopicPartition, i64>> {
        if let Work::Share(member) = &self.work { member.done() } else { None }
    }

    /// True if it administers and is to do nothing any more, and all that it asked for at last is granted.
    pub fn has_had_its_say(&self) -> bool {
        matches!(&self.work, Work::Administer(administrator) if administrator.is_done())
    }

    /// True if it administers.
    pub fn administers(&self) -> bool {
        matches!(&self.work, Work::Administer(_))
    }

    /// Next offset and end of each partition, if it is a consumer.
    pub fn positions(&self) -> BTreeMap<TopicPartition, (i64, i64)> {
        if let Work::Consume(consumer) = &self.work { consumer.positions() } else { BTreeMap::new() }
    }
}
