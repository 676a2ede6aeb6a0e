//! A member of a share group (KIP-932): joins, gets records of the partitions that it is given, and says what became of each.
//! librdkafka has no such consumer. One thread is the member, so that its heartbeats go on while the tool is busy, and one a
//! broker waits for records; the next are asked for when something was said of all those before. Prints nothing.

mod records;
mod session;

use crate::client::{Connection, KafkaError, check};
use crate::cluster::{Cluster, Target, address};
use crate::security::Security;
use crate::uuid_text;
use anyhow::Context as _;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    MetadataRequest, MetadataRequestTopic, ShareAcknowledgeRequest, ShareFetchRequest, ShareFetchResponse,
    ShareGroupHeartbeatRequest,
};
use records::delivered;
use session::{Session, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Epoch of a member that joins, and of one that leaves.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;
/// How long a broker waits for records, as in Java's consumer (`fetch.max.wait.ms`).
const MAX_WAIT_MS: i32 = 500;
/// The most that a broker gives at once (`fetch.max.bytes`, `max.poll.records`).
const MAX_BYTES: i32 = 50 << 20;
const MAX_RECORDS: i32 = 500;
/// The pause before a broker that did not answer, or knew better, is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a broker may take to answer beyond the time that it waits for records.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the coordinator is looked for before heartbeats fail.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A partition, by topic id.
pub(crate) type Place = (Uuid, i32);

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledge {
    /// There is no such record.
    Gap = 0,
    /// It is done.
    Accept = 1,
    /// Another member, or this one later, shall have it.
    Release = 2,
    /// Nobody shall have it again.
    Reject = 3,
}

/// A record that the member holds.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) topic: String,
    pub(crate) place: Place,
    /// Who gave it, and hears what became of it.
    leader: i32,
    pub(crate) record: common::kafka::batch::Record,
    /// The broker's clock, not the producer's, gave the timestamp.
    pub(crate) is_log_append_time: bool,
    /// How often it was delivered, this time included.
    pub(crate) delivery_count: i16,
}

/// What a member needs to know.
pub(crate) struct Settings {
    pub(crate) servers: String,
    /// Those of the client's properties, for security and time limits.
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) client_id: String,
    pub(crate) group: String,
    pub(crate) topics: Vec<String>,
    pub(crate) max_records: i32,
}

impl Settings {
    /// With the settings that Java's consumer reads, and its defaults.
    pub(crate) fn new(servers: &str, properties: &BTreeMap<String, String>, topics: &[String]) -> Settings {
        let text = |name: &str| properties.get(name).cloned().unwrap_or_default();
        let max_records = properties.get("max.poll.records").and_then(|value| value.trim().parse().ok());
        Settings {
            servers: servers.to_owned(),
            properties: properties.clone(),
            client_id: text("client.id"),
            group: text("group.id"),
            topics: topics.to_vec(),
            max_records: max_records.filter(|max| *max > 0).unwrap_or(MAX_RECORDS),
        }
    }
}

/// What the tool has said of a record: leader, partition, offset.
type Saying = (i32, Place, i64, Acknowledge);

/// To the member's thread.
enum Event {
    /// The tool has said what became of records.
    Said(Vec<Saying>),
    /// A broker's answer.
    Fetched(i32, anyhow::Result<ShareFetchResponse>),
    /// The tool ends, and says this last.
    Leave(Vec<Saying>),
}

/// A member of a group.
pub(crate) struct ShareConsumer {
    events: Sender<Event>,
    deliveries: Receiver<anyhow::Result<Vec<Delivered>>>,
    said: Vec<Saying>,
    thread: Option<JoinHandle<()>>,
}

impl ShareConsumer {
    /// Begins to join. Fails for settings that cannot be.
    pub(crate) fn join(settings: Settings) -> anyhow::Result<ShareConsumer> {
        let (events, inbox) = channel();
        let (to_tool, deliveries) = channel();
        let mut cluster = Cluster::new(&settings.servers, &settings.properties)?;
        cluster.set_call_timeout(CALL_TIMEOUT);
        cluster.set_client_id(&settings.client_id);
        let security = Security::of(&settings.properties)?;
        let member = Member {
            cluster,
            security,
            member_id: uuid_text::format(Uuid::new_v4()),
            settings,
            epoch: JOINS,
            heartbeat_at: Instant::now(),
            assigned: BTreeSet::new(),
            topics: Topics::default(),
            sessions: BTreeMap::new(),
            to_self: events.clone(),
            to_tool,
        };
        let thread = std::thread::Builder::new()
            .name("share-group-member".to_owned())
            .spawn(move || member.run(&inbox))
            .context("starting a thread")?;
        Ok(ShareConsumer { events, deliveries, said: Vec::new(), thread: Some(thread) })
    }

    /// Says what became of a record. The group hears of it with the next `poll`.
    pub(crate) fn acknowledge(&mut self, record: &Delivered, word: Acknowledge) {
        self.said.push((record.leader, record.place, record.record.offset, word));
    }

    /// The next records, or none within this time. Something must have been said of all those before.
    ///
    /// # Errors
    /// The member cannot be one any more.
    pub(crate) fn poll(&mut self, timeout: Duration) -> anyhow::Result<Vec<Delivered>> {
        if !self.said.is_empty() {
            // The thread ends after an error that `poll` has told or tells next.
            let _ = self.events.send(Event::Said(std::mem::take(&mut self.said)));
        }
        match self.deliveries.recv_timeout(timeout) {
            Ok(delivered) => delivered,
            Err(RecvTimeoutError::Timeout) => Ok(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the member has left the group"),
        }
    }

    /// Tells what is left to tell, releases the records of which nothing was said, and leaves the group.
    pub(crate) fn leave(mut self) {
        // As above.
        let _ = self.events.send(Event::Leave(std::mem::take(&mut self.said)));
        if let Some(thread) = self.thread.take() {
            // A panic has told itself.
            let _ = thread.join();
        }
    }
}

/// What is known of the topics.
#[derive(Default)]
struct Topics {
    names: BTreeMap<Uuid, String>,
    leaders: BTreeMap<Place, i32>,
    /// Must not be asked for again before.
    not_before: Option<Instant>,
}

/// The member's thread.
struct Member {
    settings: Settings,
    cluster: Cluster,
    security: Security,
    member_id: String,
    epoch: i32,
    heartbeat_at: Instant,
    assigned: BTreeSet<Place>,
    topics: Topics,
    sessions: BTreeMap<i32, Session>,
    to_self: Sender<Event>,
    to_tool: Sender<anyhow::Result<Vec<Delivered>>>,
}

impl Member {
    fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            if Instant::now() >= self.heartbeat_at
                && let Err(error) = self.heartbeat()
            {
                // Nobody may listen any more.
                let _ = self.to_tool.send(Err(error));
                return self.leave(inbox);
            }
            self.ask();
            let looks_again = self.topics.not_before.filter(|_| self.lacks_leaders());
            let moments = self.sessions.values().filter_map(Session::wakes_at).chain(looks_again);
            let next = moments.chain([self.heartbeat_at]).min();
            let patience = next.map_or(PAUSE, |next| next.saturating_duration_since(Instant::now()));
            match inbox.recv_timeout(patience) {
                // Nothing more is asked for: what is released now is for others.
                Ok(Event::Leave(said)) => {
                    self.say(said);
                    return self.leave(inbox);
                }
                Ok(event) => self.on_event(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Said(said) | Event::Leave(said) => self.say(said),
            Event::Fetched(leader, Ok(response)) => self.on_fetched(leader, response),
            Event::Fetched(leader, Err(_)) => {
                self.sessions.remove(&leader);
                self.topics.leaders.clear();
            }
        }
    }

    fn say(&mut self, said: Vec<Saying>) {
        for (leader, place, offset, word) in said {
            if let Some(session) = self.sessions.get_mut(&leader) {
                session.say(place, (offset, offset), word);
            }
        }
    }

    /// Asks every leader of assigned partitions that has nothing under way.
    fn ask(&mut self) {
        if self.lacks_leaders() {
            self.learn_leaders();
        }
        let mut by_leader: BTreeMap<i32, BTreeSet<Place>> = BTreeMap::new();
        for place in &self.assigned {
            if let Some(leader) = self.topics.leaders.get(place) {
                by_leader.entry(*leader).or_default().insert(*place);
            }
        }
        for leader in by_leader.keys() {
            if !self.sessions.contains_key(leader)
                && let Some(broker) = self.cluster.broker(*leader)
            {
                let server = address(&broker.host, broker.port);
                let session =
                    Session::open(*leader, &server, (&self.security, &self.settings.client_id), &self.to_self);
                self.sessions.insert(*leader, session);
            }
        }
        for (leader, session) in &mut self.sessions {
            let places = by_leader.remove(leader).unwrap_or_default();
            let wanted = Wanted {
                group: &self.settings.group,
                member_id: &self.member_id,
                places: &places,
                max_records: self.settings.max_records,
            };
            session.ask(&wanted);
        }
    }

    fn lacks_leaders(&self) -> bool {
        !self.assigned.iter().all(|place| self.topics.leaders.contains_key(place))
    }

    /// Who leads the assigned partitions; not more often than is decent.
    fn learn_leaders(&mut self) {
        if self.topics.not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.topics.not_before = Some(Instant::now() + PAUSE);
        let ids: BTreeSet<Uuid> = self.assigned.iter().map(|(id, _)| *id).collect();
        let request = |_| MetadataRequest {
            topics: Some(ids.iter().map(|id| MetadataRequestTopic { topic_id: *id, name: None }).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        // It is asked again.
        let Ok(metadata) = self.cluster.call(Target::Any, request, |_| 0) else { return };
        for topic in &metadata.topics {
            let Some(name) = &topic.name else { continue };
            self.topics.names.insert(topic.topic_id, name.clone());
            for partition in topic.partitions.iter().filter(|partition| partition.leader_id >= 0) {
                self.topics.leaders.insert((topic.topic_id, partition.partition_index), partition.leader_id);
            }
        }
        self.cluster.learn(metadata);
    }

    fn on_fetched(&mut self, leader: i32, response: ShareFetchResponse) {
        let Some(session) = self.sessions.get_mut(&leader) else { return };
        let moved = session.on_answer(&response);
        for place in moved {
            self.topics.leaders.remove(&place);
        }
        if response.error_code != 0 {
            return;
        }
        let mut delivered_now = Vec::new();
        for topic in response.responses {
            let Some(name) = self.topics.names.get(&topic.topic_id) else { continue };
            for data in topic.partitions {
                let place = (topic.topic_id, data.partition_index);
                for piece in delivered(&data) {
                    match piece {
                        records::Piece::Record(record, is_log_append_time, delivery_count) => {
                            session.hands_out(place, record.offset);
                            let topic = name.clone();
                            delivered_now.push(Delivered {
                                topic,
                                place,
                                leader,
                                record,
                                is_log_append_time,
                                delivery_count,
                            });
                        }
                        records::Piece::Nothing(first, last, word) => session.say(place, (first, last), word),
                    }
                }
            }
        }
        if !delivered_now.is_empty() {
            // If nobody listens any more the member is about to leave.
            let _ = self.to_tool.send(Ok(delivered_now));
        }
    }

    /// Keeps the membership, and hears what is assigned.
    fn heartbeat(&mut self) -> anyhow::Result<()> {
        let request = |_| ShareGroupHeartbeatRequest {
            group_id: self.settings.group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            rack_id: self.settings.properties.get("client.rack").cloned().filter(|rack| !rack.is_empty()),
            subscribed_topic_names: (self.epoch == JOINS).then(|| self.settings.topics.clone()),
        };
        let response =
            match self.cluster.call(Target::Group(&self.settings.group), request, |response| response.error_code) {
                Ok(response) => response,
                Err(error) if crate::cluster::is_lasting(&error) && !error.is::<crate::cluster::TimedOut>() => {
                    return Err(error);
                }
                // Brokers may come back.
                Err(_) => {
                    self.heartbeat_at = Instant::now() + PAUSE;
                    return Ok(());
                }
            };
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).max(100);
        self.heartbeat_at = Instant::now() + Duration::from_millis(interval);
        match check(response.error_code, response.error_message.as_deref()) {
            Ok(()) => {}
            Err(error) if is_out(&error) => {
                // As a new member: what it holds comes to others when its locks end.
                (self.epoch, self.heartbeat_at) = (JOINS, Instant::now());
                self.assigned.clear();
                return Ok(());
            }
            Err(error) if error.code.is_retriable() => {
                self.heartbeat_at = Instant::now() + PAUSE;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.epoch = response.member_epoch;
        if let Some(assignment) = response.assignment {
            let places = |topic: common::kafka::messages::share_group_heartbeat::TopicPartitions| {
                let id = topic.topic_id;
                topic.partitions.into_iter().map(move |partition| (id, partition))
            };
            self.assigned = assignment.topic_partitions.into_iter().flat_map(places).collect();
        }
        Ok(())
    }

    /// Waits for what is under way, tells what is left to tell, and leaves.
    fn leave(mut self, inbox: &Receiver<Event>) {
        let deadline = Instant::now() + TIMEOUT;
        while self.sessions.values().any(Session::is_asking) && Instant::now() < deadline {
            match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.on_event(event),
                Err(_) => break,
            }
        }
        for (_, session) in std::mem::take(&mut self.sessions) {
            let wanted = Wanted {
                group: &self.settings.group,
                member_id: &self.member_id,
                places: &BTreeSet::new(),
                max_records: 0,
            };
            session.close(&wanted);
        }
        if self.epoch > JOINS {
            let request = |_| ShareGroupHeartbeatRequest {
                group_id: self.settings.group.clone(),
                member_id: self.member_id.clone(),
                member_epoch: LEAVES,
                ..ShareGroupHeartbeatRequest::default()
            };
            // A coordinator that does not hear it learns by the silence.
            let _ = self.cluster.call(Target::Group(&self.settings.group), request, |response| response.error_code);
        }
    }
}

/// Does the group not know the member, or no longer as what it takes itself for?
fn is_out(error: &KafkaError) -> bool {
    matches!(error.code, ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch)
}

/// One broker's thread: carries requests there and answers back. Ends when the session is dropped.
fn carry(
    (leader, server): (i32, &str),
    (security, client_id): (&Security, &str),
    requests: &Receiver<session::Order>,
    answers: &Sender<Event>,
) {
    let mut connection: Option<Connection> = None;
    while let Ok(order) = requests.recv() {
        let outcome = (|| {
            let open = match &mut connection {
                Some(open) => open,
                None => {
                    let patience = TIMEOUT + Duration::from_millis(u64::try_from(MAX_WAIT_MS).unwrap_or(0));
                    connection.insert(Connection::open_as(server, patience, security)?.named(client_id))
                }
            };
            match order {
                session::Order::Fetch(request) => Ok(Some(open.call::<ShareFetchRequest>(&request)?)),
                session::Order::Close(request) => {
                    open.call::<ShareAcknowledgeRequest>(&request)?;
                    Ok(None)
                }
            }
        })();
        let event = match outcome {
            Ok(Some(response)) => Event::Fetched(leader, Ok(response)),
            Ok(None) => return,
            Err(error) => Event::Fetched(leader, Err(error)),
        };
        if answers.send(event).is_err() {
            return;
        }
    }
}
