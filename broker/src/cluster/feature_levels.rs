//! The levels of features that an operator has set, in `/feature`: read at the start and whenever they change, changed for
//! UpdateFeatures (KIP-584). Never decides which levels are in force: brokers that serve less hold them down.

use super::json::FeatureRecord;
use super::store::{ZkResult, exists, get, set};
use super::{Effect, Io, Waiter, paths};
use common::zk::{Response, WatcherEvent, ZkError};
use std::collections::BTreeMap;
use tracing::warn;

/// Level by name of a feature.
pub type Levels = BTreeMap<String, i16>;

/// Another broker changed the node meanwhile: how often it is tried again.
const TRIES: u32 = 10;

/// What is asked of ZooKeeper.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LevelAsk {
    /// Only sets the watch, also where there is no node.
    Watch,
    Read,
    ReadForChange(u64),
    Write(u64),
}

#[derive(Debug)]
struct Change {
    levels: Levels,
    done: Waiter<Result<(), ZkError>>,
    tries: u32,
    /// What the node holds when it is written.
    next: FeatureRecord,
}

#[derive(Debug, Default)]
pub(super) struct FeatureLevels {
    known: Levels,
    next_change: u64,
    changes: BTreeMap<u64, Change>,
}

impl FeatureLevels {
    /// Asked before the broker registers, so that it never serves what was turned off.
    pub(super) fn load(&self, io: &mut Io<'_>) {
        io.store.ask(LevelAsk::Watch, exists(paths::FEATURE, true));
        io.store.ask(LevelAsk::Read, get(paths::FEATURE, false));
    }

    pub(super) fn on_session_over(&mut self, io: &mut Io<'_>) {
        for (_, change) in std::mem::take(&mut self.changes) {
            io.answer(change.done, Err(ZkError::SessionExpired));
        }
    }

    pub(super) fn on_watch(&self, event: &WatcherEvent, io: &mut Io<'_>) {
        if event.path == paths::FEATURE {
            self.load(io);
        }
    }

    /// Sets these levels and leaves the others; `done` hears when they stand in ZooKeeper.
    pub(super) fn change(&mut self, levels: Levels, done: Waiter<Result<(), ZkError>>, io: &mut Io<'_>) {
        let number = self.next_change;
        self.next_change += 1;
        self.changes.insert(number, Change { levels, done, tries: 0, next: FeatureRecord::default() });
        io.store.ask(LevelAsk::ReadForChange(number), get(paths::FEATURE, false));
    }

    pub(super) fn on_answer(&mut self, ask: LevelAsk, result: ZkResult, io: &mut Io<'_>) {
        match (ask, result) {
            (LevelAsk::Watch, _) => {}
            (LevelAsk::Read, Ok(Response::GetData { data, .. })) => {
                match FeatureRecord::decode(&data.unwrap_or_default()) {
                    Ok(record) => self.learn(&record, io),
                    Err(problem) => warn!(%problem, "the features in zookeeper cannot be read"),
                }
            }
            (LevelAsk::Read, Err(ZkError::NoNode)) => self.learn(&FeatureRecord::default(), io),
            // What is known stays.
            (LevelAsk::Read, _) => {}
            (LevelAsk::ReadForChange(number), result) => self.on_read_for_change(number, result, io),
            (LevelAsk::Write(number), result) => self.on_written(number, result, io),
        }
    }

    fn learn(&mut self, record: &FeatureRecord, io: &mut Io<'_>) {
        let mut levels = if record.enabled { record.features.clone() } else { Levels::new() };
        levels.extend(record.levels.clone());
        if levels != self.known {
            self.known.clone_from(&levels);
            io.effects.push(Effect::FeatureLevels(levels));
        }
    }

    fn on_read_for_change(&mut self, number: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(change) = self.changes.get_mut(&number) else { return };
        let (mut record, version) = match result {
            Ok(Response::GetData { data, stat }) => match FeatureRecord::decode(&data.unwrap_or_default()) {
                Ok(record) => (record, Some(stat.version)),
                Err(problem) => {
                    warn!(%problem, "the features in zookeeper cannot be read");
                    return self.end(number, Err(ZkError::MarshallingError), io);
                }
            },
            Err(ZkError::NoNode) => (FeatureRecord { enabled: true, ..FeatureRecord::default() }, None),
            Err(problem) => return self.end(number, Err(problem), io),
            Ok(_) => return self.end(number, Err(ZkError::MarshallingError), io),
        };
        record.levels.extend(change.levels.clone());
        change.next = record.clone();
        let request = match version {
            Some(version) => set(paths::FEATURE, record.encode(), version),
            None => io.store.persistent(paths::FEATURE, Some(record.encode())),
        };
        io.store.ask(LevelAsk::Write(number), request);
    }

    fn on_written(&mut self, number: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(change) = self.changes.get_mut(&number) else { return };
        match result {
            Ok(_) => {
                let record = change.next.clone();
                self.learn(&record, io);
                self.end(number, Ok(()), io);
            }
            // Also if the first attempt was carried out and its answer lost.
            Err(ZkError::BadVersion | ZkError::NoNode | ZkError::NodeExists) if change.tries < TRIES => {
                change.tries += 1;
                io.store.ask(LevelAsk::ReadForChange(number), get(paths::FEATURE, false));
            }
            Err(problem) => self.end(number, Err(problem), io),
        }
    }

    fn end(&mut self, number: u64, outcome: Result<(), ZkError>, io: &mut Io<'_>) {
        if let Some(change) = self.changes.remove(&number) {
            io.answer(change.done, outcome);
        }
    }
}
