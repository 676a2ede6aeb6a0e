//! AddOffsetsToTxn (25), versions 0 to 4: the partition of `__consumer_offsets` that has a group joins the transaction, so
//! that offsets can be committed in it (KIP-98). Errors as AddPartitionsToTxn has them.

use super::error::of_txn;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{OFFSETS_TOPIC, partition_for};
use crate::txn::TxnError;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// First version that knows PRODUCER_FENCED (KIP-588).
const FENCED_FROM: i16 = 2;

/// See the top of the file.
pub struct AddOffsetsToTxn;

impl Endpoint for AddOffsetsToTxn {
    type Request = AddOffsetsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &Context<'_>, request: AddOffsetsToTxnRequest) -> Reply<AddOffsetsToTxnResponse> {
        let refused =
            |code: ErrorCode| Reply::Now(AddOffsetsToTxnResponse { error_code: code.code(), ..Default::default() });
        if !ctx.may(Operation::Write, ResourceType::TransactionalId, &request.transactional_id) {
            return refused(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        if !ctx.may(Operation::Read, ResourceType::Group, &request.group_id) {
            return refused(ErrorCode::GroupAuthorizationFailed);
        }
        let count = ctx.broker.image.read().partition_count(OFFSETS_TOPIC);
        let count = count.unwrap_or(ctx.broker.config.offsets_topic_num_partitions).max(1);
        let place = (OFFSETS_TOPIC.to_owned(), partition_for(&request.group_id, count));
        let ticket: Ticket<AddOffsetsToTxnRequest> = ctx.ticket();
        let waiter = move |result: Result<(), TxnError>| {
            let code = result.err().map_or(ErrorCode::None, |error| of_txn(error, ticket.version() >= FENCED_FROM));
            ticket.answer(&AddOffsetsToTxnResponse { error_code: code.code(), ..Default::default() });
        };
        let producer = (request.producer_id, request.producer_epoch);
        ctx.broker.with_transactions(ctx.now, |txns, io| {
            txns.add((&request.transactional_id, producer), BTreeSet::from([place]), Box::new(waiter), io);
        });
        Reply::Parked
    }
}
