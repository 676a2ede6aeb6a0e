//! A member of a share group (KIP-932): joins, gets records of the partitions that it is given, says what became of each, and
//! hears whether that counts. librdkafka has no such consumer. One thread is the member, so that its heartbeats go on while the
//! tool is busy, and one a broker waits for records; the next are asked for when something was said of all those before. Prints
//! nothing.

mod answer;
mod records;
mod session;

use crate::client::{Connection, KafkaError, check};
use crate::cluster::{Cluster, NoServers, Target, address};
use crate::security::Security;
use crate::uuid_text;
use answer::{Answer, NO_ANSWER};
use anyhow::{Context as _, anyhow};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    MetadataRequest, MetadataRequestTopic, ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest,
    ShareFetchResponse, ShareGroupHeartbeatRequest,
};
use records::{Piece, delivered};
use session::{Heard, Session, Wanted};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
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
/// How long brokers may take to hear what is told them at once, as in Java's consumer (`default.api.timeout.ms`).
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

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
    pub(crate) topic: Arc<str>,
    pub(crate) place: Place,
    /// Who gave it, and hears what became of it.
    leader: i32,
    pub(crate) record: common::kafka::batch::Record,
    /// The broker's clock, not the producer's, gave the timestamp.
    pub(crate) is_log_append_time: bool,
    /// How often it was delivered, this time included.
    pub(crate) delivery_count: i16,
    /// Of its batch; negative if that has none.
    pub(crate) leader_epoch: i32,
}

/// What brokers answered to what the tool said of records of one partition.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// In the order in which it was said.
    pub(crate) offsets: Vec<i64>,
    /// Why it does not count, in Kafka's words.
    pub(crate) error: Option<String>,
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
    pub(crate) max_bytes: i32,
}

impl Settings {
    /// With the settings that Java's consumer reads, and its defaults.
    pub(crate) fn new(servers: &str, properties: &BTreeMap<String, String>, topics: &[String]) -> Settings {
        let text = |name: &str| properties.get(name).cloned().unwrap_or_default();
        let number = |name: &str| properties.get(name).and_then(|value| value.trim().parse().ok());
        Settings {
            servers: servers.to_owned(),
            properties: properties.clone(),
            client_id: text("client.id"),
            group: text("group.id"),
            topics: topics.to_vec(),
            max_records: number("max.poll.records").filter(|max| *max > 0).unwrap_or(MAX_RECORDS),
            max_bytes: number("fetch.max.bytes").filter(|max| *max >= 0).unwrap_or(MAX_BYTES),
        }
    }

    /// The cluster of these settings, not yet connected to.
    ///
    /// # Errors
    /// They cannot be, in the words of Java's consumer.
    pub(crate) fn cluster(&self) -> anyhow::Result<Cluster> {
        const FAILED: &str = "Failed to construct Kafka share consumer\nCaused by";
        if self.group.is_empty() {
            let problem = "You must provide a valid group.id in the consumer configuration.";
            return Err(anyhow!("org.apache.kafka.common.errors.InvalidGroupIdException: {problem}").context(FAILED));
        }
        Cluster::new(&self.servers, &self.properties).map_err(|error| match error.downcast::<NoServers>() {
            Ok(NoServers(problem)) => anyhow::Error::new(problem).context(FAILED),
            Err(error) => error.context(FAILED),
        })
    }
}

/// What the tool has said of a record: leader, partition, offset.
type Saying = (i32, Place, i64, Acknowledge);

/// To the member's thread.
enum Event {
    /// The tool has said what became of records. Brokers hear it when they are asked for more.
    Said(Vec<Saying>),
    /// The same; brokers are to hear it at once.
    Commit(Vec<Saying>),
    /// A broker's answer.
    Fetched(i32, anyhow::Result<ShareFetchResponse>),
    /// A broker's answer to what was told it at once.
    Acknowledged(i32, ShareAcknowledgeResponse),
    /// The tool ends, and says this last.
    Leave(Vec<Saying>),
}

/// To the tool.
enum News {
    Delivered(Vec<Delivered>),
    Acknowledged(Vec<Acknowledged>),
    /// The member cannot be one any more.
    Failed(anyhow::Error),
}

/// A member of a group.
pub(crate) struct ShareConsumer {
    events: Sender<Event>,
    news: Receiver<News>,
    said: Vec<Saying>,
    /// Records of which something was said, and not answered yet.
    unanswered: usize,
    /// Came while something else was waited for.
    delivered: VecDeque<Vec<Delivered>>,
    acknowledged: Vec<Acknowledged>,
    thread: Option<JoinHandle<()>>,
}

impl ShareConsumer {
    /// Begins to join. Fails for settings that cannot be.
    pub(crate) fn join(settings: Settings) -> anyhow::Result<ShareConsumer> {
        let (events, inbox) = channel();
        let (to_tool, news) = channel();
        let mut cluster = settings.cluster()?;
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
        Ok(ShareConsumer {
            events,
            news,
            said: Vec::new(),
            unanswered: 0,
            delivered: VecDeque::new(),
            acknowledged: Vec::new(),
            thread: Some(thread),
        })
    }

    /// Says what became of a record. The group hears of it with the next `poll` or `commit`.
    pub(crate) fn acknowledge(&mut self, record: &Delivered, word: Acknowledge) {
        self.said.push((record.leader, record.place, record.record.offset, word));
    }

    /// The next records, or none, when none came within this time or brokers answered to what was said. Something must have been
    /// said of all those before.
    ///
    /// # Errors
    /// The member cannot be one any more.
    pub(crate) fn poll(&mut self, timeout: Duration) -> anyhow::Result<Vec<Delivered>> {
        // A tool that did not ask for them does not want to know.
        self.acknowledged.clear();
        if !self.said.is_empty() {
            self.send(Event::Said);
        }
        if self.delivered.is_empty() {
            self.hear(timeout)?;
        }
        Ok(self.delivered.pop_front().unwrap_or_default())
    }

    /// Has the brokers hear what was said at once; `poll` and [`Self::commit_and_wait`] hear their answers.
    pub(crate) fn commit(&mut self) {
        if !self.said.is_empty() {
            self.send(Event::Commit);
        }
    }

    /// The same, and waits for their answers.
    ///
    /// # Errors
    /// The member cannot be one any more, or they did not answer in time.
    pub(crate) fn commit_and_wait(&mut self) -> anyhow::Result<()> {
        self.commit();
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        while self.unanswered > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                anyhow::bail!("org.apache.kafka.common.errors.TimeoutException");
            }
            self.hear(left)?;
        }
        Ok(())
    }

    /// What was heard since this was last asked for, or since the last `poll` began.
    pub(crate) fn acknowledged(&mut self) -> Vec<Acknowledged> {
        std::mem::take(&mut self.acknowledged)
    }

    /// Tells what is left to tell, releases the records of which nothing was said, and leaves the group. Gives what brokers
    /// answered meanwhile.
    pub(crate) fn leave(mut self) -> Vec<Acknowledged> {
        self.send(Event::Leave);
        if let Some(thread) = self.thread.take() {
            // A panic has told itself.
            let _ = thread.join();
        }
        while let Ok(news) = self.news.try_recv() {
            if let News::Acknowledged(acknowledged) = news {
                self.acknowledged.extend(acknowledged);
            }
        }
        self.acknowledged
    }

    fn send(&mut self, event: impl Fn(Vec<Saying>) -> Event) {
        let said = std::mem::take(&mut self.said);
        self.unanswered += said.len();
        // The thread ends after an error that the tool has heard or hears next.
        let _ = self.events.send(event(said));
    }

    /// Takes what comes within this time.
    fn hear(&mut self, timeout: Duration) -> anyhow::Result<()> {
        match self.news.recv_timeout(timeout) {
            Ok(News::Delivered(delivered)) => self.delivered.push_back(delivered),
            Ok(News::Acknowledged(acknowledged)) => {
                let answered: usize = acknowledged.iter().map(|one| one.offsets.len()).sum();
                self.unanswered = self.unanswered.saturating_sub(answered);
                self.acknowledged.extend(acknowledged);
            }
            Ok(News::Failed(error)) => return Err(error),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the member has left the group"),
        }
        Ok(())
    }
}

/// What is known of the topics.
#[derive(Default)]
struct Topics {
    names: BTreeMap<Uuid, Arc<str>>,
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
    to_tool: Sender<News>,
}

impl Member {
    fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            if Instant::now() >= self.heartbeat_at
                && let Err(error) = self.heartbeat()
            {
                self.tell(News::Failed(error));
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
            Event::Commit(said) => {
                self.say(said);
                self.commit();
            }
            Event::Fetched(leader, Ok(response)) => self.on_fetched(leader, response),
            Event::Fetched(leader, Err(_)) => {
                let lost = self.sessions.remove(&leader).map(Session::give_up);
                self.pass_on(lost.unwrap_or_default());
                self.topics.leaders.clear();
            }
            Event::Acknowledged(leader, response) => {
                self.on_answer(leader, &Answer::from(&response));
            }
        }
    }

    /// If nobody listens any more, the member is about to leave.
    fn tell(&self, news: News) {
        let _ = self.to_tool.send(news);
    }

    /// Tells the tool what brokers answered.
    fn pass_on(&self, heard: Vec<Heard>) {
        let named = heard.into_iter().map(|((topic, partition), offsets, error)| {
            let topic = self.topics.names.get(&topic).cloned().unwrap_or_default();
            Acknowledged { topic, partition, offsets, error }
        });
        let acknowledged: Vec<Acknowledged> = named.collect();
        if !acknowledged.is_empty() {
            self.tell(News::Acknowledged(acknowledged));
        }
    }

    fn say(&mut self, said: Vec<Saying>) {
        let mut unheard: BTreeMap<Place, Vec<i64>> = BTreeMap::new();
        for (leader, place, offset, word) in said {
            match self.sessions.get_mut(&leader) {
                Some(session) => session.say(place, (offset, offset), word),
                // Its connection broke, and with it the member lost what it held.
                None => unheard.entry(place).or_default().push(offset),
            }
        }
        let lost = |(place, offsets)| (place, offsets, Some(NO_ANSWER.to_owned()));
        self.pass_on(unheard.into_iter().map(lost).collect());
    }

    /// Tells every broker what there is to tell it.
    fn commit(&mut self) {
        let mut lost = Vec::new();
        for session in self.sessions.values_mut() {
            lost.extend(session.tell(&self.settings.group, &self.member_id));
        }
        self.pass_on(lost);
    }

    /// Gives false if the answer is that nothing was done.
    fn on_answer(&mut self, leader: i32, answer: &Answer) -> bool {
        let Some(session) = self.sessions.get_mut(&leader) else { return false };
        let (moved, heard) = session.on_answer(answer);
        for place in moved {
            self.topics.leaders.remove(&place);
        }
        self.pass_on(heard);
        answer.is_of_session()
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
        let mut lost = Vec::new();
        for (leader, session) in &mut self.sessions {
            let places = by_leader.remove(leader).unwrap_or_default();
            let wanted = Wanted {
                group: &self.settings.group,
                member_id: &self.member_id,
                places: &places,
                max_records: self.settings.max_records,
                max_bytes: self.settings.max_bytes,
            };
            lost.extend(session.ask(&wanted));
        }
        self.pass_on(lost);
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
            self.topics.names.insert(topic.topic_id, name.as_str().into());
            for partition in topic.partitions.iter().filter(|partition| partition.leader_id >= 0) {
                self.topics.leaders.insert((topic.topic_id, partition.partition_index), partition.leader_id);
            }
        }
        self.cluster.learn(metadata);
    }

    fn on_fetched(&mut self, leader: i32, response: ShareFetchResponse) {
        if !self.on_answer(leader, &Answer::from(&response)) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&leader) else { return };
        let mut delivered_now = Vec::new();
        for topic in response.responses {
            let Some(name) = self.topics.names.get(&topic.topic_id) else { continue };
            for data in topic.partitions {
                let place = (topic.topic_id, data.partition_index);
                for piece in delivered(&data) {
                    match piece {
                        Piece::Record { record, is_log_append_time, leader_epoch, delivery_count } => {
                            session.hands_out(place, record.offset);
                            let topic = name.clone();
                            delivered_now.push(Delivered {
                                topic,
                                place,
                                leader,
                                record,
                                is_log_append_time,
                                delivery_count,
                                leader_epoch,
                            });
                        }
                        Piece::Nothing(first, last, word) => session.say(place, (first, last), word),
                    }
                }
            }
        }
        if !delivered_now.is_empty() {
            self.tell(News::Delivered(delivered_now));
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
        for (leader, session) in std::mem::take(&mut self.sessions) {
            let told = session.close(&self.settings.group, &self.member_id);
            let answer = inbox.try_iter().find_map(|event| match event {
                Event::Acknowledged(from, response) if from == leader => Some(Answer::from(&response)),
                _ => None,
            });
            self.pass_on(session::heard(told, answer.as_ref()));
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
            Ok(match order {
                session::Order::Fetch(request) => Event::Fetched(leader, Ok(open.call::<ShareFetchRequest>(&request)?)),
                session::Order::Acknowledge(request) => {
                    Event::Acknowledged(leader, open.call::<ShareAcknowledgeRequest>(&request)?)
                }
            })
        })();
        if answers.send(outcome.unwrap_or_else(|error| Event::Fetched(leader, Err(error)))).is_err() {
            return;
        }
    }
}
