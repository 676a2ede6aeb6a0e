//! A broker that is the only one of its cluster, and so its controller, with a ZooKeeper in memory: everything that it asks
//! of the world is done before the next line. It has no sockets, and time stands still.

use super::*;
use crate::cluster::tests::fake::FakeZk;
use crate::outbox::ZkInput;
use bytes::BytesMut;
use common::zk::frame::{encode_connect_response, encode_reply, encode_watch_event, take_frame};
use common::zk::jute::Reader as ZkReader;
use common::zk::{
    ConnectRequest, ConnectResponse, OpCode, ReplyHeader, Request as ZkRequest, RequestHeader as ZkHeader,
};
use std::collections::VecDeque;

/// What the broker asks of the world, in order.
#[derive(Default)]
pub(super) struct Wishes {
    answers: Mutex<VecDeque<Result<Frame, String>>>,
    zk: Mutex<VecDeque<ZkCommand>>,
    jobs: Mutex<VecDeque<Job>>,
    wake_at: Mutex<Option<Millis>>,
}

impl Outbox for Wishes {
    fn reply(&self, _: ConnectionId, _: u64, frame: Frame) {
        self.answers.lock().push_back(Ok(frame));
    }
    fn close(&self, _: ConnectionId, _: u64, reason: String) {
        self.answers.lock().push_back(Err(reason));
    }
    fn peer(&self, to: &PeerAddress, _: Channel, _: u64, _: Bytes) {
        panic!("there is no other broker: {to:?}");
    }
    fn zk(&self, command: ZkCommand) {
        self.zk.lock().push_back(command);
    }
    fn wake_at(&self, at: Millis) {
        let mut wake_at = self.wake_at.lock();
        *wake_at = Some(wake_at.map_or(at, |sooner| sooner.min(at)));
    }
    fn run(&self, job: Job) {
        self.jobs.lock().push_back(job);
    }
    fn stop(&self, reason: StopReason) {
        panic!("the broker ends: {reason:?}");
    }
}

/// See the top of the file.
pub(super) struct Alone {
    pub(super) broker: Arc<Broker>,
    wishes: Arc<Wishes>,
    pub(super) zk: FakeZk,
    session: i64,
    /// What is to be done later waits until somebody settles it.
    pub(super) is_slow: bool,
    /// What time it is.
    pub(super) now: Now,
    _dir: tempfile::TempDir,
}

impl Alone {
    /// With these settings.
    pub(super) fn new(settings: &str) -> Alone {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("broker.id=1\nzookeeper.connect=h:1\nlog.dirs={}\n{settings}\n", dir.path().display());
        let (config, _) = BrokerConfig::parse(&Properties::parse(&text, "test")).unwrap();
        let wishes = Arc::new(Wishes::default());
        let collaborators =
            Collaborators { disk: Arc::new(StdDisk), outbox: wishes.clone(), rng: common::Rng::with_seed(1) };
        let ports = BTreeMap::from([("PLAINTEXT".to_owned(), 9092)]);
        let broker = Broker::start(config, (&ports, "h"), collaborators, NOW).unwrap();
        let mut alone =
            Alone { broker, wishes, zk: FakeZk::default(), session: 0, is_slow: false, now: NOW, _dir: dir };
        alone.broker.begin(NOW);
        alone.settle();
        assert!(alone.broker.cluster.is_controller());
        alone
    }

    /// When the broker is to be called at the latest, as it has said since the last call of this.
    pub(super) fn woken_at(&self) -> Option<Millis> {
        self.wishes.wake_at.lock().take()
    }

    /// Until nothing is left to do.
    pub(super) fn settle(&mut self) {
        loop {
            let command = self.wishes.zk.lock().pop_front();
            if let Some(command) = command {
                self.serve(command);
                continue;
            }
            let Some(job) = self.wishes.jobs.lock().pop_front() else { return };
            job(self.now);
        }
    }

    fn serve(&mut self, command: ZkCommand) {
        match command {
            ZkCommand::Connect(_) => self.broker.on_zk(ZkInput::Connected, NOW),
            ZkCommand::Disconnect => {}
            ZkCommand::Send(bytes) => {
                let (mut input, mut out) = (BytesMut::from(&bytes[..]), BytesMut::new());
                while let Some(frame) = take_frame(&mut input, usize::MAX).unwrap() {
                    self.answer(frame, &mut out);
                }
                self.broker.on_zk(ZkInput::Bytes(out.freeze()), NOW);
            }
        }
    }

    fn answer(&mut self, frame: Bytes, out: &mut BytesMut) {
        let mut reader = ZkReader::new(frame);
        if self.session == 0 {
            let asked = ConnectRequest::decode(&mut reader).unwrap();
            self.session = self.zk.open();
            let response = ConnectResponse {
                timeout_ms: asked.timeout_ms,
                session_id: self.session,
                password: Bytes::from_static(&[0; 16]),
                read_only: asked.read_only,
                ..ConnectResponse::default()
            };
            return encode_connect_response(&response, out);
        }
        let header = ZkHeader::decode(&mut reader).unwrap();
        let request = ZkRequest::decode(OpCode::from_code(header.opcode).unwrap(), &mut reader).unwrap();
        let (result, events) = self.zk.apply(self.session, request, NOW.wall.0);
        for (_, event) in events {
            encode_watch_event(-1, &event, out);
        }
        let err = result.as_ref().err().map_or(0, |error| error.code());
        encode_reply(ReplyHeader { xid: header.xid, zxid: 0, err }, result.as_ref().ok(), out);
    }

    /// What becomes of a client's request.
    pub(super) fn ask<R: Request>(&mut self, user: &str, version: i16, request: &R) -> Result<R::Response, String> {
        let header = RequestHeader { api_key: R::KEY, api_version: version, correlation_id: 7, client_id: None };
        let mut frame = header::encode_request(&header, request).unwrap_or_else(|error| {
            panic!("{} version {version}: {error}", R::NAME);
        });
        frame.advance(4);
        let info = ConnectionInfo {
            id: ConnectionId(1),
            listener: "PLAINTEXT".into(),
            client_host: "127.0.0.1".into(),
            client_port: 0,
            software: Default::default(),
            principal: format!("User:{user}"),
        };
        let handled = dispatch(&self.broker, &info, 0, frame, self.now).0;
        if !self.is_slow {
            self.settle();
        }
        let frame = match handled {
            Handled::Now(frame) => frame,
            Handled::Parked { .. } => self.wishes.answers.lock().pop_front().expect("nobody else is needed")?,
            Handled::Silent => return Err("no answer".to_owned()),
            Handled::Close(reason) => return Err(reason),
        };
        let mut bytes = frame.into_bytes().unwrap();
        bytes.advance(4);
        Ok(header::decode_response::<R>(bytes, version).unwrap().1)
    }
}
