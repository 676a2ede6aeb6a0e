//! The properties that hold whatever happens, one a file. A checker reads what clients noted and what the servers hold; it
//! changes nothing.

pub mod committed_reads;
pub mod consumed_once;
pub mod ephemerals;
pub mod fenced_states;
pub mod in_sync;
pub mod logs_match;
pub mod newest_stays;
pub mod offsets_stay;
pub mod one_controller;
pub mod one_leader;
pub mod one_owner;
pub mod records_stay;
pub mod registers;
pub mod replicas_as_asked;
pub mod share_records;
pub mod trees_agree;
pub mod txn_cycles;
pub mod txns_end;
pub mod txns_whole;
pub mod watches;
pub mod zk_writes_once;
pub mod zk_writes_stay;

use crate::sim::broker::BrokerProcess;
use crate::sim::coordinator::CoordinatorProcess;
use crate::sim::world::{Host, Program, World};

/// The running coordinators.
pub fn coordinators(world: &World) -> impl Iterator<Item = (Host, &CoordinatorProcess)> {
    (0..world.core.machines.len()).map(Host).filter_map(|host| match world.program(host) {
        Some(Program::Coordinator(process)) => Some((host, &**process)),
        _ => None,
    })
}

/// The running brokers.
pub fn brokers(world: &World) -> impl Iterator<Item = (Host, &BrokerProcess)> {
    (0..world.core.machines.len()).map(Host).filter_map(|host| match world.program(host) {
        Some(Program::Broker(process)) => Some((host, &**process)),
        _ => None,
    })
}
