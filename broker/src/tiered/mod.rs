//! Tiered storage (KIP-405) as Kafka 3.9 has it with ZooKeeper: full segments of topics with `remote.storage.enable` are copied
//! to a store that all brokers see, `__remote_log_metadata` tells what is there, and local retention may then be short. The
//! machine here decides what is copied, what is removed and when; whoever runs it reads and writes the metadata topic and the
//! store, and tells it what came of it. Knows no partition, no socket and no clock.

mod expiry;
mod index;
mod lane;
pub mod lineage;
mod machine;
mod record;
mod segment;
mod store;

pub use index::Index;
pub use lane::{Entry, Lane};
pub use machine::{LogFacts, Logs, Machine, NotReady, Role, Settings, Work};
pub use record::{MetadataRecord, RecordError, metadata_partition};
pub use segment::{PartitionDeleteState, Place, RemoteSegment, SegmentState, SegmentUpdate};
pub use store::{KnownStore, Store};

/// The topic that tells what is in the store.
pub const METADATA_TOPIC: &str = "__remote_log_metadata";
