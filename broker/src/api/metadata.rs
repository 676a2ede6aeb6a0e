//! Metadata (3), versions 0 to 13: brokers, topics and leaders as the image has them; creates topics that are asked for
//! (`auto.create.topics.enable`). Per topic: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_ID,
//! LEADER_NOT_AVAILABLE while a new topic is on its way, INVALID_REPLICATION_FACTOR if it cannot be made. Per partition:
//! LEADER_NOT_AVAILABLE, LISTENER_NOT_FOUND (version 6 on), REPLICA_NOT_AVAILABLE (version 0).

use super::access::Rights;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::cluster::image::{BrokerImage, Image, PartitionImage};
use crate::cluster::{TopicsAction, TopicsOutcome, TopicsRequest, Waiter, topic_name};
use crate::topics_on_demand::new_topic;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use common::time::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// See the top of the file.
pub struct Metadata;

impl Endpoint for Metadata {
    type Request = MetadataRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=13;

    fn handle(ctx: &Context<'_>, request: MetadataRequest) -> Reply<MetadataResponse> {
        let broker = ctx.broker;
        let cluster_id = broker.cluster.cluster_id();
        if let Some(refusal) = refuse(&request, ctx.version) {
            return Reply::Now(refusal);
        }
        if let Some(names) = may_wait(ctx, &request) {
            let (broker, ticket) = (broker.clone(), ctx.ticket::<MetadataRequest>());
            let (version, listener, rights) = (ctx.version, ctx.connection.listener.clone(), ctx.rights());
            let answer = move |now: Now| {
                let (mut response, missing) = {
                    let image = broker.image.read();
                    let brokers = broker.suspects.told_brokers(&image, now.mono);
                    View { version, listener: &listener, brokers }.respond(&image, &request)
                };
                response.cluster_id = broker.cluster.cluster_id();
                let missing = permit(&rights, &request, (&mut response, missing), version);
                // Deleted meanwhile.
                let unknown = |name| without_partitions(Some(name), Uuid::nil(), ErrorCode::UnknownTopicOrPartition);
                response.topics.extend(missing.into_iter().map(unknown));
                ticket.answer(&with_rights(response, &rights, &request));
            };
            let at = ctx.broker.suspects.ask(names, ctx.now.mono, Box::new(answer));
            ctx.broker.outbox.wake_at(at);
            return Reply::Parked;
        }
        let (mut response, missing) = {
            let image = broker.image.read();
            let brokers = broker.suspects.told_brokers(&image, ctx.now.mono);
            View { version: ctx.version, listener: &ctx.connection.listener, brokers }.respond(&image, &request)
        };
        response.cluster_id = cluster_id;
        let missing = permit(&ctx.rights(), &request, (&mut response, missing), ctx.version);
        let may_create = request.allow_auto_topic_creation && broker.config.auto_create_topics_enable;
        if !may_create {
            for name in missing {
                let code = match topic_name::validate(&name) {
                    Ok(()) => ErrorCode::UnknownTopicOrPartition,
                    Err(_) => ErrorCode::InvalidTopicException,
                };
                response.topics.push(without_partitions(Some(name), Uuid::nil(), code));
            }
            return Reply::Now(with_rights(response, &ctx.rights(), &request));
        }
        let may_create_all = ctx.sees(Operation::Create, ResourceType::Cluster, CLUSTER_NAME);
        let may_create = |name: &String| may_create_all || ctx.may_topic(Operation::Create, name);
        let (missing, forbidden): (Vec<String>, Vec<String>) = missing.into_iter().partition(may_create);
        response.topics.extend(forbidden.into_iter().map(hidden));
        create_missing(ctx, missing, request, response)
    }
}

/// A topic whose existence the client must not learn of.
fn hidden(name: String) -> MetadataResponseTopic {
    without_partitions(Some(name), Uuid::nil(), ErrorCode::TopicAuthorizationFailed)
}

/// Takes away what the client may not see. Gives the missing names that it may ask for.
fn permit(
    rights: &Rights,
    request: &MetadataRequest,
    (response, missing): (&mut MetadataResponse, Vec<String>),
    version: i16,
) -> Vec<String> {
    let sees = |name: &str| rights.sees(Operation::Describe, ResourceType::Topic, name);
    if request.topics.as_ref().is_none_or(|asked| version == 0 && asked.is_empty()) {
        response.topics.retain(|topic| topic.name.as_deref().is_some_and(sees));
    }
    let by_id = request.topics.iter().flatten().any(|topic| !topic.topic_id.is_nil());
    for topic in &mut response.topics {
        let Some(name) = topic.name.clone() else { continue };
        if !sees(&name) {
            // An id is no secret, a name is.
            let named = if by_id { (None, topic.topic_id) } else { (Some(name), Uuid::nil()) };
            *topic = without_partitions(named.0, named.1, ErrorCode::TopicAuthorizationFailed);
        }
    }
    let (missing, unseen): (Vec<String>, Vec<String>) = missing.into_iter().partition(|name| sees(name));
    response.topics.extend(unseen.into_iter().map(hidden));
    missing
}

/// Tells what the client may do where it asks (KIP-430), also with topics that are not there or have no name that may be.
fn with_rights(mut response: MetadataResponse, rights: &Rights, request: &MetadataRequest) -> MetadataResponse {
    if request.include_topic_authorized_operations {
        for topic in &mut response.topics {
            let is_seen = topic.error_code != ErrorCode::TopicAuthorizationFailed.code();
            if let (Some(name), true) = (&topic.name, is_seen) {
                topic.topic_authorized_operations = rights.operations(ResourceType::Topic, name);
            }
        }
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = rights.cluster_operations();
    }
    response
}

/// The topics asked for, if there are other brokers that may lead them and all are known: then the answer may wait for news.
fn may_wait(ctx: &Context<'_>, request: &MetadataRequest) -> Option<Vec<String>> {
    let image = ctx.broker.image.read();
    let asked = request.topics.as_ref().filter(|topics| !topics.is_empty() && image.brokers().count() > 1)?;
    let name = |topic: &MetadataRequestTopic| {
        let name = topic.name.as_deref().or_else(|| image.topic_name(topic.topic_id))?;
        image.topic(name).map(|_| name.to_owned())
    };
    asked.iter().map(name).collect()
}

/// Versions 10 and 11 have a field for ids and allow no name to be missing, yet the ids cannot be asked for (KAFKA-13051).
fn refuse(request: &MetadataRequest, version: i16) -> Option<MetadataResponse> {
    let topics = request.topics.as_ref()?;
    if version >= 12 || topics.iter().all(|topic| topic.topic_id.is_nil() && topic.name.is_some()) {
        return None;
    }
    let refused = |topic: &MetadataRequestTopic| {
        let name = Some(topic.name.clone().unwrap_or_default());
        without_partitions(name, topic.topic_id, ErrorCode::InvalidRequest)
    };
    Some(MetadataResponse { topics: topics.iter().map(refused).collect(), ..MetadataResponse::default() })
}

/// From where the cluster is looked at.
struct View<'a> {
    version: i16,
    listener: &'a str,
    /// Those that are live, or were until just now.
    brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
}

impl View<'_> {
    /// The answer as far as the image gives it, and the names it does not know.
    fn respond(&self, image: &Image, request: &MetadataRequest) -> (MetadataResponse, Vec<String>) {
        let mut response = MetadataResponse {
            brokers: self.told_brokers(),
            controller_id: image.controller().map_or(-1, |controller| controller.0),
            ..MetadataResponse::default()
        };
        let mut missing = Vec::new();
        let asked = request.topics.as_deref().filter(|topics| self.version > 0 || !topics.is_empty());
        let Some(asked) = asked else {
            response.topics = image.topics().filter_map(|(name, _)| self.topic(image, name)).collect();
            return (response, missing);
        };
        let by_id = asked.iter().any(|topic| !topic.topic_id.is_nil());
        let mut seen = BTreeSet::new();
        for topic in asked {
            if by_id {
                if topic.topic_id.is_nil() || !seen.insert(topic.topic_id.to_string()) {
                    continue;
                }
                let known = image.topic_name(topic.topic_id).and_then(|name| self.topic(image, name));
                let unknown = || without_partitions(None, topic.topic_id, ErrorCode::UnknownTopicId);
                response.topics.push(known.unwrap_or_else(unknown));
                continue;
            }
            let name = topic.name.as_deref().unwrap_or_default();
            if !seen.insert(name.to_owned()) {
                continue;
            }
            match self.topic(image, name) {
                Some(known) => response.topics.push(known),
                None => missing.push(name.to_owned()),
            }
        }
        (response, missing)
    }

    fn told_brokers(&self) -> Vec<MetadataResponseBroker> {
        let broker = |(id, known): (&BrokerId, &Arc<BrokerImage>)| {
            let endpoint = known.endpoint(self.listener)?;
            Some(MetadataResponseBroker {
                node_id: id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: known.rack.clone(),
            })
        };
        self.brokers.iter().filter_map(broker).collect()
    }

    fn topic(&self, image: &Image, name: &str) -> Option<MetadataResponseTopic> {
        let topic = image.topic(name)?;
        let partitions =
            topic.partitions.iter().map(|(&number, partition)| self.partition(image, number, partition)).collect();
        Some(MetadataResponseTopic {
            name: Some(name.to_owned()),
            topic_id: topic.id,
            is_internal: topic_name::is_internal(name),
            partitions,
            ..Default::default()
        })
    }

    fn partition(&self, image: &Image, number: i32, partition: &PartitionImage) -> MetadataResponsePartition {
        let reachable = |id: &i32| image.endpoint(BrokerId(*id), self.listener).is_some();
        // Version 0 names only replicas that can be reached, and says so when some are left out.
        let replicas =
            |ids: &[i32]| -> Vec<i32> { ids.iter().copied().filter(|id| self.version > 0 || reachable(id)).collect() };
        let (replica_nodes, isr_nodes) = (replicas(&partition.replicas), replicas(&partition.isr));
        let has_leader = partition.leader >= 0 && reachable(&partition.leader);
        let code = if has_leader {
            let all_named = replica_nodes.len() == partition.replicas.len() && isr_nodes.len() == partition.isr.len();
            if all_named { ErrorCode::None } else { ErrorCode::ReplicaNotAvailable }
        } else if self.version >= 6 && image.broker(BrokerId(partition.leader)).is_some() {
            ErrorCode::ListenerNotFound
        } else {
            ErrorCode::LeaderNotAvailable
        };
        MetadataResponsePartition {
            error_code: code.code(),
            partition_index: number,
            leader_id: if has_leader { partition.leader } else { -1 },
            leader_epoch: partition.leader_epoch,
            replica_nodes,
            isr_nodes,
            offline_replicas: partition.offline_replicas.clone(),
        }
    }
}

fn without_partitions(name: Option<String>, topic_id: Uuid, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: code.code(),
        is_internal: name.as_deref().is_some_and(topic_name::is_internal),
        name,
        topic_id,
        ..Default::default()
    }
}

/// Has the topics created that may be. On the controller the answer waits until they are written, so that it can say what is
/// wrong with one; elsewhere the controller is asked, and the client told to look again.
fn create_missing(
    ctx: &Context<'_>,
    missing: Vec<String>,
    asked: MetadataRequest,
    mut response: MetadataResponse,
) -> Reply<MetadataResponse> {
    let rights = ctx.rights();
    let (valid, invalid): (Vec<String>, Vec<String>) =
        missing.into_iter().partition(|name| topic_name::validate(name).is_ok());
    for name in invalid {
        response.topics.push(without_partitions(Some(name), Uuid::nil(), ErrorCode::InvalidTopicException));
    }
    if valid.is_empty() {
        return Reply::Now(with_rights(response, &rights, &asked));
    }
    let wanted = valid.iter().map(|name| new_topic(&ctx.broker.config, name)).collect();
    if !ctx.broker.cluster.is_controller() {
        ctx.broker.ask_controller_for_topics(wanted, ctx.now);
        for name in valid {
            let code = ErrorCode::UnknownTopicOrPartition;
            response.topics.push(without_partitions(Some(name), Uuid::nil(), code));
        }
        return Reply::Now(with_rights(response, &rights, &asked));
    }
    let request = TopicsRequest { action: TopicsAction::Create(wanted), timeout_ms: 0, validate_only: false };
    let ticket: Ticket<MetadataRequest> = ctx.ticket();
    let done = Waiter::new(move |outcome: TopicsOutcome| {
        for (name, result) in outcome {
            let code = match result.as_ref().map_err(ErrorCode::from) {
                // Written, or there already: its leaders will be known soon.
                Ok(_) | Err(ErrorCode::RequestTimedOut | ErrorCode::TopicAlreadyExists) => {
                    ErrorCode::LeaderNotAvailable
                }
                Err(code) => code,
            };
            response.topics.push(without_partitions(Some(name), Uuid::nil(), code));
        }
        ticket.answer(&with_rights(response, &rights, &asked));
    });
    let _ = ctx.broker.with_cluster(ctx.now, |cluster, effects| cluster.change_topics(request, done, ctx.now, effects));
    Reply::Parked
}

#[cfg(test)]
mod tests;
