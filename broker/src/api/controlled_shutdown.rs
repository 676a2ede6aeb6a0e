//! ControlledShutdown (7), versions 0 to 3: a broker that wants to stop has its leaderships moved by the controller. Errors:
//! STALE_CONTROLLER_EPOCH if this is not the controller, STALE_BROKER_EPOCH, BROKER_NOT_AVAILABLE.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::cluster::Waiter;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ControlledShutdown;

impl Endpoint for ControlledShutdown {
    type Request = ControlledShutdownRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |_, code| {
        ControlledShutdownResponse { error_code: code.code(), ..Default::default() }
    });
    // A broker that waits for its leaderships to move still reports its ISRs.
    const LETS_PASS: bool = true;

    fn handle(ctx: &Context<'_>, request: ControlledShutdownRequest) -> Reply<ControlledShutdownResponse> {
        let ticket: Ticket<ControlledShutdownRequest> = ctx.ticket();
        let done = Waiter::new(move |remaining: Vec<(String, i32)>| {
            let partition = |(topic_name, partition_index)| RemainingPartition { topic_name, partition_index };
            let remaining_partitions = remaining.into_iter().map(partition).collect();
            ticket.answer(&ControlledShutdownResponse { remaining_partitions, ..Default::default() });
        });
        let from = (BrokerId(request.broker_id), request.broker_epoch);
        let begun = ctx
            .broker
            .with_cluster(ctx.now, |cluster, effects| cluster.controlled_shutdown(from, done, ctx.now, effects));
        match begun {
            Ok(()) => Reply::Parked,
            Err(error) => {
                let error_code = ErrorCode::from(error).code();
                Reply::Now(ControlledShutdownResponse { error_code, ..Default::default() })
            }
        }
    }
}
