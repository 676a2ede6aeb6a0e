//! ListConfigResources (74), versions 0 and 1: what has settings. Version 0, which Kafka 3.9 calls
//! ListClientMetricsResources, lists the subscriptions to clients' metrics (KIP-714); version 1 also topics, brokers and groups
//! (KIP-1142), by type. UNSUPPORTED_VERSION for types that have no settings of their own.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::access::sanitize::desanitize;
use crate::broker::Broker;
use crate::cluster::Waiter;
use crate::resources::{BROKER, BROKER_LOGGER, CLIENT_METRICS, CLIENT_METRICS_KIND, GROUP, GROUPS, TOPIC};
use common::kafka::error::ErrorCode;
use common::kafka::messages::list_config_resources::ConfigResource;
use common::kafka::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use std::ops::RangeInclusive;

/// Types that version 1 lists if it names none.
const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

/// See the top of the file.
pub struct ListConfigResources;

impl Endpoint for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access<ListConfigResourcesRequest> = Access::Cluster(Operation::DescribeConfigs, |_, error| {
        ListConfigResourcesResponse { error_code: error.code(), ..ListConfigResourcesResponse::default() }
    });

    fn handle(ctx: &Context<'_>, request: ListConfigResourcesRequest) -> Reply<ListConfigResourcesResponse> {
        let types = match (ctx.version, request.resource_types) {
            (0, _) => vec![CLIENT_METRICS],
            (_, types) if types.is_empty() => ALL.to_vec(),
            (_, types) => types,
        };
        if types.iter().any(|kind| !ALL.contains(kind)) {
            let error_code = ErrorCode::UnsupportedVersion.code();
            return Reply::Now(ListConfigResourcesResponse { error_code, ..ListConfigResourcesResponse::default() });
        }
        let ticket: Ticket<ListConfigResourcesRequest> = ctx.ticket();
        let (broker, now) = (ctx.broker.clone(), ctx.now);
        // What another broker has just written is seen.
        let go_on = Waiter::new(move |()| {
            let listed = ALL.into_iter().filter(|kind| types.contains(kind));
            let config_resources = listed
                .flat_map(|kind| names(&broker, kind).into_iter().map(move |name| (kind, name)))
                .map(|(resource_type, resource_name)| ConfigResource { resource_name, resource_type })
                .collect();
            ticket.answer(&ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() });
        });
        ctx.broker.with_cluster(now, |cluster, effects| cluster.catch_up_settings(go_on, now, effects));
        Reply::Parked
    }
}

fn names(broker: &Broker, kind: i8) -> Vec<String> {
    let image = broker.image.read();
    match kind {
        TOPIC => image.topics().map(|(name, _)| name.to_owned()).collect(),
        BROKER | BROKER_LOGGER => image.brokers().map(|(id, _)| id.0.to_string()).collect(),
        kind => {
            let kind = if kind == GROUP { GROUPS } else { CLIENT_METRICS_KIND };
            let all = broker.cluster.settings_of_kind(kind);
            all.into_iter().filter(|(_, settings)| !settings.is_empty()).map(|(name, _)| desanitize(&name)).collect()
        }
    }
}
