//! Clients that use the cluster at random and write down what they asked and what they got. They check nothing but what
//! a single client can see at once.

pub mod kafka;
pub mod zk;
