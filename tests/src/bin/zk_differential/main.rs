//! Sends the same requests to two ZooKeeper servers and compares all that comes back: answers, errors, notifications and
//! closed connections. Times, session ids and passwords are masked, zxids counted from where a run began, and children
//! and the events of a closed session's ephemerals (which ZooKeeper gives in the order of a hash) sorted. Knows nothing
//! of either server but its address.
//!
//! `zk_differential REAL OURS [FIRST-SEED [SEEDS [STEPS]]]`; without seeds only the written cases run.
#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a tool whose findings are its output")]

mod cases;
mod random;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::zk::frame::{encode_connect_request, encode_request};
use common::zk::opcode::{XID_AUTH, XID_NOTIFICATION, XID_PING};
use common::zk::{
    ConnectRequest, ConnectResponse, OpCode, Reader, ReplyHeader, Request, Response, Stat, WatcherEvent, Writer,
    ZkError,
};
use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

/// Differences after which a run ends: what follows would mostly be their echo.
const TOO_MANY: usize = 5;
/// Sessions of a run.
const SESSIONS: usize = 3;

/// What came back, masked.
#[derive(Clone, Debug, PartialEq)]
enum Got {
    /// A notification: zxid, kind, state, path.
    Event(i64, i32, i32, String),
    /// An answer: xid, zxid, error, body.
    Answer(i32, i64, i32, Body),
    /// A handshake's: timeout, whether there is a session, length of the frame.
    Session(i32, bool, usize),
    /// The server closed the connection.
    Closed,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Decoded(Response),
    Bytes(Bytes),
}

/// One server and the sessions on it.
struct Side {
    name: &'static str,
    address: String,
    lines: Vec<Line>,
    /// The zxid at which the run began.
    base: i64,
    /// Sessions by the order in which they were opened.
    sessions: BTreeMap<i64, i64>,
}

struct Line {
    stream: TcpStream,
    buffer: BytesMut,
    session: i64,
    password: Bytes,
}

impl Line {
    fn dial(address: &str) -> Line {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { stream, buffer: BytesMut::new(), session: 0, password: Bytes::new() }
    }

    /// The next frame; `None` if the connection is closed.
    fn frame(&mut self) -> Option<Bytes> {
        loop {
            if self.buffer.len() >= 4 {
                let len = (&self.buffer[..4]).get_i32() as usize;
                if self.buffer.len() >= 4 + len {
                    self.buffer.advance(4);
                    return Some(self.buffer.split_to(len).freeze());
                }
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer within 10 s"),
                Err(_) => return None,
            }
        }
    }
}

impl Side {
    fn new(name: &'static str, address: &str) -> Side {
        Side { name, address: address.to_owned(), lines: Vec::new(), base: 0, sessions: BTreeMap::new() }
    }

    /// Opens the sessions of a run and notes where it begins.
    fn begin(&mut self) {
        self.lines.clear();
        self.sessions.clear();
        for _ in 0..SESSIONS {
            let line = self.open();
            self.lines.push(line);
        }
        self.rebase();
    }

    /// From here on zxids count from now.
    fn rebase(&mut self) {
        let request = Request::Exists { path: "/".into(), watch: false };
        self.write(0, 1, &request);
        let frame = self.lines[0].frame().expect("an open session");
        self.base = ReplyHeader::decode(&mut Reader::new(frame)).unwrap().zxid;
    }

    fn open(&mut self) -> Line {
        let mut line = Line::dial(&self.address);
        let request = ConnectRequest {
            timeout_ms: 30_000,
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        let mut bytes = BytesMut::new();
        encode_connect_request(&request, &mut bytes);
        line.stream.write_all(&bytes).unwrap();
        let frame = line.frame().expect("a handshake is answered");
        let answer = ConnectResponse::decode(&mut Reader::new(frame)).unwrap();
        (line.session, line.password) = (answer.session_id, answer.password);
        let number = self.sessions.len() as i64 + 1;
        self.sessions.insert(line.session, number);
        line
    }

    fn write(&mut self, who: usize, xid: i32, request: &Request) {
        let mut bytes = BytesMut::new();
        encode_request(xid, request, &mut bytes);
        // A closed connection shows when it is read.
        let _ = self.lines[who].stream.write_all(&bytes);
    }

    /// Sends a request of the given side's form and collects everything up to its answer.
    fn ask(&mut self, who: usize, xid: i32, request: &Request) -> Vec<Got> {
        let request = self.translate(request);
        self.write(who, xid, &request);
        self.collect(who, xid, Some(request.opcode()))
    }

    /// Zxids in requests count from where the run began, too.
    fn translate(&self, request: &Request) -> Request {
        let mut request = request.clone();
        if let Request::SetWatches(watches) | Request::SetWatches2(watches) = &mut request {
            watches.relative_zxid += self.base;
        }
        request
    }

    fn collect(&mut self, who: usize, xid: i32, opcode: Option<OpCode>) -> Vec<Got> {
        let mut got = Vec::new();
        loop {
            let Some(frame) = self.lines[who].frame() else {
                got.push(Got::Closed);
                return got;
            };
            let whole = frame.clone();
            let mut reader = Reader::new(frame);
            let header = ReplyHeader::decode(&mut reader).unwrap();
            let zxid = self.relative(header.zxid);
            if header.xid == XID_NOTIFICATION && xid != XID_NOTIFICATION {
                let event = WatcherEvent::decode(&mut reader).unwrap();
                got.push(Got::Event(zxid, event.kind.code(), event.state.code(), event.path));
                continue;
            }
            let body = whole.slice(16..);
            got.push(Got::Answer(header.xid, zxid, header.err, self.body(opcode, header.err, body)));
            if header.xid == xid {
                // After this answer the server closes the connection, sooner or later.
                if (header.zxid, header.err) == (-1, ZkError::Unimplemented.code()) {
                    while self.lines[who].frame().is_some() {}
                    got.push(Got::Closed);
                }
                return got;
            }
        }
    }

    /// A body that is decoded must be what it decodes to, byte for byte; all others are compared as bytes.
    fn body(&self, opcode: Option<OpCode>, err: i32, bytes: Bytes) -> Body {
        let Some(opcode) = opcode.filter(|opcode| err == 0 && *opcode != OpCode::Auth) else {
            return Body::Bytes(bytes);
        };
        let Ok(mut response) = Response::decode(opcode, &mut Reader::new(bytes.clone())) else {
            return Body::Bytes(bytes);
        };
        let mut again = BytesMut::new();
        response.encode(&mut Writer::new(&mut again));
        if again != bytes {
            return Body::Bytes(bytes);
        }
        self.mask(&mut response);
        Body::Decoded(response)
    }

    fn relative(&self, zxid: i64) -> i64 {
        if zxid <= self.base { zxid.min(0) } else { zxid - self.base }
    }

    fn mask_stat(&self, stat: &mut Stat) {
        for zxid in [&mut stat.czxid, &mut stat.mzxid, &mut stat.pzxid] {
            *zxid = self.relative(*zxid);
        }
        // A znode that is older than any clock is no accident.
        (stat.ctime, stat.mtime) = (stat.ctime.min(1), stat.mtime.min(1));
        stat.ephemeral_owner = self.sessions.get(&stat.ephemeral_owner).copied().unwrap_or(stat.ephemeral_owner.min(0));
    }

    fn mask(&self, response: &mut Response) {
        match response {
            Response::Create2 { stat, .. }
            | Response::Exists { stat }
            | Response::SetData { stat }
            | Response::SetAcl { stat }
            | Response::GetAcl { stat, .. }
            | Response::GetData { stat, .. } => self.mask_stat(stat),
            Response::GetChildren { children } => children.sort(),
            Response::GetChildren2 { children, stat } => {
                children.sort();
                self.mask_stat(stat);
            }
            Response::GetEphemerals { ephemerals } => ephemerals.sort(),
            Response::Multi(results) | Response::MultiRead(results) => {
                results.iter_mut().flatten().for_each(|result| self.mask(result));
            }
            Response::WhoAmI { clients } => {
                clients.sort_by(|a, b| (&a.auth_scheme, &a.user).cmp(&(&b.auth_scheme, &b.user)));
            }
            _ => {}
        }
    }

    /// What has come for the other sessions, found by a ping on each.
    fn others(&mut self) -> Vec<(usize, Vec<Got>)> {
        (0..self.lines.len())
            .map(|who| {
                self.write(who, XID_PING, &Request::Ping);
                let mut got = self.collect(who, XID_PING, None);
                got.sort_by_key(|got| format!("{got:?}"));
                (who, got)
            })
            .collect()
    }

    /// A first frame on a connection of its own, and what becomes of it.
    fn handshake(&mut self, frame: &[u8]) -> Vec<Got> {
        let mut line = Line::dial(&self.address);
        let mut bytes = BytesMut::new();
        bytes.put_i32(frame.len() as i32);
        bytes.extend_from_slice(frame);
        let _ = line.stream.write_all(&bytes);
        let Some(answer) = line.frame() else { return vec![Got::Closed] };
        let len = answer.len();
        let answer = ConnectResponse::decode(&mut Reader::new(answer)).unwrap();
        let mut got = vec![Got::Session(answer.timeout_ms, answer.session_id != 0, len)];
        if answer.session_id == 0 {
            got.extend(line.frame().is_none().then_some(Got::Closed));
        } else {
            let mut bytes = BytesMut::new();
            encode_request(1, &Request::CloseSession, &mut bytes);
            let _ = line.stream.write_all(&bytes);
            while line.frame().is_some() {}
        }
        got
    }
}

/// Something that both servers are made to do.
#[derive(Clone, Debug)]
enum Step {
    /// A request on one of the sessions.
    Ask(usize, Request),
    /// A frame as it is: operation and body, on one of the sessions.
    Raw(usize, i32, Vec<u8>),
    /// The session closes and another takes its place.
    Reopen(usize),
    /// A first frame on a new connection: session (of the run, or made up), password, zxid, timeout, read-only byte.
    Connect(Handshake),
    /// Bytes as a first frame.
    ConnectRaw(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Handshake {
    session: Option<usize>,
    made_up: i64,
    password: Option<Vec<u8>>,
    zxid: i64,
    timeout_ms: i32,
    read_only: Option<bool>,
}

fn perform(side: &mut Side, step: &Step, xid: i32) -> (Vec<Got>, Vec<(usize, Vec<Got>)>) {
    let direct = match step {
        Step::Ask(who, request) => {
            let xid = if request.opcode() == OpCode::Auth { XID_AUTH } else { xid };
            let got = side.ask(*who, xid, request);
            if got.last() == Some(&Got::Closed) {
                let line = side.open();
                side.lines[*who] = line;
            }
            got
        }
        Step::Raw(who, opcode, body) => {
            let mut bytes = BytesMut::new();
            bytes.put_i32(body.len() as i32 + 8);
            bytes.put_i32(xid);
            bytes.put_i32(*opcode);
            bytes.extend_from_slice(body);
            let _ = side.lines[*who].stream.write_all(&bytes);
            let got = side.collect(*who, xid, None);
            if got.last() == Some(&Got::Closed) {
                let line = side.open();
                side.lines[*who] = line;
            }
            got
        }
        Step::Reopen(who) => {
            side.write(*who, xid, &Request::CloseSession);
            let mut got = side.collect(*who, xid, None);
            let answer = got.iter().rposition(|got| matches!(got, Got::Answer(..))).unwrap_or(got.len());
            got[..answer].sort_by_key(|got| format!("{got:?}"));
            got.extend(side.lines[*who].frame().is_none().then_some(Got::Closed));
            let line = side.open();
            side.lines[*who] = line;
            got
        }
        Step::Connect(handshake) => {
            let session = handshake.session.map_or(handshake.made_up, |who| side.lines[who].session);
            let known = handshake.session.map(|who| side.lines[who].password.to_vec());
            let mut body = BytesMut::new();
            body.put_i32(0);
            body.put_i64(if handshake.zxid == 0 { 0 } else { side.base + handshake.zxid });
            body.put_i32(handshake.timeout_ms);
            body.put_i64(session);
            let password = handshake.password.clone().or(known).unwrap_or_else(|| vec![0; 16]);
            body.put_i32(password.len() as i32);
            body.extend_from_slice(&password);
            if let Some(read_only) = handshake.read_only {
                body.put_u8(u8::from(read_only));
            }
            let got = side.handshake(&body);
            // Ours takes a zxid when a session moves or is refused, ZooKeeper does not.
            side.rebase();
            if let Some(who) = handshake.session {
                // Whoever had the session has lost it, or not: a new one stands for it.
                let line = side.open();
                side.lines[who] = line;
            }
            got
        }
        Step::ConnectRaw(bytes) => {
            let got = side.handshake(bytes);
            side.rebase();
            got
        }
    };
    (direct, side.others())
}

/// Runs the steps on both sides; the number of differences.
fn run(name: &str, sides: &mut [Side; 2], steps: &[Step]) -> usize {
    sides.iter_mut().for_each(Side::begin);
    let mut differences = 0;
    for (number, step) in steps.iter().enumerate() {
        let xid = number as i32 + 10;
        let [real, ours] = sides;
        let expected = perform(real, step, xid);
        let got = perform(ours, step, xid);
        if expected != got {
            differences += 1;
            println!("{name}, step {number}: {step:?}");
            for before in &steps[number.saturating_sub(6)..number] {
                println!("    before: {before:?}");
            }
            for (side, got) in [(real.name, expected), (ours.name, got)] {
                println!("  {side}: {:?}", got.0);
                for (who, got) in got.1 {
                    println!("      to {who}: {got:?}");
                }
            }
            if differences == TOO_MANY {
                break;
            }
        }
    }
    for side in sides {
        for who in 0..SESSIONS {
            side.write(who, 1, &Request::CloseSession);
            side.collect(who, 1, None);
        }
    }
    differences
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [real, ours, rest @ ..] = &arguments[..] else {
        println!("usage: zk_differential REAL OURS [FIRST-SEED [SEEDS [STEPS]]]");
        return ExitCode::FAILURE;
    };
    let number = |at: usize, default: u64| rest.get(at).map_or(default, |text| text.parse().unwrap());
    let (first, seeds, steps) = (number(0, 0), number(1, 0), number(2, 300));
    let mut sides = [Side::new("real", real), Side::new("ours", ours)];
    let mut differences = 0;
    let mut count = 0;
    for (name, steps) in cases::all() {
        count += steps.len();
        differences += run(name, &mut sides, &steps);
    }
    for seed in first..first + seeds {
        let steps = random::steps(seed, steps as usize);
        count += steps.len();
        differences += run(&format!("seed {seed}"), &mut sides, &steps);
    }
    println!("{count} steps (seeds {first} to {}), {differences} differences", first + seeds);
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
