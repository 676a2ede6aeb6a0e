//! Access control lists in ZooKeeper, `/kafka-acl` and `/kafka-acl-extended`: read at start, read again when a note says so,
//! changed for the administration requests. Kafka's nodes to the byte, so that both kinds of brokers share them. Never decides
//! who may do what.

use super::first_reading::FirstReading;
use super::store::{Ask, ZkResult, children, delete, get, set};
use super::{ClusterError, Effect, Io, Waiter};
use crate::access::acl::{self, AclEntry, Entries, PatternType, ResourcePattern, ResourceType};
use common::zk::{CreateMode, EventType, Request, Response, WatcherEvent, ZkError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tracing::warn;

/// Lists of single names.
const LITERAL: &str = "/kafka-acl";
/// Lists of beginnings of names (KIP-290).
const PREFIXED: &str = "/kafka-acl-extended/prefixed";
/// Notes of changed lists.
const NOTES: [(PatternType, &str); 2] =
    [(PatternType::Literal, "/kafka-acl-changes"), (PatternType::Prefixed, "/kafka-acl-extended-changes")];
/// Name of a note without its number.
const NOTE_PREFIX: &str = "acl_changes_";
/// Notes older than this have been seen by every live broker and are removed, as Kafka does.
const NOTE_EXPIRES_AFTER_MS: i64 = 15 * 60 * 1000;
/// Another broker changed the list meanwhile: how often it is tried again, as Kafka does.
const TRIES: u32 = 10;

/// What is asked of ZooKeeper.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AclAsk {
    Names(ResourceType, PatternType),
    Read(ResourcePattern),
    Notes(PatternType),
    ReadNote(PatternType, String),
    /// A change begins with what stands there.
    ReadForChange(u64),
    Write(u64),
    Note(u64),
}

/// A change of one list.
#[derive(Debug)]
pub struct AclChange {
    /// Which list.
    pub resource: ResourcePattern,
    /// These come in.
    pub add: Entries,
    /// Those go out for which it is true.
    pub remove: Remove,
}

/// Which entries go.
pub struct Remove(pub Box<dyn Fn(&AclEntry) -> bool + Send>);

impl std::fmt::Debug for Remove {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remove")
    }
}

/// Those that were removed, when all is written.
pub type AclOutcome = Result<Entries, ZkError>;

#[derive(Debug)]
struct Open {
    change: AclChange,
    done: Waiter<AclOutcome>,
    tries: u32,
    /// Of all tries: an earlier one may have been carried out without its answer arriving.
    removed: Entries,
    next: Entries,
    /// The list may stand there as asked, without any other broker knowing of it.
    is_write_asked: bool,
}

/// The lists, as a machine.
#[derive(Debug, Default)]
pub(super) struct Acls {
    known: BTreeMap<ResourcePattern, Entries>,
    /// Known from an earlier session and not met in this one yet.
    unconfirmed: BTreeSet<ResourcePattern>,
    last_note: BTreeMap<PatternType, i64>,
    note_times: BTreeMap<String, i64>,
    first_reading: FirstReading,
    /// Everything was read in some session: what is known counts where something cannot be read any more.
    was_loaded: bool,
    /// Perhaps written in a session that ended before the note.
    unheard: BTreeSet<ResourcePattern>,
    next_change: u64,
    changes: BTreeMap<u64, Open>,
}

fn root(pattern_type: PatternType) -> &'static str {
    match pattern_type {
        PatternType::Literal => LITERAL,
        PatternType::Prefixed => PREFIXED,
    }
}

fn path(resource: &ResourcePattern) -> String {
    format!("{}/{}/{}", root(resource.pattern_type), resource.resource_type.name(), resource.name)
}

fn notes_path(pattern_type: PatternType) -> &'static str {
    NOTES.iter().find(|(kind, _)| *kind == pattern_type).map_or("", |(_, path)| path)
}

impl Acls {
    /// Makes the nodes that are missing and reads everything. The watches on the notes are set first, so that nothing falls
    /// between.
    pub(super) fn load(&mut self, io: &mut Io<'_>) {
        self.first_reading.begin();
        self.last_note.clear();
        self.unconfirmed = self.known.keys().cloned().collect();
        let mut nodes = vec![LITERAL.to_owned(), "/kafka-acl-extended".to_owned(), PREFIXED.to_owned()];
        for kind in ResourceType::ALL {
            nodes.extend([LITERAL, PREFIXED].map(|root| format!("{root}/{}", kind.name())));
        }
        nodes.extend(NOTES.iter().map(|(_, path)| (*path).to_owned()));
        for node in nodes {
            let request = io.store.persistent(&node, None);
            io.store.ask(Ask::Nobody, request);
        }
        for (pattern_type, path) in NOTES {
            self.ask(AclAsk::Notes(pattern_type), children(path, true), io);
        }
        for &pattern_type in PatternType::ALL {
            for &kind in ResourceType::ALL {
                let path = format!("{}/{}", root(pattern_type), kind.name());
                self.ask(AclAsk::Names(kind, pattern_type), children(path, false), io);
            }
        }
    }

    pub(super) fn on_session_over(&mut self, io: &mut Io<'_>) {
        self.first_reading.forget_questions();
        for (_, open) in std::mem::take(&mut self.changes) {
            if open.is_write_asked {
                self.unheard.insert(open.change.resource);
            }
            io.answer(open.done, Err(ZkError::SessionExpired));
        }
    }

    /// Asks as part of the first reading, while it is going on.
    fn ask(&mut self, ask: AclAsk, request: Request, io: &mut Io<'_>) {
        self.first_reading.asked();
        io.store.ask(ask, request);
    }

    /// Changes a list; `done` hears which entries went.
    pub(super) fn change(&mut self, change: AclChange, done: Waiter<AclOutcome>, io: &mut Io<'_>) {
        let number = self.next_change;
        self.next_change += 1;
        let request = get(path(&change.resource), false);
        let (removed, next) = (Entries::new(), Entries::new());
        self.changes.insert(number, Open { change, done, tries: 0, removed, next, is_write_asked: false });
        io.store.ask(AclAsk::ReadForChange(number), request);
    }

    /// True when this answer completed the first reading. Whatever cannot be read when the broker starts stops it: as no list
    /// it might open what was closed.
    pub(super) fn on_answer(&mut self, ask: AclAsk, result: ZkResult, io: &mut Io<'_>) -> bool {
        if let Some((path, problem)) = unreadable(&ask, &result) {
            warn!(path, problem, "access control lists in zookeeper cannot be read");
            if !self.was_loaded {
                let doing = format!("reading the access control lists at {path}");
                let problem = format!(
                    "{problem}. Let this broker read the node or put it right (kafka-acls writes valid lists; a node that \
                     is not needed may be deleted), then start the broker again"
                );
                io.stop(ClusterError::ZooKeeper { doing, problem });
                return false;
            }
        }
        let is_change = matches!(ask, AclAsk::ReadForChange(_) | AclAsk::Write(_) | AclAsk::Note(_));
        match ask {
            AclAsk::Names(resource_type, pattern_type) => {
                if !matches!(result, Ok(_) | Err(ZkError::NoNode)) {
                    // What is known stays.
                    let is_other =
                        |one: &ResourcePattern| (one.resource_type, one.pattern_type) != (resource_type, pattern_type);
                    self.unconfirmed.retain(is_other);
                }
                for name in names(result) {
                    let resource = ResourcePattern { resource_type, pattern_type, name };
                    let request = get(path(&resource), false);
                    self.ask(AclAsk::Read(resource), request, io);
                }
            }
            AclAsk::Read(resource) => self.on_read(resource, result, io),
            AclAsk::Notes(pattern_type) => self.on_notes(pattern_type, result, io),
            AclAsk::ReadNote(pattern_type, name) => self.on_note(pattern_type, name, result, io),
            AclAsk::ReadForChange(number) => self.on_read_for_change(number, result, io),
            AclAsk::Write(number) => self.on_written(number, result, io),
            AclAsk::Note(number) => {
                if let Some(open) = self.changes.remove(&number) {
                    io.answer(open.done, result.map(|_| open.removed));
                }
            }
        }
        let is_over = !is_change && self.first_reading.answered();
        if is_over {
            self.loaded(io);
        }
        is_over
    }

    fn loaded(&mut self, io: &mut Io<'_>) {
        self.was_loaded = true;
        for resource in std::mem::take(&mut self.unconfirmed) {
            self.learn(resource, Entries::new(), io);
        }
        for resource in std::mem::take(&mut self.unheard) {
            write_note(Ask::Nobody, &resource, io);
        }
    }

    fn learn(&mut self, resource: ResourcePattern, entries: Entries, io: &mut Io<'_>) {
        let before = match entries.is_empty() {
            true => self.known.remove(&resource),
            false => self.known.insert(resource.clone(), entries.clone()),
        };
        if before.unwrap_or_default() != entries {
            io.effects.push(Effect::AclsChanged { resource, entries });
        }
    }

    fn on_read(&mut self, resource: ResourcePattern, result: ZkResult, io: &mut Io<'_>) {
        self.unconfirmed.remove(&resource);
        match result {
            // What is known stays where the list cannot be read: an empty one might open what was closed.
            Ok(Response::GetData { data, .. }) => {
                if let Ok(entries) = acl::decode(&data.unwrap_or_default()) {
                    self.learn(resource, entries, io);
                }
            }
            Err(ZkError::NoNode) => self.learn(resource, Entries::new(), io),
            _ => {}
        }
    }

    fn on_notes(&mut self, pattern_type: PatternType, result: ZkResult, io: &mut Io<'_>) {
        let mut notes: Vec<(i64, String)> = names(result)
            .into_iter()
            .filter_map(|name| Some((name.strip_prefix(NOTE_PREFIX)?.parse().ok()?, name)))
            .collect();
        notes.sort_unstable();
        for (number, name) in notes {
            let path = format!("{}/{name}", notes_path(pattern_type));
            if self.note_times.get(&path).is_some_and(|time| io.now.wall.0 - time > NOTE_EXPIRES_AFTER_MS) {
                self.note_times.remove(&path);
                io.store.ask(Ask::Nobody, delete(path));
                continue;
            }
            let last = self.last_note.entry(pattern_type).or_insert(-1);
            if number > *last {
                *last = number;
                self.ask(AclAsk::ReadNote(pattern_type, path.clone()), get(path, false), io);
            }
        }
    }

    fn on_note(&mut self, pattern_type: PatternType, note: String, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, stat }) = result else { return };
        self.note_times.insert(note, stat.ctime);
        let data = data.unwrap_or_default();
        match decode_note(pattern_type, &data) {
            // Also during the first reading: it may have read this list before it was changed.
            Some(resource) => {
                let request = get(path(&resource), false);
                self.ask(AclAsk::Read(resource), request, io);
            }
            None => {
                warn!(note = %String::from_utf8_lossy(&data), "a note of changed access control lists cannot be read")
            }
        }
    }

    fn on_read_for_change(&mut self, number: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(open) = self.changes.get_mut(&number) else { return };
        let (before, version) = match result {
            Ok(Response::GetData { data, stat }) => match acl::decode(&data.unwrap_or_default()) {
                Ok(entries) => (entries, Some(stat.version)),
                Err(problem) => {
                    warn!(resource = ?open.change.resource, %problem, "an access control list in zookeeper cannot be read");
                    return self.fail(number, ZkError::MarshallingError, io);
                }
            },
            Err(ZkError::NoNode) => (Entries::new(), None),
            Err(problem) => return self.fail(number, problem, io),
            Ok(_) => return self.fail(number, ZkError::MarshallingError, io),
        };
        let (gone, kept): (Entries, Entries) = before.iter().cloned().partition(|entry| (open.change.remove.0)(entry));
        open.removed.extend(gone);
        open.next = kept.union(&open.change.add).cloned().collect();
        if open.next == before {
            if open.is_write_asked {
                // The answer that did not arrive may have been that it is written.
                return self.stands(number, io);
            }
            let (resource, next) = (open.change.resource.clone(), open.next.clone());
            if let Some(open) = self.changes.remove(&number) {
                io.answer(open.done, Ok(open.removed));
            }
            return self.learn(resource, next, io);
        }
        let path = path(&open.change.resource);
        let request = match version {
            None => io.store.persistent(&path, Some(acl::encode(&open.next))),
            Some(version) if open.next.is_empty() => Request::Delete { path, version },
            Some(version) => set(path, acl::encode(&open.next), version),
        };
        open.is_write_asked = true;
        io.store.ask(AclAsk::Write(number), request);
    }

    /// The list is as it was asked for: the others shall know.
    fn stands(&mut self, number: u64, io: &mut Io<'_>) {
        let Some(open) = self.changes.get(&number) else { return };
        let (resource, next) = (open.change.resource.clone(), open.next.clone());
        write_note(AclAsk::Note(number), &resource, io);
        self.learn(resource, next, io);
    }

    fn on_written(&mut self, number: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(open) = self.changes.get_mut(&number) else { return };
        match result {
            Ok(_) => self.stands(number, io),
            Err(ZkError::BadVersion | ZkError::NoNode | ZkError::NodeExists) if open.tries < TRIES => {
                open.tries += 1;
                let request = get(path(&open.change.resource), false);
                io.store.ask(AclAsk::ReadForChange(number), request);
            }
            Err(problem) => self.fail(number, problem, io),
        }
    }

    fn fail(&mut self, number: u64, problem: ZkError, io: &mut Io<'_>) {
        if let Some(open) = self.changes.remove(&number) {
            io.answer(open.done, Err(problem));
        }
    }

    pub(super) fn on_watch(&mut self, event: &WatcherEvent, io: &mut Io<'_>) {
        if event.kind != EventType::NodeChildrenChanged {
            return;
        }
        if let Some((pattern_type, path)) = NOTES.into_iter().find(|(_, path)| event.path == *path) {
            self.ask(AclAsk::Notes(pattern_type), children(path, true), io);
        }
    }
}

fn write_note(ask: impl Into<Ask>, resource: &ResourcePattern, io: &mut Io<'_>) {
    let note = format!("{}/{NOTE_PREFIX}", notes_path(resource.pattern_type));
    let request = io.store.create(&note, Some(encode_note(resource)), CreateMode::PersistentSequential);
    io.store.ask(ask, request);
}

/// What cannot be read, and why. A node that is not there is no list.
fn unreadable(ask: &AclAsk, result: &ZkResult) -> Option<(String, String)> {
    let path = match ask {
        AclAsk::Names(kind, pattern_type) => format!("{}/{}", root(*pattern_type), kind.name()),
        AclAsk::Notes(pattern_type) => notes_path(*pattern_type).to_owned(),
        AclAsk::Read(resource) => path(resource),
        _ => return None,
    };
    let problem = match result {
        Err(ZkError::NoNode) => return None,
        Err(problem) => problem.to_string(),
        Ok(Response::GetData { data, .. }) => acl::decode(data.as_deref().unwrap_or_default()).err()?.to_string(),
        Ok(_) => return None,
    };
    Some((path, problem))
}

fn names(result: ZkResult) -> Vec<String> {
    match result {
        Ok(Response::GetChildren2 { children, .. } | Response::GetChildren { children }) => children,
        _ => Vec::new(),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtendedNote {
    version: i32,
    resource_type: String,
    name: String,
    pattern_type: String,
}

/// Names as Java's enums have them.
fn upper(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_uppercase());
    }
    text
}

fn encode_note(resource: &ResourcePattern) -> Vec<u8> {
    let resource_type = upper(resource.resource_type.name());
    if resource.pattern_type == PatternType::Literal {
        return format!("{resource_type}:{}", resource.name).into_bytes();
    }
    let pattern_type = upper(resource.pattern_type.name());
    let note = ExtendedNote { version: 1, resource_type, name: resource.name.clone(), pattern_type };
    serde_json::to_vec(&note).expect("strings and numbers can always be written")
}

fn decode_note(pattern_type: PatternType, data: &[u8]) -> Option<ResourcePattern> {
    if pattern_type == PatternType::Literal {
        let (kind, name) = std::str::from_utf8(data).ok()?.split_once(':')?;
        let resource_type = ResourceType::from_name(kind)?;
        return Some(ResourcePattern { resource_type, pattern_type, name: name.to_owned() });
    }
    let note: ExtendedNote = serde_json::from_slice(data).ok().filter(|note: &ExtendedNote| note.version == 1)?;
    Some(ResourcePattern {
        resource_type: ResourceType::from_name(&note.resource_type)?,
        pattern_type: PatternType::from_name(&note.pattern_type)?,
        name: note.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kafkas() {
        let resource = |resource_type, pattern_type, name: &str| ResourcePattern {
            resource_type,
            pattern_type,
            name: name.to_owned(),
        };
        let cases = [
            (resource(ResourceType::Topic, PatternType::Literal, "a:b"), "TOPIC:a:b"),
            (resource(ResourceType::TransactionalId, PatternType::Literal, "*"), "TRANSACTIONAL_ID:*"),
            (
                resource(ResourceType::Group, PatternType::Prefixed, "g"),
                r#"{"version":1,"resourceType":"GROUP","name":"g","patternType":"PREFIXED"}"#,
            ),
        ];
        for (resource, note) in cases {
            assert_eq!(String::from_utf8(encode_note(&resource)).unwrap(), note);
            assert_eq!(decode_note(resource.pattern_type, note.as_bytes()), Some(resource));
        }
        assert_eq!(decode_note(PatternType::Literal, b"Topic:x").unwrap().name, "x");
        assert_eq!(decode_note(PatternType::Prefixed, b"Topic:x"), None);
        assert_eq!(decode_note(PatternType::Literal, b"Rocket:x"), None);
    }
}
