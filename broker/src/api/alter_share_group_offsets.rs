//! AlterShareGroupOffsets (91), version 0: KIP-932. Has a share group without members begin anew at given offsets; a group
//! that is not there is made. Answered when the share coordinator has the offsets and the group has recorded so.
//! NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND (a group of another kind), UNSUPPORTED_VERSION where share groups are off;
//! UNKNOWN_TOPIC_OR_PARTITION and TOPIC_AUTHORIZATION_FAILED for single partitions, and INVALID_REQUEST for an offset below 0,
//! which Kafka takes.

use super::access::Access;
use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{Alteration, Refusal};
use crate::share_states::Outcomes;
use common::kafka::error::ErrorCode;
use common::kafka::messages::alter_share_group_offsets::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
    AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
};
use common::kafka::messages::{AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// See the top of the file.
pub struct AlterShareGroupOffsets;

impl Endpoint for AlterShareGroupOffsets {
    type Request = AlterShareGroupOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> =
        Access::Of(Operation::Read, ResourceType::Group, |request| &request.group_id, |_, code| refused(code.into()));

    fn handle(ctx: &Context<'_>, request: AlterShareGroupOffsetsRequest) -> Reply<AlterShareGroupOffsetsResponse> {
        if !ctx.broker.serves_share_groups() {
            return Reply::Now(refused(ErrorCode::UnsupportedVersion.into()));
        }
        let mut responses = Vec::new();
        let mut wanted: Vec<(String, Vec<(i32, i64)>)> = Vec::new();
        for mut topic in request.topics {
            let id = ctx.broker.image.read().topic_id(&topic.topic_name);
            if !ctx.may_topic(Operation::Read, &topic.topic_name) {
                responses.push(failed(topic, id, ErrorCode::TopicAuthorizationFailed));
            } else if id.is_none() {
                responses.push(failed(topic, None, ErrorCode::UnknownTopicOrPartition));
            } else {
                let (taken, below) = topic.partitions.into_iter().partition(|one| one.start_offset >= 0);
                topic.partitions = below;
                let taken: Vec<AlterShareGroupOffsetsRequestPartition> = taken;
                if !taken.is_empty() {
                    let partitions = taken.iter().map(|one| (one.partition_index, one.start_offset));
                    wanted.push((topic.topic_name.clone(), partitions.collect()));
                }
                if !topic.partitions.is_empty() {
                    responses.push(failed(topic, id, ErrorCode::InvalidRequest));
                }
            }
        }
        let ticket: Ticket<AlterShareGroupOffsetsRequest> = ctx.ticket();
        let (broker, group) = (ctx.broker.clone(), request.group_id.clone());
        let waiter = Box::new(move |result: Result<Alteration, Refusal>| {
            let alteration = match result {
                Ok(alteration) => alteration,
                Err(refusal) => return ticket.answer(&refused(refusal.into())),
            };
            let Alteration { topics, initialize } = alteration;
            let answer = move |outcomes: Outcomes| {
                let codes = outcomes.into_iter().map(|(topic, number, code)| ((topic, number), code)).collect();
                responses.extend(topics.into_iter().map(|topic| {
                    let partition = |(number, is_known): (i32, bool)| {
                        let unknown = ErrorCode::UnknownTopicOrPartition;
                        partition(number, if is_known { code_of(&codes, topic.id, number) } else { unknown })
                    };
                    AlterShareGroupOffsetsResponseTopic {
                        topic_id: topic.id,
                        partitions: topic.partitions.into_iter().map(partition).collect(),
                        topic_name: topic.name,
                    }
                }));
                ticket.answer(&AlterShareGroupOffsetsResponse { responses, ..Default::default() });
            };
            match initialize.partitions.is_empty() {
                true => answer(Outcomes::new()),
                false => broker.make_share_states(group, initialize, Box::new(move |outcomes, _| answer(outcomes))),
            }
        });
        ctx.broker.with_groups(ctx.now, |groups, io| {
            groups.alter_share_offsets(&request.group_id, wanted, waiter, io);
        });
        Reply::Parked
    }
}

fn code_of(codes: &BTreeMap<(Uuid, i32), ErrorCode>, topic: Uuid, number: i32) -> ErrorCode {
    codes.get(&(topic, number)).copied().unwrap_or(ErrorCode::None)
}

fn failed(
    topic: AlterShareGroupOffsetsRequestTopic,
    id: Option<Uuid>,
    code: ErrorCode,
) -> AlterShareGroupOffsetsResponseTopic {
    AlterShareGroupOffsetsResponseTopic {
        topic_name: topic.topic_name,
        topic_id: id.unwrap_or_default(),
        partitions: topic.partitions.iter().map(|one| partition(one.partition_index, code)).collect(),
    }
}

fn partition(partition_index: i32, code: ErrorCode) -> AlterShareGroupOffsetsResponsePartition {
    let error_message = (code != ErrorCode::None).then(|| code.message().to_owned());
    AlterShareGroupOffsetsResponsePartition { partition_index, error_code: code.code(), error_message }
}

/// A code and what a person reads.
pub(super) struct Failure(pub(super) ErrorCode, pub(super) String);

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure(code, code.message().to_owned())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let code = ErrorCode::from(refusal.error);
        if refusal.message.is_empty() { code.into() } else { Failure(code, refusal.message) }
    }
}

fn refused(Failure(code, message): Failure) -> AlterShareGroupOffsetsResponse {
    AlterShareGroupOffsetsResponse { error_code: code.code(), error_message: text(message), ..Default::default() }
}
