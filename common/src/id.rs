//! Newtypes for ids and offsets, so that a partition number is never taken for a broker id.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Id of a coordinator in its ensemble: the N of `server.N` and of the `myid` file, 1 to 255.
    ServerId, u64);
number!(
    /// A ZooKeeper session id, unique in the life of an ensemble.
    SessionId, i64);
number!(
    /// A ZooKeeper transaction id: a 64-bit counter that only grows.
    Zxid, i64);
number!(
    /// `broker.id`, 0 or more.
    BrokerId, i32);
number!(
    /// The number of a leadership of a partition; grows with each election.
    LeaderEpoch, i32);
/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The pair of `topic` and `partition`.
    pub fn new(topic: impl Into<String>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    /// As Kafka names a partition in logs and as a directory: `topic-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
