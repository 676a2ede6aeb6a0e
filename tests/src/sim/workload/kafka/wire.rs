//! A Kafka client's connections: one to each address, requests answered in order, each with a time limit. Never asks
//! again by itself.

use crate::sim::network::Conn;
use crate::sim::world::{Ctx, Happening};
use bytes::{Bytes, BytesMut};
use common::kafka::header::{RequestHeader, encode_request};
use common::kafka::messages::Request;
use common::time::Millis;
use std::collections::{BTreeMap, VecDeque};

/// Names a request.
pub type Correlation = i32;

/// A request and its answer without length prefix, `None` if there will be none.
pub type Answered = (Correlation, Option<Bytes>);

#[derive(Debug)]
struct Link {
    conn: Conn,
    is_open: bool,
    unsent: Vec<Bytes>,
    waiting: VecDeque<(Correlation, Millis)>,
    buffer: BytesMut,
}

/// The connections.
#[derive(Debug, Default)]
pub struct Wire {
    links: BTreeMap<String, Link>,
    next: Correlation,
}

impl Wire {
    /// Sends a request; its name.
    pub fn send<R: Request>(
        &mut self,
        address: &str,
        (request, version): (&R, i16),
        timeout_ms: u64,
        ctx: &mut Ctx<'_>,
    ) -> Correlation {
        self.next += 1;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: self.next,
            client_id: Some("sim".to_owned()),
        };
        let frame = encode_request(&header, request).expect("a client sets only what the version has");
        let link = self.links.entry(address.to_owned()).or_insert_with(|| Link {
            conn: ctx.dial(address),
            is_open: false,
            unsent: Vec::new(),
            waiting: VecDeque::new(),
            buffer: BytesMut::new(),
        });
        link.waiting.push_back((self.next, ctx.now().mono + timeout_ms));
        if link.is_open {
            ctx.send(link.conn, frame);
        } else {
            link.unsent.push(frame);
        }
        self.next
    }

    fn link(&mut self, conn: Conn) -> Option<(String, &mut Link)> {
        self.links.iter_mut().find(|(_, link)| link.conn == conn).map(|(address, link)| (address.clone(), link))
    }

    /// What came of it.
    pub fn happen(&mut self, happening: &Happening, ctx: &mut Ctx<'_>) -> Vec<Answered> {
        match happening {
            Happening::Opened(conn) => {
                if let Some((_, link)) = self.link(*conn) {
                    link.is_open = true;
                    for frame in link.unsent.drain(..) {
                        ctx.send(*conn, frame);
                    }
                }
                Vec::new()
            }
            Happening::Bytes(conn, bytes) => self.bytes(*conn, bytes, ctx),
            Happening::Refused(conn) | Happening::Ended(conn) => {
                let Some((address, _)) = self.link(*conn) else { return Vec::new() };
                self.drop_link(&address)
            }
            Happening::Accepted { .. } | Happening::Timer(_) => Vec::new(),
        }
    }

    fn bytes(&mut self, conn: Conn, bytes: &[u8], ctx: &mut Ctx<'_>) -> Vec<Answered> {
        let mut answered = Vec::new();
        let Some((_, link)) = self.link(conn) else { return answered };
        link.buffer.extend_from_slice(bytes);
        while let Some(prefix) = link.buffer.first_chunk::<4>() {
            let len = i32::from_be_bytes(*prefix).unsigned_abs() as usize;
            if link.buffer.len() < 4 + len {
                break;
            }
            let frame = link.buffer.split_to(4 + len).freeze().slice(4..);
            let Some((correlation, _)) = link.waiting.pop_front() else {
                ctx.violation("a client is answered what it did not ask".to_owned());
                break;
            };
            if frame.first_chunk::<4>().map(|id| i32::from_be_bytes(*id)) != Some(correlation) {
                ctx.violation("answers do not come in the order of the requests".to_owned());
            }
            answered.push((correlation, Some(frame)));
        }
        answered
    }

    fn drop_link(&mut self, address: &str) -> Vec<Answered> {
        let link = self.links.remove(address);
        link.into_iter().flat_map(|link| link.waiting).map(|(correlation, _)| (correlation, None)).collect()
    }

    /// Closes connections on which a request has waited too long.
    pub fn expire(&mut self, ctx: &mut Ctx<'_>) -> Vec<Answered> {
        let now = ctx.now().mono;
        let late = self.links.iter().filter(|(_, link)| link.waiting.front().is_some_and(|(_, until)| *until <= now));
        let late: Vec<String> = late.map(|(address, _)| address.clone()).collect();
        let mut answered = Vec::new();
        for address in late {
            if let Some(link) = self.links.get(&address) {
                ctx.close(link.conn);
            }
            answered.extend(self.drop_link(&address));
        }
        answered
    }
}
