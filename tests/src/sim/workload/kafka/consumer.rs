//! A consumer of every partition, from the first offset on. What it reads may never change, and has no gaps but those
//! that transactions make.

use super::committed::readable;
use super::wire::{Answered, Correlation};
use super::{Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, decode};
use crate::sim::world::Ctx;
use common::id::TopicPartition;
use common::kafka::batch::batches;
use common::kafka::error::ErrorCode;
use common::kafka::messages::FetchRequest;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use common::time::Millis;
use std::collections::BTreeMap;

/// A broker may hold an answer back so long for records to come.
const MAX_WAIT_MS: i32 = 300;
/// No batch of the workload decompresses to more.
const RECORDS_BYTES_MAX: usize = 1 << 20;

/// How far a partition is read.
#[derive(Clone, Copy, Debug)]
struct Position {
    next: i64,
    high_watermark: i64,
    not_before: Millis,
}

/// What a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Everything, all the while.
    All,
    /// Everything, when all is over.
    AllAtLast,
    /// What is committed.
    Committed,
    /// What compaction leaves.
    Compacted,
}

/// The consumer.
#[derive(Debug)]
pub struct Consumer {
    version: i16,
    reads: Reads,
    positions: BTreeMap<TopicPartition, Position>,
    /// Requests under way, by broker, with how often disks had given wrong bits when they were sent.
    asked: BTreeMap<i32, (Correlation, u64)>,
}

impl Consumer {
    pub(super) fn new(cluster: &Cluster, reads: Reads, ctx: &mut Ctx<'_>) -> Consumer {
        let position = Position { next: 0, high_watermark: -1, not_before: Millis(0) };
        Consumer {
            version: ctx.core.rng.i16(4..=12),
            reads,
            positions: cluster.topics.partitions().map(|partition| (partition, position)).collect(),
            asked: BTreeMap::new(),
        }
    }

    pub(super) fn positions(&self) -> BTreeMap<TopicPartition, (i64, i64)> {
        let pair = |position: &Position| (position.next, position.high_watermark);
        self.positions.iter().map(|(partition, position)| (partition.clone(), pair(position))).collect()
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        let mut wanted: BTreeMap<(i32, String), BTreeMap<String, Vec<FetchPartition>>> = BTreeMap::new();
        for (partition, position) in &self.positions {
            let Some(leader) = cluster.leader(partition) else {
                cluster.refresh(ctx);
                continue;
            };
            if now >= position.not_before && !self.asked.contains_key(&leader.0) {
                let fetch = FetchPartition {
                    partition: partition.partition,
                    // Keeps a broker that was away, or only follows, from answering for the leader (KIP-320).
                    current_leader_epoch: cluster.leaders.get(partition).map_or(-1, |(_, epoch)| *epoch),
                    fetch_offset: position.next,
                    partition_max_bytes: 4_096,
                    ..FetchPartition::default()
                };
                wanted.entry(leader).or_default().entry(partition.topic.clone()).or_default().push(fetch);
            }
        }
        for ((broker, address), topics) in wanted {
            let topic = |(topic, partitions)| FetchTopic { topic, partitions, ..FetchTopic::default() };
            let request = FetchRequest {
                max_wait_ms: MAX_WAIT_MS,
                min_bytes: 1,
                max_bytes: 65_536,
                isolation_level: i8::from(self.reads == Reads::Committed),
                topics: topics.into_iter().map(topic).collect(),
                ..FetchRequest::default()
            };
            let timeout_ms = REQUEST_TIMEOUT_MS;
            let correlation = cluster.wire.send(&address, (&request, self.version), timeout_ms, ctx);
            self.asked.insert(broker, (correlation, ctx.core.rotten_reads()));
        }
    }

    pub(super) fn answered(&mut self, (correlation, frame): Answered, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let found = self.asked.iter().find(|(_, (asked, _))| *asked == correlation);
        let Some((broker, (_, rotten_reads))) = found.map(|(broker, asked)| (*broker, *asked)) else { return };
        self.asked.remove(&broker);
        let Some(response) = frame.and_then(|frame| decode::<FetchRequest>(&frame, self.version, ctx)) else {
            let later = ctx.now().mono + RETRY_MS;
            for (partition, position) in &mut self.positions {
                if cluster.leaders.get(partition).is_some_and(|(leader, _)| *leader == broker) {
                    position.not_before = later;
                }
            }
            return cluster.refresh(ctx);
        };
        for topic in response.responses {
            for data in topic.partitions {
                let partition = TopicPartition::new(topic.topic.clone(), data.partition_index);
                self.take(partition, (data, rotten_reads), cluster, ctx);
            }
        }
    }

    /// `rotten_reads` is how often disks had given wrong bits when this was asked for.
    fn take(
        &mut self,
        partition: TopicPartition,
        (data, rotten_reads): (PartitionData, u64),
        cluster: &mut Cluster,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(position) = self.positions.get_mut(&partition) else { return };
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) => {}
            Some(error) if error.is_retriable() => {
                position.not_before = ctx.now().mono + RETRY_MS;
                return cluster.refresh(ctx);
            }
            error => {
                let at = position.next;
                return ctx.violation(format!("a consumer gets {error:?} for {partition} at offset {at}"));
            }
        }
        position.high_watermark = data.high_watermark;
        if [Reads::Committed, Reads::Compacted].contains(&self.reads) {
            return take_readable((&partition, position), (&data, rotten_reads), (cluster.number, self.reads), ctx);
        }
        let bytes = data.records.map(|records| records.to_bytes().expect("an answer is in memory")).unwrap_or_default();
        for batch in batches(bytes) {
            // The last batch may be cut: it comes again, whole.
            let Ok(batch) = batch else { break };
            if let Err(error) = batch.check_crc() {
                if ctx.core.rotten_reads() > rotten_reads {
                    // What the checksum is for: the broker's disk gave something else, and will not do so for ever. As
                    // with Kafka it is the client who looks: a broker sends what is in the file without reading it.
                    position.not_before = ctx.now().mono + RETRY_MS;
                    return;
                }
                return ctx.violation(format!("{partition}: {error}"));
            }
            let Ok(records) = batch.records(RECORDS_BYTES_MAX) else {
                return ctx.violation(format!("{partition}: a batch cannot be read"));
            };
            for record in records {
                let Ok(record) = record else { return ctx.violation(format!("{partition}: a record cannot be read")) };
                if record.offset < position.next {
                    continue;
                }
                if record.offset > position.next {
                    let (wanted, found) = (position.next, record.offset);
                    return ctx.violation(format!("{partition}: offset {found} follows where {wanted} was due"));
                }
                position.next += 1;
                let value = String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
                let now = ctx.core.now();
                if let Err(text) =
                    ctx.core.history.read(&partition, record.offset, value, (self.reads == Reads::AllAtLast, now))
                {
                    return ctx.violation(text);
                }
            }
        }
    }
}

fn take_readable(
    (partition, position): (&TopicPartition, &mut Position),
    (data, rotten_reads): (&PartitionData, u64),
    (number, reads): (u64, Reads),
    ctx: &mut Ctx<'_>,
) {
    match readable(data, position.next) {
        Ok((values, next)) => {
            position.next = next;
            let history = &mut ctx.core.history;
            let logs = if reads == Reads::Committed { &mut history.committed } else { &mut history.compacted };
            let log = logs.entry(number).or_default();
            log.entry(partition.clone()).or_default().extend(values);
        }
        Err(_) if ctx.core.rotten_reads() > rotten_reads => position.not_before = ctx.now().mono + RETRY_MS,
        Err(problem) => ctx.violation(format!("{partition}: {problem}")),
    }
}
