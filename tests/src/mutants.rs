//! The planted bugs: for each the defence that is turned off, what breaks then, and the plan under which a checker must
//! see it. The switches stand in the servers' code as `common::mutants::is_on("name")`. Turns nothing on outside of a run.

use crate::sim::scenario::{self, Outcome, Plan};
use common::mutants;

/// A planted bug.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// As in the servers' code.
    pub name: &'static str,
    /// What goes wrong.
    pub breaks: &'static str,
    /// The run that must show it.
    pub plan: fn() -> Plan,
}

const fn zk(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, plan: Plan::coordinators }
}

const fn kafka(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, plan: Plan::whole }
}

const fn txn(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, plan: Plan::transactions }
}

const fn compaction(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, plan: Plan::compaction }
}

const fn share(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, plan: Plan::shares }
}

const fn groups(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, plan: Plan::groups }
}

/// All that the simulated cluster finds by itself, under faults drawn from the seed.
pub const ALL: &[Mutant] = &[
    zk("ack-before-fsync", "a follower acknowledges entries that its disk does not have yet"),
    zk("vote-not-kept", "term and vote are not written before they are given"),
    zk("request-taken-twice", "a request that is sent again is carried out again"),
    zk("touch-not-told", "a follower does not tell the leader which sessions live"),
    zk("sync-is-local", "a sync does not ask the leader"),
    zk("watch-forgotten", "a watch is removed and nobody told"),
    zk("watch-behind-reply", "a watch fires behind the answer that shows the change"),
    zk("session-ends-early", "a session ends after a quarter of its timeout"),
    zk("ephemerals-stay", "closing a session forgets its ephemeral nodes"),
    zk("zxid-used-again", "a new leader gives out the last zxid once more"),
    kafka("high-watermark-early", "the high watermark does not wait for the replicas in sync"),
    kafka("reply-before-replicated", "acks=all is answered when the leader alone has the records"),
    kafka("elected-out-of-sync", "a replica that is not in sync is elected"),
    kafka("leader-epoch-stays", "a new leader gets the old leader epoch"),
    kafka("not-truncated", "a follower keeps what its new leader does not have"),
    kafka("truncate-to-high-watermark", "a follower cuts its log at its own high watermark (before KIP-101)"),
    kafka("divergence-not-seen", "a leader does not compare the epoch of what a follower fetched last (KIP-279, 595)"),
    kafka("read-beyond-high-watermark", "consumers see records that are not replicated"),
    kafka("sequence-not-checked", "the sequence of an idempotent producer is not looked at"),
    kafka("producers-not-kept", "a log forgets its producers"),
    groups("generation-stays", "a group that shares its partitions out anew keeps its generation"),
    groups("given-before-released", "a partition is given to a member while another has it (KIP-848)"),
    share("share-locked-twice", "a record is given to a member of a share group while another has it (KIP-932)"),
    share("share-answered-before-written", "an acknowledgement is answered before it is written"),
    txn("txn-epoch-not-checked", "a transaction's coordinator obeys producers that were fenced"),
    txn("stable-is-high-watermark", "consumers of committed records see those of open transactions"),
    txn("aborted-not-told", "consumers of committed records are not told which were aborted"),
    txn("marker-in-one-partition", "a transaction ends in one of its partitions only"),
    txn("decided-before-replicated", "the end of a transaction is told before the decision is replicated"),
    compaction("compaction-drops-newest", "compaction removes the newest value of a key"),
];

/// Defences that only a scripted case sees missing: faults drawn from a seed hardly ever meet the moment.
pub const SCRIPTED: &[(&str, &str)] = &[
    ("commit-beyond-match", "a follower is told to commit entries that it may have otherwise"),
    ("controller-not-fenced", "a controller writes without checking that it still is the controller"),
    ("fetch-not-fenced", "a leader does not look at the epoch in a fetch (KIP-320)"),
    ("old-controller-heeded", "a broker obeys a controller of an old epoch"),
    ("late-order-heeded", "a broker obeys what comes over a connection that the controller has given up"),
    ("lagging-in-isr", "a follower joins the replicas in sync before it has all"),
    (
        "succeeded-coordinator-tells",
        "a group's coordinator tells offsets though another may look after the group by now",
    ),
    ("alone-without-fsync", "a leader with too few replicas in sync does not write its log to disk"),
    ("eligible-not-elected", "a replica that left the in-sync replicas below the minimum is not elected (KIP-966)"),
    ("unclean-stays-eligible", "a replica counts as eligible though it lost power since (KIP-966)"),
    ("empty-disk-trusted", "a replica that lost its disk counts as one that crashed (KIP-966)"),
    ("committed-below-min-isr", "the high watermark moves with fewer in sync than the minimum (KIP-966)"),
    ("forgotten-at-new-term", "requests under way are forgotten when another leads"),
    ("zxid-in-32-bits", "transaction ids have 32 bits"),
    ("own-request-taken-twice", "a leader that waits for its disk takes its own clients' requests again (seed 18)"),
    ("late-answer-closes-link", "an answer to a leader's earlier life is held against the follower (seed 193)"),
    ("hole-not-noticed", "a segment that ends before the next begins is taken for whole (seed 175)"),
    ("hole-forgotten-at-stop", "a stop marks a log with a hole as clean (seed 164)"),
    ("end-keeps-epoch", "the end of a transaction gives the next one no epoch of its own (KIP-890)"),
    ("lease-read", "a leader answers a sync because it was one a moment ago (etcd #20418)"),
];

/// Every name that the servers' code may ask for.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|mutant| mutant.name).chain(SCRIPTED.iter().map(|(name, _)| *name))
}

/// Runs a plan, with a defence off if one is named. A panic is a violation: an assertion has seen the bug.
pub fn run(seed: u64, plan: &Plan, off: Option<&'static str>) -> Outcome {
    let run = || scenario::run_caught(seed, plan);
    match off {
        Some(name) => mutants::with(name, run),
        None => run(),
    }
}

/// The checker that a violation comes from, by the words that it uses.
pub fn checker(violation: &str) -> &'static str {
    const WORDS: &[(&str, &str)] = &[
        ("panic:", "an assertion of the server"),
        ("finds fault with", "peers trust each other"),
        ("shared ", "share_records"),
        ("is torn", "txns_whole"),
        ("of a transaction is there twice", "txns_whole"),
        ("committed records of", "committed_reads"),
        ("consumed twice", "consumed_once"),
        ("left out", "consumed_once"),
        ("G1c", "txn_cycles"),
        ("compaction: ", "newest_stays"),
        ("compacted ", "newest_stays"),
        ("every transaction ends", "txns_end"),
        ("a transactional producer gets", "transactional producer"),
        ("trees differ", "trees_agree"),
        ("not within", "liveness"),
        ("all coordinators hold the same", "liveness"),
        ("outlive their session", "ephemerals"),
        ("after its client was heard", "ephemerals"),
        ("is shown before the watch", "watch order"),
        ("zxid goes back", "session order"),
        ("goes back in one session", "registers"),
        ("was given to two writes", "registers"),
        ("a write on version", "registers"),
        ("nobody wrote", "registers"),
        ("was written by", "registers"),
        ("are all controller", "one_controller"),
        ("made by one request", "zk_writes_once"),
        ("was written in controller epoch", "fenced_states"),
        ("again at", "records_stay"),
        ("behind", "records_stay"),
        ("was acknowledged", "acknowledged writes stay"),
        ("was created for", "acknowledged writes stay"),
        ("was deleted and is there", "acknowledged writes stay"),
        ("both lead in epoch", "one_leader"),
        ("below the high watermark", "logs_match"),
        ("and elsewhere", "logs_match"),
        ("OffsetSeen", "offsets_stay"),
        ("in the same generation", "one_owner"),
        ("accepted ", "one_owner"),
        ("no watch came", "watches"),
        ("offset", "consumer"),
        ("a producer gets", "producer"),
    ];
    WORDS.iter().find(|(word, _)| violation.contains(word)).map_or("another", |(_, checker)| checker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn names_in(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names_in(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text.split("mutants::is_on(\"").skip(1).filter_map(|rest| rest.split('"').next());
                names.extend(found.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_switch_in_the_servers_has_its_row_and_every_row_its_switch() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut in_code = BTreeSet::new();
        for half in ["coordinator/src", "broker/src"] {
            names_in(&root.join(half), &mut in_code);
        }
        let in_tables: BTreeSet<String> = all_names().map(str::to_owned).collect();
        assert_eq!(in_code, in_tables);
    }

    #[test]
    fn a_defence_is_off_only_within() {
        assert!(!mutants::is_on("a"));
        mutants::with("a", || assert!(mutants::is_on("a") && !mutants::is_on("b")));
        assert!(!mutants::is_on("a"));
    }
}
