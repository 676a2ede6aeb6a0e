//! DescribeGroups (15), versions 0 to 6: KIP-430, 345, 1043. A group that does not exist, or has another protocol, is in
//! state Dead; from version 6 on it also has GROUP_ID_NOT_FOUND.

use super::error::text;
use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{Described, DescribedMember, Description, GroupError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_groups::DescribedGroup;
use common::kafka::messages::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroupMember};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DescribeGroups;

impl Endpoint for DescribeGroups {
    type Request = DescribeGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(ctx: &Context<'_>, request: DescribeGroupsRequest) -> Reply<DescribeGroupsResponse> {
        let mut groups = Vec::with_capacity(request.groups.len().min(1024));
        for group_id in request.groups {
            if !ctx.may(Operation::Describe, ResourceType::Group, &group_id) {
                let error_code = ErrorCode::GroupAuthorizationFailed.code();
                groups.push(DescribedGroup { error_code, group_id, ..DescribedGroup::default() });
                continue;
            }
            let found = ctx.broker.with_groups(ctx.now, |groups, io| groups.describe(&group_id, io));
            let mut group = described(group_id, found, ctx.version);
            if request.include_authorized_operations && group.error_code == 0 {
                group.authorized_operations = ctx.rights().operations(ResourceType::Group, &group.group_id);
            }
            groups.push(group);
        }
        Reply::Now(DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() })
    }
}

fn described(group_id: String, found: Result<Described<Description>, GroupError>, version: i16) -> DescribedGroup {
    match found {
        Ok(Described::Found(group)) => DescribedGroup {
            group_id,
            group_state: group.state.name().to_owned(),
            protocol_type: group.protocol_type,
            protocol_data: group.protocol,
            members: group.members.into_iter().map(member).collect(),
            ..DescribedGroup::default()
        },
        Ok(missing) => {
            let is_told = version >= 6;
            let is_other = missing == Described::OtherProtocol;
            let reason = if is_other { "is not a classic group." } else { "not found." };
            let error_message = if is_told { text(format!("Group {group_id} {reason}")) } else { None };
            let error = if is_told { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
            DescribedGroup {
                error_code: error.code(),
                error_message,
                group_id,
                group_state: "Dead".to_owned(),
                ..DescribedGroup::default()
            }
        }
        Err(error) => {
            DescribedGroup { error_code: ErrorCode::from(error).code(), group_id, ..DescribedGroup::default() }
        }
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}
