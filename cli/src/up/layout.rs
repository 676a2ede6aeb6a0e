//! What a cluster folder holds: one folder a server with its settings, and the pid and log files beside them. Written
//! on the first `up`, read ever after. Starts nothing.

use anyhow::{Context as _, bail};
use common::properties::Properties;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of the two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Coordinator,
    Broker,
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
        match self.role {
            Role::Coordinator => format!("coordinator-{}", self.id),
            Role::Broker => format!("broker-{}", self.id),
        }
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
}

impl Layout {
    /// An existing folder.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Layout> {
        let layout = Layout { dir: dir.to_owned(), servers: read_servers(dir)? };
        if layout.servers.is_empty() {
            bail!("there is no cluster in {}; 'castellan up --dir {}' makes one", dir.display(), dir.display());
        }
        Ok(layout)
    }

    /// An existing folder as it is, or a new one as wished.
    pub(crate) fn open_or_create(dir: &Path, wish: &Wish) -> anyhow::Result<Layout> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let found = read_servers(dir)?;
        if found.is_empty() {
            create(dir, wish)?;
            return Layout::open(dir);
        }
        for (role, wanted) in [(Role::Coordinator, wish.coordinators), (Role::Broker, wish.brokers)] {
            let count = found.iter().filter(|server| server.role == role).count();
            if wanted.is_some_and(|wanted| usize::from(wanted) != count) {
                bail!(
                    "{} holds a cluster with {count} {role:?}s; give another --dir or leave the count out",
                    dir.display()
                );
            }
        }
        Ok(Layout { dir: dir.to_owned(), servers: found })
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

fn create(dir: &Path, wish: &Wish) -> anyhow::Result<()> {
    let coordinators = wish.coordinators.unwrap_or(3);
    let brokers = wish.brokers.unwrap_or(3);
    let coordinator_port = wish.coordinator_port.unwrap_or(2181);
    let broker_port = wish.broker_port.unwrap_or(9092);
    if coordinators == 0 {
        bail!("--coordinators: at least one is needed, the brokers live on it");
    }
    let last = u32::from(coordinator_port) + 3 * u32::from(coordinators);
    if last > 65536 || u32::from(broker_port) + u32::from(brokers) > 65536 {
        bail!("the ports do not fit below 65536");
    }
    let connect: Vec<String> = (0..coordinators).map(|n| format!("127.0.0.1:{}", coordinator_port + n)).collect();
    for n in 0..coordinators {
        let server = Server { role: Role::Coordinator, id: i32::from(n) + 1, port: coordinator_port + n };
        let home = dir.join(server.name());
        let data = home.join("data");
        fs::create_dir_all(&data).with_context(|| format!("creating {}", data.display()))?;
        fs::write(data.join("myid"), format!("{}\n", server.id)).context("writing myid")?;
        let mut text = format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n",
            data.display(),
            server.port
        );
        if coordinators > 1 {
            for peer in 0..coordinators {
                let quorum = coordinator_port + coordinators + peer;
                text += &format!("server.{}=127.0.0.1:{quorum}:{}\n", peer + 1, quorum + coordinators);
            }
        }
        write_settings(&server.settings_file(dir), text, &wish.coordinator_settings)?;
    }
    for n in 0..brokers {
        let server = Server { role: Role::Broker, id: i32::from(n), port: broker_port + n };
        let home = dir.join(server.name());
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        let replicas = brokers.min(3);
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
        write_settings(&server.settings_file(dir), text, &wish.broker_settings)?;
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
        assert!(Layout::open_or_create(temporary.path(), &other).unwrap_err().to_string().contains("2 Brokers"));
    }
}
