//! What AlterConfigs and IncrementalAlterConfigs share: a change of the settings of topics, brokers and groups is checked against
//! what stands in ZooKeeper at that moment, written there, and answered resource by resource. Knows no wire code.

use crate::access::sanitize::sanitize;
use crate::broker::Broker;
use crate::cluster::{Entity, Waiter};
use crate::config::change::{self, ChangeError, Operation};
use crate::config::describe::{Layers, Texts};
use crate::gathered::Gathered;
use crate::telemetry::subscription::Subscription;
use common::time::Now;
use common::zk::ZkError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// Name under which the settings of all brokers, or of all users or clients that have none of their own, are kept.
pub(crate) const DEFAULT_ENTITY: &str = "<default>";

/// Resource types of the wire (`ConfigResource.Type`).
pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
pub(crate) const BROKER_LOGGER: i8 = 8;
pub(crate) const CLIENT_METRICS: i8 = 16;
pub(crate) const GROUP: i8 = 32;

/// Kind under which the settings of groups are kept; their names are encoded as those of users.
pub(crate) const GROUPS: &str = "groups";

/// Where the settings of client metrics are in ZooKeeper: a folder that Kafka has with KRaft alone.
pub(crate) const CLIENT_METRICS_KIND: &str = "client-metrics";

/// Names of client metrics are no longer, as those of topics: they are names of znodes.
const CLIENT_METRICS_NAME_BYTES_MAX: usize = 249;

/// What has settings: its type on the wire, and its name.
pub(crate) type Resource = (i8, String);

/// Why the settings of a resource are not changed or described; the text is for the client.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ResourceError {
    /// The topic is not there.
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// The request makes no sense.
    #[error("{0}")]
    InvalidRequest(String),
    /// A name or value that cannot be.
    #[error("{0}")]
    InvalidConfig(String),
    /// Who asks may not, the cluster's settings.
    #[error("Cluster authorization failed.")]
    ClusterForbidden,
    /// Who asks may not, a topic's settings.
    #[error("Topic authorization failed.")]
    TopicForbidden,
    /// Who asks may not, a group's settings.
    #[error("Group authorization failed.")]
    GroupForbidden,
    /// ZooKeeper did not take the change.
    #[error("the change could not be written: {0}")]
    NotWritten(ZkError),
}

impl From<ChangeError> for ResourceError {
    fn from(error: ChangeError) -> ResourceError {
        match error {
            ChangeError::InvalidConfig(text) => ResourceError::InvalidConfig(text),
            ChangeError::InvalidRequest(text) => ResourceError::InvalidRequest(text),
        }
    }
}

/// What is asked for a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// These settings and no others.
    Exactly(Texts),
    /// Changes of single settings.
    Operations(Vec<(String, Operation)>),
}

/// What became of each resource, in the order of the request.
pub(crate) type Outcome = Vec<(Resource, Result<(), ResourceError>)>;

/// Which settings in ZooKeeper a resource stands for, or why there are none.
pub(crate) fn entity(broker: &Broker, (kind, name): &Resource) -> Result<Entity, ResourceError> {
    match *kind {
        TOPIC if name.is_empty() => {
            Err(ResourceError::InvalidRequest("Default topic resources are not allowed.".to_owned()))
        }
        TOPIC if broker.image.read().topic(name).is_none() => Err(ResourceError::UnknownTopic(name.clone())),
        TOPIC => Ok(("topics".to_owned(), name.clone())),
        BROKER if name.is_empty() => Ok(("brokers".to_owned(), DEFAULT_ENTITY.to_owned())),
        BROKER => {
            check_broker_id(broker, name, ("Node", ""))?;
            Ok(("brokers".to_owned(), name.clone()))
        }
        GROUP if name.is_empty() => {
            Err(ResourceError::InvalidRequest("Default group resources are not allowed.".to_owned()))
        }
        GROUP => Ok((GROUPS.to_owned(), sanitize(name))),
        CLIENT_METRICS => {
            check_client_metrics_name(name, "Subscription name can't be empty")?;
            Ok((CLIENT_METRICS_KIND.to_owned(), sanitize(name)))
        }
        other => Err(ResourceError::InvalidRequest(format!("Unknown resource type {other}"))),
    }
}

/// `empty` is what to say of an empty name.
pub(crate) fn check_client_metrics_name(name: &str, empty: &str) -> Result<(), ResourceError> {
    if name.is_empty() {
        return Err(ResourceError::InvalidRequest(empty.to_owned()));
    }
    if name.len() > CLIENT_METRICS_NAME_BYTES_MAX {
        let problem = format!("A name of client metrics has at most {CLIENT_METRICS_NAME_BYTES_MAX} bytes");
        return Err(ResourceError::InvalidRequest(problem));
    }
    Ok(())
}

/// Only this broker knows its own settings.
/// `called` names what is checked, `alternative` what else would have been right.
pub(crate) fn check_broker_id(
    broker: &Broker,
    name: &str,
    (called, alternative): (&str, &str),
) -> Result<(), ResourceError> {
    let id: i32 = name
        .parse()
        .map_err(|_| ResourceError::InvalidRequest(format!("{called} id must be an integer, but it is: {name}")))?;
    let own = broker.config.broker_id;
    if id == own {
        return Ok(());
    }
    let text = format!("Unexpected broker id, expected {own}{alternative}, but received {name}");
    Err(ResourceError::InvalidRequest(text))
}

impl Broker {
    /// This broker's settings in their layers, as last read.
    pub(crate) fn setting_layers(&self) -> Layers<'_> {
        let own = self.cluster.settings("brokers", &self.config.broker_id.to_string());
        Layers { file: &self.config, for_all: self.cluster.settings("brokers", DEFAULT_ENTITY), own }
    }

    /// Changes settings; `then` hears what became of each resource when all are written, or only checked.
    pub(crate) fn change_resources(
        self: &Arc<Self>,
        wanted: Vec<(Resource, Result<Wanted, ResourceError>)>,
        is_check_only: bool,
        then: Box<dyn FnOnce(Outcome) + Send>,
        now: Now,
    ) {
        if wanted.is_empty() {
            return then(Vec::new());
        }
        // What became of each is put in at its place.
        let open: Outcome = wanted.iter().map(|(resource, _)| (resource.clone(), Ok(()))).collect();
        let gathered = Gathered::new(open, wanted.len(), then);
        let mut ready: BTreeMap<usize, (Entity, Wanted)> = BTreeMap::new();
        for (index, (resource, wanted)) in wanted.into_iter().enumerate() {
            match wanted.and_then(|wanted| Ok((entity(self, &resource)?, wanted))) {
                Ok(one) => {
                    ready.insert(index, one);
                }
                Err(error) => gathered.put(|outcome| outcome[index].1 = Err(error)),
            }
        }
        let entities: BTreeSet<Entity> = ready.values().map(|(entity, _)| entity.clone()).collect();
        let broker = self.clone();
        let go_on = Waiter::new(move |()| {
            for (index, (entity, wanted)) in ready {
                let gathered = gathered.clone();
                let done = move |result| gathered.put(|outcome| outcome[index].1 = result);
                match broker.checked(&entity, wanted) {
                    Ok(texts) if !is_check_only => broker.write_settings(entity, texts, done, now),
                    result => done(result.map(|_| ())),
                }
            }
        });
        self.with_cluster(now, |cluster, effects| cluster.refresh_settings(entities, go_on, now, effects));
    }

    fn write_settings(
        self: &Arc<Self>,
        entity: Entity,
        texts: Texts,
        done: impl FnOnce(Result<(), ResourceError>) + Send + 'static,
        now: Now,
    ) {
        tracing::info!(kind = entity.0, name = entity.1, names = ?texts.keys(), "settings change");
        let written = Waiter::new(move |result: Result<(), ZkError>| done(result.map_err(ResourceError::NotWritten)));
        self.with_cluster(now, |cluster, effects| cluster.change_settings(entity, texts, written, (now, effects)));
    }

    /// What the settings of an entity will be.
    fn checked(&self, entity: &Entity, wanted: Wanted) -> Result<Texts, ResourceError> {
        let row = match entity.0.as_str() {
            "topics" => change::topic_row,
            GROUPS => change::group_row,
            CLIENT_METRICS_KIND => change::client_metrics_row,
            _ => change::broker_row,
        };
        let texts = match wanted {
            Wanted::Exactly(texts) => texts,
            Wanted::Operations(operations) => {
                change::apply(&self.cluster.settings(&entity.0, &entity.1), &operations, row)?
            }
        };
        let layers = self.setting_layers();
        match entity.0.as_str() {
            "topics" => {
                let before = self.cluster.settings(&entity.0, &entity.1);
                change::check_topic(&layers.current(), &entity.1, &before, &texts)?;
            }
            GROUPS => change::check_group(&self.config, &texts)?,
            CLIENT_METRICS_KIND => drop(Subscription::parse(&texts)?),
            _ => change::check_broker(&layers, &texts, entity.1 == DEFAULT_ENTITY)?,
        }
        Ok(texts)
    }
}

/// The rules that hold before any resource is looked at: each once, each setting once, no null. `values` are the names and
/// whether a value is missing.
pub(crate) fn check_request(
    resource: &Resource,
    all: &[Resource],
    values: &[(&str, bool)],
) -> Result<(), ResourceError> {
    if all.iter().filter(|other| *other == resource).count() > 1 {
        return Err(ResourceError::InvalidRequest("Each resource must appear at most once.".to_owned()));
    }
    let names: BTreeSet<&str> = values.iter().map(|(name, _)| *name).collect();
    if names.len() < values.len() {
        return Err(ResourceError::InvalidRequest("Error due to duplicate config keys".to_owned()));
    }
    let missing: Vec<&str> = values.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let problem = format!("Null value not supported for : {}", missing.join(", "));
        return Err(ResourceError::InvalidRequest(problem));
    }
    Ok(())
}
