//! IncrementalAlterConfigs (44), versions 0 and 1: sets, deletes, appends to and subtracts from single settings (KIP-339).
//! Answered when ZooKeeper has them; errors as AlterConfigs. Levels of loggers cannot be changed while running:
//! INVALID_REQUEST.

use super::deleted_topics::{DELETED_TOPICS, undelete};
use super::{Context, Endpoint, Reply, Ticket, error};
use crate::config::change::Operation;
use crate::resources::{BROKER_LOGGER, Outcome, Resource, ResourceError, Wanted, check_request};
use common::kafka::error::ErrorCode;
use common::kafka::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
};
use common::kafka::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use std::ops::RangeInclusive;

const DELETE: i8 = 1;

/// See the top of the file.
pub struct IncrementalAlterConfigs;

impl Endpoint for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(ctx: &Context<'_>, request: IncrementalAlterConfigsRequest) -> Reply<IncrementalAlterConfigsResponse> {
        if let [one] = &request.resources[..]
            && one.resource_type == DELETED_TOPICS
        {
            return undelete(ctx, one.clone(), request.validate_only);
        }
        let all: Vec<Resource> =
            request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())).collect();
        let checked = |one: AlterConfigsResource| {
            ctx.may_change(&(one.resource_type, one.resource_name.clone()))?;
            wanted(one, &all)
        };
        let wanted = all.iter().cloned().zip(request.resources.into_iter().map(checked)).collect();
        let ticket: Ticket<IncrementalAlterConfigsRequest> = ctx.ticket();
        let then = Box::new(move |outcome| ticket.answer(&response(outcome)));
        ctx.broker.change_resources(wanted, request.validate_only, then, ctx.now);
        Reply::Parked
    }
}

fn wanted(resource: AlterConfigsResource, all: &[Resource]) -> Result<Wanted, ResourceError> {
    let is_missing = |config: &AlterableConfig| config.config_operation != DELETE && config.value.is_none();
    let values: Vec<(&str, bool)> =
        resource.configs.iter().map(|config| (config.name.as_str(), is_missing(config))).collect();
    check_request(&(resource.resource_type, resource.resource_name.clone()), all, &values)?;
    if resource.resource_type == BROKER_LOGGER {
        let problem = "Levels of loggers are set at start, by the variable CASTELLAN_LOG";
        return Err(ResourceError::InvalidRequest(problem.to_owned()));
    }
    resource.configs.into_iter().map(operation).collect::<Result<_, _>>().map(Wanted::Operations)
}

fn operation(config: AlterableConfig) -> Result<(String, Operation), ResourceError> {
    let value = config.value.unwrap_or_default();
    let operation = match config.config_operation {
        0 => Operation::Set(value),
        DELETE => Operation::Delete,
        2 => Operation::Append(value),
        3 => Operation::Subtract(value),
        other => return Err(ResourceError::InvalidRequest(format!("Unknown operations type {other}"))),
    };
    Ok((config.name, operation))
}

fn response(outcome: Outcome) -> IncrementalAlterConfigsResponse {
    let one = |((resource_type, resource_name), result): (Resource, Result<(), ResourceError>)| {
        AlterConfigsResourceResponse {
            error_code: result.as_ref().err().map_or(ErrorCode::None, ErrorCode::from).code(),
            error_message: result.err().and_then(|error| error::text(error.to_string())),
            resource_type,
            resource_name,
        }
    };
    let responses = outcome.into_iter().map(one).collect();
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}
