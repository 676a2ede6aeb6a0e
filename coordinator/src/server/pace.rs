//! Whether it pays to wait for the disk instead of asking another thread to: if syncs have been quick of late and no more
//! than one client has asked for anything, so that nobody else would have to wait. Measures nothing itself.

use crate::tree::watch::ConnectionId;
use std::time::Duration;

/// What is saved are two task switches, some tenths of a sync of this length.
const QUICK: Duration = Duration::from_millis(2);
/// So many syncs in a row must have been quick.
const QUICK_IN_A_ROW: u32 = 8;
/// So many requests in a row must have come from one client.
const ALONE_IN_A_ROW: u32 = 8;

/// How long the last syncs took, and who asked last.
#[derive(Debug, Default)]
pub(super) struct Pace {
    quick_in_a_row: u32,
    last_client: Option<ConnectionId>,
    others_ago: u32,
}

impl Pace {
    /// A sync took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.quick_in_a_row = if time <= QUICK { self.quick_in_a_row.saturating_add(1) } else { 0 };
    }

    /// This client has sent something.
    pub(super) fn asked(&mut self, client: ConnectionId) {
        let is_same = self.last_client.replace(client).is_none_or(|last| last == client);
        self.others_ago = if is_same { self.others_ago.saturating_add(1) } else { 0 };
    }

    /// True if the next sync will be over soon and delays nobody, as far as one can tell. One that is slow makes this false
    /// for a while, so that a disk that hangs stops whoever waits for it once and not again.
    pub(super) fn may_wait(&self) -> bool {
        let is_alone = self.last_client.is_none() || self.others_ago >= ALONE_IN_A_ROW;
        self.quick_in_a_row >= QUICK_IN_A_ROW && is_alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_sync_or_other_client_counts_for_many() {
        enum Did {
            Sync(u64),
            Ask(u64),
        }
        use Did::{Ask, Sync};
        let mut pace = Pace::default();
        let mut check = |times: u32, did: Did, expected| {
            (0..times).for_each(|_| match did {
                Sync(micros) => pace.took(Duration::from_micros(micros)),
                Ask(client) => pace.asked(ConnectionId(client)),
            });
            assert_eq!(pace.may_wait(), expected);
        };
        check(0, Sync(0), false);
        check(QUICK_IN_A_ROW, Sync(200), true);
        check(1, Sync(2_001), false);
        check(QUICK_IN_A_ROW - 1, Sync(200), false);
        check(1, Sync(2_000), true);
        check(1, Ask(1), false);
        check(ALONE_IN_A_ROW, Ask(1), true);
        check(1, Ask(2), false);
        check(1, Ask(1), false);
        check(ALONE_IN_A_ROW, Ask(1), true);
    }
}
