//! Which cluster-wide features are in force: transaction.version 2 (KIP-890 part 2) as soon as every live broker is one that
//! serves it, which each broker asks of each other with ApiVersions. So a cluster that has Apache Kafka 3.9 brokers stays
//! with the older protocol, without a setting; never is it in force while a live broker has not answered. And
//! group.version 1 (KIP-848) and share.version 1 (KIP-932) unless a live broker has said that it does not serve it: members
//! of such groups give up for good when they hear no, which a broker that is only slow to answer must not cause. An operator
//! may hold each of them down (KIP-584): the levels that are set stand in ZooKeeper, and no broker goes beyond.

use crate::broker::Broker;
use crate::cluster::Levels;
use crate::outbox::Channel;
use crate::peers::PeerCall;
use common::id::BrokerId;
use common::kafka::messages::api_versions::{FinalizedFeatureKey, SupportedFeatureKey};
use common::kafka::messages::{ApiVersionsRequest, ApiVersionsResponse};
use common::time::{Millis, Now};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The features, by name, in the order in which [`PerFeature`] holds what is known of each.
const NAMES: [&str; 3] = ["transaction.version", "group.version", "share.version"];
/// The second transaction protocol, and records that keep what it needs.
const TRANSACTION: usize = 0;
/// The new consumer group protocol.
const GROUP: usize = 1;
/// Share groups.
const SHARE: usize = 2;
/// What this broker serves, unless its settings turn share groups off.
const SERVED: PerFeature = [2, 1, 1];

/// A level of each feature.
type PerFeature = [i16; 3];

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
    Serves(PerFeature),
}

/// What is known of the live brokers.
pub(crate) struct Features(Mutex<State>);

#[derive(Default)]
struct State {
    /// What this broker serves.
    served: PerFeature,
    peers: BTreeMap<BrokerId, Peer>,
    /// What an operator has set.
    set: Levels,
    in_force: PerFeature,
    /// When one of them changed, milliseconds since the epoch: of what several brokers say the latest counts for a client.
    epoch: i64,
}

/// A level that an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Of which feature.
    pub(crate) feature: String,
    /// The level.
    pub(crate) level: i16,
    /// May it be lower than the one in force? `None`: a kind of change that is not known.
    pub(crate) is_downgrade: Option<bool>,
}

impl State {
    /// The levels that all serve, and no more than is set. True if one changed.
    fn decide(&mut self, now: Now) -> bool {
        let mut levels = self.served;
        for peer in self.peers.values() {
            match peer {
                Peer::Serves(served) => {
                    for (level, served) in levels.iter_mut().zip(served) {
                        *level = (*level).min(*served);
                    }
                }
                Peer::AskAt(_) | Peer::Asked => levels[TRANSACTION] = 0,
            }
        }
        for (level, name) in levels.iter_mut().zip(NAMES) {
            *level = self.set.get(name).map_or(*level, |set| (*level).min(*set).max(0));
        }
        let is_change = levels != self.in_force;
        if !is_change && self.epoch > 0 {
            return false;
        }
        self.epoch = now.wall.0.max(self.epoch + 1);
        self.in_force = levels;
        is_change
    }

    /// Why this level cannot be, in Kafka 4.3's words.
    fn refusal(&self, wish: &Wish, me: BrokerId) -> Option<String> {
        let Some(is_downgrade) = wish.is_downgrade else {
            return Some("The controller does not support the given upgrade type.".to_owned());
        };
        if wish.level < 0 {
            return Some("A feature version cannot be less than 0.".to_owned());
        }
        let at = NAMES.iter().position(|name| *name == wish.feature);
        let unsupported = |who: String, max: i16| {
            (wish.level > max || at.is_none()).then(|| match max {
                0 => format!("{who} does not support this feature."),
                max => format!("{who} only supports versions 0-{max}"),
            })
        };
        let of = |served: &PerFeature| at.map_or(0, |at| served[at]);
        if let Some(refusal) = unsupported(format!("Local controller {}", me.0), of(&self.served)) {
            return Some(refusal);
        }
        for (id, peer) in &self.peers {
            let refusal = match peer {
                Peer::Serves(served) => unsupported(format!("Broker {}", id.0), of(served)),
                _ if wish.level > 0 => Some(format!("Broker {} has not said yet what it supports.", id.0)),
                _ => None,
            };
            if refusal.is_some() {
                return refusal;
            }
        }
        match of(&self.in_force) {
            current if wish.level < current && !is_downgrade => Some(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
                 downgrade."
                    .to_owned(),
            ),
            current if wish.level > current && is_downgrade => Some("Can't downgrade to a newer version.".to_owned()),
            _ => None,
        }
    }
}

impl Features {
    /// Nothing is known of other brokers; `has_shares` is `group.share.enable`.
    pub(crate) fn new(has_shares: bool) -> Features {
        let mut served = SERVED;
        if !has_shares {
            served[SHARE] = 0;
        }
        Features(Mutex::new(State { served, ..State::default() }))
    }

    /// Can these levels be set? If not, which cannot and why.
    pub(crate) fn check(&self, wishes: &[Wish], me: BrokerId) -> Result<Levels, String> {
        let state = self.0.lock();
        let mut levels = Levels::new();
        for wish in wishes {
            if let Some(refusal) = state.refusal(wish, me) {
                let Wish { feature, level, .. } = wish;
                return Err(format!("Invalid update version {level} for feature {feature}. {refusal}"));
            }
            levels.insert(wish.feature.clone(), wish.level);
        }
        Ok(levels)
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
        let of = |levels: PerFeature| {
            let mut levels: Vec<(&str, i16)> = NAMES.into_iter().zip(levels).filter(|(_, level)| *level > 0).collect();
            levels.sort_unstable();
            levels.into_iter()
        };
        let served = of(state.served).filter(|_| version >= VERSION).map(supported).collect();
        (served, of(state.in_force).map(finalized).collect(), state.epoch)
    }

    fn in_force(&self) -> PerFeature {
        self.0.lock().in_force
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
        is_on && self.features.in_force()[GROUP] > 0
    }

    /// True if share groups are served.
    pub fn serves_share_groups(&self) -> bool {
        self.features.in_force()[SHARE] > 0
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
                    Peer::Serves(NAMES.map(served))
                }
            };
        }
        self.decide_features(now);
    }

    /// The levels that an operator has set are these from now on.
    pub(crate) fn on_feature_levels(&self, levels: Levels, now: Now) {
        self.features.0.lock().set = levels;
        self.decide_features(now);
    }

    fn decide_features(&self, now: Now) {
        let levels = {
            let mut state = self.features.0.lock();
            if !state.decide(now) {
                return;
            }
            state.in_force
        };
        for (level, name) in levels.into_iter().zip(NAMES) {
            tracing::info!(level, "{name}");
        }
        self.transactions.set_version(levels[TRANSACTION]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::time::WallMillis;

    fn at(wall: i64) -> Now {
        Now { mono: Millis(0), wall: WallMillis(wall) }
    }

    fn state(peers: &[Peer]) -> State {
        let peers = (1..).map(BrokerId).zip(peers.iter().copied()).collect();
        let mut state = State { served: SERVED, peers, ..State::default() };
        state.decide(at(5));
        state
    }

    #[test]
    fn the_level_is_what_all_live_brokers_serve() {
        let mut state = state(&[]);
        for (wall, peers, expected, epoch) in [
            (5, &[Peer::Asked][..], [0, 1, 1], 6),
            (7, &[Peer::Serves([2, 1, 1])], [2, 1, 1], 7),
            (8, &[Peer::Serves([2, 1, 1]), Peer::Serves([3, 2, 2])], [2, 1, 1], 7),
            (8, &[Peer::Serves([2, 1, 1]), Peer::AskAt(Millis(1))], [0, 1, 1], 8),
            // The clock was set back.
            (1, &[], [2, 1, 1], 9),
            (10, &[Peer::Serves([0, 0, 0])], [0, 0, 0], 10),
            (11, &[Peer::Serves([2, 0, 1])], [2, 0, 1], 11),
        ] {
            state.peers = (1..).map(BrokerId).zip(peers.iter().copied()).collect();
            state.decide(at(wall));
            assert_eq!((state.in_force, state.epoch), (expected, epoch), "{peers:?}");
        }
    }

    #[test]
    fn no_level_is_beyond_what_is_set() {
        for (set, expected) in [
            (&[("transaction.version", 1)][..], [1, 1, 1]),
            (&[("transaction.version", 9), ("share.version", 0), ("metadata.version", 3)], [2, 1, 0]),
            (&[("group.version", -5)], [2, 0, 1]),
        ] {
            let mut state = state(&[Peer::Serves([2, 1, 1])]);
            state.set = set.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
            assert!(state.decide(at(6)), "{set:?}");
            assert_eq!(state.in_force, expected, "{set:?}");
        }
    }

    #[test]
    fn levels_that_cannot_be_are_refused() {
        let (up, down) = (Some(false), Some(true));
        let unsafe_only = "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                           unsafe downgrade.";
        for (feature, level, is_downgrade, expected) in [
            ("transaction.version", 2, up, None),
            ("transaction.version", 2, down, None),
            ("transaction.version", 1, down, None),
            ("transaction.version", 0, down, None),
            ("transaction.version", 1, up, Some(unsafe_only)),
            ("transaction.version", 3, up, Some("Local controller 7 only supports versions 0-2")),
            ("transaction.version", -1, down, Some("A feature version cannot be less than 0.")),
            ("transaction.version", 1, None, Some("The controller does not support the given upgrade type.")),
            ("share.version", 1, up, Some("Broker 2 does not support this feature.")),
            ("share.version", 0, down, None),
            ("metadata.version", 20, up, Some("Local controller 7 does not support this feature.")),
            ("metadata.version", 0, down, Some("Local controller 7 does not support this feature.")),
        ] {
            let state = state(&[Peer::Serves([2, 1, 1]), Peer::Serves([2, 1, 0])]);
            let wish = Wish { feature: feature.to_owned(), level, is_downgrade };
            assert_eq!(state.refusal(&wish, BrokerId(7)).as_deref(), expected, "{wish:?}");
        }
        let wish = Wish { feature: "group.version".to_owned(), level: 1, is_downgrade: up };
        let mut state = state(&[Peer::Asked]);
        assert_eq!(state.refusal(&wish, BrokerId(7)).unwrap(), "Broker 1 has not said yet what it supports.");
        state.set = Levels::from([("group.version".to_owned(), 0)]);
        state.peers.clear();
        state.decide(at(6));
        assert_eq!(
            state.refusal(&Wish { is_downgrade: down, ..wish.clone() }, BrokerId(7)).unwrap(),
            "Can't downgrade to a newer version."
        );
        assert_eq!(state.refusal(&wish, BrokerId(7)), None);
    }
}
