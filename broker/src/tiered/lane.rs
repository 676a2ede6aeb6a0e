//! Work that may not crowd out other work: so much of it at a time, so much waiting, the rest refused. Runs nothing itself.

use std::collections::VecDeque;

/// See the top of the file.
#[derive(Debug)]
pub struct Lane<T> {
    width: usize,
    waiting_max: usize,
    running: usize,
    waiting: VecDeque<T>,
}

/// What becomes of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<T> {
    /// To be run now; [`Lane::finish`] is called when it is done.
    Run(T),
    /// Waits for another to be done.
    Waits,
    /// There is too much already.
    Refused(T),
}

impl<T> Lane<T> {
    /// `width` at a time, `waiting_max` behind them.
    pub fn new(width: usize, waiting_max: usize) -> Lane<T> {
        Lane { width: width.max(1), waiting_max, running: 0, waiting: VecDeque::new() }
    }

    /// A piece of work comes.
    pub fn enter(&mut self, work: T) -> Entry<T> {
        if self.running < self.width {
            self.running += 1;
            return Entry::Run(work);
        }
        if self.waiting.len() >= self.waiting_max {
            return Entry::Refused(work);
        }
        self.waiting.push_back(work);
        Entry::Waits
    }

    /// One is done; gives the next to be run.
    pub fn finish(&mut self) -> Option<T> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.running = self.running.saturating_sub(1);
        }
        next
    }

    /// How many wait, and how many run.
    pub fn load(&self) -> (usize, usize) {
        (self.waiting.len(), self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_run_some_wait_and_the_rest_is_refused() {
        let mut lane = Lane::new(2, 1);
        let entries: Vec<Entry<i32>> = (1..=4).map(|work| lane.enter(work)).collect();
        assert_eq!(entries, [Entry::Run(1), Entry::Run(2), Entry::Waits, Entry::Refused(4)]);
        assert_eq!((lane.finish(), lane.finish(), lane.load()), (Some(3), None, (0, 1)));
        assert_eq!((lane.enter(5), lane.enter(6)), (Entry::Run(5), Entry::Waits));
    }
}
