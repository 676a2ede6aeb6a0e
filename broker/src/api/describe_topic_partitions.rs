//! DescribeTopicPartitions (75, KIP-966), version 0: topics and their partitions by name, page by page, with the eligible
//! leader replicas. A page ends after `response_partition_limit` partitions or `max.request.partition.size.limit`; the cursor
//! says where the next begins. Per topic: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION and TOPIC_AUTHORIZATION_FAILED
//! for topics that were named, INVALID_REQUEST for all if the cursor names none of them. The last known leader is not kept apart (`last_known_elr` is empty): while the
//! in-sync replicas are dead they stand in the ISR.

use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::cluster::image::{Image, PartitionImage, TopicImage};
use crate::cluster::topic_name;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DescribeTopicPartitions;

impl Endpoint for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(ctx: &Context<'_>, request: DescribeTopicPartitionsRequest) -> Reply<DescribeTopicPartitionsResponse> {
        let most = ctx.broker.config.max_request_partition_size_limit.min(request.response_partition_limit);
        let most = usize::try_from(most).unwrap_or(0).max(1);
        let rights = ctx.rights();
        let sees = |name: &str| rights.sees(Operation::Describe, ResourceType::Topic, name);
        let mut response = describe((&ctx.broker.image.read(), &sees), &ctx.connection.listener, &request, most);
        for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
            let name = topic.name.as_deref().unwrap_or_default();
            topic.topic_authorized_operations = rights.operations(ResourceType::Topic, name);
        }
        Reply::Now(response)
    }
}

/// At most `left` partitions of topics that the client sees.
fn describe(
    (image, sees): (&Image, &dyn Fn(&str) -> bool),
    listener: &str,
    request: &DescribeTopicPartitionsRequest,
    mut left: usize,
) -> DescribeTopicPartitionsResponse {
    let all = request.topics.is_empty();
    let named: BTreeSet<&str> = if all {
        image.topics().map(|(name, _)| name).filter(|name| sees(name)).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.as_str()).collect()
    };
    let cursor = request.cursor.as_ref();
    let is_astray =
        |cursor: &Cursor| cursor.partition_index < 0 || (!all && !named.contains(cursor.topic_name.as_str()));
    if cursor.is_some_and(is_astray) {
        let refuse = |name| without_partitions(name, ErrorCode::InvalidRequest);
        return DescribeTopicPartitionsResponse {
            topics: named.into_iter().map(refuse).collect(),
            ..Default::default()
        };
    }
    let mut response = DescribeTopicPartitionsResponse::default();
    let (first, from) = cursor.map_or(("", 0), |cursor| (cursor.topic_name.as_str(), cursor.partition_index));
    for name in named.range(first..).copied() {
        let begin = if name == first { from } else { 0 };
        if left == 0 {
            response.next_cursor = Some(Cursor { topic_name: name.to_owned(), partition_index: begin });
            break;
        }
        if !sees(name) {
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                is_internal: false,
                ..without_partitions(name, ErrorCode::TopicAuthorizationFailed)
            });
            continue;
        }
        let Some(topic) = image.topic(name) else {
            if !all {
                let code = match topic_name::validate(name) {
                    Ok(()) => ErrorCode::UnknownTopicOrPartition,
                    Err(_) => ErrorCode::InvalidTopicException,
                };
                response.topics.push(without_partitions(name, code));
            }
            continue;
        };
        let (page, next) = page(topic, begin, left);
        left -= page.len();
        response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.to_owned()),
            topic_id: topic.id,
            is_internal: topic_name::is_internal(name),
            partitions: page.into_iter().map(|(number, known)| partition(image, listener, number, known)).collect(),
            ..Default::default()
        });
        if let Some(partition_index) = next {
            response.next_cursor = Some(Cursor { topic_name: name.to_owned(), partition_index });
            break;
        }
    }
    response
}

/// At most so many partitions from one on, and the one behind them.
fn page(topic: &TopicImage, begin: i32, count: usize) -> (Vec<(i32, &PartitionImage)>, Option<i32>) {
    let mut rest = topic.partitions.range(begin..).map(|(&number, partition)| (number, partition));
    let page = rest.by_ref().take(count).collect();
    (page, rest.next().map(|(number, _)| number))
}

fn partition(
    image: &Image,
    listener: &str,
    number: i32,
    known: &PartitionImage,
) -> DescribeTopicPartitionsResponsePartition {
    let is_reachable = known.leader >= 0 && image.endpoint(BrokerId(known.leader), listener).is_some();
    DescribeTopicPartitionsResponsePartition {
        partition_index: number,
        leader_id: if is_reachable { known.leader } else { -1 },
        leader_epoch: known.leader_epoch,
        replica_nodes: known.replicas.clone(),
        isr_nodes: known.isr.clone(),
        // Never null: the admin client of Kafka 3.9 cannot read that.
        eligible_leader_replicas: Some(known.eligible_leader_replicas.clone()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: known.offline_replicas.clone(),
        ..Default::default()
    }
}

fn without_partitions(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(name.to_owned()),
        is_internal: topic_name::is_internal(name),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::describe_topic_partitions::TopicRequest;
    use common::kafka::messages::{
        UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataRequest,
        UpdateMetadataTopicState,
    };

    fn image() -> Image {
        let state = |index| UpdateMetadataPartitionState {
            partition_index: index,
            leader: 1,
            isr: vec![1],
            replicas: vec![1, 2],
            eligible_leader_replicas: if index == 0 { vec![2] } else { Vec::new() },
            ..Default::default()
        };
        let topic = |name: &str, count| UpdateMetadataTopicState {
            topic_name: name.into(),
            partition_states: (0..count).map(state).collect(),
            ..Default::default()
        };
        let endpoint = UpdateMetadataEndpoint { port: 1, host: "h".into(), listener: "L".into(), security_protocol: 0 };
        let mut image = Image::default();
        let request = UpdateMetadataRequest {
            live_brokers: vec![UpdateMetadataBroker { id: 1, endpoints: vec![endpoint], ..Default::default() }],
            topic_states: vec![topic("a", 3), topic("b", 2)],
            ..Default::default()
        };
        image.update(request).unwrap();
        image
    }

    /// Each partition as `topic-number`, an error as `topic!code`, then where the next page begins.
    fn told(response: &DescribeTopicPartitionsResponse) -> String {
        let mut words = Vec::new();
        for topic in &response.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            if topic.error_code != 0 {
                words.push(format!("{name}!{}", topic.error_code));
            }
            words.extend(topic.partitions.iter().map(|partition| format!("{name}-{}", partition.partition_index)));
        }
        if let Some(cursor) = &response.next_cursor {
            words.push(format!("> {}-{}", cursor.topic_name, cursor.partition_index));
        }
        words.join(" ")
    }

    #[test]
    fn topics_come_page_by_page() {
        let check = |topics: &[&str], limit: usize, cursor: Option<(&str, i32)>, expected: &str| {
            let request = DescribeTopicPartitionsRequest {
                topics: topics.iter().map(|name| TopicRequest { name: (*name).to_owned() }).collect(),
                cursor: cursor.map(|(name, index)| Cursor { topic_name: name.into(), partition_index: index }),
                ..Default::default()
            };
            assert_eq!(
                told(&describe((&image(), &|name| name != "secret"), "L", &request, limit)),
                expected,
                "{request:?}"
            );
        };
        check(&[], 2000, None, "a-0 a-1 a-2 b-0 b-1");
        check(&[], 2, None, "a-0 a-1 > a-2");
        check(&[], 2, Some(("a", 2)), "a-2 b-0 > b-1");
        check(&[], 1, Some(("a", 2)), "a-2 > b-0");
        check(&[], 1, Some(("b", 1)), "b-1");
        check(&["b", "x", "a/b"], 2000, None, "a/b!17 b-0 b-1 x!3");
        check(&["b", "secret"], 2000, None, "b-0 b-1 secret!29");
        check(&["b"], 2000, Some(("a", 0)), "b!42");
        check(&["a"], 2000, Some(("a", -1)), "a!42");
    }

    #[test]
    fn eligible_replicas_are_told() {
        let response = describe((&image(), &|_| true), "L", &DescribeTopicPartitionsRequest::default(), 9);
        let eligible = |index: usize| response.topics[0].partitions[index].eligible_leader_replicas.clone();
        assert_eq!((eligible(0), eligible(1)), (Some(vec![2]), Some(vec![])));
    }
}
