//! A share group as its members and administrators see it: requests on the left, answers on the right. The topic has two
//! partitions, the group is `g`, its one member `m`, and time stands still.

use super::alone::Alone;
use crate::share::ShareKey;
use common::kafka::messages::alter_share_group_offsets::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use common::kafka::messages::delete_share_group_offsets::DeleteShareGroupOffsetsRequestTopic;
use common::kafka::messages::describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use common::kafka::messages::*;

struct Bench {
    alone: Alone,
}

impl Bench {
    fn new() -> Bench {
        let mut alone = Alone::new(
            "offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n\
             share.coordinator.state.topic.num.partitions=1",
        );
        let new = create_topics::CreatableTopic {
            name: "t".to_owned(),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![new], ..Default::default() };
        let topic_id = alone.ask("a", 7, &request).unwrap().topics[0].topic_id;
        // Makes the topics of the coordinators: nothing is tried again while time stands still.
        let key = ShareKey { group: "g".to_owned(), topic_id, partition: 0 }.text();
        for (key_type, key) in [(0, "g".to_owned()), (2, key)] {
            let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![key], ..Default::default() };
            alone.ask("a", 6, &request).unwrap();
        }
        Bench { alone }
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<i32>().unwrap();
        match words[0] {
            "beat" => self.beat(number(1)),
            "describe" => self.describe(),
            "offsets" => self.offsets(words.get(1).copied()),
            "alter" => self.alter(words[1], number(2), number(3).into()),
            "delete-offsets" => {
                let topics = vec![DeleteShareGroupOffsetsRequestTopic { topic_name: words[1].to_owned() }];
                let request = DeleteShareGroupOffsetsRequest { group_id: "g".to_owned(), topics };
                let answer = self.alone.ask("a", 0, &request).unwrap();
                let topic = answer.responses.first().map(|topic| (topic.error_code, topic.error_message.clone()));
                format!("{} {topic:?}", answer.error_code)
            }
            "delete" => {
                let request = DeleteGroupsRequest { groups_names: vec!["g".to_owned()] };
                self.alone.ask("a", 2, &request).unwrap().results[0].error_code.to_string()
            }
            "list" => {
                let request = ListGroupsRequest { types_filter: vec!["Share".to_owned()], ..Default::default() };
                let groups = self.alone.ask("a", 5, &request).unwrap().groups;
                groups.iter().map(|one| format!("{} {} {}", one.group_id, one.group_type, one.group_state)).collect()
            }
            other => panic!("{other}"),
        }
    }

    fn beat(&mut self, member_epoch: i32) -> String {
        let request = ShareGroupHeartbeatRequest {
            group_id: "g".to_owned(),
            member_id: "m".to_owned(),
            member_epoch,
            subscribed_topic_names: (member_epoch == 0).then(|| vec!["t".to_owned()]),
            ..Default::default()
        };
        let answer = self.alone.ask("a", 1, &request).unwrap();
        let assigned = answer.assignment.map(|assignment| {
            assignment.topic_partitions.into_iter().map(|topic| topic.partitions).collect::<Vec<_>>()
        });
        format!("{} {} {assigned:?} {}", answer.error_code, answer.member_epoch, answer.heartbeat_interval_ms)
    }

    fn describe(&mut self) -> String {
        let request = ShareGroupDescribeRequest { group_ids: vec!["g".to_owned()], ..Default::default() };
        let group = self.alone.ask("a", 1, &request).unwrap().groups.remove(0);
        let topic =
            |topic: &share_group_describe::TopicPartitions| format!("{}:{:?}", topic.topic_name, topic.partitions);
        let member = |member: &share_group_describe::Member| {
            let topics: Vec<String> = member.assignment.topic_partitions.iter().map(topic).collect();
            format!(" {}={}", member.member_id, topics.join(","))
        };
        let members: String = group.members.iter().map(member).collect();
        format!("{} {} {}/{}{members}", group.error_code, group.group_state, group.group_epoch, group.assignment_epoch)
    }

    /// Of all topics, or of one.
    fn offsets(&mut self, topic: Option<&str>) -> String {
        let named = |name: &str| {
            vec![DescribeShareGroupOffsetsRequestTopic { topic_name: name.to_owned(), partitions: vec![0] }]
        };
        let asked = DescribeShareGroupOffsetsRequestGroup { group_id: "g".to_owned(), topics: topic.map(named) };
        let request = DescribeShareGroupOffsetsRequest { groups: vec![asked] };
        let answer = self.alone.ask("a", 1, &request).unwrap().groups.remove(0);
        let partitions = answer.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|one| {
                format!(
                    " {}-{} {} @{} lag {}",
                    topic.topic_name, one.partition_index, one.error_code, one.start_offset, one.lag
                )
            })
        });
        format!("{}{}", answer.error_code, partitions.collect::<String>())
    }

    fn alter(&mut self, topic: &str, partition_index: i32, start_offset: i64) -> String {
        let partitions = vec![AlterShareGroupOffsetsRequestPartition { partition_index, start_offset }];
        let topics = vec![AlterShareGroupOffsetsRequestTopic { topic_name: topic.to_owned(), partitions }];
        let request = AlterShareGroupOffsetsRequest { group_id: "g".to_owned(), topics };
        let answer = self.alone.ask("a", 0, &request).unwrap();
        let codes = answer.responses.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
        format!("{} {:?}", answer.error_code, codes.collect::<Vec<_>>())
    }
}

#[test]
fn a_group_begins_is_moved_and_ends() {
    let mut bench = Bench::new();
    for (line, expected) in [
        ("describe", "69  0/0"),
        ("beat 0", "0 1 Some([]) 500"),
        ("beat 1", "0 2 Some([[0, 1]]) 5000"),
        ("beat 2", "0 2 None 5000"),
        ("describe", "0 Stable 2/2 m=t:[0, 1]"),
        // Nobody has read yet, so nobody knows where it begins.
        ("offsets", "0 t-0 0 @-1 lag -1 t-1 0 @-1 lag -1"),
        ("offsets t", "0 t-0 0 @-1 lag -1"),
        ("offsets none", "0 none-0 0 @-1 lag -1"),
        ("alter t 0 0", "68 []"),
        ("delete-offsets t", "68 None"),
        ("delete", "68"),
        ("beat -1", "0 -1 None 0"),
        ("describe", "0 Empty 3/2"),
        ("alter t 0 0", "0 [0]"),
        ("alter t 2 0", "0 [3]"),
        ("alter none 0 0", "0 [3]"),
        ("alter t 0 -1", "0 [42]"),
        ("alter t 0 -2147483648", "0 [42]"),
        ("offsets t", "0 t-0 0 @0 lag 0"),
        ("delete-offsets none", r#"0 Some((3, Some("This server does not host this topic-partition.")))"#),
        ("delete-offsets t", "0 Some((0, None))"),
        ("delete-offsets t", r#"0 Some((3, Some("There is no offset information to delete.")))"#),
        ("offsets", "0"),
        ("beat 0", "0 4 Some([]) 500"),
        ("beat 4", "0 5 Some([[0, 1]]) 5000"),
        ("beat -1", "0 -1 None 0"),
        ("list", "g share Empty"),
        ("delete", "0"),
        ("list", ""),
        ("delete", "69"),
        ("delete-offsets t", "69 None"),
        // It is made by that.
        ("alter t 1 0", "0 [0]"),
        ("list", "g share Empty"),
        ("offsets", "0 t-1 0 @0 lag 0"),
    ] {
        assert_eq!(bench.run(line).trim_end(), expected.trim_end(), "{line}");
    }
}
