//! The controller's word: becoming leader or follower (LeaderAndIsr) and giving replicas up (StopReplica). Epochs decide
//! what is heeded; nothing here decides who should lead.

use super::follower::Key;
use super::storage::kept::{self, Mark};
use super::*;
use crate::log::{OpenState, remove_deleted_dir};
use common::mutants;
use common::time::WallMillis;

/// What the controller wants of one partition.
#[derive(Clone, Debug)]
pub struct NewState {
    /// Topic.
    pub topic: Arc<str>,
    /// Topic id; nil if the controller sends none.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Broker id of the leader; negative if there is none.
    pub leader: i32,
    /// Leader epoch.
    pub leader_epoch: i32,
    /// Version of the partition's state znode.
    pub partition_epoch: i32,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// Below so many in-sync replicas nothing may be committed, whatever the topic's setting says here; 0: only that counts.
    pub eligible_min_isr: i32,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<i32>,
    /// The partition did not exist before.
    pub is_new: bool,
}

/// A replica to give up.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Leader epoch; [`EPOCH_DURING_DELETE`] or [`NO_EPOCH`] are heeded always.
    pub leader_epoch: i32,
    /// Delete the files, too.
    pub delete: bool,
}

/// What a fetcher is to follow.
struct Following {
    partition: Arc<Partition>,
    topic_id: Uuid,
    leader: i32,
    leader_epoch: i32,
}

/// Leader epoch of StopReplica for a topic that is deleted: deletion does not raise the epoch.
pub const EPOCH_DURING_DELETE: i32 = -2;
/// Leader epoch of StopReplica versions that have none.
pub const NO_EPOCH: i32 = -1;

/// Why the controller's word for a partition, or all of it, is not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// A newer controller has spoken.
    #[error("controller epoch is old")]
    StaleController,
    /// The partition has this leader epoch already, or a later one.
    #[error("leader epoch is not new")]
    StaleLeaderEpoch,
    /// StopReplica for an earlier leader epoch.
    #[error("leader epoch is old")]
    FencedLeaderEpoch,
    /// The log on disk belongs to another topic of the same name.
    #[error("topic id differs from the log's")]
    InconsistentTopicId,
    /// This broker is none of the replicas.
    #[error("not among the replicas")]
    NotAReplica,
    /// The log's directory would have a name that is none, or lie elsewhere.
    #[error("no log can have this name")]
    NoLogName,
    /// The log directory failed.
    #[error("log directory failed")]
    Storage,
}

impl Partition {
    /// Whether a new state may be applied.
    pub(super) fn admits(&self, new: &NewState) -> Result<(), StateError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.is_offline {
            return Err(StateError::Storage);
        }
        if !new.topic_id.is_nil() && state.topic_id.is_some_and(|id| id != new.topic_id) {
            return Err(StateError::InconsistentTopicId);
        }
        if new.leader_epoch > state.leader_epoch {
            return if new.replicas.contains(&self.shared.settings.broker) {
                Ok(())
            } else {
                Err(StateError::NotAReplica)
            };
        }
        Err(StateError::StaleLeaderEpoch)
    }

    /// Writes the topic id down if the log has none yet.
    fn learn_topic_id(&self, state: &mut State, topic_id: Uuid) -> Result<(), LogError> {
        if state.topic_id.is_none() && !topic_id.is_nil() {
            state.log.set_topic_id(topic_id)?;
            state.topic_id = Some(topic_id);
        }
        Ok(())
    }

    /// Leads from now on. Gives if this broker did not lead before; `None` if a later state is known.
    pub(super) fn lead(&self, new: &NewState, now: Now, woken: &mut Woken) -> Result<Option<bool>, StateError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if new.partition_epoch < state.partition_epoch {
            return Ok(None);
        }
        let was_leader = self.is_leader(state);
        let is_new_epoch = new.leader_epoch > state.leader_epoch;
        let start = state.log.log_end_offset();
        if let Err(error) = self.learn_topic_id(state, new.topic_id) {
            self.note_failure(state, &error, woken);
            return Err(StateError::Storage);
        }
        if is_new_epoch {
            // A follower may ask for an epoch in which nothing was written; it must find it here (KIP-101).
            state.log.assign_epoch_start_offset(new.leader_epoch, start);
        }
        self.rouse(state, if is_new_epoch { Event::Leadership } else { Event::Other }, woken);
        state.adding.clone_from(&new.adding);
        state.in_sync.assign(&new.replicas, &new.isr, new.eligible_min_isr);
        if is_new_epoch {
            state.in_sync.begin_epoch(start, was_leader, now.mono);
            state.leader_epoch = new.leader_epoch;
            state.epoch_start = Some(start);
            // Those that wait believe in the last epoch: they are told at once.
            woken.fetches.extend(state.waiters.all_fetches());
        }
        state.partition_epoch = new.partition_epoch;
        state.leader = Some(self.shared.settings.broker);
        tracing::debug!(
            topic = &*self.topic,
            partition = self.index,
            leader_epoch = new.leader_epoch,
            start,
            high_watermark = state.high_watermark,
            isr = ?new.isr,
            "leading"
        );
        self.keep_if_alone(state, woken);
        self.advance(state, now, woken);
        Ok(Some(!was_leader))
    }

    /// Follows from now on. Gives if the leader epoch is new, so that the fetcher must start anew; `None` if a later
    /// state is known.
    pub(super) fn follow(&self, new: &NewState, woken: &mut Woken) -> Result<Option<bool>, StateError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if new.partition_epoch < state.partition_epoch {
            return Ok(None);
        }
        if let Err(error) = self.learn_topic_id(state, new.topic_id) {
            self.note_failure(state, &error, woken);
            return Err(StateError::Storage);
        }
        let is_new_epoch = new.leader_epoch > state.leader_epoch;
        state.leader = Some(new.leader);
        state.leader_epoch = new.leader_epoch;
        state.partition_epoch = new.partition_epoch;
        state.epoch_start = None;
        state.adding.clone_from(&new.adding);
        state.in_sync.clear();
        self.dismiss_waiters(state, woken);
        tracing::debug!(
            topic = &*self.topic,
            partition = self.index,
            leader = new.leader,
            leader_epoch = new.leader_epoch,
            end = state.log.log_end_offset(),
            high_watermark = state.high_watermark,
            "following"
        );
        Ok(Some(is_new_epoch))
    }

    /// Whether StopReplica may be heeded.
    pub(super) fn admits_stop(&self, stop: &Stop) -> Result<(), StateError> {
        let state = self.state.lock();
        if state.is_offline {
            return Err(StateError::Storage);
        }
        match stop.leader_epoch {
            EPOCH_DURING_DELETE | NO_EPOCH => Ok(()),
            epoch if epoch >= state.leader_epoch => Ok(()),
            _ => Err(StateError::FencedLeaderEpoch),
        }
    }

    /// Is deleted: renames its directory, and gives the log directory and the new path. With `until` it can be brought back
    /// until then, if its topic has an id, which is given, too.
    pub(super) fn delete(
        &self,
        until: Option<WallMillis>,
        rng: &mut common::Rng,
        woken: &mut Woken,
    ) -> (PathBuf, Result<(PathBuf, Option<Uuid>), StateError>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.dismiss_waiters(state, woken);
        state.is_gone = true;
        state.leader = None;
        state.in_sync.clear();
        if let Some(mut future) = state.future.take() {
            let removed = future.log.delete(rng).and_then(|dir| remove_deleted_dir(self.shared.disk.as_ref(), &dir));
            if let Err(error) = removed {
                tracing::warn!(topic = &*self.topic, partition = self.index, %error, "files of a move remain");
            }
        }
        let deleted = match (until, state.topic_id) {
            (Some(until), Some(id)) => {
                kept::set_aside(state, (&self.topic, self.index), id, until, self.shared.disk.as_ref())
                    .map(|dir| (dir, Some(id)))
            }
            _ => state.log.delete(rng).map(|dir| (dir, None)),
        };
        let deleted = deleted.map_err(|error| {
            self.note_failure(state, &error, woken);
            StateError::Storage
        });
        (state.log_dir.clone(), deleted)
    }

    /// The log directory failed.
    pub(super) fn go_offline(&self, log_dir: &std::path::Path, woken: &mut Woken) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.future.as_ref().is_some_and(|future| future.log_dir == log_dir) {
            state.future = None;
        }
        if state.is_offline || state.log_dir != log_dir {
            return false;
        }
        state.is_offline = true;
        state.in_sync.clear();
        self.dismiss_waiters(state, woken);
        true
    }
}

impl Replicas {
    /// LeaderAndIsr: becomes leader and follower of partitions. One outcome a partition, in order; an error as a whole
    /// if a newer controller has spoken.
    pub fn become_leader_or_follower(
        &self,
        controller_epoch: i32,
        states: &[NewState],
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Result<(), StateError>>, StateError> {
        let mut control = self.control.lock();
        let is_stale = controller_epoch < control.controller_epoch && !mutants::is_on("old-controller-heeded");
        if is_stale || control.is_closed {
            return Err(StateError::StaleController);
        }
        control.controller_epoch = controller_epoch;
        let local = self.shared.settings.broker;
        let mut woken = Woken::default();
        let mut outcomes = Vec::with_capacity(states.len());
        let mut follow = Vec::new();
        for new in states {
            outcomes.push(self.held_or_made(new, now, &mut woken).and_then(|partition| {
                partition.admits(new)?;
                let key = (new.topic.clone(), new.partition);
                self.stop_fetching(&key);
                if new.leader == local {
                    self.begin_leading(&partition, new, now, (&mut woken, effects))
                } else {
                    follow.extend(self.begin_following(&partition, new, (&mut woken, effects))?);
                    Ok(())
                }
            }));
        }
        follow.into_iter().for_each(|following| self.start_fetching(following, now));
        self.send_all(now, effects);
        drop(control);
        self.settle(woken, now, effects);
        let leading = states.iter().filter(|new| new.leader == local).count();
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        tracing::info!(leading, following = states.len() - leading, refused, topics = %topics(states.iter().map(|new| &*new.topic)), "told to lead and follow");
        Ok(outcomes)
    }

    /// For so long the replicas of deleted topics are kept (`castellan.topic.undelete.ms`); 0: not at all.
    pub fn keep_deleted_for(&self, undelete_ms: u64) {
        self.dirs.lock().set_undelete_ms(undelete_ms);
    }

    /// The partition, with its log made if there is none.
    fn held_or_made(&self, new: &NewState, now: Now, woken: &mut Woken) -> Result<Arc<Partition>, StateError> {
        if let Some(partition) = self.get(&new.topic, new.partition) {
            return Ok(partition);
        }
        if !new.replicas.contains(&self.shared.settings.broker) {
            return Err(StateError::NotAReplica);
        }
        let name = storage::dir_name(&new.topic, new.partition).ok_or(StateError::NoLogName)?;
        let kept = self.dirs.lock().take_kept((new.topic_id, new.partition));
        if let Some(kept) = kept {
            let opened = self.bring_back(new, (&kept, &name), now, woken).ok_or(StateError::Storage)?;
            return Ok(self.hold(new, opened));
        }
        let log_dir = {
            let mut dirs = self.dirs.lock();
            // The log may be in the directory that failed: a second, empty one would be elected and lose records.
            if dirs.has_failed() && !new.is_new {
                return Err(StateError::Storage);
            }
            dirs.take_place((&new.topic, new.partition)).ok_or(StateError::Storage)?
        };
        let dir = log_dir.join(name);
        let config = self.config_of(&new.topic);
        let start = OpenState { clean_shutdown: false, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
        let log = Log::open(self.shared.disk.clone(), dir, config, start, now).map_err(|error| {
            tracing::error!(topic = &*new.topic, partition = new.partition, %error, "cannot make the log");
            if matches!(error, LogError::Io { .. }) {
                woken.failed_dirs.insert(log_dir.clone());
            }
            StateError::Storage
        })?;
        let topic_id = log.topic_id().unwrap_or_default();
        let opened = Opened { log, log_dir, future: None, topic_id, high_watermark: 0, first_dirty_offset: None };
        Ok(self.hold(new, opened))
    }

    fn config_of(&self, topic: &str) -> LogConfig {
        let own = self.configs.read().as_ref().and_then(|configs| configs.get(topic).cloned());
        own.unwrap_or_else(|| self.shared.default_log.read().clone())
    }

    fn hold(&self, new: &NewState, opened: Opened) -> Arc<Partition> {
        let mut topics = self.topics.write();
        let siblings = topics.entry(new.topic.clone()).or_default();
        let (place, counters) = ((new.topic.clone(), new.partition), super::replicas::counters_of(siblings));
        let partition = Arc::new(Partition::new(place, counters, self.shared.clone(), opened));
        siblings.insert(new.partition, partition.clone());
        partition
    }

    /// Opens the log of a deleted replica again, under its old name. `None` if that fails: an empty log in its place could be
    /// elected.
    fn bring_back(
        &self,
        new: &NewState,
        (kept, name): (&std::path::Path, &str),
        now: Now,
        woken: &mut Woken,
    ) -> Option<Opened> {
        let disk = self.shared.disk.as_ref();
        let log_dir = kept.parent()?.to_owned();
        let mark = Mark::read(disk, kept);
        let dir = log_dir.join(name);
        let start = mark.map_or(storage::NOTHING_KNOWN, |mark| mark.open_state());
        let log = kept::give_back(disk, kept, &dir)
            .and_then(|()| Log::open(self.shared.disk.clone(), dir, self.config_of(&new.topic), start, now))
            .inspect_err(|error| {
                tracing::error!(topic = &*new.topic, partition = new.partition, %error, "a deleted replica does not come back");
                if matches!(error, LogError::Io { .. }) {
                    woken.failed_dirs.insert(log_dir.clone());
                }
            })
            .ok()?;
        kept::remove_mark(disk, &log);
        let end = log.log_end_offset();
        tracing::info!(topic = &*new.topic, partition = new.partition, end, "a deleted replica is back");
        self.dirs.lock().take_place_in(&log_dir);
        let high_watermark = mark.map_or(0, |mark| mark.high_watermark).clamp(log.log_start_offset(), end);
        let first_dirty_offset = mark.and_then(|mark| mark.first_dirty_offset);
        let topic_id = log.topic_id().unwrap_or_default();
        Some(Opened { log, log_dir, future: None, topic_id, high_watermark, first_dirty_offset })
    }

    fn begin_leading(
        &self,
        partition: &Partition,
        new: &NewState,
        now: Now,
        (woken, effects): (&mut Woken, &mut Vec<Effect>),
    ) -> Result<(), StateError> {
        if partition.lead(new, now, woken)? == Some(true) && partition.is_told_of() {
            let (topic, partition, leader_epoch) = (new.topic.clone(), new.partition, new.leader_epoch);
            effects.push(Effect::BecameLeader { topic, partition, leader_epoch });
        }
        Ok(())
    }

    /// Gives what the fetcher needs if there is a leader to follow.
    fn begin_following(
        &self,
        partition: &Arc<Partition>,
        new: &NewState,
        (woken, effects): (&mut Woken, &mut Vec<Effect>),
    ) -> Result<Option<Following>, StateError> {
        if partition.follow(new, woken)? != Some(true) {
            return Ok(None);
        }
        if partition.is_told_of() {
            let (topic, partition, leader_epoch) = (new.topic.clone(), new.partition, Some(new.leader_epoch));
            effects.push(Effect::Resigned { topic, partition, leader_epoch });
        }
        let (topic_id, leader, leader_epoch) = (new.topic_id, new.leader, new.leader_epoch);
        Ok((leader >= 0).then(|| Following { partition: partition.clone(), topic_id, leader, leader_epoch }))
    }

    fn start_fetching(&self, following: Following, now: Now) {
        let Following { partition, topic_id, leader, leader_epoch } = following;
        match partition.start_following(leader_epoch) {
            Ok(position) => {
                let key = (partition.topic().clone(), partition.index());
                let fetcher = self.free_fetcher(leader, &key, now.mono);
                fetcher.lock().add(partition, topic_id, leader_epoch, position);
            }
            Err(error) => {
                tracing::error!(topic = &**partition.topic(), partition = partition.index(), %error, "not followed");
            }
        }
    }

    fn stop_fetching(&self, key: &Key) {
        let (number, step) = (self.fetcher_number(key), self.fetchers_per_leader());
        let fetchers: Vec<_> =
            self.fetchers.lock().iter().filter(|((_, n), _)| n % step == number).map(|(_, f)| f.clone()).collect();
        for fetcher in fetchers {
            fetcher.lock().remove(key);
        }
    }

    /// Lets every idle fetcher send what it now has to ask.
    pub(super) fn send_all(&self, now: Now, effects: &mut Vec<Effect>) {
        let fetchers: Vec<_> = self.fetchers.lock().iter().map(|(id, fetcher)| (*id, fetcher.clone())).collect();
        for (id, fetcher) in fetchers {
            self.send_next(&mut fetcher.lock(), id, now, effects);
        }
    }

    /// StopReplica: stops following partitions and, where it says so, deletes them. One outcome a partition, in order;
    /// an error as a whole if a newer controller has spoken.
    pub fn stop(
        &self,
        controller_epoch: i32,
        stops: &[Stop],
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Result<(), StateError>>, StateError> {
        let mut control = self.control.lock();
        if controller_epoch < control.controller_epoch || control.is_closed {
            return Err(StateError::StaleController);
        }
        control.controller_epoch = controller_epoch;
        let mut woken = Woken::default();
        let mut outcomes = Vec::with_capacity(stops.len());
        for stop in stops {
            // One that is not here is as good as stopped.
            outcomes.push(self.get(&stop.topic, stop.partition).map_or(Ok(()), |partition| {
                partition.admits_stop(stop)?;
                self.stop_fetching(&(stop.topic.clone(), stop.partition));
                if stop.delete {
                    self.delete(&partition, stop, (now, &mut control.rng), (&mut woken, effects))
                } else {
                    Ok(())
                }
            }));
        }
        self.send_all(now, effects);
        drop(control);
        self.settle(woken, now, effects);
        let deleted = stops.iter().filter(|stop| stop.delete).count();
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        tracing::info!(stopped = stops.len(), deleted, refused, topics = %topics(stops.iter().map(|stop| &*stop.topic)), "told to stop replicas");
        Ok(outcomes)
    }

    fn delete(
        &self,
        partition: &Partition,
        stop: &Stop,
        (now, rng): (Now, &mut common::Rng),
        (woken, effects): (&mut Woken, &mut Vec<Effect>),
    ) -> Result<(), StateError> {
        {
            let mut topics = self.topics.write();
            if let Some(partitions) = topics.get_mut(&*stop.topic) {
                partitions.remove(&stop.partition);
                if partitions.is_empty() {
                    topics.remove(&*stop.topic);
                }
            }
        }
        if partition.is_told_of() {
            let leader_epoch = (stop.leader_epoch >= 0).then_some(stop.leader_epoch);
            let (topic, partition) = (stop.topic.clone(), stop.partition);
            effects.push(Effect::Resigned { topic, partition, leader_epoch });
        }
        let moving_to = partition.future_view().map(|future| future.log_dir);
        // A replica that only moves to another broker needs no way back.
        let undelete_ms = self.dirs.lock().undelete_ms();
        let until_ms = now.wall.0.saturating_add(i64::try_from(undelete_ms).unwrap_or(i64::MAX));
        // What was in the remote store goes with the topic, and without it a log is not whole.
        let is_whole = partition.remote_view().is_none();
        let is_kept = undelete_ms > 0 && stop.leader_epoch == EPOCH_DURING_DELETE && is_whole;
        let (log_dir, deleted) = partition.delete(is_kept.then_some(WallMillis(until_ms)), rng, woken);
        tracing::debug!(topic = &*stop.topic, partition = stop.partition, "deleted");
        let mut at = now.mono + self.shared.settings.delete_delay_ms;
        let mut dirs = self.dirs.lock();
        match &deleted {
            Ok((path, Some(id))) => {
                at = at + undelete_ms;
                dirs.release(&log_dir, None);
                dirs.keep((*id, stop.partition), path.clone(), at);
            }
            Ok((path, None)) => dirs.release(&log_dir, Some((at, path.clone()))),
            Err(_) => dirs.release(&log_dir, None),
        }
        if let Some(log_dir) = moving_to {
            dirs.release(&log_dir, None);
        }
        drop(dirs);
        effects.push(Effect::WakeAt(at));
        deleted.map(drop)
    }
}

/// The topics of a request for its line in the log: each once, and of many only the first.
fn topics<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: BTreeSet<&str> = names.collect();
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(",");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
