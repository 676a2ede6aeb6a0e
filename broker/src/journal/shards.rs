//! What a coordinator leads of its topic: a shard with its own lock for each partition, and how far each is with reading
//! what was recorded before it serves. Decides nothing.

use super::{Journal, LOAD_RETRY_MS, LoadError, StoreError};
use common::time::{Millis, Now};
use parking_lot::{ArcMutexGuard, Mutex, RawMutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::error;

/// A shard, locked.
pub(crate) type LockedShard<S> = ArcMutexGuard<RawMutex, S>;

/// The shards of the partitions that this broker leads, by partition.
pub(crate) struct Shards<S> {
    by_partition: RwLock<BTreeMap<i32, Arc<Mutex<S>>>>,
    /// Newest leader epoch heard of by partition, so that late news changes nothing.
    epochs: Mutex<BTreeMap<i32, i32>>,
}

impl<S> Default for Shards<S> {
    fn default() -> Shards<S> {
        Shards { by_partition: RwLock::default(), epochs: Mutex::default() }
    }
}

impl<S> Shards<S> {
    /// Puts in what `make` makes, and takes what was there before out with `unload`. False, and nothing is done, if the epoch
    /// is not newer than what was heard.
    pub(crate) fn begin(
        &self,
        partition: i32,
        epoch: i32,
        make: impl FnOnce() -> S,
        unload: impl FnOnce(&mut S),
    ) -> bool {
        {
            let mut epochs = self.epochs.lock();
            if epochs.get(&partition).is_some_and(|known| *known >= epoch) {
                return false;
            }
            epochs.insert(partition, epoch);
        }
        let before = self.by_partition.write().insert(partition, Arc::new(Mutex::new(make())));
        if let Some(before) = before {
            unload(&mut before.lock());
        }
        true
    }

    /// Takes a shard out with `unload`, unless a later epoch has begun; without epoch in any case.
    pub(crate) fn end(&self, partition: i32, epoch: Option<i32>, unload: impl FnOnce(&mut S)) {
        if let Some(epoch) = epoch {
            let mut epochs = self.epochs.lock();
            if epochs.get(&partition).is_some_and(|known| *known > epoch) {
                return;
            }
            epochs.insert(partition, epoch);
        }
        let shard = self.by_partition.write().remove(&partition);
        if let Some(shard) = shard {
            unload(&mut shard.lock());
        }
    }

    /// The shard of a partition, locked.
    pub(crate) fn lock(&self, partition: i32) -> Option<LockedShard<S>> {
        let shard = self.by_partition.read().get(&partition).cloned()?;
        Some(shard.lock_arc())
    }

    /// All shards, by partition; each is to be locked when it is its turn.
    pub(crate) fn all(&self) -> Vec<Arc<Mutex<S>>> {
        self.by_partition.read().values().cloned().collect()
    }

    /// Partitions that have a shard.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.by_partition.read().keys().copied().collect()
    }
}

/// Loading -> Serving when the partition is read and all of it is replicated, Loading -> Failed when it cannot be, and
/// Failed -> Loading to try again; Over from all when another broker leads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Loading,
    Serving,
    /// The partition could not be read.
    Failed {
        /// When to try again.
        retry_at: Millis,
    },
    /// Taken out of the table; whoever still holds it must not put anything in.
    Over,
}

/// How this broker leads a partition; `L` is what its records say.
pub(crate) struct Lead<L> {
    pub partition: i32,
    /// Leader epoch of the partition under which this broker leads it.
    pub epoch: i32,
    pub stage: Stage,
    /// What was read, up to this offset, and is not served before the high watermark is there: what another leader may
    /// not have is not to be told to anybody.
    loaded: Option<(i64, L)>,
}

impl<L> Lead<L> {
    pub(crate) fn new(partition: i32, epoch: i32) -> Lead<L> {
        Lead { partition, epoch, stage: Stage::Loading, loaded: None }
    }

    /// The partition was read for `epoch`, or could not be: `what` (`groups`) will be tried again then. The high watermark if
    /// [`Lead::serve`] may be called.
    pub(crate) fn on_read(
        &mut self,
        epoch: i32,
        read: Result<L, LoadError>,
        what: &str,
        (journal, now): (&dyn Journal, Now),
    ) -> Option<i64> {
        if self.epoch != epoch || self.stage != Stage::Loading {
            return None;
        }
        let partition = self.partition;
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(LoadError::Log(StoreError::NotLeader)) => return None,
            Err(problem) => {
                error!(partition, %problem, "{what} cannot be loaded; who asks for them is sent away until they can");
                self.stage = Stage::Failed { retry_at: now.mono + LOAD_RETRY_MS };
                return None;
            }
        };
        // Nobody appends to it while it is loading.
        let (_, end) = journal.bounds(partition)?;
        let high_watermark = journal.high_watermark(partition)?;
        self.loaded = Some((end, loaded));
        Some(high_watermark)
    }

    /// What was read, once all of it is replicated: it is served from now on.
    pub(crate) fn serve(&mut self, high_watermark: i64) -> Option<L> {
        if self.stage != Stage::Loading {
            return None;
        }
        let (_, loaded) = self.loaded.take_if(|(end, _)| *end <= high_watermark)?;
        self.stage = Stage::Serving;
        Some(loaded)
    }

    /// Another broker leads the partition.
    pub(crate) fn end(&mut self) {
        (self.stage, self.loaded) = (Stage::Over, None);
    }

    /// When a partition that could not be read is to be read again.
    pub(crate) fn retry_at(&self) -> Option<Millis> {
        match self.stage {
            Stage::Failed { retry_at } => Some(retry_at),
            Stage::Loading | Stage::Serving | Stage::Over => None,
        }
    }

    /// True if it serves. If it is to be read again, that is put on `loads`.
    pub(crate) fn tick(&mut self, now: Millis, loads: &mut Vec<(i32, i32)>) -> bool {
        if self.retry_at().is_some_and(|at| at <= now) {
            self.stage = Stage::Loading;
            loads.push((self.partition, self.epoch));
        }
        self.stage == Stage::Serving
    }
}
