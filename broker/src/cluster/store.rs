//! Questions to ZooKeeper on their way: which machine asked, what it asked, and the requests in the words of the wire.
//! A question whose connection broke is asked again on the next one; it never decides what an answer means.

use super::acls::AclAsk;
use super::configs::ConfigAsk;
use super::controller::ControllerAsk;
use super::feature_levels::LevelAsk;
use super::registry::RegistryAsk;
use bytes::Bytes;
use common::zk::{Acl, CreateMode, CreateRequest, Request, Response, ZkError};
use std::collections::BTreeMap;

/// What ZooKeeper answered to one request.
pub(super) type ZkResult = Result<Response, ZkError>;

/// Who asked, and for what.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    Registry(RegistryAsk),
    Config(ConfigAsk),
    Acl(AclAsk),
    Level(LevelAsk),
    Controller(ControllerAsk),
    /// The answer matters to nobody.
    Nobody,
}

impl From<RegistryAsk> for Ask {
    fn from(ask: RegistryAsk) -> Ask {
        Ask::Registry(ask)
    }
}
impl From<ConfigAsk> for Ask {
    fn from(ask: ConfigAsk) -> Ask {
        Ask::Config(ask)
    }
}
impl From<AclAsk> for Ask {
    fn from(ask: AclAsk) -> Ask {
        Ask::Acl(ask)
    }
}
impl From<LevelAsk> for Ask {
    fn from(ask: LevelAsk) -> Ask {
        Ask::Level(ask)
    }
}
impl From<ControllerAsk> for Ask {
    fn from(ask: ControllerAsk) -> Ask {
        Ask::Controller(ask)
    }
}

/// All questions on their way, by token.
#[derive(Debug, Default)]
pub(super) struct Store {
    next_token: u64,
    pending: BTreeMap<u64, (Ask, Request)>,
    /// Lost with a connection; to be asked again.
    lost: Vec<u64>,
    outgoing: Vec<(u64, Request)>,
    /// `zookeeper.set.acl`.
    secure_acls: bool,
}

impl Store {
    pub(super) fn new(secure_acls: bool) -> Store {
        Store { secure_acls, ..Store::default() }
    }

    /// Asks; the answer comes with `ask`.
    pub(super) fn ask(&mut self, ask: impl Into<Ask>, request: Request) {
        let token = self.next_token;
        self.next_token += 1;
        self.pending.insert(token, (ask.into(), request.clone()));
        self.outgoing.push((token, request));
    }

    /// Who asked the question that was answered; `None` if it is to be asked again or was forgotten.
    pub(super) fn answered(&mut self, token: u64, result: &ZkResult) -> Option<Ask> {
        match result {
            Err(ZkError::ConnectionLoss) if self.pending.contains_key(&token) => {
                self.lost.push(token);
                None
            }
            // The session's own event says so to everyone; to ask again would be in vain.
            Err(ZkError::SessionExpired | ZkError::AuthFailed) => {
                self.pending.remove(&token);
                None
            }
            _ => self.pending.remove(&token).map(|(ask, _)| ask),
        }
    }

    /// The connection is back and the session is the same: asks again what was lost.
    pub(super) fn ask_again(&mut self) {
        let mut lost = std::mem::take(&mut self.lost);
        lost.sort_unstable();
        for token in lost {
            if let Some((_, request)) = self.pending.get(&token) {
                self.outgoing.push((token, request.clone()));
            }
        }
    }

    /// The session is over: nothing asked in it counts any more.
    pub(super) fn forget_all(&mut self) {
        self.pending.clear();
        self.lost.clear();
        self.outgoing.clear();
    }

    /// Requests to hand to the session, in order.
    pub(super) fn drain(&mut self) -> Vec<(u64, Request)> {
        std::mem::take(&mut self.outgoing)
    }

    /// A create as Kafka makes it: open to all, or with `zookeeper.set.acl` writable by its creator alone and, unless it
    /// holds secrets, readable by all.
    pub(super) fn create(&self, path: &str, data: Option<Vec<u8>>, mode: CreateMode) -> Request {
        let sensitive = ["/config/users", "/config/brokers", "/delegation_token/tokens"];
        let acl = match self.secure_acls && path != "/consumers" {
            false => Acl::open_unsafe(),
            true if sensitive.iter().any(|root| path.starts_with(root)) => Acl::creator_all(),
            true => [Acl::creator_all(), Acl::read_unsafe()].concat(),
        };
        Request::Create(CreateRequest { path: path.to_owned(), data: data.map(Bytes::from), acl, flags: mode.flag() })
    }

    /// A persistent node.
    pub(super) fn persistent(&self, path: &str, data: Option<Vec<u8>>) -> Request {
        self.create(path, data, CreateMode::Persistent)
    }
}

pub(super) fn get(path: impl Into<String>, watch: bool) -> Request {
    Request::GetData { path: path.into(), watch }
}

pub(super) fn exists(path: impl Into<String>, watch: bool) -> Request {
    Request::Exists { path: path.into(), watch }
}

pub(super) fn children(path: impl Into<String>, watch: bool) -> Request {
    Request::GetChildren2 { path: path.into(), watch }
}

pub(super) fn set(path: impl Into<String>, data: Vec<u8>, version: i32) -> Request {
    Request::SetData { path: path.into(), data: Some(Bytes::from(data)), version }
}

pub(super) fn delete(path: impl Into<String>) -> Request {
    Request::Delete { path: path.into(), version: -1 }
}

/// Version that matches any.
pub(super) const ANY_VERSION: i32 = -1;

/// A multi's answers, or which operation failed and why. An error of the whole counts as that of operation 0.
pub(super) fn multi_outcome(result: ZkResult) -> Result<Vec<Response>, (usize, ZkError)> {
    match result {
        Err(error) => Err((0, error)),
        Ok(response) => {
            if let Some(failure) = response.first_failure() {
                return Err(failure);
            }
            match response {
                Response::Multi(results) => Ok(results.into_iter().filter_map(Result::ok).collect()),
                other => Ok(vec![other]),
            }
        }
    }
}
