//! What clients asked and what they got, with true times, for the checkers. Never read by a process of the simulation.

use super::world::Micros;
use common::id::TopicPartition;
use common::kafka::header::decode_request_header;
use common::kafka::wire::Reader;
use common::zk::ZkError;
use std::collections::{BTreeMap, BTreeSet};

/// What a client of the coordinators asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkAsk {
    /// Write a register; -1 for any version.
    Set {
        /// Which.
        path: String,
        /// Unique in the run.
        value: String,
        /// The version it must have.
        version: i32,
    },
    /// Write two registers at once.
    SetBoth {
        /// Which.
        paths: [String; 2],
        /// Unique in the run.
        value: String,
    },
    /// Read a register.
    Get {
        /// Which.
        path: String,
        /// Was a sync asked for just before, on the same session, and granted?
        is_synced: bool,
    },
    /// Create a node.
    Create {
        /// Where; a number is put behind it if it is sequential.
        path: String,
        /// Unique in the run.
        value: String,
        /// Does it end with the session?
        is_ephemeral: bool,
    },
    /// Delete a node that this client has created.
    Delete {
        /// Which.
        path: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkOutcome {
    /// No answer yet.
    Pending,
    /// Nobody knows: the connection was lost.
    Unknown,
    /// Refused by a server.
    Refused(ZkError),
    /// The registers' versions after the write.
    Set(Vec<i32>),
    /// What was read.
    Read {
        /// The data.
        value: String,
        /// Its version.
        version: i32,
    },
    /// The path that was created.
    Created(String),
    /// The node is gone.
    Deleted,
}

/// One request of a client of the coordinators.
#[derive(Clone, Debug)]
pub struct ZkOp {
    /// Which client.
    pub client: u64,
    /// Its session when the answer came.
    pub session: i64,
    /// When it was asked.
    pub asked: Micros,
    /// When the answer came.
    pub answered: Micros,
    /// What was asked.
    pub ask: ZkAsk,
    /// What came of it.
    pub outcome: ZkOutcome,
}

/// What is known of a session from its client.
#[derive(Clone, Debug, Default)]
pub struct SessionLife {
    /// Negotiated timeout in milliseconds.
    pub timeout_ms: u32,
    /// A moment after which the server heard of it: when the latest answered request was asked.
    pub heard: Micros,
    /// When the client asked to close it.
    pub closed: Option<Micros>,
}

/// Everything written down.
#[derive(Debug, Default)]
pub struct History {
    /// Requests to the coordinators.
    pub zk: Vec<ZkOp>,
    /// Sessions of the clients in `zk`.
    pub sessions: BTreeMap<i64, SessionLife>,
    /// Batches that brokers have acknowledged.
    pub batches: Vec<Acknowledged>,
    /// What consumers read, at any time.
    pub read: BTreeMap<TopicPartition, BTreeMap<i64, String>>,
    /// What was read at the end, from the beginning.
    pub verified: BTreeMap<TopicPartition, BTreeMap<i64, String>>,
    /// What group members committed, or tried to.
    pub commits: Vec<Commit>,
    /// Committed offsets that were read.
    pub offsets: Vec<OffsetSeen>,
    /// What group members were given.
    pub assigned: Vec<Assigned>,
    /// The group of the new protocol.
    pub new_group: NewGroup,
    /// Ids that idempotent producers got.
    pub producer_ids: BTreeSet<i64>,
    /// Every transaction that was begun.
    pub txns: Vec<Txn>,
    /// Producer ids of transactional ids.
    pub txn_producers: BTreeMap<i64, String>,
    /// What each consumer of committed records has read, by its number; 0 read when all was over.
    pub committed: BTreeMap<u64, BTreeMap<TopicPartition, BTreeMap<i64, String>>>,
    /// Replicas that were asked for at last, and granted.
    pub replicas: BTreeMap<TopicPartition, Vec<i32>>,
    /// Values of the compacted topic that brokers have acknowledged.
    pub upserts: Vec<String>,
    /// What each consumer of the compacted topic has read, by its number; 0 read when all was over.
    pub compacted: BTreeMap<u64, BTreeMap<TopicPartition, BTreeMap<i64, String>>>,
    /// What members of a share group were given.
    pub share_deliveries: Vec<ShareDelivery>,
    /// What they said of it.
    pub share_acks: Vec<ShareAck>,
    /// Members that ended their sessions, and when: what they had may be anybody's from then on.
    pub share_ends: Vec<(String, Micros)>,
    /// Start offsets of the share group that were read.
    pub share_starts: Vec<OffsetSeen>,
    /// Controller epochs, and the brokers that spoke in them.
    pub controllers: BTreeMap<i32, BTreeSet<i32>>,
}

/// A batch that brokers have acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Where.
    pub partition: TopicPartition,
    /// Offset of its first record; -1 if the answer did not say.
    pub base_offset: i64,
    /// Its records.
    pub values: Vec<String>,
    /// When the answer came.
    pub at: Micros,
}

/// What became of a transaction, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Nobody asked for it to be committed.
    Open,
    /// Commit was asked for, and nobody knows.
    Unknown,
    /// It is aborted, or surely not committed.
    Aborted,
    /// Its commit is acknowledged.
    Committed,
}

/// What a transaction has consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// From where.
    pub partition: TopicPartition,
    /// The first offset.
    pub from: i64,
    /// The offset that was, or was to be, committed.
    pub to: i64,
    /// The records in between.
    pub values: Vec<(i64, String)>,
}

/// A transaction. What it consumed, it did before it wrote.
#[derive(Clone, Debug)]
pub struct Txn {
    /// Whose; clients may share one.
    pub transactional_id: String,
    /// Producer id and epoch.
    pub producer: (i64, i16),
    /// Batches that were sent, in their order. Values are unique in the run: number of the transaction, number in it.
    pub appends: Vec<(TopicPartition, Vec<String>)>,
    /// If it consumes.
    pub consumed: Option<Consumed>,
    /// When it was begun.
    pub began: Micros,
    /// When its outcome became known.
    pub ended: Option<Micros>,
    /// What became of it.
    pub outcome: TxnOutcome,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Nobody knows; it may even happen later.
    Unknown,
    /// It did not happen.
    Refused,
    /// It is acknowledged.
    Done,
}

/// One partition's offset that a group member wanted to commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The member's id.
    pub member: String,
    /// The generation it believed in.
    pub generation: i32,
    /// Which partition.
    pub partition: TopicPartition,
    /// The offset.
    pub offset: i64,
    /// When it was asked.
    pub asked: Micros,
    /// When the answer came.
    pub answered: Option<Micros>,
    /// What it was.
    pub outcome: CommitOutcome,
}

/// What members of a group of the new protocol did.
#[derive(Clone, Debug, Default)]
pub struct NewGroup {
    /// What they committed, or tried to; their generation is the member's epoch.
    pub commits: Vec<Commit>,
    /// Committed offsets that they read.
    pub offsets: Vec<OffsetSeen>,
    /// What they had.
    pub held: Vec<Held>,
}

/// A partition that a member of a group of the new protocol had.
#[derive(Clone, Debug)]
pub struct Held {
    /// The member's id.
    pub member: String,
    /// Which partition.
    pub partition: TopicPartition,
    /// When it began to commit there, at the earliest.
    pub from: Micros,
    /// When it gave the partition up, or heard that it is no member any more.
    pub until: Option<Micros>,
}

/// Records in a row that a member of a share group acquired.
#[derive(Clone, Debug)]
pub struct ShareDelivery {
    /// The member's id.
    pub member: String,
    /// The broker that gave them.
    pub broker: i32,
    /// Which partition.
    pub partition: TopicPartition,
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// The how manieth delivery this is said to be.
    pub count: i16,
    /// When it was asked.
    pub asked: Micros,
    /// When the answer came.
    pub answered: Micros,
    /// For how long they are the member's.
    pub lock_ms: u64,
}

/// What a member of a share group says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareWord {
    /// It is done.
    Accept,
    /// It is to be delivered again.
    Release,
    /// It is not to be delivered again.
    Reject,
}

impl ShareWord {
    /// As a request says it.
    pub fn code(self) -> i8 {
        match self {
            ShareWord::Accept => 1,
            ShareWord::Release => 2,
            ShareWord::Reject => 3,
        }
    }
}

/// What a member of a share group said of records in a row.
#[derive(Clone, Debug)]
pub struct ShareAck {
    /// The member's id.
    pub member: String,
    /// Which partition.
    pub partition: TopicPartition,
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// What it said.
    pub word: ShareWord,
    /// When; the end of time if it never did.
    pub asked: Micros,
    /// When the answer came.
    pub answered: Option<Micros>,
    /// What it was; `Refused` if it was never said.
    pub outcome: CommitOutcome,
}

/// A committed offset that was read.
#[derive(Clone, Debug)]
pub struct OffsetSeen {
    /// Which partition.
    pub partition: TopicPartition,
    /// The offset; -1 if there is none.
    pub offset: i64,
    /// When it was asked.
    pub asked: Micros,
    /// When the answer came.
    pub answered: Micros,
}

/// What a group member was given in a generation.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The member's id.
    pub member: String,
    /// The generation.
    pub generation: i32,
    /// Its share.
    pub partitions: BTreeSet<TopicPartition>,
    /// When it heard of it.
    pub at: Micros,
}

impl History {
    /// Notes a request; its number.
    pub fn ask(&mut self, client: u64, ask: ZkAsk, now: Micros) -> u64 {
        self.zk.push(ZkOp { client, session: 0, asked: now, answered: now, ask, outcome: ZkOutcome::Pending });
        self.zk.len() as u64 - 1
    }

    /// Notes the answer to a request.
    pub fn answer(&mut self, number: u64, session: i64, outcome: ZkOutcome, now: Micros) {
        let op = &mut self.zk[number as usize];
        (op.session, op.answered, op.outcome) = (session, now, outcome);
        let has_answer = !matches!(op.outcome, ZkOutcome::Pending | ZkOutcome::Unknown);
        let asked = op.asked;
        if let Some(life) = self.sessions.get_mut(&session).filter(|_| has_answer) {
            life.heard = life.heard.max(asked);
        }
    }

    /// Notes a batch that is acknowledged.
    pub fn acknowledged(&mut self, partition: &TopicPartition, base_offset: i64, values: Vec<String>, at: Micros) {
        self.batches.push(Acknowledged { partition: partition.clone(), base_offset, values, at });
    }

    /// Notes a record that was read; an error if another was read at its place before.
    pub fn read(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        value: String,
        (is_verifier, at): (bool, Micros),
    ) -> Result<(), String> {
        let first = self.read.entry(partition.clone()).or_default().entry(offset).or_insert_with(|| value.clone());
        if *first != value {
            return Err(format!("{partition} offset {offset} was {first} and is {value} at {at} us"));
        }
        if is_verifier {
            self.verified.entry(partition.clone()).or_default().insert(offset, value);
        }
        Ok(())
    }

    /// Notes the controller epoch in a request that a controller sends: with its length prefix, the body begins with the
    /// controller's id and epoch.
    pub fn controller_spoke(&mut self, broker: i32, frame: &bytes::Bytes) {
        let mut reader = Reader::new(frame.slice(4..));
        let Ok(header) = decode_request_header(&mut reader) else { return };
        let Ok(id) = reader.get_i32() else { return };
        // From these versions on a flag stands between.
        let has_flag = matches!((header.api_key, header.api_version), (4, 7..) | (6, 8..) | (5, 4..));
        if has_flag && reader.get_i8().is_err() {
            return;
        }
        if let Ok(epoch) = reader.get_i32() {
            let speakers = self.controllers.entry(epoch).or_default();
            speakers.insert(broker);
            speakers.insert(id);
        }
    }
}
