//! Producer ids for idempotent producers: hands them out of blocks that the controller allocates (KIP-730). Asks for the
//! next block before the current one is used up; never makes an id itself.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;
use thiserror::Error;

/// Requests that may wait for a block. More come only while the controller is away for long; they may ask again.
const MAX_WAITING: usize = 1000;
/// The next block is asked for when no more than this share of the current one is left: one in so many.
const PREFETCH_SHARE: i64 = 10;

/// No id can be had now; asking again later may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no producer ids: the controller allocates none now")]
pub struct NoProducerIds;

/// A block of producer ids is to be asked of the controller; the answer comes back through [`ProducerIds::on_block`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskForBlock;

/// Called with an id, once. It may encode and send; it must not call a machine.
pub type Done = Box<dyn FnOnce(Result<i64, NoProducerIds>) + Send>;

#[derive(Default)]
struct State {
    current: Range<i64>,
    /// Size of the current block.
    len: i64,
    next: Option<Range<i64>>,
    is_asking: bool,
    waiting: VecDeque<Done>,
}

/// The producer ids of this broker.
#[derive(Default)]
pub struct ProducerIds {
    state: Mutex<State>,
}

impl ProducerIds {
    /// Without a block.
    pub fn new() -> ProducerIds {
        ProducerIds::default()
    }

    /// The next id if there is one; otherwise `done` makes the closure that gets it.
    pub fn next(&self, done: impl FnOnce() -> Done) -> (Option<Result<i64, NoProducerIds>>, Option<AskForBlock>) {
        let mut state = self.state.lock();
        let id = match state.take() {
            Some(id) => Some(Ok(id)),
            None if state.waiting.len() >= MAX_WAITING => Some(Err(NoProducerIds)),
            None => {
                state.waiting.push_back(done());
                None
            }
        };
        (id, state.ask())
    }

    /// The controller's answer: a block, or `None` if it gave none.
    pub fn on_block(&self, block: Option<Range<i64>>) -> Option<AskForBlock> {
        let mut answers: Vec<(Done, Result<i64, NoProducerIds>)> = Vec::new();
        let ask = {
            let mut state = self.state.lock();
            state.is_asking = false;
            match block {
                Some(block) => {
                    state.next = Some(block);
                    while !state.waiting.is_empty()
                        && let Some(id) = state.take()
                    {
                        answers.extend(state.waiting.pop_front().map(|done| (done, Ok(id))));
                    }
                    state.ask()
                }
                None => {
                    answers
                        .extend(std::mem::take(&mut state.waiting).into_iter().map(|done| (done, Err(NoProducerIds))));
                    None
                }
            }
        };
        answers.into_iter().for_each(|(done, id)| done(id));
        ask
    }
}

impl State {
    fn take(&mut self) -> Option<i64> {
        if self.current.is_empty() {
            self.current = self.next.take()?;
            self.len = self.current.end - self.current.start;
        }
        self.current.next()
    }

    fn ask(&mut self) -> Option<AskForBlock> {
        let left = self.current.end - self.current.start;
        let is_low = left <= self.len / PREFETCH_SHARE;
        (is_low && self.next.is_none() && !std::mem::replace(&mut self.is_asking, true)).then_some(AskForBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    type Told = Arc<Mutex<Vec<Result<i64, NoProducerIds>>>>;

    fn next(ids: &ProducerIds, told: &Told) -> bool {
        let slot = told.clone();
        let (id, ask) = ids.next(|| Box::new(move |id| slot.lock().push(id)));
        told.lock().extend(id);
        ask.is_some()
    }

    #[test]
    fn ids_are_handed_out_once_and_blocks_are_asked_for_early() {
        let (ids, told) = (ProducerIds::new(), Told::default());
        assert!(next(&ids, &told));
        assert!(!next(&ids, &told), "asked already");
        assert!(told.lock().is_empty());
        assert_eq!(ids.on_block(Some(0..20)), None);
        assert_eq!(*told.lock(), [Ok(0), Ok(1)]);
        let asked: Vec<bool> = (2..20).map(|_| next(&ids, &told)).collect();
        assert_eq!(asked.iter().position(|asked| *asked), Some(15), "with two left");
        assert_eq!(asked.iter().filter(|asked| **asked).count(), 1);
        assert!(!next(&ids, &told));
        assert_eq!(ids.on_block(Some(100..101)), Some(AskForBlock), "one is soon used up");
        assert_eq!(told.lock().last(), Some(&Ok(100)));
        assert_eq!(told.lock().len(), 21);
    }

    #[test]
    fn who_waits_is_told_when_there_is_no_block() {
        let (ids, told) = (ProducerIds::new(), Told::default());
        next(&ids, &told);
        assert_eq!(ids.on_block(None), None);
        assert_eq!(*told.lock(), [Err(NoProducerIds)]);
        assert!(next(&ids, &told), "the next one asks again");
    }

    #[test]
    fn a_bounded_number_may_wait() {
        let (ids, told) = (ProducerIds::new(), Told::default());
        for _ in 0..=MAX_WAITING {
            next(&ids, &told);
        }
        assert_eq!(*told.lock(), [Err(NoProducerIds)]);
    }
}
