//! Which brokers hold the replicas of a partition: placement of new ones as Kafka places them, with racks, and the three
//! lists of a reassignment. Pure arithmetic; asks nobody who is alive.

use common::Rng;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Replicas of one partition, preferred leader first; while it is being reassigned (KIP-455) also which of them are new
/// and which will go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// All replicas, the wanted ones first.
    pub replicas: Vec<i32>,
    /// Those of `replicas` that a reassignment adds.
    pub adding: Vec<i32>,
    /// Those of `replicas` that a reassignment will remove.
    pub removing: Vec<i32>,
}

impl Assignment {
    /// An assignment that nothing is being done to.
    pub fn new(replicas: Vec<i32>) -> Assignment {
        Assignment { replicas, adding: Vec::new(), removing: Vec::new() }
    }

    /// True between the start and the end of a reassignment.
    pub fn is_being_reassigned(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas when the reassignment began.
    pub fn origin(&self) -> Vec<i32> {
        without(&self.replicas, &self.adding)
    }

    /// The replicas when the reassignment has ended.
    pub fn target(&self) -> Vec<i32> {
        without(&self.replicas, &self.removing)
    }

    /// The lists while moving from the original replicas to `target`.
    pub fn reassign_to(&self, target: &[i32]) -> Assignment {
        let origin = self.origin();
        let mut replicas: Vec<i32> = Vec::with_capacity(target.len() + origin.len());
        for &replica in target.iter().chain(&origin) {
            if !replicas.contains(&replica) {
                replicas.push(replica);
            }
        }
        Assignment { adding: without(&replicas, &origin), removing: without(&replicas, target), replicas }
    }
}

fn without(list: &[i32], unwanted: &[i32]) -> Vec<i32> {
    list.iter().copied().filter(|id| !unwanted.contains(id)).collect()
}

/// Why replicas cannot be placed; the texts are Kafka 3.9's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlacementError {
    /// No partition was asked for.
    #[error("Number of partitions must be larger than 0.")]
    NoPartitions,
    /// No replica was asked for.
    #[error("Replication factor must be larger than 0.")]
    NoReplicas,
    /// More replicas than brokers.
    #[error("Replication factor: {factor} larger than available brokers: {brokers}.")]
    TooFewBrokers {
        /// Replicas wanted.
        factor: i32,
        /// Brokers there are.
        brokers: usize,
    },
    /// Some brokers have a rack and others none.
    #[error("Not all brokers have rack information for replica rack aware assignment.")]
    RacksIncomplete,
}

/// Where the first replica of the first new partition goes, and which number it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A new topic: anywhere.
    Random,
    /// Partitions added to a topic: `index` is the place of its first leader among the brokers, `partition` the first new one.
    After {
        /// Index into the brokers.
        index: usize,
        /// First new partition.
        partition: i32,
    },
}

/// Replicas for `partitions` new partitions: leaders in turn, followers shifted by one more after each round, racks in
/// alternation if the brokers have them. `brokers` are id and rack, in the order of their ids.
pub fn place(
    brokers: &[(i32, Option<&str>)],
    partitions: i32,
    factor: i32,
    start: Start,
    rng: &mut Rng,
) -> Result<BTreeMap<i32, Vec<i32>>, PlacementError> {
    if partitions <= 0 {
        return Err(PlacementError::NoPartitions);
    }
    if factor <= 0 {
        return Err(PlacementError::NoReplicas);
    }
    if usize::try_from(factor).is_ok_and(|factor| factor > brokers.len()) {
        return Err(PlacementError::TooFewBrokers { factor, brokers: brokers.len() });
    }
    let racks = racks_of(brokers)?;
    let order = if racks.is_empty() { brokers.iter().map(|&(id, _)| id).collect() } else { alternate(&racks) };
    let count = order.len();
    let (index, first, mut shift) = match start {
        Start::Random => (rng.usize(..count), 0, rng.usize(..count)),
        Start::After { index, partition } => (index, usize::try_from(partition).unwrap_or(0), index),
    };
    let partitions = usize::try_from(partitions).unwrap_or(0);
    let factor = usize::try_from(factor).unwrap_or(0);
    let mut placed = BTreeMap::new();
    for partition in first..first + partitions {
        if partition > 0 && partition % count == 0 {
            shift += 1;
        }
        let leader = (partition + index) % count;
        let replicas = if racks.is_empty() {
            let followers = (0..factor - 1).map(|nth| order[follower(leader, shift, nth, count)]);
            std::iter::once(order[leader]).chain(followers).collect()
        } else {
            spread_over_racks(&order, &racks, leader, shift, factor)
        };
        placed.insert(i32::try_from(partition).unwrap_or(i32::MAX), replicas);
    }
    Ok(placed)
}

/// Rack by broker; empty if no broker has one.
fn racks_of<'a>(brokers: &[(i32, Option<&'a str>)]) -> Result<BTreeMap<i32, &'a str>, PlacementError> {
    let racks: BTreeMap<i32, &str> = brokers.iter().filter_map(|&(id, rack)| Some((id, rack?))).collect();
    if racks.is_empty() || racks.len() == brokers.len() { Ok(racks) } else { Err(PlacementError::RacksIncomplete) }
}

/// One broker of each rack in turn, racks by name and brokers by id.
fn alternate(racks: &BTreeMap<i32, &str>) -> Vec<i32> {
    let mut by_rack: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (&broker, &rack) in racks {
        by_rack.entry(rack).or_default().push(broker);
    }
    let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|turn| by_rack.values().filter_map(move |brokers| brokers.get(turn).copied())).collect()
}

/// Place of the nth follower: at least one after the leader.
fn follower(leader: usize, shift: usize, nth: usize, count: usize) -> usize {
    (leader + 1 + (shift + nth) % (count - 1).max(1)) % count
}

fn spread_over_racks(
    order: &[i32],
    racks: &BTreeMap<i32, &str>,
    leader: usize,
    shift: usize,
    factor: usize,
) -> Vec<i32> {
    let all_racks = racks.values().collect::<BTreeSet<_>>().len();
    let mut replicas = vec![order[leader]];
    let mut used_racks = BTreeSet::from([racks[&order[leader]]]);
    let mut nth = 0;
    while replicas.len() < factor {
        let broker = order[follower(leader, shift * all_racks, nth, order.len())];
        nth += 1;
        let rack = racks[&broker];
        let rack_is_free = !used_racks.contains(rack) || used_racks.len() == all_racks;
        if rack_is_free && !replicas.contains(&broker) {
            replicas.push(broker);
            used_racks.insert(rack);
        }
    }
    replicas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(racks: &[(i32, Option<&str>)], partitions: i32, factor: i32, start: Start, expected: &[&[i32]]) {
        let placed = place(racks, partitions, factor, start, &mut Rng::with_seed(1)).unwrap();
        assert_eq!(placed.into_values().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn followers_shift_after_each_round() {
        let five: Vec<_> = (0..5).map(|id| (id, None)).collect();
        check(
            &five,
            10,
            3,
            Start::After { index: 0, partition: 0 },
            &[
                &[0, 1, 2],
                &[1, 2, 3],
                &[2, 3, 4],
                &[3, 4, 0],
                &[4, 0, 1],
                &[0, 2, 3],
                &[1, 3, 4],
                &[2, 4, 0],
                &[3, 0, 1],
                &[4, 1, 2],
            ],
        );
        check(&[(7, None)], 2, 1, Start::Random, &[&[7], &[7]]);
        check(&five[..2], 2, 1, Start::After { index: 1, partition: 3 }, &[&[0], &[1]]);
    }

    #[test]
    fn racks_alternate_as_in_kafkas_documentation() {
        let racks = ["rack1", "rack3", "rack3", "rack2", "rack2", "rack1"];
        let brokers: Vec<_> = (0..).zip(racks).map(|(id, rack)| (id, Some(rack))).collect();
        let expected: &[&[i32]] = &[&[0, 3, 1], &[3, 1, 5], &[1, 5, 4], &[5, 4, 2], &[4, 2, 0], &[2, 0, 3], &[0, 4, 2]];
        check(&brokers, 7, 3, Start::After { index: 0, partition: 0 }, expected);
    }

    #[test]
    fn what_cannot_be_placed_is_refused_in_kafkas_words() {
        let three = [(0, None), (1, None), (2, None)];
        let mixed = [(0, None), (1, Some("a"))];
        let refused = |brokers: &[(i32, Option<&str>)], partitions, factor| {
            place(brokers, partitions, factor, Start::Random, &mut Rng::with_seed(1)).unwrap_err().to_string()
        };
        assert_eq!(refused(&three, 1, 4), "Replication factor: 4 larger than available brokers: 3.");
        assert_eq!(refused(&three, 0, 1), "Number of partitions must be larger than 0.");
        assert_eq!(refused(&three, 1, 0), "Replication factor must be larger than 0.");
        assert!(refused(&mixed, 1, 1).starts_with("Not all brokers have rack information"));
    }

    #[test]
    fn a_reassignment_keeps_both_ends() {
        let moving = Assignment::new(vec![1, 2, 3]).reassign_to(&[3, 4, 2]);
        assert_eq!(moving, Assignment { replicas: vec![3, 4, 2, 1], adding: vec![4], removing: vec![1] });
        assert_eq!(moving.origin(), [3, 2, 1]);
        assert_eq!(moving.target(), [3, 4, 2]);
        assert!(!moving.reassign_to(&moving.origin()).is_being_reassigned() || !moving.adding.is_empty());
    }
}
