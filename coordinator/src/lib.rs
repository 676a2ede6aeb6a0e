//! The coordinator: a ZooKeeper-compatible ensemble. All modules but `server` are synchronous and deterministic: they
//! take time, randomness and persisted state as arguments and say what should happen.

pub mod admin;
pub mod audit;
pub mod config;
pub mod connection;
pub mod connection_tokens;
pub mod ensemble;
pub mod four_letter;
pub mod metrics;
pub mod node;
pub mod ops;
#[cfg(feature = "server")]
pub mod server;
pub mod store;
pub mod trace;
pub mod tree;
pub mod zookeeper_data;
