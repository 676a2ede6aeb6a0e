//! DeleteShareGroupOffsets (92), version 0: KIP-932. Has a share group without members forget topics; answered when the share
//! coordinator has deleted their states and the group has recorded so. NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND,
//! UNSUPPORTED_VERSION where share groups are off; UNKNOWN_TOPIC_OR_PARTITION for single topics that are not there or that
//! the group has not read, TOPIC_AUTHORIZATION_FAILED.

use super::access::Access;
use super::alter_share_group_offsets::Failure;
use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{Deletion, Refusal};
use crate::share_states::Outcomes;
use common::kafka::error::ErrorCode;
use common::kafka::messages::delete_share_group_offsets::DeleteShareGroupOffsetsResponseTopic;
use common::kafka::messages::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use uuid::Uuid;

/// See the top of the file.
pub struct DeleteShareGroupOffsets;

type Topics = Vec<DeleteShareGroupOffsetsResponseTopic>;

impl Endpoint for DeleteShareGroupOffsets {
    type Request = DeleteShareGroupOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> =
        Access::Of(Operation::Delete, ResourceType::Group, |request| &request.group_id, |_, code| refused(code.into()));

    fn handle(ctx: &Context<'_>, request: DeleteShareGroupOffsetsRequest) -> Reply<DeleteShareGroupOffsetsResponse> {
        if !ctx.broker.serves_share_groups() {
            return Reply::Now(refused(ErrorCode::UnsupportedVersion.into()));
        }
        let topics: BTreeSet<String> = request.topics.into_iter().map(|topic| topic.topic_name).collect();
        let (topics, forbidden): (Vec<String>, Vec<String>) =
            topics.into_iter().partition(|topic| ctx.may_topic(Operation::Read, topic));
        let code = ErrorCode::TopicAuthorizationFailed;
        let mut responses: Topics =
            forbidden.into_iter().map(|name| topic((name, Uuid::nil()), code, code.message())).collect();
        let ticket: Ticket<DeleteShareGroupOffsetsRequest> = ctx.ticket();
        let (broker, group) = (ctx.broker.clone(), request.group_id.clone());
        let waiter = Box::new(move |result: Result<Deletion, Refusal>| {
            let deletion = match result {
                Ok(deletion) => deletion,
                Err(refusal) => return ticket.answer(&refused(refusal.into())),
            };
            let unknown = ErrorCode::UnknownTopicOrPartition;
            let missing =
                deletion.missing.into_iter().map(|name| topic((name, Uuid::nil()), unknown, unknown.message()));
            responses.extend(missing);
            let text = "There is no offset information to delete.";
            responses.extend(deletion.stateless.into_iter().map(|name| topic((name, Uuid::nil()), unknown, text)));
            let answer = move |result: Result<Topics, Refusal>| match result {
                Ok(responses) => ticket.answer(&DeleteShareGroupOffsetsResponse { responses, ..Default::default() }),
                Err(refusal) => ticket.answer(&refused(refusal.into())),
            };
            if deletion.topics.is_empty() {
                return answer(Ok(responses));
            }
            let number = |(id, _, numbers): &(Uuid, String, Vec<i32>)| {
                numbers.iter().map(|number| (*id, *number)).collect::<Vec<_>>()
            };
            let asked = deletion.topics.iter().flat_map(number).collect();
            let (deleter, id) = (broker.clone(), group.clone());
            let then = move |outcomes: Outcomes, now| {
                let deleted = settle(deletion.topics, &outcomes, &mut responses);
                let waiter = Box::new(move |result: Result<(), Refusal>| answer(result.map(|()| responses)));
                broker.with_groups(now, |groups, io| groups.share_states_deleted(&group, &deleted, waiter, io));
            };
            deleter.delete_share_states(id, asked, Box::new(then));
        });
        ctx.broker.with_groups(ctx.now, |groups, io| {
            groups.delete_share_offsets(&request.group_id, topics, waiter, io);
        });
        Reply::Parked
    }
}

/// Puts what became of topics into the answer; those whose states are gone.
fn settle(topics: Vec<(Uuid, String, Vec<i32>)>, outcomes: &Outcomes, responses: &mut Topics) -> BTreeSet<Uuid> {
    let mut errors: BTreeMap<Uuid, ErrorCode> = BTreeMap::new();
    for (id, _, code) in outcomes.iter().filter(|(.., code)| *code != ErrorCode::None) {
        errors.entry(*id).or_insert(*code);
    }
    let mut deleted = BTreeSet::new();
    for (id, name, _) in topics {
        match errors.get(&id) {
            Some(code) => responses.push(topic((name, id), *code, code.message())),
            None => {
                deleted.insert(id);
                responses.push(topic((name, id), ErrorCode::None, ""));
            }
        }
    }
    deleted
}

fn topic(
    (topic_name, topic_id): (String, Uuid),
    code: ErrorCode,
    message: &str,
) -> DeleteShareGroupOffsetsResponseTopic {
    let error_message = (code != ErrorCode::None).then(|| message.to_owned());
    DeleteShareGroupOffsetsResponseTopic { topic_name, topic_id, error_code: code.code(), error_message }
}

fn refused(Failure(code, message): Failure) -> DeleteShareGroupOffsetsResponse {
    DeleteShareGroupOffsetsResponse { error_code: code.code(), error_message: text(message), ..Default::default() }
}
