//! What a cluster folder holds: one folder a server with its settings, and the pid and log files beside them. Written
//! on the first `up`, read ever after. Starts nothing.

use anyhow::{Context as _, bail};
use common::properties::Properties;
use std::fs;
use std::path::{Path, PathBuf};

/// The class of ZooKeeper that gives metrics to Prometheus.
const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";

/// Which of the two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Coordinator,
    Broker,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Coordinator => "coordinator",
            Role::Broker => "broker",
        })
    }
}

/// One server of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) role: Role,
    pub(crate) id: i32,
    pub(crate) port: u16,
}

impl Server {
    /// `coordinator-1`, `broker-0`: the stem of its files.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.role, self.id)
    }

    /// Where clients reach it.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its settings.
    pub(crate) fn settings_file(&self, dir: &Path) -> PathBuf {
        let file = match self.role {
            Role::Coordinator => "zoo.cfg",
            Role::Broker => "server.properties",
        };
        dir.join(self.name()).join(file)
    }
}

/// A cluster folder.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    /// Coordinators by id, then brokers by id.
    pub(crate) servers: Vec<Server>,
    /// It was written by this program's run, and nothing in it has ever served.
    pub(crate) is_new: bool,
}

/// What the command line asked for; `None` where it said nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) coordinators: Option<u16>,
    pub(crate) brokers: Option<u16>,
    pub(crate) coordinator_port: Option<u16>,
    pub(crate) broker_port: Option<u16>,
    pub(crate) coordinator_settings: Vec<(String, String)>,
    pub(crate) broker_settings: Vec<(String, String)>,
    /// The first port of those over HTTP; without it there are none.
    pub(crate) metrics_port: Option<u16>,
}

impl Wish {
    /// The lines that are asked for of a server: metrics and probes, over HTTP, on loopback alone, and what is to stand in
    /// every file, which has the last word.
    fn settings(&self, server: &Server, halves: (usize, usize)) -> Vec<(String, String)> {
        let (coordinators, brokers) = halves;
        let is_broker = server.role == Role::Broker;
        let every = if is_broker { &self.broker_settings } else { &self.coordinator_settings };
        let mut settings = Vec::new();
        if let Some(first) = self.metrics_port {
            // Coordinators count from one.
            let place = i64::from(server.id) - i64::from(!is_broker);
            let port = |behind: usize| (i64::from(first) + behind as i64 + place).to_string();
            let loopback = || "127.0.0.1".to_owned();
            let lines = match server.role {
                Role::Broker => vec![("metrics.http.host", loopback()), ("metrics.http.port", port(0))],
                Role::Coordinator => vec![
                    ("metricsProvider.className", PROMETHEUS.to_owned()),
                    ("metricsProvider.httpHost", loopback()),
                    ("metricsProvider.httpPort", port(brokers)),
                    ("admin.enableServer", "true".to_owned()),
                    ("admin.serverAddress", loopback()),
                    ("admin.serverPort", port(brokers + coordinators)),
                ],
            };
            let is_free = |(key, _): &(&str, String)| every.iter().all(|(taken, _)| taken != key);
            settings.extend(lines.into_iter().filter(is_free).map(|(key, value)| (key.to_owned(), value)));
        }
        settings.extend(every.iter().cloned());
        settings
    }
}

impl Layout {
    /// An existing folder.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Layout> {
        let layout = Layout { dir: dir.to_owned(), servers: read_servers(dir)?, is_new: false };
        if layout.servers.is_empty() {
            bail!("there is no cluster in {}; 'castellan up --dir {}' makes one", dir.display(), dir.display());
        }
        Ok(layout)
    }

    /// An existing folder as it is, or a new one as wished.
    pub(crate) fn open_or_create(dir: &Path, wish: &Wish) -> anyhow::Result<Layout> {
        let not_writable = || format!("creating the folder {}; another one can be given with --dir", dir.display());
        fs::create_dir_all(dir).with_context(not_writable)?;
        let found = read_servers(dir)?;
        if found.is_empty() {
            let planned = plan(wish)?;
            write(dir, &planned, wish).inspect_err(|_| forget(dir, &planned)).with_context(not_writable)?;
            return Ok(Layout { is_new: true, ..Layout::open(dir)? });
        }
        for (role, wanted) in [(Role::Coordinator, wish.coordinators), (Role::Broker, wish.brokers)] {
            let count = found.iter().filter(|server| server.role == role).count();
            if wanted.is_some_and(|wanted| usize::from(wanted) != count) {
                let plural = if count == 1 { "" } else { "s" };
                bail!(
                    "{} holds a cluster with {count} {role}{plural}; give another --dir or leave the count out",
                    dir.display()
                );
            }
        }
        for (role, wanted) in [(Role::Coordinator, wish.coordinator_port), (Role::Broker, wish.broker_port)] {
            let first = found.iter().find(|server| server.role == role);
            if let (Some(first), Some(wanted)) = (first, wanted)
                && first.port != wanted
            {
                bail!(
                    "{} holds a cluster whose {role}s begin at port {}; give another --dir or leave the port out",
                    dir.display(),
                    first.port
                );
            }
        }
        let halves = halves(&found);
        let mut lacking = String::new();
        for server in &found {
            let path = server.settings_file(dir);
            let wished = wish.settings(server, halves);
            let properties = Properties::parse(&fs::read_to_string(&path).unwrap_or_default(), "");
            let lines = wished.iter().filter(|(key, value)| properties.get(key) != Some(value.as_str()));
            for (index, (key, value)) in lines.enumerate() {
                if index == 0 {
                    lacking += &format!("\n{}:", path.display());
                }
                let instead = properties.get(key).map_or_else(String::new, |found| format!("   (instead of {found})"));
                lacking += &format!("\n  {key}={value}{instead}");
            }
        }
        if !lacking.is_empty() {
            bail!(
                "{} holds a cluster whose settings do not say what is asked for. Give another --dir for a new cluster, or stop \
                 this one, write these lines into its files, and start it again:{lacking}",
                dir.display()
            );
        }
        Ok(Layout { dir: dir.to_owned(), servers: found, is_new: false })
    }

    /// Takes a layout away again whose cluster never came up, so that the next `up` may wish for another. The logs stay.
    pub(crate) fn forget_if_new(&self) {
        if self.is_new {
            forget(&self.dir, &self.servers);
        }
    }

    /// No port of this server's is taken. `Err` says which one is.
    pub(crate) fn check_ports(&self, server: &Server) -> anyhow::Result<()> {
        let flag = format!("--{}-port", server.role);
        let http = self.http_ports(server).into_iter().map(|(_, port)| (port, "--metrics"));
        for (port, flag) in ports(&self.dir, server).into_iter().map(|port| (port, flag.as_str())).chain(http) {
            if let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
                bail!(
                    "{} cannot have port {port} ({error}); {flag} gives a new cluster other ports, --dir another folder",
                    server.name()
                );
            }
        }
        Ok(())
    }

    /// The ports on which a server answers HTTP, as its settings say: what is there, and where.
    fn http_ports(&self, server: &Server) -> Vec<(&'static str, u16)> {
        let text = fs::read_to_string(server.settings_file(&self.dir)).unwrap_or_default();
        let properties = Properties::parse(&text, "");
        let is = |key: &str, value: &str| properties.get(key).is_some_and(|found| found.trim() == value);
        let asked = match server.role {
            Role::Broker => vec![("metrics", "metrics.http.port", true)],
            Role::Coordinator => vec![
                ("metrics", "metricsProvider.httpPort", is("metricsProvider.className", PROMETHEUS)),
                ("commands", "admin.serverPort", !is("admin.enableServer", "false")),
            ],
        };
        let port = |key: &str| properties.get(key).and_then(|port| port.trim().parse().ok()).filter(|port| *port != 0);
        asked.into_iter().filter(|(.., is_on)| *is_on).filter_map(|(what, key, _)| Some((what, port(key)?))).collect()
    }

    /// Where a half answers HTTP: what is there, and a URL for each server that has it.
    pub(crate) fn urls(&self, role: Role) -> Vec<(&'static str, Vec<String>)> {
        ["metrics", "commands"]
            .into_iter()
            .map(|wanted| {
                let url = |(_, port)| format!("http://127.0.0.1:{port}/{wanted}");
                let of = |server| self.http_ports(server).into_iter().find(|(what, _)| *what == wanted).map(url);
                (wanted, self.of(role).filter_map(of).collect::<Vec<_>>())
            })
            .filter(|(_, urls)| !urls.is_empty())
            .collect()
    }

    /// The servers of one half.
    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| server.role == role)
    }

    /// `127.0.0.1:2181,127.0.0.1:2182`.
    pub(crate) fn connect_string(&self, role: Role) -> String {
        self.of(role).map(Server::address).collect::<Vec<_>>().join(",")
    }
}

fn read_servers(dir: &Path) -> anyhow::Result<Vec<Server>> {
    let mut servers = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return Ok(servers) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let numbered = |prefix: &str| name.strip_prefix(prefix).and_then(|id| id.parse().ok());
        let (role, id) = match (numbered("coordinator-"), numbered("broker-")) {
            (Some(id), _) => (Role::Coordinator, id),
            (_, Some(id)) => (Role::Broker, id),
            _ => continue,
        };
        let mut server = Server { role, id, port: 0 };
        let path = server.settings_file(dir);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let properties = Properties::parse(&text, &path.display().to_string());
        let port = match role {
            Role::Coordinator => properties.get("clientPort").map(str::to_owned),
            Role::Broker => properties.get("listeners").and_then(|value| value.rsplit(':').next()).map(str::to_owned),
        };
        let port = port.and_then(|port| port.trim().parse().ok());
        server.port = port.with_context(|| format!("{} names no port", path.display()))?;
        servers.push(server);
    }
    servers.sort_by_key(|server| (server.role == Role::Broker, server.id));
    Ok(servers)
}

/// How many coordinators and brokers.
fn halves(servers: &[Server]) -> (usize, usize) {
    let coordinators = servers.iter().filter(|server| server.role == Role::Coordinator).count();
    (coordinators, servers.len() - coordinators)
}

/// Every port of a server: for its clients and, in an ensemble, for its peers.
fn ports(dir: &Path, server: &Server) -> Vec<u16> {
    let mut ports = vec![server.port];
    let text = fs::read_to_string(server.settings_file(dir)).unwrap_or_default();
    let properties = Properties::parse(&text, "");
    if let Some(peer) = properties.get(&format!("server.{}", server.id)) {
        let numbers = peer.split(';').next().unwrap_or_default().split(':').skip(1);
        ports.extend(numbers.filter_map(|port| port.trim().parse::<u16>().ok()));
    }
    ports
}

/// Removes the folders of these servers and their pid files.
fn forget(dir: &Path, servers: &[Server]) {
    for server in servers {
        // What cannot be removed is found, and told, by the next `up`.
        let _ = fs::remove_dir_all(dir.join(server.name()));
        let _ = fs::remove_file(dir.join(format!("{}.pid", server.name())));
    }
}

/// The servers of a new cluster.
fn plan(wish: &Wish) -> anyhow::Result<Vec<Server>> {
    let coordinators = wish.coordinators.unwrap_or(3);
    let brokers = wish.brokers.unwrap_or(3);
    let coordinator_port = wish.coordinator_port.unwrap_or(2181);
    let broker_port = wish.broker_port.unwrap_or(9092);
    if coordinators == 0 {
        bail!("--coordinators: at least one is needed, the brokers live on it");
    }
    if coordinator_port == 0 || (broker_port == 0 && brokers > 0) {
        bail!("port 0 is no port that clients can be told");
    }
    // Three ports for each member of an ensemble: its clients', and two for its peers.
    let last_coordinator =
        u32::from(coordinator_port) + u32::from(coordinators) * if coordinators > 1 { 3 } else { 1 } - 1;
    let (first_broker, last_broker) =
        (u32::from(broker_port), (u32::from(broker_port) + u32::from(brokers)).saturating_sub(1));
    if last_coordinator.max(last_broker) > 65535 {
        bail!("the ports do not fit below 65536");
    }
    if brokers > 0 && first_broker <= last_coordinator && u32::from(coordinator_port) <= last_broker {
        bail!(
            "the coordinators' ports {coordinator_port} to {last_coordinator} and the brokers' {first_broker} to \
             {last_broker} overlap; give another --coordinator-port or --broker-port"
        );
    }
    if let Some(first) = wish.metrics_port {
        // One for each broker, two for each coordinator.
        let last = u32::from(first) + u32::from(brokers) + 2 * u32::from(coordinators) - 1;
        let first = u32::from(first);
        let overlaps = |from: u32, to: u32| from <= last && first <= to;
        if first == 0 || last > 65535 {
            bail!("--metrics: the ports {first} to {last} do not fit between 1 and 65535");
        }
        if overlaps(u32::from(coordinator_port), last_coordinator) || brokers > 0 && overlaps(first_broker, last_broker)
        {
            bail!("the ports {first} to {last} for metrics overlap those for clients; give another --metrics PORT");
        }
    }
    let mut servers: Vec<Server> = (0..coordinators)
        .map(|n| Server { role: Role::Coordinator, id: i32::from(n) + 1, port: coordinator_port + n })
        .collect();
    servers.extend((0..brokers).map(|n| Server { role: Role::Broker, id: i32::from(n), port: broker_port + n }));
    Ok(servers)
}

fn write(dir: &Path, servers: &[Server], wish: &Wish) -> anyhow::Result<()> {
    let (coordinators, brokers): (Vec<&Server>, Vec<&Server>) =
        servers.iter().partition(|server| server.role == Role::Coordinator);
    let connect: Vec<String> = coordinators.iter().map(|server| server.address()).collect();
    let count = u16::try_from(coordinators.len()).expect("each has a port of its own");
    let halves = (coordinators.len(), brokers.len());
    for server in &coordinators {
        let home = dir.join(server.name());
        let data = home.join("data");
        fs::create_dir_all(&data).with_context(|| format!("creating {}", data.display()))?;
        fs::write(data.join("myid"), format!("{}\n", server.id)).context("writing myid")?;
        let mut text = format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n",
            data.display(),
            server.port
        );
        if count > 1 {
            for peer in &coordinators {
                let quorum = peer.port + count;
                text += &format!("server.{}=127.0.0.1:{quorum}:{}\n", peer.id, quorum + count);
            }
        }
        write_settings(&server.settings_file(dir), text, &wish.settings(server, halves))?;
    }
    for server in &brokers {
        let home = dir.join(server.name());
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        let replicas = brokers.len().min(3);
        let text = format!(
            "broker.id={}\nlisteners=PLAINTEXT://127.0.0.1:{}\nlog.dirs={}\nzookeeper.connect={}\n\
             offsets.topic.replication.factor={replicas}\ntransaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={}\ngroup.initial.rebalance.delay.ms=0\n",
            server.id,
            server.port,
            home.join("logs").display(),
            connect.join(","),
            replicas.min(2)
        );
        write_settings(&server.settings_file(dir), text, &wish.settings(server, halves))?;
    }
    Ok(())
}

/// The text with each wished setting in place of its own line, or behind.
fn write_settings(path: &Path, text: String, settings: &[(String, String)]) -> anyhow::Result<()> {
    let overridden = |line: &&str| !settings.iter().any(|(key, _)| line.split('=').next() == Some(key));
    let mut lines: Vec<String> = text.lines().filter(overridden).map(str::to_owned).collect();
    lines.extend(settings.iter().map(|(key, value)| format!("{key}={value}")));
    fs::write(path, lines.join("\n") + "\n").with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_once_and_read_again() {
        let temporary = tempfile::tempdir().unwrap();
        let wish = Wish {
            coordinators: Some(1),
            brokers: Some(2),
            broker_port: Some(19000),
            broker_settings: vec![("listeners".to_owned(), "PLAINTEXT://127.0.0.1:7".to_owned())],
            ..Default::default()
        };
        let layout = Layout::open_or_create(temporary.path(), &wish).unwrap();
        let found: Vec<_> = layout.servers.iter().map(|server| (server.name(), server.port)).collect();
        assert_eq!(found, [("coordinator-1".to_owned(), 2181), ("broker-0".to_owned(), 7), ("broker-1".to_owned(), 7)]);
        assert_eq!(Layout::open_or_create(temporary.path(), &Wish::default()).unwrap().servers, layout.servers);
        let other = Wish { brokers: Some(3), ..Default::default() };
        assert!(Layout::open_or_create(temporary.path(), &other).unwrap_err().to_string().contains("with 2 brokers;"));
        layout.forget_if_new();
        Layout::open_or_create(temporary.path(), &other).unwrap();
    }

    #[test]
    fn metrics_have_ports_only_if_wished_for() {
        let wish = |metrics_port, settings: &[(&str, &str)]| Wish {
            coordinators: Some(2),
            brokers: Some(1),
            metrics_port,
            broker_settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Default::default()
        };
        let urls = |wish: &Wish| {
            let temporary = tempfile::tempdir().unwrap();
            let layout = Layout::open_or_create(temporary.path(), wish).unwrap();
            assert_eq!(Layout::open_or_create(temporary.path(), wish).unwrap().servers, layout.servers);
            let other = Wish { metrics_port: Some(1), ..Default::default() };
            let told = Layout::open_or_create(temporary.path(), &other).unwrap_err().to_string();
            for line in [
                "metrics.http.port=1",
                "metricsProvider.httpPort=2",
                "metricsProvider.httpPort=3",
                "admin.serverPort=5",
            ] {
                assert!(told.contains(&format!("\n  {line}")), "{line}: {told}");
            }
            let text = |(what, urls): (&str, Vec<String>)| format!("{what} {}", urls.join(" "));
            [Role::Broker, Role::Coordinator].map(|role| layout.urls(role).into_iter().map(text).collect::<Vec<_>>())
        };
        assert_eq!(urls(&wish(None, &[])), [Vec::<String>::new(), Vec::new()]);
        let coordinators = vec![
            "metrics http://127.0.0.1:9405/metrics http://127.0.0.1:9406/metrics".to_owned(),
            "commands http://127.0.0.1:9407/commands http://127.0.0.1:9408/commands".to_owned(),
        ];
        let broker = |port| vec![format!("metrics http://127.0.0.1:{port}/metrics")];
        assert_eq!(urls(&wish(Some(9404), &[])), [broker(9404), coordinators.clone()]);
        assert_eq!(urls(&wish(Some(9404), &[("metrics.http.port", "77")])), [broker(77), coordinators]);
        for (port, problem) in [(9092, "overlap"), (2186, "overlap"), (65532, "do not fit"), (0, "do not fit")] {
            let temporary = tempfile::tempdir().unwrap();
            let told = Layout::open_or_create(temporary.path(), &wish(Some(port), &[])).unwrap_err().to_string();
            assert!(told.contains(problem), "{port}: {told}");
        }
    }

    #[test]
    fn wishes_that_cannot_come_true_leave_nothing_behind() {
        let wish = |coordinators, coordinator_port, brokers, broker_port| Wish {
            coordinators: Some(coordinators),
            brokers: Some(brokers),
            coordinator_port: Some(coordinator_port),
            broker_port: Some(broker_port),
            ..Default::default()
        };
        for (wish, problem) in [
            (wish(0, 2181, 1, 9092), Some("at least one is needed")),
            (wish(3, 9000, 3, 9008), Some("9000 to 9008 and the brokers' 9008 to 9010 overlap")),
            (wish(1, 9094, 3, 9092), Some("9094 to 9094 and the brokers' 9092 to 9094 overlap")),
            (wish(1, 9091, 3, 9092), None),
            (wish(3, 9083, 3, 9092), None),
            (wish(1, 65535, 1, 65534), None),
            (wish(2, 65531, 1, 9092), Some("do not fit below 65536")),
            (wish(1, 2181, 2, 65535), Some("do not fit below 65536")),
            (wish(1, 2181, 0, 2181), None),
        ] {
            let temporary = tempfile::tempdir().unwrap();
            let outcome = Layout::open_or_create(temporary.path(), &wish);
            let text = outcome.as_ref().map_or_else(|error| format!("{error:#}"), |_| String::new());
            assert_eq!(problem.is_some(), outcome.is_err(), "{wish:?}: {text}");
            assert!(text.contains(problem.unwrap_or_default()), "{wish:?}: {text}");
            let empty = fs::read_dir(temporary.path()).unwrap().next().is_none();
            assert_eq!(empty, outcome.is_err(), "{wish:?}");
        }
    }
}
