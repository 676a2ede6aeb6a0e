//! Share groups (KIP-932) on the side of the partitions: the share coordinator, which keeps the state of share partitions in
//! `__share_group_state`, what asks it (`persister.rs`), and the share partitions that this broker leads. Knows nothing of
//! members and their heartbeats; the groups' room does.

pub mod batches;
pub(crate) mod batches_wire;
pub mod coordinator;
pub(crate) mod leading;
mod log_batches;
pub mod partition;
pub mod persister;
mod persister_wire;
pub mod records;
pub mod session;
mod waiting;

pub use coordinator::{ShareStateError, ShareStates, StateReply, StateRequest};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Name of the topic that holds the state of share partitions.
pub const SHARE_STATE_TOPIC: &str = "__share_group_state";
/// A start offset that nobody has decided on yet.
pub const NO_START_OFFSET: i64 = -1;
/// A count of finished deliveries that is not known.
pub const NO_COUNT: i32 = -1;

/// One share partition: a partition as one group reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShareKey {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
}

impl ShareKey {
    /// `group:topic-id:partition`, by which its coordinator is found.
    pub fn text(&self) -> String {
        format!("{}:{}:{}", self.group, URL_SAFE_NO_PAD.encode(self.topic_id.as_bytes()), self.partition)
    }

    /// Reads `text`; a group's name may hold colons. `None` if it is none.
    pub fn parse(text: &str) -> Option<ShareKey> {
        let mut parts = text.rsplitn(3, ':');
        let partition = parts.next()?.parse().ok()?;
        let topic_id = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let topic_id = Uuid::from_slice(&topic_id).ok()?;
        let group = parts.next().filter(|group| !group.trim().is_empty())?.to_owned();
        Some(ShareKey { group, topic_id, partition })
    }
}

/// What became of records, as it is recorded. Acquired records are not recorded: whoever loads the state finds them as they
/// were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryState {
    /// To be delivered, again or for the first time.
    Available,
    /// Accepted.
    Acknowledged,
    /// Rejected, delivered too often, or not there.
    Archived,
}

impl DeliveryState {
    /// As it is recorded.
    pub fn code(self) -> i8 {
        match self {
            DeliveryState::Available => 0,
            DeliveryState::Acknowledged => 2,
            DeliveryState::Archived => 4,
        }
    }

    /// Reads `code`; `None` if it is no state that is recorded.
    pub fn from_code(code: i8) -> Option<DeliveryState> {
        match code {
            0 => Some(DeliveryState::Available),
            2 => Some(DeliveryState::Acknowledged),
            4 => Some(DeliveryState::Archived),
            _ => None,
        }
    }

    /// True if the record will not be delivered any more.
    pub fn is_final(self) -> bool {
        self != DeliveryState::Available
    }
}

/// Records in a row of which the same is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBatch {
    /// First offset.
    pub first: i64,
    /// Last offset, at least `first`.
    pub last: i64,
    /// What became of them.
    pub state: DeliveryState,
    /// How often they were delivered.
    pub delivery_count: i16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_kafka_writes_them() {
        let key = ShareKey { group: "a:b".to_owned(), topic_id: Uuid::from_u128(1), partition: 7 };
        assert_eq!(key.text(), "a:b:AAAAAAAAAAAAAAAAAAAAAQ:7");
        assert_eq!(ShareKey::parse(&key.text()), Some(key));
        for bad in ["", "a", "a:b", ":AAAAAAAAAAAAAAAAAAAAAQ:7", "a:AAAAAAAAAAAAAAAAAAAAAQ:x", "a:AAAA:7", "a:?:7"] {
            assert_eq!(ShareKey::parse(bad), None, "{bad}");
        }
    }
}
