//! What both halves need: the two wires, ids, and the seams behind which time, randomness and disk stand.
//! Nothing here opens a socket, reads a clock or starts a thread.

pub mod disk;
pub mod distinguished_name;
pub mod exposition;
pub mod id;
pub mod jaas;
pub mod kafka;
pub mod limits;
pub mod mutants;
mod nearest;
pub mod properties;
pub mod scram;
pub mod summary;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;
pub mod zk;

/// The seeded generator that is handed to everything that needs randomness.
pub use fastrand::Rng;
pub use nearest::nearest;
