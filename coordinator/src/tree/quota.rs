//! Quotas: the counts kept in `/zookeeper/quota/PATH/zookeeper_stats` for each PATH with a `zookeeper_limits` beside
//! it. Counting is always on, as in ZooKeeper; refusing is the leader's choice (`enforceQuota`).

use super::{Dirty, QUOTA_PATH, Tree, find_mut};

const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// `count=..,bytes=..` and the hard limits, -1 for what is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    count: i64,
    bytes: i64,
    count_hard_limit: i64,
    byte_hard_limit: i64,
}

impl Track {
    /// Reads what zkCli's `setquota` writes; unknown and unreadable parts count as not set.
    fn parse(data: &[u8]) -> Track {
        let mut track = Track { count: -1, bytes: -1, count_hard_limit: -1, byte_hard_limit: -1 };
        let text = String::from_utf8_lossy(data);
        for pair in text.split([',', ';']) {
            let mut parts = pair.split('=');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
            let value = value.parse().unwrap_or(-1);
            match key {
                "count" => track.count = value,
                "bytes" => track.bytes = value,
                "countHardLimit" => track.count_hard_limit = value,
                "byteHardLimit" => track.byte_hard_limit = value,
                _ => {}
            }
        }
        track
    }
}

impl Tree {
    /// Whether making or enlarging a znode would pass a hard limit. `bytes` and `count` are what would be added.
    pub(crate) fn exceeds_quota(&self, path: &str, bytes: i64, count: i64) -> bool {
        let Some(prefix) = self.quota_prefix(path) else { return false };
        let track = |name: &str| self.node(&format!("{QUOTA_PATH}{prefix}/{name}"))?.data().map(Track::parse);
        let (Some(limits), Some(stats)) = (track(LIMITS), track(STATS)) else { return false };
        let over_count =
            count != 0 && limits.count_hard_limit > -1 && stats.count.saturating_add(count) > limits.count_hard_limit;
        let over_bytes =
            bytes != 0 && limits.byte_hard_limit > -1 && stats.bytes.saturating_add(bytes) > limits.byte_hard_limit;
        over_count || over_bytes
    }

    /// The nearest path at or above `path` that has a quota.
    fn quota_prefix(&self, path: &str) -> Option<String> {
        if self.quotas.is_empty() {
            return None;
        }
        let mut prefix = path;
        while !prefix.is_empty() && prefix != "/" {
            if self.quotas.contains(prefix) {
                return Some(prefix.to_owned());
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
        None
    }

    /// Books a change of `bytes` and `count` on the quota that covers `path`.
    pub(super) fn charge_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(prefix) = self.quota_prefix(path) else { return };
        let stats = format!("{QUOTA_PATH}{prefix}/{STATS}");
        let Some(track) = self.node(&stats).map(|node| Track::parse(node.data().unwrap_or_default())) else { return };
        // "Not set" is -1 and counted from there, as ZooKeeper does.
        self.write_stats(&stats, track.count.saturating_add(count), track.bytes.saturating_add(bytes));
    }

    /// A znode was made: it may be the limit or the counter of a quota.
    pub(super) fn quota_node_created(&mut self, parent: &str, name: &str) {
        self.quota_node_loaded(parent, name);
        let Some(covered) = covered_by(parent).map(str::to_owned) else { return };
        if name != STATS {
            return;
        }
        let (mut count, mut bytes) = (0i64, 0i64);
        let mut left: Vec<_> = self.node(&covered).into_iter().collect();
        while let Some(node) = left.pop() {
            count += 1;
            bytes += node.data().map_or(0, |data| data.len() as i64);
            left.extend(node.entries().map(|(_, child)| child));
        }
        self.write_stats(&format!("{parent}/{STATS}"), count, bytes);
    }

    /// A znode is there: it may be the limit of a quota.
    pub(super) fn quota_node_loaded(&mut self, parent: &str, name: &str) {
        if name == LIMITS
            && let Some(covered) = covered_by(parent)
        {
            self.quotas.insert(covered.into());
        }
    }

    /// A znode was removed: it may have been the limit of a quota.
    pub(super) fn quota_node_deleted(&mut self, parent: &str, name: &str) {
        if name == LIMITS
            && let Some(covered) = covered_by(parent)
        {
            self.quotas.remove(covered);
        }
    }

    /// Replaces the counter's data and nothing of its state: to clients it looks as if it always had been so.
    fn write_stats(&mut self, path: &str, count: i64, bytes: i64) {
        let text = format!("count={count},bytes={bytes}");
        let Some(node) = find_mut(&mut self.root, path) else { return };
        self.digest = self.digest.wrapping_sub(node.fingerprint(path, self.acls.fingerprint(node.acl)));
        let before = node.data.as_ref().map_or(0, |data| data.len());
        self.data_size = self.data_size - before as u64 + text.len() as u64;
        node.data = Some(text.into_bytes().into());
        self.digest = self.digest.wrapping_add(node.fingerprint(path, self.acls.fingerprint(node.acl)));
        self.dirty.insert(Dirty::Node(path.into()));
    }
}

/// The path whose quota is kept in this znode; none for the root's, which ZooKeeper does not keep either.
fn covered_by(quota_path: &str) -> Option<&str> {
    quota_path.strip_prefix(QUOTA_PATH).filter(|covered| covered.len() > 1 && covered.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_every_spelling() {
        let none = Track { count: -1, bytes: -1, count_hard_limit: -1, byte_hard_limit: -1 };
        for (text, want) in [
            ("", none),
            ("count=5,bytes=-1", Track { count: 5, ..none }),
            (
                "count=5,bytes=7=;byteHardLimit=9;countHardLimit=3",
                Track { count: 5, bytes: 7, count_hard_limit: 3, byte_hard_limit: 9 },
            ),
            ("nonsense", none),
            ("count=x;=,=;", none),
        ] {
            assert_eq!(Track::parse(text.as_bytes()), want, "{text}");
        }
    }
}
