//! What a partition does as its leader: append, serve fetches, move the high watermark, propose in-sync replicas, answer
//! where offsets and epochs are. Never decides who leads.

use super::isr::{FollowerFetch, Proposal, Verdict};
use super::waiting::{ParkedDelete, ParkedFetch};
use super::*;
use crate::log::producers::ProducerEntry;
use crate::log::{AppendOrigin, ReadError as LogReadError, Verification};
use common::kafka::batch::BatchHeader;
use common::mutants;

/// An offset found by a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// Timestamp of the record; -1 for the first and the end offset.
    pub timestamp: i64,
    /// The offset.
    pub offset: i64,
    /// Leader epoch of the record.
    pub leader_epoch: Option<i32>,
}

/// What ListOffsets asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The first offset.
    Earliest,
    /// The first offset that is on the broker.
    EarliestLocal,
    /// The end offset that the reader may see.
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record whose timestamp is this or later.
    Timestamp(i64),
    /// The last offset in the remote store.
    LatestTiered,
    /// The first offset that is still to go to tiered storage.
    EarliestPendingUpload,
}

/// Who asks, and what it believes.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The leader epoch it believes in.
    pub current_leader_epoch: Option<i32>,
    /// A follower's answer is not enough.
    pub only_leader: bool,
}

/// One partition's part of a produce request.
pub(super) struct AppendCall<'a> {
    pub records: &'a [u8],
    pub origin: AppendOrigin,
    /// acks=all.
    pub acks_all: bool,
    /// What must hold for a transactional batch.
    pub verification: Verification,
    /// The request to park, and the partition's place in it, if the append must be replicated before the answer.
    pub parked: Option<(&'a Arc<ParkedProduce>, usize)>,
}

impl Partition {
    /// Appends as the leader. With `parked` the request is listed here, and told to wait, unless the high watermark is
    /// already past the records.
    pub(super) fn append(&self, call: AppendCall<'_>, now: Now, woken: &mut Woken) -> ProduceOutcome {
        let mut state = self.state.lock();
        let (parked, bytes) = (call.parked, call.records.len() as u64);
        let mut outcome = self.append_locked(&mut state, call, now, woken);
        self.count_append(&outcome, bytes);
        let Some((parked, slot)) = parked else { return outcome };
        match &outcome {
            Ok(appended)
                if state.high_watermark <= appended.last_offset && !mutants::is_on("reply-before-replicated") =>
            {
                parked.wait(slot, outcome.clone());
                state.waiters.add_produce(appended.last_offset + 1, slot, parked.clone());
                return outcome;
            }
            Ok(_) if state.is_maximal_isr_too_small() => outcome = Err(ProduceError::NotEnoughReplicasAfterAppend),
            _ => {}
        }
        parked.settle(slot, outcome.clone());
        outcome
    }

    fn count_append(&self, outcome: &ProduceOutcome, bytes: u64) {
        let records = |appended: &Appended| u64::try_from(appended.last_offset - appended.base_offset + 1).unwrap_or(0);
        self.count(|counters| {
            counters.produces.increment();
            match outcome {
                Ok(appended) => {
                    counters.messages_in.add(records(appended));
                    counters.bytes_in.add(bytes);
                }
                Err(ProduceError::NotLeader | ProduceError::UnknownPartition | ProduceError::Storage) => {}
                Err(ProduceError::Refused(cause))
                    if matches!(
                        **cause,
                        AppendError::RecordTooLarge { .. } | AppendError::LargerThanSegment { .. }
                    ) =>
                {
                    counters.bytes_rejected.add(bytes);
                }
                Err(ProduceError::Refused(cause)) if matches!(**cause, AppendError::Corrupt { .. }) => {}
                Err(_) => counters.failed_produces.increment(),
            }
        });
    }

    fn append_locked(&self, state: &mut State, call: AppendCall<'_>, now: Now, woken: &mut Woken) -> ProduceOutcome {
        if state.is_offline {
            return Err(ProduceError::Storage);
        }
        if !self.is_leader(state) {
            return Err(ProduceError::NotLeader);
        }
        if call.acks_all && state.is_under_min_isr() {
            return Err(ProduceError::NotEnoughReplicas);
        }
        if call.verification != Verification::Off
            && let Ok(header) = BatchHeader::parse(call.records)
        {
            match state.log.producers().is_verified(&header, call.verification) {
                Ok(true) => {}
                Ok(false) => return Err(ProduceError::NotInTransaction),
                Err(error) => return Err(ProduceError::Refused(Arc::new(error.into()))),
            }
        }
        let epoch = state.leader_epoch;
        let info = match state.log.append_as_leader(call.records, epoch, call.origin, now) {
            Ok(info) => info,
            Err(AppendError::Log(error)) => {
                self.note_failure(state, &error, woken);
                return Err(ProduceError::Storage);
            }
            Err(error) => return Err(ProduceError::Refused(Arc::new(error))),
        };
        let appended = Appended {
            base_offset: info.first_offset,
            last_offset: info.last_offset,
            log_append_time: info.log_append_time,
            log_start_offset: info.log_start_offset,
        };
        self.wake_fetches(state, Isolation::LogEnd, woken);
        self.rouse(state, Event::Records, woken);
        self.advance(state, now, woken);
        Ok(appended)
    }

    /// What a transactional batch of a client needs to be appended here (KIP-890); `None` if this broker does not lead.
    pub fn begin_verification(&self, producer: (i64, i16), sequence: i32, now: Now) -> Option<Verification> {
        let mut state = self.state.lock();
        self.is_leader(&state).then(|| state.log.begin_verification(producer, sequence, now))
    }

    /// The producers that the log knows; `None` if this broker does not lead.
    pub fn producers(&self) -> Option<Vec<ProducerEntry>> {
        let state = self.state.lock();
        self.is_leader(&state).then(|| state.log.producers().entries().copied().collect())
    }

    /// Moves the high watermark as far as the replicas in sync allow. Not while fewer than `min.insync.replicas` are.
    pub(super) fn advance(&self, state: &mut State, now: Now, woken: &mut Woken) {
        if state.is_under_min_isr() && !mutants::is_on("committed-below-min-isr") {
            return;
        }
        let end = state.log.log_end_offset();
        let allowed = state.in_sync.high_watermark(end, now.mono, |id| self.shared.is_alive(id));
        if allowed > state.high_watermark {
            state.set_high_watermark(allowed);
            self.on_high_watermark(state, woken);
        }
    }

    /// The high watermark rose: acknowledges, and wakes who may now read more.
    pub(super) fn on_high_watermark(&self, state: &mut State, woken: &mut Woken) {
        let high_watermark = state.high_watermark;
        let too_small = state.is_maximal_isr_too_small();
        let error = || too_small.then_some(ProduceError::NotEnoughReplicasAfterAppend);
        let reached = state.waiters.reached(high_watermark);
        woken.produces.extend(reached.map(|(parked, slot)| (parked, slot, error())));
        self.wake_fetches(state, Isolation::HighWatermark, woken);
        self.wake_fetches(state, Isolation::Committed, woken);
        self.rouse(state, Event::Other, woken);
        if self.is_told_of() {
            woken.high_watermarks.push((self.topic.clone(), self.index, high_watermark));
        }
    }

    /// Checks the fetches that read up to `isolation`, which rose.
    pub(super) fn wake_fetches(&self, state: &State, isolation: Isolation, woken: &mut Woken) {
        for (parked, slot) in state.waiters.fetches(isolation) {
            if self.satisfies(state, parked, *slot) {
                woken.fetches.push(parked.clone());
            }
        }
    }

    /// True if this partition's part of a parked fetch makes it worth answering.
    fn satisfies(&self, state: &State, parked: &ParkedFetch, slot: usize) -> bool {
        let is_kept_back = parked.params.replica.is_some_and(|replica| self.is_kept_back(state, replica));
        !is_kept_back && state.satisfies(parked, slot)
    }

    /// Lists a fetch that found too little. If more came in since it read, it is checked at once.
    pub(super) fn park_fetch(&self, slot: usize, parked: &Arc<ParkedFetch>, woken: &mut Woken) {
        let mut state = self.state.lock();
        if state.is_offline || state.is_gone || self.satisfies(&state, parked, slot) {
            woken.fetches.push(parked.clone());
        }
        state.waiters.add_fetch(slot, parked.clone());
    }

    /// Takes an answered fetch off the list.
    pub(super) fn unpark_fetch(&self, parked: &ParkedFetch) {
        self.state.lock().waiters.remove_fetch(parked.params.isolation, parked.id());
    }

    /// Takes an expired request off the list.
    pub(super) fn unpark_joined(&self, id: u64) {
        self.state.lock().waiters.remove_joined(id);
    }

    /// Reads for a fetch. `max_bytes` is what is left of the whole answer; `at_least_one` batch is given even if it is
    /// larger. With `is_first`, that is, unless the fetch was parked, a follower's position is noted.
    pub(super) fn fetch(
        &self,
        params: &FetchParams,
        target: &FetchTarget,
        (max_bytes, at_least_one, is_first): (usize, bool, bool),
        (now, woken): (Now, &mut Woken),
    ) -> FetchOutcome {
        let wanted = &target.wanted;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let log_id = state.topic_id;
        if !target.topic_id.is_nil() && log_id.is_some_and(|id| id != target.topic_id) {
            return Err(ReadError::InconsistentTopicId);
        }
        let asker = Asker { current_leader_epoch: wanted.current_leader_epoch, only_leader: params.only_leader };
        self.check(state, asker)?;
        if let Some(replica) = params.replica
            && !state.in_sync.followers().contains_key(&replica)
        {
            return Err(match wanted.current_leader_epoch {
                // A reassignment may have added the replica: it retries until the leader knows.
                Some(_) => ReadError::UnknownEpoch,
                None => ReadError::NotLeaderOrFollower,
            });
        }
        if self.is_leader(state)
            && let Some(replica) = state.in_sync.nearest(&params.nearer, wanted.fetch_offset)
        {
            let preferred_replica = Some(replica);
            return Ok(FetchData { preferred_replica, ..state.nothing_read() });
        }
        let leader_end = state.log.log_end_offset();
        let max_bytes = max_bytes.min(usize::try_from(wanted.max_bytes).unwrap_or(0));
        let mut data = match state.read(params.isolation, wanted, max_bytes, at_least_one) {
            Ok(data) => data,
            Err(LogReadError::InRemote { .. }) if params.replica.is_none() => {
                return Ok(FetchData { is_in_remote: true, ..state.nothing_read() });
            }
            Err(error) => return Err(self.read_error(state, error, woken)),
        };
        if params.replica.is_some_and(|replica| self.is_held_back(state, replica))
            && self.shared.throttles.leading.is_exceeded(now.mono)
        {
            data.records = Records::default();
        }
        if let Some(replica) = params.replica
            && is_first
            && data.diverging.is_none()
        {
            let fetch = FollowerFetch {
                replica,
                end_offset: wanted.fetch_offset,
                start_offset: wanted.log_start_offset,
                leader_end,
                broker_epoch: params.replica_epoch,
            };
            self.note_follower(state, &fetch, now, woken);
        }
        Ok(data)
    }

    /// The follower is out of sync and throttled: it gets no records while too many bytes go to such as it (KIP-73).
    fn is_held_back(&self, state: &State, replica: i32) -> bool {
        let throttle = &self.shared.throttles.leading;
        throttle.is_used() && !state.in_sync.committed().contains(&replica) && throttle.covers(&self.topic, self.index)
    }

    /// The same, and too many bytes went to such as it when that was looked at last.
    pub(super) fn is_kept_back(&self, state: &State, replica: i32) -> bool {
        self.is_held_back(state, replica) && self.shared.throttles.leading.was_exceeded()
    }

    fn note_follower(&self, state: &mut State, fetch: &FollowerFetch, now: Now, woken: &mut Woken) {
        state.in_sync.fetched(fetch, now.mono);
        if let Some(epoch_start) = state.epoch_start
            && !state.in_sync.committed().contains(&fetch.replica)
            && !state.in_sync.is_pending()
            && self.shared.is_alive(fetch.replica)
        {
            let proposal = state.in_sync.expand(fetch.replica, state.high_watermark, epoch_start);
            woken.changes.extend(proposal.map(|proposal| self.change(state, proposal)));
        }
        // Also if it has no more than before: another one that was waited for may have died, or lag too long by now.
        self.advance(state, now, woken);
        if state.waiters.has_deletes() {
            self.wake_deletes(state, woken);
        }
    }

    /// Drops followers that lag too long from the in-sync replicas; called now and then.
    pub(super) fn shrink_isr(&self, now: Now, woken: &mut Woken) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !self.is_leader(state) {
            return;
        }
        let end = state.log.log_end_offset();
        if let Some(proposal) = state.in_sync.shrink(end, now.mono) {
            tracing::info!(
                topic = &*self.topic,
                partition = self.index,
                from = ?state.in_sync.committed(),
                to = ?proposal.isr,
                high_watermark = state.high_watermark,
                end,
                "shrinking in-sync replicas"
            );
            woken.changes.push(self.change(state, proposal));
        }
    }

    /// The controller's answer to a proposal.
    pub(super) fn on_verdict(&self, number: u64, verdict: Verdict, now: Now, woken: &mut Woken) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(proposal) = state.in_sync.pending(number).cloned() else { return };
        match verdict {
            Verdict::Accepted { isr, partition_epoch, leader_epoch, eligible_min_isr } => {
                if leader_epoch != state.leader_epoch || partition_epoch < state.partition_epoch {
                    return;
                }
                let counters = &self.shared.counters;
                match isr.len().cmp(&state.in_sync.committed().len()) {
                    std::cmp::Ordering::Less => counters.isr_shrinks.increment(),
                    std::cmp::Ordering::Equal => {}
                    std::cmp::Ordering::Greater => counters.isr_expands.increment(),
                }
                state.in_sync.commit(&isr, eligible_min_isr);
                state.partition_epoch = partition_epoch;
                self.rouse(state, Event::Other, woken);
                tracing::info!(topic = &*self.topic, partition = self.index, ?isr, partition_epoch, "in-sync replicas");
                self.keep_if_alone(state, woken);
                self.advance(state, now, woken);
            }
            Verdict::NotDone => {
                self.shared.counters.isr_updates_failed.increment();
                state.in_sync.withdraw();
                self.advance(state, now, woken);
            }
            Verdict::Stale => {}
            Verdict::Retry => woken.changes.push(self.change(state, proposal)),
        }
    }

    /// With fewer replicas in sync than acks=all asks for, this one may soon be the only one that can be elected, and
    /// whoever follows it then cuts its log to what this one has. So what was acknowledged while there were enough goes to
    /// disk now: losing power may not undo it (the case of KIP-966). Nothing more is acknowledged until they are enough.
    pub(super) fn keep_if_alone(&self, state: &mut State, woken: &mut Woken) {
        if !state.is_under_min_isr() || mutants::is_on("alone-without-fsync") {
            return;
        }
        if let Err(error) = state.log.flush() {
            self.note_failure(state, &error, woken);
        }
    }

    fn change(&self, state: &State, proposal: Proposal) -> IsrChange {
        IsrChange {
            topic: self.topic.clone(),
            topic_id: state.topic_id.unwrap_or_default(),
            partition: self.index,
            number: proposal.number,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: proposal.isr,
        }
    }

    /// Moves the log start to `offset` (-1: to the high watermark). The request gets the low watermark, or is listed here
    /// and told to wait until all replicas have moved theirs.
    pub(super) fn delete_records(&self, offset: i64, (parked, slot): (&Arc<ParkedDelete>, usize), woken: &mut Woken) {
        let mut state = self.state.lock();
        let outcome = self.move_log_start(&mut state, offset, woken);
        if let Ok((offset, low_watermark)) = outcome
            && low_watermark < offset
        {
            parked.wait(slot, Ok(low_watermark));
            state.waiters.add_delete(offset, slot, parked.clone());
            return;
        }
        parked.settle(slot, outcome.map(|(_, low_watermark)| low_watermark));
    }

    /// Gives the offset that was meant and the low watermark.
    fn move_log_start(&self, state: &mut State, offset: i64, woken: &mut Woken) -> Result<(i64, i64), DeleteError> {
        if state.is_offline {
            return Err(DeleteError::Storage);
        }
        if !self.is_leader(state) {
            return Err(DeleteError::NotLeader);
        }
        if !state.log.config().cleanup_delete {
            return Err(DeleteError::Policy);
        }
        let offset = if offset == -1 { state.high_watermark } else { offset };
        if offset < 0 || offset > state.high_watermark {
            return Err(DeleteError::OffsetOutOfRange);
        }
        if let Err(error) = state.log.set_log_start_offset(offset) {
            self.note_failure(state, &error, woken);
            return Err(DeleteError::Storage);
        }
        self.rouse(state, Event::Other, woken);
        self.wake_deletes(state, woken);
        Ok((offset, self.low_watermark(state)))
    }

    /// The least log start offset of all live replicas.
    fn low_watermark(&self, state: &State) -> i64 {
        let followers = state.in_sync.followers().iter().filter(|(id, _)| self.shared.is_alive(**id));
        followers.map(|(_, follower)| follower.start_offset).fold(state.log.log_start_offset(), i64::min)
    }

    fn wake_deletes(&self, state: &mut State, woken: &mut Woken) {
        let low_watermark = self.low_watermark(state);
        let deleted = state.waiters.deleted(low_watermark);
        woken.deletes.extend(deleted.map(|(parked, slot)| (parked, slot, Ok(low_watermark))));
    }

    /// The largest epoch not above `epoch`, and where it ends (OffsetForLeaderEpoch). `None` if that is undefined.
    pub fn epoch_end(&self, asker: Asker, epoch: i32) -> Result<Option<(i32, i64)>, ReadError> {
        let state = self.state.lock();
        self.check(&state, asker)?;
        Ok(state.log.end_offset_for_epoch(epoch))
    }

    /// Whole batches from `offset` on, up to the log end, whoever leads.
    pub(super) fn read_for_loading(&self, offset: i64, max_bytes: u32) -> Result<Records, ReadError> {
        let state = self.state.lock();
        if state.is_offline {
            return Err(ReadError::Storage);
        }
        let end = state.log.log_end_offset();
        match state.log.read(offset, max_bytes, end, true) {
            Ok(read) => Ok(read.records.map_or_else(Records::default, Records::Slice)),
            Err(error) => Err(self.read_error(&state, error, &mut Woken::default())),
        }
    }

    /// Looks an offset up. `isolation` is `None` for a follower, which sees the log end.
    pub fn find_offset(
        &self,
        asker: Asker,
        query: OffsetQuery,
        isolation: Option<Isolation>,
    ) -> Result<Option<FoundOffset>, ReadError> {
        let state = self.state.lock();
        self.check(&state, asker)?;
        let log = &state.log;
        let readable = match isolation {
            None | Some(Isolation::LogEnd) => log.log_end_offset(),
            Some(Isolation::HighWatermark) => state.high_watermark,
            Some(Isolation::Committed) => log.last_stable_offset(state.high_watermark),
        };
        // A new leader's high watermark may be behind what the last one told its readers (KIP-207).
        let lags = isolation.is_some() && state.epoch_start.is_some_and(|start| start > state.high_watermark);
        let unavailable = || if lags { Err(ReadError::OffsetNotAvailable) } else { Ok(None) };
        let found = match query {
            OffsetQuery::Latest => {
                let leader_epoch = (state.leader_epoch >= 0).then_some(state.leader_epoch);
                unavailable()?;
                return Ok(Some(FoundOffset { timestamp: -1, offset: readable, leader_epoch }));
            }
            OffsetQuery::Earliest | OffsetQuery::EarliestLocal => {
                let is_local = query == OffsetQuery::EarliestLocal;
                let offset = if is_local { log.local_start_offset() } else { log.log_start_offset() };
                return Ok(Some(FoundOffset {
                    timestamp: -1,
                    offset,
                    leader_epoch: log.epochs().epoch_for_offset(offset),
                }));
            }
            OffsetQuery::LatestTiered => {
                let offset = log.highest_copied();
                let leader_epoch = log.epochs().epoch_for_offset(offset);
                return Ok((offset >= 0).then_some(FoundOffset { timestamp: -1, offset, leader_epoch }));
            }
            OffsetQuery::EarliestPendingUpload => {
                return Ok(log.earliest_pending_copy().map(|offset| {
                    let leader_epoch = log.epochs().epoch_for_offset(offset);
                    FoundOffset { timestamp: -1, offset, leader_epoch }
                }));
            }
            OffsetQuery::MaxTimestamp => log.max_timestamp_offset(),
            OffsetQuery::Timestamp(timestamp) => log.offset_for_timestamp(timestamp),
        };
        let found = found.map_err(|_| ReadError::Storage)?;
        match found {
            Some(found) if found.offset < readable => {
                let leader_epoch = log.epochs().epoch_for_offset(found.offset);
                Ok(Some(FoundOffset { timestamp: found.timestamp, offset: found.offset, leader_epoch }))
            }
            _ => unavailable(),
        }
    }

    /// Refuses whoever believes in another leader epoch, and, if it wants the leader, whoever asks the wrong broker.
    fn check(&self, state: &State, asker: Asker) -> Result<(), ReadError> {
        if state.is_offline {
            return Err(ReadError::Storage);
        }
        if state.is_gone {
            return Err(ReadError::NotLeaderOrFollower);
        }
        match asker.current_leader_epoch {
            Some(_) if mutants::is_on("fetch-not-fenced") => {}
            Some(epoch) if epoch < state.leader_epoch => return Err(ReadError::FencedEpoch),
            Some(epoch) if epoch > state.leader_epoch => return Err(ReadError::UnknownEpoch),
            _ => {}
        }
        // Before the controller's first word, and without a leader, the log may be there, but nobody knows how far it is
        // valid: the replica may have lost its end, or its disk.
        if state.leader.is_none_or(|leader| leader < 0) || (asker.only_leader && !self.is_leader(state)) {
            return Err(ReadError::NotLeaderOrFollower);
        }
        Ok(())
    }

    fn read_error(&self, state: &State, error: LogReadError, woken: &mut Woken) -> ReadError {
        match error {
            LogReadError::OffsetOutOfRange { .. } => ReadError::OffsetOutOfRange,
            LogReadError::InRemote { .. } => ReadError::InRemote {
                high_watermark: state.high_watermark,
                log_start_offset: state.log.log_start_offset(),
            },
            LogReadError::Log(error @ LogError::Io { .. }) => {
                self.note_failure(state, &error, woken);
                ReadError::Storage
            }
            LogReadError::Log(error) => {
                tracing::error!(topic = &*self.topic, partition = self.index, %error, "log cannot be read");
                ReadError::Corrupt
            }
        }
    }

    /// This broker leads no longer: whoever waits for it as the leader is told.
    pub(super) fn dismiss_waiters(&self, state: &mut State, woken: &mut Woken) {
        let produces = state.waiters.reached(i64::MAX);
        woken.produces.extend(produces.map(|(parked, slot)| (parked, slot, Some(ProduceError::NotLeader))));
        let deletes = state.waiters.deleted(i64::MAX);
        woken.deletes.extend(deletes.map(|(parked, slot)| (parked, slot, Err(DeleteError::NotLeader))));
        woken.fetches.extend(state.waiters.all_fetches());
        self.rouse(state, Event::Leadership, woken);
    }
}

impl State {
    pub(super) fn set_high_watermark(&mut self, high_watermark: i64) {
        self.high_watermark = high_watermark;
        self.log.on_high_watermark(high_watermark);
    }

    fn is_under_min_isr(&self) -> bool {
        self.in_sync.committed().len() < self.in_sync.effective_min(self.log.config().min_insync_replicas)
    }

    fn is_maximal_isr_too_small(&self) -> bool {
        self.in_sync.maximal_len() < self.in_sync.effective_min(self.log.config().min_insync_replicas)
    }

    fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::LogEnd => self.log.log_end_offset(),
            Isolation::HighWatermark if mutants::is_on("read-beyond-high-watermark") => self.log.log_end_offset(),
            Isolation::HighWatermark => self.high_watermark,
            Isolation::Committed => self.log.last_stable_offset(self.high_watermark),
        }
    }

    /// True if this partition's part of a parked fetch makes it worth answering.
    fn satisfies(&self, parked: &ParkedFetch, slot: usize) -> bool {
        let wanted = &parked.targets[slot].wanted;
        let end = self.readable_end(parked.params.isolation);
        if wanted.fetch_offset > end {
            // The log was truncated: the fetch gets its error at once.
            return true;
        }
        if wanted.fetch_offset == end {
            return false;
        }
        if parked.params.min_bytes <= 1 {
            return true;
        }
        let max_bytes = usize::try_from(wanted.max_bytes).unwrap_or(0);
        match self.read(parked.params.isolation, wanted, max_bytes, true) {
            Ok(data) => parked.available(slot, data.records.len()),
            Err(_) => true,
        }
    }

    /// Where the log stands, without records.
    fn nothing_read(&self) -> FetchData {
        FetchData {
            high_watermark: self.high_watermark,
            last_stable_offset: self.log.last_stable_offset(self.high_watermark),
            log_start_offset: self.log.log_start_offset(),
            ..FetchData::default()
        }
    }

    /// Reads whole batches from `wanted.fetch_offset` on, or finds that the fetcher's log is not a part of this one.
    fn read(
        &self,
        isolation: Isolation,
        wanted: &Wanted,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<FetchData, LogReadError> {
        let mut data = self.nothing_read();
        if let Some(epoch) = wanted.last_fetched_epoch {
            let known = self.log.end_offset_for_epoch(epoch);
            let Some((known, end)) = known.filter(|_| wanted.fetch_offset >= data.log_start_offset) else {
                return Err(LogReadError::OffsetOutOfRange {
                    offset: wanted.fetch_offset,
                    log_start_offset: data.log_start_offset,
                    log_end_offset: self.log.log_end_offset(),
                });
            };
            if (known < epoch || end < wanted.fetch_offset) && !mutants::is_on("divergence-not-seen") {
                data.diverging = Some((known, end));
                return Ok(data);
            }
        }
        let limit = self.readable_end(isolation);
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let read = self.log.read(wanted.fetch_offset, max_bytes, limit, at_least_one)?;
        if isolation == Isolation::Committed {
            data.aborted = Some(self.log.aborted_transactions_in(wanted.fetch_offset, &read)?);
        }
        if let Some(slice) = read.records {
            data.records = Records::Slice(slice);
        }
        Ok(data)
    }
}
