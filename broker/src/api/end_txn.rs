//! EndTxn (26), versions 0 to 5: commits or aborts the open transaction (KIP-98). Answered when the decision is replicated;
//! the markers follow. From version 5 on every end has an epoch of its own and the answer names the next one (KIP-890).
//!
//! Errors: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED (INVALID_PRODUCER_EPOCH before version 2),
//! CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE.

use super::access::Access;
use super::error::of_txn;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::txn::{EndInput, Io, Producer, Transactions, TxnError};
use common::kafka::messages::{EndTxnRequest, EndTxnResponse};
use std::ops::RangeInclusive;

/// First version that knows PRODUCER_FENCED (KIP-588).
const FENCED_FROM: i16 = 2;
/// First version of transaction.version 2.
const BUMPS_FROM: i16 = 5;

/// See the top of the file.
pub struct EndTxn;

impl Endpoint for EndTxn {
    type Request = EndTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access<Self::Request> = Access::Of(
        Operation::Write,
        ResourceType::TransactionalId,
        |request| &request.transactional_id,
        |_, code| EndTxnResponse { error_code: code.code(), ..Default::default() },
    );

    fn handle(ctx: &Context<'_>, request: EndTxnRequest) -> Reply<EndTxnResponse> {
        let ticket: Ticket<EndTxnRequest> = ctx.ticket();
        let input = EndInput {
            transactional_id: request.transactional_id,
            producer: (request.producer_id, request.producer_epoch),
            is_commit: request.committed,
            bumps_epoch: ctx.version >= BUMPS_FROM,
        };
        let waiter = Box::new(move |result| {
            let response = respond(result, ticket.version());
            ticket.answer(&response);
        });
        let decide = Box::new(move |txns: &Transactions, waiter, io: &mut Io<'_>| txns.end(&input, waiter, io));
        ctx.broker.decide_with_producer_id(decide, waiter, ctx.now);
        Reply::Parked
    }
}

fn respond(result: Result<Producer, TxnError>, version: i16) -> EndTxnResponse {
    match result {
        Ok((producer_id, producer_epoch)) if version >= BUMPS_FROM => {
            EndTxnResponse { producer_id, producer_epoch, ..EndTxnResponse::default() }
        }
        Ok(_) => EndTxnResponse::default(),
        Err(error) => {
            let error_code = of_txn(error, version >= FENCED_FROM).code();
            EndTxnResponse { error_code, ..EndTxnResponse::default() }
        }
    }
}
