//! Settings kept in ZooKeeper, `/config/KIND/NAME`: read at start, read again when a note in `/config/changes` says so,
//! written for the administration requests. Knows texts only; what a setting means is not its business.

use super::first_reading::FirstReading;
use super::json::{decode_config, decode_config_change, encode_config, encode_config_change};
use super::store::{ANY_VERSION, ZkResult, children, delete, get, set};
use super::{Answer, Effect, Io, Waiter, paths};
use common::zk::{CreateMode, EventType, Response, WatcherEvent, ZkError};
use std::collections::{BTreeMap, BTreeSet};
use tracing::warn;

/// Notes older than this have been seen by every live broker and are removed, as Kafka does.
const CHANGE_EXPIRES_AFTER_MS: i64 = 15 * 60 * 1000;

/// Kind and name of what has settings: `("topics", "t")`, `("users", "u/clients/c")`.
pub type Entity = (String, String);
/// Settings by key.
pub type Settings = BTreeMap<String, String>;

/// What is asked of ZooKeeper.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ConfigAsk {
    ListChanges,
    ReadChange {
        name: String,
    },
    ListKind {
        kind: &'static str,
    },
    ListUserClients {
        user: String,
    },
    Read(Entity),
    /// Listing the notes for somebody who waits; more round trips follow until what they tell of has been read.
    CatchUp {
        number: u64,
        round_trips_left: u8,
    },
    /// Setting the node; if it is not there it is created with the same data.
    Write {
        change: u64,
    },
    Create {
        change: u64,
    },
    Notify {
        change: u64,
    },
}

/// A change asked for by an administration request.
#[derive(Debug)]
struct Change {
    entity: Entity,
    settings: Settings,
    done: Waiter<Result<(), ZkError>>,
}

/// Somebody who cannot go on before the settings of something are known.
#[derive(Debug)]
struct Blocked {
    entities: BTreeSet<Entity>,
    go_on: Waiter<()>,
}

#[derive(Debug, Default)]
pub(super) struct Configs {
    known: BTreeMap<Entity, Settings>,
    /// Known from an earlier session and not met in this one yet.
    unconfirmed: BTreeSet<Entity>,
    /// Number of the last note that was acted on; -1 before the first.
    last_change: i64,
    /// When notes were written, to remove the old ones.
    change_times: BTreeMap<String, i64>,
    first_reading: FirstReading,
    next_change: u64,
    changes: BTreeMap<u64, Change>,
    blocked: Vec<Blocked>,
}

impl Configs {
    /// Settings of an entity that has some.
    pub(super) fn get(&self, kind: &str, name: &str) -> Option<&Settings> {
        self.known.get(&(kind.to_owned(), name.to_owned()))
    }

    /// Settings of all entities of a kind.
    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&str, &Settings)> {
        self.known.iter().filter(move |((of, _), _)| of == kind).map(|((_, name), settings)| (name.as_str(), settings))
    }

    /// Reads everything. The watch on the notes is set first, so that nothing falls between.
    pub(super) fn load(&mut self, io: &mut Io<'_>) {
        self.first_reading.begin();
        self.last_change = -1;
        self.unconfirmed = self.known.keys().cloned().collect();
        self.ask(ConfigAsk::ListChanges, children(paths::CONFIG_CHANGES, true), io);
        for kind in paths::CONFIG_TYPES {
            self.ask(ConfigAsk::ListKind { kind }, children(paths::config_type(kind), false), io);
        }
    }

    pub(super) fn on_session_over(&mut self, io: &mut Io<'_>) {
        self.first_reading.forget_questions();
        for (_, change) in std::mem::take(&mut self.changes) {
            io.answer(change.done, Err(ZkError::SessionExpired));
        }
    }

    /// Asks as part of the first reading, while it is going on.
    fn ask(&mut self, ask: ConfigAsk, request: common::zk::Request, io: &mut Io<'_>) {
        self.first_reading.asked();
        io.store.ask(ask, request);
    }

    /// Writes settings and tells every broker; `settings` replace those there. `done` hears when it stands in ZooKeeper.
    pub(super) fn change(
        &mut self,
        entity: Entity,
        settings: Settings,
        done: Waiter<Result<(), ZkError>>,
        io: &mut Io<'_>,
    ) {
        let change = self.next_change;
        self.next_change += 1;
        let path = paths::config(&entity.0, &entity.1);
        io.store.ask(ConfigAsk::Write { change }, set(path, encode_config(&settings), ANY_VERSION));
        self.changes.insert(change, Change { entity, settings, done });
    }

    /// Makes sure that the settings of topics are known, which are written before the topic but announced by nobody.
    /// `go_on` runs at once if they are.
    pub(super) fn ensure_topics(&mut self, topics: &BTreeSet<String>, go_on: Waiter<()>, io: &mut Io<'_>) {
        let entities = topics.iter().map(|topic| ("topics".to_owned(), topic.clone()));
        let unknown = entities.filter(|entity| !self.known.contains_key(entity)).collect();
        self.refresh(unknown, go_on, io);
    }

    /// Reads the settings of entities anew, whatever is known: a change made through another broker is seen at once.
    pub(super) fn refresh(&mut self, entities: BTreeSet<Entity>, go_on: Waiter<()>, io: &mut Io<'_>) {
        if entities.is_empty() {
            io.effects.push(Effect::Answer(Answer::new(go_on, ())));
            return;
        }
        for entity in &entities {
            io.store.ask(ConfigAsk::Read(entity.clone()), get(paths::config(&entity.0, &entity.1), false));
        }
        self.blocked.push(Blocked { entities, go_on });
    }

    /// Reads what notes tell of that the watch has not brought yet: whatever was written and answered by any broker before
    /// this call is known when `go_on` runs. ZooKeeper answers in order, so behind the notes' list, behind the notes and
    /// behind the settings that they name stands one more answer each.
    pub(super) fn catch_up(&mut self, go_on: Waiter<()>, io: &mut Io<'_>) {
        let number = self.next_change;
        self.next_change += 1;
        self.blocked.push(Blocked { entities: [fence(number)].into(), go_on });
        let ask = ConfigAsk::CatchUp { number, round_trips_left: 2 };
        io.store.ask(ask, children(paths::CONFIG_CHANGES, false));
    }

    fn on_caught_up(&mut self, (number, round_trips_left): (u64, u8), result: ZkResult, io: &mut Io<'_>) {
        let Some(round_trips_left) = round_trips_left.checked_sub(1) else { return self.unblock(&fence(number), io) };
        self.on_changes(result, io);
        let ask = ConfigAsk::CatchUp { number, round_trips_left };
        io.store.ask(ask, children(paths::CONFIG_CHANGES, false));
    }

    /// A topic is gone; one of the same name would be another.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.known.remove(&("topics".to_owned(), topic.to_owned()));
    }

    /// True when this answer completed the first reading.
    pub(super) fn on_answer(&mut self, ask: ConfigAsk, result: ZkResult, io: &mut Io<'_>) -> bool {
        use ConfigAsk::{CatchUp, Create, Notify, Write};
        let is_change = matches!(ask, Write { .. } | Create { .. } | Notify { .. } | CatchUp { .. });
        match ask {
            ConfigAsk::ListChanges => self.on_changes(result, io),
            ConfigAsk::ReadChange { name } => self.on_change_read(name, result, io),
            ConfigAsk::ListKind { kind } => {
                for name in names(result) {
                    let path = paths::config(kind, &name);
                    if kind == "users" {
                        let clients = children(format!("{path}/clients"), false);
                        self.ask(ConfigAsk::ListUserClients { user: name.clone() }, clients, io);
                    }
                    self.ask(ConfigAsk::Read((kind.to_owned(), name)), get(path, false), io);
                }
            }
            ConfigAsk::ListUserClients { user } => {
                for client in names(result) {
                    let name = format!("{user}/clients/{client}");
                    let request = get(paths::config("users", &name), false);
                    self.ask(ConfigAsk::Read(("users".to_owned(), name)), request, io);
                }
            }
            ConfigAsk::Read(entity) => self.on_read(entity, result, io),
            ConfigAsk::CatchUp { number, round_trips_left } => {
                self.on_caught_up((number, round_trips_left), result, io);
            }
            ConfigAsk::Write { change } => self.on_written(change, result, io),
            ConfigAsk::Create { change } => self.on_created(change, result, io),
            ConfigAsk::Notify { change } => {
                if let Some(change) = self.changes.remove(&change) {
                    io.answer(change.done, result.map(|_| ()));
                }
            }
        }
        let is_over = !is_change && self.first_reading.answered();
        if is_over {
            self.loaded(io);
        }
        is_over
    }

    /// Everything is read: what was not met has no settings, neither that of before nor what somebody waits for.
    fn loaded(&mut self, io: &mut Io<'_>) {
        for (kind, name) in std::mem::take(&mut self.unconfirmed) {
            self.known.remove(&(kind.clone(), name.clone()));
            io.effects.push(Effect::ConfigChanged { kind, name, settings: Settings::new() });
        }
        for blocked in std::mem::take(&mut self.blocked) {
            io.effects.push(Effect::Answer(Answer::new(blocked.go_on, ())));
        }
    }

    fn on_changes(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let mut notes: Vec<(i64, String)> =
            names(result).into_iter().filter_map(|name| Some((sequence(&name)?, name))).collect();
        notes.sort_unstable();
        let present: BTreeSet<&String> = notes.iter().map(|(_, name)| name).collect();
        self.change_times.retain(|name, _| present.contains(name));
        for (name, &time) in &self.change_times {
            if io.now.wall.0 - time > CHANGE_EXPIRES_AFTER_MS {
                io.store.ask(super::store::Ask::Nobody, delete(format!("{}/{name}", paths::CONFIG_CHANGES)));
            }
        }
        for (number, name) in notes {
            if number <= self.last_change {
                continue;
            }
            self.last_change = number;
            let request = get(format!("{}/{name}", paths::CONFIG_CHANGES), false);
            let ask = ConfigAsk::ReadChange { name };
            self.ask(ask, request, io);
        }
    }

    fn on_change_read(&mut self, name: String, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, stat }) = result else { return };
        self.change_times.insert(name, stat.ctime);
        if !self.first_reading.is_over() {
            // Written before the settings were read.
            return;
        }
        match decode_config_change(&data.unwrap_or_default()) {
            Ok(path) => {
                let Some((kind, entity)) = path.split_once('/') else { return };
                let request = get(paths::config(kind, entity), false);
                io.store.ask(ConfigAsk::Read((kind.to_owned(), entity.to_owned())), request);
            }
            Err(problem) => warn!(%problem, "a note of changed settings cannot be read"),
        }
    }

    fn on_read(&mut self, entity: Entity, result: ZkResult, io: &mut Io<'_>) {
        let settings = match result {
            Ok(Response::GetData { data, .. }) => match decode_config(&data.unwrap_or_default()) {
                Ok(settings) => settings,
                Err(problem) => {
                    warn!(kind = entity.0, name = entity.1, %problem, "settings in zookeeper cannot be read");
                    Settings::new()
                }
            },
            Err(ZkError::NoNode) => Settings::new(),
            // What is known stays: the session that failed the read is followed by one that reads everything.
            _ => return self.unblock(&entity, io),
        };
        let before = self.known.insert(entity.clone(), settings.clone());
        if before.as_ref() != Some(&settings) && !(before.is_none() && settings.is_empty()) {
            io.effects.push(Effect::ConfigChanged { kind: entity.0.clone(), name: entity.1.clone(), settings });
        }
        self.unblock(&entity, io);
    }

    fn unblock(&mut self, entity: &Entity, io: &mut Io<'_>) {
        for blocked in &mut self.blocked {
            blocked.entities.remove(entity);
        }
        let (free, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.blocked).into_iter().partition(|blocked| blocked.entities.is_empty());
        self.blocked = still;
        for blocked in free {
            io.effects.push(Effect::Answer(Answer::new(blocked.go_on, ())));
        }
    }

    fn on_written(&mut self, number: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(change) = self.changes.get(&number) else { return };
        match result {
            Ok(_) => self.notify(number, io),
            Err(ZkError::NoNode) => {
                let path = paths::config(&change.entity.0, &change.entity.1);
                if let Some(parent) = change.entity.1.strip_suffix(&format!("/clients/{}", last(&change.entity.1))) {
                    // Kafka creates the nodes between as it goes.
                    for between in [
                        paths::config(&change.entity.0, parent),
                        format!("{}/clients", paths::config(&change.entity.0, parent)),
                    ] {
                        let request = io.store.persistent(&between, None);
                        io.store.ask(super::store::Ask::Nobody, request);
                    }
                }
                if change.entity.0 == paths::CLIENT_METRICS {
                    let request = io.store.persistent(&paths::config_type(paths::CLIENT_METRICS), None);
                    io.store.ask(super::store::Ask::Nobody, request);
                }
                let request = io.store.persistent(&path, Some(encode_config(&change.settings)));
                io.store.ask(ConfigAsk::Create { change: number }, request);
            }
            Err(problem) => self.fail(number, problem, io),
        }
    }

    fn on_created(&mut self, number: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(change) = self.changes.get(&number) else { return };
        match result {
            Ok(_) => self.notify(number, io),
            Err(ZkError::NodeExists) => {
                let path = paths::config(&change.entity.0, &change.entity.1);
                let data = encode_config(&change.settings);
                io.store.ask(ConfigAsk::Write { change: number }, set(path, data, ANY_VERSION));
            }
            Err(problem) => self.fail(number, problem, io),
        }
    }

    fn notify(&mut self, number: u64, io: &mut Io<'_>) {
        let Some(change) = self.changes.get(&number) else { return };
        let data = encode_config_change(&format!("{}/{}", change.entity.0, change.entity.1));
        let path = format!("{}/{}", paths::CONFIG_CHANGES, paths::CONFIG_CHANGE_PREFIX);
        let request = io.store.create(&path, Some(data), CreateMode::PersistentSequential);
        io.store.ask(ConfigAsk::Notify { change: number }, request);
    }

    fn fail(&mut self, number: u64, problem: ZkError, io: &mut Io<'_>) {
        if let Some(change) = self.changes.remove(&number) {
            io.answer(change.done, Err(problem));
        }
    }

    pub(super) fn on_watch(&mut self, event: &WatcherEvent, io: &mut Io<'_>) {
        if event.kind == EventType::NodeChildrenChanged && event.path == paths::CONFIG_CHANGES {
            let request = children(paths::CONFIG_CHANGES, true);
            self.ask(ConfigAsk::ListChanges, request, io);
        }
    }
}

/// What somebody waits for who catches up: no entity has such a name.
fn fence(number: u64) -> Entity {
    (String::new(), number.to_string())
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn names(result: ZkResult) -> Vec<String> {
    match result {
        Ok(Response::GetChildren2 { children, .. } | Response::GetChildren { children }) => children,
        _ => Vec::new(),
    }
}

/// The number in `config_change_0000000012`.
fn sequence(name: &str) -> Option<i64> {
    name.strip_prefix(paths::CONFIG_CHANGE_PREFIX)?.parse().ok()
}
