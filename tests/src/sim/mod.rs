//! The simulator: time, network and disk in memory, and the real servers and clients on them. The same seed gives the
//! same run, event for event.

pub mod broker;
pub mod coordinator;
pub mod disk;
pub mod faults;
pub mod history;
pub mod network;
pub mod scenario;
pub mod trace;
pub mod workload;
pub mod world;
