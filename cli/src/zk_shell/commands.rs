//! The commands of ZooKeeper's shell on one session. Prints what they find; reads no line.

use super::arguments::{Arguments, ParseError};
use super::history;
use super::quota::{delete_quota, list_quota, set_quota};
use crate::clock::java_date;
use crate::zookeeper::ZooKeeper;
use bytes::Bytes;
use common::zk::error::ZkError;
use common::zk::path;
use common::zk::records::{Acl, CreateMode, Id, Stat, perms};
use common::zk::request::{CreateRequest, ReconfigRequest, Request};
use common::zk::response::Response;

/// A command: its name, its options as the usage shows them and as the parser takes them, and how many words it needs.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    options: &'static str,
    words: usize,
    run: fn(&mut ZooKeeper, &Arguments) -> Result<(), Failure>,
}

/// Every command that goes to the server.
pub(super) const COMMANDS: &[Command] = &[
    Command { name: "addauth", usage: "scheme auth", options: "", words: 2, run: add_auth },
    Command {
        name: "addWatch",
        usage: "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is \
                PERSISTENT_RECURSIVE",
        options: "m:",
        words: 2,
        run: add_watch,
    },
    Command { name: "close", usage: "", options: "", words: 0, run: close },
    Command { name: "config", usage: "[-c] [-w] [-s]", options: "cws", words: 1, run: config },
    Command {
        name: "create",
        usage: "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        options: "sect:",
        words: 2,
        run: create,
    },
    Command { name: "delete", usage: "[-v version] path", options: "v:", words: 2, run: delete },
    Command { name: "deleteall", usage: "path [-b batch size]", options: "b:", words: 2, run: delete_all },
    Command { name: "delquota", usage: "[-n|-b|-N|-B] path", options: "nbNB", words: 2, run: delete_quota },
    Command { name: "diff", usage: "path [revision [revision]]", options: "", words: 2, run: history::diff },
    Command { name: "get", usage: "[-s] [-w] path", options: "swbxv:", words: 2, run: get },
    Command { name: "getAcl", usage: "[-s] path", options: "s", words: 2, run: get_acl },
    Command { name: "getAllChildrenNumber", usage: "path", options: "", words: 2, run: get_all_children_number },
    Command { name: "getEphemerals", usage: "path", options: "", words: 1, run: get_ephemerals },
    Command { name: "listquota", usage: "path", options: "", words: 2, run: list_quota },
    Command { name: "ls", usage: "[-s] [-w] [-R] path", options: "?swR", words: 2, run: ls },
    Command {
        name: "reconfig",
        usage: "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add \
                serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        options: "",
        words: 2,
        run: reconfig,
    },
    Command { name: "removewatches", usage: "path [-c|-d|-a] [-l]", options: "cdal", words: 2, run: remove_watches },
    Command { name: "set", usage: "[-s] [-v version] path data", options: "sv:b", words: 3, run: set },
    Command { name: "setAcl", usage: "[-s] [-v version] [-R] path acl", options: "sv:R", words: 3, run: set_acl },
    Command { name: "setquota", usage: "-n|-b|-N|-B val path", options: "n:b:N:B:", words: 2, run: set_quota },
    Command { name: "stat", usage: "[-w] path", options: "w", words: 2, run: stat },
    Command { name: "sync", usage: "path", options: "", words: 2, run: sync },
    Command { name: "tree", usage: "[-d depth] [path]", options: "d:", words: 1, run: tree },
    Command { name: "undelete", usage: "path [acl]", options: "", words: 2, run: history::undelete },
    Command { name: "version", usage: "", options: "", words: 1, run: version },
    Command { name: "whoami", usage: "", options: "", words: 1, run: who_am_i },
];

/// What Apache's shell has not, below the rest of the usage: commands by their first word, with what they do.
pub(super) const OWN_COMMANDS: &[(&str, &str)] = &[
    ("diff", "path [revision [revision]]   # compares values that the znode has and had"),
    ("get", "-v revision path   # the value of a revision: a version, or 0x... for a zxid"),
    ("history", "path   # the revisions of a znode, also of one that is gone"),
    ("tree", "[-d depth] [path]   # the znodes below, with sizes and owners"),
    ("undelete", "path [acl]   # makes a removed znode again"),
];

/// `history` with a path; without one it shows the lines that were entered.
pub(super) const HISTORY: Command =
    Command { name: "history", usage: "path", options: "", words: 2, run: history::history };

/// Why a command failed, with the text that is shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Parse(#[from] ParseError),
    #[error("{0}")]
    Path(#[from] path::PathError),
    #[error("{0}")]
    Text(String),
    #[error("{}", keeper_text(*.0, .1))]
    Keeper(ZkError, String),
}

/// The words of the shell for what the server says about a path.
fn keeper_text(error: ZkError, path: &str) -> String {
    match error {
        ZkError::NoNode => format!("Node does not exist: {path}"),
        ZkError::NoChildrenForEphemerals => format!("Ephemerals cannot have children: {path}"),
        ZkError::NodeExists => format!("Node already exists: {path}"),
        ZkError::NotEmpty => format!("Node not empty: {path}"),
        ZkError::NotReadOnly => format!("Not a read-only call: {path}"),
        ZkError::InvalidAcl => format!("Acl is not valid : {path}"),
        ZkError::NoAuth => format!("Insufficient permission : {path}"),
        ZkError::BadArguments => format!("Arguments are not valid : {path}"),
        ZkError::BadVersion => format!("version No is not valid : {path}"),
        ZkError::QuotaExceeded => format!("Quota has exceeded : {path}"),
        ZkError::ReconfigInProgress => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".to_owned()
        }
        ZkError::NewConfigNoQuorum => "No quorum of new config is connected and up-to-date with the leader of last \
                                       commmitted config - try invoking reconfiguration after new servers are connected \
                                       and synced"
            .to_owned(),
        other => other.message(path),
    }
}

pub(super) fn text(message: impl Into<String>) -> Failure {
    Failure::Text(message.into())
}

impl Command {
    /// Runs the command; `words` begins with its name.
    pub(super) fn run(&self, zookeeper: &mut ZooKeeper, words: &[String]) -> Result<(), Failure> {
        let arguments = match self.name {
            // Its options are words of several letters.
            "reconfig" | "close" | "whoami" => Arguments::without_options(words),
            _ => Arguments::parse(words, self.options)?,
        };
        if arguments.words.len() < self.words {
            return Err(text(format!("{} {}", self.name, self.usage)));
        }
        (self.run)(zookeeper, &arguments)
    }
}

/// Asks about a path.
pub(super) fn ask(zookeeper: &mut ZooKeeper, path: &str, request: Request) -> Result<Response, Failure> {
    path::validate(path)?;
    zookeeper.call(request).map_err(|error| Failure::Keeper(error, path.to_owned()))
}

pub(super) fn unexpected() -> Failure {
    text("the server's answer does not fit the request")
}

/// The watch that an old form of a command sets by a further word.
fn watches(arguments: &Arguments, form: &str, now: &str) -> bool {
    if arguments.words.len() > 2 {
        eprintln!("'{form} path [watch]' has been deprecated. Please use '{now}' instead.");
        return true;
    }
    arguments.has('w')
}

fn number<T: std::str::FromStr>(value: Option<&str>, default: T) -> Result<T, Failure> {
    match value {
        None => Ok(default),
        Some(value) => value.parse().map_err(|_| text(format!("For input string: \"{value}\""))),
    }
}

fn print_stat(stat: &Stat) {
    println!("cZxid = {:#x}", stat.czxid);
    println!("ctime = {}", java_date(stat.ctime));
    println!("mZxid = {:#x}", stat.mzxid);
    println!("mtime = {}", java_date(stat.mtime));
    println!("pZxid = {:#x}", stat.pzxid);
    println!("cversion = {}", stat.cversion);
    println!("dataVersion = {}", stat.version);
    println!("aclVersion = {}", stat.aversion);
    println!("ephemeralOwner = {:#x}", stat.ephemeral_owner);
    println!("dataLength = {}", stat.data_length);
    println!("numChildren = {}", stat.num_children);
}

fn ls(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let watch = watches(arguments, "ls", "ls [-w] path");
    if arguments.has('R') {
        return list_recursive(zookeeper, path, watch);
    }
    let (children, stat) = children(zookeeper, path, watch)?;
    println!("[{}]", children.join(", "));
    if arguments.has('s') {
        print_stat(&stat);
    }
    Ok(())
}

/// The children of a node, sorted.
fn children(zookeeper: &mut ZooKeeper, path: &str, watch: bool) -> Result<(Vec<String>, Stat), Failure> {
    match ask(zookeeper, path, Request::GetChildren2 { path: path.to_owned(), watch })? {
        Response::GetChildren2 { mut children, stat } => {
            children.sort_unstable();
            Ok((children, stat))
        }
        _ => Err(unexpected()),
    }
}

fn child(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}

/// Each path of the subtree, a node before its children; nodes that vanish meanwhile are left out.
fn visit(
    zookeeper: &mut ZooKeeper,
    root: &str,
    watch: bool,
    visitor: &mut dyn FnMut(&mut ZooKeeper, &str),
) -> Result<(), Failure> {
    let mut open = vec![(root.to_owned(), children(zookeeper, root, watch)?.0)];
    visitor(zookeeper, root);
    while let Some((path, mut names)) = open.pop() {
        if names.is_empty() {
            continue;
        }
        let next = child(&path, &names.remove(0));
        open.push((path, names));
        match children(zookeeper, &next, watch) {
            Ok((names, _)) => {
                visitor(zookeeper, &next);
                open.push((next, names));
            }
            Err(Failure::Keeper(ZkError::NoNode, _)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The subtree as lines that show who is whose child, with sizes and owners. ZooKeeper's shell has no such command.
fn tree(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let root = arguments.words.get(1).map_or("/", String::as_str);
    let depth = number(arguments.value('d'), usize::MAX)?;
    let (names, stat) = children(zookeeper, root, false)?;
    println!("{root}{}", remarks(&stat));
    let mut open = vec![(root.to_owned(), names)];
    while let Some((path, names)) = open.last_mut() {
        if names.is_empty() {
            open.pop();
            continue;
        }
        let name = names.remove(0);
        let next = child(path, &name);
        let (below, stat) = match children(zookeeper, &next, false) {
            Ok(found) => found,
            Err(Failure::Keeper(ZkError::NoNode, _)) => continue,
            Err(Failure::Keeper(ZkError::NoAuth, _)) => (Vec::new(), Stat::default()),
            Err(error) => return Err(error),
        };
        let (last, above) = open.split_last().expect("there is one at least");
        let bars: String = above.iter().map(|(_, names)| if names.is_empty() { "    " } else { "│   " }).collect();
        let branch = if last.1.is_empty() { "└── " } else { "├── " };
        println!("{bars}{branch}{name}{}", remarks(&stat));
        if open.len() < depth {
            open.push((next, below));
        }
    }
    Ok(())
}

/// What is worth telling of a node in one line.
fn remarks(stat: &Stat) -> String {
    let mut remarks = Vec::new();
    if stat.data_length > 0 {
        remarks.push(format!("{} bytes", stat.data_length));
    }
    match stat.ephemeral_owner {
        0 => {}
        i64::MIN => remarks.push("container".to_owned()),
        owner if owner.cast_unsigned() >> 56 == 0xff => remarks.push("with time to live".to_owned()),
        owner => remarks.push(format!("ephemeral of {owner:#x}")),
    }
    if remarks.is_empty() { String::new() } else { format!("  ({})", remarks.join(", ")) }
}

fn list_recursive(zookeeper: &mut ZooKeeper, path: &str, watch: bool) -> Result<(), Failure> {
    visit(zookeeper, path, watch, &mut |_, path| println!("{path}"))
}

fn get(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let watch = watches(arguments, "get", "get [-s] [-w] path");
    let (data, stat) = if let Some(revision) = arguments.value('v') {
        (history::value_of(zookeeper, path, revision)?.data, None)
    } else {
        match ask(zookeeper, path, Request::GetData { path: path.clone(), watch })? {
            Response::GetData { data, stat } => (data, Some(stat)),
            _ => return Err(unexpected()),
        }
    };
    let data = data.unwrap_or_else(|| Bytes::from_static(b"null"));
    if arguments.has('x') {
        print!("{}", hex_dump(&data));
    } else if arguments.has('b') {
        println!("{}", base64(&data));
    } else {
        println!("{}", String::from_utf8_lossy(&data));
    }
    if let Some(stat) = stat.filter(|_| arguments.has('s')) {
        print_stat(&stat);
    }
    Ok(())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(data: &[u8]) -> String {
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bits = chunk.iter().chain([0; 2].iter()).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for group in 0..4 {
            text.push(if group <= chunk.len() { char::from(BASE64[bits >> (18 - 6 * group) & 63]) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::try_from(BASE64.iter().position(|known| *known == letter)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            data.push((bits >> count & 255).to_le_bytes()[0]);
        }
    }
    Some(data)
}

/// Sixteen bytes a line: offset, hex, characters, in a frame as ZooKeeper (by Netty) draws it.
fn hex_dump(data: &[u8]) -> String {
    const RULE: &str = "+--------+-------------------------------------------------+----------------+\n";
    let mut dump = "         +-------------------------------------------------+\n         \
                    |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n"
        .to_owned();
    dump += RULE;
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let shown = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
        let text: String = bytes.iter().map(shown).collect();
        dump += &format!("|{:08x}|{hex:48} |{text:16}|\n", row * 16);
    }
    dump + RULE
}

fn set(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let (path, data) = (&arguments.words[1], &arguments.words[2]);
    let data = match arguments.has('b') {
        true => from_base64(data).ok_or_else(|| text("Illegal base64 character"))?,
        false => data.as_bytes().to_vec(),
    };
    let version = number(arguments.value('v'), -1)?;
    let request = Request::SetData { path: path.clone(), data: Some(Bytes::from(data)), version };
    match ask(zookeeper, path, request)? {
        Response::SetData { stat } if arguments.has('s') => print_stat(&stat),
        _ => {}
    }
    Ok(())
}

fn create(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let [ephemeral, sequential, container, with_ttl] = ['e', 's', 'c', 't'].map(|letter| arguments.has(letter));
    if container && (ephemeral || sequential) {
        return Err(text("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential."));
    }
    let ttl_ms: i64 = match arguments.value('t') {
        Some(value) => value.parse().map_err(|_| text("-t argument must be a long value"))?,
        None => 0,
    };
    if with_ttl && (ephemeral || container) {
        let kind = if ephemeral { "Ephemeral" } else { "Container" };
        return Err(text(format!("TTLs cannot be used with {kind} znodes")));
    }
    let mode = match (ephemeral, sequential, container, with_ttl) {
        (true, true, _, _) => CreateMode::EphemeralSequential,
        (true, false, _, _) => CreateMode::Ephemeral,
        (_, true, _, true) => CreateMode::PersistentSequentialWithTtl,
        (_, true, _, false) => CreateMode::PersistentSequential,
        (_, _, true, _) => CreateMode::Container,
        (_, _, _, true) => CreateMode::PersistentWithTtl,
        _ => CreateMode::Persistent,
    };
    if with_ttl && !(1..1 << 40).contains(&ttl_ms) {
        return Err(text("ttl must be positive and cannot be larger than: 1099511627775"));
    }
    let path = &arguments.words[1];
    let acl = arguments.words.get(3).map_or_else(Acl::open_unsafe, |text| parse_acl(text));
    let request = CreateRequest {
        path: path.clone(),
        data: arguments.words.get(2).map(|data| Bytes::from(data.clone())),
        acl,
        flags: mode.flag(),
    };
    // A sequential node may end with a slash; its number makes it a path.
    let checked = if sequential { format!("{path}1") } else { path.clone() };
    path::validate(&checked)?;
    let request = match mode {
        CreateMode::Container => Request::CreateContainer(request),
        _ if with_ttl => Request::CreateTtl { create: request, ttl_ms },
        _ => Request::Create(request),
    };
    match zookeeper.call(request).map_err(|error| Failure::Keeper(error, path.clone()))? {
        Response::Create { path } | Response::Create2 { path, .. } => {
            eprintln!("Created {path}");
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn delete(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    if arguments.words.len() > 2 {
        eprintln!("'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.");
    }
    let version = number(arguments.value('v'), -1)?;
    ask(zookeeper, path, Request::Delete { path: path.clone(), version }).map(|_| ())
}

fn delete_all(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let batch: usize =
        arguments.value('b').map_or(Ok(1000), str::parse).map_err(|_| text("-b argument must be an int value"))?;
    let root = &arguments.words[1];
    let mut paths = Vec::new();
    visit(zookeeper, root, false, &mut |_, path| paths.push(path.to_owned()))?;
    paths.reverse();
    let mut all_deleted = true;
    for chunk in paths.chunks(batch.max(1)) {
        let deletes = chunk.iter().map(|path| Request::Delete { path: path.clone(), version: -1 }).collect();
        all_deleted &= match zookeeper.call(Request::Multi(deletes)) {
            Ok(Response::Multi(results)) => results.iter().all(Result::is_ok),
            _ => false,
        };
    }
    if !all_deleted {
        eprintln!("Failed to delete some node(s) in the subtree!");
    }
    Ok(())
}

fn stat(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let watch = watches(arguments, "stat", "stat [-w] path");
    match ask(zookeeper, path, Request::Exists { path: path.clone(), watch })? {
        Response::Exists { stat } => {
            print_stat(&stat);
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

/// The letters of permissions, in the shell's order.
const PERMS: [(char, i32); 5] =
    [('c', perms::CREATE), ('d', perms::DELETE), ('r', perms::READ), ('w', perms::WRITE), ('a', perms::ADMIN)];

fn get_acl(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let Response::GetAcl { acl, stat } = ask(zookeeper, path, Request::GetAcl { path: path.clone() })? else {
        return Err(unexpected());
    };
    for Acl { perms, id: Id { scheme, id } } in acl {
        let letters: String = PERMS.iter().filter(|(_, bit)| perms & bit != 0).map(|(letter, _)| letter).collect();
        println!("'{scheme},'{id}\n: {letters}");
    }
    if arguments.has('s') {
        print_stat(&stat);
    }
    Ok(())
}

/// `scheme:id:perms` and more of it behind commas; what makes no sense is told and left out.
pub(super) fn parse_acl(list: &str) -> Vec<Acl> {
    let mut acl = Vec::new();
    for entry in list.split(',') {
        let parts = entry.split_once(':').and_then(|(scheme, rest)| rest.rsplit_once(':').map(|parts| (scheme, parts)));
        let Some((scheme, (id, letters))) = parts else {
            eprintln!("{entry} does not have the form scheme:id:perm");
            continue;
        };
        let mut perms = 0;
        for letter in letters.chars() {
            match PERMS.iter().find(|(known, _)| *known == letter) {
                Some((_, bit)) => perms |= bit,
                None => eprintln!("Unknown perm type: {letter}"),
            }
        }
        acl.push(Acl::new(perms, Id::new(scheme, id)));
    }
    acl
}

fn set_acl(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let (path, acl) = (&arguments.words[1], parse_acl(&arguments.words[2]));
    let version = number(arguments.value('v'), -1)?;
    let request = |path: &str| Request::SetAcl { path: path.to_owned(), acl: acl.clone(), version };
    if arguments.has('R') {
        return visit(zookeeper, path, false, &mut |zookeeper, path| {
            if let Err(error) = zookeeper.call(request(path)) {
                print!("{}", error.message(path));
            }
        });
    }
    match ask(zookeeper, path, request(path))? {
        Response::SetAcl { stat } if arguments.has('s') => print_stat(&stat),
        _ => {}
    }
    Ok(())
}

fn sync(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    path::validate(path)?;
    match zookeeper.call(Request::Sync { path: path.clone() }) {
        Ok(_) => println!("Sync is OK"),
        Err(error) => println!("Sync has failed. rc={}", error.code()),
    }
    Ok(())
}

fn add_auth(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let auth = arguments.words.get(2).map_or_else(Bytes::new, |auth| Bytes::from(auth.clone()));
    let request = Request::Auth { auth_type: 0, scheme: arguments.words[1].clone(), auth };
    zookeeper.call(request).map(|_| ()).map_err(|error| Failure::Keeper(error, String::new()))
}

fn get_ephemerals(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.words.get(1).map_or("/", String::as_str);
    match ask(zookeeper, path, Request::GetEphemerals { prefix: path.to_owned() })? {
        Response::GetEphemerals { ephemerals } => {
            println!("[{}]", ephemerals.join(", "));
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn get_all_children_number(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    match ask(zookeeper, path, Request::GetAllChildrenNumber { path: path.clone() })? {
        Response::GetAllChildrenNumber { total } => {
            println!("{total}");
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn who_am_i(zookeeper: &mut ZooKeeper, _: &Arguments) -> Result<(), Failure> {
    match zookeeper.call(Request::WhoAmI).map_err(|error| Failure::Keeper(error, String::new()))? {
        Response::WhoAmI { clients } => {
            println!("Auth scheme: User");
            for client in clients {
                println!("{}: {}", client.auth_scheme, client.user);
            }
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn version(_: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.words.len() > 1 {
        return Err(text("version "));
    }
    println!("ZooKeeper CLI version: 3.9.4, castellan {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

fn close(zookeeper: &mut ZooKeeper, _: &Arguments) -> Result<(), Failure> {
    zookeeper.close();
    Ok(())
}

const CONFIG: &str = "/zookeeper/config";

fn config(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let request = Request::GetData { path: CONFIG.to_owned(), watch: arguments.has('w') };
    let Response::GetData { data, stat } = ask(zookeeper, CONFIG, request)? else { return Err(unexpected()) };
    let data = data.unwrap_or_else(|| Bytes::from_static(b"null"));
    let data = String::from_utf8_lossy(&data);
    println!("{}", if arguments.has('c') { client_config(&data) } else { data.into_owned() });
    if arguments.has('s') {
        print_stat(&stat);
    }
    Ok(())
}

/// The version of a configuration and where its servers' clients connect: `100000000 host:2181,host:2182`.
fn client_config(config: &str) -> String {
    let mut version = "";
    let mut servers = Vec::new();
    for line in config.lines() {
        match line.split_once('=') {
            Some(("version", value)) => version = value,
            Some((key, server)) if key.starts_with("server.") => {
                let client = server.split_once(';').map_or("", |(_, client)| client);
                match client.contains(':') {
                    true => servers.push(client.to_owned()),
                    false => servers.push(format!("{}:{client}", server.split(':').next().unwrap_or_default())),
                }
            }
            _ => {}
        }
    }
    format!("{version} {}", servers.join(","))
}

fn reconfig(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let mut reconfig = ReconfigRequest { joining: None, leaving: None, new_members: None, config_version: -1 };
    let mut with_stat = false;
    let mut words = arguments.words[1..].iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| text(format!("Missing argument for option: {}", &word[1..])));
        match word.as_str() {
            "-s" => with_stat = true,
            "-v" => {
                let version = value()?;
                reconfig.config_version = i64::from_str_radix(version, 16)
                    .map_err(|_| text(format!("For input string: \"{version}\" under radix 16")))?;
            }
            "-add" => {
                let servers = value()?;
                let joined =
                    reconfig.joining.take().map_or_else(|| servers.clone(), |list| format!("{list},{servers}"));
                reconfig.joining = Some(joined);
            }
            "-remove" => reconfig.leaving = Some(value()?.clone()),
            "-members" => reconfig.new_members = Some(value()?.clone()),
            "-file" => {
                let file = value()?;
                let lines = std::fs::read_to_string(file).map_err(|error| text(format!("{file}: {error}")))?;
                let servers: Vec<&str> =
                    lines.lines().map(str::trim).filter(|line| line.starts_with("server.")).collect();
                reconfig.new_members = Some(servers.join(","));
            }
            other => return Err(ParseError::Unrecognized(other.to_owned()).into()),
        }
    }
    let request = Request::Reconfig(reconfig);
    match zookeeper.call(request).map_err(|error| Failure::Keeper(error, String::new()))? {
        Response::Reconfig { data, stat } => {
            println!("Committed new configuration:\n{}", String::from_utf8_lossy(&data.unwrap_or_default()));
            if with_stat {
                print_stat(&stat);
            }
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn add_watch(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let mode = match arguments.value('m') {
        None => 1,
        Some(mode) if mode.eq_ignore_ascii_case("PERSISTENT") => 0,
        Some(mode) if mode.eq_ignore_ascii_case("PERSISTENT_RECURSIVE") => 1,
        Some(_) => return Err(text("addWatch [-m mode] path")),
    };
    ask(zookeeper, path, Request::AddWatch { path: path.clone(), mode }).map(|_| ())
}

fn remove_watches(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let kind = match (arguments.has('c'), arguments.has('d')) {
        (true, _) => 1,
        (_, true) => 2,
        _ => 3,
    };
    ask(zookeeper, path, Request::RemoveWatches { path: path.clone(), kind }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_there_and_back() {
        for (data, text) in [(&b""[..], ""), (b"a", "YQ=="), (b"ab", "YWI="), (b"abc", "YWJj"), (b"\xff\0", "/wA=")] {
            assert_eq!(base64(data), text);
            assert_eq!(from_base64(text).as_deref(), Some(data));
        }
        assert_eq!(from_base64("*"), None);
    }

    #[test]
    fn client_addresses_of_a_configuration() {
        let config = "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888;2182\nversion=100000000";
        assert_eq!(client_config(config), "100000000 0.0.0.0:2181,b:2182");
    }
}
