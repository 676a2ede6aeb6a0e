//! AllocateProducerIds (67, KIP-730), version 0: the controller gives a broker the next thousand producer ids. Errors:
//! NOT_CONTROLLER, STALE_BROKER_EPOCH, BROKER_ID_NOT_REGISTERED, UNKNOWN_SERVER_ERROR when none can be had.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::cluster::{ProducerIdsError, Waiter, json::ProducerIdBlock};
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct AllocateProducerIds;

impl Endpoint for AllocateProducerIds {
    type Request = AllocateProducerIdsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |_, code| {
        AllocateProducerIdsResponse { error_code: code.code(), ..Default::default() }
    });
    // Any order of blocks is as good.
    const LETS_PASS: bool = true;

    fn handle(ctx: &Context<'_>, request: AllocateProducerIdsRequest) -> Reply<AllocateProducerIdsResponse> {
        let ticket: Ticket<AllocateProducerIdsRequest> = ctx.ticket();
        let done = Waiter::new(move |outcome| ticket.answer(&response(outcome)));
        let from = (BrokerId(request.broker_id), request.broker_epoch);
        let begun = ctx
            .broker
            .with_cluster(ctx.now, |cluster, effects| cluster.allocate_producer_ids(from, done, ctx.now, effects));
        match begun {
            Ok(()) => Reply::Parked,
            Err(error) => Reply::Now(response(Err(error))),
        }
    }
}

fn response(outcome: Result<ProducerIdBlock, ProducerIdsError>) -> AllocateProducerIdsResponse {
    match outcome {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.first,
            producer_id_len: i32::try_from(block.last - block.first + 1).unwrap_or(0),
            ..Default::default()
        },
        Err(error) => AllocateProducerIdsResponse { error_code: ErrorCode::from(error).code(), ..Default::default() },
    }
}
