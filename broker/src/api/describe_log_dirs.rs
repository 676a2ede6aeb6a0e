//! DescribeLogDirs (35, KIP-113), versions 0 to 5: what lies in each log directory of this broker, and how much room there
//! is (KIP-827). A replica that moves between directories is in both, in the one that it moves to as a future replica with
//! the offsets that are still to be copied. By directory: KAFKA_STORAGE_ERROR for one that failed.
//! No directory is cordoned (KIP-1066): there is no such setting here.

use super::access::Access;
use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// See the top of the file.
pub struct DescribeLogDirs;

impl Endpoint for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::Describe, |_, code| DescribeLogDirsResponse {
        error_code: code.code(),
        ..Default::default()
    });

    fn handle(ctx: &Context<'_>, request: DescribeLogDirsRequest) -> Reply<DescribeLogDirsResponse> {
        let wanted: Option<BTreeSet<(String, i32)>> = request.topics.map(|topics| {
            let of = |topic: common::kafka::messages::describe_log_dirs::DescribableLogDirTopic| {
                topic.partitions.into_iter().map(move |partition| (topic.topic.clone(), partition))
            };
            topics.into_iter().flat_map(of).collect()
        });
        let replicas = &ctx.broker.replicas;
        let mut by_dir: BTreeMap<PathBuf, Vec<DescribeLogDirsTopic>> = BTreeMap::new();
        for partition in replicas.all() {
            let (name, partition_index) = (partition.topic().to_string(), partition.index());
            if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&(name.clone(), partition_index))) {
                continue;
            }
            let view = partition.view();
            if view.is_offline {
                continue;
            }
            let described = DescribeLogDirsPartition {
                partition_index,
                partition_size: i64::try_from(view.size_bytes).unwrap_or(i64::MAX),
                offset_lag: (view.high_watermark - view.end_offset).max(0),
                is_future_key: false,
            };
            let future = partition.future_view().map(|future| {
                let described = DescribeLogDirsPartition {
                    partition_index,
                    partition_size: i64::try_from(future.size_bytes).unwrap_or(i64::MAX),
                    offset_lag: future.offset_lag,
                    is_future_key: true,
                };
                (future.log_dir, described)
            });
            for (dir, described) in [(view.log_dir, described)].into_iter().chain(future) {
                let topics = by_dir.entry(dir).or_default();
                match topics.last_mut() {
                    Some(last) if last.name == name => last.partitions.push(described),
                    _ => topics.push(DescribeLogDirsTopic { name: name.clone(), partitions: vec![described] }),
                }
            }
        }
        let results = replicas.log_dirs().into_iter().map(|(path, is_failed)| {
            let log_dir = path.display().to_string();
            if is_failed {
                let error_code = ErrorCode::KafkaStorageError.code();
                return DescribeLogDirsResult { error_code, log_dir, ..DescribeLogDirsResult::default() };
            }
            let space = ctx.broker.disk.space(&path).ok().flatten();
            let bytes = |of: fn((u64, u64)) -> u64| space.map_or(-1, |all| i64::try_from(of(all)).unwrap_or(i64::MAX));
            DescribeLogDirsResult {
                log_dir,
                topics: by_dir.remove(&path).unwrap_or_default(),
                total_bytes: bytes(|(total, _)| total),
                usable_bytes: bytes(|(_, usable)| usable),
                ..DescribeLogDirsResult::default()
            }
        });
        Reply::Now(DescribeLogDirsResponse { results: results.collect(), ..DescribeLogDirsResponse::default() })
    }
}
