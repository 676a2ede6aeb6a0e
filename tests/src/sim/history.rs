//! What clients asked and what they got, with true times, for the checkers. Never read by a process of the simulation.

use super::world::Micros;
use common::zk::ZkError;
use std::collections::BTreeMap;

/// What a client of the coordinators asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkAsk {
    /// Write a register; -1 for any version.
    Set {
        /// Which.
        path: String,
        /// Unique in the run.
        value: String,
        /// The version it must have.
        version: i32,
    },
    /// Write two registers at once.
    SetBoth {
        /// Which.
        paths: [String; 2],
        /// Unique in the run.
        value: String,
    },
    /// Read a register.
    Get {
        /// Which.
        path: String,
        /// Was a sync asked for just before, on the same session, and granted?
        is_synced: bool,
    },
    /// Create a node.
    Create {
        /// Where; a number is put behind it if it is sequential.
        path: String,
        /// Unique in the run.
        value: String,
        /// Does it end with the session?
        is_ephemeral: bool,
    },
    /// Delete a node that this client has created.
    Delete {
        /// Which.
        path: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkOutcome {
    /// No answer yet.
    Pending,
    /// Nobody knows: the connection was lost.
    Unknown,
    /// Refused by a server.
    Refused(ZkError),
    /// The registers' versions after the write.
    Set(Vec<i32>),
    /// What was read.
    Read {
        /// The data.
        value: String,
        /// Its version.
        version: i32,
    },
    /// The path that was created.
    Created(String),
    /// The node is gone.
    Deleted,
}

/// One request of a client of the coordinators.
#[derive(Clone, Debug)]
pub struct ZkOp {
    /// Which client.
    pub client: u64,
    /// Its session when the answer came.
    pub session: i64,
    /// When it was asked.
    pub asked: Micros,
    /// When the answer came.
    pub answered: Micros,
    /// What was asked.
    pub ask: ZkAsk,
    /// What came of it.
    pub outcome: ZkOutcome,
}

/// What is known of a session from its client.
#[derive(Clone, Debug, Default)]
pub struct SessionLife {
    /// Negotiated timeout in milliseconds.
    pub timeout_ms: u32,
    /// A moment after which the server heard of it: when the latest answered request was asked.
    pub heard: Micros,
    /// When the client asked to close it.
    pub closed: Option<Micros>,
}

/// Everything written down.
#[derive(Debug, Default)]
pub struct History {
    /// Requests to the coordinators.
    pub zk: Vec<ZkOp>,
    /// Sessions of the clients in `zk`.
    pub sessions: BTreeMap<i64, SessionLife>,
}

impl History {
    /// Notes a request; its number.
    pub fn ask(&mut self, client: u64, ask: ZkAsk, now: Micros) -> u64 {
        self.zk.push(ZkOp { client, session: 0, asked: now, answered: now, ask, outcome: ZkOutcome::Pending });
        self.zk.len() as u64 - 1
    }

    /// Notes the answer to a request.
    pub fn answer(&mut self, number: u64, session: i64, outcome: ZkOutcome, now: Micros) {
        let op = &mut self.zk[number as usize];
        (op.session, op.answered, op.outcome) = (session, now, outcome);
        let has_answer = !matches!(op.outcome, ZkOutcome::Pending | ZkOutcome::Unknown);
        let asked = op.asked;
        if let Some(life) = self.sessions.get_mut(&session).filter(|_| has_answer) {
            life.heard = life.heard.max(asked);
        }
    }
}
