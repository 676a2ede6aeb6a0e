//! AlterConfigs (33), versions 0 to 2: replaces all settings of a topic or broker (KIP-133, 226). Answered when ZooKeeper
//! has them. INVALID_CONFIG for names and values, INVALID_REQUEST for what cannot be changed in this way,
//! UNKNOWN_TOPIC_OR_PARTITION.

use super::{Context, Endpoint, Reply, Ticket, error};
use crate::resources::{Outcome, Resource, ResourceError, Wanted, check_request};
use common::kafka::error::ErrorCode;
use common::kafka::messages::alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse};
use common::kafka::messages::{AlterConfigsRequest, AlterConfigsResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct AlterConfigs;

impl Endpoint for AlterConfigs {
    type Request = AlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &Context<'_>, request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let all: Vec<Resource> =
            request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())).collect();
        let checked = |one: AlterConfigsResource| {
            ctx.may_change(&(one.resource_type, one.resource_name.clone()))?;
            wanted(one, &all)
        };
        let wanted = all.iter().cloned().zip(request.resources.into_iter().map(checked)).collect();
        let ticket: Ticket<AlterConfigsRequest> = ctx.ticket();
        let then = Box::new(move |outcome| ticket.answer(&response(outcome)));
        ctx.broker.change_resources(wanted, request.validate_only, then, ctx.now);
        Reply::Parked
    }
}

fn wanted(resource: AlterConfigsResource, all: &[Resource]) -> Result<Wanted, ResourceError> {
    let values: Vec<(&str, bool)> =
        resource.configs.iter().map(|config| (config.name.as_str(), config.value.is_none())).collect();
    check_request(&(resource.resource_type, resource.resource_name.clone()), all, &values)?;
    let texts = resource.configs.into_iter().filter_map(|config| Some((config.name, config.value?))).collect();
    Ok(Wanted::Exactly(texts))
}

fn response(outcome: Outcome) -> AlterConfigsResponse {
    let one = |((resource_type, resource_name), result): (Resource, Result<(), ResourceError>)| {
        AlterConfigsResourceResponse {
            error_code: result.as_ref().err().map_or(ErrorCode::None, ErrorCode::from).code(),
            error_message: result.err().and_then(|error| error::text(error.to_string())),
            resource_type,
            resource_name,
        }
    };
    AlterConfigsResponse { responses: outcome.into_iter().map(one).collect(), ..AlterConfigsResponse::default() }
}
