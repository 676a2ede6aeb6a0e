//! OffsetFetch (9), versions 0 to 10: several groups from version 8 on (KIP-709), `require_stable` (KIP-447), topics by
//! id in version 10. Without topics all offsets of the group. UNSTABLE_OFFSET_COMMIT asks to come again. Answers at once,
//! unless another broker may look after the group by now: then when the replicas have shown that none does.
//! Version 0, which Kafka reads from ZooKeeper, is answered like the others, as it is committed.

use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::gathered::Gathered;
use crate::group::{FetchResult, GroupError, Place};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// See the top of the file.
pub struct OffsetFetch;

impl Endpoint for OffsetFetch {
    type Request = OffsetFetchRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=10;

    fn handle(ctx: &Context<'_>, request: OffsetFetchRequest) -> Reply<OffsetFetchResponse> {
        let (require_stable, version) = (request.require_stable, ctx.version);
        let mut asked = None;
        let wanted = if version >= 8 {
            request.groups
        } else {
            let topic = |topic: common::kafka::messages::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..OffsetFetchRequestTopics::default()
            };
            let topics: Option<Vec<_>> = request.topics.map(|topics| topics.into_iter().map(topic).collect());
            if version < 2 {
                asked = topics.clone();
            }
            vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..OffsetFetchRequestGroup::default() }]
        };
        let groups: Vec<OffsetFetchResponseGroup> =
            wanted.into_iter().map(|group| fetch(ctx, group, require_stable)).collect();
        let told: Vec<(usize, String)> = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.error_code == 0)
            .map(|(index, group)| (index, group.group_id.clone()))
            .collect();
        if told.is_empty() || !ctx.broker.cluster.may_be_succeeded(ctx.now.mono) {
            return Reply::Now(response(version, groups, asked));
        }
        let ticket: Ticket<OffsetFetchRequest> = ctx.ticket();
        let gathered =
            Gathered::new(groups, told.len(), move |groups| ticket.answer(&response(version, groups, asked)));
        for (index, group_id) in told {
            let (gathered, id) = (gathered.clone(), group_id.clone());
            let waiter = move |confirmed: Result<(), GroupError>| {
                gathered.put(|groups| {
                    if let Err(error) = confirmed {
                        groups[index] =
                            OffsetFetchResponseGroup { group_id, error_code: code(error), ..Default::default() };
                    }
                });
            };
            ctx.broker.with_groups(ctx.now, |groups, io| groups.confirm(&id, Box::new(waiter), io));
        }
        Reply::Parked
    }
}

/// In the shape of the version; `asked` of one that tells errors with the partitions only.
fn response(
    version: i16,
    mut groups: Vec<OffsetFetchResponseGroup>,
    asked: Option<Vec<OffsetFetchRequestTopics>>,
) -> OffsetFetchResponse {
    if version >= 8 {
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let group = groups.pop().unwrap_or_default();
    OffsetFetchResponse {
        error_code: group.error_code,
        topics: match asked {
            // Before version 2 an error has no place but with each partition.
            Some(topics) if group.error_code != 0 => topics.into_iter().map(|t| failed(t, group.error_code)).collect(),
            _ => group.topics.into_iter().map(single).collect(),
        },
        ..OffsetFetchResponse::default()
    }
}

fn fetch(ctx: &Context<'_>, mut group: OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup {
    if !ctx.may(Operation::Describe, ResourceType::Group, &group.group_id) {
        let error_code = ErrorCode::GroupAuthorizationFailed.code();
        return OffsetFetchResponseGroup { group_id: group.group_id, error_code, ..Default::default() };
    }
    let by_id = ctx.version >= 10;
    let mut unknown = Vec::new();
    if let (true, Some(topics)) = (by_id, &mut group.topics) {
        let image = ctx.broker.image.read();
        for topic in topics.iter_mut() {
            topic.name = image.topic_name(topic.topic_id).unwrap_or_default().to_owned();
        }
        unknown = topics.extract_if(.., |topic| topic.name.is_empty()).collect();
    }
    let sees = |name: &str| ctx.sees(Operation::Describe, ResourceType::Topic, name);
    let forbidden: Vec<OffsetFetchRequestTopics> =
        group.topics.iter_mut().flat_map(|topics| topics.extract_if(.., |topic| !sees(&topic.name))).collect();
    // Each place is answered once, however often it is asked for.
    let places: Option<BTreeSet<Place>> = group.topics.map(|topics| {
        let of_topic = |topic: OffsetFetchRequestTopics| {
            topic.partition_indexes.into_iter().map(move |partition| (topic.name.clone(), partition))
        };
        topics.into_iter().flat_map(of_topic).collect()
    });
    let member = (group.member_id.as_deref(), group.member_epoch);
    let places: Option<Vec<Place>> = places.map(|places| places.into_iter().collect());
    let result = ctx.broker.with_groups(ctx.now, |groups, io| {
        groups.fetch_offsets((&group.group_id, member), places.as_deref(), require_stable, io)
    });
    let mut response = OffsetFetchResponseGroup { group_id: group.group_id, ..OffsetFetchResponseGroup::default() };
    match result {
        Ok(offsets) => response.topics = by_topic(offsets),
        Err(error) => response.error_code = ErrorCode::from(error).code(),
    }
    // Who asks for all is not told of those it may not see.
    response.topics.retain(|topic| sees(&topic.name));
    if response.error_code == 0 {
        response.topics.extend(forbidden.into_iter().map(hidden));
    }
    if by_id {
        let image = ctx.broker.image.read();
        for topic in &mut response.topics {
            topic.topic_id = image.topic_id(&topic.name).unwrap_or(Uuid::nil());
        }
        // Offsets of a deleted topic have no id to be named by.
        response.topics.retain(|topic| !topic.topic_id.is_nil());
        if response.error_code == 0 {
            response.topics.extend(unknown.into_iter().map(unknown_id));
        }
    }
    response
}

/// Offsets come sorted: partitions of a topic stand together.
fn by_topic(offsets: FetchResult) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for ((name, index), value) in offsets {
        let partition = match value {
            Ok(Some(value)) => OffsetFetchResponsePartitions {
                partition_index: index,
                committed_offset: value.offset,
                committed_leader_epoch: value.leader_epoch,
                metadata: Some(value.metadata),
                error_code: 0,
            },
            Ok(None) => nothing(index, 0),
            Err(error) => nothing(index, code(error)),
        };
        match topics.last_mut() {
            Some(topic) if topic.name == name => topic.partitions.push(partition),
            _ => topics.push(OffsetFetchResponseTopics {
                name,
                partitions: vec![partition],
                ..OffsetFetchResponseTopics::default()
            }),
        }
    }
    topics
}

fn code(error: GroupError) -> i16 {
    ErrorCode::from(error).code()
}

fn nothing(partition_index: i32, error_code: i16) -> OffsetFetchResponsePartitions {
    let metadata = Some(String::new());
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata,
        error_code,
    }
}

fn hidden(topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let error_code = ErrorCode::TopicAuthorizationFailed.code();
    OffsetFetchResponseTopics {
        partitions: topic.partition_indexes.into_iter().map(|index| nothing(index, error_code)).collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    }
}

fn unknown_id(topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let error_code = ErrorCode::UnknownTopicId.code();
    OffsetFetchResponseTopics {
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.into_iter().map(|index| nothing(index, error_code)).collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

fn single(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    OffsetFetchResponseTopic { name: topic.name, partitions: topic.partitions.into_iter().map(partition).collect() }
}

fn failed(topic: OffsetFetchRequestTopics, error_code: i16) -> OffsetFetchResponseTopic {
    let partitions = topic.partition_indexes.into_iter().map(|index| nothing(index, error_code)).collect();
    single(OffsetFetchResponseTopics { name: topic.name, partitions, ..OffsetFetchResponseTopics::default() })
}
