//! Commits of offsets to a group that is not there.

use super::alone::Alone;
use common::kafka::error::ErrorCode::{self, GroupIdNotFound, IllegalGeneration, None as Fine};
use common::kafka::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use common::kafka::messages::{CreateTopicsRequest, FindCoordinatorRequest, OffsetCommitRequest, create_topics};

/// A member of it is told to join again: by ILLEGAL_GENERATION, as by Kafka 3.9 with ZooKeeper, in all versions that that
/// has; by GROUP_ID_NOT_FOUND in the one that came with the new coordinator alone. Who is no member may commit.
#[test]
fn a_group_that_is_gone_has_no_members() {
    let mut alone = Alone::new("offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1");
    let new = create_topics::CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![new], ..Default::default() };
    let topic_id = alone.ask("a", 7, &request).unwrap().topics[0].topic_id;
    let request = FindCoordinatorRequest { coordinator_keys: vec!["g".to_owned()], ..Default::default() };
    alone.ask("a", 4, &request).unwrap();
    let mut check = |version: i16, generation: i32, expected: ErrorCode| {
        let partition = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
        let name = if version < 10 { "t".to_owned() } else { String::new() };
        let topic = OffsetCommitRequestTopic { name, topic_id, partitions: vec![partition] };
        let request = OffsetCommitRequest {
            group_id: format!("g{version}{generation}"),
            generation_id_or_member_epoch: generation,
            member_id: if generation < 0 { String::new() } else { "m".to_owned() },
            topics: vec![topic],
            ..Default::default()
        };
        let answer = alone.ask("a", version, &request).unwrap();
        let found = answer.topics[0].partitions[0].error_code;
        assert_eq!(found, expected.code(), "version {version} generation {generation}");
    };
    for version in 1..=10 {
        let gone = if version < 10 { IllegalGeneration } else { GroupIdNotFound };
        for (generation, expected) in [(0, gone), (5, gone), (-1, Fine)] {
            check(version, generation, expected);
        }
    }
    check(0, -1, Fine);
}
