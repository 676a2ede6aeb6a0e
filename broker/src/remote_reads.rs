//! Reads what is only in the remote store: records for consumers, with the aborted transactions that they need, offsets by
//! time, and what followers need that go on from there. On threads that nobody else waits for. Decides nothing of copies.

use crate::broker::Broker;
use crate::log::remote::{RemoteRead, RemoteState};
use crate::log::{AbortedTxn, LogError, TimestampedOffset};
use crate::partition::follower::RebuildAsk;
use crate::partition::{
    FetchData, FetchOutcome, FetchParams, FetchPart, Isolation, ReadError, RemoteFetch, RemoteView,
};
use crate::tiered::{Index, Place, RemoteSegment, SegmentState, lineage};
use crate::tiering::{Crew, On};
use common::kafka::records::Records;
use common::time::{Millis, Now};
use std::ops::Range;
use std::sync::Arc;

/// What is to be read of one partition.
struct Asked<'a> {
    offset: i64,
    max_bytes: usize,
    at_least_one: bool,
    isolation: Isolation,
    view: &'a RemoteView,
}

impl Broker {
    /// Answers a fetch when what it wants was read in the store. Held back while `remote.log.manager.fetch.max.bytes.per.second`
    /// is used up.
    pub(crate) fn read_remote(self: &Arc<Self>, fetch: RemoteFetch) {
        let Some(on) = self.tiering.on() else {
            // Its topic's settings say so, this broker's do not.
            return self.replicas.finish_remote(fetch, Err(ReadError::RemoteStore), Now::default());
        };
        if on.fetch_throttle.is_exceeded(fetch.asked_at) {
            on.held_back.lock().push(fetch);
            return;
        }
        self.begin_remote_read(fetch);
    }

    /// Lets fetches go on that were held back: those that there is room for now, and those that have waited long enough. When
    /// to call again.
    pub(crate) fn let_go(self: &Arc<Self>, on: &On, now: Now) -> Option<Millis> {
        let held_back = std::mem::take(&mut *on.held_back.lock());
        let mut next = None;
        for fetch in held_back {
            if !on.fetch_throttle.is_exceeded(now.mono) {
                self.begin_remote_read(fetch);
            } else if now.mono >= fetch.asked_at + fetch.params.max_wait_ms {
                let nothing = fetch.nothing();
                self.replicas.finish_remote(fetch, nothing, now);
            } else {
                next = Some(now.mono + HELD_BACK_MS);
                on.held_back.lock().push(fetch);
            }
        }
        next
    }

    fn begin_remote_read(self: &Arc<Self>, fetch: RemoteFetch) {
        let broker = self.clone();
        let patience = u64::try_from(self.config.remote_fetch_max_wait_ms).unwrap_or(0);
        // Shared, so that it can be answered if it is refused.
        let shared = Arc::new(parking_lot::Mutex::new(Some(fetch)));
        let mine = shared.clone();
        let job = move |now: Now| {
            let Some(fetch) = mine.lock().take() else { return };
            // Whoever waited too long behind others asks again.
            let outcome = match now.mono >= fetch.asked_at + patience {
                true => fetch.nothing(),
                false => broker.read_for_fetch(&fetch, now),
            };
            broker.replicas.finish_remote(fetch, outcome, now);
        };
        if self.hand_to(Crew::Readers, Box::new(job)).is_err()
            && let Some(fetch) = shared.lock().take()
        {
            tracing::warn!("too many reads wait for the remote store");
            let now = Now { mono: fetch.asked_at, ..Now::default() };
            self.replicas.finish_remote(fetch, Err(ReadError::RemoteStore), now);
        }
    }

    fn read_for_fetch(&self, fetch: &RemoteFetch, now: Now) -> FetchOutcome {
        let (Some((target, max_bytes, at_least_one)), Some(on)) = (fetch.wanted(), self.tiering.on()) else {
            return Err(ReadError::RemoteStore);
        };
        let view = target.partition.remote_view().ok_or(ReadError::NotLeaderOrFollower)?;
        let (offset, isolation) = (target.wanted.fetch_offset, fetch.params.isolation);
        let read = self.read_store(on, &Asked { offset, max_bytes, at_least_one, isolation, view: &view });
        if let Ok((records, _)) = &read {
            on.fetch_throttle.record(records.len(), now.mono);
        }
        let (records, aborted) = read?;
        Ok(FetchData { records, aborted, is_in_remote: false, ..fetch.nothing()? })
    }

    /// The same at once, for whoever does not wait.
    pub(crate) fn read_remote_now(
        &self,
        params: &FetchParams,
        part: &FetchPart,
        at_least_one: bool,
        data: FetchData,
    ) -> FetchOutcome {
        let on = self.tiering.on().ok_or(ReadError::RemoteStore)?;
        let held = self.replicas.get(&part.topic, part.partition);
        let view = held.and_then(|held| held.remote_view()).ok_or(ReadError::NotLeaderOrFollower)?;
        let max_bytes = usize::try_from(params.max_bytes).unwrap_or(0);
        let (offset, isolation) = (part.wanted.fetch_offset, params.isolation);
        let (records, aborted) =
            self.read_store(on, &Asked { offset, max_bytes, at_least_one, isolation, view: &view })?;
        Ok(FetchData { records, aborted, is_in_remote: false, ..data })
    }

    fn read_store(&self, on: &On, asked: &Asked<'_>) -> Result<(Records, Option<Vec<AbortedTxn>>), ReadError> {
        let place = &asked.view.place;
        let count = |failed: bool, bytes: usize| {
            self.replicas.count_remote(&place.topic, place.partition, |counters| {
                counters.reads.increment();
                counters.bytes_read.add(bytes as u64);
                if failed {
                    counters.failed_reads.increment();
                }
            });
        };
        match self.read_segments(on, asked) {
            Ok(read) => {
                count(false, read.0.len());
                Ok(read)
            }
            Err(RemoteError::Read(error)) => {
                count(false, 0);
                Err(error)
            }
            Err(RemoteError::Store(error)) => {
                count(true, 0);
                tracing::error!(topic = &*place.topic, partition = place.partition, %error, "the remote store cannot be read");
                Err(ReadError::RemoteStore)
            }
        }
    }

    fn read_segments(&self, on: &On, asked: &Asked<'_>) -> Result<(Records, Option<Vec<AbortedTxn>>), RemoteError> {
        let max_bytes = u32::try_from(asked.max_bytes).unwrap_or(u32::MAX);
        let (mut segment, mut end) = find(on, asked.view, asked.offset)?.ok_or(ReadError::OffsetOutOfRange)?;
        let nothing = || (Records::default(), (asked.isolation == Isolation::Committed).then(Vec::new));
        loop {
            let files = on.store.open(&asked.view.place, &segment)?;
            if let Some(read) = files.read(asked.offset, max_bytes)? {
                if !asked.at_least_one && read.first_batch_bytes > max_bytes {
                    return Ok(nothing());
                }
                // Here, and not where it is sent: the folder may be slow, and that thread has others to serve.
                let bytes = files.bytes(&read, end)?;
                if !bytes.is_empty() {
                    let aborted = match asked.isolation {
                        Isolation::Committed => Some(self.aborted_in(on, asked.view, (&segment, end), &read)?),
                        _ => None,
                    };
                    return Ok((Records::Bytes(bytes), aborted));
                }
            }
            // The segment ends with offsets that have no record, or with those of another history.
            let Some(next) = find(on, asked.view, end)? else { return Ok(nothing()) };
            (segment, end) = next;
        }
    }

    /// The markers of transactions in a segment may stand in later ones, here or there.
    fn aborted_in(
        &self,
        on: &On,
        view: &RemoteView,
        (segment, mut end): (&RemoteSegment, i64),
        read: &RemoteRead,
    ) -> Result<Vec<AbortedTxn>, RemoteError> {
        let (from, to) = (read.first_batch_base_offset, read.end_offset.min(end));
        let mut found: Vec<AbortedTxn> = Vec::new();
        let mut is_complete = aborted_of(on, view, segment, (from..to, &mut found))?;
        while !is_complete {
            let Some((next, next_end)) = find(on, view, end)? else { break };
            is_complete = aborted_of(on, view, &next, (from..to, &mut found))?;
            end = next_end;
        }
        if !is_complete && let Some(held) = self.replicas.get(&view.place.topic, view.place.partition) {
            found.extend(held.aborted_here(from, to)?);
        }
        // Segments overlap after a change of the leader.
        found.sort_by_key(|txn| (txn.first_offset, txn.producer_id, txn.last_offset));
        found.dedup();
        Ok(found)
    }

    /// The first record of the store, at or behind the log start, whose timestamp is `timestamp` or later.
    pub(crate) fn remote_offset_for_timestamp(
        &self,
        view: &RemoteView,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let on = self.tiering.on().ok_or(ReadError::RemoteStore)?;
        let from = view.facts.log_start_offset;
        let segment = {
            let machine = on.machine.lock();
            let index = machine.index(&view.place).map_err(|_| ReadError::RemoteUnknown)?;
            first_since(index, view, timestamp)
        };
        let Some(segment) = segment else { return Ok(None) };
        let found = on.store.open(&view.place, &segment).and_then(|files| files.offset_for_timestamp(timestamp, from));
        found.map_err(|error| {
            let (topic, partition) = (&*view.place.topic, view.place.partition);
            tracing::error!(topic, partition, %error, "the remote store cannot be read");
            ReadError::RemoteStore
        })
    }

    /// Finds what a follower needs that goes on from the store.
    pub(crate) fn rebuild_from_remote(self: &Arc<Self>, leader: i32, ask: RebuildAsk) {
        let broker = self.clone();
        let again = ask.clone();
        let job = move |now: Now| {
            let behind = broker.state_behind(&ask);
            broker.with_replicas(now, |replicas, effects| {
                replicas.on_rebuilt(leader, (&ask, behind.as_ref()), now, effects);
            });
        };
        if self.hand_to(Crew::Rebuilders, Box::new(job)).is_err() {
            let broker = self.clone();
            self.outbox.run(Box::new(move |now| {
                broker.with_replicas(now, |replicas, effects| {
                    replicas.on_rebuilt(leader, (&again, None), now, effects);
                });
            }));
        }
    }

    fn state_behind(&self, ask: &RebuildAsk) -> Option<RemoteState> {
        let on = self.tiering.on()?;
        let place = Place { topic: ask.topic.clone(), topic_id: ask.topic_id, partition: ask.partition };
        let segment = on.machine.lock().index(&place).ok()?.find(ask.epoch, ask.offset).cloned();
        let found = segment.map(|segment| on.store.state_behind(&place, &segment, ask.log_start_offset));
        self.replicas.count_remote(&place.topic, place.partition, |counters| {
            counters.rebuilds.increment();
            if !matches!(found, Some(Ok(_))) {
                counters.failed_rebuilds.increment();
            }
        });
        match found {
            Some(Ok(state)) => Some(state),
            Some(Err(error)) => {
                tracing::error!(topic = &*ask.topic, partition = ask.partition, %error, "cannot go on from the remote store");
                None
            }
            None => {
                let (offset, epoch) = (ask.offset, ask.epoch);
                tracing::warn!(
                    topic = &*ask.topic,
                    partition = ask.partition,
                    offset,
                    epoch,
                    "not in the remote store yet"
                );
                None
            }
        }
    }
}

/// Fetches that are held back are looked at this often.
const HELD_BACK_MS: u64 = 100;

/// Why the store gave nothing.
enum RemoteError {
    Read(ReadError),
    Store(LogError),
}

impl From<ReadError> for RemoteError {
    fn from(error: ReadError) -> RemoteError {
        RemoteError::Read(error)
    }
}

impl From<LogError> for RemoteError {
    fn from(error: LogError) -> RemoteError {
        RemoteError::Store(error)
    }
}

/// The segment that holds an offset, and up to where it does.
fn find(on: &On, view: &RemoteView, offset: i64) -> Result<Option<(RemoteSegment, i64)>, ReadError> {
    let machine = on.machine.lock();
    let index = machine.index(&view.place).map_err(|_| ReadError::RemoteUnknown)?;
    let found = lineage::find(index, &view.facts.epochs, view.facts.log_end_offset, offset);
    Ok(found.map(|(segment, end)| (segment.clone(), end)))
}

/// Adds the aborted transactions that a segment knows of these offsets; true if no later one can know more.
fn aborted_of(
    on: &On,
    view: &RemoteView,
    segment: &RemoteSegment,
    (offsets, found): (Range<i64>, &mut Vec<AbortedTxn>),
) -> Result<bool, LogError> {
    if on.has_no_aborted(&segment.id) {
        return Ok(false);
    }
    match on.store.open_txn_index(&view.place, segment)? {
        Some(index) => index.aborted(offsets.start, offsets.end, found),
        None => {
            on.note_no_aborted(segment.id);
            Ok(false)
        }
    }
}

/// The first segment of the leader's history, from the log start on, with a record of this time or later.
fn first_since(index: &Index, view: &RemoteView, timestamp: i64) -> Option<RemoteSegment> {
    let (entries, from) = (&view.facts.epochs, view.facts.log_start_offset);
    let leader = lineage::of_log(entries);
    let first = lineage::epoch_of(entries, from)?;
    let epochs = entries.iter().filter(|entry| entry.epoch >= first);
    let mut segments = epochs.flat_map(|entry| index.of_epoch(entry.epoch));
    let is_wanted = |segment: &&RemoteSegment| {
        segment.max_timestamp_ms >= timestamp
            && segment.end_offset >= from
            && segment.state == SegmentState::CopyFinished
            && lineage::holds(segment, view.facts.log_end_offset, &leader)
    };
    segments.find(is_wanted).cloned()
}
