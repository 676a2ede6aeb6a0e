//! DescribeTransactions (65), version 0: state, producer, timeout and partitions of transactional ids (KIP-664). Errors by
//! id: INVALID_REQUEST (empty), NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, TRANSACTIONAL_ID_NOT_FOUND.

use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_transactions::{TopicData, TransactionState};
use common::kafka::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DescribeTransactions;

impl Endpoint for DescribeTransactions {
    type Request = DescribeTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(ctx: &Context<'_>, request: DescribeTransactionsRequest) -> Reply<DescribeTransactionsResponse> {
        let transaction_states = request.transactional_ids.into_iter().map(|id| describe(ctx, id)).collect();
        Reply::Now(DescribeTransactionsResponse { transaction_states, ..Default::default() })
    }
}

fn describe(ctx: &Context<'_>, transactional_id: String) -> TransactionState {
    if !ctx.may(Operation::Describe, ResourceType::TransactionalId, &transactional_id) {
        let error_code = ErrorCode::TransactionalIdAuthorizationFailed.code();
        return TransactionState { error_code, transactional_id, ..Default::default() };
    }
    match ctx.broker.with_transactions(ctx.now, |txns, io| txns.describe(&transactional_id, io)) {
        Ok(value) => {
            let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            let sees = |topic: &str| ctx.sees(Operation::Describe, ResourceType::Topic, topic);
            for (topic, partition) in value.places.into_iter().filter(|(topic, _)| sees(topic)) {
                topics.entry(topic).or_default().push(partition);
            }
            TransactionState {
                error_code: 0,
                transactional_id,
                transaction_state: value.state.name().to_owned(),
                transaction_timeout_ms: value.timeout_ms,
                transaction_start_time_ms: value.start_timestamp,
                producer_id: value.producer_id,
                producer_epoch: value.producer_epoch,
                topics: topics.into_iter().map(|(topic, partitions)| TopicData { topic, partitions }).collect(),
            }
        }
        Err(error) => {
            TransactionState { error_code: ErrorCode::from(error).code(), transactional_id, ..Default::default() }
        }
    }
}
