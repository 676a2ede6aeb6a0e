//! A transactional producer: transactions that append to some partitions of a topic, and often consume from one of them and
//! commit how far (consume-transform-produce). It ends them as it likes, falls silent in the middle, and begins anew with
//! InitProducerId after fencing and errors. Several clients may share a transactional id: each believes to be the only one.
//!
//! It speaks transaction.version 2 where the coordinator says that it is in force, and the older protocol otherwise or by
//! choice. In the older one an epoch outlives a transaction, and a request without an answer may still arrive in the next one
//! (KAFKA-17754); no server can tell it from a good one. So after a missing answer this client takes a new epoch first.

use super::committed::readable;
use super::producer::create_topics;
use super::wire::{Answered, Correlation};
use super::{Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, decode};
use crate::sim::history::{Consumed, Txn, TxnOutcome};
use crate::sim::world::Ctx;
use bytes::Bytes;
use common::id::TopicPartition;
use common::kafka::batch::{BatchSpec, Record, build};
use common::kafka::error::ErrorCode;
use common::kafka::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic};
use common::kafka::messages::offset_fetch::OffsetFetchRequestTopic;
use common::kafka::messages::produce::{PartitionProduceData, TopicProduceData};
use common::kafka::messages::txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use common::kafka::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, CreateTopicsRequest, EndTxnRequest,
    FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, OffsetFetchRequest, ProduceRequest,
    TxnOffsetCommitRequest,
};
use common::kafka::records::Records;
use common::time::Millis;
use std::collections::{BTreeMap, VecDeque};

/// The broker waits so long for the replicas, and the client a little longer for the broker.
const ACKS_TIMEOUT_MS: u64 = 3_000;
/// One in so many transactions is left alone in the middle, as by a client that dies.
const ABANDONED_ONE_IN: u32 = 40;
/// Records that a transaction consumes at most.
const CONSUMED_AT_MOST: usize = 6;

/// What is to be done next. Topics -> Features -> Init -> Position -> Begin; then, as the transaction has it, Read, Add, Append,
/// AddOffsets, CommitOffsets, End, Begin. From any to End to abort, and to Init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The topic is to be created.
    Topics,
    /// Which protocol does the coordinator speak?
    Features,
    /// A producer id and epoch are to be had; `goes_on` with what it has (KIP-360).
    Init {
        goes_on: bool,
    },
    /// Where did the last transaction leave off?
    Position,
    Begin,
    Read,
    /// The older protocol: partitions join the transaction.
    Add,
    Append,
    /// The older protocol: the group's partition joins.
    AddOffsets,
    CommitOffsets,
    End {
        is_commit: bool,
    },
}

/// What was asked last; one request at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// For the transaction's coordinator, or the group's.
    Coordinator {
        of_group: bool,
    },
    Step(Step),
}

/// One version of each API, drawn at the start.
#[derive(Clone, Copy, Debug)]
struct Versions {
    init: i16,
    add: i16,
    add_offsets: i16,
    commit_offsets: i16,
    end: i16,
    produce: i16,
    fetch: i16,
}

/// The producer.
#[derive(Debug)]
pub struct Transactor {
    transactional_id: String,
    /// Consumed from, and the group whose offset tells how far.
    input: TopicPartition,
    group: String,
    versions: Versions,
    wants_second: bool,
    is_second: bool,
    coordinator: Option<String>,
    group_coordinator: Option<String>,
    producer: (i64, i16),
    /// Next sequence number of each partition, in this epoch.
    sequences: BTreeMap<TopicPartition, i32>,
    /// The next offset to be consumed.
    position: i64,
    step: Step,
    under_way: Option<(Correlation, Ask)>,
    not_before: Millis,
    /// The open transaction's number in the history, and what it will do.
    txn: Option<usize>,
    consumes: bool,
    to_append: VecDeque<(TopicPartition, Vec<String>)>,
    will_commit: bool,
    has_begun: bool,
    /// A request of this transaction was not answered, or a batch of it was not taken.
    is_dirty: bool,
    /// An earlier request to end the transaction may have been carried out.
    may_have_ended: bool,
    /// How often disks had given wrong bits when records were asked for.
    rotten_reads: u64,
    /// Transactions whose end was acknowledged.
    pub ended: u64,
    /// Begins no new transaction while set.
    pub is_idle: bool,
}

impl Transactor {
    pub(super) fn new(cluster: &Cluster, ctx: &mut Ctx<'_>) -> Transactor {
        let rng = &mut ctx.core.rng;
        let versions = Versions {
            init: rng.i16(0..=5),
            add: rng.i16(0..=3),
            add_offsets: rng.i16(0..=4),
            commit_offsets: rng.i16(0..=4),
            end: rng.i16(0..=4),
            produce: rng.i16(3..=11),
            fetch: rng.i16(4..=12),
        };
        let partitions: Vec<TopicPartition> = cluster.topics.partitions().collect();
        let id = (cluster.number - 1) % 2 + 1;
        Transactor {
            transactional_id: format!("x{id}"),
            input: partitions[id as usize % partitions.len()].clone(),
            group: format!("copy-{id}"),
            versions,
            wants_second: rng.u32(..3) != 0,
            is_second: false,
            coordinator: None,
            group_coordinator: None,
            producer: (-1, -1),
            sequences: BTreeMap::new(),
            position: 0,
            step: if cluster.number == 1 { Step::Topics } else { Step::Features },
            under_way: None,
            not_before: Millis(0),
            txn: None,
            consumes: false,
            to_append: VecDeque::new(),
            will_commit: false,
            has_begun: false,
            is_dirty: false,
            may_have_ended: false,
            rotten_reads: 0,
            ended: 0,
            is_idle: false,
        }
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        if self.under_way.is_some() || ctx.now().mono < self.not_before {
            return;
        }
        if self.step == Step::Begin {
            if self.is_idle {
                return;
            }
            self.begin(cluster, ctx);
        }
        let step = self.step;
        let of_group = matches!(step, Step::Position | Step::CommitOffsets);
        let partition = match step {
            Step::Topics => None,
            Step::Read => Some(self.input.clone()),
            Step::Append => self.to_append.front().map(|(partition, _)| partition.clone()),
            _ => None,
        };
        let address = match &partition {
            Some(partition) => match cluster.leader(partition) {
                Some((_, address)) => address,
                None => {
                    self.not_before = ctx.now().mono + RETRY_MS;
                    return cluster.refresh(ctx);
                }
            },
            None if step == Step::Topics => cluster.any(ctx),
            None => {
                let known = if of_group { &self.group_coordinator } else { &self.coordinator };
                let Some(address) = known.clone() else { return self.find_coordinator(of_group, cluster, ctx) };
                address
            }
        };
        self.rotten_reads = ctx.core.rotten_reads();
        let sent = self.send(&address, cluster, ctx);
        self.under_way = Some((sent, Ask::Step(step)));
    }

    fn find_coordinator(&mut self, of_group: bool, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let key = if of_group { &self.group } else { &self.transactional_id };
        let key_type = i8::from(!of_group);
        let request = FindCoordinatorRequest { key: key.clone(), key_type, ..FindCoordinatorRequest::default() };
        let address = cluster.any(ctx);
        let sent = cluster.wire.send(&address, (&request, 3), REQUEST_TIMEOUT_MS, ctx);
        self.under_way = Some((sent, Ask::Coordinator { of_group }));
    }

    /// Decides what the next transaction is to do.
    fn begin(&mut self, cluster: &Cluster, ctx: &mut Ctx<'_>) {
        let began = ctx.core.now();
        let rng = &mut ctx.core.rng;
        let number = ctx.core.history.txns.len();
        self.txn = Some(number);
        self.consumes = rng.u32(..3) != 0;
        self.will_commit = rng.u32(..4) != 0;
        (self.has_begun, self.is_dirty, self.may_have_ended) = (false, false, false);
        let mut partitions: Vec<TopicPartition> = cluster.topics.partitions().collect();
        rng.shuffle(&mut partitions);
        partitions.truncate(rng.usize(1..=3));
        let (mut made, mut left) = (0, Vec::new());
        for partition in partitions {
            for _ in 0..rng.u32(1..=2) {
                let mut values = Vec::new();
                for _ in 0..rng.u32(1..=2) {
                    values.push(format!("{number}/{made}"));
                    made += 1;
                }
                left.push((partition.clone(), values));
            }
        }
        rng.shuffle(&mut left);
        self.to_append = left.into();
        ctx.core.history.txns.push(Txn {
            transactional_id: self.transactional_id.clone(),
            producer: self.producer,
            appends: Vec::new(),
            consumed: None,
            began,
            ended: None,
            outcome: TxnOutcome::Open,
        });
        self.step = if self.consumes { Step::Read } else { self.first_write() };
    }

    /// What is noted of the open transaction.
    fn noted<'a>(&self, ctx: &'a mut Ctx<'_>) -> Option<&'a mut Txn> {
        ctx.core.history.txns.get_mut(self.txn?)
    }

    fn first_write(&self) -> Step {
        if self.is_second { Step::Append } else { Step::Add }
    }

    fn send(&mut self, address: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) -> Correlation {
        let (wire, timeout_ms) = (&mut cluster.wire, REQUEST_TIMEOUT_MS);
        let (id, versions) = (self.transactional_id.clone(), self.versions);
        let (producer_id, producer_epoch) = self.producer;
        match self.step {
            Step::Topics => wire.send(address, (&create_topics(&cluster.topics), 5), 2 * timeout_ms, ctx),
            Step::Features | Step::Begin => {
                let (client_software_name, client_software_version) = ("sim".to_owned(), "1".to_owned());
                let request = ApiVersionsRequest { client_software_name, client_software_version };
                wire.send(address, (&request, 3), timeout_ms, ctx)
            }
            Step::Init { goes_on } => {
                let mut request = InitProducerIdRequest {
                    transactional_id: Some(id),
                    transaction_timeout_ms: ctx.core.rng.i32(3_000..12_000),
                    ..InitProducerIdRequest::default()
                };
                if goes_on && versions.init >= 3 {
                    (request.producer_id, request.producer_epoch) = self.producer;
                }
                wire.send(address, (&request, versions.init), 2 * timeout_ms, ctx)
            }
            Step::Position => {
                let topic = OffsetFetchRequestTopic {
                    name: self.input.topic.clone(),
                    partition_indexes: vec![self.input.partition],
                };
                let request = OffsetFetchRequest {
                    group_id: self.group.clone(),
                    topics: Some(vec![topic]),
                    require_stable: true,
                    ..OffsetFetchRequest::default()
                };
                wire.send(address, (&request, 7), timeout_ms, ctx)
            }
            Step::Read => self.send_read(address, cluster, ctx),
            Step::Add => {
                let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
                for (partition, _) in &self.to_append {
                    topics.entry(partition.topic.clone()).or_default().push(partition.partition);
                }
                let topic = |(name, mut partitions): (String, Vec<i32>)| {
                    partitions.sort_unstable();
                    partitions.dedup();
                    AddPartitionsToTxnTopic { name, partitions }
                };
                let request = AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: id,
                    v3_and_below_producer_id: producer_id,
                    v3_and_below_producer_epoch: producer_epoch,
                    v3_and_below_topics: topics.into_iter().map(topic).collect(),
                    ..AddPartitionsToTxnRequest::default()
                };
                wire.send(address, (&request, versions.add), timeout_ms, ctx)
            }
            Step::Append => self.send_batch(address, cluster, ctx),
            Step::AddOffsets => {
                let (transactional_id, group_id) = (id, self.group.clone());
                let request = AddOffsetsToTxnRequest { transactional_id, producer_id, producer_epoch, group_id };
                wire.send(address, (&request, versions.add_offsets), timeout_ms, ctx)
            }
            Step::CommitOffsets => self.send_offsets(address, cluster, ctx),
            Step::End { is_commit } => {
                if let Some(txn) = self.noted(ctx).filter(|_| is_commit) {
                    txn.outcome = TxnOutcome::Unknown;
                }
                let request = EndTxnRequest { transactional_id: id, producer_id, producer_epoch, committed: is_commit };
                let version = if self.is_second { 5 } else { versions.end };
                wire.send(address, (&request, version), timeout_ms, ctx)
            }
        }
    }

    fn send_read(&self, address: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) -> Correlation {
        let partition = FetchPartition {
            partition: self.input.partition,
            current_leader_epoch: cluster.leaders.get(&self.input).map_or(-1, |(_, epoch)| *epoch),
            fetch_offset: self.position,
            partition_max_bytes: 2_048,
            ..FetchPartition::default()
        };
        let topic =
            FetchTopic { topic: self.input.topic.clone(), partitions: vec![partition], ..FetchTopic::default() };
        let request = FetchRequest {
            min_bytes: 0,
            max_bytes: 2_048,
            isolation_level: 1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        cluster.wire.send(address, (&request, self.versions.fetch), REQUEST_TIMEOUT_MS, ctx)
    }

    fn send_batch(&self, address: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) -> Correlation {
        let (partition, values) = self.to_append.front().expect("there is something to append in this step");
        let timestamp = ctx.now().wall.0;
        let record = |(offset, value): (i64, &String)| {
            let value = Some(Bytes::from(value.clone()));
            Record { offset, timestamp, value, ..Record::default() }
        };
        let records: Vec<Record> = (0..).zip(values).map(record).collect();
        let (producer_id, producer_epoch) = self.producer;
        let base_sequence = self.sequences.get(partition).copied().unwrap_or(0);
        let is_transactional = true;
        let spec = BatchSpec { producer_id, producer_epoch, base_sequence, is_transactional, ..BatchSpec::default() };
        let bytes = build(&spec, &records).expect("some small records");
        let data = PartitionProduceData { index: partition.partition, records: Some(Records::Bytes(bytes)) };
        let request = ProduceRequest {
            transactional_id: Some(self.transactional_id.clone()),
            acks: -1,
            timeout_ms: ACKS_TIMEOUT_MS as i32,
            topic_data: vec![TopicProduceData {
                name: partition.topic.clone(),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }],
        };
        let append = (partition.clone(), values.clone());
        if let Some(txn) = self.noted(ctx).filter(|txn| txn.appends.last() != Some(&append)) {
            txn.appends.push(append);
        }
        let version = if self.is_second { 12 } else { self.versions.produce };
        cluster.wire.send(address, (&request, version), ACKS_TIMEOUT_MS + 1_000, ctx)
    }

    fn send_offsets(&self, address: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) -> Correlation {
        let consumed = self.noted(ctx).and_then(|txn| txn.consumed.as_ref());
        let committed_offset = consumed.expect("a transaction in this step has consumed something").to;
        let partition_index = self.input.partition;
        let partition = TxnOffsetCommitRequestPartition { partition_index, committed_offset, ..Default::default() };
        let topic = TxnOffsetCommitRequestTopic { name: self.input.topic.clone(), partitions: vec![partition] };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.clone(),
            group_id: self.group.clone(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            topics: vec![topic],
            ..TxnOffsetCommitRequest::default()
        };
        let version = if self.is_second { 5 } else { self.versions.commit_offsets };
        cluster.wire.send(address, (&request, version), 2 * REQUEST_TIMEOUT_MS, ctx)
    }

    pub(super) fn answered(&mut self, (correlation, frame): Answered, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let Some((_, ask)) = self.under_way.take_if(|(asked, _)| *asked == correlation) else { return };
        let Some(frame) = frame else { return self.unanswered(ask, cluster, ctx) };
        match ask {
            Ask::Coordinator { of_group } => {
                let Some(response) = decode::<FindCoordinatorRequest>(&frame, 3, ctx) else { return };
                let address = (response.error_code == 0).then(|| format!("{}:{}", response.host, response.port));
                if address.is_none() {
                    self.not_before = ctx.now().mono + RETRY_MS;
                }
                *if of_group { &mut self.group_coordinator } else { &mut self.coordinator } = address;
            }
            Ask::Step(step) => {
                let Some(code) = self.take(step, &frame, ctx) else { return };
                if code != 0 {
                    self.failed(step, code, cluster, ctx);
                }
            }
        }
    }

    /// Nobody knows what became of it, and perhaps another broker is to be asked now.
    fn unanswered(&mut self, ask: Ask, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        self.not_before = ctx.now().mono + RETRY_MS;
        self.is_dirty = true;
        self.forget_coordinators();
        cluster.refresh(ctx);
        self.may_have_ended |= matches!(ask, Ask::Step(Step::End { .. }));
        self.lose_patience(ask, ctx);
    }

    /// Instead of trying again, a client may give the transaction up.
    fn lose_patience(&mut self, ask: Ask, ctx: &mut Ctx<'_>) {
        let may = matches!(ask, Ask::Step(Step::Append | Step::CommitOffsets)) && ctx.core.rng.u32(..4) == 0;
        if may {
            self.is_dirty = true;
            self.step = Step::End { is_commit: false };
        }
    }

    fn forget_coordinators(&mut self) {
        (self.coordinator, self.group_coordinator) = (None, None);
    }

    /// Reads an answer: 0 if all is well and the next step is set, else its error. `None` if it cannot be read.
    fn take(&mut self, step: Step, frame: &Bytes, ctx: &mut Ctx<'_>) -> Option<i16> {
        let versions = self.versions;
        match step {
            Step::Topics | Step::Features | Step::Begin | Step::Init { .. } | Step::Position => {
                self.take_start(step, frame, ctx)
            }
            Step::Read => self.take_read(frame, ctx),
            Step::Add => {
                let response = decode::<AddPartitionsToTxnRequest>(frame, versions.add, ctx)?;
                let results = response.results_by_topic_v3_and_below.iter();
                let codes = results.flat_map(|topic| &topic.results_by_partition).map(|one| one.partition_error_code);
                let code = codes.fold(0, |worst, code| if worst == 0 { code } else { worst });
                if code == 0 {
                    self.has_begun = true;
                    self.step = Step::Append;
                }
                Some(code)
            }
            Step::Append => self.take_append(frame, ctx),
            Step::AddOffsets => {
                let response = decode::<AddOffsetsToTxnRequest>(frame, versions.add_offsets, ctx)?;
                if response.error_code == 0 {
                    self.step = Step::CommitOffsets;
                }
                Some(response.error_code)
            }
            Step::CommitOffsets => {
                let version = if self.is_second { 5 } else { versions.commit_offsets };
                let response = decode::<TxnOffsetCommitRequest>(frame, version, ctx)?;
                let partition = response.topics.first().and_then(|topic| topic.partitions.first());
                let Some(partition) = partition else {
                    ctx.violation("an answer to TxnOffsetCommit without the partition".to_owned());
                    return None;
                };
                if partition.error_code == 0 {
                    self.step = Step::End { is_commit: self.will_commit };
                }
                Some(partition.error_code)
            }
            Step::End { is_commit } => self.take_end(is_commit, frame, ctx),
        }
    }

    /// As [`Transactor::take`], of what comes before the first transaction.
    fn take_start(&mut self, step: Step, frame: &Bytes, ctx: &mut Ctx<'_>) -> Option<i16> {
        match step {
            Step::Topics => {
                let response = decode::<CreateTopicsRequest>(frame, 5, ctx)?;
                let is_there = |code| code == 0 || code == ErrorCode::TopicAlreadyExists.code();
                if response.topics.iter().all(|topic| is_there(topic.error_code)) {
                    self.step = Step::Features;
                }
                self.not_before = ctx.now().mono + RETRY_MS;
                Some(0)
            }
            Step::Features | Step::Begin => {
                let response = decode::<ApiVersionsRequest>(frame, 3, ctx)?;
                let level = |name: &str| {
                    let found = response.finalized_features.iter().find(|feature| feature.name == name);
                    found.map_or(0, |feature| feature.max_version_level)
                };
                self.is_second = self.wants_second && level("transaction.version") >= 2;
                self.step = Step::Init { goes_on: false };
                Some(response.error_code)
            }
            Step::Init { .. } => {
                let response = decode::<InitProducerIdRequest>(frame, self.versions.init, ctx)?;
                if response.error_code == 0 {
                    self.become_producer((response.producer_id, response.producer_epoch), ctx);
                    self.step = Step::Position;
                }
                Some(response.error_code)
            }
            Step::Position => {
                let response = decode::<OffsetFetchRequest>(frame, 7, ctx)?;
                let partition = response.topics.first().and_then(|topic| topic.partitions.first());
                let code = if response.error_code == 0 {
                    partition.map_or(0, |found| found.error_code)
                } else {
                    response.error_code
                };
                if code == 0 {
                    self.position = partition.map_or(0, |found| found.committed_offset.max(0));
                    self.step = Step::Begin;
                }
                Some(code)
            }
            _ => None,
        }
    }

    fn become_producer(&mut self, producer: (i64, i16), ctx: &mut Ctx<'_>) {
        if self.producer != producer {
            self.sequences.clear();
        }
        self.producer = producer;
        let owner = ctx.core.history.txn_producers.entry(producer.0).or_insert_with(|| self.transactional_id.clone());
        if *owner != self.transactional_id {
            let text = format!("producer id {} belongs to {owner} and to {}", producer.0, self.transactional_id);
            ctx.violation(text);
        }
    }

    fn take_read(&mut self, frame: &Bytes, ctx: &mut Ctx<'_>) -> Option<i16> {
        let response = decode::<FetchRequest>(frame, self.versions.fetch, ctx)?;
        let data = response.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let Some(data) = data.filter(|data| data.error_code == 0) else {
            // Another leader is asked for the next transaction.
            self.step = self.first_write();
            return Some(0);
        };
        let (mut values, mut to) = match readable(&data, self.position) {
            Ok(found) => found,
            Err(problem) => {
                if ctx.core.rotten_reads() == self.rotten_reads {
                    ctx.violation(format!("{}: {problem}", self.input));
                }
                (Vec::new(), self.position)
            }
        };
        if values.len() > CONSUMED_AT_MOST {
            values.truncate(CONSUMED_AT_MOST);
            to = values.last().map_or(to, |(offset, _)| offset + 1);
        }
        if to > self.position {
            let consumed = Consumed { partition: self.input.clone(), from: self.position, to, values };
            if let Some(txn) = self.noted(ctx) {
                txn.consumed = Some(consumed);
            }
        }
        self.step = self.first_write();
        Some(0)
    }

    fn take_append(&mut self, frame: &Bytes, ctx: &mut Ctx<'_>) -> Option<i16> {
        let version = if self.is_second { 12 } else { self.versions.produce };
        let response = decode::<ProduceRequest>(frame, version, ctx)?;
        let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let Some(partition) = partition else {
            ctx.violation("an answer to Produce without the partition".to_owned());
            return None;
        };
        if ![0, ErrorCode::DuplicateSequenceNumber.code()].contains(&partition.error_code) {
            return Some(partition.error_code);
        }
        self.has_begun = true;
        if let Some((partition, values)) = self.to_append.pop_front() {
            *self.sequences.entry(partition).or_insert(0) += values.len() as i32;
        }
        if ctx.core.rng.u32(..ABANDONED_ONE_IN) == 0 {
            // As a client that dies, and comes back.
            self.step = Step::Features;
            self.not_before = ctx.now().mono + ctx.core.rng.u64(100..6_000);
            return Some(0);
        }
        let has_consumed = self.noted(ctx).is_some_and(|txn| txn.consumed.is_some());
        self.step = match self.is_second {
            _ if !self.to_append.is_empty() => Step::Append,
            true if has_consumed => Step::CommitOffsets,
            false if has_consumed => Step::AddOffsets,
            _ => Step::End { is_commit: self.will_commit },
        };
        Some(0)
    }

    fn take_end(&mut self, is_commit: bool, frame: &Bytes, ctx: &mut Ctx<'_>) -> Option<i16> {
        let version = if self.is_second { 5 } else { self.versions.end };
        let response = decode::<EndTxnRequest>(frame, version, ctx)?;
        if response.error_code != 0 {
            return Some(response.error_code);
        }
        let now = ctx.core.now();
        if let Some(txn) = self.noted(ctx) {
            txn.outcome = if is_commit { TxnOutcome::Committed } else { TxnOutcome::Aborted };
            txn.ended = Some(now);
            let consumed = txn.consumed.as_ref().filter(|_| is_commit);
            self.position = consumed.map_or(self.position, |consumed| consumed.to);
        }
        self.txn = None;
        self.ended += 1;
        self.step = Step::Begin;
        if self.is_second {
            self.become_producer((response.producer_id, response.producer_epoch), ctx);
        } else if self.is_dirty {
            self.step = Step::Init { goes_on: ctx.core.rng.bool() };
        }
        self.not_before = ctx.now().mono + ctx.core.rng.u64(5..150);
        Some(0)
    }

    /// Does what a client does about an error.
    fn failed(&mut self, step: Step, code: i16, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        self.not_before = ctx.now().mono + RETRY_MS;
        let error = ErrorCode::from_code(code);
        match error {
            Some(ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch | ErrorCode::InvalidProducerIdMapping) => {
                ctx.tell(|| format!("{} is fenced at {step:?}: {error:?}", self.transactional_id));
                self.give_up(ctx);
            }
            Some(ErrorCode::ConcurrentTransactions | ErrorCode::CoordinatorLoadInProgress) => {
                self.not_before = ctx.now().mono + ctx.core.rng.u64(10..RETRY_MS);
            }
            Some(ErrorCode::TransactionAbortable | ErrorCode::UnknownProducerId | ErrorCode::InvalidTxnState)
                if matches!(step, Step::Add | Step::Append | Step::AddOffsets | Step::CommitOffsets) =>
            {
                self.is_dirty = true;
                self.step = Step::End { is_commit: false };
            }
            // A producer with transaction.version 2 that was fenced while it asked: its epoch is one behind, as if it had asked
            // before, and the transaction has ended otherwise.
            Some(ErrorCode::InvalidTxnState) if matches!(step, Step::End { .. }) => {
                self.give_up(ctx);
            }
            Some(error) if error.is_retriable() && error != ErrorCode::OutOfOrderSequenceNumber => {
                self.forget_coordinators();
                cluster.refresh(ctx);
                // The record may have been written and not replicated in time.
                self.may_have_ended |= matches!(step, Step::End { .. });
                self.is_dirty = true;
                self.lose_patience(Ask::Step(step), ctx);
            }
            error => ctx.violation(format!("a transactional producer gets {error:?} ({code}) at {step:?}")),
        }
    }

    /// Another has its place, or nobody knows: it comes back later as if it were new.
    fn give_up(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.core.now();
        let may_have_ended = self.may_have_ended;
        if let Some(txn) = self.noted(ctx).filter(|txn| txn.outcome == TxnOutcome::Unknown && !may_have_ended) {
            (txn.outcome, txn.ended) = (TxnOutcome::Aborted, Some(now));
        }
        self.txn = None;
        self.step = Step::Features;
        self.not_before = ctx.now().mono + ctx.core.rng.u64(100..4_000);
    }
}
