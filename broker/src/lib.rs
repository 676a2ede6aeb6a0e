//! The broker: Kafka's wire, log and coordinators on the ZooKeeper topology. The rooms are pure and take time as an
//! argument; only `server` (a feature) knows sockets, threads and clocks.

pub mod access;
pub mod api;
pub mod broker;
pub mod cluster;
pub mod config;
pub mod connection;
mod controller_link;
mod deadline;
mod effects;
mod end_offsets;
mod entities;
mod features;
mod gathered;
pub mod group;
mod in_order;
mod internal_topic;
mod isolation;
pub mod journal;
mod leaders;
pub mod log;
pub mod metrics;
pub mod outbox;
pub mod partition;
mod pattern;
pub mod peers;
mod producer_blocks;
pub mod producer_ids;
pub mod quota;
mod remote_reads;
mod replication;
pub mod report;
mod resources;
#[cfg(feature = "server")]
pub mod server;
pub mod share;
pub mod share_settings;
mod share_states;
mod shutdown;
mod suspects;
pub mod telemetry;
pub mod tiered;
mod tiering;
mod topics_on_demand;
pub mod txn;
mod txn_peers;
mod wiring;
