//! The whole machine against a small ZooKeeper in memory: several brokers, each with its own session, and what they tell
//! each other delivered at once.

mod acls;
pub(crate) mod fake;
mod feature_levels;

use super::configs::Entity;
use super::image::Image;
use super::json::{PartitionState, TopicRecord};
use super::*;
use crate::config::SecurityProtocol;
use common::kafka::messages::{
    LeaderAndIsrPartitionState, LeaderAndIsrRequest, StopReplicaPartitionError, StopReplicaRequest,
    UpdateMetadataRequest,
};
use common::time::WallMillis;
use fake::FakeZk;
use std::sync::mpsc;
use uuid::Uuid;

/// One broker of the test.
struct Member {
    core: Core,
    session: i64,
    image: Image,
    /// What LeaderAndIsr last said of each partition.
    roles: BTreeMap<(String, i32), LeaderAndIsrPartitionState>,
    /// Partitions it was told to stop, and whether to delete them.
    stopped: Vec<(String, i32, bool)>,
    effects: Vec<Effect>,
    is_up: bool,
}

struct World {
    zk: FakeZk,
    members: BTreeMap<i32, Member>,
    now: Now,
}

pub(super) fn config(broker: i32) -> ClusterConfig {
    ClusterConfig {
        broker_id: BrokerId(broker),
        zookeeper_connect: "zk:2181".into(),
        session_timeout_ms: 6000,
        secure_acls: false,
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".into(),
            host: format!("host{broker}"),
            port: 9092,
            security_protocol: SecurityProtocol::Plaintext,
        }],
        rack: None,
        jmx_port: -1,
        control_listener: "PLAINTEXT".into(),
        stored_cluster_id: None,
        remembered_session: None,
        disk_past: DiskPast::default(),
        min_insync_replicas: 1,
        uses_acls: false,
        delete_topic_enable: true,
        unclean_leader_election: false,
        auto_leader_rebalance: true,
        leader_imbalance_percentage: 10,
        leader_imbalance_check_interval_ms: 300_000,
        undelete_ms: 0,
        num_partitions: 1,
        default_replication_factor: 1,
    }
}

impl World {
    fn new(brokers: &[i32]) -> World {
        let now = Now { mono: Millis(0), wall: WallMillis(1_000_000) };
        let mut world = World { zk: FakeZk::default(), members: BTreeMap::new(), now };
        for &broker in brokers {
            world.start(broker);
        }
        world
    }

    /// Starts a broker with the usual settings.
    fn start(&mut self, broker: i32) {
        self.start_with(config(broker));
    }

    fn start_with(&mut self, config: ClusterConfig) {
        let broker = config.broker_id.0;
        let core = Core::new(config, Rng::with_seed(broker.unsigned_abs().into()));
        let member = Member {
            core,
            session: 0,
            image: Image::default(),
            roles: BTreeMap::new(),
            stopped: Vec::new(),
            effects: Vec::new(),
            is_up: true,
        };
        self.members.insert(broker, member);
        self.new_session(broker);
    }

    fn new_session(&mut self, broker: i32) {
        let session = self.zk.open();
        let now = self.now;
        let member = self.member(broker);
        member.session = session;
        let mut effects = Vec::new();
        member.core.on_session(session, now, &mut effects);
        member.effects.extend(effects);
        self.run();
    }

    fn member(&mut self, broker: i32) -> &mut Member {
        self.members.get_mut(&broker).unwrap()
    }

    /// The process dies; its session lives until `expire`.
    fn crash(&mut self, broker: i32) {
        self.member(broker).is_up = false;
    }

    /// ZooKeeper gives a session up. The broker learns of it if it is up.
    fn expire(&mut self, broker: i32) {
        let session = self.member(broker).session;
        let events = self.zk.close(session);
        let now = self.now;
        let member = self.member(broker);
        let mut effects = Vec::new();
        if member.is_up {
            member.core.on_session_over(now, &mut effects);
        }
        member.effects.extend(effects);
        self.deliver(events);
        self.run();
    }

    fn kill(&mut self, broker: i32) {
        self.crash(broker);
        self.expire(broker);
    }

    fn deliver(&mut self, events: Vec<(i64, WatcherEvent)>) {
        let now = self.now;
        for (session, event) in events {
            for member in self.members.values_mut().filter(|member| member.session == session && member.is_up) {
                let mut effects = Vec::new();
                member.core.on_watch(&event, now, &mut effects);
                member.effects.extend(effects);
            }
        }
    }

    /// Lets everyone talk until all are silent.
    fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the brokers never fall silent");
    }

    fn step(&mut self) -> bool {
        let mut moved = false;
        let ids: Vec<i32> = self.members.iter().filter(|(_, member)| member.is_up).map(|(&id, _)| id).collect();
        for id in ids {
            let requests = self.member(id).core.store.drain();
            let session = self.member(id).session;
            moved |= !requests.is_empty();
            for (token, request) in requests {
                let (result, events) = self.zk.apply(session, request, self.now.wall.0);
                self.deliver(events);
                let now = self.now;
                let member = self.member(id);
                let mut effects = Vec::new();
                member.core.on_reply(token, result, now, &mut effects);
                member.effects.extend(effects);
            }
            let effects = std::mem::take(&mut self.member(id).effects);
            let (carried, kept): (Vec<_>, Vec<_>) = effects.into_iter().partition(|effect| {
                matches!(
                    effect,
                    Effect::LeaderAndIsr { .. }
                        | Effect::UpdateMetadata { .. }
                        | Effect::StopReplica { .. }
                        | Effect::Answer(_)
                )
            });
            self.member(id).effects = kept;
            for effect in carried {
                moved = true;
                self.carry_out(id, effect);
            }
        }
        moved
    }

    fn carry_out(&mut self, from: i32, effect: Effect) {
        let now = self.now;
        let mut effects = Vec::new();
        match effect {
            Effect::Answer(answer) => answer.deliver(),
            Effect::LeaderAndIsr { to, flight, request } => {
                let is_up = self.members.get(&to.broker.0).is_some_and(|member| member.is_up);
                let answer = if is_up { Ok(self.on_roles(to.broker.0, request)) } else { Err(PeerError::Lost) };
                let core = &mut self.member(from).core;
                core.act(now, &mut effects, |core, io| {
                    core.controller.on_roles_answer((to.broker.0, flight), answer, io)
                });
            }
            Effect::UpdateMetadata { to, flight, request } => {
                let is_up = self.members.get(&to.broker.0).is_some_and(|member| member.is_up);
                let answer = if is_up { Ok(self.on_metadata(to.broker.0, request)) } else { Err(PeerError::Lost) };
                let core = &mut self.member(from).core;
                core.act(now, &mut effects, |core, io| {
                    core.controller.on_metadata_answer((to.broker.0, flight), answer, io)
                });
            }
            Effect::StopReplica { to, flight, request } => {
                let is_up = self.members.get(&to.broker.0).is_some_and(|member| member.is_up);
                let answer = if is_up { Ok(self.on_stops(to.broker.0, request)) } else { Err(PeerError::Lost) };
                let core = &mut self.member(from).core;
                core.act(now, &mut effects, |core, io| {
                    core.controller.on_stops_answer((to.broker.0, flight), answer, io)
                });
            }
            other => panic!("not to be carried out: {other:?}"),
        }
        self.member(from).effects.extend(effects);
    }

    fn on_roles(&mut self, broker: i32, request: LeaderAndIsrRequest) -> LeaderAndIsrResponse {
        let member = self.member(broker);
        for topic in request.topic_states {
            assert_eq!(request.broker_epoch, member.core.registry.broker_epoch().unwrap());
            for state in topic.partition_states {
                member.roles.insert((topic.topic_name.clone(), state.partition_index), state);
            }
        }
        LeaderAndIsrResponse::default()
    }

    fn on_metadata(&mut self, broker: i32, request: UpdateMetadataRequest) -> UpdateMetadataResponse {
        let now = self.now;
        let member = self.member(broker);
        let change = member.image.update(request).unwrap();
        let gone: Vec<String> = change.topics.into_iter().filter(|topic| member.image.topic(topic).is_none()).collect();
        let mut effects = Vec::new();
        let image = std::mem::take(&mut member.image);
        member.core.act(now, &mut effects, |core, io| {
            gone.iter().for_each(|topic| core.configs.forget_topic(topic));
            core.controller.on_image(&image, io);
        });
        member.image = image;
        member.effects.extend(effects);
        UpdateMetadataResponse::default()
    }

    fn on_stops(&mut self, broker: i32, request: StopReplicaRequest) -> StopReplicaResponse {
        let member = self.member(broker);
        let mut response = StopReplicaResponse::default();
        for topic in request.topic_states {
            for state in topic.partition_states {
                let tp = (topic.topic_name.clone(), state.partition_index);
                member.roles.remove(&tp);
                member.stopped.push((tp.0.clone(), tp.1, state.delete_partition));
                response.partition_errors.push(StopReplicaPartitionError {
                    topic_name: tp.0,
                    partition_index: tp.1,
                    ..Default::default()
                });
            }
        }
        response
    }

    fn pass(&mut self, millis: u64) {
        self.now.mono = self.now.mono + millis;
        self.now.wall.0 += i64::try_from(millis).unwrap();
        let now = self.now;
        for member in self.members.values_mut().filter(|member| member.is_up) {
            let mut effects = Vec::new();
            member.core.tick(now, &mut effects);
            member.effects.extend(effects);
        }
        self.run();
    }

    /// Who reigns.
    fn controllers(&self) -> Vec<i32> {
        let reigns = |member: &Member| member.is_up && member.core.controller.active_epoch().is_some();
        self.members.iter().filter(|(_, member)| reigns(member)).map(|(&id, _)| id).collect()
    }

    /// Asks the controller for something; everything that follows from it happens before this returns.
    fn act<T: Send + 'static>(
        &mut self,
        controller: i32,
        ask: impl FnOnce(&mut Core, &mut Io<'_>, Waiter<T>),
    ) -> mpsc::Receiver<T> {
        let (sender, receiver) = mpsc::channel();
        let now = self.now;
        let member = self.member(controller);
        let mut effects = Vec::new();
        let done = Waiter::new(move |answer| sender.send(answer).unwrap());
        member.core.act(now, &mut effects, |core, io| ask(core, io, done));
        member.effects.extend(effects);
        self.run();
        receiver
    }

    fn topics(&mut self, action: TopicsAction) -> mpsc::Receiver<TopicsOutcome> {
        let controller = self.controllers()[0];
        let request = TopicsRequest { action, timeout_ms: 5000, validate_only: false };
        self.act(controller, |core, io, done| core.controller.change_topics(request, done, io).unwrap())
    }

    /// Creates a topic with these replicas.
    fn create(&mut self, topic: &str, assignments: &[&[i32]]) {
        let assignments = (0..).zip(assignments.iter().map(|replicas| replicas.to_vec())).collect();
        let new = NewTopic {
            name: topic.into(),
            partitions: -1,
            replication_factor: -1,
            assignments,
            settings: Settings::new(),
        };
        let outcome = self.topics(TopicsAction::Create(vec![new])).try_recv().expect("the topic is created at once");
        assert!(outcome[topic].is_ok(), "{outcome:?}");
    }

    fn text(&self, path: &str) -> Option<String> {
        self.zk.data(path).map(|data| String::from_utf8(data.to_vec()).unwrap())
    }

    fn state(&self, topic: &str, partition: i32) -> PartitionState {
        let path = paths::partition_state(topic, partition);
        PartitionState::decode(self.zk.data(&path).expect(&path)).unwrap()
    }

    /// Leader, leader epoch and ISR of a partition in ZooKeeper; every live broker's image agrees.
    #[expect(clippy::too_many_arguments, reason = "reads as a line of a table")]
    fn check(&self, topic: &str, partition: i32, leader: i32, leader_epoch: i32, isr: &[i32]) {
        let state = self.state(topic, partition);
        assert_eq!(
            (state.leader, state.leader_epoch, state.isr.as_slice()),
            (leader, leader_epoch, isr),
            "in zookeeper"
        );
        for (id, member) in self.members.iter().filter(|(_, member)| member.is_up) {
            let image = member.image.partition(topic, partition).unwrap_or_else(|| panic!("image of {id}"));
            let found = (image.leader, image.leader_epoch, image.isr.as_slice());
            assert_eq!(found, (leader, leader_epoch, isr), "image of {id}");
        }
    }

    fn stops(&self) -> Vec<ClusterError> {
        let effects = self.members.values().flat_map(|member| &member.effects);
        effects.filter_map(|effect| if let Effect::Stop(error) = effect { Some(error.clone()) } else { None }).collect()
    }
}

#[test]
fn the_first_broker_becomes_controller_and_all_know_each_other() {
    let world = World::new(&[1, 2, 3]);
    assert_eq!(world.controllers(), [1]);
    assert_eq!(world.text("/controller_epoch").unwrap(), "1");
    assert_eq!(
        world.text("/controller").unwrap(),
        r#"{"version":2,"brokerid":1,"timestamp":"1000000","kraftControllerEpoch":-1}"#
    );
    assert_eq!(world.text("/feature").unwrap(), r#"{"features":{},"version":2,"status":1}"#);
    for path in paths::PERSISTENT {
        assert!(world.zk.data(path).is_some() || world.zk.exists(path), "{path}");
    }
    for member in world.members.values() {
        assert_eq!(member.image.brokers().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(member.image.controller(), Some(BrokerId(1)));
        assert_eq!(member.image.controller_epoch(), 1);
    }
    let ids: BTreeSet<_> = world.members.values().map(|member| member.core.registry.cluster_id().unwrap()).collect();
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_topic_is_created_led_and_known() {
    let mut world = World::new(&[1, 2, 3]);
    let settings = Settings::from([("retention.ms".to_owned(), "1".to_owned())]);
    let new = NewTopic { name: "t".into(), partitions: 70, replication_factor: 2, settings, ..NewTopic::default() };
    let outcome = world.topics(TopicsAction::Create(vec![new])).try_recv().unwrap();
    let created = outcome["t"].as_ref().unwrap();
    assert_eq!((created.partitions, created.replication_factor), (70, 2));
    assert_eq!(world.text("/config/topics/t").unwrap(), r#"{"version":1,"config":{"retention.ms":"1"}}"#);
    let record = TopicRecord::decode(world.zk.data("/brokers/topics/t").unwrap()).unwrap();
    assert_eq!(record.topic_id, Some(created.id));
    for (number, assignment) in &record.partitions {
        world.check("t", *number, assignment.replicas[0], 0, &assignment.replicas);
        for replica in &assignment.replicas {
            let role = &world.members[replica].roles[&("t".to_owned(), *number)];
            assert!(role.is_new && role.replicas == assignment.replicas && role.partition_epoch == 0);
        }
    }
    for member in world.members.values() {
        assert_eq!(member.image.topic_id("t"), Some(created.id));
    }
}

#[test]
fn what_cannot_be_created_is_refused_in_kafkas_words() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("there.x", &[&[1]]);
    let new = |name: &str, partitions, replication_factor| NewTopic {
        name: name.into(),
        partitions,
        replication_factor,
        ..NewTopic::default()
    };
    let manual = |lists: &[(i32, &[i32])]| NewTopic {
        assignments: lists.iter().map(|(number, list)| (*number, list.to_vec())).collect(),
        ..new("m", -1, -1)
    };
    let cases = [
        (new("there.x", 1, 1), "Topic 'there.x' already exists."),
        (new("there_x", 1, 1), "Topic 'there_x' collides with existing topics: there.x"),
        (new("a", 1, 4), "Replication factor: 4 larger than available brokers: 3."),
        (new("a", 0, 1), "Number of partitions must be larger than 0."),
        (new("a", 1, 0), "Replication factor must be larger than 0."),
        (new("..", 1, 1), "Topic name is invalid: '..' is not allowed"),
        (manual(&[(0, &[1]), (2, &[1])]), "partitions should be a consecutive 0-based integer sequence"),
        (manual(&[(0, &[1]), (1, &[1, 2])]), "All partitions should have the same number of replicas"),
        (manual(&[(0, &[1, 1])]), "Duplicate replica assignment found: HashMap(0 -> ArrayBuffer(1, 1))"),
    ];
    for (topic, text) in cases {
        let name = topic.name.clone();
        let outcome = world.topics(TopicsAction::Create(vec![topic])).try_recv().unwrap();
        assert_eq!(outcome[&name].as_ref().unwrap_err().to_string(), text);
        assert!(!world.zk.exists(&paths::topic(&name)) || name == "there.x");
    }
}

#[test]
fn leaders_of_a_dead_broker_move_and_come_back() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3], &[3, 2]]);
    world.create("s", &[&[2]]);
    world.kill(2);
    world.check("t", 0, 3, 1, &[3]);
    world.check("t", 1, 3, 1, &[3]);
    world.check("s", 0, -1, 1, &[2]);
    assert_eq!(world.members[&3].roles[&("t".to_owned(), 0)].leader, 3);
    assert_eq!(world.members[&1].image.partition("s", 0).unwrap().offline_replicas, [2]);
    world.start(2);
    world.check("t", 0, 3, 1, &[3]);
    world.check("s", 0, 2, 2, &[2]);
    assert_eq!(world.members[&2].roles.len(), 3);
    assert!(world.members[&1].image.partition("s", 0).unwrap().offline_replicas.is_empty());
}

#[test]
fn the_last_in_sync_replicas_are_remembered() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.kill(3);
    world.check("t", 0, 2, 1, &[2]);
    world.kill(2);
    world.check("t", 0, -1, 2, &[2]);
    world.start(3);
    world.check("t", 0, -1, 2, &[2]);
    world.start(2);
    world.check("t", 0, 2, 3, &[2]);
}

#[test]
fn an_unclean_election_where_the_topic_allows_it() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.kill(3);
    world.kill(2);
    world.start(3);
    world.check("t", 0, -1, 2, &[2]);
    let entity: Entity = ("topics".into(), "t".into());
    let settings = Settings::from([("unclean.leader.election.enable".to_owned(), "true".to_owned())]);
    let written = world.act(1, |core, io, done| core.configs.change(entity, settings, done, io));
    assert_eq!(written.try_recv(), Ok(Ok(())));
    world.check("t", 0, 3, 3, &[3]);
    assert!(world.state("t", 0).recovering);
}

#[test]
fn an_unclean_election_where_all_brokers_are_told_to_allow_it() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.create("strict", &[&[2, 3]]);
    let set = |world: &mut World, entity: (&str, &str), value: &str| {
        let entity: Entity = (entity.0.into(), entity.1.into());
        let settings = Settings::from([("unclean.leader.election.enable".to_owned(), value.to_owned())]);
        let written = world.act(1, |core, io, done| core.configs.change(entity, settings, done, io));
        assert_eq!(written.try_recv(), Ok(Ok(())));
    };
    set(&mut world, ("topics", "strict"), "false");
    world.kill(3);
    world.kill(2);
    world.start(3);
    world.check("t", 0, -1, 2, &[2]);
    set(&mut world, ("brokers", "<default>"), "true");
    world.check("t", 0, 3, 3, &[3]);
    world.check("strict", 0, -1, 2, &[2]);
    assert!(world.state("t", 0).recovering);
}

#[test]
fn another_controller_takes_over() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[1, 2, 3], &[2, 3, 1]]);
    world.kill(1);
    assert_eq!(world.controllers().len(), 1);
    assert_eq!(world.text("/controller_epoch").unwrap(), "2");
    world.check("t", 0, 2, 1, &[2, 3]);
    world.check("t", 1, 2, 1, &[2, 3]);
    world.create("u", &[&[3, 2]]);
    assert_eq!(world.state("u", 0).controller_epoch, 2);
}

#[test]
fn a_lost_session_ends_the_reign_and_begins_anew() {
    let mut world = World::new(&[1, 2]);
    world.create("t", &[&[1, 2]]);
    let epoch = world.members[&1].core.registry.broker_epoch();
    world.expire(1);
    assert_eq!(world.controllers(), [2]);
    assert_eq!(world.members[&1].core.registry.broker_epoch(), None);
    // What the first broker was told before stands in its image until it registers again.
    world.member(1).is_up = false;
    world.check("t", 0, 2, 1, &[2]);
    world.member(1).is_up = true;
    world.new_session(1);
    assert!(world.members[&1].core.registry.broker_epoch() > epoch);
    assert_eq!(world.controllers(), [2]);
    assert_eq!(world.members[&1].roles[&("t".to_owned(), 0)].leader, 2);
}

#[test]
fn a_deposed_controller_writes_nothing() {
    let mut world = World::new(&[1, 2]);
    // Another controller is elected behind its back.
    let events = world.zk.force_set("/controller_epoch", b"9");
    world.deliver(events);
    let new = NewTopic { name: "t".into(), partitions: 1, replication_factor: 1, ..NewTopic::default() };
    let outcome = world.topics(TopicsAction::Create(vec![new])).try_recv().unwrap();
    assert_eq!(outcome["t"], Err(AdminError::NotController));
    assert!(!world.zk.exists("/brokers/topics/t"));
}

#[test]
fn a_topic_is_deleted_everywhere() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[1, 2], &[2, 3]]);
    let outcome = world.topics(TopicsAction::Delete(vec!["t".into(), "none".into()])).try_recv().unwrap();
    assert!(outcome["t"].is_ok(), "{outcome:?}");
    assert_eq!(outcome["none"], Err(AdminError::UnknownTopic("none".into())));
    for path in ["/brokers/topics/t", "/config/topics/t", "/admin/delete_topics/t"] {
        assert!(!world.zk.exists(path), "{path}");
    }
    for member in world.members.values() {
        assert!(member.image.topic("t").is_none() && member.roles.is_empty());
    }
    assert_eq!(world.members[&2].stopped, [("t".to_owned(), 0, true), ("t".to_owned(), 1, true)]);
    world.create("t", &[&[3]]);
    world.check("t", 0, 3, 0, &[3]);
}

#[test]
fn deletion_waits_for_a_dead_broker() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[1, 2]]);
    world.kill(2);
    let outcome = world.topics(TopicsAction::Delete(vec!["t".into()]));
    assert!(outcome.try_recv().unwrap()["t"].is_ok());
    assert!(world.zk.exists("/brokers/topics/t") && world.members[&1].image.topic("t").is_none());
    let new = NewTopic { name: "t".into(), partitions: 1, replication_factor: 1, ..NewTopic::default() };
    let refused = world.topics(TopicsAction::Create(vec![new])).try_recv().unwrap();
    assert_eq!(refused["t"], Err(AdminError::MarkedForDeletion("t".into())));
    world.kill(1);
    world.start(2);
    assert!(world.zk.exists("/brokers/topics/t"), "a broker with a replica is dead");
    world.start(1);
    assert!(!world.zk.exists("/brokers/topics/t") && !world.zk.exists("/admin/delete_topics/t"));
}

/// Brokers that keep deleted topics for a minute.
fn world_that_keeps(brokers: &[i32]) -> World {
    let mut world = World::new(&[]);
    brokers.iter().for_each(|&broker| world.start_with(keeping(broker)));
    world
}

/// With the disks that it has always had.
fn keeping(broker: i32) -> ClusterConfig {
    let disk_past = DiskPast { clean_since: Some(0), kept_since: Some(0) };
    ClusterConfig { undelete_ms: 60_000, disk_past, ..config(broker) }
}

fn undelete(world: &mut World, id: Option<Uuid>) -> Result<Uuid, String> {
    let mut outcome = world.topics(TopicsAction::Undelete(vec![("t".into(), id)])).try_recv().unwrap();
    outcome.remove("t").unwrap().map(|topic| topic.id).map_err(|error| error.to_string())
}

fn delete(world: &mut World) {
    let outcome = world.topics(TopicsAction::Delete(vec!["t".into()])).try_recv().unwrap();
    assert!(outcome["t"].is_ok() && !world.zk.exists("/brokers/topics/t"), "{outcome:?}");
}

#[test]
fn a_deleted_topic_comes_back_as_it_was() {
    let mut world = world_that_keeps(&[1, 2, 3]);
    world.create("t", &[&[1, 2], &[2, 3]]);
    world.kill(2);
    world.check("t", 1, 3, 1, &[3]);
    world.start_with(keeping(2));
    let id = world.members[&1].image.topic_id("t").unwrap();
    let node = paths::deleted_topic(&json::encode_id(id));
    delete(&mut world);
    assert!(world.zk.exists(&node));
    assert_eq!(
        undelete(&mut world, Some(Uuid::from_u128(9))),
        Err("There is no deleted topic 't' that can be brought back.".into())
    );
    // Another controller knows it, too; and another topic of the name is in its way.
    world.kill(1);
    world.start_with(keeping(1));
    world.create("t", &[&[1]]);
    assert_eq!(undelete(&mut world, None), Err("Topic 't' already exists.".into()));
    world.pass(1000);
    delete(&mut world);
    let other = undelete(&mut world, None).unwrap();
    assert_ne!(other, id, "the last is the first to come back");
    delete(&mut world);
    assert_eq!(undelete(&mut world, Some(id)), Ok(id));
    world.check("t", 0, 1, 2, &[1]);
    world.check("t", 1, 3, 2, &[3]);
    assert_eq!(world.members[&2].image.topic_id("t"), Some(id));
    assert!(!world.zk.exists(&node));
    // Who came with an empty disk since then has nothing of it.
    delete(&mut world);
    world.kill(1);
    world.start_with(ClusterConfig { undelete_ms: 60_000, ..config(1) });
    let nothing = "No replica of the deleted topic 't' has its records any more.";
    assert_eq!(undelete(&mut world, Some(id)), Err(nothing.into()));
}

#[test]
fn a_deleted_topic_is_gone_for_good_when_its_time_is_over() {
    let mut world = world_that_keeps(&[1, 2]);
    world.create("t", &[&[1, 2]]);
    let id = world.members[&1].image.topic_id("t").unwrap();
    delete(&mut world);
    world.pass(59_999);
    let node = paths::deleted_topic(&json::encode_id(id));
    assert!(world.zk.exists(&node));
    world.pass(1);
    assert!(!world.zk.exists(&node));
    assert_eq!(undelete(&mut world, None), Err("There is no deleted topic 't' that can be brought back.".into()));
    // Nor can one that nobody keeps.
    let mut world = World::new(&[2]);
    world.start_with(keeping(1));
    world.create("t", &[&[2], &[1]]);
    world.kill(2);
    world.start(2);
    assert_eq!(world.controllers(), [1]);
    delete(&mut world);
    assert!(undelete(&mut world, None).is_err());
}

#[test]
fn a_topic_grows() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[1, 2]]);
    let grow = |count, assignments| TopicsAction::Grow(vec![NewPartitions { topic: "t".into(), count, assignments }]);
    let outcome = world.topics(grow(3, None)).try_recv().unwrap();
    assert!(outcome["t"].is_ok(), "{outcome:?}");
    world.check("t", 1, 2, 0, &world.state("t", 1).isr);
    assert_eq!(world.members[&3].image.partition_count("t"), Some(3));
    let outcome = world.topics(grow(4, Some(vec![vec![3, 1]]))).try_recv().unwrap();
    assert!(outcome["t"].is_ok(), "{outcome:?}");
    world.check("t", 3, 3, 0, &[3, 1]);
    let cases = [
        (grow(2, None), "Topic currently has 4 partitions, which is higher than the requested 2."),
        (grow(4, None), "Topic already has 4 partitions."),
        (grow(5, Some(vec![vec![9]])), "Unknown broker(s) in replica assignment: 9."),
        (grow(5, Some(vec![])), "Increasing the number of partitions by 1 but 0 assignments provided."),
        (
            grow(5, Some(vec![vec![1]])),
            "Inconsistent replication factor between partitions, partition 0 has 2 while partitions [4] have replication \
             factors [1], respectively.",
        ),
    ];
    for (action, text) in cases {
        let outcome = world.topics(action).try_recv().unwrap();
        assert_eq!(outcome["t"].as_ref().unwrap_err().to_string(), text);
    }
}

#[test]
fn topics_that_others_write_are_taken_up() {
    let mut world = World::new(&[1, 2]);
    let events = world.zk.force_create("/brokers/topics/t", br#"{"version":1,"partitions":{"0":[2,1]}}"#);
    world.deliver(events);
    world.run();
    world.check("t", 0, 2, 0, &[2, 1]);
    let id = world.members[&1].image.topic_id("t").expect("the controller gave it an id");
    let record = TopicRecord::decode(world.zk.data("/brokers/topics/t").unwrap()).unwrap();
    assert_eq!(record.topic_id, Some(id));
    let events = world.zk.force_create("/admin/delete_topics/nothing", b"");
    world.deliver(events);
    world.run();
    assert!(!world.zk.exists("/admin/delete_topics/nothing"));
}

#[test]
fn leaders_change_their_isr() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    let id = world.members[&1].image.topic_id("t").unwrap();
    let epoch = world.members[&2].core.registry.broker_epoch().unwrap();
    let alter = |world: &mut World, isr: &[i32], leader_epoch, partition_epoch, by: i64| {
        let change = IsrChange {
            topic: TopicRef::Id(id),
            partition: 0,
            leader_epoch,
            isr: isr.to_vec(),
            recovering: false,
            partition_epoch,
        };
        let (sender, receiver) = mpsc::channel();
        let answered = world.act(1, |core, io, done: Waiter<Vec<IsrOutcome>>| {
            sender.send(core.controller.alter_partitions((2, by), vec![change], done, io)).unwrap();
        });
        receiver.recv().unwrap().map(|()| answered.try_recv().unwrap().remove(0).outcome)
    };
    let shrunk = alter(&mut world, &[2], 0, 0, epoch).unwrap().unwrap();
    assert_eq!((shrunk.partition_epoch, shrunk.state.isr), (1, vec![2]));
    world.check("t", 0, 2, 0, &[2]);
    assert_eq!(alter(&mut world, &[2], 0, 0, epoch).unwrap().unwrap().partition_epoch, 1, "asked again");
    use AlterPartitionError::*;
    assert_eq!(alter(&mut world, &[2, 3], 0, 0, epoch), Ok(Err(StalePartitionEpoch)));
    assert_eq!(alter(&mut world, &[2, 3], 1, 1, epoch), Ok(Err(NotController)));
    assert_eq!(alter(&mut world, &[2, 3], 0, 1, epoch - 1), Err(StaleBrokerEpoch));
    world.kill(3);
    assert_eq!(alter(&mut world, &[2, 3], 0, 1, epoch), Ok(Err(IneligibleReplica)));
    world.start(3);
    assert_eq!(alter(&mut world, &[2, 3], 0, 1, epoch).unwrap().unwrap().partition_epoch, 2);
    world.kill(3);
    world.check("t", 0, 2, 1, &[2]);
    assert_eq!(alter(&mut world, &[2, 3], 0, 3, epoch), Ok(Err(FencedLeaderEpoch)));
}

#[test]
fn a_leader_is_told_of_its_isr_although_the_first_answer_was_lost() {
    for lost in [false, true] {
        let mut world = World::new(&[1, 2, 3]);
        world.create("t", &[&[2, 3]]);
        let epoch = world.members[&2].core.registry.broker_epoch().unwrap();
        if lost {
            world.zk.lose_answer_after(0);
        } else {
            // Somebody else has written, and the write is refused for good.
            let state = world.state("t", 0).encode();
            world.zk.force_set("/brokers/topics/t/partitions/0/state", &state);
        }
        let change = IsrChange {
            topic: TopicRef::Name("t".into()),
            partition: 0,
            leader_epoch: 0,
            isr: vec![2],
            recovering: false,
            partition_epoch: 0,
        };
        let answered = world.act(1, |core, io, done: Waiter<Vec<IsrOutcome>>| {
            core.controller.alter_partitions((2, epoch), vec![change], done, io).unwrap();
        });
        world.member(1).core.store.ask_again();
        world.run();
        let outcome = answered.try_recv().unwrap().remove(0).outcome;
        let isr = outcome.map(|done| (done.partition_epoch, done.state.isr));
        let expected = if lost { Ok((1, vec![2])) } else { Err(AlterPartitionError::StalePartitionEpoch) };
        assert_eq!(isr, expected);
    }
}

#[test]
fn a_broker_shuts_down_in_order() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3], &[3, 2]]);
    world.create("s", &[&[2]]);
    let epoch = world.members[&2].core.registry.broker_epoch().unwrap();
    let remaining = world.act(1, |core, io, done| {
        core.controller.controlled_shutdown((2, epoch), done, io).unwrap();
    });
    assert_eq!(remaining.try_recv(), Ok(vec![]));
    world.check("t", 0, 3, 1, &[3]);
    world.check("t", 1, 3, 1, &[3]);
    world.check("s", 0, 2, 0, &[2]);
    assert_eq!(world.members[&2].stopped, [("t".to_owned(), 1, false)]);
    assert_eq!(world.members[&2].roles[&("t".to_owned(), 0)].leader, 3);
    world.kill(2);
    world.start(2);
    world.check("s", 0, 2, 2, &[2]);
}

#[test]
fn preferred_leaders_return() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.kill(2);
    world.start(2);
    let epoch = world.members[&3].core.registry.broker_epoch().unwrap();
    let change = IsrChange {
        topic: TopicRef::Name("t".into()),
        partition: 0,
        leader_epoch: 1,
        isr: vec![3, 2],
        recovering: false,
        partition_epoch: 1,
    };
    world.act(1, |core, io, done| core.controller.alter_partitions((3, epoch), vec![change], done, io).unwrap());
    world.check("t", 0, 3, 1, &[3, 2]);
    world.pass(5_000);
    world.check("t", 0, 2, 2, &[3, 2]);
    let outcome = world.act(1, |core, io, done| {
        core.controller.elect_leaders(ElectionKind::Preferred, None, done, io).unwrap();
    });
    assert_eq!(outcome.try_recv().unwrap()[&("t".to_owned(), 0)], Err(ElectionError::NotNeeded));
}

#[test]
fn partitions_move_to_other_brokers() {
    let mut world = World::new(&[1, 2, 3, 4]);
    world.create("t", &[&[1, 2]]);
    let wanted = BTreeMap::from([(("t".to_owned(), 0), Some(vec![3, 4]))]);
    let begun = world.act(1, |core, io, done| core.controller.reassign(moves(wanted), done, io).unwrap());
    assert_eq!(begun.try_recv().unwrap()[&("t".to_owned(), 0)], Ok(()));
    world.check("t", 0, 1, 1, &[1, 2]);
    let role = world.members[&3].roles[&("t".to_owned(), 0)].clone();
    assert_eq!((role.replicas, role.adding_replicas, role.is_new), (vec![3, 4, 1, 2], vec![3, 4], true));
    let leader_epoch = world.members[&1].core.registry.broker_epoch().unwrap();
    let change = IsrChange {
        topic: TopicRef::Name("t".into()),
        partition: 0,
        leader_epoch: 1,
        isr: vec![1, 2, 3, 4],
        recovering: false,
        partition_epoch: 1,
    };
    world.act(1, |core, io, done| core.controller.alter_partitions((1, leader_epoch), vec![change], done, io).unwrap());
    world.check("t", 0, 3, 2, &[3, 4]);
    assert_eq!(world.members[&3].roles[&("t".to_owned(), 0)].replicas, [3, 4]);
    assert_eq!(world.members[&1].stopped, [("t".to_owned(), 0, true)]);
    assert_eq!(world.members[&2].stopped, [("t".to_owned(), 0, true)]);
    let record = TopicRecord::decode(world.zk.data("/brokers/topics/t").unwrap()).unwrap();
    assert_eq!(record.partitions[&0], assignment::Assignment::new(vec![3, 4]));
}

fn moves(wanted: BTreeMap<(String, i32), Option<Vec<i32>>>) -> Moves {
    Moves { wanted, may_change_factor: true }
}

#[test]
fn a_move_may_have_to_leave_the_number_of_replicas() {
    let mut world = World::new(&[1, 2, 3, 4]);
    world.create("t", &[&[1, 2]]);
    let tp = ("t".to_owned(), 0);
    let changed = |from, to| Err(ReassignError::FactorChanges { from, to });
    for (target, may_change_factor, expected) in [
        (vec![1, 2, 3], false, changed(2, 3)),
        (vec![3], false, changed(2, 1)),
        (vec![3, 4], false, Ok(())),
        // The one under way ends with two.
        (vec![1, 3, 4, 2], false, changed(2, 4)),
        (vec![1, 3, 4], true, Ok(())),
        (vec![2, 3], false, changed(3, 2)),
    ] {
        let moves = Moves { wanted: BTreeMap::from([(tp.clone(), Some(target.clone()))]), may_change_factor };
        let outcome = world.act(1, |core, io, done| core.controller.reassign(moves, done, io).unwrap());
        assert_eq!(outcome.try_recv().unwrap()[&tp], expected, "{target:?}");
    }
}

#[test]
fn a_move_is_taken_back() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[1, 2]]);
    let tp = ("t".to_owned(), 0);
    let wanted = BTreeMap::from([(tp.clone(), Some(vec![3]))]);
    world.act(1, |core, io, done| core.controller.reassign(moves(wanted), done, io).unwrap());
    let back = BTreeMap::from([(tp.clone(), None)]);
    let outcome = world.act(1, |core, io, done| core.controller.reassign(moves(back), done, io).unwrap());
    assert_eq!(outcome.try_recv().unwrap()[&tp], Ok(()));
    assert_eq!(world.members[&3].stopped, [("t".to_owned(), 0, true)]);
    let record = TopicRecord::decode(world.zk.data("/brokers/topics/t").unwrap()).unwrap();
    assert_eq!(record.partitions[&0], assignment::Assignment::new(vec![1, 2]));
    // The leader and everyone's clients hear of it, too.
    for broker in [1, 2] {
        let member = &world.members[&broker];
        assert_eq!((&member.roles[&tp].replicas, member.roles[&tp].leader_epoch), (&vec![1, 2], 2), "broker {broker}");
        assert_eq!(member.image.partition("t", 0).unwrap().replicas, [1, 2], "broker {broker}");
    }
    world.check("t", 0, 1, 2, &[1, 2]);
    let none = BTreeMap::from([(tp.clone(), None)]);
    let outcome = world.act(1, |core, io, done| core.controller.reassign(moves(none), done, io).unwrap());
    assert_eq!(outcome.try_recv().unwrap()[&tp], Err(ReassignError::NotInProgress));
}

#[test]
fn producer_ids_come_in_blocks() {
    let mut world = World::new(&[1, 2]);
    let epoch = world.members[&2].core.registry.broker_epoch().unwrap();
    for first in [0, 1000, 2000] {
        let block = world.act(1, |core, io, done| {
            core.controller.allocate_producer_ids((2, epoch), done, io).unwrap();
        });
        assert_eq!(block.try_recv().unwrap(), Ok(ProducerIdBlock { broker: 2, first, last: first + 999 }));
    }
    let text = r#"{"version":1,"broker":2,"block_start":"2000","block_end":"2999"}"#;
    assert_eq!(world.text("/latest_producer_id_block").unwrap(), text);
}

#[test]
fn settings_reach_every_broker() {
    let mut world = World::new(&[1, 2]);
    let settings = Settings::from([("k".to_owned(), "v".to_owned())]);
    let entity: Entity = ("brokers".into(), "<default>".into());
    let written = world.act(2, |core, io, done| core.configs.change(entity, settings.clone(), done, io));
    assert_eq!(written.try_recv(), Ok(Ok(())));
    let note = world.text("/config/changes/config_change_0000000000").unwrap();
    assert_eq!(note, r#"{"version":2,"entity_path":"brokers/<default>"}"#);
    for member in world.members.values() {
        assert_eq!(member.core.configs.get("brokers", "<default>"), Some(&settings));
        assert!(
            member
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::ConfigChanged { kind, .. } if kind == "brokers"))
        );
    }
    world.start(3);
    assert_eq!(world.members[&3].core.configs.get("brokers", "<default>"), Some(&settings));
    let entity: Entity = ("users".into(), "alice/clients/c".into());
    let written = world.act(3, |core, io, done| core.configs.change(entity, settings.clone(), done, io));
    assert_eq!(written.try_recv(), Ok(Ok(())));
    assert_eq!(world.members[&1].core.configs.get("users", "alice/clients/c"), Some(&settings));
}

/// A quota that another broker has answered for is there, though the watch has not told of it yet.
#[test]
fn who_asks_for_all_settings_is_told_of_the_newest() {
    let mut world = World::new(&[1]);
    let settings = Settings::from([("producer_byte_rate".to_owned(), "1".to_owned())]);
    let note = json::encode_config_change("users/bob");
    for (path, data) in [
        (paths::config("users", "bob"), json::encode_config(&settings)),
        (format!("{}/{}0000000000", paths::CONFIG_CHANGES, paths::CONFIG_CHANGE_PREFIX), note),
    ] {
        world.zk.force_create(&path, &data);
    }
    assert_eq!(world.members[&1].core.configs.get("users", "bob"), None);
    let done = world.act(1, |core, io, done| core.configs.catch_up(done, io));
    assert_eq!(done.try_recv(), Ok(()));
    assert_eq!(world.members[&1].core.configs.get("users", "bob"), Some(&settings));
}

#[test]
fn settings_that_went_while_nobody_looked_are_gone() {
    let mut world = World::new(&[1, 2]);
    let settings = Settings::from([("k".to_owned(), "v".to_owned())]);
    let entity: Entity = ("topics".into(), "t".into());
    let written = world.act(1, |core, io, done| core.configs.change(entity, settings.clone(), done, io));
    assert_eq!(written.try_recv(), Ok(Ok(())));
    world.expire(2);
    // Somebody waits for settings that are asked for in the session that is over.
    let topics = BTreeSet::from(["none".to_owned()]);
    let (sender, waits) = mpsc::channel();
    let (now, mut effects) = (world.now, Vec::new());
    let member = world.member(2);
    let go_on = Waiter::new(move |()| sender.send(()).unwrap());
    member.core.act(now, &mut effects, |core, io| core.configs.ensure_topics(&topics, go_on, io));
    member.core.store.forget_all();
    assert!(waits.try_recv().is_err() && effects.is_empty());
    let events = world.zk.force_delete("/config/topics/t");
    world.deliver(events);
    world.member(2).effects.clear();
    world.new_session(2);
    assert_eq!(waits.try_recv(), Ok(()));
    assert_eq!(world.members[&2].core.configs.get("topics", "t"), None);
    let emptied = |effect: &Effect| matches!(effect, Effect::ConfigChanged { settings, .. } if settings.is_empty());
    assert!(world.members[&2].effects.iter().any(emptied));
}

#[test]
fn a_quick_restart_waits_for_its_own_old_session() {
    let mut world = World::new(&[1, 2]);
    let old = world.member(2).session;
    world.start(2);
    assert_eq!(world.members[&2].core.registry.broker_epoch(), None);
    let events = world.zk.close(old);
    world.deliver(events);
    world.run();
    assert!(world.members[&2].core.registry.broker_epoch().is_some());
    assert_eq!(world.stops(), []);
}

#[test]
fn an_id_that_is_taken_stops_the_broker() {
    let mut world = World::new(&[1, 2]);
    let mut other = config(2);
    other.endpoints[0].host = "elsewhere".into();
    world.start_with(other);
    let [ClusterError::BrokerIdTaken { .. }] = world.stops()[..] else { panic!("{:?}", world.stops()) };
    let mut world = World::new(&[1, 2]);
    world.start(2);
    // A session outlives its timeout where the ensemble elects meanwhile.
    world.pass(38_000);
    assert_eq!(world.stops(), []);
    world.pass(1_000);
    let [ClusterError::BrokerIdTaken { .. }] = world.stops()[..] else { panic!("{:?}", world.stops()) };
}

#[test]
fn log_directories_of_another_cluster_stop_the_broker() {
    let mut world = World::new(&[1]);
    let id = world.member(1).core.registry.cluster_id().unwrap().to_owned();
    let stored_cluster_id = Some(StoredClusterId { place: "/d/meta.properties".into(), id: "other".into() });
    world.start_with(ClusterConfig { stored_cluster_id, ..config(2) });
    let place = "/d/meta.properties".to_owned();
    assert_eq!(world.stops(), [ClusterError::InconsistentClusterId { place, expected: id, read: "other".into() }]);
    assert!(!world.zk.exists("/brokers/ids/2"));
}

#[test]
fn a_lost_connection_loses_nothing() {
    for lost_answer in 0..40 {
        let mut world = World::new(&[1, 2]);
        world.zk.lose_answer_after(lost_answer);
        let new = NewTopic { name: "t".into(), partitions: 3, replication_factor: 2, ..NewTopic::default() };
        let outcome = world.topics(TopicsAction::Create(vec![new]));
        for id in [1, 2] {
            world.member(id).core.store.ask_again();
        }
        world.run();
        // A create whose answer was lost finds its own topic: Kafka says the same.
        let outcome = outcome.try_recv().unwrap();
        assert!(matches!(outcome["t"], Ok(_) | Err(AdminError::TopicExists(_))), "{lost_answer}: {outcome:?}");
        for partition in 0..3 {
            let state = world.state("t", partition);
            world.check("t", partition, state.isr[0], 0, &state.isr);
        }
    }
}

#[test]
fn an_unreachable_brokers_leaderships_move_before_its_session_ends() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.crash(2);
    let now = world.now;
    let mut effects = Vec::new();
    world.member(1).core.act(now, &mut effects, |core, io| core.controller.on_unreachable(2, io));
    world.member(1).effects.extend(effects);
    world.run();
    world.check("t", 0, 3, 1, &[3]);
    assert!(world.zk.exists("/brokers/ids/2"));
}

#[test]
fn a_lost_answer_to_many_writes_leaves_no_old_picture_of_any() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3], &[3, 2], &[1, 2]]);
    world.crash(2);
    world.zk.lose_answer_after(0);
    let (now, mut effects) = (world.now, Vec::new());
    world.member(1).core.act(now, &mut effects, |core, io| core.controller.on_unreachable(2, io));
    world.member(1).effects.extend(effects);
    world.run();
    // It answers the controller again before that knows what became of its writes.
    world.member(2).is_up = true;
    world.pass(1_000);
    world.member(1).core.store.ask_again();
    world.run();
    for (partition, leader) in [(0, 3), (1, 3), (2, 1)] {
        let state = world.state("t", partition);
        world.check("t", partition, leader, state.leader_epoch, &state.isr);
    }
}

impl World {
    /// These brokers see the process of another end.
    fn see_gone(&mut self, seeing: &[i32], gone: i32) {
        let now = self.now;
        for &broker in seeing {
            let member = self.member(broker);
            let mut effects = Vec::new();
            member.core.act(now, &mut effects, |core, io| core.controller.on_gone(gone, io));
            member.effects.extend(effects);
        }
        self.run();
    }
}

#[test]
fn a_dead_controllers_place_is_taken_before_its_session_ends() {
    for seeing in [&[2][..], &[3], &[2, 3]] {
        let mut world = World::new(&[1, 2, 3]);
        world.create("t", &[&[1, 2, 3], &[2, 3, 1]]);
        world.crash(1);
        world.see_gone(seeing, 1);
        let controllers: Vec<i32> = world.controllers().into_iter().filter(|&id| id != 1).collect();
        assert_eq!(controllers.len(), 1, "{seeing:?}");
        assert!(seeing.contains(&controllers[0]), "{seeing:?}");
        assert_eq!(world.text("/controller_epoch").unwrap(), "2");
        assert!(world.zk.exists("/brokers/ids/1"), "its session still lives");
        world.check("t", 0, 2, 1, &[2, 3]);
        world.check("t", 1, 2, 1, &[2, 3]);
        world.expire(1);
        assert_eq!(world.text("/controller_epoch").unwrap(), "2", "the end of the old session changes nothing");
    }
}

#[test]
fn who_dies_together_with_the_controller_is_not_waited_for() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.crash(2);
    world.crash(1);
    world.see_gone(&[3], 2);
    world.check("t", 0, 2, 0, &[2, 3]);
    world.see_gone(&[3], 1);
    world.check("t", 0, 3, 1, &[3]);
}

/// Back, and in sync: its death is not remembered when another controller begins.
#[test]
fn who_came_back_is_not_taken_for_dead_by_the_next_controller() {
    for reached in [false, true] {
        let mut world = World::new(&[1, 2, 3]);
        world.create("t", &[&[2, 3]]);
        world.see_gone(&[3], 2);
        if reached {
            let now = world.now;
            world.member(3).core.act(now, &mut Vec::new(), |core, _| core.controller.on_reached(2));
        }
        world.see_gone(&[3], 1);
        assert_eq!(world.controllers(), [3]);
        let (leader, epoch, isr) = if reached { (2, 0, &[2, 3][..]) } else { (3, 1, &[3][..]) };
        world.check("t", 0, leader, epoch, isr);
    }
}

/// As after an ensemble was exchanged for one that does not know the sessions' passwords: the node of the old session stays.
#[test]
fn a_controller_whose_session_was_refused_takes_its_own_place() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[1, 2]]);
    let now = world.now;
    let mut effects = Vec::new();
    world.member(1).core.on_session_over(now, &mut effects);
    world.member(1).effects.extend(effects);
    assert!(world.controllers().is_empty());
    world.new_session(1);
    assert_eq!(world.controllers(), [1]);
    assert_eq!(world.text("/controller_epoch").unwrap(), "2");
    world.create("u", &[&[1, 2]]);
}

#[test]
fn a_controller_that_was_only_cut_off_resigns() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[1, 2]]);
    world.see_gone(&[2], 1);
    assert_eq!(world.controllers(), [2]);
    // It answers its successor, and is in the cluster again.
    world.pass(1_000);
    world.check("t", 0, 2, 1, &[2]);
    world.create("u", &[&[1, 2]]);
    assert_eq!(world.state("u", 0).controller_epoch, 2);
    // What a broker saw of one that is not the controller moves nobody.
    world.see_gone(&[3], 1);
    assert_eq!(world.controllers(), [2]);
}

/// It may have less than its earlier life had, and its successor cannot be written down yet.
#[test]
fn the_next_life_of_a_leader_is_not_told_to_go_on() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.zk.refuse_writes(true);
    world.kill(2);
    assert_eq!(world.state("t", 0).leader, 2);
    world.zk.refuse_writes(false);
    world.start(2);
    let told = world.member(2).roles.get(&("t".to_owned(), 0)).map(|role| (role.leader, role.leader_epoch));
    assert!(told.is_none_or(|told| told == (3, 1)), "{told:?}");
    world.pass(1_000);
    world.check("t", 0, 3, 1, &[3]);
}

#[test]
fn validation_changes_nothing() {
    let mut world = World::new(&[1]);
    let new = NewTopic { name: "t".into(), partitions: 3, replication_factor: 1, ..NewTopic::default() };
    let request = TopicsRequest { action: TopicsAction::Create(vec![new]), timeout_ms: 5000, validate_only: true };
    let outcome = world.act(1, |core, io, done| core.controller.change_topics(request, done, io).unwrap());
    let created = CreatedTopic { id: Uuid::nil(), partitions: 3, replication_factor: 1 };
    assert_eq!(outcome.try_recv().unwrap()["t"], Ok(created));
    assert!(!world.zk.exists("/brokers/topics/t"));
}

#[test]
fn what_zookeeper_refuses_is_tried_again_later() {
    let mut world = World::new(&[1, 2, 3]);
    world.create("t", &[&[2, 3]]);
    world.zk.refuse_writes(true);
    world.kill(2);
    assert_eq!(world.state("t", 0).leader, 2);
    world.pass(1_000);
    world.zk.refuse_writes(false);
    world.pass(1_000);
    world.check("t", 0, 3, 1, &[3]);
}

/// What a cluster wants done, as words.
fn words(effects: &[Effect]) -> Vec<&'static str> {
    let word = |effect: &Effect| match effect {
        Effect::Zk(_, ZkCommand::Connect(_)) => "connect",
        Effect::Zk(_, ZkCommand::Send(_)) => "send",
        Effect::Zk(_, ZkCommand::Disconnect) => "disconnect",
        Effect::RememberSession(_) => "remember",
        Effect::Closed => "closed",
        _ => "other",
    };
    effects.iter().map(word).collect()
}

/// A server's answer to a handshake: this session, or none.
fn handshake(session_id: i64) -> ZkInput {
    let response = common::zk::ConnectResponse {
        protocol_version: 0,
        timeout_ms: if session_id == 0 { 0 } else { 6000 },
        session_id,
        password: bytes::Bytes::from_static(&[7; 16]),
        read_only: Some(false),
    };
    let mut body = bytes::BytesMut::new();
    response.encode(&mut common::zk::Writer::new(&mut body));
    let mut frame = bytes::BytesMut::from(&u32::try_from(body.len()).unwrap().to_be_bytes()[..]);
    frame.extend_from_slice(&body);
    ZkInput::Bytes(frame.freeze())
}

#[test]
fn the_session_of_an_earlier_life_is_closed_first() {
    let now = Now::default();
    let mut first = config(1);
    first.remembered_session = Some(remembered::write(&first, 55, &[7; 16]));
    let cluster = Cluster::new(first, Rng::with_seed(1), now).unwrap();
    let mut effects = Vec::new();
    cluster.start(now, &mut effects);
    cluster.on_zk(ZkInput::Connected, now, &mut effects);
    cluster.on_zk(handshake(55), now, &mut effects);
    assert_eq!(words(&std::mem::take(&mut effects)), ["connect", "send", "send"]);
    // The server confirms the end by dropping the connection, or the session was over before.
    cluster.on_zk(ZkInput::Disconnected, now, &mut effects);
    assert_eq!(words(&std::mem::take(&mut effects)), ["connect"]);
    cluster.on_zk(ZkInput::Connected, now, &mut effects);
    cluster.on_zk(handshake(56), now, &mut effects);
    assert_eq!(words(&std::mem::take(&mut effects)), ["send", "remember", "send"]);
    cluster.close(now, &mut effects);
    cluster.on_zk(ZkInput::Disconnected, now, &mut effects);
    assert_eq!(words(&effects), ["send", "closed"]);
}
