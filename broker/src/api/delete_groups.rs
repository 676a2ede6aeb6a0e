//! DeleteGroups (42), versions 0 to 2: KIP-229. Answered when every group's tombstones are replicated; NON_EMPTY_GROUP
//! and GROUP_ID_NOT_FOUND for single groups.

use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::gathered::Gathered;
use crate::group::GroupError;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DeleteGroups;

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
        let ticket: Ticket<DeleteGroupsRequest> = ctx.ticket();
        let gathered = Gathered::new(results, groups.len(), move |results| {
            ticket.answer(&DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() });
        });
        for group_id in groups {
            let gathered = gathered.clone();
            let id = group_id.clone();
            let waiter = Box::new(move |result: Result<(), GroupError>| {
                let error_code = result.err().map_or(ErrorCode::None, ErrorCode::from).code();
                gathered.put(|results| results.push(DeletableGroupResult { group_id: id, error_code }));
            });
            ctx.broker.with_groups(ctx.now, |groups, io| groups.delete_group(&group_id, waiter, io));
        }
        Reply::Parked
    }
}
