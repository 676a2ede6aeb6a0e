//! Where blocks of producer ids come from: the controller, which may be this broker. Decides nothing.

use crate::broker::Broker;
use crate::cluster;
use crate::outbox::Channel;
use crate::peers::PeerCall;
use crate::producer_ids::{Done, NoProducerIds};
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use common::time::Now;
use std::ops::Range;
use std::sync::Arc;

/// How long the controller may take; as Kafka's `controller.socket.timeout.ms` by default.
const TIMEOUT_MS: u64 = 30_000;
/// The only version.
const VERSION: i16 = 0;

impl Broker {
    /// A producer id that nobody else gets; `None` if `done` made a closure that gets it later.
    pub(crate) fn next_producer_id(
        self: &Arc<Self>,
        done: impl FnOnce() -> Done,
        now: Now,
    ) -> Option<Result<i64, NoProducerIds>> {
        let (id, ask) = self.producer_ids.next(done);
        if ask.is_some() {
            self.ask_for_producer_ids(now);
        }
        id
    }

    fn ask_for_producer_ids(self: &Arc<Self>, now: Now) {
        let me = (BrokerId(self.config.broker_id), self.replicas.broker_epoch());
        if self.cluster.is_controller() {
            let broker = self.clone();
            let done = cluster::Waiter::new(move |block: Result<cluster::json::ProducerIdBlock, _>| {
                broker.on_producer_ids(block.ok().map(|block| block.first..block.last + 1), now);
            });
            let asked =
                self.with_cluster(now, |cluster, effects| cluster.allocate_producer_ids(me, done, now, effects));
            if asked.is_err() {
                self.on_producer_ids(None, now);
            }
            return;
        }
        let controller = self.image.read().controller();
        let request = AllocateProducerIdsRequest { broker_id: me.0.0, broker_epoch: me.1 };
        let deadline = now.mono + TIMEOUT_MS;
        let is_sent = controller.is_some_and(|controller| {
            let call = PeerCall::AllocateProducerIds;
            self.send((controller, Channel::ToController), call, &(request, VERSION), deadline)
        });
        if !is_sent {
            self.on_producer_ids(None, now);
        }
    }

    /// The controller's answer, or none.
    pub(crate) fn on_producer_ids_response(self: &Arc<Self>, response: Option<AllocateProducerIdsResponse>, now: Now) {
        let response = response.filter(|response| response.error_code == ErrorCode::None.code());
        let block = response.map(|response| {
            let (first, len) = (response.producer_id_start, i64::from(response.producer_id_len.max(0)));
            first..first.saturating_add(len)
        });
        self.on_producer_ids(block.filter(|block| !block.is_empty()), now);
    }

    fn on_producer_ids(self: &Arc<Self>, block: Option<Range<i64>>, now: Now) {
        if self.producer_ids.on_block(block).is_some() {
            self.ask_for_producer_ids(now);
        }
    }
}
