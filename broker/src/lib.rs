//! The broker: Kafka's wire, log and coordinators on the ZooKeeper topology. The rooms are pure and take time as an
//! argument; only `server` (a feature) knows sockets, threads and clocks.

pub mod api;
pub mod broker;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod log;
pub mod outbox;
pub mod partition;
pub mod peers;
#[cfg(feature = "server")]
pub mod server;
