//! A whole run: the cluster is built, becomes ready, suffers, is healed, must become live again within bounded virtual
//! time, and everything noted is checked.

use super::faults::{self, Faults};
use super::trace::Detail;
use super::workload::kafka::{COMPACTED, Duty, KafkaClient, Topics};
use super::world::{Host, Micros, Program, Role, SECOND, Store, World};
use crate::check::ephemerals::Ephemerals;
use crate::check::logs_match::LogsMatch;
use crate::check::one_leader::OneLeader;
use crate::check::trees_agree::TreesAgree;
use crate::check::{
    committed_reads, consumed_once, coordinators, fenced_states, in_sync, newest_stays, offsets_stay, one_controller,
    one_owner, records_stay, registers, replicas_as_asked, share_records, txn_cycles, txns_end, txns_whole, watches,
    zk_writes_once, zk_writes_stay,
};
use broker::group::OFFSETS_TOPIC;
use broker::partition::is_internal;
use broker::share::SHARE_STATE_TOPIC;
use broker::txn::TRANSACTION_TOPIC;
use common::Rng;
use common::id::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The coordinators.
    pub coordinators: u64,
    /// Clients of theirs.
    pub zk_clients: u64,
    /// The brokers.
    pub brokers: i32,
    /// Producers; every second one is idempotent.
    pub producers: u64,
    /// Consumers of everything.
    pub consumers: u64,
    /// Members of a consumer group.
    pub members: u64,
    /// Members of a consumer group of the new protocol.
    pub new_members: u64,
    /// Members of a share group.
    pub sharers: u64,
    /// What they write and read.
    pub topics: Topics,
    /// Clients that write in transactions; from the third on they share transactional ids.
    pub transactors: u64,
    /// What they write; a consumer reads what they commit.
    pub transactional: Topics,
    /// Is there a topic that is compacted, with a client that writes to it and one that reads?
    pub compacts: bool,
    /// Is there an administrator who moves partitions?
    pub moves: bool,
    /// How long things go wrong.
    pub suffering: Micros,
    /// What may go wrong.
    pub faults: Vec<faults::Fault>,
    /// If set, only the faults with these numbers happen.
    pub only: Option<BTreeSet<usize>>,
    /// How much is kept as text.
    pub detail: Detail,
}

impl Plan {
    /// Three coordinators alone, and three clients of theirs.
    pub fn coordinators() -> Plan {
        Plan {
            zk_clients: 3,
            brokers: 0,
            producers: 0,
            consumers: 0,
            members: 0,
            new_members: 0,
            sharers: 0,
            transactors: 0,
            compacts: false,
            moves: false,
            ..Plan::whole()
        }
    }

    /// Three coordinators, three brokers, and clients of both.
    pub fn whole() -> Plan {
        Plan {
            coordinators: 3,
            zk_clients: 1,
            brokers: 3,
            producers: 2,
            consumers: 1,
            members: 2,
            new_members: 0,
            sharers: 0,
            topics: Topics { topics: vec![("a".to_owned(), 2), ("b".to_owned(), 1)], replication_factor: 3 },
            transactors: 0,
            transactional: Topics { topics: vec![("t".to_owned(), 3)], replication_factor: 3 },
            compacts: false,
            moves: false,
            suffering: 30 * SECOND,
            faults: faults::ALL.to_vec(),
            only: None,
            detail: Detail::Hash,
        }
    }

    /// A whole cluster whose clients write in transactions.
    pub fn transactions() -> Plan {
        Plan { producers: 1, members: 0, transactors: 3, ..Plan::whole() }
    }

    /// A whole cluster with groups of both protocols.
    pub fn groups() -> Plan {
        Plan { producers: 1, members: 3, new_members: 3, ..Plan::whole() }
    }

    /// A whole cluster with a share group.
    pub fn shares() -> Plan {
        Plan { producers: 1, members: 0, sharers: 3, ..Plan::whole() }
    }

    /// A whole cluster with a compacted topic.
    pub fn compaction() -> Plan {
        Plan { producers: 1, members: 0, ..Plan::whole() }.with_compaction()
    }

    /// A compacted topic, without the one fault that it does not bear: what a machine that loses power lacks between two
    /// segments is not told from what compaction has removed.
    fn with_compaction(mut self) -> Plan {
        self.compacts = true;
        self.faults.retain(|fault| *fault != faults::Fault::PowerOff);
        self
    }

    fn compacted() -> Topics {
        Topics { topics: vec![(COMPACTED.to_owned(), 1)], replication_factor: 3 }
    }

    /// Most seeds have three coordinators and three brokers; some have more of either, and some run longer. In every second
    /// seed there are transactions, in every second a group of the new protocol, in every fourth a compacted topic, and an
    /// administrator who moves partitions where there are more than three brokers.
    pub fn of_seed(seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        let mut plan = Plan::whole();
        if rng.u32(..5) == 0 {
            plan.coordinators = 5;
        }
        if rng.u32(..5) == 0 {
            plan.brokers = rng.i32(4..=5);
        }
        if rng.u32(..5) == 0 {
            plan.suffering = 90 * SECOND;
        }
        let mut rng = Rng::with_seed(seed ^ 0x81de);
        if rng.bool() {
            plan.transactors = rng.u64(2..=4);
        }
        if rng.bool() {
            plan.new_members = rng.u64(2..=3);
        }
        plan.moves = plan.brokers > 3;
        if Rng::with_seed(seed ^ 0x54a7e).u32(..3) == 0 {
            plan.sharers = 3;
        }
        if rng.u32(..4) == 0 { plan.with_compaction() } else { plan }
    }

    /// Every topic that is replicated, those of the cluster itself too.
    pub fn all_topics(&self) -> Topics {
        let mut all = self.topics.clone();
        if self.transactors > 0 {
            all.topics.extend(self.transactional.topics.clone());
            all.topics.push((TRANSACTION_TOPIC.to_owned(), INTERNAL_PARTITIONS));
        }
        if self.compacts {
            all.topics.extend(Plan::compacted().topics);
        }
        if self.sharers > 0 {
            all.topics.push((SHARE_STATE_TOPIC.to_owned(), INTERNAL_PARTITIONS));
        }
        if self.transactors > 0 || self.members > 0 || self.new_members > 0 {
            all.topics.push((OFFSETS_TOPIC.to_owned(), INTERNAL_PARTITIONS));
        }
        all
    }

    fn broker_config(&self, id: i32) -> String {
        let connect: Vec<String> = (1..=self.coordinators).map(|id| format!("c{id}:2181")).collect();
        format!(
            "broker.id={id}\nlisteners=PLAINTEXT://b{id}:9092\nzookeeper.connect={}\nlog.dirs=/data\n\
             zookeeper.session.timeout.ms=6000\ndefault.replication.factor=3\nmin.insync.replicas=2\n\
             offsets.topic.num.partitions={INTERNAL_PARTITIONS}\noffsets.topic.replication.factor=3\n\
             transaction.state.log.num.partitions={INTERNAL_PARTITIONS}\ntransaction.state.log.replication.factor=3\n\
             transaction.state.log.min.isr=2\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n\
             share.coordinator.state.topic.num.partitions={INTERNAL_PARTITIONS}\n\
             share.coordinator.state.topic.min.isr=2\nshare.coordinator.snapshot.update.records.per.snapshot=20\n\
             share.coordinator.state.topic.prune.interval.ms=5000\nshare.coordinator.cold.partition.snapshot.interval.ms=7000\n\
             group.share.min.record.lock.duration.ms=1000\ngroup.share.record.lock.duration.ms=3000\n\
             group.share.delivery.count.limit=10\ngroup.share.max.delivery.count.limit=10\n\
             log.segment.bytes=16384\nlog.cleaner.backoff.ms=2000\n\
             log.index.size.max.bytes=4096\nlog.index.interval.bytes=512\nreplica.lag.time.max.ms=3000\n\
             replica.high.watermark.checkpoint.interval.ms=1000\nlog.flush.offset.checkpoint.interval.ms=5000\n\
             auto.create.topics.enable=false\ngroup.consumer.min.session.timeout.ms=6000\n\
             group.consumer.session.timeout.ms=6000\ngroup.consumer.min.heartbeat.interval.ms=500\n\
             group.consumer.heartbeat.interval.ms=500\ngroup.initial.rebalance.delay.ms=200\nleader.imbalance.check.interval.seconds=10\n",
            connect.join(",")
        )
    }

    fn bootstrap(&self) -> Vec<String> {
        (1..=self.brokers).map(|id| format!("b{id}:9092")).collect()
    }

    /// Numbers of the producers that have an id.
    fn idempotent(&self) -> BTreeSet<u64> {
        (1..=self.producers).filter(|number| number % 2 == 0).collect()
    }
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The property that does not hold, and how.
    pub violation: Option<String>,
    /// Hash of all events, and their number.
    pub trace: (u64, u64),
    /// Virtual time at the end.
    pub ended: Micros,
    /// Requests of clients that were answered.
    pub answered: usize,
    /// The last replica in sync has lost records with its power, so that only a person can choose what is to be lost:
    /// whether the cluster becomes live again, and the records, were not looked at.
    pub is_undecided: bool,
    /// Numbers of the faults that have happened.
    pub suffered: Vec<usize>,
    /// The timeline.
    pub lines: Vec<String>,
}

/// Partitions of each of the brokers' own topics.
const INTERNAL_PARTITIONS: i32 = 2;
/// After healing, and at the start, everything must work within this.
const LIVE_WITHIN: Micros = 60 * SECOND;
/// How often the servers' states are looked at.
const LOOK_EVERY: Micros = 20_000;
/// Logs are read at every so many looks.
const LOGS_EVERY: u64 = 25;

/// The world with those who watch it.
pub struct Run {
    /// The cluster and its clients.
    pub world: World,
    plan: Plan,
    watchers: Watchers,
    is_undecided: bool,
}

/// Checkers that look at the servers all the while.
#[derive(Debug, Default)]
struct Watchers {
    trees: TreesAgree,
    ephemerals: Ephemerals,
    leaders: OneLeader,
    logs: LogsMatch,
    terms: share_records::Terms,
    looks: u64,
}

impl Watchers {
    fn look(&mut self, world: &World, shared: &Topics) -> Result<(), String> {
        self.trees.look(world)?;
        self.ephemerals.look(world)?;
        one_controller::check(&world.core.history)?;
        fenced_states::check(world)?;
        self.leaders.look(world)?;
        self.terms.look(world, shared.partitions());
        self.looks += 1;
        if self.looks.is_multiple_of(LOGS_EVERY) {
            self.logs.look(world)?;
        }
        world.core.violations.first().map_or(Ok(()), |violation| Err(violation.clone()))
    }
}

impl Run {
    /// Builds a cluster and starts it.
    pub fn new(seed: u64, plan: &Plan) -> Run {
        let mut world = World::new(seed, plan.detail);
        let servers: String = (1..=plan.coordinators).map(|id| format!("server.{id}=c{id}:2888:3888\n")).collect();
        let zoo_cfg = format!(
            "dataDir=/d\ninitLimit=5\nsyncLimit=2\ntickTime=1000\nclientPort=2181\nmaxClientCnxns=0\n{servers}"
        );
        let connect: Vec<String> = (1..=plan.coordinators).map(|id| format!("c{id}:2181")).collect();
        for id in 1..=plan.coordinators {
            world.add(&format!("c{id}"), Role::Coordinator { id, config: zoo_cfg.clone() });
        }
        for number in 1..=plan.zk_clients {
            world.add(&format!("z{number}"), Role::ZkClient { number, connect: connect.join(",") });
        }
        for id in 1..=plan.brokers {
            world.add(&format!("b{id}"), Role::Broker { config: plan.broker_config(id) });
        }
        let kafka = |number, duty| {
            let (topics, bootstrap) = (plan.topics.clone(), plan.bootstrap());
            Role::Kafka { number, duty, topics, bootstrap }
        };
        for number in 1..=plan.producers {
            let is_idempotent = plan.idempotent().contains(&number);
            world.add(&format!("p{number}"), kafka(number, Duty::Produce { is_idempotent }));
        }
        for number in 1..=plan.consumers {
            world.add(&format!("k{number}"), kafka(number, Duty::Consume));
        }
        for number in 1..=plan.members {
            world.add(&format!("m{number}"), kafka(number, Duty::Join));
        }
        for number in 1..=plan.new_members {
            world.add(&format!("n{number}"), kafka(number, Duty::JoinNew));
        }
        for number in 1..=plan.sharers {
            world.add(&format!("s{number}"), kafka(number, Duty::Share));
        }
        if plan.compacts {
            world.add("pc1", compacted_client(plan, 1, Duty::Upsert));
            world.add("kc1", compacted_client(plan, 1, Duty::ConsumeCompacted));
        }
        if plan.moves {
            world.add("adm", kafka(1, Duty::Administer));
        }
        let transactional = |number, duty| {
            let (topics, bootstrap) = (plan.transactional.clone(), plan.bootstrap());
            Role::Kafka { number, duty, topics, bootstrap }
        };
        for number in 1..=plan.transactors {
            world.add(&format!("t{number}"), transactional(number, Duty::Transact));
        }
        if plan.transactors > 0 {
            world.add("kt1", transactional(1, Duty::ConsumeCommitted));
        }
        for host in (0..world.core.machines.len()).map(Host) {
            world.start(host);
        }
        Run { world, plan: plan.clone(), watchers: Watchers::default(), is_undecided: false }
    }

    /// Lets time pass, and looks at the servers all the while.
    pub fn run_to(&mut self, until: Micros) -> Result<(), String> {
        while self.world.core.now() < until {
            let next = (self.world.core.now() + LOOK_EVERY).min(until);
            self.world.run_to(next);
            let none = Topics { topics: Vec::new(), replication_factor: 0 };
            let shared = if self.plan.sharers > 0 { &self.plan.topics } else { &none };
            self.watchers.look(&self.world, shared)?;
        }
        Ok(())
    }

    /// Lets time pass until something is so, at most so long.
    pub fn run_until(&mut self, what: &str, within: Micros, is_so: impl Fn(&World) -> bool) -> Result<(), String> {
        let end = self.world.core.now() + within;
        while !is_so(&self.world) {
            if self.world.core.now() >= end {
                return Err(format!("not within {} s: {what}", within / SECOND));
            }
            self.run_to(self.world.core.now() + LOOK_EVERY)?;
        }
        Ok(())
    }

    /// Faults for a while, then none.
    pub fn suffer(&mut self) -> Result<(), String> {
        let end = self.world.core.now() + self.plan.suffering;
        let rng = self.world.core.rng.fork();
        let mut faults = Faults::new(&self.plan, rng, self.world.core.now());
        while faults.next_at() < end {
            self.run_to(faults.next_at())?;
            faults.step(&mut self.world);
        }
        self.run_to(end)?;
        self.world.core.trace.story(end, || "everything is healed".to_owned());
        faults.heal(&mut self.world);
        self.silence(KafkaClient::administers);
        while !faults.is_healed() {
            if self.world.core.now() > end + LIVE_WITHIN {
                self.is_undecided = faults.is_undecidable();
                let is_over = self.is_undecided;
                return if is_over { Ok(()) } else { Err("a broker that shuts down does not end".to_owned()) };
            }
            self.run_to(faults.next_at())?;
            faults.step(&mut self.world);
        }
        Ok(())
    }

    /// Every client gets new answers, every replica is in sync, and consumers keep up.
    pub fn become_live(&mut self) -> Result<(), String> {
        let before = answers(&self.world);
        let outcome = self.run_until("every client is answered", LIVE_WITHIN, |world| {
            answers(world).iter().zip(&before).all(|(now, before)| *now > before + 3)
        });
        outcome.map_err(|problem| format!("{problem}: {before:?}, now {:?}", answers(&self.world)))?;
        if self.plan.brokers == 0 {
            return Ok(());
        }
        let topics = self.plan.all_topics();
        let in_sync = self
            .run_until("every replica is in sync", LIVE_WITHIN, |world| in_sync::lacking(world, &topics).is_empty());
        in_sync.map_err(|problem| format!("{problem}: {:?}", in_sync::lacking(&self.world, &topics)))?;
        let ends = ends(&self.world);
        self.run_until("consumers keep up", LIVE_WITHIN, |world| keeps_up(world, &ends))
    }

    /// Lets some clients fall silent.
    fn silence(&mut self, which: impl Fn(&KafkaClient) -> bool) {
        for host in (0..self.world.core.machines.len()).map(Host) {
            self.world.act(host, |program, _| match program {
                Program::Kafka(client) if which(client) => client.fall_silent(),
                _ => {}
            });
        }
    }

    /// Lets the clients fall silent and checks everything.
    pub fn check(&mut self) -> Result<(), String> {
        for host in (0..self.world.core.machines.len()).map(Host) {
            self.world.act(host, |program, _| match program {
                Program::ZkClient(client) => client.is_idle = true,
                Program::Kafka(client) => client.fall_silent(),
                Program::Coordinator(_) | Program::Broker(_) => {}
            });
        }
        self.run_to(self.world.core.now() + 10 * SECOND)?;
        self.run_until("all coordinators hold the same", LIVE_WITHIN, TreesAgree::is_same_everywhere)?;
        for (_, process) in coordinators(&self.world) {
            zk_writes_stay::check(&self.world.core.history, process.node.tree())?;
            watches::check(&self.world, process.node.tree())?;
            zk_writes_once::check(process.node.tree())?;
        }
        registers::check(&self.world.core.history)?;
        if self.plan.brokers == 0 {
            return Ok(());
        }
        offsets_stay::check(&self.world.core.history)?;
        one_owner::check(&self.world.core.history)?;
        self.watchers.logs.look(&self.world)?;
        self.check_transactions()?;
        self.check_compaction()?;
        self.check_shares()?;
        let (topics, bootstrap) = (self.plan.topics.clone(), self.plan.bootstrap());
        let verifier = self.world.add("verifier", Role::Kafka { number: 0, duty: Duty::Verify, topics, bootstrap });
        self.world.start(verifier);
        let ends = ends(&self.world);
        let read = self.run_until("everything acknowledged can be read", LIVE_WITHIN, |world| keeps_up(world, &ends));
        if let Some(violation) = self.world.core.violations.first() {
            return Err(violation.clone());
        }
        // What is missing says more than that something is.
        records_stay::check(&self.world.core.history, &self.plan.idempotent())?;
        read
    }

    /// The share group comes to the end, and every record was somebody's.
    fn check_shares(&mut self) -> Result<(), String> {
        if self.plan.sharers == 0 {
            return Ok(());
        }
        let ends = ends(&self.world);
        let outcome = self.run_until("the share group has everything", LIVE_WITHIN, |world| has_shared(world, &ends));
        let history = &self.world.core.history;
        share_records::check(history, &self.watchers.terms, outcome.is_ok().then_some(&ends))?;
        outcome.map_err(|problem| {
            let done: Vec<_> = kafka_clients(&self.world).filter_map(KafkaClient::shared).collect();
            format!("{problem}: {done:?} of {ends:?}")
        })
    }

    /// What compaction has left holds the newest value of every key.
    fn check_compaction(&mut self) -> Result<(), String> {
        if !self.plan.compacts {
            return Ok(());
        }
        let verifier = self.world.add("kc0", compacted_client(&self.plan, 0, Duty::ConsumeCompacted));
        self.world.start(verifier);
        let ends = txns_end::ends(&self.world).into_iter().filter(|(partition, _)| partition.topic == COMPACTED);
        let ends = ends.collect();
        self.run_until("all that compaction left can be read", LIVE_WITHIN, |world| keeps_up(world, &ends))?;
        newest_stays::check(&self.world.core.history)
    }

    /// The administrator has the last word, and gets what it asked for.
    fn moves_end(&mut self) -> Result<(), String> {
        if !self.plan.moves {
            return Ok(());
        }
        let is_granted = |world: &World| kafka_clients(world).any(KafkaClient::has_had_its_say);
        self.run_until("the administrator is heard", LIVE_WITHIN, is_granted)?;
        let as_asked = self.run_until("every replica is where it was asked for", LIVE_WITHIN, |world| {
            replicas_as_asked::lacking(world).is_empty()
        });
        as_asked.map_err(|problem| format!("{problem}: {:?}", replicas_as_asked::lacking(&self.world)))?;
        let topics = self.plan.all_topics();
        let in_sync = self.run_until("every moved replica is in sync", LIVE_WITHIN, |world| {
            in_sync::lacking(world, &topics).is_empty()
        });
        in_sync.map_err(|problem| format!("{problem}: {:?}", in_sync::lacking(&self.world, &topics)))
    }

    /// Every transaction has ended, and what is committed is what was.
    fn check_transactions(&mut self) -> Result<(), String> {
        if self.plan.transactors == 0 {
            return Ok(());
        }
        let ends = txns_end::ends(&self.world);
        let over =
            self.run_until("every transaction ends", LIVE_WITHIN, |world| txns_end::lacking(world, &ends).is_empty());
        over.map_err(|problem| format!("{problem}: {:?}", txns_end::lacking(&self.world, &ends)))?;
        let (topics, bootstrap) = (self.plan.transactional.clone(), self.plan.bootstrap());
        let role = Role::Kafka { number: 0, duty: Duty::VerifyCommitted, topics, bootstrap };
        let verifier = self.world.add("kt0", role);
        self.world.start(verifier);
        let ends = ends.into_iter().filter(|(partition, _)| !is_internal(&partition.topic)).collect();
        self.run_until("everything committed can be read", LIVE_WITHIN, |world| keeps_up(world, &ends))?;
        let history = &self.world.core.history;
        txns_whole::check(history)?;
        committed_reads::check(history)?;
        consumed_once::check(history)?;
        txn_cycles::check(history)
    }

    /// The whole run.
    pub fn whole(&mut self) -> Result<(), String> {
        self.become_live().map_err(|problem| format!("at the start: {problem}"))?;
        self.suffer()?;
        if self.is_undecided {
            let history = &self.world.core.history;
            return registers::check(history).and(offsets_stay::check(history)).and(one_owner::check(history));
        }
        self.become_live().map_err(|problem| format!("after healing: {problem}"))?;
        self.moves_end()?;
        self.check()
    }

    /// What became of it.
    pub fn outcome(self, result: Result<(), String>) -> Outcome {
        let is_undecided = self.is_undecided;
        let core = self.world.core;
        for machine in &core.machines {
            if let Store::Disk(disk) = &machine.store {
                disk.forget();
            }
        }
        Outcome {
            is_undecided,
            violation: result.err(),
            trace: core.trace.digest(),
            ended: core.now(),
            answered: core.history.zk.len()
                + core.history.batches.len()
                + core.history.commits.len()
                + core.history.txns.len(),
            suffered: core.suffered.into_iter().collect(),
            lines: core.trace.lines().to_vec(),
        }
    }
}

fn compacted_client(plan: &Plan, number: u64, duty: Duty) -> Role {
    Role::Kafka { number, duty, topics: Plan::compacted(), bootstrap: plan.bootstrap() }
}

fn kafka_clients(world: &World) -> impl Iterator<Item = &KafkaClient> {
    (0..world.core.machines.len()).filter_map(|host| match world.program(Host(host)) {
        Some(Program::Kafka(client)) => Some(&**client),
        _ => None,
    })
}

/// What each client has got so far: answers of the coordinators, batches acknowledged in each partition.
fn answers(world: &World) -> Vec<u64> {
    let mut answers = Vec::new();
    for host in (0..world.core.machines.len()).map(Host) {
        match world.program(host) {
            Some(Program::ZkClient(client)) => answers.push(client.answers),
            Some(Program::Kafka(client)) => answers.extend(client.acknowledged()),
            _ => {}
        }
    }
    let mut commits: BTreeMap<&str, u64> = BTreeMap::new();
    for (group, count) in kafka_clients(world).filter_map(KafkaClient::commits) {
        *commits.entry(group).or_default() += count;
    }
    answers.extend(commits.into_values());
    answers
}

/// Where each partition ends, as far as was acknowledged.
fn ends(world: &World) -> BTreeMap<TopicPartition, i64> {
    let mut ends = BTreeMap::new();
    for batch in &world.core.history.batches {
        let end = ends.entry(batch.partition.clone()).or_insert(0);
        *end = (batch.base_offset + batch.values.len() as i64).max(*end);
    }
    ends
}

/// True if every consumer has read so far.
fn keeps_up(world: &World, ends: &BTreeMap<TopicPartition, i64>) -> bool {
    kafka_clients(world).all(|client| {
        let positions = client.positions();
        positions.iter().all(|(partition, (next, _))| next >= ends.get(partition).unwrap_or(&0))
    })
}

/// True if the share group is done with so much.
fn has_shared(world: &World, ends: &BTreeMap<TopicPartition, i64>) -> bool {
    kafka_clients(world)
        .filter_map(KafkaClient::shared)
        .all(|done| ends.iter().all(|(partition, end)| done.get(partition).is_some_and(|done| done >= end)))
}

/// Runs a plan from a seed.
pub fn run(seed: u64, plan: &Plan) -> Outcome {
    let mut run = Run::new(seed, plan);
    let result = run.whole();
    run.outcome(result)
}

/// As `run`; a panic is a violation too: an assertion has seen a bug. It takes everything else that is known with it.
pub fn run_caught(seed: u64, plan: &Plan) -> Outcome {
    let caught = std::panic::catch_unwind(|| run(seed, plan));
    caught.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            violation: Some(format!("panic: {}", text.unwrap_or_default())),
            trace: (0, 0),
            ended: 0,
            answered: 0,
            is_undecided: false,
            suffered: Vec::new(),
            lines: Vec::new(),
        }
    })
}
