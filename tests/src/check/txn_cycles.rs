//! No cycles among transactions, searched for as Elle does in histories of appends: who reads of another (wr) or begins after
//! it was told to have ended (real time) comes after it. That also holds for the order of their records in each partition
//! (ww), as far as one such step closes the cycle: a transaction reads before it writes.
//!
//! Not promised, in Kafka as here, and not looked for: cycles of several ww steps (G0), since transactions write to each
//! partition when they come there; and reads of several partitions at one moment (G-single across partitions), since each
//! partition gets its marker by itself. Within a partition, `committed_reads` shows G1a, G1b and G-single.

use super::txns_whole::{Places, committed, number, places};
use crate::sim::history::{History, Txn};
use crate::sim::world::Micros;
use common::id::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

/// Searches among the committed transactions.
pub fn check(history: &History) -> Result<(), String> {
    let places = places(history)?;
    let committed = committed(&places);
    let read_from = |reader: usize| -> BTreeSet<usize> {
        let values = history.txns[reader].consumed.iter().flat_map(|consumed| &consumed.values);
        values.filter_map(|(_, value)| number(value)).filter(|writer| committed.contains(writer)).collect()
    };
    let mut edges: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
    for reader in committed.iter().copied() {
        for writer in read_from(reader) {
            edges.entry(Node::Txn(writer)).or_default().push(Node::Txn(reader));
            order_agrees(history, &places, (writer, reader))?;
        }
    }
    add_real_time(history, &committed, &mut edges);
    if let Some(cycle) = find_cycle(&edges) {
        let txns = cycle.iter().filter_map(|node| if let Node::Txn(number) = node { Some(*number) } else { None });
        let told: Vec<(usize, &Txn)> = txns.map(|number| (number, &history.txns[number])).collect();
        return Err(format!("G1c, a cycle of transactions: {told:?}"));
    }
    log_agrees(history)
}

/// A transaction, or a moment when some had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Txn(usize),
    Moment(Micros),
}

/// Whoever begins after a moment comes after all that had ended by then.
fn add_real_time(history: &History, committed: &BTreeSet<usize>, edges: &mut BTreeMap<Node, Vec<Node>>) {
    let ended = |number: &usize| history.txns[*number].ended;
    let moments: BTreeSet<Micros> = committed.iter().filter_map(ended).collect();
    for (one, next) in moments.iter().zip(moments.iter().skip(1)) {
        edges.entry(Node::Moment(*one)).or_default().push(Node::Moment(*next));
    }
    for number in committed {
        if let Some(ended) = ended(number) {
            edges.entry(Node::Txn(*number)).or_default().push(Node::Moment(ended));
        }
        if let Some(before) = moments.range(..history.txns[*number].began).next_back() {
            edges.entry(Node::Moment(*before)).or_default().push(Node::Txn(*number));
        }
    }
}

/// Depth first, without recursion: the nodes of a cycle, if there is one.
fn find_cycle(edges: &BTreeMap<Node, Vec<Node>>) -> Option<Vec<Node>> {
    let mut done: BTreeSet<Node> = BTreeSet::new();
    for start in edges.keys() {
        let (mut path, mut on_path) = (vec![(*start, 0)], BTreeSet::from([*start]));
        if done.contains(start) {
            continue;
        }
        while let Some((node, at)) = path.last_mut() {
            let Some(next) = edges.get(node).and_then(|next| next.get(*at)).copied() else {
                on_path.remove(node);
                done.insert(*node);
                path.pop();
                continue;
            };
            *at += 1;
            if on_path.contains(&next) {
                return Some(path.iter().map(|(node, _)| *node).skip_while(|node| *node != next).collect());
            }
            if !done.contains(&next) {
                on_path.insert(next);
                path.push((next, 0));
            }
        }
    }
    None
}

/// The records of who was read stand before those of the reader.
fn order_agrees(history: &History, places: &Places<'_>, (writer, reader): (usize, usize)) -> Result<(), String> {
    let offsets = |number: usize| {
        let mut offsets: BTreeMap<&TopicPartition, Vec<i64>> = BTreeMap::new();
        for value in history.txns[number].appends.iter().flat_map(|(_, values)| values) {
            if let Some((partition, offset)) = places.get(&**value) {
                offsets.entry(partition).or_default().push(*offset);
            }
        }
        offsets
    };
    let of_reader = offsets(reader);
    for (partition, of_writer) in offsets(writer) {
        let first_of_reader = of_reader.get(partition).and_then(|offsets| offsets.iter().min());
        if first_of_reader.is_some_and(|first| of_writer.iter().any(|offset| offset > first)) {
            let (writer, reader) = (&history.txns[writer], &history.txns[reader]);
            return Err(format!("G1c, a cycle of two transactions in {partition}: {reader:?} has read of {writer:?}"));
        }
    }
    Ok(())
}

/// No record of a transaction stands behind one of another that began after it had ended.
fn log_agrees(history: &History) -> Result<(), String> {
    for (partition, log) in history.committed.get(&0).into_iter().flatten() {
        let mut first_ended: Option<(Micros, usize)> = None;
        for (offset, value) in log.iter().rev() {
            let Some((number, txn)) = number(value).and_then(|number| Some((number, history.txns.get(number)?))) else {
                continue;
            };
            if let Some((ended, other)) = first_ended.filter(|(ended, _)| *ended < txn.began) {
                return Err(format!(
                    "G1c, a cycle with real time in {partition}: transaction {number} at {offset} began after \
                     transaction {other} had ended at {ended} us, and stands before it: {txn:?}"
                ));
            }
            first_ended = first_ended.into_iter().chain(txn.ended.map(|ended| (ended, number))).min();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::txns_whole::tests::{consuming, history, txn};
    use super::*;
    use crate::sim::history::TxnOutcome::Committed;

    fn check_case(txns: Vec<Txn>, read: &[(u64, i32, i64, &str)], is_right: bool) {
        let found = check(&history(txns, read));
        assert_eq!(found.is_ok(), is_right, "{read:?}: {found:?}");
    }

    #[test]
    fn cycles_are_found() {
        let at_once = |number, reads: &[(i64, &str)]| {
            let txn = Txn { began: 0, ended: Some(100), ..txn(number, Committed) };
            consuming(txn, (0, 9), reads)
        };
        let log = [(0, 0, 0, "0/0"), (0, 1, 0, "0/1"), (0, 0, 1, "1/0"), (0, 1, 1, "1/1")];
        // One reads of the other.
        check_case(vec![at_once(0, &[]), at_once(1, &[(0, "0/0")])], &log, true);
        // Each reads of the other.
        check_case(vec![at_once(0, &[(1, "1/0")]), at_once(1, &[(0, "0/0")])], &log, false);
        // It reads of one that stands behind it.
        check_case(vec![at_once(0, &[(1, "1/0")]), at_once(1, &[])], &log, false);
        // Writes cross: G0, which Kafka does not exclude.
        let crossed = [(0, 0, 0, "0/0"), (0, 1, 1, "0/1"), (0, 0, 1, "1/0"), (0, 1, 0, "1/1")];
        check_case(vec![at_once(0, &[]), at_once(1, &[])], &crossed, true);
    }

    #[test]
    fn cycles_with_real_time_are_found() {
        let log = [(0, 0, 0, "0/0"), (0, 1, 4, "1/1")];
        // The first ended before the second began, and has read of it.
        let first = consuming(txn(0, Committed), (0, 9), &[(4, "1/1")]);
        check_case(vec![first, txn(1, Committed)], &log, false);
        check_case(vec![txn(0, Committed), txn(1, Committed)], &log, true);
        // And in the log it stands behind.
        let turned = [(0, 0, 1, "0/0"), (0, 0, 0, "1/0")];
        check_case(vec![txn(0, Committed), txn(1, Committed)], &turned, false);
    }

    #[test]
    fn longer_cycles_are_found() {
        let node = Node::Txn;
        let edges = |list: &[(usize, usize)]| {
            let mut edges: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
            for (from, to) in list {
                edges.entry(node(*from)).or_default().push(node(*to));
            }
            edges
        };
        assert_eq!(find_cycle(&edges(&[(0, 1), (1, 2), (0, 2), (2, 3)])), None);
        let cycle = find_cycle(&edges(&[(0, 1), (1, 2), (2, 3), (3, 1)])).unwrap();
        assert_eq!(cycle, [node(1), node(2), node(3)]);
    }
}
