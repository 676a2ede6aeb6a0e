//! InitProducerId (22), versions 0 to 5: a producer id and epoch. An idempotent producer always gets a fresh id with epoch
//! 0, out of the blocks that the controller allocates (KIP-730). One with a transactional id gets the id's next epoch, which
//! fences all earlier instances of it, and an open transaction of theirs is aborted first (KIP-98); a producer that names
//! what it has goes on with the next epoch after an error (KIP-360).
//!
//! Errors: INVALID_REQUEST (id without epoch, epoch without id, empty transactional id), INVALID_TRANSACTION_TIMEOUT,
//! CONCURRENT_TRANSACTIONS (the last transaction is being ended; clients try again), PRODUCER_FENCED
//! (INVALID_PRODUCER_EPOCH before version 4), NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS (also: no ids at the moment),
//! COORDINATOR_NOT_AVAILABLE.

use super::error::of_txn;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::producer_ids::{Done, NoProducerIds};
use crate::txn::{InitInput, Io, Producer, Transactions, TxnError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{InitProducerIdRequest, InitProducerIdResponse};
use std::ops::RangeInclusive;

/// First version that knows PRODUCER_FENCED (KIP-588).
const FENCED_FROM: i16 = 4;
/// Producer id and epoch of a producer that has none.
const NONE: i64 = -1;

/// See the top of the file.
pub struct InitProducerId;

impl Endpoint for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &Context<'_>, request: InitProducerIdRequest) -> Reply<InitProducerIdResponse> {
        let has_id = request.producer_id != NONE;
        let has_epoch = i64::from(request.producer_epoch) != NONE;
        match request.transactional_id.as_deref() {
            _ if has_id != has_epoch => return Reply::Now(refused(ErrorCode::InvalidRequest)),
            Some("") => return Reply::Now(refused(ErrorCode::InvalidRequest)),
            Some(id) if !ctx.may(Operation::Write, ResourceType::TransactionalId, id) => {
                return Reply::Now(refused(ErrorCode::TransactionalIdAuthorizationFailed));
            }
            None if !may_be_idempotent(ctx) => return Reply::Now(refused(ErrorCode::ClusterAuthorizationFailed)),
            Some(id) => {
                let expected = has_id.then_some((request.producer_id, request.producer_epoch));
                let timeout_ms = request.transaction_timeout_ms;
                let input = InitInput { transactional_id: id.to_owned(), timeout_ms, expected };
                let ticket: Ticket<InitProducerIdRequest> = ctx.ticket();
                let waiter = Box::new(move |result| {
                    let response = respond_to_transactional(result, ticket.version());
                    ticket.answer(&response);
                });
                let decide =
                    Box::new(move |txns: &Transactions, waiter, io: &mut Io<'_>| txns.init(&input, waiter, io));
                ctx.broker.decide_with_producer_id(decide, waiter, ctx.now);
                return Reply::Parked;
            }
            None => {}
        }
        let done = || -> Done {
            let ticket = ctx.ticket::<InitProducerIdRequest>();
            Box::new(move |id| ticket.answer(&respond(id)))
        };
        match ctx.broker.next_producer_id(done, ctx.now) {
            Some(id) => Reply::Now(respond(id)),
            None => Reply::Parked,
        }
    }
}

/// Who may write to anything may do so with a producer id (KIP-679).
fn may_be_idempotent(ctx: &Context<'_>) -> bool {
    ctx.sees(Operation::IdempotentWrite, ResourceType::Cluster, CLUSTER_NAME)
        || ctx.may_some(Operation::Write, ResourceType::Topic)
}

fn respond_to_transactional(result: Result<Producer, TxnError>, version: i16) -> InitProducerIdResponse {
    match result {
        Ok((producer_id, producer_epoch)) => {
            InitProducerIdResponse { producer_id, producer_epoch, ..InitProducerIdResponse::default() }
        }
        Err(error) => refused(of_txn(error, version >= FENCED_FROM)),
    }
}

fn respond(id: Result<i64, NoProducerIds>) -> InitProducerIdResponse {
    match id {
        Ok(producer_id) => {
            InitProducerIdResponse { producer_id, producer_epoch: 0, ..InitProducerIdResponse::default() }
        }
        Err(error) => refused(ErrorCode::from(error)),
    }
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: code.code(), producer_epoch: -1, ..InitProducerIdResponse::default() }
}
