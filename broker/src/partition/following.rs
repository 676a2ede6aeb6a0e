//! What a partition does as a follower: append what the leader sent, and cut what the leader does not have. Never asks
//! the leader itself; a fetcher does.

use super::follower::Fetched;
use super::*;
use common::mutants;

impl Partition {
    /// Where to fetch from: the log's end, or the high watermark if no record has a leader epoch, because then nothing
    /// else is known to agree with the leader's log.
    pub(super) fn start_following(&self, leader_epoch: i32) -> Result<Position, FollowError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.check_following(state, leader_epoch)?;
        if let Some(gap) = state.log.take_suspected_gap() {
            tracing::warn!(topic = &*self.topic, partition = self.index, gap, "records are missing after a crash");
            self.truncate(state, gap)?;
        }
        if state.log.latest_epoch().is_none() || mutants::is_on("truncate-to-high-watermark") {
            let high_watermark = state.high_watermark;
            if high_watermark < state.log.log_end_offset() {
                self.truncate(state, high_watermark)?;
            }
        }
        Ok(state.position())
    }

    /// Appends what the leader sent for `position`, and takes its high watermark and log start.
    pub(super) fn append_fetched(
        &self,
        leader_epoch: i32,
        position: Position,
        fetched: Fetched,
        (now, woken): (Now, &mut Woken),
    ) -> Result<Position, FollowError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.check_following(state, leader_epoch)?;
        let end = state.log.log_end_offset();
        if end != position.offset {
            return Err(FollowError::Rejected(format!("asked for offset {}, log ends at {end}", position.offset)));
        }
        if !fetched.records.is_empty() {
            self.append_batches(state, &fetched.records, now, woken)?;
        }
        let before = state.high_watermark;
        let high_watermark = fetched.high_watermark.min(state.log.log_end_offset());
        if high_watermark > before {
            state.set_high_watermark(high_watermark);
            self.wake_readers(state, woken);
        }
        if fetched.log_start_offset > state.log.log_start_offset()
            && let Err(error) = state.log.set_log_start_offset(fetched.log_start_offset)
        {
            self.note_failure(state, &error, woken);
            return Err(FollowError::Storage);
        }
        if state.high_watermark < state.log.log_start_offset() {
            state.set_high_watermark(state.log.log_start_offset());
        }
        Ok(state.position())
    }

    /// The leader's largest epoch not above our last one is `epoch` and ends at `end`: cuts what lies behind (KIP-101,
    /// KIP-279). If we do not know `epoch` either, the cut is at the end of our next lower one, and the next fetch tells
    /// if more must go.
    pub(super) fn truncate_to_leader(&self, leader_epoch: i32, epoch: i32, end: i64) -> Result<Position, FollowError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.check_following(state, leader_epoch)?;
        let log_end = state.log.log_end_offset();
        let to = if end < 0 {
            state.high_watermark
        } else {
            match state.log.end_offset_for_epoch(epoch) {
                Some((known, known_end)) if known == epoch => known_end.min(end),
                Some((_, known_end)) => known_end,
                None => end,
            }
        };
        if !mutants::is_on("not-truncated") {
            self.truncate(state, to.min(log_end))?;
        }
        Ok(state.position())
    }

    /// Our offset is out of the leader's range. Cuts to the leader's end if that is below ours; otherwise `None`.
    pub(super) fn cut_to_leader_end(
        &self,
        leader_epoch: i32,
        leader_end: i64,
    ) -> Result<Option<Position>, FollowError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.check_following(state, leader_epoch)?;
        if leader_end >= state.log.log_end_offset() {
            return Ok(None);
        }
        self.truncate(state, leader_end)?;
        Ok(Some(state.position()))
    }

    /// Our offset is out of the leader's range, and the leader's end is not below ours. If even its first offset is above
    /// our end, the log starts anew there.
    pub(super) fn start_at_leader_start(&self, leader_epoch: i32, leader_start: i64) -> Result<Position, FollowError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.check_following(state, leader_epoch)?;
        if leader_start > state.log.log_end_offset() {
            tracing::warn!(topic = &*self.topic, partition = self.index, leader_start, "log starts anew");
            state.log.truncate_fully_and_start_at(leader_start).map_err(|error| follow_error(&error))?;
            state.truncate_future(0)?;
            state.set_high_watermark(leader_start);
        }
        Ok(state.position())
    }

    pub(super) fn check_following(&self, state: &State, leader_epoch: i32) -> Result<(), FollowError> {
        if state.is_offline {
            return Err(FollowError::Storage);
        }
        if state.is_gone || state.leader_epoch != leader_epoch || state.leader == Some(self.shared.settings.broker) {
            return Err(FollowError::Superseded);
        }
        Ok(())
    }

    fn truncate(&self, state: &mut State, to: i64) -> Result<(), FollowError> {
        let (end, high_watermark) = (state.log.log_end_offset(), state.high_watermark);
        // Often only an epoch without records goes.
        if to < end {
            tracing::info!(
                topic = &*self.topic,
                partition = self.index,
                to,
                end,
                high_watermark,
                "truncating to the leader's log"
            );
        }
        if to < high_watermark {
            tracing::warn!(
                topic = &*self.topic,
                partition = self.index,
                to,
                high_watermark,
                "truncating below the high watermark"
            );
        }
        state.log.truncate_to(to).map_err(|error| follow_error(&error))?;
        state.truncate_future(to)?;
        if to < high_watermark {
            state.set_high_watermark(to);
        }
        state.first_dirty_offset = state.first_dirty_offset.map(|offset| offset.min(to));
        Ok(())
    }

    /// If the leader's log starts inside a batch (DeleteRecords) and ours is empty, the batch begins before our end: our
    /// log then starts anew at the batch.
    fn append_batches(
        &self,
        state: &mut State,
        records: &[u8],
        now: Now,
        woken: &mut Woken,
    ) -> Result<(), FollowError> {
        let mut result = state.log.append_as_follower(records, now);
        let end = state.log.log_end_offset();
        if let Err(AppendError::UnexpectedOffset { first_offset, last_offset, .. }) = result
            && end == state.log.log_start_offset()
            && (first_offset..=last_offset).contains(&end)
        {
            state.log.truncate_fully_and_start_at(first_offset).map_err(|error| follow_error(&error))?;
            result = state.log.append_as_follower(records, now);
        }
        match result {
            Ok(_) => Ok(()),
            Err(AppendError::Log(error)) => {
                self.note_failure(state, &error, woken);
                Err(FollowError::Storage)
            }
            Err(error) => Err(FollowError::Rejected(error.to_string())),
        }
    }

    /// Consumers that read from this follower (KIP-392) may see more.
    fn wake_readers(&self, state: &mut State, woken: &mut Woken) {
        self.wake_fetches(state, Isolation::HighWatermark, woken);
        self.wake_fetches(state, Isolation::Committed, woken);
    }
}

pub(super) fn follow_error(error: &LogError) -> FollowError {
    tracing::error!(%error, "cannot cut the log");
    FollowError::Storage
}

impl State {
    /// What is cut from the log is cut from the one that is to take its place.
    pub(super) fn truncate_future(&mut self, to: i64) -> Result<(), FollowError> {
        let Some(future) = &mut self.future else { return Ok(()) };
        future.log.truncate_to(to).map(drop).map_err(|error| follow_error(&error))
    }

    pub(super) fn position(&self) -> Position {
        Position { offset: self.log.log_end_offset(), epoch: self.log.latest_epoch() }
    }
}
