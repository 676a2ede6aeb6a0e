//! The broker: Kafka's wire, log and coordinators on the ZooKeeper topology. The rooms are pure and take time as an
//! argument; only `server` (a feature) knows sockets, threads and clocks.

pub mod config;
