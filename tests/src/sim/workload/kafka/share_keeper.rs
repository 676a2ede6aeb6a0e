//! Does for a share group what its coordinator does: begins the state of its share partitions, and looks where it stands.

use super::share_member::SHARE_GROUP;
use super::wire::{Answered, Correlation};
use super::{Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, decode};
use crate::sim::history::OffsetSeen;
use crate::sim::world::{Ctx, Micros};
use broker::share::ShareKey;
use common::id::TopicPartition;
use common::kafka::messages::initialize_share_group_state::{InitializeStateData, PartitionData};
use common::kafka::messages::read_share_group_state_summary::{PartitionData as Asked, ReadStateSummaryData};
use common::kafka::messages::{
    FindCoordinatorRequest, InitializeShareGroupStateRequest, ReadShareGroupStateSummaryRequest,
};
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

const FIND: i16 = 6;
const SHARE: i8 = 2;
const INITIALIZE: i16 = 0;
const SUMMARY: i16 = 1;
/// Between two looks at one share partition.
const LOOK_MS: u64 = 300;

/// What was asked last; one request at a time.
#[derive(Clone, Debug)]
enum Ask {
    Coordinator,
    Initialize,
    Summary(Micros),
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    coordinators: BTreeMap<TopicPartition, String>,
    begun: BTreeSet<TopicPartition>,
    /// Where the group stands, counting what is done with behind the start.
    done: BTreeMap<TopicPartition, i64>,
    under_way: Option<(Correlation, TopicPartition, Ask)>,
    next: usize,
    not_before: Millis,
}

impl Keeper {
    pub(super) fn done(&self) -> BTreeMap<TopicPartition, i64> {
        self.done.clone()
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        if self.under_way.is_some() || ctx.now().mono < self.not_before {
            return;
        }
        let partitions: Vec<TopicPartition> = cluster.topics.partitions().collect();
        let partition = partitions[self.next % partitions.len()].clone();
        let id = cluster.topic_ids.iter().find(|(_, name)| **name == *partition.topic).map(|(id, _)| *id);
        let Some(topic_id) = id else { return };
        let number = partition.partition;
        let Some(coordinator) = self.coordinators.get(&partition).cloned() else {
            let key = ShareKey { group: SHARE_GROUP.to_owned(), topic_id, partition: number };
            let request = FindCoordinatorRequest {
                key_type: SHARE,
                coordinator_keys: vec![key.text()],
                ..FindCoordinatorRequest::default()
            };
            let address = cluster.any(ctx);
            let sent = cluster.wire.send(&address, (&request, FIND), REQUEST_TIMEOUT_MS, ctx);
            self.under_way = Some((sent, partition, Ask::Coordinator));
            return;
        };
        if !self.begun.contains(&partition) {
            let data = PartitionData { partition: number, state_epoch: 1, start_offset: 0 };
            let topics = vec![InitializeStateData { topic_id, partitions: vec![data] }];
            let request = InitializeShareGroupStateRequest { group_id: SHARE_GROUP.to_owned(), topics };
            let sent = cluster.wire.send(&coordinator, (&request, INITIALIZE), REQUEST_TIMEOUT_MS, ctx);
            self.under_way = Some((sent, partition, Ask::Initialize));
            return;
        }
        let asked = Asked { partition: number, leader_epoch: -1 };
        let topics = vec![ReadStateSummaryData { topic_id, partitions: vec![asked] }];
        let request = ReadShareGroupStateSummaryRequest { group_id: SHARE_GROUP.to_owned(), topics };
        let sent = cluster.wire.send(&coordinator, (&request, SUMMARY), REQUEST_TIMEOUT_MS, ctx);
        self.under_way = Some((sent, partition, Ask::Summary(ctx.core.now())));
        self.next += 1;
        self.not_before = ctx.now().mono + LOOK_MS / partitions.len() as u64;
    }

    /// True if it was the answer to its question.
    pub(super) fn answered(&mut self, (correlation, frame): &Answered, ctx: &mut Ctx<'_>) -> bool {
        let Some((_, partition, ask)) = self.under_way.take_if(|(asked, ..)| asked == correlation) else {
            return false;
        };
        let is_done = frame.as_ref().is_some_and(|frame| match ask {
            Ask::Coordinator => {
                let Some(response) = decode::<FindCoordinatorRequest>(frame, FIND, ctx) else { return false };
                let found = response.coordinators.into_iter().find(|found| found.error_code == 0);
                if let Some(found) = found {
                    let address = format!("{}:{}", found.host, found.port);
                    self.coordinators.insert(partition.clone(), address);
                    return true;
                }
                false
            }
            Ask::Initialize => {
                let response = decode::<InitializeShareGroupStateRequest>(frame, INITIALIZE, ctx);
                let mut results = response.into_iter().flat_map(|response| response.results);
                let is_done = results.all(|topic| topic.partitions.iter().all(|one| one.error_code == 0));
                if is_done {
                    self.begun.insert(partition.clone());
                }
                is_done
            }
            Ask::Summary(asked) => {
                let response = decode::<ReadShareGroupStateSummaryRequest>(frame, SUMMARY, ctx);
                let results = response.into_iter().flat_map(|response| response.results);
                let one = results.flat_map(|topic| topic.partitions).find(|one| one.error_code == 0);
                let Some(one) = one else { return false };
                let answered = ctx.core.now();
                let (partition, offset) = (partition.clone(), one.start_offset);
                self.done.insert(partition.clone(), offset + i64::from(one.delivery_complete_count.max(0)));
                ctx.core.history.share_starts.push(OffsetSeen { partition, offset, asked, answered });
                true
            }
        });
        if !is_done {
            self.coordinators.remove(&partition);
            self.not_before = ctx.now().mono + RETRY_MS;
        }
        true
    }
}
