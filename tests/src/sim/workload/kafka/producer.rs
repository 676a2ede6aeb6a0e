//! A producer: batches of records that are unique in the run, one batch at a time to each partition, acks=all, sent again
//! until they are acknowledged.

use super::wire::{Answered, Correlation};
use super::{COMPACTED, Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, Topics, decode};
use crate::sim::world::Ctx;
use bytes::Bytes;
use common::id::TopicPartition;
use common::kafka::batch::{BatchSpec, Record, build};
use common::kafka::error::ErrorCode;
use common::kafka::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use common::kafka::messages::produce::{PartitionProduceData, TopicProduceData};
use common::kafka::messages::{CreateTopicsRequest, InitProducerIdRequest, ProduceRequest, ProduceResponse};
use common::kafka::records::Records;
use common::time::Millis;

/// The broker waits so long for the replicas, and the client a little longer for the broker.
const ACKS_TIMEOUT_MS: u64 = 3_000;

/// What was asked last that is not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preparation {
    /// The topics are to be created.
    Topics,
    /// A producer id is to be had.
    Id,
    /// Nothing is missing.
    Done,
}

/// One partition's batches.
#[derive(Debug)]
struct Lane {
    partition: TopicPartition,
    /// Records made so far.
    made: u64,
    /// Sequence number of the next batch.
    sequence: i32,
    /// Records that are not acknowledged.
    values: Vec<String>,
    under_way: Option<Correlation>,
    not_before: Millis,
    acknowledged: u64,
}

/// The producer.
#[derive(Debug)]
pub struct Producer {
    is_idempotent: bool,
    version: i16,
    preparation: Preparation,
    prepares: Option<Correlation>,
    not_before: Millis,
    id: (i64, i16),
    lanes: Vec<Lane>,
    /// Makes no new batch while set.
    pub is_idle: bool,
}

impl Producer {
    pub(super) fn new(cluster: &Cluster, is_idempotent: bool, ctx: &mut Ctx<'_>) -> Producer {
        let lane = |partition| Lane {
            partition,
            made: 0,
            sequence: 0,
            values: Vec::new(),
            under_way: None,
            not_before: Millis(0),
            acknowledged: 0,
        };
        let preparation = match (cluster.number, is_idempotent) {
            (1, _) => Preparation::Topics,
            (_, true) => Preparation::Id,
            (_, false) => Preparation::Done,
        };
        Producer {
            is_idempotent,
            version: ctx.core.rng.i16(3..=12),
            preparation,
            prepares: None,
            not_before: Millis(0),
            id: (-1, -1),
            lanes: cluster.topics.partitions().map(lane).collect(),
            is_idle: false,
        }
    }

    pub(super) fn acknowledged(&self) -> Vec<u64> {
        self.lanes.iter().map(|lane| lane.acknowledged).collect()
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        if self.preparation != Preparation::Done {
            if self.prepares.is_none() && now >= self.not_before {
                self.prepare(cluster, ctx);
            }
            return;
        }
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            if lane.under_way.is_some() || now < lane.not_before {
                continue;
            }
            if lane.values.is_empty() {
                if self.is_idle || ctx.core.rng.u32(..4) != 0 {
                    continue;
                }
                for _ in 0..ctx.core.rng.u32(1..=4) {
                    lane.made += 1;
                    lane.values.push(format!("{}/{}/{}", cluster.number, lane.partition, lane.made));
                }
            }
            self.send(index, cluster, ctx);
        }
    }

    fn prepare(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let address = cluster.any(ctx);
        self.prepares = Some(match self.preparation {
            Preparation::Topics => {
                let request = create_topics(&cluster.topics);
                cluster.wire.send(&address, (&request, 5), 2 * REQUEST_TIMEOUT_MS, ctx)
            }
            _ => {
                let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
                cluster.wire.send(&address, (&request, 4), REQUEST_TIMEOUT_MS, ctx)
            }
        });
    }

    fn send(&mut self, index: usize, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        let lane = &mut self.lanes[index];
        let Some((_, address)) = cluster.leader(&lane.partition) else {
            lane.not_before = now.mono + RETRY_MS;
            return cluster.refresh(ctx);
        };
        let record = |(at, value): (usize, &String)| Record {
            offset: at as i64,
            timestamp: now.wall.0,
            key: (lane.partition.topic == COMPACTED).then(|| Bytes::from(format!("k{}", key_of(value)))),
            value: Some(Bytes::from(value.clone())),
            ..Record::default()
        };
        let records: Vec<Record> = lane.values.iter().enumerate().map(record).collect();
        let (producer_id, producer_epoch) = self.id;
        let base_sequence = if self.is_idempotent { lane.sequence } else { -1 };
        let spec = BatchSpec { producer_id, producer_epoch, base_sequence, ..BatchSpec::default() };
        let bytes = build(&spec, &records).expect("some small records");
        let data = PartitionProduceData { index: lane.partition.partition, records: Some(Records::Bytes(bytes)) };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: ACKS_TIMEOUT_MS as i32,
            topic_data: vec![TopicProduceData {
                name: lane.partition.topic.clone(),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let timeout_ms = ACKS_TIMEOUT_MS + 1_000;
        lane.under_way = Some(cluster.wire.send(&address, (&request, self.version), timeout_ms, ctx));
    }

    pub(super) fn answered(&mut self, (correlation, frame): Answered, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        if self.prepares == Some(correlation) {
            self.prepares = None;
            self.not_before = ctx.now().mono + RETRY_MS;
            return self.prepared(frame, ctx);
        }
        let found = self.lanes.iter_mut().find(|lane| lane.under_way == Some(correlation));
        let Some(lane) = found else { return };
        lane.under_way = None;
        let Some(response) = frame.and_then(|frame| decode::<ProduceRequest>(&frame, self.version, ctx)) else {
            lane.not_before = ctx.now().mono + RETRY_MS;
            return cluster.refresh(ctx);
        };
        let is_idempotent = self.is_idempotent;
        lane.answered(response, is_idempotent, cluster, ctx);
    }

    fn prepared(&mut self, frame: Option<Bytes>, ctx: &mut Ctx<'_>) {
        let Some(frame) = frame else { return };
        if self.preparation == Preparation::Topics {
            let Some(response) = decode::<CreateTopicsRequest>(&frame, 5, ctx) else { return };
            let is_there = |code| [ErrorCode::None, ErrorCode::TopicAlreadyExists].map(ErrorCode::code).contains(&code);
            if response.topics.iter().all(|topic| is_there(topic.error_code)) {
                ctx.tell(|| "the topics are created".to_owned());
                self.preparation = if self.is_idempotent { Preparation::Id } else { Preparation::Done };
            }
            return;
        }
        let Some(response) = decode::<InitProducerIdRequest>(&frame, 4, ctx) else { return };
        if response.error_code == ErrorCode::None.code() {
            let id = response.producer_id;
            if !ctx.core.history.producer_ids.insert(id) {
                ctx.violation(format!("producer id {id} is given out twice"));
            }
            self.id = (id, response.producer_epoch);
            self.preparation = Preparation::Done;
        }
    }
}

/// Small segments that are compacted soon.
fn compaction() -> Vec<CreatableTopicConfig> {
    let configs = [("cleanup.policy", "compact"), ("segment.bytes", "2048"), ("min.cleanable.dirty.ratio", "0.1")];
    let config =
        |(name, value): (&str, &str)| CreatableTopicConfig { name: name.to_owned(), value: Some(value.to_owned()) };
    configs.into_iter().map(config).collect()
}

/// The number in a value: a producer counts.
pub fn count_of(value: &str) -> Option<u64> {
    value.rsplit_once('/')?.1.parse().ok()
}

/// The key of a value of the compacted topic: each key is written half as often as the one before.
pub fn key_of(value: &str) -> u32 {
    count_of(value).map_or(0, u64::trailing_zeros)
}

pub(super) fn create_topics(topics: &Topics) -> CreateTopicsRequest {
    let topic = |(name, partitions): &(String, i32)| CreatableTopic {
        name: name.clone(),
        num_partitions: *partitions,
        replication_factor: topics.replication_factor,
        configs: if name == COMPACTED { compaction() } else { Vec::new() },
        ..CreatableTopic::default()
    };
    let topics = topics.topics.iter().map(topic).collect();
    CreateTopicsRequest { topics, timeout_ms: 3_000, ..CreateTopicsRequest::default() }
}

impl Lane {
    fn answered(&mut self, response: ProduceResponse, is_idempotent: bool, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let Some(partition) = partition else {
            return ctx.violation("an answer to Produce without the partition".to_owned());
        };
        match ErrorCode::from_code(partition.error_code) {
            Some(ErrorCode::None | ErrorCode::DuplicateSequenceNumber) => {
                let values = std::mem::take(&mut self.values);
                self.sequence += values.len() as i32;
                self.acknowledged += 1;
                let now = ctx.core.now();
                if self.partition.topic == COMPACTED {
                    ctx.core.history.upserts.extend(values);
                } else {
                    ctx.core.history.acknowledged(&self.partition, partition.base_offset, values, now);
                }
                self.not_before = ctx.now().mono + ctx.core.rng.u64(1..60);
            }
            Some(error) if error.is_retriable() && !(is_idempotent && error == ErrorCode::OutOfOrderSequenceNumber) => {
                self.not_before = ctx.now().mono + RETRY_MS;
                cluster.refresh(ctx);
            }
            error => {
                let what = format!("{} sequence {} of {} records", self.partition, self.sequence, self.values.len());
                ctx.violation(format!("a producer gets {error:?} ({}) for {what}", partition.error_code));
            }
        }
    }
}
