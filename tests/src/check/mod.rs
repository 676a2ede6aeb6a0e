//! The properties that hold whatever happens, one a file. A checker reads what clients noted and what the servers hold; it
//! changes nothing.

pub mod ephemerals;
pub mod in_sync;
pub mod one_controller;
pub mod records_stay;
pub mod registers;
pub mod trees_agree;
pub mod zk_writes_stay;

use crate::sim::coordinator::CoordinatorProcess;
use crate::sim::world::{Host, Program, World};

/// The running coordinators.
pub fn coordinators(world: &World) -> impl Iterator<Item = (Host, &CoordinatorProcess)> {
    (0..world.core.machines.len()).map(Host).filter_map(|host| match world.program(host) {
        Some(Program::Coordinator(process)) => Some((host, &**process)),
        _ => None,
    })
}
