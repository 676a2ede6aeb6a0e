//! AddPartitionsToTxn (24), versions 0 to 5: partitions join a transaction before it writes to them (KIP-98). Versions 4
//! and 5 are what brokers say to each other, several transactions at once, also only to verify (KIP-890).
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION (the others of the transaction OPERATION_NOT_ATTEMPTED), INVALID_REQUEST,
//! INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED (INVALID_PRODUCER_EPOCH before version 2), CONCURRENT_TRANSACTIONS,
//! TRANSACTION_ABORTABLE (verified, and not part of it), NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
//! COORDINATOR_NOT_AVAILABLE.

use super::error::of_txn;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::cluster::image::Image;
use crate::gathered::Gathered;
use crate::partition::is_internal;
use crate::txn::TxnError;
use crate::txn::records::Place;
use common::kafka::error::ErrorCode;
use common::kafka::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};
use common::kafka::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// First version that knows PRODUCER_FENCED (KIP-588).
const FENCED_FROM: i16 = 2;
/// First version with several transactions.
const BATCHED_FROM: i16 = 4;

/// See the top of the file.
pub struct AddPartitionsToTxn;

impl Endpoint for AddPartitionsToTxn {
    type Request = AddPartitionsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &Context<'_>, request: AddPartitionsToTxnRequest) -> Reply<AddPartitionsToTxnResponse> {
        // Of these versions only brokers may ask.
        if ctx.version >= BATCHED_FROM && !ctx.may_cluster(Operation::ClusterAction) {
            let error_code = ErrorCode::ClusterAuthorizationFailed.code();
            return Reply::Now(AddPartitionsToTxnResponse { error_code, ..Default::default() });
        }
        let transactions = if ctx.version >= BATCHED_FROM {
            request.transactions
        } else {
            vec![AddPartitionsToTxnTransaction {
                transactional_id: request.v3_and_below_transactional_id,
                producer_id: request.v3_and_below_producer_id,
                producer_epoch: request.v3_and_below_producer_epoch,
                verify_only: false,
                topics: request.v3_and_below_topics,
            }]
        };
        if transactions.is_empty() {
            return Reply::Now(AddPartitionsToTxnResponse::default());
        }
        let left = transactions.len();
        let results = vec![AddPartitionsToTxnResult::default(); left];
        let ticket: Ticket<AddPartitionsToTxnRequest> = ctx.ticket();
        let gathered = Gathered::new(results, left, move |results| answer(ticket, results));
        for (slot, transaction) in transactions.into_iter().enumerate() {
            handle_one(ctx, transaction, slot, gathered.clone());
        }
        Reply::Parked
    }
}

fn answer(ticket: Ticket<AddPartitionsToTxnRequest>, results: Vec<AddPartitionsToTxnResult>) {
    let response = if ticket.version() >= BATCHED_FROM {
        AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() }
    } else {
        let topics = results.into_iter().flat_map(|result| result.topic_results).collect();
        AddPartitionsToTxnResponse { results_by_topic_v3_and_below: topics, ..Default::default() }
    };
    ticket.answer(&response);
}

fn handle_one(
    ctx: &Context<'_>,
    transaction: AddPartitionsToTxnTransaction,
    slot: usize,
    gathered: Gathered<Vec<AddPartitionsToTxnResult>>,
) {
    let AddPartitionsToTxnTransaction { transactional_id, producer_id, producer_epoch, verify_only, topics } =
        transaction;
    let knows_fenced = ctx.version >= FENCED_FROM;
    let put = move |result| gathered.put(|results| results[slot] = result);
    if let Some(result) = forbidden(ctx, &transactional_id, &topics) {
        return put(result);
    }
    if let Some(result) = unknown(&ctx.broker.image.read(), &transactional_id, &topics) {
        return put(result);
    }
    let places: BTreeSet<Place> = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.clone(), *partition)))
        .collect();
    let producer = (producer_id, producer_epoch);
    if verify_only {
        let verified =
            ctx.broker.with_transactions(ctx.now, |txns, io| txns.verify(&transactional_id, producer, &places, io));
        let code = |place: &Place| match &verified {
            Err(error) => of_txn(*error, knows_fenced),
            Ok(missing) if missing.contains(place) => ErrorCode::TransactionAbortable,
            Ok(_) => ErrorCode::None,
        };
        return put(result(transactional_id.clone(), &topics, code));
    }
    let id = transactional_id.clone();
    let waiter = move |outcome: Result<(), TxnError>| {
        let code = outcome.err().map_or(ErrorCode::None, |error| of_txn(error, knows_fenced));
        put(result(transactional_id, &topics, |_| code));
    };
    ctx.broker.with_transactions(ctx.now, |txns, io| txns.add((&id, producer), places, Box::new(waiter), io));
}

/// What a client may not write to; brokers may.
fn forbidden(ctx: &Context<'_>, id: &str, topics: &[AddPartitionsToTxnTopic]) -> Option<AddPartitionsToTxnResult> {
    if ctx.version >= BATCHED_FROM {
        return None;
    }
    if !ctx.may(Operation::Write, ResourceType::TransactionalId, id) {
        return Some(result(id.to_owned(), topics, |_| ErrorCode::TransactionalIdAuthorizationFailed));
    }
    let may_write = |name: &str| !is_internal(name) && ctx.may_topic(Operation::Write, name);
    if topics.iter().all(|topic| may_write(&topic.name)) {
        return None;
    }
    let code = |place: &Place| match may_write(&place.0) {
        true => ErrorCode::OperationNotAttempted,
        false => ErrorCode::TopicAuthorizationFailed,
    };
    Some(result(id.to_owned(), topics, code))
}

/// One unknown partition fails the whole transaction's request.
fn unknown(image: &Image, id: &str, topics: &[AddPartitionsToTxnTopic]) -> Option<AddPartitionsToTxnResult> {
    let is_known = |place: &Place| image.partition(&place.0, place.1).is_some();
    let mut all = topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.name.clone(), *p)));
    if all.all(|place| is_known(&place)) {
        return None;
    }
    let code = |place: &Place| {
        if is_known(place) { ErrorCode::OperationNotAttempted } else { ErrorCode::UnknownTopicOrPartition }
    };
    Some(result(id.to_owned(), topics, code))
}

fn result(
    transactional_id: String,
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&Place) -> ErrorCode,
) -> AddPartitionsToTxnResult {
    let partition = |topic: &str, index: i32| AddPartitionsToTxnPartitionResult {
        partition_index: index,
        partition_error_code: code(&(topic.to_owned(), index)).code(),
    };
    let topic_results = topics
        .iter()
        .map(|topic| AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic.partitions.iter().map(|index| partition(&topic.name, *index)).collect(),
        })
        .collect();
    AddPartitionsToTxnResult { transactional_id, topic_results }
}
