//! ListGroups (16), versions 0 to 5: filters by state (KIP-518) and type (KIP-848), in any case. Only groups of this
//! broker; COORDINATOR_LOAD_IN_PROGRESS beside those already loaded.

use super::{Context, Endpoint, Reply};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ListGroups;

impl Endpoint for ListGroups {
    type Request = ListGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &Context<'_>, request: ListGroupsRequest) -> Reply<ListGroupsResponse> {
        let (groups, is_loading) = ctx.broker.with_groups(ctx.now, |groups, _| groups.list());
        let allows = |filter: &[String], value: &str| {
            filter.is_empty() || filter.iter().any(|allowed| allowed.eq_ignore_ascii_case(value))
        };
        let sees_all = ctx.sees(Operation::Describe, ResourceType::Cluster, CLUSTER_NAME);
        let sees = |group: &str| sees_all || ctx.sees(Operation::Describe, ResourceType::Group, group);
        let groups = groups
            .into_iter()
            .filter(|group| {
                sees(&group.group_id)
                    && allows(&request.states_filter, group.state)
                    && allows(&request.types_filter, group.group_type)
            })
            .map(|group| ListedGroup {
                group_id: group.group_id,
                protocol_type: group.protocol_type,
                group_state: group.state.to_owned(),
                group_type: group.group_type.to_owned(),
            })
            .collect();
        let error = if is_loading { ErrorCode::CoordinatorLoadInProgress } else { ErrorCode::None };
        Reply::Now(ListGroupsResponse { error_code: error.code(), groups, ..ListGroupsResponse::default() })
    }
}
