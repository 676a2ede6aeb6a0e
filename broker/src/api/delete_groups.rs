//! DeleteGroups (42), versions 0 to 2: KIP-229. Answered when every group's tombstones are replicated; NON_EMPTY_GROUP
//! and GROUP_ID_NOT_FOUND for single groups. A share group goes with all that the share coordinator has of it.

use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::gathered::Gathered;
use crate::group::{GroupError, Refusal};
use crate::share_states::Outcomes;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use common::time::Now;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

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
            let done = Box::new(move |code: ErrorCode| {
                let error_code = code.code();
                gathered.put(|results| results.push(DeletableGroupResult { group_id: id, error_code }));
            });
            delete(ctx.broker, group_id, done, ctx.now);
        }
        Reply::Parked
    }
}

type Done = Box<dyn FnOnce(ErrorCode) + Send>;

/// Of a share group the states go first: what is left of one that could not be deleted could still be asked to be.
fn delete(broker: &Arc<Broker>, group: String, done: Done, now: Now) {
    let (deleter, id) = (broker.clone(), group.clone());
    let waiter = Box::new(move |result: Result<Option<Vec<(Uuid, i32)>>, Refusal>| match result {
        // Heard at once.
        Ok(None) => delete_group(&deleter, &group, done, now),
        Ok(Some(states)) => {
            let (broker, id) = (deleter.clone(), group.clone());
            let then = move |outcomes: Outcomes, now: Now| match outcomes
                .iter()
                .map(|(.., code)| *code)
                .find(|code| *code != ErrorCode::None)
            {
                Some(code) => done(code),
                None => delete_group(&broker, &group, done, now),
            };
            deleter.delete_share_states(id, states, Box::new(then));
        }
        Err(refusal) => done(ErrorCode::from(refusal.error)),
    });
    broker.with_groups(now, |groups, io| groups.delete_share_states(&id, waiter, io));
}

fn delete_group(broker: &Arc<Broker>, group: &str, done: Done, now: Now) {
    let waiter = Box::new(move |result: Result<(), GroupError>| {
        done(result.err().map_or(ErrorCode::None, ErrorCode::from));
    });
    broker.with_groups(now, |groups, io| groups.delete_group(group, waiter, io));
}
