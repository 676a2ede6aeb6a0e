//! Both halves of a cluster as `castellan explain` looks at them: what the brokers say of themselves, and what stands in the
//! znodes. Judges nothing.

use super::answer::Finding;
use crate::client::{Connection, NotABroker, check};
use crate::cluster::{Cluster, LeftOut, Target, address};
use crate::security::Security;
use crate::up::process;
use crate::zookeeper::{self, ZooKeeper};
use bytes::Bytes;
use common::kafka::messages::describe_configs::DescribeConfigsResource;
use common::kafka::messages::{DescribeConfigsRequest, MetadataRequest, MetadataResponse};
use common::zk::request::Request;
use common::zk::response::Response;
use common::zk::session::parse_connect_string;
use common::zk::{PastValue, Stat};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

/// How long a broker may take to answer a question; one whose port refuses has answered.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a server may take to answer at its port.
const REACH: Duration = Duration::from_secs(2);
/// How long the coordinators may take to let a session in, milliseconds.
const SESSION_MS: u32 = 6_000;
/// `ConfigResource.Type.BROKER`.
const BROKER: i8 = 4;

/// Where the two halves are.
pub(super) struct Places {
    /// A bootstrap list.
    pub(super) brokers: Option<String>,
    /// A connect string.
    pub(super) coordinators: Option<String>,
    /// How to talk to the brokers, as in a file of `--command-config`.
    pub(super) settings: BTreeMap<String, String>,
    /// The folder, if the cluster is in one.
    pub(super) dir: Option<PathBuf>,
}

/// A broker's registration.
pub(super) struct Registration {
    /// `host:port` of its first plain listener, or of the first.
    pub(super) address: String,
    pub(super) stat: Stat,
}

/// A partition's state as the controller and the leader wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) leader: i64,
    pub(super) isr: Vec<i32>,
}

impl State {
    /// Reads the data of a state znode.
    pub(super) fn parse(data: &[u8]) -> Option<State> {
        let json: Value = serde_json::from_slice(data).ok()?;
        let isr = json.get("isr")?.as_array()?.iter().filter_map(|id| i32::try_from(id.as_i64()?).ok()).collect();
        Some(State { leader: json.get("leader")?.as_i64()?, isr })
    }
}

/// The cluster.
pub(super) struct World {
    brokers: Result<Cluster, String>,
    zookeeper: Result<ZooKeeper, String>,
    /// For questions that only our coordinators answer; others end the session that asks them.
    past: Option<ZooKeeper>,
    connect: String,
    /// What starts the servers of the folder again, if there is one.
    pub(super) start_command: Option<String>,
}

impl World {
    /// Finds both halves. One that does not answer is a problem to tell, no error.
    ///
    /// # Errors
    /// Neither half could even be looked for.
    pub(super) fn open(places: Places) -> anyhow::Result<World> {
        let settings = &places.settings;
        let mut brokers = match (&places.brokers, &places.coordinators) {
            (Some(servers), _) => Cluster::new(servers, settings),
            (None, Some(connect)) => {
                reach_any(connect).map_err(anyhow::Error::msg).and_then(|()| Cluster::by_zookeeper(connect, settings))
            }
            (None, None) => anyhow::bail!("neither brokers nor coordinators are given"),
        }
        .map_err(|error| format!("{error:#}"));
        if let Ok(cluster) = &mut brokers {
            cluster.look_once(PATIENCE);
        }
        let connect = match (places.coordinators, &mut brokers) {
            (Some(connect), _) => Ok(connect),
            (None, Ok(cluster)) => connect_string_of(cluster).map_err(|error| format!("{error:#}")),
            (None, Err(error)) => Err(error.clone()),
        };
        let open = |connect: &String| {
            reach_any(connect)?;
            ZooKeeper::open(connect, SESSION_MS).map_err(|error| format!("{error:#}"))
        };
        let zookeeper = connect.as_ref().map_err(Clone::clone).and_then(open);
        let past = zookeeper.as_ref().ok().and_then(|_| open(connect.as_ref().ok()?).ok());
        let start_command = places.dir.map(|dir| format!("castellan up --dir {} --detach", dir.display()));
        Ok(World { brokers, zookeeper, past, connect: connect.unwrap_or_default(), start_command })
    }

    /// Ends the sessions.
    pub(super) fn close(&mut self) {
        for zookeeper in self.zookeeper.iter_mut().chain(self.past.iter_mut()) {
            zookeeper.leave();
        }
    }

    /// What stood in the way of looking.
    pub(super) fn problems(&self) -> Vec<Finding> {
        let problem = |subject: &str, why: &String, remedy: &str| Finding {
            subject: subject.to_owned(),
            fact: "do not answer, so this half of the answer is missing".to_owned(),
            why: vec![why.clone()],
            remedy: vec![self.start_command.clone().unwrap_or_else(|| remedy.to_owned())],
            ..Finding::default()
        };
        let left_out = self.brokers.as_ref().map(Cluster::left_out).unwrap_or_default();
        let left_out = left_out.into_iter().map(|(id, LeftOut { answers, why })| {
            let what = if answers { "does not tell its groups" } else { "does not answer" };
            Finding {
                subject: format!("broker {id}"),
                fact: format!("{what}, so the groups that it coordinates are not shown"),
                why: vec![why],
                remedy: vec!["castellan explain under-replicated says more of it".to_owned()],
                ..Finding::default()
            }
        });
        let brokers =
            self.brokers.as_ref().err().map(|why| problem("brokers", why, "give others with --bootstrap-server"));
        let zookeeper = self.zookeeper.as_ref().err();
        let zookeeper = zookeeper
            .map(|why| problem("coordinators", why, "start a majority of them, or give others with --zookeeper"));
        brokers.into_iter().chain(zookeeper).chain(left_out).collect()
    }

    /// What there is to say if neither half answers: that alone.
    pub(super) fn is_down(&mut self) -> Option<Finding> {
        let coordinators = self.zookeeper.as_ref().err()?.clone();
        self.ask(|cluster| cluster.broker_ids());
        let brokers = self.brokers.as_ref().err()?.clone();
        let elsewhere =
            "start the coordinators, then the brokers; or give others with --zookeeper and --bootstrap-server";
        let mut why = vec![format!("brokers: {brokers}"), format!("coordinators: {coordinators}")];
        if brokers == coordinators {
            why.truncate(1);
        }
        Some(Finding {
            subject: "cluster".to_owned(),
            fact: match self.connect.as_str() {
                "" => "its brokers do not answer, and only they would tell where the coordinators are",
                _ => "neither brokers nor coordinators answer",
            }
            .to_owned(),
            why,
            remedy: vec![self.start_command.clone().unwrap_or_else(|| elsewhere.to_owned())],
            ..Finding::default()
        })
    }

    /// How to talk to brokers.
    pub(super) fn security(&self) -> Security {
        self.brokers.as_ref().map(|cluster| cluster.security().clone()).unwrap_or_default()
    }

    /// Asks the brokers. An error is kept as a problem; then there is nothing.
    pub(super) fn ask<T>(&mut self, question: impl FnOnce(&mut Cluster) -> anyhow::Result<T>) -> Option<T> {
        match question(self.brokers.as_mut().ok()?) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.brokers = Err(format!("{error:#}"));
                None
            }
        }
    }

    /// Asks the brokers something that they may refuse.
    pub(super) fn try_ask<T>(
        &mut self,
        question: impl FnOnce(&mut Cluster) -> anyhow::Result<T>,
    ) -> Option<anyhow::Result<T>> {
        Some(question(self.brokers.as_mut().ok()?))
    }

    /// Brokers, controller and all topics.
    pub(super) fn metadata(&mut self) -> Option<MetadataResponse> {
        let request =
            |_| MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        self.ask(|cluster| cluster.call(Target::Any, request, |_| 0))
    }

    /// The data and stat of a znode, if it is there.
    pub(super) fn read(&mut self, path: &str) -> Option<(Bytes, Stat)> {
        let zookeeper = self.zookeeper.as_mut().ok()?;
        match zookeeper.call(Request::GetData { path: path.to_owned(), watch: false }) {
            Ok(Response::GetData { data, stat }) => Some((data.unwrap_or_default(), stat)),
            _ => None,
        }
    }

    /// The names below a znode.
    fn children(&mut self, path: &str) -> Vec<String> {
        let Ok(zookeeper) = self.zookeeper.as_mut() else { return Vec::new() };
        match zookeeper.call(Request::GetChildren { path: path.to_owned(), watch: false }) {
            Ok(Response::GetChildren { children }) => children,
            _ => Vec::new(),
        }
    }

    /// The values that a znode has and had, the newest first; none from coordinators that keep none.
    pub(super) fn past(&mut self, path: &str) -> Vec<PastValue> {
        let Some(zookeeper) = &mut self.past else { return Vec::new() };
        let request = Request::GetHistory { path: path.to_owned(), zxid: 0, with_data: true };
        match zookeeper.call(request) {
            Ok(Response::GetHistory { values }) => values,
            Err(common::zk::ZkError::NoNode | common::zk::ZkError::NoAuth) => Vec::new(),
            _ => {
                self.past = None;
                Vec::new()
            }
        }
    }

    /// Is the other half there to be asked?
    pub(super) fn has_coordinators(&self) -> bool {
        self.zookeeper.is_ok()
    }

    /// The brokers that are registered.
    pub(super) fn registrations(&mut self) -> BTreeMap<i32, Registration> {
        let mut found = BTreeMap::new();
        for name in self.children("/brokers/ids") {
            let Some((data, stat)) = self.read(&format!("/brokers/ids/{name}")) else { continue };
            let Ok(id) = name.parse() else { continue };
            found.insert(id, Registration { address: zookeeper::endpoint(&data).unwrap_or_default(), stat });
        }
        found
    }

    /// The settings of a topic or a broker in their znode: `topics/t`, `brokers/1`, `brokers/<default>`.
    pub(super) fn settings(&mut self, entity: &str) -> BTreeMap<String, String> {
        let Some((data, _)) = self.read(&format!("/config/{entity}")) else { return BTreeMap::new() };
        let json: Value = serde_json::from_slice(&data).unwrap_or_default();
        let config = json.get("config").and_then(Value::as_object).into_iter().flatten();
        config.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Every coordinator with its role, `None` for one that does not serve.
    pub(super) fn coordinators(&self) -> Vec<(String, Option<String>)> {
        let servers = parse_connect_string(&self.connect).map(|(servers, _)| servers).unwrap_or_default();
        servers
            .into_iter()
            .map(|server| (server.clone(), reach_tcp(&server).ok().and_then(|()| process::coordinator_mode(&server))))
            .collect()
    }
}

/// Where a broker keeps its cluster, as it says itself.
fn connect_string_of(cluster: &mut Cluster) -> anyhow::Result<String> {
    for broker in cluster.broker_ids()? {
        let request = |_| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: BROKER,
                resource_name: broker.to_string(),
                configuration_keys: Some(vec!["zookeeper.connect".to_owned()]),
            }],
            ..DescribeConfigsRequest::default()
        };
        let response = match cluster.call(Target::Node(broker), request, |_| 0) {
            Err(error) if cluster.leaves_out(broker, &error) => continue,
            response => response?,
        };
        for result in response.results {
            check(result.error_code, result.error_message.as_deref())?;
            if let Some(value) = result.configs.into_iter().find_map(|config| config.value) {
                return Ok(value);
            }
        }
    }
    anyhow::bail!("no broker says where its coordinators are; give them with --zookeeper")
}

/// Every coordinator of these places.
///
/// # Errors
/// Nothing tells where they are.
pub(super) fn coordinators_of(places: &Places) -> anyhow::Result<Vec<String>> {
    let connect = match (&places.coordinators, &places.brokers) {
        (Some(connect), _) => connect.clone(),
        (None, Some(brokers)) => {
            let mut cluster = Cluster::new(brokers, &places.settings)?;
            cluster.look_once(PATIENCE);
            connect_string_of(&mut cluster)?
        }
        (None, None) => anyhow::bail!("neither brokers nor coordinators are given"),
    };
    Ok(parse_connect_string(&connect)?.0)
}

/// Can a server be connected to?
///
/// # Errors
/// Why not.
pub(super) fn reach_tcp(server: &str) -> Result<(), String> {
    let mut last = format!("{server} has no address");
    for address in server.to_socket_addrs().into_iter().flatten() {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{server}: {error}"),
        }
    }
    Err(last)
}

/// Can one of the servers of a connect string be connected to? If not, why.
fn reach_any(connect: &str) -> Result<(), String> {
    let (servers, _) = parse_connect_string(connect).map_err(|error| error.to_string())?;
    let mut whys = Vec::new();
    for server in &servers {
        match reach_tcp(server) {
            Ok(()) => return Ok(()),
            Err(why) => whys.push(why),
        }
    }
    Err(format!("none of {} answers ({})", servers.join(", "), whys.pop().unwrap_or_default()))
}

/// Does a broker answer at its port? If not, why.
pub(super) fn reach(server: &str, security: &Security) -> Result<(), String> {
    reach_tcp(server)?;
    match Connection::open_as(server, REACH, security) {
        Ok(_) => Ok(()),
        // It speaks, though not in plain text.
        Err(error) if error.downcast_ref::<NotABroker>().is_some() => Ok(()),
        Err(error) => Err(format!("{server} takes connections and does not answer: {error:#}")),
    }
}

/// `host:port` of a broker by the Metadata response.
pub(super) fn broker_address(metadata: &MetadataResponse, id: i32) -> Option<String> {
    let broker = metadata.brokers.iter().find(|broker| broker.node_id == id)?;
    Some(address(&broker.host, broker.port))
}

/// When something became so that holds for the newest value: the time of the oldest value of which it held ever since.
/// `values` stand newest first. With it whether there is an older value of which it did not hold: without one it may
/// have begun earlier.
pub(super) fn since(values: &[PastValue], holds: impl Fn(&[u8]) -> bool) -> Option<(i64, bool)> {
    let holding = |value: &&PastValue| !value.is_removed && holds(value.data.as_deref().unwrap_or_default());
    let run: Vec<&PastValue> = values.iter().take_while(holding).collect();
    Some((run.last()?.mtime, run.len() < values.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_so_since_the_oldest_value_of_which_it_held_ever_since() {
        let value = |mtime, data: &'static str| PastValue { mtime, data: Some(data.into()), ..PastValue::default() };
        for (values, expected) in [
            (vec![], None),
            (vec![value(9, "no")], None),
            (vec![value(9, "yes")], Some((9, false))),
            (vec![value(9, "yes"), value(8, "yes"), value(7, "no"), value(6, "yes")], Some((8, true))),
        ] {
            assert_eq!(since(&values, |data| data == b"yes"), expected, "{values:?}");
        }
    }

    #[test]
    fn a_state_is_what_its_znode_says() {
        let state = |leader, isr: &[i32]| Some(State { leader, isr: isr.to_vec() });
        for (text, expected) in [
            (r#"{"controller_epoch":3,"leader":2,"version":1,"leader_epoch":4,"isr":[2,0]}"#, state(2, &[2, 0])),
            (r#"{"leader":-1,"isr":[]}"#, state(-1, &[])),
            (r#"{"leader":1}"#, None),
            ("", None),
        ] {
            assert_eq!(State::parse(text.as_bytes()), expected, "{text}");
        }
    }
}
