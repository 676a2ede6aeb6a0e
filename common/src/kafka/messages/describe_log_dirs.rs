//! DescribeLogDirs: log directories of a broker, with what is in them.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    35 DescribeLogDirs: DescribeLogDirsRequest -> DescribeLogDirsResponse, 0-5, flexible 2+;

    DescribeLogDirsRequest {
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Vec::new()), 0+, null 0+;
    }

    DescribableLogDirTopic {
        topic: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    DescribeLogDirsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 3+, [ignorable];
        results: Vec<DescribeLogDirsResult>, 0+;
    }

    DescribeLogDirsResult {
        error_code: i16, 0+;
        log_dir: String, 0+;
        topics: Vec<DescribeLogDirsTopic>, 0+;
        total_bytes: i64 = -1, 4+, [ignorable];
        usable_bytes: i64 = -1, 4+, [ignorable];
        is_cordoned: bool, 5+, [ignorable];
    }

    DescribeLogDirsTopic {
        name: String, 0+;
        partitions: Vec<DescribeLogDirsPartition>, 0+;
    }

    DescribeLogDirsPartition {
        partition_index: i32, 0+;
        partition_size: i64, 0+;
        offset_lag: i64, 0+;
        is_future_key: bool, 0+;
    }
}
