//! A member of a share group as the leaders of partitions see it (KIP-932): it acquires records of all partitions, accepts
//! most, gives some back, rejects a few, forgets others, and ends its sessions now and then. The first one begins the state of
//! the share partitions, too, and looks all the while where the group stands.

use super::share_keeper::Keeper;
use super::wire::{Answered, Correlation};
use super::{Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, decode};
use crate::sim::history::{CommitOutcome, ShareAck, ShareDelivery, ShareWord};
use crate::sim::world::{Ctx, Micros};
use bytes::Bytes;
use common::id::TopicPartition;
use common::kafka::batch::batches;
use common::kafka::error::ErrorCode;
use common::kafka::messages::share_acknowledge::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch as AcknowledgedBatch,
};
use common::kafka::messages::share_fetch::{AcknowledgementBatch, FetchPartition, FetchTopic, PartitionData};
use common::kafka::messages::{ShareAcknowledgeRequest, ShareFetchRequest, ShareFetchResponse};
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// All are in this group.
pub const SHARE_GROUP: &str = "s";
/// A member ends a session with this epoch.
const FINAL_EPOCH: i32 = -1;
const MAX_WAIT_MS: i32 = 200;
const RECORDS_BYTES_MAX: usize = 1 << 20;

/// What is said of records in a row; the number of that in the history.
#[derive(Clone, Debug)]
struct Saying {
    partition: TopicPartition,
    first: i64,
    last: i64,
    word: ShareWord,
    number: usize,
}

/// What was asked of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Fetch,
    Acknowledge,
    End,
}

/// The session with one broker.
#[derive(Debug, Default)]
struct Session {
    epoch: i32,
    places: BTreeSet<TopicPartition>,
    /// To be said.
    sayings: Vec<Saying>,
    under_way: Option<(Correlation, Ask, Micros, u64)>,
    /// Said, and not answered.
    said: Vec<Saying>,
    not_before: Millis,
}

/// The member.
#[derive(Debug)]
pub struct ShareMember {
    version: i16,
    member_id: String,
    sessions: BTreeMap<i32, Session>,
    keeper: Option<Keeper>,
    /// Accepts everything from now on.
    pub is_eager: bool,
    /// Records that it got.
    pub acquired: u64,
}

impl ShareMember {
    pub(super) fn new(cluster: &Cluster, ctx: &mut Ctx<'_>) -> ShareMember {
        ShareMember {
            version: ctx.core.rng.i16(1..=2),
            member_id: Uuid::from_u128(ctx.core.rng.u128(..)).to_string(),
            sessions: BTreeMap::new(),
            keeper: (cluster.number == 1).then(Keeper::default),
            is_eager: false,
            acquired: 0,
        }
    }

    /// Where the group stands, as far as it was told.
    pub(super) fn done(&self) -> Option<BTreeMap<TopicPartition, i64>> {
        self.keeper.as_ref().map(Keeper::done)
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let knows_topics =
            cluster.topics.topics.iter().all(|(name, _)| cluster.topic_ids.values().any(|id| id == name));
        if !knows_topics {
            return;
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.step(cluster, ctx);
        }
        let mut led: BTreeMap<i32, (String, BTreeSet<TopicPartition>)> = BTreeMap::new();
        for partition in cluster.topics.partitions().collect::<Vec<_>>() {
            match cluster.leader(&partition) {
                Some((leader, address)) => {
                    led.entry(leader).or_insert_with(|| (address, BTreeSet::new())).1.insert(partition);
                }
                None => cluster.refresh(ctx),
            }
        }
        for (leader, (address, places)) in led {
            self.ask(leader, (&address, places), cluster, ctx);
        }
    }

    fn ask(
        &mut self,
        leader: i32,
        (address, places): (&str, BTreeSet<TopicPartition>),
        cluster: &mut Cluster,
        ctx: &mut Ctx<'_>,
    ) {
        let session = self.sessions.entry(leader).or_default();
        if session.under_way.is_some() || ctx.now().mono < session.not_before {
            return;
        }
        if session.places != places {
            // What it has of those that moved away comes to others when its locks end.
            session.sayings.retain(|saying| places.contains(&saying.partition));
            (session.epoch, session.places) = (0, places);
        }
        let ask = match (session.epoch, ctx.core.rng.u32(..1000)) {
            (0, _) => Ask::Fetch,
            (_, 0) if !self.is_eager => Ask::End,
            (_, 1..300) if !session.sayings.is_empty() => Ask::Acknowledge,
            _ => Ask::Fetch,
        };
        let asked = ctx.core.now();
        if session.epoch > 0 {
            session.said = std::mem::take(&mut session.sayings);
            for saying in &session.said {
                ctx.core.history.share_acks[saying.number].asked = asked;
                ctx.core.history.share_acks[saying.number].outcome = CommitOutcome::Unknown;
            }
        }
        let correlation = match ask {
            Ask::Fetch => {
                let request = session.fetch(&self.member_id, cluster, ctx);
                cluster.wire.send(address, (&request, self.version), REQUEST_TIMEOUT_MS, ctx)
            }
            Ask::Acknowledge | Ask::End => {
                if ask == Ask::End {
                    ctx.core.history.share_ends.push((self.member_id.clone(), asked));
                }
                let request = session.acknowledge(&self.member_id, ask == Ask::End, cluster);
                cluster.wire.send(address, (&request, self.version), REQUEST_TIMEOUT_MS, ctx)
            }
        };
        session.under_way = Some((correlation, ask, asked, ctx.core.rotten_reads()));
    }

    pub(super) fn answered(&mut self, answer: Answered, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        if self.keeper.as_mut().is_some_and(|keeper| keeper.answered(&answer, ctx)) {
            return;
        }
        let (correlation, frame) = answer;
        let is_its = |session: &Session| session.under_way.is_some_and(|(asked, ..)| asked == correlation);
        let Some((leader, session)) = self.sessions.iter_mut().find(|(_, session)| is_its(session)) else { return };
        let leader = *leader;
        let Some((_, ask, asked, rotten_reads)) = session.under_way.take() else { return };
        let said = std::mem::take(&mut session.said);
        let Some(frame) = frame else {
            session.give_up(ctx);
            return cluster.refresh(ctx);
        };
        if ask == Ask::Fetch {
            let Some(response) = decode::<ShareFetchRequest>(&frame, self.version, ctx) else { return };
            self.fetched(leader, (response, said), (asked, rotten_reads), (cluster, ctx));
        } else {
            self.acknowledged(leader, (&frame, said), ask, (cluster, ctx));
        }
    }

    fn acknowledged(
        &mut self,
        leader: i32,
        (frame, said): (&Bytes, Vec<Saying>),
        ask: Ask,
        (cluster, ctx): (&mut Cluster, &mut Ctx<'_>),
    ) {
        let Some(response) = decode::<ShareAcknowledgeRequest>(frame, self.version, ctx) else { return };
        let Some(session) = self.sessions.get_mut(&leader) else { return };
        if response.error_code != 0 {
            return session.refused(response.error_code, ctx);
        }
        let mut codes = BTreeMap::new();
        for topic in response.responses {
            let Some(name) = cluster.topic_ids.get(&topic.topic_id) else { continue };
            for partition in topic.partitions {
                codes.insert(TopicPartition::new(name.clone(), partition.partition_index), partition.error_code);
            }
        }
        note(&said, &codes, ctx);
        session.epoch = if ask == Ask::End { 0 } else { session.epoch + 1 };
        if codes.values().any(|code| *code != 0) {
            session.epoch = 0;
            cluster.refresh(ctx);
        }
    }

    fn fetched(
        &mut self,
        leader: i32,
        (response, said): (ShareFetchResponse, Vec<Saying>),
        (asked, rotten_reads): (Micros, u64),
        (cluster, ctx): (&mut Cluster, &mut Ctx<'_>),
    ) {
        let Some(session) = self.sessions.get_mut(&leader) else { return };
        if response.error_code != 0 {
            return session.refused(response.error_code, ctx);
        }
        session.epoch += 1;
        let lock_ms = u64::try_from(response.acquisition_lock_timeout_ms).unwrap_or(0);
        let mut codes = BTreeMap::new();
        for topic in response.responses {
            let Some(name) = cluster.topic_ids.get(&topic.topic_id).cloned() else { continue };
            for data in topic.partitions {
                let partition = TopicPartition::new(name.clone(), data.partition_index);
                codes.insert(partition.clone(), data.acknowledge_error_code);
                if data.error_code != 0 {
                    match ErrorCode::from_code(data.error_code) {
                        Some(error) if error.is_retriable() || error == ErrorCode::UnknownServerError => {}
                        error => ctx.violation(format!("a member of a share group gets {error:?} for {partition}")),
                    }
                    session.epoch = 0;
                    session.not_before = ctx.now().mono + RETRY_MS;
                    cluster.refresh(ctx);
                    continue;
                }
                look_at_records(&partition, &data, rotten_reads, ctx);
                for one in data.acquired_records {
                    let delivery = ShareDelivery {
                        member: self.member_id.clone(),
                        broker: leader,
                        partition: partition.clone(),
                        first: one.first_offset,
                        last: one.last_offset,
                        count: one.delivery_count,
                        asked,
                        answered: ctx.core.now(),
                        lock_ms,
                    };
                    self.acquired += u64::try_from(one.last_offset - one.first_offset + 1).unwrap_or(0);
                    session.decide(&delivery, self.is_eager, ctx);
                    ctx.core.history.share_deliveries.push(delivery);
                }
            }
        }
        note(&said, &codes, ctx);
        if codes.values().any(|code| *code != 0) {
            cluster.refresh(ctx);
        }
    }
}

impl Session {
    fn fetch(&self, member_id: &str, cluster: &Cluster, ctx: &mut Ctx<'_>) -> ShareFetchRequest {
        let mut topics: BTreeMap<Uuid, Vec<FetchPartition>> = BTreeMap::new();
        let id_of = |name: &str| cluster.topic_ids.iter().find(|(_, known)| *known == name).map(|(id, _)| *id);
        if self.epoch == 0 {
            for place in &self.places {
                let partition = FetchPartition { partition_index: place.partition, ..FetchPartition::default() };
                topics.entry(id_of(&place.topic).unwrap_or_default()).or_default().push(partition);
            }
        }
        for (place, sayings) in by_place(&self.said) {
            let acknowledgement_batches = sayings
                .iter()
                .map(|saying| AcknowledgementBatch {
                    first_offset: saying.first,
                    last_offset: saying.last,
                    acknowledge_types: vec![saying.word.code()],
                })
                .collect();
            let partition = FetchPartition { partition_index: place.partition, acknowledgement_batches };
            topics.entry(id_of(&place.topic).unwrap_or_default()).or_default().push(partition);
        }
        let topics = topics.into_iter().map(|(topic_id, partitions)| FetchTopic { topic_id, partitions });
        ShareFetchRequest {
            group_id: Some(SHARE_GROUP.to_owned()),
            member_id: Some(member_id.to_owned()),
            share_session_epoch: self.epoch,
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: 65_536,
            max_records: ctx.core.rng.i32(1..50),
            batch_size: 10,
            topics: topics.collect(),
            ..ShareFetchRequest::default()
        }
    }

    fn acknowledge(&self, member_id: &str, is_end: bool, cluster: &Cluster) -> ShareAcknowledgeRequest {
        let mut topics: BTreeMap<Uuid, Vec<AcknowledgePartition>> = BTreeMap::new();
        let id_of = |name: &str| cluster.topic_ids.iter().find(|(_, known)| *known == name).map(|(id, _)| *id);
        for (place, sayings) in by_place(&self.said) {
            let acknowledgement_batches = sayings
                .iter()
                .map(|saying| AcknowledgedBatch {
                    first_offset: saying.first,
                    last_offset: saying.last,
                    acknowledge_types: vec![saying.word.code()],
                })
                .collect();
            let partition = AcknowledgePartition { partition_index: place.partition, acknowledgement_batches };
            topics.entry(id_of(&place.topic).unwrap_or_default()).or_default().push(partition);
        }
        let topics = topics.into_iter().map(|(topic_id, partitions)| AcknowledgeTopic { topic_id, partitions });
        ShareAcknowledgeRequest {
            group_id: Some(SHARE_GROUP.to_owned()),
            member_id: Some(member_id.to_owned()),
            share_session_epoch: if is_end { FINAL_EPOCH } else { self.epoch },
            topics: topics.collect(),
            ..ShareAcknowledgeRequest::default()
        }
    }

    /// What is to be said of records that were acquired.
    fn decide(&mut self, delivery: &ShareDelivery, is_eager: bool, ctx: &mut Ctx<'_>) {
        let mut stretches: Vec<(i64, i64, Option<ShareWord>)> = Vec::new();
        let is_whole = ctx.core.rng.u32(..10) < 6;
        let mut word = None;
        for offset in delivery.first..=delivery.last {
            if word.is_none() || !is_whole {
                word = Some(match ctx.core.rng.u32(..100) {
                    _ if is_eager => Some(ShareWord::Accept),
                    0..78 => Some(ShareWord::Accept),
                    78..92 => Some(ShareWord::Release),
                    92..96 => Some(ShareWord::Reject),
                    _ => None,
                });
            }
            let word = word.flatten();
            match stretches.last_mut() {
                Some((_, last, before)) if *before == word => *last = offset,
                _ => stretches.push((offset, offset, word)),
            }
        }
        for (first, last, word) in stretches {
            let Some(word) = word else { continue };
            let acks = &mut ctx.core.history.share_acks;
            let (partition, number) = (delivery.partition.clone(), acks.len());
            acks.push(ShareAck {
                member: delivery.member.clone(),
                partition: partition.clone(),
                first,
                last,
                word,
                asked: Micros::MAX,
                answered: None,
                outcome: CommitOutcome::Refused,
            });
            self.sayings.push(Saying { partition, first, last, word, number });
        }
    }

    /// Nobody knows what became of what was asked.
    fn give_up(&mut self, ctx: &Ctx<'_>) {
        self.epoch = 0;
        self.not_before = ctx.now().mono + RETRY_MS;
    }

    fn refused(&mut self, code: i16, ctx: &mut Ctx<'_>) {
        match ErrorCode::from_code(code) {
            // A broker that has just started does not know yet that all others serve share groups.
            Some(ErrorCode::UnsupportedVersion) => {}
            Some(error) if error.is_retriable() => {}
            error => ctx.violation(format!("a member of a share group gets {error:?} ({code})")),
        }
        self.give_up(ctx);
    }
}

fn by_place(sayings: &[Saying]) -> BTreeMap<TopicPartition, Vec<Saying>> {
    let mut places: BTreeMap<TopicPartition, Vec<Saying>> = BTreeMap::new();
    for saying in sayings {
        places.entry(saying.partition.clone()).or_default().push(saying.clone());
    }
    for sayings in places.values_mut() {
        sayings.sort_by_key(|saying| saying.first);
    }
    places
}

/// Notes what became of what was said.
fn note(said: &[Saying], codes: &BTreeMap<TopicPartition, i16>, ctx: &mut Ctx<'_>) {
    let now = ctx.core.now();
    for saying in said {
        let ack = &mut ctx.core.history.share_acks[saying.number];
        ack.answered = Some(now);
        ack.outcome = match codes.get(&saying.partition).copied().map(ErrorCode::from_code) {
            Some(Some(ErrorCode::None)) => CommitOutcome::Done,
            Some(Some(ErrorCode::InvalidRecordState | ErrorCode::UnknownTopicOrPartition)) => CommitOutcome::Refused,
            // Written, perhaps.
            _ => CommitOutcome::Unknown,
        };
    }
}

/// Every record that was acquired is there, as others read it.
fn look_at_records(partition: &TopicPartition, data: &PartitionData, rotten_reads: u64, ctx: &mut Ctx<'_>) {
    let mut missing: BTreeSet<i64> =
        data.acquired_records.iter().flat_map(|one| one.first_offset..=one.last_offset).collect();
    let bytes = data.records.to_bytes().expect("an answer is in memory");
    for batch in batches(bytes) {
        let records = batch.as_ref().ok().filter(|batch| batch.check_crc().is_ok());
        let records = records.and_then(|batch| batch.records(RECORDS_BYTES_MAX).ok());
        let Some(records) = records else {
            if ctx.core.rotten_reads() == rotten_reads {
                ctx.violation(format!("{partition}: a batch for a share group cannot be read"));
            }
            return;
        };
        for record in records.flatten() {
            missing.remove(&record.offset);
            let value = String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
            let now = ctx.core.now();
            if let Err(text) = ctx.core.history.read(partition, record.offset, value, (false, now)) {
                return ctx.violation(text);
            }
        }
    }
    if !missing.is_empty() && ctx.core.rotten_reads() == rotten_reads {
        ctx.violation(format!("{partition}: a share group acquires {missing:?} without the records"));
    }
}
