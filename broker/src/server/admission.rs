//! How many clients may be connected: `max.connections` of the broker, `max.connections.per.ip` of one address (KIP-308,
//! KIP-402). Settings are looked at for each connection, so that a change counts at once. Closes nothing by itself.

use crate::config::BrokerConfig;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::Notify;

/// The clients connected now.
#[derive(Debug, Default)]
pub(super) struct Admission {
    counts: Mutex<Counts>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One client's place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.total -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        self.admission.left.notify_waiters();
    }
}

impl Admission {
    /// Waits until the broker as a whole may take another client: those beyond wait in the listening port's queue, as
    /// with Kafka. Brokers, on a listener of their own, do not wait: the cluster must not come to harm from clients.
    pub(super) async fn room(&self, listener: &str, config: impl Fn() -> Arc<BrokerConfig>) {
        loop {
            let left = self.left.notified();
            let config = config();
            let is_protected = config.listeners.len() > 1 && config.inter_broker_listener_name == listener;
            let max = usize::try_from(config.max_connections).unwrap_or(0);
            if is_protected || self.counts.lock().total < max {
                return;
            }
            // A raised limit is noticed at the latest then.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), left).await;
        }
    }

    /// A place for a client; `None` if its address has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, config: &BrokerConfig) -> Option<Place> {
        let max = allowed(address, config);
        let mut counts = self.counts.lock();
        let count = counts.by_address.entry(address).or_default();
        if *count >= max {
            if *count == 0 {
                counts.by_address.remove(&address);
            }
            return None;
        }
        *count += 1;
        counts.total += 1;
        Some(Place { admission: self.clone(), address })
    }
}

/// The limit of an address; overrides name it, or a host that has it.
fn allowed(address: IpAddr, config: &BrokerConfig) -> usize {
    let of_host = |host: &str| match host.parse::<IpAddr>() {
        Ok(named) => named == address,
        Err(_) => (host, 0).to_socket_addrs().is_ok_and(|mut all| all.any(|one| one.ip() == address)),
    };
    let overrides = config.max_connections_per_ip_overrides.split(',').filter_map(|one| one.trim().rsplit_once(':'));
    let own = overrides.filter(|(host, _)| of_host(host.trim())).find_map(|(_, max)| max.trim().parse().ok());
    own.unwrap_or_else(|| usize::try_from(config.max_connections_per_ip).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::properties::Properties;

    fn config(text: &str) -> BrokerConfig {
        let properties = Properties::parse(&format!("zookeeper.connect=x\n{text}"), "f");
        BrokerConfig::parse(&properties).unwrap().0
    }

    #[test]
    fn an_address_has_as_many_places_as_it_may() {
        let here: IpAddr = [127, 0, 0, 1].into();
        let there: IpAddr = [10, 0, 0, 1].into();
        let config = config("max.connections.per.ip=2\nmax.connections.per.ip.overrides=10.0.0.1:1,10.0.0.2:0");
        let admission = Arc::new(Admission::default());
        let first = admission.enter(here, &config).unwrap();
        let second = admission.enter(here, &config).unwrap();
        assert!(admission.enter(here, &config).is_none());
        let other = admission.enter(there, &config).unwrap();
        assert!(admission.enter(there, &config).is_none());
        assert!(admission.enter([10, 0, 0, 2].into(), &config).is_none());
        drop(first);
        let third = admission.enter(here, &config).unwrap();
        drop((second, third, other));
        assert!(admission.counts.lock().by_address.is_empty());
    }

    #[tokio::test]
    async fn clients_wait_for_room_and_brokers_do_not() {
        let listeners = "listeners=A://:1,B://:2\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\n\
                         inter.broker.listener.name=B\nmax.connections=1";
        let config = Arc::new(config(listeners));
        let admission = Arc::new(Admission::default());
        admission.room("A", || config.clone()).await;
        let place = admission.enter([127, 0, 0, 1].into(), &config).unwrap();
        admission.room("B", || config.clone()).await;
        let mut waiting = Box::pin(admission.room("A", || config.clone()));
        let is_let_in = |poll: std::task::Poll<()>| poll.is_ready();
        assert!(!is_let_in(std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await));
        drop(place);
        waiting.await;
    }
}
