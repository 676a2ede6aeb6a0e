//! Which cluster-wide features are in force: transaction.version 2 (KIP-890 part 2) as soon as every live broker is one that
//! serves it, which each broker asks of each other with ApiVersions. So a cluster that has Apache Kafka 3.9 brokers stays
//! with the older protocol, without a setting; never is it in force while a live broker has not answered. And
//! group.version 1 (KIP-848) and share.version 1 (KIP-932) unless a live broker has said that it does not serve it: members
//! of such groups give up for good when they hear no, which a broker that is only slow to answer must not cause.

use crate::broker::Broker;
use crate::outbox::Channel;
use crate::peers::PeerCall;
use common::id::BrokerId;
use common::kafka::messages::api_versions::{FinalizedFeatureKey, SupportedFeatureKey};
use common::kafka::messages::{ApiVersionsRequest, ApiVersionsResponse};
use common::time::{Millis, Now};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The feature's name.
const TRANSACTION_VERSION: &str = "transaction.version";
/// What this broker serves of it.
const SERVED: i16 = 2;
/// The feature of the new consumer group protocol.
const GROUP_VERSION: &str = "group.version";
/// What this broker serves of that.
const SERVED_GROUPS: i16 = 1;
/// The feature of share groups.
const SHARE_VERSION: &str = "share.version";
/// What this broker serves of that, unless its settings turn share groups off.
const SERVED_SHARES: i16 = 1;
/// ApiVersions with features whose lowest version is 0: before, Java's clients cannot read those (KAFKA-17492).
const VERSION: i16 = 4;
/// How long another broker may take to answer, and the pause before it is asked again.
const TIMEOUT_MS: u64 = 10_000;
const RETRY_MS: u64 = 1_000;

/// What is known of another broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// To be asked at this moment.
    AskAt(Millis),
    Asked,
    /// transaction.version, group.version and share.version.
    Serves(i16, i16, i16),
}

/// What is known of the live brokers.
pub(crate) struct Features(Mutex<State>);

#[derive(Default)]
struct State {
    /// share.version that this broker serves.
    served_shares: i16,
    peers: BTreeMap<BrokerId, Peer>,
    /// transaction.version in force.
    level: i16,
    /// group.version in force.
    group_level: i16,
    /// share.version in force.
    share_level: i16,
    /// When one of them changed, milliseconds since the epoch: of what several brokers say the latest counts for a client.
    epoch: i64,
}

impl State {
    /// The versions that all serve. True if one changed.
    fn decide(&mut self, now: Now) -> bool {
        let said = |peer: &Peer| {
            if let Peer::Serves(txns, groups, shares) = peer { Some((*txns, *groups, *shares)) } else { None }
        };
        let level = self.peers.values().map(|peer| said(peer).map_or(0, |(level, ..)| level)).fold(SERVED, i16::min);
        let known: Vec<_> = self.peers.values().filter_map(said).collect();
        let group_level = known.iter().map(|(_, level, _)| *level).fold(SERVED_GROUPS, i16::min);
        let share_level = known.iter().map(|(.., level)| *level).fold(self.served_shares, i16::min);
        let is_change = (level, group_level, share_level) != (self.level, self.group_level, self.share_level);
        if !is_change && self.epoch > 0 {
            return false;
        }
        self.epoch = now.wall.0.max(self.epoch + 1);
        (self.level, self.group_level, self.share_level) = (level, group_level, share_level);
        is_change
    }
}

impl Features {
    /// Nothing is known of other brokers; `has_shares` is `group.share.enable`.
    pub(crate) fn new(has_shares: bool) -> Features {
        let served_shares = if has_shares { SERVED_SHARES } else { 0 };
        Features(Mutex::new(State { served_shares, ..State::default() }))
    }

    /// When another broker is to be asked again.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let state = self.0.lock();
        let at = |peer: &Peer| if let Peer::AskAt(at) = peer { Some(*at) } else { None };
        state.peers.values().filter_map(at).min()
    }

    /// What ApiVersions says in a version: features served, those in force, and since when.
    pub(crate) fn told(&self, version: i16) -> (Vec<SupportedFeatureKey>, Vec<FinalizedFeatureKey>, i64) {
        let state = self.0.lock();
        let supported = |(name, max_version): (&str, i16)| SupportedFeatureKey {
            name: name.to_owned(),
            min_version: 0,
            max_version,
        };
        let finalized = |(name, level): (&str, i16)| FinalizedFeatureKey {
            name: name.to_owned(),
            max_version_level: level,
            min_version_level: level,
        };
        let served =
            [(GROUP_VERSION, SERVED_GROUPS), (SHARE_VERSION, state.served_shares), (TRANSACTION_VERSION, SERVED)];
        let in_force = [
            (GROUP_VERSION, state.group_level),
            (SHARE_VERSION, state.share_level),
            (TRANSACTION_VERSION, state.level),
        ];
        let served = served.into_iter().filter(|(_, level)| *level > 0 && version >= VERSION).map(supported).collect();
        let in_force = in_force.into_iter().filter(|(_, level)| *level > 0);
        (served, in_force.map(finalized).collect(), state.epoch)
    }
}

impl Broker {
    /// The set of live brokers may have changed: whoever is new is asked.
    pub(crate) fn on_live_brokers(self: &Arc<Self>, now: Now) {
        let me = BrokerId(self.config.broker_id);
        let live: Vec<BrokerId> = self.image.read().brokers().map(|(id, _)| id).filter(|id| *id != me).collect();
        {
            let mut state = self.features.0.lock();
            // Whoever comes back may be another program.
            state.peers.retain(|id, _| live.contains(id));
            for id in live {
                state.peers.entry(id).or_insert(Peer::AskAt(now.mono));
            }
        }
        self.ask_for_features(now);
        self.decide_features(now);
    }

    /// Asks those whose turn it is.
    pub(crate) fn ask_for_features(self: &Arc<Self>, now: Now) {
        let due: Vec<BrokerId> = {
            let mut state = self.features.0.lock();
            let is_due = |peer: &Peer| matches!(peer, Peer::AskAt(at) if *at <= now.mono);
            let due = state.peers.iter_mut().filter(|(_, peer)| is_due(peer));
            due.map(|(id, peer)| {
                *peer = Peer::Asked;
                *id
            })
            .collect()
        };
        for id in due {
            let request = ApiVersionsRequest {
                client_software_name: "castellan".to_owned(),
                client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let call = PeerCall::ApiVersions(id);
            if !self.send((id, Channel::Transactions), call, &(request, VERSION), now.mono + TIMEOUT_MS) {
                self.on_features(id, None, now);
            }
        }
    }

    /// True if groups of the new consumer protocol are served.
    pub(crate) fn serves_consumer_protocol(&self) -> bool {
        let is_on = self.config.group_coordinator_rebalance_protocols.iter().any(|name| name == "consumer");
        is_on && self.features.0.lock().group_level > 0
    }

    /// True if share groups are served.
    pub fn serves_share_groups(&self) -> bool {
        self.features.0.lock().share_level > 0
    }

    /// Another broker's answer, or none.
    pub(crate) fn on_features(self: &Arc<Self>, id: BrokerId, response: Option<ApiVersionsResponse>, now: Now) {
        {
            let mut state = self.features.0.lock();
            let Some(peer) = state.peers.get_mut(&id) else { return };
            *peer = match response {
                None => {
                    let at = now.mono + RETRY_MS;
                    self.outbox.wake_at(at);
                    Peer::AskAt(at)
                }
                Some(response) => {
                    let features = &response.supported_features;
                    let served = |name| features.iter().find(|key| key.name == name).map_or(0, |key| key.max_version);
                    Peer::Serves(served(TRANSACTION_VERSION), served(GROUP_VERSION), served(SHARE_VERSION))
                }
            };
        }
        self.decide_features(now);
    }

    fn decide_features(&self, now: Now) {
        let (level, group_level, share_level) = {
            let mut state = self.features.0.lock();
            if !state.decide(now) {
                return;
            }
            (state.level, state.group_level, state.share_level)
        };
        tracing::info!(level, "transaction.version");
        tracing::info!(level = group_level, "group.version");
        tracing::info!(level = share_level, "share.version");
        self.transactions.set_version(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::time::WallMillis;

    #[test]
    fn the_level_is_what_all_live_brokers_serve() {
        let mut state = State { served_shares: SERVED_SHARES, ..State::default() };
        let mut at = |wall: i64, peers: &[Peer]| {
            state.peers = (1..).map(BrokerId).zip(peers.iter().copied()).collect();
            state.decide(Now { mono: Millis(0), wall: WallMillis(wall) });
            assert_eq!(state.share_level, state.group_level.min(SERVED_SHARES), "they go by the same rule");
            (state.level, state.group_level, state.epoch)
        };
        for (wall, peers, expected) in [
            (5, &[Peer::Asked][..], (0, 1, 5)),
            (6, &[Peer::Serves(2, 1, 1)], (2, 1, 6)),
            (7, &[Peer::Serves(2, 1, 1), Peer::Serves(3, 2, 2)], (2, 1, 6)),
            (7, &[Peer::Serves(2, 1, 1), Peer::AskAt(Millis(1))], (0, 1, 7)),
            // The clock was set back.
            (1, &[], (2, 1, 8)),
            (9, &[Peer::Serves(0, 0, 0)], (0, 0, 9)),
            (10, &[Peer::Serves(2, 0, 0)], (2, 0, 10)),
        ] {
            assert_eq!(at(wall, peers), expected, "{peers:?}");
        }
    }
}
