//! The rules of one transactional id, decided from what is recorded of it: KIP-98, KIP-360 and both versions of KIP-890's
//! end of a transaction. Each decision is the next value to record, or why there is none. Changes nothing, waits for
//! nothing.

use super::TxnError;
use super::records::{NO_EPOCH, NO_PRODUCER_ID, Place, TxnState, TxnValue};
use common::mutants;
use std::collections::BTreeSet;

/// The last epoch but one: no client gets a later one, so that its coordinator can always fence it.
pub(super) const LAST_CLIENT_EPOCH: i16 = i16::MAX - 1;

/// Id and epoch of a producer.
pub type Producer = (i64, i16);

/// What is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// This is to be recorded.
    Record(TxnValue),
    /// The open transaction has to be aborted first, which this records; who asked comes again.
    AbortFirst(TxnValue),
    /// A new producer id is needed for the decision.
    NeedsProducerId,
    /// Nothing is left to be done.
    Done,
}

/// Wall time of the decision, and a producer id in case one is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub now_ms: i64,
    pub fresh_id: Option<i64>,
}

impl TxnValue {
    fn is_exhausted(&self) -> bool {
        self.producer_epoch >= LAST_CLIENT_EPOCH
    }

    fn producer(&self) -> Producer {
        (self.producer_id, self.producer_epoch)
    }

    /// The open transaction is aborted and its producer fenced, by a new instance of it or because of its timeout. The
    /// epoch is never given to a client.
    pub(super) fn fence(&self, now_ms: i64) -> TxnValue {
        TxnValue {
            state: TxnState::PrepareAbort,
            previous_producer_id: self.producer_id,
            producer_epoch: self.producer_epoch.saturating_add(1),
            last_producer_epoch: NO_EPOCH,
            last_update_timestamp: now_ms,
            ..self.clone()
        }
    }

    /// All markers are written.
    pub(super) fn complete(&self, now_ms: i64) -> TxnValue {
        let (producer_id, producer_epoch) = match self.next_producer_id {
            NO_PRODUCER_ID => self.producer(),
            next => (next, 0),
        };
        let state =
            if self.state == TxnState::PrepareCommit { TxnState::CompleteCommit } else { TxnState::CompleteAbort };
        TxnValue {
            state,
            producer_id,
            producer_epoch,
            previous_producer_id: self.producer_id,
            next_producer_id: NO_PRODUCER_ID,
            places: BTreeSet::new(),
            last_update_timestamp: now_ms,
            ..self.clone()
        }
    }

    /// Partitions join the transaction, which begins if there is none.
    pub(super) fn add(&self, producer: Producer, places: BTreeSet<Place>, now_ms: i64) -> Result<Decision, TxnError> {
        self.check_producer(producer)?;
        if self.state.prepared().is_some() {
            return Err(TxnError::Concurrent);
        }
        if self.state == TxnState::Ongoing && places.is_subset(&self.places) {
            return Ok(Decision::Done);
        }
        let is_new = self.state != TxnState::Ongoing;
        Ok(Decision::Record(TxnValue {
            state: TxnState::Ongoing,
            places: self.places.union(&places).cloned().collect(),
            start_timestamp: if is_new { now_ms } else { self.start_timestamp },
            previous_producer_id: self.producer_id,
            last_update_timestamp: now_ms,
            ..self.clone()
        }))
    }

    /// Refuses a producer that is not the current one.
    pub(super) fn check_producer(&self, (producer_id, epoch): Producer) -> Result<(), TxnError> {
        if self.producer_id != producer_id {
            return Err(TxnError::InvalidProducerIdMapping);
        }
        let is_current = self.producer_epoch == epoch || mutants::is_on("txn-epoch-not-checked");
        if is_current { Ok(()) } else { Err(TxnError::ProducerFenced) }
    }

    /// The end as clients of transaction.version 0 and 1 ask for it: the epoch stays.
    pub(super) fn end(&self, producer: Producer, is_commit: bool, now_ms: i64) -> Result<Decision, TxnError> {
        self.check_producer(producer)?;
        match (self.state, is_commit) {
            (TxnState::Ongoing, _) => Ok(Decision::Record(TxnValue {
                state: if is_commit { TxnState::PrepareCommit } else { TxnState::PrepareAbort },
                previous_producer_id: self.producer_id,
                last_update_timestamp: now_ms,
                client_version: 0,
                ..self.clone()
            })),
            (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) => Ok(Decision::Done),
            (TxnState::PrepareCommit | TxnState::PrepareAbort, _) => Err(TxnError::Concurrent),
            _ => Err(TxnError::InvalidTxnState),
        }
    }

    /// The end as clients of transaction.version 2 ask for it: each end has an epoch of its own, so that one that arrives
    /// late cannot decide on a later transaction (KIP-890, KAFKA-17754).
    pub(super) fn end_and_bump(
        &self,
        (producer_id, epoch): Producer,
        is_commit: bool,
        means: Means,
    ) -> Result<Decision, TxnError> {
        let was_rotated =
            self.previous_producer_id == producer_id && epoch == LAST_CLIENT_EPOCH && self.producer_epoch == 0;
        let was_bumped = self.client_version >= 2 && i32::from(self.producer_epoch) == i32::from(epoch) + 1;
        if self.producer_id != producer_id && !was_rotated {
            return Err(TxnError::InvalidProducerIdMapping);
        }
        let is_current = self.producer_epoch == epoch && self.producer_id == producer_id;
        let is_valid = match self.state {
            TxnState::Ongoing | TxnState::Empty => is_current,
            TxnState::PrepareCommit | TxnState::PrepareAbort => was_bumped,
            TxnState::CompleteCommit | TxnState::CompleteAbort => was_bumped || was_rotated || is_current,
        };
        if !is_valid && !mutants::is_on("txn-epoch-not-checked") {
            return Err(TxnError::ProducerFenced);
        }
        let is_repeated = was_bumped || was_rotated;
        match (self.state, is_commit) {
            (TxnState::PrepareCommit | TxnState::PrepareAbort, _) => Err(TxnError::Concurrent),
            (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) if is_repeated => Ok(Decision::Done),
            (TxnState::CompleteCommit | TxnState::CompleteAbort, _) if is_repeated => Err(TxnError::InvalidTxnState),
            // A client whose first record was refused does not know whether its transaction began.
            (TxnState::Ongoing, _) | (_, false) => Ok(self.ended(is_commit, means)),
            _ => Err(TxnError::InvalidTxnState),
        }
    }

    fn ended(&self, is_commit: bool, means: Means) -> Decision {
        let next_producer_id = match means.fresh_id {
            Some(id) if self.is_exhausted() => id,
            None if self.is_exhausted() => return Decision::NeedsProducerId,
            _ => NO_PRODUCER_ID,
        };
        let has_begun = self.state == TxnState::Ongoing;
        let bumps = !mutants::is_on("end-keeps-epoch");
        Decision::Record(TxnValue {
            state: if is_commit { TxnState::PrepareCommit } else { TxnState::PrepareAbort },
            producer_epoch: self.producer_epoch.saturating_add(i16::from(bumps)),
            last_producer_epoch: self.producer_epoch,
            previous_producer_id: self.producer_id,
            next_producer_id,
            start_timestamp: if has_begun { self.start_timestamp } else { means.now_ms },
            last_update_timestamp: means.now_ms,
            client_version: if bumps { 2 } else { 0 },
            ..self.clone()
        })
    }
}

/// A producer begins, or goes on after an error (`expected` is then what it has, KIP-360).
pub(super) fn init(
    known: Option<&TxnValue>,
    expected: Option<Producer>,
    timeout_ms: i32,
    means: Means,
) -> Result<Decision, TxnError> {
    let Some(value) = known else {
        let Some(producer_id) = means.fresh_id else { return Ok(Decision::NeedsProducerId) };
        return Ok(Decision::Record(TxnValue {
            producer_id,
            // The id it was given while nothing was known of it, as Kafka notes it.
            previous_producer_id: producer_id,
            next_producer_id: NO_PRODUCER_ID,
            producer_epoch: 0,
            last_producer_epoch: NO_EPOCH,
            timeout_ms,
            state: TxnState::Empty,
            places: BTreeSet::new(),
            start_timestamp: -1,
            last_update_timestamp: means.now_ms,
            client_version: 0,
        }));
    };
    let is_known = |(id, epoch): Producer| {
        id == value.producer_id || (id == value.previous_producer_id && epoch >= LAST_CLIENT_EPOCH)
    };
    if expected.is_some_and(|producer| !is_known(producer)) {
        return Err(TxnError::ProducerFenced);
    }
    match value.state {
        TxnState::PrepareCommit | TxnState::PrepareAbort => return Err(TxnError::Concurrent),
        TxnState::Ongoing => return Ok(Decision::AbortFirst(value.fence(means.now_ms))),
        TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort => {}
    }
    let is_at_end = value.is_exhausted() && expected.is_none_or(|(_, epoch)| epoch == value.producer_epoch);
    let (producer_id, producer_epoch, last_producer_epoch) = if is_at_end {
        let Some(id) = means.fresh_id else { return Ok(Decision::NeedsProducerId) };
        (id, 0, if expected.is_some() { value.producer_epoch } else { NO_EPOCH })
    } else {
        match expected {
            None => (value.producer_id, value.producer_epoch + 1, NO_EPOCH),
            Some((_, epoch)) if epoch == value.producer_epoch => {
                (value.producer_id, value.producer_epoch + 1, value.producer_epoch)
            }
            // It asks again, having missed the answer. Another producer would have cleared the last epoch.
            Some((_, epoch)) if epoch == value.last_producer_epoch => {
                (value.producer_id, value.producer_epoch, value.last_producer_epoch)
            }
            Some(_) => return Err(TxnError::ProducerFenced),
        }
    };
    Ok(Decision::Record(TxnValue {
        producer_id,
        previous_producer_id: value.producer_id,
        next_producer_id: NO_PRODUCER_ID,
        producer_epoch,
        last_producer_epoch,
        timeout_ms,
        state: TxnState::Empty,
        places: BTreeSet::new(),
        start_timestamp: -1,
        last_update_timestamp: means.now_ms,
        client_version: value.client_version,
    }))
}
