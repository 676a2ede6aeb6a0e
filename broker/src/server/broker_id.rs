//! The id of a broker that was given none (`broker.id=-1`): the one in `meta.properties` from an earlier run, else the next
//! of ZooKeeper's `/brokers/seqid`, above `reserved.broker.max.id`, as in Kafka. Runs before the broker is made.

use super::clock::Clock;
use crate::cluster::paths::BROKER_SEQUENCE_ID;
use crate::config::BrokerConfig;
use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use common::properties::Properties;
use common::zk::records::{Acl, CreateMode};
use common::zk::request::CreateRequest;
use common::zk::session::{Output, Session, SessionConfig};
use common::zk::{Request, Response, ZkError};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Gives the broker its id if it has none.
pub(super) async fn settle(config: &mut BrokerConfig) -> anyhow::Result<()> {
    if config.broker_id >= 0 {
        return Ok(());
    }
    if let Some(id) = config.log_dirs.iter().find_map(|dir| stored(Path::new(dir))) {
        config.broker_id = id;
        return Ok(());
    }
    let patience = Duration::from_millis(u64::try_from(config.zookeeper_connection_timeout_ms).unwrap_or(18_000));
    let version = tokio::time::timeout(patience, next_in_sequence(config))
        .await
        .context("broker.id is not set, and ZooKeeper did not answer in time to give one")??;
    config.broker_id = config.reserved_broker_max_id.saturating_add(version);
    tracing::info!(broker_id = config.broker_id, "broker id generated");
    Ok(())
}

fn stored(dir: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(dir.join("meta.properties")).ok()?;
    Properties::parse(&text, "meta.properties").get("broker.id")?.trim().parse().ok().filter(|id| *id >= 0)
}

/// Version of the sequence node after one more write to it; the node is made if it is not there.
async fn next_in_sequence(config: &BrokerConfig) -> anyhow::Result<i32> {
    let timeout_ms = u32::try_from(config.zookeeper_session_timeout_ms).unwrap_or(18_000);
    let session_config =
        SessionConfig::new(&config.zookeeper_connect, timeout_ms).context("reading zookeeper.connect")?;
    let clock = Clock::start();
    let mut session = Session::new(session_config, common::Rng::new(), clock.now().mono);
    session.start(clock.now().mono);
    let mut stream: Option<TcpStream> = None;
    let set = || Request::SetData { path: BROKER_SEQUENCE_ID.to_owned(), data: Some(Bytes::new()), version: -1 };
    session.submit(0, set(), clock.now().mono);
    loop {
        while let Some(output) = session.poll() {
            match output {
                Output::Connect(address) => {
                    stream = TcpStream::connect(&address).await.ok();
                    let now = clock.now().mono;
                    if stream.is_some() { session.on_connected(now) } else { session.on_disconnected(now) }
                }
                Output::Send(bytes) => {
                    if let Some(open) = &mut stream {
                        open.write_all(&bytes).await.context("writing to ZooKeeper")?;
                    }
                }
                Output::Disconnect => stream = None,
                Output::Reply { result: Ok(Response::SetData { stat }), .. } => return Ok(stat.version),
                Output::Reply { token: 0, result: Err(ZkError::NoNode), .. } => {
                    for path in ["/brokers", BROKER_SEQUENCE_ID] {
                        let create = CreateRequest::new(path, Bytes::new(), Acl::open_unsafe(), CreateMode::Persistent);
                        session.submit(1, Request::Create(create), clock.now().mono);
                    }
                    session.submit(2, set(), clock.now().mono);
                }
                Output::Reply { token: 0 | 2, result: Err(error), .. } => {
                    bail!("{}", error.message(BROKER_SEQUENCE_ID))
                }
                Output::Reply { .. } | Output::Event(_) | Output::Watch(_) => {}
            }
        }
        let mut buffer = BytesMut::with_capacity(4096);
        match &mut stream {
            Some(open) => match tokio::time::timeout(Duration::from_millis(100), open.read_buf(&mut buffer)).await {
                Ok(Ok(count)) if count > 0 => session.on_bytes(buffer.freeze(), clock.now().mono),
                Ok(_) => {
                    stream = None;
                    session.on_disconnected(clock.now().mono);
                }
                Err(_) => session.tick(clock.now().mono),
            },
            None => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                session.tick(clock.now().mono);
            }
        }
    }
}
