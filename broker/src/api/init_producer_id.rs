//! InitProducerId (22), versions 0 to 5: a producer id for an idempotent producer, always a fresh one with epoch 0, out of
//! the blocks that the controller allocates (KIP-730). With a transactional id it is COORDINATOR_NOT_AVAILABLE: there is no
//! transaction coordinator, and a client finds none through FindCoordinator either.
//!
//! Errors: INVALID_REQUEST (id without epoch, epoch without id, empty transactional id), COORDINATOR_LOAD_IN_PROGRESS (no
//! ids at the moment; clients try again), COORDINATOR_NOT_AVAILABLE.

use super::{Context, Endpoint, Reply};
use crate::producer_ids::{Done, NoProducerIds};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{InitProducerIdRequest, InitProducerIdResponse};
use std::ops::RangeInclusive;

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
            Some(_) => return Reply::Now(refused(ErrorCode::CoordinatorNotAvailable)),
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
