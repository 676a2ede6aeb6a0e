//! `kafka-topics --list-deleted` and `--undelete`: topics that were deleted and can be brought back
//! (`castellan.topic.undelete.ms`), which Kafka's tool does not have. Only a controller of ours knows them.

use super::wanted_id;
use crate::client::{KafkaError, check};
use crate::clock;
use crate::cluster::{Cluster, Target};
use crate::options::Options;
use crate::uuid_text;
use anyhow::anyhow;
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_configs::DescribeConfigsResource;
use common::kafka::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use common::kafka::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use std::collections::BTreeMap;

/// A type of resources of our own.
const DELETED_TOPICS: i8 = 100;

/// An Apache Kafka as the controller knows no such resources.
fn asked_of_ours(error: KafkaError) -> anyhow::Error {
    match error.code {
        ErrorCode::InvalidRequest => {
            anyhow!("The controller keeps no deleted topics, or does not understand the request: {}", error.message)
        }
        _ => error.into(),
    }
}

/// Shows what can be brought back.
pub(super) fn list(cluster: &mut Cluster) -> anyhow::Result<()> {
    let resource = DescribeConfigsResource {
        resource_type: DELETED_TOPICS,
        resource_name: String::new(),
        configuration_keys: None,
    };
    let request = |_| DescribeConfigsRequest { resources: vec![resource.clone()], ..DescribeConfigsRequest::default() };
    let code = |response: &common::kafka::messages::DescribeConfigsResponse| {
        response.results.first().map_or(0, |result| result.error_code)
    };
    for result in cluster.call(Target::Controller, request, code)?.results {
        check(result.error_code, result.error_message.as_deref()).map_err(asked_of_ours)?;
        let mut lines: Vec<String> =
            result.configs.iter().map(|entry| line(&entry.name, entry.value.as_deref().unwrap_or_default())).collect();
        lines.sort();
        lines.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// One topic, in the manner of `--describe`.
fn line(id: &str, facts: &str) -> String {
    let facts: BTreeMap<&str, &str> = facts.split(',').filter_map(|fact| fact.split_once('=')).collect();
    let text = |name: &str| facts.get(name).copied().unwrap_or_default();
    let time = |name: &str| text(name).parse().map_or_else(|_| "unknown".to_owned(), clock::java_date);
    format!(
        "Topic: {}\tTopicId: {id}\tPartitionCount: {}\tDeleted: {}\tKept until: {}",
        text("topic"),
        text("partitions"),
        time("deleted.at.ms"),
        time("until.ms")
    )
}

/// Brings a topic back, by its name and perhaps its id.
pub(super) fn undelete(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let name = options.value("topic")?.unwrap_or_default();
    let id = wanted_id(options)?.map(uuid_text::format).unwrap_or_default();
    let config = AlterableConfig { name: "undelete".to_owned(), config_operation: 0, value: Some(id) };
    let resource =
        AlterConfigsResource { resource_type: DELETED_TOPICS, resource_name: name.to_owned(), configs: vec![config] };
    let request = |_| IncrementalAlterConfigsRequest { resources: vec![resource.clone()], validate_only: false };
    let code = |response: &common::kafka::messages::IncrementalAlterConfigsResponse| {
        response.responses.first().map_or(0, |result| result.error_code)
    };
    for result in cluster.call(Target::Controller, request, code)?.responses {
        check(result.error_code, result.error_message.as_deref()).map_err(asked_of_ours)?;
    }
    println!("Topic {name} is back.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_one_line() {
        let shown = line("AAA", "topic=a.b-c,partitions=3,deleted.at.ms=x,until.ms=");
        assert_eq!(shown, "Topic: a.b-c\tTopicId: AAA\tPartitionCount: 3\tDeleted: unknown\tKept until: unknown");
    }
}
