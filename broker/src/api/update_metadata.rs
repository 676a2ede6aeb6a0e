//! UpdateMetadata (6), versions 0 to 8: the controller tells which brokers live and which topics there are. Errors:
//! STALE_CONTROLLER_EPOCH from an earlier controller, STALE_BROKER_EPOCH if it is meant for an earlier life of this broker.

use super::access::Access;
use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use crate::broker::Broker;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{UpdateMetadataRequest, UpdateMetadataResponse};
use common::time::Now;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the top of the file.
pub struct UpdateMetadata;

impl Endpoint for UpdateMetadata {
    type Request = UpdateMetadataRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=8;
    const ACCESS: Access<Self::Request> =
        Access::Cluster(Operation::ClusterAction, |_, code| UpdateMetadataResponse { error_code: code.code() });

    fn handle(ctx: &Context<'_>, request: UpdateMetadataRequest) -> Reply<UpdateMetadataResponse> {
        if let Some(late) = super::overtaken(ctx, request.controller_epoch) {
            return late;
        }
        ctx.broker.isolation.heard(ctx.now.mono);
        Reply::Now(apply(ctx.broker, request, ctx.now))
    }
}

/// Takes the controller's word over, wherever the controller is.
pub(crate) fn apply(broker: &Arc<Broker>, request: UpdateMetadataRequest, now: Now) -> UpdateMetadataResponse {
    let answer = |code: ErrorCode| UpdateMetadataResponse { error_code: code.code() };
    if super::is_for_earlier_life(broker, request.broker_epoch) {
        return answer(ErrorCode::StaleBrokerEpoch);
    }
    let (change, alive) = {
        let mut image = broker.image.write();
        match image.update(request) {
            Ok(mut change) => {
                // While nobody reads the image: who sees that a broker has left must see that it did so lately.
                broker.suspects.note_departed(std::mem::take(&mut change.brokers_gone), now.mono);
                (change, image.brokers().map(|(id, _)| id.0).collect())
            }
            Err(_) => return answer(ErrorCode::StaleControllerEpoch),
        }
    };
    broker.replicas.set_alive(alive);
    broker.on_live_brokers(now);
    broker.watch_others();
    broker.answer_waiting(now);
    if change.is_other_controller {
        broker.ask_new_controller(now);
    }
    let gone: Vec<String> = {
        let image = broker.image.read();
        let mut topics: Vec<String> = change.deleted.iter().map(|(topic, _)| topic.clone()).collect();
        topics.dedup();
        topics.retain(|topic| image.topic(topic).is_none());
        topics
    };
    broker.with_cluster(now, |cluster, effects| {
        let image = broker.image.read();
        cluster.on_image(&image, &gone, now, effects);
    });
    if !change.topics.is_empty() {
        broker.groups.on_topics_changed(&change.topics);
        broker.on_shared_topics_changed(&change.topics, now);
    }
    if !change.deleted.is_empty() {
        let places = change.deleted.iter().map(|(topic, partition)| (topic.clone(), *partition)).collect();
        broker.with_groups(now, |groups, io| groups.on_partitions_deleted(&places, io));
    }
    answer(ErrorCode::None)
}
