//! ElectLeaders (43, KIP-460), versions 0 to 2: preferred or unclean elections, on the controller. Per partition:
//! NOT_CONTROLLER, ELECTION_NOT_NEEDED (left out if all partitions were asked for), UNKNOWN_TOPIC_OR_PARTITION,
//! INVALID_TOPIC_EXCEPTION, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE. Answers when the elections stand
//! in ZooKeeper.

use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::cluster::image::TopicImage;
use crate::cluster::{ElectionError, ElectionKind, ElectionOutcome, Waiter};
use common::kafka::error::ErrorCode;
use common::kafka::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult, TopicPartitions,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ElectLeaders;

type Outcomes = BTreeMap<(String, i32), ElectionOutcome>;

impl Endpoint for ElectLeaders {
    type Request = ElectLeadersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &Context<'_>, request: ElectLeadersRequest) -> Reply<ElectLeadersResponse> {
        if !ctx.may_cluster(Operation::Alter) {
            return Reply::Now(refused(&request, ctx.version));
        }
        let kind = match request.election_type {
            0 => ElectionKind::Preferred,
            1 => ElectionKind::Unclean,
            // Version 0, which has no place for an error of the whole, has no type either.
            _ => {
                let error_code = ErrorCode::InvalidRequest.code();
                return Reply::Now(ElectLeadersResponse { error_code, ..Default::default() });
            }
        };
        let is_all = request.topic_partitions.is_none();
        let partitions: Option<Vec<(String, i32)>> = request.topic_partitions.map(|topics| {
            let of = |topic: TopicPartitions| {
                topic.partitions.into_iter().map(move |partition| (topic.topic.clone(), partition))
            };
            topics.into_iter().flat_map(of).collect()
        });
        let asked = partitions.clone().unwrap_or_else(|| {
            let image = ctx.broker.image.read();
            let of = |(name, topic): (&str, &TopicImage)| -> Vec<(String, i32)> {
                topic.partitions.keys().map(|&partition| (name.to_owned(), partition)).collect()
            };
            image.topics().flat_map(of).collect()
        });
        let ticket: Ticket<ElectLeadersRequest> = ctx.ticket();
        let done = Waiter::new(move |outcomes: Outcomes| ticket.answer(&response(outcomes, is_all)));
        let begun = ctx.broker.with_cluster(ctx.now, |cluster, effects| {
            cluster.elect_leaders(kind, partitions, done, (ctx.now, effects))
        });
        match begun {
            Ok(()) => Reply::Parked,
            Err(_) => {
                let refused = asked.into_iter().map(|partition| (partition, Err(ElectionError::NotController)));
                Reply::Now(response(refused.collect(), false))
            }
        }
    }
}

fn refused(request: &ElectLeadersRequest, version: i16) -> ElectLeadersResponse {
    let code = ErrorCode::ClusterAuthorizationFailed.code();
    let partition = |&partition_id: &i32| PartitionResult { partition_id, error_code: code, error_message: None };
    let topic = |asked: &TopicPartitions| ReplicaElectionResult {
        topic: asked.topic.clone(),
        partition_result: asked.partitions.iter().map(partition).collect(),
    };
    let replica_election_results = request.topic_partitions.iter().flatten().map(topic).collect();
    // Version 0 has no place for an error of the whole.
    let error_code = if version == 0 { 0 } else { code };
    ElectLeadersResponse { error_code, replica_election_results, ..Default::default() }
}

fn response(outcomes: Outcomes, is_all: bool) -> ElectLeadersResponse {
    let mut results: Vec<ReplicaElectionResult> = Vec::new();
    for ((topic, partition), outcome) in outcomes {
        if is_all && outcome == Err(ElectionError::NotNeeded) {
            continue;
        }
        let (code, error_message) = match &outcome {
            Ok(()) => (ErrorCode::None, None),
            Err(ElectionError::NotController) => (ErrorCode::NotController, None),
            Err(error) => (error.into(), text(error.to_string())),
        };
        let result = PartitionResult { partition_id: partition, error_code: code.code(), error_message };
        match results.last_mut() {
            Some(last) if last.topic == topic => last.partition_result.push(result),
            _ => results.push(ReplicaElectionResult { topic, partition_result: vec![result] }),
        }
    }
    ElectLeadersResponse { replica_election_results: results, ..Default::default() }
}
