//! `setquota`, `delquota` and `listquota`: the znodes in which ZooKeeper keeps quotas. The server counts; nothing here does.

use super::arguments::Arguments;
use super::commands::{Failure, ask, text, unexpected};
use crate::zookeeper::ZooKeeper;
use bytes::Bytes;
use common::zk::error::ZkError;
use common::zk::path;
use common::zk::records::{Acl, CreateMode};
use common::zk::request::{CreateRequest, Request};
use common::zk::response::Response;
use std::collections::BTreeMap;

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Option, key of the limit, and what the number counts.
const OPTIONS: [(char, &str); 4] = [('n', "count"), ('b', "bytes"), ('N', "countHardLimit"), ('B', "byteHardLimit")];

/// `count=..,bytes=..` and what else is set.
struct Track(BTreeMap<String, i64>);

impl Track {
    fn parse(data: &[u8]) -> Track {
        let text = String::from_utf8_lossy(data);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            Some((parts.next()?.to_owned(), parts.next()?.parse().unwrap_or(-1)))
        });
        Track(pairs.collect())
    }

    fn get(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    /// The old two first, then an extra `=` that makes old readers stop, then the others.
    fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.get("count"), self.get("bytes"));
        let others: Vec<_> = self.0.iter().filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes")).collect();
        if !others.is_empty() {
            text.push('=');
            others.iter().for_each(|(key, value)| text.push_str(&format!(";{key}={value}")));
        }
        text
    }
}

fn below(path: &str) -> String {
    format!("{ROOT}{path}")
}

fn read(zookeeper: &mut ZooKeeper, path: &str) -> Result<Option<Track>, Failure> {
    match ask(zookeeper, path, Request::GetData { path: path.to_owned(), watch: false }) {
        Ok(Response::GetData { data, .. }) => Ok(Some(Track::parse(&data.unwrap_or_default()))),
        Ok(_) => Err(unexpected()),
        Err(Failure::Keeper(ZkError::NoNode, _)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn children(zookeeper: &mut ZooKeeper, path: &str) -> Result<Option<Vec<String>>, Failure> {
    match ask(zookeeper, path, Request::GetChildren { path: path.to_owned(), watch: false }) {
        Ok(Response::GetChildren { children }) => Ok(Some(children)),
        Ok(_) => Err(unexpected()),
        Err(Failure::Keeper(ZkError::NoNode, _)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn create(zookeeper: &mut ZooKeeper, path: &str, data: Option<String>) -> Result<(), Failure> {
    let create = CreateRequest {
        data: data.map(Bytes::from),
        ..CreateRequest::new(path, "", Acl::open_unsafe(), CreateMode::Persistent)
    };
    match ask(zookeeper, path, Request::Create(create)) {
        Ok(_) | Err(Failure::Keeper(ZkError::NodeExists, _)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn write(zookeeper: &mut ZooKeeper, path: &str, track: &Track) -> Result<(), Failure> {
    let data = Some(Bytes::from(track.text()));
    ask(zookeeper, path, Request::SetData { path: path.to_owned(), data, version: -1 }).map(|_| ())
}

/// The limit that the options ask for; a complaint is shown and nothing done if it makes no sense.
fn wanted(arguments: &Arguments) -> Option<(&'static str, i64)> {
    let (option, key) = OPTIONS.into_iter().find(|(option, _)| arguments.value(*option).is_some())?;
    let value = arguments.value(option).unwrap_or_default();
    let is_count = matches!(option, 'n' | 'N');
    let number = if is_count { value.parse::<i32>().map(i64::from) } else { value.parse::<i64>() };
    match number {
        Err(_) => eprintln!("NumberFormatException happens when parsing the option value"),
        Ok(number) if is_count && number <= 0 => eprintln!("the num quota must be greater than zero"),
        Ok(number) if number < 0 => eprintln!("the bytes quota must be greater than or equal to zero"),
        Ok(number) => return Some((key, number)),
    }
    None
}

pub(super) fn set_quota(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    if OPTIONS.iter().all(|(option, _)| arguments.value(*option).is_none()) {
        return Err(text(
            "Missing required option: [-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]",
        ));
    }
    if path.starts_with(ROOT) {
        eprintln!("cannot set a quota under the path: {ROOT}");
        return Ok(());
    }
    let Some((key, value)) = wanted(arguments) else { return Ok(()) };
    match ask(zookeeper, path, Request::Exists { path: path.clone(), watch: false }) {
        Ok(_) => {}
        Err(Failure::Keeper(ZkError::NoNode, _)) => return Err(text(format!("{path} does not exist."))),
        Err(error) => return Err(error),
    }
    refuse_nested(zookeeper, path)?;
    let mut parent = ROOT.to_owned();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        parent = format!("{parent}/{name}");
        create(zookeeper, &parent, None)?;
    }
    let (limits, stats) = (format!("{parent}/{LIMITS}"), format!("{parent}/{STATS}"));
    let known = read(zookeeper, &limits)?;
    let is_new = known.is_none();
    let mut track = known.unwrap_or_else(|| Track(OPTIONS.map(|(_, key)| (key.to_owned(), -1)).into_iter().collect()));
    track.0.insert(key.to_owned(), value);
    if is_new {
        create(zookeeper, &limits, Some(track.text()))?;
        create(zookeeper, &stats, Some("count=0,bytes=0".to_owned()))?;
    }
    if let Some(found) = read(zookeeper, &stats)? {
        for (what, soft, hard) in [("count", "count", "countHardLimit"), ("bytes", "bytes", "byteHardLimit")] {
            let existing = found.get(what);
            if [soft, hard].iter().any(|key| track.get(key) > -1 && track.get(key) < existing) {
                println!("[Warning]: the {what} quota you create is less than the existing {what}:{existing}");
            }
        }
    }
    if is_new { Ok(()) } else { write(zookeeper, &limits, &track) }
}

/// A quota above or below another one is not counted rightly: there may be none.
fn refuse_nested(zookeeper: &mut ZooKeeper, path: &str) -> Result<(), Failure> {
    let mut left = vec![path.to_owned()];
    while let Some(at) = left.pop() {
        for child in children(zookeeper, &below(&at))?.unwrap_or_default() {
            if child == LIMITS && at != path {
                return Err(text(format!("{path} has a child {at} which has a quota")));
            }
            left.push(format!("{at}/{child}"));
        }
    }
    let mut above = path;
    while let Some(at) = above.rfind('/').filter(|at| *at > 0) {
        above = &above[..at];
        if children(zookeeper, &below(above))?.unwrap_or_default().iter().any(|child| child == LIMITS) {
            return Err(text(format!("{path} has a parent {above} which has a quota")));
        }
    }
    Ok(())
}

pub(super) fn delete_quota(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    path::validate(path)?;
    let limits = format!("{}/{LIMITS}", below(path));
    let Some(mut track) = read(zookeeper, &limits)? else {
        println!("Quota does not exist for {path}");
        return Ok(());
    };
    let named: Vec<&str> = OPTIONS.iter().filter(|(option, _)| arguments.has(*option)).map(|(_, key)| *key).collect();
    if !named.is_empty() {
        track.0.extend(named.iter().map(|key| ((*key).to_owned(), -1)));
        return write(zookeeper, &limits, &track);
    }
    let mut at = below(path);
    for child in children(zookeeper, &at)?.unwrap_or_default() {
        let child = format!("{at}/{child}");
        ask(zookeeper, &child, Request::Delete { path: child.clone(), version: -1 })?;
    }
    while at != ROOT && children(zookeeper, &at)?.is_some_and(|children| children.is_empty()) {
        ask(zookeeper, &at, Request::Delete { path: at.clone(), version: -1 })?;
        at.truncate(at.rfind('/').unwrap_or(0));
    }
    Ok(())
}

pub(super) fn list_quota(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let folder = below(path);
    eprintln!("absolute path is {folder}/{LIMITS}");
    let limits = read(zookeeper, &format!("{folder}/{LIMITS}"))?;
    let stats = read(zookeeper, &format!("{folder}/{STATS}"))?;
    let (Some(limits), Some(stats)) = (limits, stats) else {
        eprintln!("quota for {path} does not exist.");
        return Ok(());
    };
    println!("Output quota for {path} {}", limits.text());
    println!("Output stat for {path} {}", stats.text());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_zookeeper_does() {
        for text in ["count=1,bytes=-1", "count=5,bytes=-1=;byteHardLimit=9;countHardLimit=-1"] {
            assert_eq!(Track::parse(text.as_bytes()).text(), text);
        }
        assert_eq!(Track::parse(b"").text(), "count=-1,bytes=-1");
    }
}
