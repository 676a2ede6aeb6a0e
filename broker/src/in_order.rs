//! Brings what was numbered under one lock, and carried away by several threads, back into the order of its numbers. Never
//! waits: whoever brings the next one hands on all that have come before their turn.

use std::collections::BTreeMap;

/// Numbers start at 0 and have no gap.
#[derive(Debug)]
pub(crate) struct InOrder<T> {
    next: u64,
    early: BTreeMap<u64, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> InOrder<T> {
        InOrder { next: 0, early: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    /// Hands on what has come and is next, in order.
    pub(crate) fn add(&mut self, number: u64, item: T, mut hand_on: impl FnMut(T)) {
        self.early.insert(number, item);
        while let Some(item) = self.early.remove(&self.next) {
            self.next += 1;
            hand_on(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_handed_on_without_gap_whatever_order_they_come_in() {
        let mut order = InOrder::default();
        let mut handed_on = Vec::new();
        for (number, so_far) in [(1, 0), (3, 0), (0, 2), (2, 4), (4, 5)] {
            order.add(number, number, |item| handed_on.push(item));
            assert_eq!(handed_on, (0..so_far).collect::<Vec<u64>>(), "after {number}");
        }
    }
}
