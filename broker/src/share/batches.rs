//! What is known of stretches of records, one list laid over another: where both say something, the higher delivery count
//! counts, and with equal counts the later state. Knows no log.

use super::StateBatch;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Lays `new` over `so_far` and drops what lies before `start_offset` (-1: nothing). The result is sorted, nothing in it
/// overlaps, and neighbours of which the same is known are one.
pub fn combine(so_far: &[StateBatch], new: &[StateBatch], start_offset: i64) -> Vec<StateBatch> {
    let mut batches: Vec<StateBatch> = Vec::with_capacity(so_far.len() + new.len());
    for batch in so_far.iter().chain(new) {
        if batch.last >= start_offset && batch.first <= batch.last {
            batches.push(StateBatch { first: batch.first.max(start_offset), ..*batch });
        }
    }
    batches.sort_by_key(|batch| batch.first);
    let is_disjoint = batches.windows(2).all(|pair| pair[0].last < pair[1].first);
    if is_disjoint { join(batches) } else { join(cut(&batches)) }
}

/// Cuts overlapping batches, sorted by their first offsets, at each end of another and keeps the strongest of each stretch.
fn cut(batches: &[StateBatch]) -> Vec<StateBatch> {
    let bounds: BTreeSet<i64> = batches.iter().flat_map(|batch| [batch.first, batch.last.saturating_add(1)]).collect();
    let bounds: Vec<i64> = bounds.into_iter().collect();
    let mut pieces = Vec::new();
    let (mut open, mut next): (Vec<StateBatch>, usize) = (Vec::new(), 0);
    for pair in bounds.windows(2) {
        let (first, end) = (pair[0], pair[1]);
        open.retain(|batch| batch.last >= first);
        while let Some(batch) = batches.get(next).filter(|batch| batch.first <= first) {
            open.push(*batch);
            next += 1;
        }
        // A later one wins over an equal one.
        if let Some(strongest) = open.iter().copied().reduce(|a, b| if strength(&b, &a).is_ge() { b } else { a }) {
            pieces.push(StateBatch { first, last: end - 1, ..strongest });
        }
    }
    pieces
}

fn strength(a: &StateBatch, b: &StateBatch) -> Ordering {
    (a.delivery_count, a.state).cmp(&(b.delivery_count, b.state))
}

fn join(batches: Vec<StateBatch>) -> Vec<StateBatch> {
    let mut joined: Vec<StateBatch> = Vec::with_capacity(batches.len());
    for batch in batches {
        match joined.last_mut() {
            Some(last)
                if last.last.checked_add(1) == Some(batch.first) && strength(last, &batch) == Ordering::Equal =>
            {
                last.last = batch.last;
            }
            _ => joined.push(batch),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::DeliveryState;

    /// `0-9:2x1` is offsets 0 to 9, acknowledged, delivered once.
    fn parse(text: &str) -> Vec<StateBatch> {
        let one = |word: &str| {
            let (range, what) = word.split_once(':').unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let (state, count) = what.split_once('x').unwrap();
            StateBatch {
                first: first.parse().unwrap(),
                last: last.parse().unwrap(),
                state: DeliveryState::from_code(state.parse().unwrap()).unwrap(),
                delivery_count: count.parse().unwrap(),
            }
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn lists_are_laid_over_each_other() {
        for (so_far, new, start, expected) in [
            ("", "", -1, ""),
            ("", "0-9:2x1", -1, "0-9:2x1"),
            ("0-9:2x1", "", 5, "5-9:2x1"),
            ("0-9:2x1", "", 10, ""),
            ("0-9:2x1", "10-19:2x1", -1, "0-19:2x1"),
            ("0-9:2x1", "10-19:2x2", -1, "0-9:2x1 10-19:2x2"),
            ("0-9:0x1", "0-9:2x2", -1, "0-9:2x2"),
            ("0-9:0x1", "5-5:2x1", -1, "0-4:0x1 5-5:2x1 6-9:0x1"),
            ("0-9:0x1 20-29:0x1", "5-24:4x3", -1, "0-4:0x1 5-24:4x3 25-29:0x1"),
            ("5-9:0x1", "0-7:4x2", -1, "0-7:4x2 8-9:0x1"),
            ("5-9:2x2", "0-14:0x1", -1, "0-4:0x1 5-9:2x2 10-14:0x1"),
            ("0-9:0x2", "0-9:0x1", -1, "0-9:0x2"),
            ("0-9:0x1", "0-4:2x1 5-9:4x1", 3, "3-4:2x1 5-9:4x1"),
            ("9-0:0x1", "0-1:0x1", -1, "0-1:0x1"),
        ] {
            assert_eq!(combine(&parse(so_far), &parse(new), start), parse(expected), "{so_far} | {new} | {start}");
        }
    }
}
