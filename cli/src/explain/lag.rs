//! `castellan explain lag`: how far groups are behind, partition by partition, and what holds each up.

use super::answer::{Answer, Finding, count};
use super::rebalance::named;
use super::world::{State, World};
use crate::groups::wire;
use crate::log_offsets::{self, LATEST, Partition};
use clap::ArgMatches;
use common::kafka::messages::MetadataResponse;
use std::collections::BTreeMap;

/// A partition of which a group has committed something.
#[derive(Clone, Debug, Default)]
struct Position {
    name: Partition,
    committed: i64,
    /// The end of the log; `None` if the leader did not tell.
    end: Option<i64>,
    /// -1: none; `None`: there is no such partition.
    leader: Option<i32>,
    /// Member id and host of who has it.
    reader: Option<(String, String)>,
}

/// Why nobody gets on with it. In the order in which they are to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    NoPartition,
    NoLeader,
    EndUnknown,
    Truncated,
    Rebalancing,
    NobodyReads,
    NotAssigned,
    Slow,
}

impl Position {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed).max(0))
    }

    /// The one thing that holds it up; `None` if it is less than `least` behind.
    fn cause(&self, state: &str, members: usize, least: i64) -> Option<Cause> {
        match (self.leader, self.end) {
            (None, _) => return Some(Cause::NoPartition),
            (Some(..0), _) => return Some(Cause::NoLeader),
            (_, None) => return Some(Cause::EndUnknown),
            (_, Some(end)) if end < self.committed => return Some(Cause::Truncated),
            _ => {}
        }
        if self.lag().is_none_or(|lag| lag < least) {
            return None;
        }
        Some(match state {
            "PreparingRebalance" | "CompletingRebalance" | "Assigning" => Cause::Rebalancing,
            _ if members == 0 => Cause::NobodyReads,
            _ if self.reader.is_none() => Cause::NotAssigned,
            _ => Cause::Slow,
        })
    }

    fn line(&self) -> String {
        let shown = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let leader = match self.leader {
            None => "there is no such partition".to_owned(),
            Some(..0) => "without leader".to_owned(),
            Some(id) => format!("leader {id}"),
        };
        let reader = self
            .reader
            .as_ref()
            .map_or_else(|| "no member has it".to_owned(), |(id, host)| format!("{id} at {host} has it"));
        let (topic, index) = &self.name;
        format!(
            "{topic}-{index}: committed {}, end {}, lag {}; {leader}; {reader}",
            self.committed,
            shown(self.end),
            shown(self.lag())
        )
    }
}

/// The answer.
pub(super) fn explain(world: &mut World, matches: &ArgMatches) -> anyhow::Result<Answer> {
    let mut answer = Answer::default();
    let least = matches.get_one::<i64>("least").copied().unwrap_or(1);
    let only = matches.get_one::<String>("group").cloned();
    let Some(metadata) = world.metadata() else { return Ok(answer) };
    let Some(groups) = named(world, only.as_deref()) else { return Ok(answer) };
    for id in &groups {
        let looked = world.try_ask(|cluster| anyhow::Ok((wire::describe(cluster, id)?, wire::committed(cluster, id)?)));
        match looked {
            None => break,
            Some(Err(error)) => answer.findings.push(Finding {
                subject: format!("group {id}"),
                fact: "its coordinator does not answer".to_owned(),
                why: vec![format!("{error:#}")],
                remedy: vec!["castellan explain rebalance says more of the coordinator".to_owned()],
                ..Finding::default()
            }),
            Some(Ok((group, committed))) => {
                let positions = positions(world, &group, &committed, &metadata);
                let found = judge(&group, &positions, least);
                let members = count(group.members.len(), "member");
                answer.facts.push(format!("group {id}: {}, {members}, lag {}", group.state, total(positions.iter())));
                answer.findings.extend(found);
                leaders(world, &positions, &mut answer);
            }
        }
    }
    if groups.is_empty() {
        answer.facts.push("there is no group".to_owned());
    }
    Ok(answer)
}

fn positions(
    world: &mut World,
    group: &wire::Group,
    committed: &BTreeMap<Partition, i64>,
    metadata: &MetadataResponse,
) -> Vec<Position> {
    let mut positions: Vec<Position> = Vec::new();
    for (name, committed) in committed {
        let topic = metadata.topics.iter().find(|topic| topic.name.as_ref() == Some(&name.0));
        let leader = topic.and_then(|topic| topic.partitions.iter().find(|one| one.partition_index == name.1));
        let live = |id: i32| if metadata.brokers.iter().any(|broker| broker.node_id == id) { id } else { -1 };
        let member = group.members.iter().find(|member| member.partitions.contains(name));
        positions.push(Position {
            name: name.clone(),
            committed: *committed,
            end: None,
            leader: leader.map(|partition| live(partition.leader_id)),
            reader: member.map(|member| (member.id.clone(), member.host.clone())),
        });
    }
    // A leader that is away would be waited for.
    let led: Vec<Partition> = positions
        .iter()
        .filter(|position| position.leader.is_some_and(|leader| leader >= 0))
        .map(|position| position.name.clone())
        .collect();
    let ends = world.try_ask(|cluster| log_offsets::at(cluster, &led, LATEST)).and_then(Result::ok).unwrap_or_default();
    for position in &mut positions {
        position.end = ends.get(&position.name).and_then(|end| end.as_ref().ok().copied());
    }
    positions
}

/// One finding for each cause, with the partitions that it holds up.
fn judge(group: &wire::Group, positions: &[Position], least: i64) -> Vec<Finding> {
    let mut grouped: BTreeMap<Cause, Vec<&Position>> = BTreeMap::new();
    for position in positions {
        if let Some(cause) = position.cause(&group.state, group.members.len(), least) {
            grouped.entry(cause).or_default().push(position);
        }
    }
    let finding = |(cause, positions): (Cause, Vec<&Position>)| {
        let (why, remedy) = words(cause);
        let behind = match total(positions.iter().copied()).as_str() {
            "?" => "nobody knows how far behind".to_owned(),
            "1" => "1 record behind".to_owned(),
            known => format!("{known} records behind"),
        };
        Finding {
            subject: format!("group {}", group.id),
            fact: format!("{behind} in {}; it is {}", count(positions.len(), "partition"), group.state),
            since_ms: None,
            why: vec![why.to_owned(), format!("coordinator: {}", group.coordinator)],
            remedy: vec![remedy.to_owned()],
            affects: positions.iter().map(|position| position.line()).collect(),
        }
    };
    grouped.into_iter().map(finding).collect()
}

/// All lag together, as far as it is known.
fn total<'a>(positions: impl Iterator<Item = &'a Position>) -> String {
    let lags: Vec<Option<i64>> = positions.map(Position::lag).collect();
    let known: i64 = lags.iter().flatten().sum();
    match lags.iter().filter(|lag| lag.is_none()).count() {
        0 => known.to_string(),
        unknown if unknown == lags.len() => "?".to_owned(),
        unknown => format!("{known} and ? of {}", count(unknown, "partition")),
    }
}

fn words(cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::NoPartition => (
            "the partition does not exist any more: its topic was deleted",
            "forget the offsets: kafka-consumer-groups --delete-offsets",
        ),
        Cause::NoLeader => (
            "the partition has no leader, so nobody can read it",
            "castellan explain under-replicated says which brokers are missing and why",
        ),
        Cause::EndUnknown => (
            "the leader does not say where the log ends",
            "castellan explain under-replicated says whether the leader can be reached",
        ),
        Cause::Truncated => (
            "the group has committed more than there is: the topic was made anew, or records were lost",
            "readers go by auto.offset.reset; kafka-consumer-groups --reset-offsets sets the place",
        ),
        Cause::Rebalancing => {
            ("nobody reads while the group rebalances", "castellan explain rebalance says who is waited for")
        }
        Cause::NobodyReads => (
            "the group has no members",
            "start its readers; if it is not used any more, kafka-consumer-groups --delete",
        ),
        Cause::NotAssigned => (
            "the group has members and none of them has the partition",
            "see whether they subscribe to the topic; members with partitions assigned by hand do not share with others",
        ),
        Cause::Slow => (
            "the members that have the partitions read or commit slower than is produced",
            "see the named hosts; add members if there are fewer than partitions; ask again to see whether it shrinks",
        ),
    }
}

/// Since when partitions without a leader are so.
fn leaders(world: &mut World, positions: &[Position], answer: &mut Answer) {
    for position in positions.iter().filter(|position| position.leader.is_some_and(|leader| leader < 0)) {
        let (topic, index) = &position.name;
        let Some((data, stat)) = world.read(&format!("/brokers/topics/{topic}/partitions/{index}/state")) else {
            continue;
        };
        let Some(state) = State::parse(&data) else { continue };
        let what = format!("{topic}-{index}: leader {}, in sync {:?}", state.leader, state.isr);
        answer.happened(stat.mzxid, Some(stat.mtime), what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_group_up() {
        let at = |end, leader, has_reader: bool| Position {
            name: ("t".to_owned(), 0),
            committed: 10,
            end,
            leader,
            reader: has_reader.then(|| ("m".to_owned(), "/h".to_owned())),
        };
        for (position, state, members, expected) in [
            (at(Some(10), Some(1), true), "Stable", 1, None),
            (at(Some(12), Some(1), true), "Stable", 1, None),
            (at(Some(13), Some(1), true), "Stable", 1, Some(Cause::Slow)),
            (at(Some(13), Some(1), false), "Stable", 1, Some(Cause::NotAssigned)),
            (at(Some(13), Some(1), false), "Empty", 0, Some(Cause::NobodyReads)),
            (at(Some(13), Some(1), false), "PreparingRebalance", 2, Some(Cause::Rebalancing)),
            (at(Some(9), Some(1), true), "Stable", 1, Some(Cause::Truncated)),
            (at(None, Some(1), true), "Stable", 1, Some(Cause::EndUnknown)),
            (at(None, Some(-1), true), "Stable", 1, Some(Cause::NoLeader)),
            (at(None, None, false), "Empty", 0, Some(Cause::NoPartition)),
        ] {
            assert_eq!(position.cause(state, members, 3), expected, "{position:?}");
        }
        let (known, unknown) = (at(Some(13), Some(1), true), at(None, Some(-1), true));
        for (positions, expected) in [
            (vec![], "0"),
            (vec![&known, &known], "6"),
            (vec![&unknown], "?"),
            (vec![&known, &unknown], "3 and ? of 1 partition"),
        ] {
            assert_eq!(total(positions.into_iter()), expected);
        }
        let line = known.line();
        assert_eq!(line, "t-0: committed 10, end 13, lag 3; leader 1; m at /h has it");
    }
}
