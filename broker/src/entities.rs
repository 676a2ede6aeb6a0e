//! Changes of what ZooKeeper holds of users, clients and addresses: read anew, decided, written, and answered when all is
//! written. Knows no wire code and not what a setting means.

use crate::broker::Broker;
use crate::cluster::{Entity, Waiter};
use crate::config::describe::Texts;
use crate::gathered::Gathered;
use common::time::Now;
use common::zk::ZkError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What became of each entity that was written.
pub(crate) type Written = BTreeMap<Entity, Result<(), ZkError>>;

impl Broker {
    /// Reads these entities anew, asks `decide` what to write, and tells `then` what became of it.
    pub(crate) fn change_entities(
        self: &Arc<Self>,
        entities: BTreeSet<Entity>,
        decide: impl FnOnce(&Broker) -> BTreeMap<Entity, Texts> + Send + 'static,
        then: Box<dyn FnOnce(Written) + Send>,
        now: Now,
    ) {
        let broker = self.clone();
        let go_on = Waiter::new(move |()| {
            let wanted = decide(&broker);
            if wanted.is_empty() {
                return then(Written::new());
            }
            let gathered = Gathered::new(Written::new(), wanted.len(), then);
            for (entity, texts) in wanted {
                let (gathered, name) = (gathered.clone(), entity.clone());
                tracing::info!(kind = entity.0, name = entity.1, names = ?texts.keys(), "settings change");
                let done = Waiter::new(move |result| {
                    gathered.put(|written| {
                        written.insert(name, result);
                    });
                });
                broker.with_cluster(now, |cluster, effects| {
                    cluster.change_settings(entity, texts, done, (now, effects));
                });
            }
        });
        self.with_cluster(now, |cluster, effects| cluster.refresh_settings(entities, go_on, now, effects));
    }
}
