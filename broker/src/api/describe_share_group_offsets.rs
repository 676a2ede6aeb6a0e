//! DescribeShareGroupOffsets (90), versions 0 and 1: KIP-932, 1226. Where share groups stand in partitions, as the share
//! coordinator knows it, and from version 1 on how far that is behind: records up to the end of the partition that are not
//! done with. What is not known is -1, not an error; nor is a group that is not there. UNSUPPORTED_VERSION where share groups
//! are off; TOPIC_AUTHORIZATION_FAILED for partitions that the client asked for by name.

use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::gathered::Gathered;
use crate::group::Place;
use crate::report::EndOffsets;
use crate::share::{NO_COUNT, NO_START_OFFSET, StateReply};
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequestTopic as AskedTopic, DescribeShareGroupOffsetsResponseGroup as Group,
    DescribeShareGroupOffsetsResponsePartition as Partition, DescribeShareGroupOffsetsResponseTopic as Topic,
};
use common::kafka::messages::{DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse};
use common::time::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// See the top of the file.
pub struct DescribeShareGroupOffsets;

impl Endpoint for DescribeShareGroupOffsets {
    type Request = DescribeShareGroupOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        ctx: &Context<'_>,
        request: DescribeShareGroupOffsetsRequest,
    ) -> Reply<DescribeShareGroupOffsetsResponse> {
        if request.groups.is_empty() {
            return Reply::Now(DescribeShareGroupOffsetsResponse::default());
        }
        let open = request.groups.iter().map(|asked| group(asked.group_id.clone(), Vec::new())).collect();
        let ticket: Ticket<DescribeShareGroupOffsetsRequest> = ctx.ticket();
        let gathered = Gathered::new(open, request.groups.len(), move |groups: Vec<Group>| {
            ticket.answer(&DescribeShareGroupOffsetsResponse { groups, ..Default::default() });
        });
        for (index, asked) in request.groups.into_iter().enumerate() {
            let gathered = gathered.clone();
            let put = move |group: Group| gathered.put(|groups| groups[index] = group);
            match question(ctx, asked.group_id, asked.topics) {
                Ok(question) => question.ask(ctx.broker, put),
                Err(group) => put(group),
            }
        }
        Reply::Parked
    }
}

fn group(group_id: String, topics: Vec<Topic>) -> Group {
    Group { group_id, topics, ..Group::default() }
}

fn refused(group_id: String, code: ErrorCode, error_message: Option<String>) -> Group {
    Group { group_id, error_code: code.code(), error_message, ..Group::default() }
}

/// What the share coordinator is asked for a group.
struct Question {
    group_id: String,
    asked: Vec<(Uuid, i32)>,
    names: BTreeMap<Uuid, String>,
    /// What is known without asking.
    known: Vec<Topic>,
}

/// What is to be asked for a group, or the answer where nothing is.
fn question(ctx: &Context<'_>, group_id: String, topics: Option<Vec<AskedTopic>>) -> Result<Question, Group> {
    if !ctx.broker.serves_share_groups() {
        return Err(refused(group_id, ErrorCode::UnsupportedVersion, None));
    }
    if !ctx.may(Operation::Describe, ResourceType::Group, &group_id) {
        return Err(refused(group_id, ErrorCode::GroupAuthorizationFailed, None));
    }
    let (mut asked, mut names, mut known) = (Vec::new(), BTreeMap::new(), Vec::new());
    let Some(topics) = topics else {
        let found = ctx.broker.with_groups(ctx.now, |groups, io| groups.initialized_share_partitions(&group_id, io));
        let partitions = found.map_err(|error| {
            let code = ErrorCode::from(error);
            refused(group_id.clone(), code, text(code.message()))
        })?;
        for (id, numbers) in partitions {
            let Some(name) = ctx.broker.image.read().topic_name(id).map(str::to_owned) else { continue };
            if ctx.sees(Operation::Describe, ResourceType::Topic, &name) {
                asked.extend(numbers.into_iter().map(|number| (id, number)));
                names.insert(id, name);
            }
        }
        return Ok(Question { group_id, asked, names, known });
    };
    for topic in topics {
        let id = ctx.broker.image.read().topic_id(&topic.topic_name);
        let may = ctx.may_topic(Operation::Describe, &topic.topic_name);
        match id.filter(|_| may) {
            Some(id) => {
                asked.extend(topic.partitions.into_iter().map(|number| (id, number)));
                names.insert(id, topic.topic_name);
            }
            None => {
                let error = if may { ErrorCode::None } else { ErrorCode::TopicAuthorizationFailed };
                let partitions = topic.partitions.iter().map(|number| unknown(*number, error)).collect();
                known.push(Topic { topic_name: topic.topic_name, topic_id: Uuid::nil(), partitions });
            }
        }
    }
    Ok(Question { group_id, asked, names, known })
}

/// A partition of which nothing is known.
fn unknown(partition_index: i32, code: ErrorCode) -> Partition {
    let error_message = (code != ErrorCode::None).then(|| code.message().to_owned());
    let (error_code, start_offset) = (code.code(), NO_START_OFFSET);
    Partition { partition_index, start_offset, error_code, error_message, ..Partition::default() }
}

type Outcome = (Uuid, i32, Result<StateReply, ErrorCode>);

impl Question {
    fn ask(self, broker: &Arc<Broker>, put: impl FnOnce(Group) + Send + 'static) {
        let Question { group_id, asked, names, known } = self;
        if asked.is_empty() {
            return put(group(group_id, known));
        }
        let (asker, id) = (broker.clone(), group_id.clone());
        let then = move |outcomes: Vec<Outcome>, now: Now| {
            let place = |(topic, number, result): &Outcome| {
                result.as_ref().is_ok_and(is_measurable).then(|| Some((names.get(topic)?.clone(), *number))).flatten()
            };
            let places: BTreeSet<Place> = outcomes.iter().filter_map(place).collect();
            let answer = move |ends: EndOffsets| {
                let mut topics = described(outcomes, &names, &ends);
                topics.extend(known);
                put(group(group_id, topics));
            };
            asker.ask_ends_of(&places, Box::new(answer), now);
        };
        broker.read_share_state_summary(&id, asked, Box::new(then));
    }
}

/// True if it can be told how far the group is behind.
fn is_measurable(state: &StateReply) -> bool {
    state.start_offset != NO_START_OFFSET && state.delivery_complete_count != NO_COUNT
}

fn described(outcomes: Vec<Outcome>, names: &BTreeMap<Uuid, String>, ends: &EndOffsets) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for (topic_id, number, result) in outcomes {
        let name = names.get(&topic_id).cloned().unwrap_or_default();
        let partition = match result {
            Err(_) => unknown(number, ErrorCode::None),
            Ok(state) if !is_measurable(&state) => Partition {
                start_offset: state.start_offset,
                leader_epoch: state.leader_epoch,
                ..unknown(number, ErrorCode::None)
            },
            Ok(state) => match ends.get(&(name.clone(), number)) {
                Some(end) => Partition {
                    start_offset: state.start_offset,
                    leader_epoch: state.leader_epoch,
                    lag: end
                        .saturating_sub(state.start_offset)
                        .saturating_sub(i64::from(state.delivery_complete_count)),
                    ..unknown(number, ErrorCode::None)
                },
                None => unknown(number, ErrorCode::LeaderNotAvailable),
            },
        };
        match topics.last_mut() {
            Some(last) if last.topic_id == topic_id => last.partitions.push(partition),
            _ => topics.push(Topic { topic_name: name, topic_id, partitions: vec![partition] }),
        }
    }
    topics
}
