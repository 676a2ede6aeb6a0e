//! Connections between hosts as TCP gives them: bytes in order or not at all, refused where nobody listens, reset when a
//! process ends, silent while a link is cut or a machine is off. Decides no fault by itself and knows no protocol.

use super::world::{Host, Micros};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A connection, or as a process knows it one end of it: a process that connects to itself has both. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conn(pub u64);

/// In the number of an end that was dialled.
const ACCEPTED: u64 = 1 << 40;

impl Conn {
    /// One end of this connection.
    pub(crate) fn end(self, side: usize) -> Conn {
        if side == ACCEPTOR { Conn(self.0 | ACCEPTED) } else { self }
    }

    /// The connection that this end is of, and which end.
    pub(crate) fn split(self) -> (Conn, usize) {
        if self.0 & ACCEPTED == 0 { (self, DIALLER) } else { (Conn(self.0 & !ACCEPTED), ACCEPTOR) }
    }
}

/// The end that dialled.
pub(crate) const DIALLER: usize = 0;
/// The end that was dialled.
pub(crate) const ACCEPTOR: usize = 1;

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Syn,
    SynAck,
    Refuse,
    Bytes(Bytes),
    Fin,
    Reset,
}

/// One direction. While packets wait there is either one event that will deliver the first, or the direction is stalled.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) packets: VecDeque<(Micros, Packet)>,
    pub(crate) last_arrival: Micros,
    pub(crate) is_stalled: bool,
}

/// Both ends and both directions; index 0 is the dialler.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) hosts: [Host; 2],
    /// Which life of the process on that host holds the end.
    pub(crate) lives: [u32; 2],
    pub(crate) is_open: [bool; 2],
    pub(crate) port: u16,
    /// What is under way to that end.
    pub(crate) towards: [Stream; 2],
}

/// All connections and the state of the links.
#[derive(Debug, Default)]
pub struct Network {
    pub(crate) connections: BTreeMap<Conn, Connection>,
    next: u64,
    /// Nothing gets from the first to the second.
    cuts: BTreeSet<(Host, Host)>,
    /// Extra delay of a link, at most, in microseconds.
    slow: BTreeMap<(Host, Host), Micros>,
    /// Links that lose one packet in so many. TCP sends a lost packet again, so what is left of it is a delay.
    lossy: BTreeMap<(Host, Host), u32>,
}

impl Network {
    pub(crate) fn add(&mut self, hosts: [Host; 2], life: u32, port: u16) -> Conn {
        self.next += 1;
        let towards = [Stream::default(), Stream::default()];
        let connection = Connection { hosts, lives: [life, 0], is_open: [true, false], port, towards };
        self.connections.insert(Conn(self.next), connection);
        Conn(self.next)
    }

    /// Cuts one direction of a link.
    pub fn cut(&mut self, from: Host, to: Host) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn mend(&mut self, from: Host, to: Host) {
        self.cuts.remove(&(from, to));
    }

    /// True if nothing gets from one to the other.
    pub fn is_cut(&self, from: Host, to: Host) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Both directions of the links that are cut.
    pub fn cuts(&self) -> Vec<(Host, Host)> {
        self.cuts.iter().copied().collect()
    }

    /// Delays one direction of a link by up to so much; 0 ends it.
    pub fn set_slow(&mut self, from: Host, to: Host, delay: Micros) {
        if delay == 0 {
            self.slow.remove(&(from, to));
        } else {
            self.slow.insert((from, to), delay);
        }
    }

    /// Has a link lose one packet in so many; 0 ends it.
    pub fn set_lossy(&mut self, from: Host, to: Host, one_in: u32) {
        if one_in == 0 {
            self.lossy.remove(&(from, to));
        } else {
            self.lossy.insert((from, to), one_in);
        }
    }

    pub(crate) fn loses_one_in(&self, from: Host, to: Host) -> Option<u32> {
        self.lossy.get(&(from, to)).copied()
    }

    pub(crate) fn slowness(&self, from: Host, to: Host) -> Micros {
        self.slow.get(&(from, to)).copied().unwrap_or(0)
    }

    /// The connections that an end on this host is open of.
    pub(crate) fn open_at(&self, host: Host) -> Vec<(Conn, usize)> {
        let mut ends = Vec::new();
        for (id, connection) in &self.connections {
            ends.extend([DIALLER, ACCEPTOR].into_iter().filter_map(|side| {
                (connection.hosts[side] == host && connection.is_open[side]).then_some((*id, side))
            }));
        }
        ends
    }

    /// The directions that are stalled.
    pub(crate) fn stalled(&self) -> Vec<(Conn, usize)> {
        let mut found = Vec::new();
        for (id, connection) in &self.connections {
            found.extend(
                [DIALLER, ACCEPTOR]
                    .into_iter()
                    .filter_map(|side| connection.towards[side].is_stalled.then_some((*id, side))),
            );
        }
        found
    }

    /// Forgets a connection that has neither ends nor packets.
    pub(crate) fn tidy(&mut self, conn: Conn) {
        let is_over = self.connections.get(&conn).is_some_and(|connection| {
            !connection.is_open.iter().any(|open| *open)
                && connection.towards.iter().all(|stream| stream.packets.is_empty())
        });
        if is_over {
            self.connections.remove(&conn);
        }
    }
}
