//! What one server says to another and what the log keeps, as our own plain structs, and their conversion to and from
//! the consensus library's types. Bytes from the network are only ever parsed here, by prost, and each field is checked
//! before the library sees it. Never sends anything.

use super::membership::ConfigurationChange;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use raft::eraftpb;
use raft::eraftpb::{EntryType, MessageType};
use thiserror::Error;

/// Version of the peer protocol; the greeting carries it and a different one is refused.
pub const PEER_PROTOCOL: u32 = 2;

/// Bytes of the length in front of each peer message.
pub const FRAME_HEADER_BYTES: usize = 4;

/// Context of an append or heartbeat is at most this long: ours are eight bytes (read index) or empty.
const CONTEXT_LIMIT_BYTES: usize = 64;

/// No term or index comes near this; the library adds to them without looking.
const NUMBER_LIMIT: u64 = 1 << 62;

/// A peer message that an honest server never sends.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// The bytes are not a peer message.
    #[error("message does not decode: {0}")]
    Malformed(String),
    /// A message without content.
    #[error("message has no body or an unknown one")]
    Empty,
    /// A number that names no message of the consensus protocol, or one that never travels.
    #[error("consensus message kind {0} is not accepted from a peer")]
    Kind(u32),
    /// Entries that do not follow each other.
    #[error("entries do not follow index {0}")]
    EntryOrder(u64),
    /// An entry claims a term above the message's, or terms go back.
    #[error("term of entry {0} is out of order")]
    EntryTerm(u64),
    /// An entry contradicts what is committed here.
    #[error("entry {0} contradicts the committed log")]
    ContradictsCommitted(u64),
    /// An acknowledgement of entries that were never sent.
    #[error("acknowledges index {index}, the log ends at {last}")]
    BeyondLog {
        /// Acknowledged.
        index: u64,
        /// End of the log here.
        last: u64,
    },
    /// A field is longer than it may be.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// The consensus machine refused the message.
    #[error("refused by the consensus machine: {0}")]
    Refused(String),
}

/// One entry of the replicated log: what travels in an append and what the store keeps by its index.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct LogEntry {
    /// Position in the log, from 1.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term of the leader that proposed it.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// 0: transactions (empty for a new leader's first entry); 2: a change of membership.
    #[prost(uint32, tag = "3")]
    pub kind: u32,
    /// Encoded transactions.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// The little that consensus keeps besides the log; read after a restart by [`super::Ensemble::new`].
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct HardState {
    /// Newest term seen.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whom this server voted for in that term, 0 for nobody.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// Known to be committed; a lower bound.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// A place in the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ::prost::Message)]
pub struct LogPosition {
    /// Index of an entry, 0 before the first.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// One message of the consensus protocol; sender and receiver are known from the connection.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct RaftMessage {
    /// The library's number of the message type.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// Sender's term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Term of the entry at `index`.
    #[prost(uint64, tag = "3")]
    pub log_term: u64,
    /// Entry before the first sent one, or the acknowledged one.
    #[prost(uint64, tag = "4")]
    pub index: u64,
    /// Sender's committed index.
    #[prost(uint64, tag = "5")]
    pub commit: u64,
    /// Term of the entry at `commit`, in votes.
    #[prost(uint64, tag = "6")]
    pub commit_term: u64,
    /// A vote or append refused.
    #[prost(bool, tag = "7")]
    pub reject: bool,
    /// Where the follower's log may agree.
    #[prost(uint64, tag = "8")]
    pub reject_hint: u64,
    /// Read index context, or the mark of a leadership transfer.
    #[prost(bytes = "bytes", tag = "9")]
    pub context: Bytes,
    /// Entries to append.
    #[prost(message, repeated, tag = "10")]
    pub entries: Vec<LogEntry>,
}

/// Client writes handed to the leader, in the order in which the sender's clients sent them.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Forward {
    /// Valid for the leader of exactly this term; any other drops it.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// How often the sender has been started; a message of an earlier life is dropped.
    #[prost(uint64, tag = "2")]
    pub boot: u64,
    /// Number of the first request the sender gives this leadership; it follows the sender's last applied one.
    #[prost(uint64, tag = "3")]
    pub base: u64,
    /// Number of the first request in this message; the others count up from it.
    #[prost(uint64, tag = "4")]
    pub first: u64,
    /// The requests, encoded once by the sender's operations layer.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub requests: Vec<Bytes>,
}

/// The leader lacks requests before those it got: the sender starts again from `expected`.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct ForwardGap {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The request number the leader waits for; 0 for the base.
    #[prost(uint64, tag = "2")]
    pub expected: u64,
}

/// Sessions that were heard of since the last such message. A client that only reads counts too: its writes are not
/// what keeps it alive.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Touched {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Session ids.
    #[prost(sint64, repeated, tag = "2")]
    pub sessions: Vec<i64>,
}

/// How far the receiver's log is committed, when no append is there to say so. Unlike an empty append it asks for no
/// answer.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct Commit {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Committed and known to be in the receiver's log.
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// A server's log has become shorter: its data was removed, or the disk lied.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct Behind {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// End of the sender's log, which is before what the leader believed it to have.
    #[prost(uint64, tag = "2")]
    pub last: u64,
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct SnapshotChunk {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Log position that the whole snapshot reflects.
    #[prost(message, required, tag = "2")]
    pub position: LogPosition,
    /// Bytes before this chunk.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// True for the last chunk.
    #[prost(bool, tag = "4")]
    pub last: bool,
    /// Content.
    #[prost(bytes = "bytes", tag = "5")]
    pub data: Bytes,
    /// With the last chunk: the ensemble at that position.
    #[prost(message, optional, tag = "6")]
    pub membership: Option<super::membership::Membership>,
    /// CRC-32C of the content.
    #[prost(fixed32, tag = "7")]
    pub checksum: u32,
}

/// How much of a snapshot has arrived.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct SnapshotAck {
    /// Which snapshot.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Bytes received in order.
    #[prost(uint64, tag = "2")]
    pub received: u64,
}

/// Who a server is, the first thing it says on a new connection to another.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Greeting {
    /// Which life of its store: see [`super::membership::Identity`].
    #[prost(fixed64, tag = "1")]
    pub incarnation: u64,
    /// The ensemble it belongs to, 0 for none yet.
    #[prost(fixed64, tag = "2")]
    pub ensemble: u64,
    /// True if its log holds anything.
    #[prost(bool, tag = "3")]
    pub has_entries: bool,
    /// Who votes, if nothing in its log may have changed that.
    #[prost(uint64, repeated, tag = "4")]
    pub voters: Vec<u64>,
    /// What stands in its own configuration behind `server.N=`.
    #[prost(string, tag = "5")]
    pub line: String,
}

/// A tree's digest at a place in the log.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct DigestAt {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// After this entry.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// The digest.
    #[prost(fixed64, tag = "3")]
    pub digest: u64,
}

/// First message of a connection between servers.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Hello {
    /// [`PEER_PROTOCOL`].
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    /// The dialling server.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// The server it believes to dial.
    #[prost(uint64, tag = "3")]
    pub to: u64,
    /// It will prove who it is before it says more.
    #[prost(bool, tag = "4")]
    pub is_sasl: bool,
}

/// A step of the proof of who dials: the challenge, its answer, and that of who was dialled.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Sasl {
    /// DIGEST-MD5's.
    #[prost(bytes = "bytes", tag = "1")]
    pub token: Bytes,
}

/// Everything that travels between servers.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct PeerMessage {
    /// What it is.
    #[prost(oneof = "PeerBody", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub body: Option<PeerBody>,
}

/// The kinds of peer message.
#[derive(Clone, PartialEq, Eq, ::prost::Oneof)]
pub enum PeerBody {
    /// Consensus.
    #[prost(message, tag = "1")]
    Raft(RaftMessage),
    /// Client writes for the leader.
    #[prost(message, tag = "2")]
    Forward(Forward),
    /// The leader misses forwarded requests.
    #[prost(message, tag = "3")]
    ForwardGap(ForwardGap),
    /// Living sessions.
    #[prost(message, tag = "4")]
    Touched(Touched),
    /// The follower's log is shorter than the leader believes.
    #[prost(message, tag = "5")]
    Behind(Behind),
    /// Snapshot for a lagging follower.
    #[prost(message, tag = "6")]
    SnapshotChunk(SnapshotChunk),
    /// Its progress.
    #[prost(message, tag = "7")]
    SnapshotAck(SnapshotAck),
    /// Greeting.
    #[prost(message, tag = "8")]
    Hello(Hello),
    /// New committed index.
    #[prost(message, tag = "9")]
    Commit(Commit),
    /// Who the sender is.
    #[prost(message, tag = "10")]
    Greeting(Greeting),
    /// The leader asks for the digest at a place, and tells its own.
    #[prost(message, tag = "11")]
    Digest(DigestAt),
    /// The answer.
    #[prost(message, tag = "12")]
    DigestAnswer(DigestAt),
    /// A majority has this digest, the receiver another.
    #[prost(message, tag = "13")]
    Diverged(DigestAt),
    /// The sender's tree is wrong: it wants the leader's. Only the term counts.
    #[prost(message, tag = "14")]
    WantTree(DigestAt),
    /// After the greeting.
    #[prost(message, tag = "15")]
    Sasl(Sasl),
}

impl PeerMessage {
    /// Appends the message with its length in front.
    pub fn encode_frame(&self, out: &mut BytesMut) {
        let len = self.encoded_len();
        out.reserve(FRAME_HEADER_BYTES + len);
        out.put_u32(u32::try_from(len).expect("a peer message is bounded far below 4 GiB"));
        self.encode(out).expect("BytesMut grows");
    }

    /// Reads one message without its length. Byte fields share `bytes`.
    pub fn parse(bytes: Bytes) -> Result<PeerBody, MessageError> {
        let message = PeerMessage::decode(bytes).map_err(|error| MessageError::Malformed(error.to_string()))?;
        message.body.ok_or(MessageError::Empty)
    }
}

/// Cuts the first whole frame off `bytes`; `None` when there is no further whole one.
pub fn next_frame(bytes: &mut Bytes) -> Option<Bytes> {
    if bytes.len() < FRAME_HEADER_BYTES {
        return None;
    }
    let len = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if bytes.len() - FRAME_HEADER_BYTES < len {
        return None;
    }
    bytes.advance(FRAME_HEADER_BYTES);
    Some(bytes.split_to(len))
}

impl LogEntry {
    /// The library's form.
    pub(super) fn into_raft(self) -> eraftpb::Entry {
        // The log keeps it: a slice would keep all that was read from the peer's socket with it.
        let data = Bytes::copy_from_slice(&self.data);
        let mut entry = eraftpb::Entry { index: self.index, term: self.term, data, ..Default::default() };
        if self.kind == EntryType::EntryConfChangeV2 as u32 {
            entry.set_entry_type(EntryType::EntryConfChangeV2);
        }
        entry
    }

    /// Our form of the library's.
    pub(super) fn from_raft(entry: &eraftpb::Entry) -> LogEntry {
        LogEntry { index: entry.index, term: entry.term, kind: entry.get_entry_type() as u32, data: entry.data.clone() }
    }
}

impl HardState {
    /// The library's form.
    pub(super) fn to_raft(self) -> eraftpb::HardState {
        eraftpb::HardState { term: self.term, vote: self.vote, commit: self.commit, ..Default::default() }
    }

    /// Our form of the library's.
    pub(super) fn from_raft(state: &eraftpb::HardState) -> HardState {
        HardState { term: state.term, vote: state.vote, commit: state.commit }
    }
}

/// The kinds that may arrive from a peer. Proposals travel as [`Forward`], snapshots as [`SnapshotChunk`].
const TRAVELLING: [MessageType; 11] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

impl RaftMessage {
    /// Up to where the sender has the log on disk, if it says so.
    pub(crate) fn acknowledged(&self) -> Option<u64> {
        let is_answer = self.kind == MessageType::MsgAppendResponse as u32 && !self.reject;
        is_answer.then_some(self.index)
    }

    /// Our form of the library's; `None` for a kind that never travels.
    pub(super) fn from_raft(message: eraftpb::Message) -> Option<RaftMessage> {
        let kind = message.get_msg_type();
        if !TRAVELLING.contains(&kind) {
            return None;
        }
        Some(RaftMessage {
            kind: kind as u32,
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            commit: message.commit,
            commit_term: message.commit_term,
            reject: message.reject,
            reject_hint: message.reject_hint,
            entries: message.entries.iter().map(LogEntry::from_raft).collect(),
            context: message.context,
        })
    }

    /// The library's form, after every check that needs no knowledge of the log.
    pub(super) fn into_raft(self, from: u64, to: u64) -> Result<eraftpb::Message, MessageError> {
        let kind =
            TRAVELLING.into_iter().find(|kind| *kind as u32 == self.kind).ok_or(MessageError::Kind(self.kind))?;
        let greatest =
            [self.term, self.log_term, self.index, self.commit, self.commit_term, self.reject_hint].into_iter().max();
        if greatest.is_some_and(|number| number > NUMBER_LIMIT) {
            return Err(MessageError::TooLong("number"));
        }
        if self.context.len() > CONTEXT_LIMIT_BYTES {
            return Err(MessageError::TooLong("context"));
        }
        let reading = matches!(kind, MessageType::MsgReadIndex | MessageType::MsgReadIndexResp);
        // A read index travels without a term, as one entry that holds its context; all else has a term, since the
        // library takes a message of term zero for one of its own.
        if (self.term == 0) != (kind == MessageType::MsgReadIndex)
            || (reading && (self.entries.len() != 1 || self.entries[0].data.len() > CONTEXT_LIMIT_BYTES))
            || (!reading && kind != MessageType::MsgAppend && !self.entries.is_empty())
        {
            return Err(MessageError::Kind(self.kind));
        }
        if kind == MessageType::MsgAppend {
            self.check_entries()?;
        }
        let mut message = eraftpb::Message {
            from,
            to,
            term: self.term,
            log_term: self.log_term,
            index: self.index,
            commit: self.commit,
            commit_term: self.commit_term,
            reject: self.reject,
            reject_hint: self.reject_hint,
            context: self.context,
            ..Default::default()
        };
        message.set_msg_type(kind);
        message.set_entries(self.entries.into_iter().map(LogEntry::into_raft).collect());
        Ok(message)
    }

    fn check_entries(&self) -> Result<(), MessageError> {
        // No entry has term zero; the library takes it for the term of every place outside its log.
        if (self.index == 0) != (self.log_term == 0) {
            return Err(MessageError::EntryTerm(self.index));
        }
        let mut index = self.index;
        let mut term = self.log_term;
        for entry in &self.entries {
            index = index.checked_add(1).ok_or(MessageError::EntryOrder(index))?;
            if entry.index != index {
                return Err(MessageError::EntryOrder(index - 1));
            }
            if entry.term < term.max(1) || entry.term > self.term {
                return Err(MessageError::EntryTerm(index));
            }
            if entry.kind == EntryType::EntryConfChangeV2 as u32 {
                ConfigurationChange::parse(entry.data.clone())?;
            }
            term = entry.term;
        }
        Ok(())
    }
}
