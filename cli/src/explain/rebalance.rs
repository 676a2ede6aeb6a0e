//! `castellan explain rebalance`: groups that are not settled, who is in them, who is waited for, and their coordinator.

use super::answer::{Answer, Finding, count};
use super::world::{State, World};
use crate::client::{Unsupported, check};
use crate::cluster::{Cluster, Target};
use crate::groups::wire;
use crate::java_order;
use clap::ArgMatches;
use common::kafka::error::ErrorCode;
use common::kafka::messages::consumer_group_describe::{Assignment, DescribedGroup};
use common::kafka::messages::{ConsumerGroupDescribeRequest, MetadataResponse};

/// Where groups are kept.
const OFFSETS: &str = "__consumer_offsets";

/// What of a group of the new protocol says how far it is.
#[derive(Clone, Debug, Default)]
struct Epochs {
    group: i32,
    assignment: i32,
    /// For each member its id, its epoch, and what it has to give up and still has to get.
    members: Vec<(String, i32, usize, usize)>,
}

/// The answer.
pub(super) fn explain(world: &mut World, matches: &ArgMatches) -> anyhow::Result<Answer> {
    let mut answer = Answer::default();
    let only = matches.get_one::<String>("group").cloned();
    let Some(metadata) = world.metadata() else { return Ok(answer) };
    let Some(groups) = named(world, only.as_deref()) else { return Ok(answer) };
    for id in &groups {
        let Some(group) = world.try_ask(|cluster| wire::describe(cluster, id)) else { break };
        match group {
            Err(error) => answer.findings.push(without_coordinator(world, id, &metadata, &format!("{error:#}"))),
            Ok(group) => {
                let epochs = world.try_ask(|cluster| epochs(cluster, id)).transpose()?.flatten();
                let settled = format!(
                    "group {id}: {}, {}, coordinator {}",
                    group.state,
                    count(group.members.len(), "member"),
                    group.coordinator
                );
                match judge(&group, epochs.as_ref()) {
                    None => answer.facts.push(settled),
                    Some(finding) => {
                        answer.findings.push(finding);
                        coordinator_since(world, id, &metadata, &mut answer);
                    }
                }
            }
        }
    }
    if groups.is_empty() {
        answer.facts.push("there is no group".to_owned());
    }
    Ok(answer)
}

/// The ids of the groups to look at.
pub(super) fn named(world: &mut World, only: Option<&str>) -> Option<Vec<String>> {
    if let Some(only) = only {
        return Some(vec![only.to_owned()]);
    }
    let list = world.ask(|cluster| wire::list(cluster, &[], &[]))?;
    let mut ids: Vec<String> = list.into_iter().map(|group| group.id).collect();
    ids.sort();
    Some(ids)
}

/// The epochs of a group of the new protocol; `None` for others.
fn epochs(cluster: &mut Cluster, id: &str) -> anyhow::Result<Option<Epochs>> {
    let request =
        |_| ConsumerGroupDescribeRequest { group_ids: vec![id.to_owned()], include_authorized_operations: false };
    let code = |group: Option<&DescribedGroup>| group.map_or(0, |group| group.error_code);
    let response = cluster.call(Target::Group(id), request, |response| code(response.groups.first()));
    let mut response = match response {
        Err(error) if error.is::<Unsupported>() => return Ok(None),
        response => response?,
    };
    let Some(group) = response.groups.pop() else { return Ok(None) };
    match check(group.error_code, group.error_message.as_deref()) {
        Err(error) if matches!(error.code, ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion) => {
            return Ok(None);
        }
        outcome => outcome?,
    }
    let members = group.members.into_iter().map(|member| {
        let missing = |of: &Assignment, from: &Assignment| {
            let has = |name: &str, index: i32| {
                from.topic_partitions.iter().any(|topic| topic.topic_name == name && topic.partitions.contains(&index))
            };
            let each = of
                .topic_partitions
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|index| (&topic.topic_name, *index)));
            each.filter(|(name, index)| !has(name, *index)).count()
        };
        let to_give = missing(&member.assignment, &member.target_assignment);
        let to_get = missing(&member.target_assignment, &member.assignment);
        (member.member_id, member.member_epoch, to_give, to_get)
    });
    Ok(Some(Epochs { group: group.group_epoch, assignment: group.assignment_epoch, members: members.collect() }))
}

/// What is wrong with a group that is not settled; `None` for one that is.
fn judge(group: &wire::Group, epochs: Option<&Epochs>) -> Option<Finding> {
    let (fact, cause, remedy) = match group.state.as_str() {
        "PreparingRebalance" => (
            "the coordinator waits for every member to join again",
            "a member joined, left, fell silent or subscribed to something else",
            "the ones it waits for are inside poll() or their handler: they have max.poll.interval.ms; shorten what they do \
             between polls, or give the group group.instance.id so that restarts do not rebalance it",
        ),
        "CompletingRebalance" => (
            "all members joined, and the one that leads has not sent the assignment yet",
            "the leading member (see its log) works it out, or is gone: then session.timeout.ms ends the wait",
            "see the member that joined first; it assigns",
        ),
        "Assigning" => ("the coordinator works out who reads what", "members or topics changed", "wait a moment"),
        "Reconciling" => (
            "members have not all given up or taken over their partitions yet",
            "a partition is given to its new member when the old one has let go of it",
            "see the members that are behind below; they have rebalance timeout (max.poll.interval.ms) to let go",
        ),
        _ => return None,
    };
    let mut why = vec![cause.to_owned()];
    if let Some(epochs) = epochs {
        why.push(format!("group epoch {}, epoch of the assignment {}", epochs.group, epochs.assignment));
    }
    let members = group.members.iter().map(|member| {
        let name = match member.instance_id.as_str() {
            "" => member.id.clone(),
            instance => format!("{} ({instance})", member.id),
        };
        let at = format!("{name} at {} has {}", member.host, count(member.partitions.len(), "partition"));
        let behind = epochs.and_then(|epochs| {
            let (_, epoch, give, get) = epochs.members.iter().find(|(id, ..)| *id == member.id)?;
            let waited = if *epoch < epochs.group || *give > 0 { ": waited for" } else { "" };
            Some(format!("{at}, epoch {epoch}, has to give up {give} and to get {get}{waited}"))
        });
        behind.unwrap_or(at)
    });
    Some(Finding {
        subject: format!("group {}", group.id),
        fact: format!("{} with {}: {fact}", group.state, count(group.members.len(), "member")),
        since_ms: None,
        affects: members.collect(),
        why: why.into_iter().chain([format!("coordinator: {}", group.coordinator)]).collect(),
        remedy: vec![remedy.to_owned()],
    })
}

/// The partition in which a group is kept: who leads that coordinates it.
fn home(group: &str, metadata: &MetadataResponse) -> Option<(i32, i32)> {
    let topic = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some(OFFSETS))?;
    let count = i32::try_from(topic.partitions.len()).ok().filter(|count| *count > 0)?;
    let index = (java_order::hash(group) & i32::MAX) % count;
    let leader = topic.partitions.iter().find(|partition| partition.partition_index == index)?.leader_id;
    Some((index, leader))
}

/// Tells since when the coordinator of a group is the one it is.
fn coordinator_since(world: &mut World, group: &str, metadata: &MetadataResponse, answer: &mut Answer) {
    let Some((index, _)) = home(group, metadata) else { return };
    let Some((data, stat)) = world.read(&format!("/brokers/topics/{OFFSETS}/partitions/{index}/state")) else { return };
    let Some(state) = State::parse(&data) else { return };
    let what =
        format!("{OFFSETS}-{index}, which holds group {group}: leader {}, in sync {:?}", state.leader, state.isr);
    answer.happened(stat.mzxid, Some(stat.mtime), what);
}

/// A group of which nobody can speak.
fn without_coordinator(world: &mut World, group: &str, metadata: &MetadataResponse, error: &str) -> Finding {
    let mut finding = Finding {
        subject: format!("group {group}"),
        fact: "its coordinator does not answer".to_owned(),
        why: vec![error.to_owned()],
        remedy: vec!["castellan explain under-replicated says what is wrong with the partitions".to_owned()],
        ..Finding::default()
    };
    if let Some((index, leader)) = home(group, metadata) {
        let state = world.read(&format!("/brokers/topics/{OFFSETS}/partitions/{index}/state"));
        finding.since_ms = state.map(|(_, stat)| stat.mtime);
        finding.why.push(format!("it is kept in {OFFSETS}-{index}, whose leader is {leader} (-1: none)"));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::{MetadataResponsePartition, MetadataResponseTopic};

    #[test]
    fn groups_that_are_settled_need_no_explanation() {
        let member = wire::Member {
            id: "m".to_owned(),
            instance_id: "i".to_owned(),
            client_id: "c".to_owned(),
            host: "/h".to_owned(),
            partitions: vec![("t".to_owned(), 0)],
        };
        let mut group = wire::Group {
            id: "g".to_owned(),
            state: String::new(),
            assignor: String::new(),
            members: vec![member],
            coordinator: "h:1  (1)".to_owned(),
        };
        let epochs = Epochs { group: 3, assignment: 3, members: vec![("m".to_owned(), 2, 1, 0)] };
        for (state, epochs, expected) in [
            ("Stable", None, None),
            ("Empty", None, None),
            ("Dead", None, None),
            ("PreparingRebalance", None, Some("m (i) at /h has 1 partition")),
            ("CompletingRebalance", None, Some("m (i) at /h has 1 partition")),
            (
                "Reconciling",
                Some(&epochs),
                Some("m (i) at /h has 1 partition, epoch 2, has to give up 1 and to get 0: waited for"),
            ),
        ] {
            state.clone_into(&mut group.state);
            let found = judge(&group, epochs);
            assert_eq!(found.as_ref().map(|found| found.affects[0].as_str()), expected, "{state}");
        }
    }

    #[test]
    fn a_group_lives_in_the_partition_of_its_hash() {
        let partition =
            |partition_index| MetadataResponsePartition { partition_index, leader_id: 7, ..Default::default() };
        let topic = MetadataResponseTopic {
            name: Some(OFFSETS.to_owned()),
            partitions: (0..50).map(partition).collect(),
            ..Default::default()
        };
        let metadata = MetadataResponse { topics: vec![topic], ..Default::default() };
        // Java's "readers".hashCode() is 1080410128.
        for (group, expected) in [("readers", 28), ("g", 3)] {
            assert_eq!(home(group, &metadata), Some((expected, 7)), "{group}");
        }
        assert_eq!(home("g", &MetadataResponse::default()), None);
    }
}
