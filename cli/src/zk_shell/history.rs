//! Earlier values of znodes, which Castellan's coordinator remembers for some time: `history`, `get -v`, `diff` and `undelete`.

use super::arguments::Arguments;
use super::commands::{Failure, ask, parse_acl, text, unexpected};
use crate::clock::java_date;
use crate::zookeeper::ZooKeeper;
use bytes::Bytes;
use common::zk::PastValue;
use common::zk::error::ZkError;
use common::zk::records::{Acl, CreateMode};
use common::zk::request::{CreateRequest, Request};
use common::zk::response::Response;

/// Lines beyond this many are compared as one block.
const COMPARED_LINES: usize = 2_000;

fn values(zookeeper: &mut ZooKeeper, path: &str, zxid: i64, with_data: bool) -> Result<Vec<PastValue>, Failure> {
    match ask(zookeeper, path, Request::GetHistory { path: path.to_owned(), zxid, with_data }) {
        Ok(Response::GetHistory { values }) => Ok(values),
        Ok(_) => Err(unexpected()),
        Err(Failure::Keeper(ZkError::Unimplemented, _)) => {
            Err(text("the server keeps no earlier values: it is no coordinator of Castellan, or history.count is 0"))
        }
        Err(error) => Err(error),
    }
}

/// The value of a revision: a version as `stat` shows it, or with `0x` a zxid, as of which the value is meant.
pub(super) fn value_of(zookeeper: &mut ZooKeeper, path: &str, revision: &str) -> Result<PastValue, Failure> {
    let unknown = || text(format!("revision {revision} of {path} is not known; 'history {path}' shows which are"));
    let zxid = match revision.strip_prefix("0x") {
        Some(zxid) => i64::from_str_radix(zxid, 16).map_err(|_| unknown())?,
        None => {
            let version: i32 = revision.parse().map_err(|_| unknown())?;
            let all = values(zookeeper, path, 0, false)?;
            all.into_iter().find(|value| value.version == version).ok_or_else(unknown)?.mzxid
        }
    };
    values(zookeeper, path, zxid.max(1), true)?.into_iter().next().ok_or_else(unknown)
}

/// `history path`: what is known of it, the newest first.
pub(super) fn history(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    for value in values(zookeeper, &arguments.words[1], 0, false)? {
        let end = match (value.until, value.is_removed) {
            (0, _) => "present".to_owned(),
            (until, false) => format!("replaced by {until:#x}"),
            (until, true) => format!("removed by {until:#x}"),
        };
        let PastValue { version, mzxid, mtime, data_length, .. } = value;
        println!("version {version}, set by {mzxid:#x} at {}, {data_length} bytes, {end}", java_date(mtime));
    }
    Ok(())
}

/// `diff path [revision [revision]]`: lines that went and came, from the last but one to the last unless others are named.
pub(super) fn diff(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let all = values(zookeeper, path, 0, false)?;
    let named = |place: usize, default: usize| match arguments.words.get(place) {
        Some(revision) => Ok(revision.clone()),
        None => {
            all.get(default).map(|value| format!("{:#x}", value.mzxid)).ok_or_else(|| text("there is one value only"))
        }
    };
    let (old, new) = (named(2, 1)?, named(3, 0)?);
    let (old, new) = (value_of(zookeeper, path, &old)?, value_of(zookeeper, path, &new)?);
    let shown = |value: &PastValue| String::from_utf8_lossy(value.data.as_deref().unwrap_or_default()).into_owned();
    println!(
        "--- {path} version {} ({:#x})\n+++ {path} version {} ({:#x})",
        old.version, old.mzxid, new.version, new.mzxid
    );
    for (mark, line) in changes(&shown(&old), &shown(&new)) {
        println!("{mark}{line}");
    }
    Ok(())
}

/// Lines with a minus, a plus, or a space for those that are in both.
fn changes<'a>(old: &'a str, new: &'a str) -> Vec<(char, &'a str)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let front = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()) - front;
    let back = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();
    let (before, after) = (&old[..front], &old[old.len() - back..]);
    let (old, new) = (&old[front..old.len() - back], &new[front..new.len() - back]);
    let mut found: Vec<(char, &str)> = before.iter().map(|line| (' ', *line)).collect();
    if old.len() > COMPARED_LINES || new.len() > COMPARED_LINES {
        found.extend(old.iter().map(|line| ('-', *line)).chain(new.iter().map(|line| ('+', *line))));
    } else {
        // The length of what the ends from each place on have in common.
        let mut common = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
        for (i, old_line) in old.iter().enumerate().rev() {
            for (j, new_line) in new.iter().enumerate().rev() {
                common[i][j] = match old_line == new_line {
                    true => common[i + 1][j + 1] + 1,
                    false => common[i + 1][j].max(common[i][j + 1]),
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            if i < old.len() && j < new.len() && old[i] == new[j] {
                found.push((' ', old[i]));
                (i, j) = (i + 1, j + 1);
            } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
                found.push(('-', old[i]));
                i += 1;
            } else {
                found.push(('+', new[j]));
                j += 1;
            }
        }
    }
    found.extend(after.iter().map(|line| (' ', *line)));
    found
}

/// `undelete path [acl]`: makes a znode again that was removed, with its last value and its access list.
pub(super) fn undelete(zookeeper: &mut ZooKeeper, arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.words[1];
    let all = values(zookeeper, path, 0, false)?;
    let Some(last) = all.first() else { return Err(text(format!("nothing is known of {path}"))) };
    if !last.is_removed {
        return Err(text(format!("{path} is there")));
    }
    // The last moment of it.
    let wanted = values(zookeeper, path, last.mzxid, true)?;
    let Some(value) = wanted.into_iter().find(|value| value.until == last.until) else { return Err(unexpected()) };
    let is_hidden = |acl: &Acl| acl.id.scheme == "digest" && acl.id.id.ends_with(":x");
    let acl = match arguments.words.get(2) {
        Some(acl) => parse_acl(acl),
        None if value.acl.iter().any(is_hidden) => {
            return Err(text(format!("its access list is hidden from you; name one: undelete {path} acl")));
        }
        None => value.acl,
    };
    let data: Option<Bytes> = value.data;
    let create = CreateRequest { path: path.clone(), data, acl, flags: CreateMode::Persistent.flag() };
    ask(zookeeper, path, Request::Create(create))?;
    println!("{path} is there again, as it was at {}", java_date(value.mtime));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn lines_that_went_and_came() {
        let check = |old: &str, new: &str, expected: &str| {
            let found: Vec<String> = changes(old, new).iter().map(|(mark, line)| format!("{mark}{line}")).collect();
            assert_eq!(found.join("|"), expected, "{old:?} to {new:?}");
        };
        check("", "", "");
        check("a\nb", "a\nb", " a| b");
        check("a\nb\nc", "a\nc", " a|-b| c");
        check("a\nc", "a\nb\nc", " a|+b| c");
        check("a\nb\nc\nd", "a\nx\nc\ny\nd", " a|-b|+x| c|+y| d");
        check("a", "b", "-a|+b");
        check("a\na", "a", " a|-a");
    }
}
