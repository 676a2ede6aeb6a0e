//! ShareGroupDescribe (77), version 1: KIP-932. GROUP_ID_NOT_FOUND for a group that does not exist or is of another kind;
//! TOPIC_AUTHORIZATION_FAILED if its members have topics that the client may not see. A group is shown as it is decided,
//! which may be a moment ahead of what is replicated.

use super::error::text;
use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{AssignedTopic, Described, GroupError, ShareDescription, ShareMember};
use common::kafka::error::ErrorCode;
use common::kafka::messages::share_group_describe::{Assignment, DescribedGroup, Member, TopicPartitions};
use common::kafka::messages::{ShareGroupDescribeRequest, ShareGroupDescribeResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ShareGroupDescribe;

impl Endpoint for ShareGroupDescribe {
    type Request = ShareGroupDescribeRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=1;

    fn handle(ctx: &Context<'_>, request: ShareGroupDescribeRequest) -> Reply<ShareGroupDescribeResponse> {
        let serves = ctx.broker.serves_share_groups();
        let mut groups = Vec::with_capacity(request.group_ids.len().min(1024));
        for group_id in request.group_ids {
            if !serves {
                groups.push(refused(group_id, ErrorCode::UnsupportedVersion, None));
                continue;
            }
            if !ctx.may(Operation::Describe, ResourceType::Group, &group_id) {
                groups.push(refused(group_id, ErrorCode::GroupAuthorizationFailed, None));
                continue;
            }
            let found = ctx.broker.with_groups(ctx.now, |groups, io| groups.describe_share(&group_id, io));
            let mut group = described(group_id, found);
            if request.include_authorized_operations && group.error_code == 0 {
                group.authorized_operations = ctx.rights().operations(ResourceType::Group, &group.group_id);
            }
            groups.push(if sees_all(ctx, &group) { group } else { hidden(group) });
        }
        Reply::Now(ShareGroupDescribeResponse { groups, ..ShareGroupDescribeResponse::default() })
    }
}

fn sees_all(ctx: &Context<'_>, group: &DescribedGroup) -> bool {
    let mut topics = group.members.iter().flat_map(|member| &member.assignment.topic_partitions);
    topics.all(|topic| ctx.sees(Operation::Describe, ResourceType::Topic, &topic.topic_name))
}

fn hidden(group: DescribedGroup) -> DescribedGroup {
    let message = "The group has described topic(s) that the client is not authorized to describe.";
    refused(group.group_id, ErrorCode::TopicAuthorizationFailed, text(message))
}

fn refused(group_id: String, code: ErrorCode, error_message: Option<String>) -> DescribedGroup {
    DescribedGroup { error_code: code.code(), error_message, group_id, ..DescribedGroup::default() }
}

fn described(group_id: String, found: Result<Described<ShareDescription>, GroupError>) -> DescribedGroup {
    let group = match found {
        Ok(Described::Found(group)) => group,
        Ok(Described::OtherProtocol) => {
            let message = text(format!("Group {group_id} is not a share group."));
            return refused(group_id, ErrorCode::GroupIdNotFound, message);
        }
        Ok(Described::Missing) => {
            let message = text(format!("Group {group_id} not found."));
            return refused(group_id, ErrorCode::GroupIdNotFound, message);
        }
        Err(error) => {
            let code = ErrorCode::from(error);
            // Kafka says nothing more of a name that is none.
            let message = text(code.message()).filter(|_| code != ErrorCode::InvalidGroupId);
            return refused(group_id, code, message);
        }
    };
    DescribedGroup {
        group_id,
        group_state: group.state.to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: group.assignor.to_owned(),
        members: group.members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

fn member(member: ShareMember) -> Member {
    let said = member.subscription;
    let topic = |topic: AssignedTopic| TopicPartitions {
        topic_id: topic.id,
        topic_name: topic.name,
        partitions: topic.partitions,
    };
    Member {
        member_id: member.member_id,
        rack_id: said.rack_id,
        member_epoch: member.epoch,
        client_id: said.client_id,
        client_host: said.client_host,
        subscribed_topic_names: said.topics.into_iter().collect(),
        assignment: Assignment { topic_partitions: member.assigned.into_iter().map(topic).collect() },
    }
}
