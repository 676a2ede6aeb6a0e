//! The cluster under test: the real coordinator and broker in one thread, over a simulated network, disk and clock, from
//! one seed; the properties that must hold whatever happens; and scenarios. Opens no socket and reads no clock.

pub mod check;
pub mod fuzz;
pub mod mutants;
pub mod sim;
pub mod verdict;
pub mod wounds;
