//! DeleteGroups (42), versions 0 to 2: KIP-229. Answered when every group's tombstones are replicated; NON_EMPTY_GROUP
//! and GROUP_ID_NOT_FOUND for single groups.

use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::GroupError;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the top of the file.
pub struct DeleteGroups;

/// The answers that are in, and who waits for all of them.
struct Gathered {
    missing: usize,
    results: Vec<DeletableGroupResult>,
    ticket: Option<Ticket<DeleteGroupsRequest>>,
}

impl Endpoint for DeleteGroups {
    type Request = DeleteGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &Context<'_>, request: DeleteGroupsRequest) -> Reply<DeleteGroupsResponse> {
        let groups: BTreeSet<String> = request.groups_names.into_iter().collect();
        if groups.is_empty() {
            return Reply::Now(DeleteGroupsResponse::default());
        }
        let may_delete = |group: &String| ctx.may(Operation::Delete, ResourceType::Group, group);
        let (groups, forbidden): (BTreeSet<String>, BTreeSet<String>) = groups.into_iter().partition(may_delete);
        let error_code = ErrorCode::GroupAuthorizationFailed.code();
        let refused = |group_id: String| DeletableGroupResult { group_id, error_code };
        let results: Vec<DeletableGroupResult> = forbidden.into_iter().map(refused).collect();
        if groups.is_empty() {
            return Reply::Now(DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() });
        }
        let gathered = Gathered { missing: groups.len(), results, ticket: Some(ctx.ticket()) };
        let gathered = Arc::new(Mutex::new(gathered));
        for group_id in groups {
            let gathered = gathered.clone();
            let id = group_id.clone();
            let waiter = Box::new(move |result| add(&gathered, id, result));
            ctx.broker.with_groups(ctx.now, |groups, io| groups.delete_group(&group_id, waiter, io));
        }
        Reply::Parked
    }
}

fn add(gathered: &Mutex<Gathered>, group_id: String, result: Result<(), GroupError>) {
    let mut gathered = gathered.lock();
    let error_code = result.err().map_or(ErrorCode::None, ErrorCode::from).code();
    gathered.results.push(DeletableGroupResult { group_id, error_code });
    gathered.missing -= 1;
    if gathered.missing > 0 {
        return;
    }
    let results = std::mem::take(&mut gathered.results);
    if let Some(ticket) = gathered.ticket.take() {
        ticket.answer(&DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() });
    }
}
