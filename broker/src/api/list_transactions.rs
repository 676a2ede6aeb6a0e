//! ListTransactions (66), versions 0 to 2: the transactional ids that this broker coordinates, by state, producer id, how
//! long the transaction is open and a pattern of ids (KIP-664, KIP-994, KIP-1152). Errors: COORDINATOR_LOAD_IN_PROGRESS while
//! a partition is being read, INVALID_REGULAR_EXPRESSION.

use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::pattern;
use crate::txn::Listed;
use crate::txn::records::TxnState;
use common::kafka::error::ErrorCode;
use common::kafka::messages::list_transactions::TransactionState;
use common::kafka::messages::{ListTransactionsRequest, ListTransactionsResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ListTransactions;

impl Endpoint for ListTransactions {
    type Request = ListTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &Context<'_>, request: ListTransactionsRequest) -> Reply<ListTransactionsResponse> {
        let listed = match ctx.broker.with_transactions(ctx.now, |txns, _| txns.list()) {
            Ok(listed) => listed,
            Err(error) => {
                let error_code = ErrorCode::from(error).code();
                return Reply::Now(ListTransactionsResponse { error_code, ..Default::default() });
            }
        };
        let pattern = request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
        let pattern = match pattern.map(pattern::whole).transpose() {
            Ok(pattern) => pattern,
            Err(_) => {
                let error_code = ErrorCode::InvalidRegularExpression.code();
                return Reply::Now(ListTransactionsResponse { error_code, ..Default::default() });
            }
        };
        let is_wanted = |one: &Listed| {
            let states = &request.state_filters;
            ctx.sees(Operation::Describe, ResourceType::TransactionalId, &one.transactional_id)
                && (states.is_empty() || states.iter().any(|state| state == one.state.name()))
                && (request.producer_id_filters.is_empty() || request.producer_id_filters.contains(&one.producer_id))
                && (request.duration_filter < 0
                    || ctx.now.wall.0.saturating_sub(one.start_timestamp) > request.duration_filter)
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(&one.transactional_id))
        };
        let transaction_states = listed
            .into_iter()
            .filter(is_wanted)
            .map(|one| TransactionState {
                transactional_id: one.transactional_id,
                producer_id: one.producer_id,
                transaction_state: one.state.name().to_owned(),
            })
            .collect();
        let unknown_state_filters =
            request.state_filters.iter().filter(|name| !TxnState::is_name(name)).cloned().collect();
        Reply::Now(ListTransactionsResponse { unknown_state_filters, transaction_states, ..Default::default() })
    }
}
