//! ConsumerGroupDescribe (69), versions 0 and 1: KIP-848, 1099. GROUP_ID_NOT_FOUND for a group that does not exist or has
//! the classic protocol: clients then ask DescribeGroups. A group is shown as it is decided, which may be a moment ahead
//! of what is replicated.

use super::error::text;
use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{AssignedTopic, ConsumerDescription, ConsumerMember, Described, GroupError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::consumer_group_describe::{Assignment, DescribedGroup, Member, TopicPartitions};
use common::kafka::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use std::ops::RangeInclusive;

/// What a member speaks.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

/// See the top of the file.
pub struct ConsumerGroupDescribe;

impl Endpoint for ConsumerGroupDescribe {
    type Request = ConsumerGroupDescribeRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(ctx: &Context<'_>, request: ConsumerGroupDescribeRequest) -> Reply<ConsumerGroupDescribeResponse> {
        let serves = ctx.broker.serves_consumer_protocol();
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
            let found = ctx.broker.with_groups(ctx.now, |groups, io| groups.describe_consumers(&group_id, io));
            let mut group = described(group_id, found);
            if request.include_authorized_operations && group.error_code == 0 {
                group.authorized_operations = ctx.rights().operations(ResourceType::Group, &group.group_id);
            }
            groups.push(group);
        }
        Reply::Now(ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() })
    }
}

fn refused(group_id: String, code: ErrorCode, error_message: Option<String>) -> DescribedGroup {
    DescribedGroup { error_code: code.code(), error_message, group_id, ..DescribedGroup::default() }
}

fn described(group_id: String, found: Result<Described<ConsumerDescription>, GroupError>) -> DescribedGroup {
    let group = match found {
        Ok(Described::Found(group)) => group,
        Ok(Described::OtherProtocol) => {
            let message = text(format!("Group {group_id} is not a consumer group."));
            return refused(group_id, ErrorCode::GroupIdNotFound, message);
        }
        Ok(Described::Missing) => {
            let message = text(format!("Group {group_id} not found."));
            return refused(group_id, ErrorCode::GroupIdNotFound, message);
        }
        Err(error) => return refused(group_id, ErrorCode::from(error), None),
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

fn member(member: ConsumerMember) -> Member {
    let said = member.subscription;
    Member {
        member_id: member.member_id,
        instance_id: said.instance_id,
        rack_id: said.rack_id,
        member_epoch: member.epoch,
        client_id: said.client_id,
        client_host: said.client_host,
        subscribed_topic_names: said.topics.into_iter().collect(),
        // Empty for none, as Kafka says it.
        subscribed_topic_regex: Some(said.regex.unwrap_or_default()),
        assignment: assignment(member.assigned),
        target_assignment: assignment(member.target),
        member_type: if said.classic.is_some() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

fn assignment(topics: Vec<AssignedTopic>) -> Assignment {
    let topic = |topic: AssignedTopic| TopicPartitions {
        topic_id: topic.id,
        topic_name: topic.name,
        partitions: topic.partitions,
    };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect() }
}
