//! What a broker tells Prometheus: gathered from the machines when somebody asks, under the names that the usual exporters
//! of Kafka (JMX exporter, kafka_exporter) give. Counts nothing itself and changes nothing.

mod clients;
mod cluster;
mod groups;
mod partitions;
mod process;
mod requests;
mod shares;
#[cfg(test)]
mod tests;

pub use groups::EndOffsets;
pub use process::ProcessFacts;

use crate::broker::Broker;
use crate::shutdown::Stage;
use common::exposition::{Exposition, Kind};
use common::id::BrokerId;
use common::time::{Millis, Now};
use thiserror::Error;

/// Why clients should not be sent to a broker.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotReady {
    /// It has been told to stop.
    #[error("it is stopping")]
    Stopping,
    /// It has no registration in ZooKeeper.
    #[error("it is not registered in ZooKeeper")]
    NotRegistered,
    /// ZooKeeper was not heard for a session's length: the others may take it for dead.
    #[error("it has no connection to ZooKeeper, and its session may have ended")]
    CutOff,
    /// It hears neither ZooKeeper nor any other broker.
    #[error("it is cut off from ZooKeeper and from all other brokers")]
    Isolated,
    /// The controller has not told it of the cluster with itself in it, so that it answers nobody.
    #[error("the controller has not told it of the cluster yet")]
    NoImage,
}

impl Broker {
    /// Is it registered, heard by the ensemble, and does it serve?
    pub fn readiness(&self, now: Millis) -> Result<(), NotReady> {
        if *self.stage.lock() != Stage::Running {
            return Err(NotReady::Stopping);
        }
        if self.cluster.broker_epoch().is_none() {
            return Err(NotReady::NotRegistered);
        }
        let session_ms = u64::try_from(self.config.zookeeper_session_timeout_ms).unwrap_or(0);
        if self.cluster.lost_at().is_some_and(|lost| now.0.saturating_sub(lost.0) >= session_ms) {
            return Err(NotReady::CutOff);
        }
        if self.isolation.is_isolated() {
            return Err(NotReady::Isolated);
        }
        match self.image.read().broker(BrokerId(self.config.broker_id)) {
            Some(_) => Ok(()),
            None => Err(NotReady::NoImage),
        }
    }

    /// All figures as Prometheus reads them. `ends` are the end offsets of partitions that other brokers lead.
    pub fn prometheus(&self, process: &ProcessFacts, ends: &EndOffsets, now: Now) -> String {
        let mut text = Exposition::default();
        requests::write(self, now.mono, &mut text);
        let held = partitions::Held::all(self);
        partitions::write(self, &held, &mut text);
        cluster::write(self, &mut text);
        groups::write(self, (&held, ends), &mut text);
        shares::write(self, &mut text);
        clients::write(self, now.mono, &mut text);
        process::write(process, &mut text);
        text.into_text()
    }
}

/// A family without labels.
fn single(text: &mut Exposition, name: &str, kind: Kind, help: &str, value: f64) {
    text.family(name, kind, help).sample(&[], value);
}

/// A family with one label.
fn labelled<'a>(
    text: &mut Exposition,
    (name, kind, help): (&str, Kind, &str),
    label: &str,
    samples: impl Iterator<Item = (&'a str, f64)>,
) {
    let mut family = text.family(name, kind, help);
    samples.for_each(|(value, figure)| family.sample(&[(label, value)], figure));
}

/// The labels of a partition.
fn of_partition<'a>(topic: &'a str, number: &'a str) -> [(&'static str, &'a str); 2] {
    [("topic", topic), ("partition", number)]
}
