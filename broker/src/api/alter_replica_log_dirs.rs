//! AlterReplicaLogDirs (34, KIP-113), versions 0 to 2: has replicas of this broker move to other log directories of it. Answered
//! when the moves have begun; DescribeLogDirs tells how far they are. By partition: LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR,
//! and REPLICA_NOT_AVAILABLE for a replica that is not here, which will be made in that directory if it comes.

use super::{Context, Endpoint, Reply};
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

    fn handle(ctx: &Context<'_>, request: AlterReplicaLogDirsRequest) -> Reply<AlterReplicaLogDirsResponse> {
        let mut results: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
        ctx.broker.with_replicas(ctx.now, |replicas, effects| {
            for dir in &request.dirs {
                for topic in &dir.topics {
                    for &partition_index in &topic.partitions {
                        let key = (topic.name.as_str(), partition_index);
                        let begun = replicas.move_to_dir(key, Path::new(&dir.path), ctx.now, effects);
                        let error_code = begun.map_or_else(ErrorCode::from, |()| ErrorCode::None).code();
                        let result = AlterReplicaLogDirPartitionResult { partition_index, error_code };
                        results.entry(topic.name.clone()).or_default().push(result);
                    }
                }
            }
        });
        let result = |(topic_name, partitions)| AlterReplicaLogDirTopicResult { topic_name, partitions };
        let results = results.into_iter().map(result).collect();
        Reply::Now(AlterReplicaLogDirsResponse { results, ..AlterReplicaLogDirsResponse::default() })
    }
}
