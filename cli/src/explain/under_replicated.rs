//! `castellan explain under-replicated`: for each replica that is not in sync the one cause that keeps it out.

use super::answer::{Answer, Finding};
use super::world::{Registration, State, World, broker_address, reach, since};
use crate::cluster::Target;
use crate::log_offsets::Partition;
use crate::{client, log_dirs};
use common::kafka::messages::{ListPartitionReassignmentsRequest, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};

/// Of so many partitions the earlier states are read, each of which is a request.
const WITH_PAST: usize = 100;
/// Of the partitions whose states changed together so many are named.
const NAMED: usize = 3;

/// A partition that has fewer replicas in sync than assigned.
#[derive(Clone, Debug, Default)]
struct Lacking {
    name: Partition,
    leader: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    /// Those that the brokers say are offline.
    offline: Vec<i32>,
    /// Replicas that a reassignment adds.
    adding: Vec<i32>,
    /// Since when each replica is out, as far as the coordinators tell.
    out_since: BTreeMap<i32, i64>,
}

impl Lacking {
    fn out(&self) -> impl Iterator<Item = i32> {
        self.replicas.iter().copied().filter(|id| !self.in_sync.contains(id))
    }

    fn line(&self, broker: i32) -> String {
        let leader = if self.leader < 0 { "none".to_owned() } else { self.leader.to_string() };
        let since = self
            .out_since
            .get(&broker)
            .map_or_else(String::new, |ms| format!(", out since {}", crate::clock::log_time_of(*ms)));
        format!(
            "{}-{}: in sync {:?} of {:?}, leader {leader}{since}",
            self.name.0, self.name.1, self.in_sync, self.replicas
        )
    }
}

/// What is known of a broker that lacks.
#[derive(Clone, Debug, Default)]
struct Suspect {
    /// The coordinators could be asked.
    is_known: bool,
    /// When it registered, and by which session.
    registered: Option<(i64, i64)>,
    /// The zxid of its registration.
    czxid: i64,
    /// When it had registered the last time, and the zxid with which that ended.
    left: Option<(i64, i64)>,
    /// Why it cannot be reached.
    unreachable: Option<String>,
    /// Its directories that are offline.
    dead_dirs: Vec<String>,
    /// Bytes of each of its replicas.
    sizes: BTreeMap<Partition, i64>,
    /// How many bytes each of its replicas has less than the leader.
    behind: BTreeMap<Partition, i64>,
    /// Bytes a second to which its fetching is held.
    throttle: Option<String>,
    /// Partitions of it for which the throttle holds.
    throttled: BTreeSet<Partition>,
}

/// The one thing that keeps a replica out of sync. In the order in which they are to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    NotRegistered,
    Unreachable,
    DirectoryOffline,
    NoLeader,
    Throttled,
    Reassigning,
    Behind,
    Unknown,
}

fn cause(partition: &Lacking, broker: i32, suspect: &Suspect) -> Cause {
    let has_log = suspect.sizes.contains_key(&partition.name);
    if suspect.is_known && suspect.registered.is_none() {
        Cause::NotRegistered
    } else if suspect.unreachable.is_some() {
        Cause::Unreachable
    } else if partition.offline.contains(&broker) || (!has_log && !suspect.dead_dirs.is_empty()) {
        Cause::DirectoryOffline
    } else if partition.leader < 0 {
        Cause::NoLeader
    } else if suspect.throttled.contains(&partition.name) {
        Cause::Throttled
    } else if partition.adding.contains(&broker) {
        Cause::Reassigning
    } else if suspect.behind.get(&partition.name).is_some_and(|bytes| *bytes > 0) {
        Cause::Behind
    } else {
        Cause::Unknown
    }
}

/// The answer.
pub(super) fn explain(world: &mut World) -> anyhow::Result<Answer> {
    let mut answer = Answer::default();
    let Some(metadata) = world.metadata() else {
        without_brokers(world, &mut answer);
        return Ok(answer);
    };
    let mut lacking = lacking(world, &metadata);
    look_back(world, &mut lacking, &mut answer);
    let registrations = world.registrations();
    let away: BTreeSet<i32> = lacking.iter().flat_map(|partition| partition.out().collect::<Vec<_>>()).collect();
    let mut suspects = BTreeMap::new();
    for broker in away {
        let address = registrations.get(&broker).map(|found| found.address.clone());
        let address = broker_address(&metadata, broker).or(address);
        suspects.insert(broker, suspect(world, broker, registrations.get(&broker), address, &lacking));
    }
    measure(world, &lacking, &mut suspects);
    for (broker, suspect) in &suspects {
        tell_life(*broker, suspect, &mut answer);
    }
    let start = world.start_command.clone();
    answer.findings = findings(&lacking, &suspects, start.as_deref());
    let partitions: usize = metadata.topics.iter().map(|topic| topic.partitions.len()).sum();
    let there: Vec<i32> = match world.has_coordinators() {
        true => registrations.keys().copied().collect(),
        false => metadata.brokers.iter().map(|broker| broker.node_id).collect(),
    };
    let count = lacking.len();
    answer
        .facts
        .push(format!("{count} of {partitions} partitions lack replicas in sync; brokers that are there: {there:?}"));
    Ok(answer)
}

/// Nobody answers for the partitions; what is known of the brokers is why.
fn without_brokers(world: &mut World, answer: &mut Answer) {
    for (id, Registration { address, stat }) in world.registrations() {
        let state = reach(&address, &world.security()).err().unwrap_or_else(|| "answers there".to_owned());
        answer.facts.push(format!("broker {id} is registered at {address}: {state}"));
        answer.happened(stat.czxid, Some(stat.ctime), format!("broker {id} registered"));
    }
    if world.has_coordinators() && answer.facts.is_empty() {
        answer.facts.push("no broker is registered".to_owned());
    }
}

fn lacking(world: &mut World, metadata: &MetadataResponse) -> Vec<Lacking> {
    let mut found = Vec::new();
    for topic in &metadata.topics {
        for partition in
            topic.partitions.iter().filter(|one| one.isr_nodes.len() < one.replica_nodes.len() || one.leader_id < 0)
        {
            found.push(Lacking {
                name: (topic.name.clone().unwrap_or_default(), partition.partition_index),
                leader: partition.leader_id,
                replicas: partition.replica_nodes.clone(),
                in_sync: partition.isr_nodes.clone(),
                offline: partition.offline_replicas.clone(),
                ..Lacking::default()
            });
        }
    }
    // What users made stands before what is the brokers' own.
    found.sort_by(|a, b| (a.name.0.starts_with("__"), &a.name).cmp(&(b.name.0.starts_with("__"), &b.name)));
    if found.is_empty() {
        return found;
    }
    let request = |_| ListPartitionReassignmentsRequest { topics: None, ..Default::default() };
    let moves = world.try_ask(|cluster| cluster.call(Target::Controller, request, |response| response.error_code));
    for topic in moves.and_then(Result::ok).map(|response| response.topics).unwrap_or_default() {
        for moving in topic.partitions {
            let name = (topic.name.clone(), moving.partition_index);
            if let Some(partition) = found.iter_mut().find(|partition| partition.name == name) {
                partition.adding = moving.adding_replicas;
            }
        }
    }
    found
}

/// Reads from the znodes since when the replicas are out. The brokers' word is hearsay of the state there.
fn look_back(world: &mut World, lacking: &mut [Lacking], answer: &mut Answer) {
    // The controller writes many states in one transaction.
    let mut writes: BTreeMap<(i64, i64, i64, Vec<i32>), Vec<String>> = BTreeMap::new();
    for (index, partition) in lacking.iter_mut().enumerate() {
        let (topic, number) = &partition.name;
        let path = format!("/brokers/topics/{topic}/partitions/{number}/state");
        let Some((data, stat)) = world.read(&path) else { continue };
        let Some(state) = State::parse(&data) else { continue };
        partition.in_sync.clone_from(&state.isr);
        let past = if index < WITH_PAST { world.past(&path) } else { Vec::new() };
        for broker in partition.replicas.iter().filter(|id| !state.isr.contains(id)) {
            let is_out = |data: &[u8]| State::parse(data).is_some_and(|state| !state.isr.contains(broker));
            let since = since(&past, is_out).map_or(stat.mtime, |(ms, _)| ms);
            partition.out_since.insert(*broker, since);
        }
        let at = |state: &State, zxid, ms| (zxid, ms, state.leader, state.isr.clone());
        writes.entry(at(&state, stat.mzxid, stat.mtime)).or_default().push(format!("{topic}-{number}"));
        for value in past.iter().skip(1).take(3) {
            if let Some(state) = State::parse(value.data.as_deref().unwrap_or_default()) {
                writes.entry(at(&state, value.mzxid, value.mtime)).or_default().push(format!("{topic}-{number}"));
            }
        }
    }
    for ((zxid, ms, leader, isr), names) in writes {
        let more = names.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = names[..names.len().min(NAMED)].join(", ");
        answer.happened(zxid, Some(ms), format!("{names}{more}: leader {leader}, in sync {isr:?}"));
    }
}

fn suspect(
    world: &mut World,
    broker: i32,
    registration: Option<&Registration>,
    address: Option<String>,
    lacking: &[Lacking],
) -> Suspect {
    let mut suspect = Suspect { is_known: world.has_coordinators(), ..Suspect::default() };
    suspect.registered = registration.map(|found| (found.stat.ctime, found.stat.ephemeral_owner));
    suspect.czxid = registration.map_or(0, |found| found.stat.czxid);
    if registration.is_none() {
        let past = world.past(&format!("/brokers/ids/{broker}"));
        suspect.left = past.first().filter(|value| value.is_removed).map(|value| (value.mtime, value.until));
    }
    match address {
        Some(address) => suspect.unreachable = reach(&address, &world.security()).err(),
        None => suspect.unreachable = Some("nobody says where it is".to_owned()),
    }
    if suspect.unreachable.is_none() {
        look_into_dirs(world, broker, &mut suspect);
    }
    let rate = "follower.replication.throttled.rate";
    let settings = world.settings(&format!("brokers/{broker}"));
    let default = if settings.contains_key(rate) { settings } else { world.settings("brokers/<default>") };
    suspect.throttle = default.get(rate).cloned();
    if suspect.throttle.is_some() {
        for partition in lacking.iter().filter(|partition| partition.replicas.contains(&broker)) {
            let held = world.settings(&format!("topics/{}", partition.name.0));
            let held = held.get("follower.replication.throttled.replicas").map(String::as_str).unwrap_or_default();
            if is_held(held, partition.name.1, broker) {
                suspect.throttled.insert(partition.name.clone());
            }
        }
    }
    suspect
}

/// Does the setting `partition:broker,...` or `*` name this replica?
fn is_held(setting: &str, partition: i32, broker: i32) -> bool {
    setting == "*" || setting.split(',').any(|replica| replica.trim() == format!("{partition}:{broker}"))
}

fn look_into_dirs(world: &mut World, broker: i32, suspect: &mut Suspect) {
    let Some(Ok(response)) = world.try_ask(|cluster| log_dirs::describe(cluster, broker)) else { return };
    for dir in response.results {
        if let Err(error) = client::check(dir.error_code, None) {
            suspect.dead_dirs.push(format!("{}: {}", dir.log_dir, error.message));
        }
        for topic in dir.topics {
            for partition in topic.partitions.iter().filter(|partition| !partition.is_future_key) {
                suspect.sizes.insert((topic.name.clone(), partition.partition_index), partition.partition_size);
            }
        }
    }
}

/// Compares the replicas with those of the leaders. What brokers tell of their own lag is what they know to be committed.
fn measure(world: &mut World, lacking: &[Lacking], suspects: &mut BTreeMap<i32, Suspect>) {
    let is_open = |partition: &&Lacking| {
        let has_log = |id: i32| suspects.get(&id).is_some_and(|suspect| suspect.sizes.contains_key(&partition.name));
        partition.leader >= 0 && partition.out().any(has_log)
    };
    let open: Vec<&Lacking> = lacking.iter().filter(is_open).collect();
    let leaders: BTreeSet<i32> = open.iter().map(|partition| partition.leader).collect();
    for leader in leaders {
        let mut of_leader = Suspect::default();
        look_into_dirs(world, leader, &mut of_leader);
        for partition in open.iter().filter(|partition| partition.leader == leader) {
            let Some(whole) = of_leader.sizes.get(&partition.name) else { continue };
            for broker in partition.out() {
                let Some(suspect) = suspects.get_mut(&broker) else { continue };
                if let Some(size) = suspect.sizes.get(&partition.name) {
                    suspect.behind.insert(partition.name.clone(), (whole - size).max(0));
                }
            }
        }
    }
}

fn tell_life(broker: i32, suspect: &Suspect, answer: &mut Answer) {
    if let Some((ms, session)) = suspect.registered {
        answer.happened(suspect.czxid, Some(ms), format!("broker {broker} registered, session {session:#x}"));
    }
    if let Some((registered_ms, zxid)) = suspect.left {
        let was = crate::clock::log_time_of(registered_ms);
        answer.happened(zxid, None, format!("the registration of broker {broker} ended (it was there since {was})"));
    }
}

/// One finding for each broker and cause, with the partitions that suffer from it.
fn findings(lacking: &[Lacking], suspects: &BTreeMap<i32, Suspect>, start: Option<&str>) -> Vec<Finding> {
    let mut grouped: BTreeMap<(Cause, i32), Vec<&Lacking>> = BTreeMap::new();
    for partition in lacking {
        for broker in partition.out() {
            let Some(suspect) = suspects.get(&broker) else { continue };
            grouped.entry((cause(partition, broker, suspect), broker)).or_default().push(partition);
        }
    }
    let finding = |((cause, broker), partitions): ((Cause, i32), Vec<&Lacking>)| {
        let suspect = &suspects[&broker];
        let (fact, why, remedy) = words(cause, broker, suspect, &partitions, start);
        let out_since = partitions.iter().filter_map(|partition| partition.out_since.get(&broker).copied()).min();
        Finding {
            subject: format!("broker {broker}"),
            fact,
            since_ms: out_since,
            why,
            remedy: vec![remedy],
            affects: partitions.iter().map(|partition| partition.line(broker)).collect(),
        }
    };
    grouped.into_iter().map(finding).collect()
}

fn words(
    cause: Cause,
    broker: i32,
    suspect: &Suspect,
    partitions: &[&Lacking],
    start: Option<&str>,
) -> (String, Vec<String>, String) {
    let session = suspect.registered.map(|(ms, session)| {
        format!("it is registered since {} by session {session:#x}", crate::clock::log_time_of(ms))
    });
    let reach = suspect.unreachable.clone();
    let start = || start.map_or_else(|| format!("start broker {broker}; its log says why it ended"), str::to_owned);
    let behind: i64 = partitions.iter().filter_map(|partition| suspect.behind.get(&partition.name)).sum();
    let throttle = suspect.throttle.clone().unwrap_or_default();
    let (fact, why, remedy) = match cause {
        Cause::NotRegistered => {
            let left = suspect.left.map(|(_, zxid)| format!("its registration ended with zxid {zxid:#x}"));
            // A port that takes connections belongs to a process that is there.
            let is_there = reach.as_ref().is_some_and(|why| why.contains("takes connections"));
            let remedy = match is_there {
                true => "its process is there: see whether it is paused, or cut off from the coordinators".to_owned(),
                false => start(),
            };
            let fact = "it is not registered with the coordinators: it is stopped, dead or cut off";
            (fact.to_owned(), vec![left, reach], remedy)
        }
        Cause::Unreachable if reach.as_ref().is_some_and(|why| why.contains("refused")) => (
            "its port refuses: the process is gone, and its session has not ended yet".to_owned(),
            vec![session, reach],
            start(),
        ),
        Cause::Unreachable => (
            "it is registered and does not answer at its port".to_owned(),
            vec![session, reach],
            "see whether its process is paused or its network is cut; its session ends by itself if it is dead".to_owned(),
        ),
        Cause::DirectoryOffline => {
            let mut why: Vec<Option<String>> = suspect.dead_dirs.iter().cloned().map(Some).collect();
            why.push(session);
            let remedy = format!("mend the directory and start broker {broker} again, or move the partitions elsewhere");
            ("the log directory of these replicas is offline".to_owned(), why, remedy)
        }
        Cause::NoLeader => (
            "there is no leader to follow: none of the replicas in sync is there".to_owned(),
            vec![session],
            "start the brokers that are in sync; as the last resort, and with loss, kafka-leader-election --election-type \
             unclean"
                .to_owned(),
        ),
        Cause::Throttled => (
            format!("its fetching is held to {throttle} B/s, it has about {behind} bytes less than the leaders"),
            vec![session, Some("follower.replication.throttled.rate and .replicas name it".to_owned())],
            "raise the throttle, or take it away when the move is over (kafka-reassign-partitions --verify)".to_owned(),
        ),
        Cause::Reassigning => (
            format!("a reassignment adds it, it has about {behind} bytes less than the leaders"),
            vec![session],
            "wait; kafka-reassign-partitions --list shows what is under way".to_owned(),
        ),
        Cause::Behind => (
            format!("it follows and has about {behind} bytes less than the leaders"),
            vec![session],
            format!("wait; if it stays so, broker {broker} or its disk is too slow for what is produced"),
        ),
        Cause::Unknown => (
            "it is there, its log is online and not behind, and the leader has not taken it in yet".to_owned(),
            vec![session],
            format!("wait a moment and ask again; if it stays so, see the logs of broker {broker} and of the leaders"),
        ),
    };
    (fact, why.into_iter().flatten().collect(), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(leader: i32, offline: &[i32], adding: &[i32]) -> Lacking {
        Lacking {
            name: ("t".to_owned(), 0),
            leader,
            replicas: vec![1, 2],
            in_sync: vec![1],
            offline: offline.to_vec(),
            adding: adding.to_vec(),
            out_since: BTreeMap::from([(2, 5)]),
        }
    }

    #[test]
    fn one_cause_for_each_replica() {
        let name = ("t".to_owned(), 0);
        let there = Suspect { is_known: true, registered: Some((1, 2)), ..Suspect::default() };
        let gone = Suspect { is_known: true, unreachable: Some("refused".to_owned()), ..Suspect::default() };
        let mute = Suspect { unreachable: Some("silent".to_owned()), ..there.clone() };
        let dead_dir = Suspect { dead_dirs: vec!["/d".to_owned()], ..there.clone() };
        let behind = Suspect { behind: BTreeMap::from([(name.clone(), 7)]), ..there.clone() };
        let held = Suspect { throttled: BTreeSet::from([name]), ..behind.clone() };
        for (partition, suspect, expected) in [
            (lacking(1, &[2], &[]), gone.clone(), Cause::NotRegistered),
            (lacking(1, &[2], &[]), Suspect { is_known: false, ..gone }, Cause::Unreachable),
            (lacking(1, &[], &[]), mute, Cause::Unreachable),
            (lacking(1, &[2], &[]), there.clone(), Cause::DirectoryOffline),
            (lacking(1, &[], &[]), dead_dir, Cause::DirectoryOffline),
            (lacking(-1, &[], &[]), there.clone(), Cause::NoLeader),
            (lacking(1, &[], &[2]), held, Cause::Throttled),
            (lacking(1, &[], &[2]), behind.clone(), Cause::Reassigning),
            (lacking(1, &[], &[]), behind, Cause::Behind),
            (lacking(1, &[], &[]), there, Cause::Unknown),
        ] {
            assert_eq!(cause(&partition, 2, &suspect), expected, "{partition:?} {suspect:?}");
            let found = findings(&[partition], &BTreeMap::from([(2, suspect)]), None);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].subject.as_str(), found[0].since_ms), ("broker 2", Some(5)));
            assert!(found[0].affects[0].starts_with("t-0: in sync [1] of [1, 2]"), "{found:?}");
        }
    }

    #[test]
    fn throttles_name_replicas() {
        for (setting, expected) in [("", false), ("*", true), ("0:1, 3:2", true), ("3:1,2:2", false)] {
            assert_eq!(is_held(setting, 3, 2), expected, "{setting}");
        }
    }
}
