//! Values that znodes had: a bounded ring of what was replaced or removed. Each server keeps what it has applied itself, so
//! two servers may remember differently much, never differently. Part of no digest, and not stored.

use std::collections::{BTreeMap, VecDeque};

use super::acl::AclList;

/// What an entry takes besides path and value.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// How much is kept; nothing if one of them is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Values.
    pub count: usize,
    /// Bytes of values and paths, with some for each entry.
    pub bytes: usize,
}

/// A value that is no more.
#[derive(Clone, Debug)]
pub struct Past {
    /// Transaction that made the znode.
    pub czxid: i64,
    /// Transaction that set the value.
    pub mzxid: i64,
    /// Wall clock in milliseconds when it was set.
    pub mtime: i64,
    /// The znode's version with it.
    pub version: i32,
    /// Transaction that replaced it or removed the znode.
    pub until: i64,
    /// It removed the znode.
    pub is_removed: bool,
    /// The value; ZooKeeper tells none from empty.
    pub data: Option<Box<[u8]>>,
    /// Who might do what with the znode when it ended.
    pub acl: AclList,
}

/// The ring.
#[derive(Debug, Default)]
pub struct History {
    limits: HistoryLimits,
    bytes: usize,
    /// Number of the first entry; the others follow.
    first: u64,
    entries: VecDeque<(Box<str>, Past)>,
    by_path: BTreeMap<Box<str>, VecDeque<u64>>,
}

impl History {
    /// Nothing yet, and from now on this much.
    pub fn new(limits: HistoryLimits) -> History {
        History { limits, ..History::default() }
    }

    /// How much is kept.
    pub fn limits(&self) -> HistoryLimits {
        self.limits
    }

    /// True if anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.limits.count > 0 && self.limits.bytes > 0
    }

    /// Keeps a value; the oldest ones go for it. One that is larger than the whole ring is not kept.
    pub fn push(&mut self, path: &str, past: Past) {
        let size = weight(path, &past);
        if !self.is_on() || size > self.limits.bytes {
            return;
        }
        while self.entries.len() >= self.limits.count || self.bytes + size > self.limits.bytes {
            self.forget_first();
        }
        self.bytes += size;
        let number = self.first + self.entries.len() as u64;
        match self.by_path.get_mut(path) {
            Some(numbers) => numbers.push_back(number),
            None => drop(self.by_path.insert(path.into(), VecDeque::from([number]))),
        }
        self.entries.push_back((path.into(), past));
    }

    fn forget_first(&mut self) {
        let Some((path, past)) = self.entries.pop_front() else { return };
        self.first += 1;
        self.bytes -= weight(&path, &past);
        if let Some(numbers) = self.by_path.get_mut(&path) {
            numbers.pop_front();
            if numbers.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }

    /// What is known of a path, the newest first.
    pub fn of(&self, path: &str) -> impl Iterator<Item = &Past> {
        let numbers = self.by_path.get(path).into_iter().flatten().rev();
        numbers.filter_map(|number| {
            let place = usize::try_from(number - self.first).ok()?;
            self.entries.get(place).map(|(_, past)| past)
        })
    }
}

fn weight(path: &str, past: &Past) -> usize {
    ENTRY_OVERHEAD_BYTES + 2 * path.len() + past.data.as_ref().map_or(0, |data| data.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::acl::Acl;

    fn past(mzxid: i64, size: usize) -> Past {
        let data = Some(vec![b'x'; size].into());
        let acl = Acl::open().into();
        Past { czxid: 1, mzxid, mtime: 0, version: 0, until: mzxid + 1, is_removed: false, data, acl }
    }

    #[test]
    fn the_oldest_go_first() {
        let check = |(count, bytes), pushes: &[(&str, usize)], expected: [&[i64]; 2]| {
            let mut history = History::new(HistoryLimits { count, bytes });
            for (mzxid, (path, size)) in (1..).zip(pushes) {
                history.push(path, past(mzxid, *size));
            }
            let found = ["/a", "/b"].map(|path| history.of(path).map(|past| past.mzxid).collect::<Vec<_>>());
            assert_eq!(found, expected.map(<[i64]>::to_vec), "{count} {bytes} {pushes:?}");
            assert!(history.bytes <= bytes && history.entries.len() <= count);
            assert_eq!(history.by_path.values().map(VecDeque::len).sum::<usize>(), history.entries.len());
        };
        let pushes = [("/a", 10), ("/b", 10), ("/a", 10), ("/a", 500)];
        check((10, 10_000), &pushes, [&[4, 3, 1], &[2]]);
        check((2, 10_000), &pushes, [&[4, 3], &[]]);
        check((10, 900), &pushes, [&[4, 3], &[]]);
        check((10, 800), &pushes, [&[4, 3], &[]]);
        check((10, 400), &pushes, [&[3], &[2]]);
        check((0, 10_000), &pushes, [&[], &[]]);
        check((10, 0), &pushes, [&[], &[]]);
    }
}
