//! AlterReplicaLogDirs (34, KIP-113), versions 0 to 2: has replicas of this broker move to other log directories of it. Answered
//! when the moves have begun; DescribeLogDirs tells how far they are. By partition: LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR,
//! and REPLICA_NOT_AVAILABLE for a replica that is not here, which will be made in that directory if it comes. Needs Alter on the cluster.

use super::{Access, Context, Endpoint, Reply};
use crate::access::acl::Operation;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

/// See the top of the file.
pub struct AlterReplicaLogDirs;

impl Endpoint for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::Alter, refused);

    fn handle(ctx: &Context<'_>, request: AlterReplicaLogDirsRequest) -> Reply<AlterReplicaLogDirsResponse> {
        Reply::Now(ctx.broker.with_replicas(ctx.now, |replicas, effects| {
            answer(&request, |topic, partition, dir| {
                let begun = replicas.move_to_dir((topic, partition), Path::new(dir), ctx.now, effects);
                begun.map_or_else(ErrorCode::from, |()| ErrorCode::None)
            })
        }))
    }
}

fn refused(request: &AlterReplicaLogDirsRequest, code: ErrorCode) -> AlterReplicaLogDirsResponse {
    answer(request, |_, _, _| code)
}

/// What comes of each partition of the request.
fn answer(
    request: &AlterReplicaLogDirsRequest,
    mut outcome: impl FnMut(&str, i32, &str) -> ErrorCode,
) -> AlterReplicaLogDirsResponse {
    let mut results: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for &partition_index in &topic.partitions {
                let error_code = outcome(&topic.name, partition_index, &dir.path).code();
                let result = AlterReplicaLogDirPartitionResult { partition_index, error_code };
                results.entry(topic.name.clone()).or_default().push(result);
            }
        }
    }
    let result = |(topic_name, partitions)| AlterReplicaLogDirTopicResult { topic_name, partitions };
    AlterReplicaLogDirsResponse { results: results.into_iter().map(result).collect(), ..Default::default() }
}
