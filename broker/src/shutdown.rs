//! Stopping in order: the controller takes this broker's leaderships (ControlledShutdown), the logs are
//! closed, the registration is withdrawn, and the process may end. Never waits for ever.

use crate::broker::Broker;
use crate::cluster::Waiter;
use crate::outbox::{Channel, PeerError, StopReason};
use crate::peers::PeerCall;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{ControlledShutdownRequest, ControlledShutdownResponse};
use common::time::{Millis, Now};
use std::sync::Arc;

/// The controller's answer is awaited this long.
const ANSWER_MS: u64 = 10_000;
/// Kafka waits `controlled.shutdown.retry.backoff.ms`, 5 s, between attempts; what stands in the way (an ISR that grows, a
/// new controller) is over sooner.
const BACKOFF_MAX_MS: u64 = 300;
/// Without a connection to ZooKeeper for this long, the controller, which is most likely cut off as well, can move nothing.
const NO_ZOOKEEPER_MS: u64 = 1_000;
/// If the controller moves no leadership for this long, whatever it says or does not say (it may be stopped, or stopping
/// itself), none is waited for: when the session ends, leaders are elected as after a crash.
const STUCK_MS: u64 = 2_000;
/// How often connection and leaderships are looked at meanwhile.
const LOOK_MS: u64 = 250;
/// ZooKeeper confirms the end of the session within a round trip, or not at all.
const CLOSE_MS: u64 = 2_000;

/// How far the shutdown has come. Running -> HandingOver -> Closing -> Closed; a step is never taken twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not asked to stop.
    #[default]
    Running,
    /// The controller is moving leaderships; `retry_at` is set between attempts.
    HandingOver {
        /// Attempts made.
        attempts: u32,
        /// When to ask again.
        retry_at: Option<Millis>,
        /// Since when there is no connection to ZooKeeper, as far as was looked.
        cut_off_since: Option<Millis>,
        /// Partitions that this broker leads, as of the last look.
        led: usize,
        /// When they last became fewer.
        moved_at: Millis,
    },
    /// Logs are closed; the session is ending.
    Closing {
        /// When to end without ZooKeeper's word.
        deadline: Millis,
    },
    /// The process has been told to end.
    Closed,
}

impl Broker {
    /// Hands leaderships over, closes the logs, then asks the outbox to stop.
    pub fn begin_shutdown(self: &Arc<Self>, now: Now) {
        {
            let mut stage = self.stage.lock();
            if *stage != Stage::Running {
                return;
            }
            let (led, moved_at) = (self.replicas.led(), now.mono);
            *stage = Stage::HandingOver { attempts: 0, retry_at: None, cut_off_since: None, led, moved_at };
        }
        self.outbox.wake_at(now.mono + LOOK_MS);
        self.hand_over(now);
    }

    fn hand_over(self: &Arc<Self>, now: Now) {
        let (others_live, controller) = {
            let image = self.image.read();
            (image.brokers().count() > 1, image.controller())
        };
        let attempts = {
            let mut stage = self.stage.lock();
            let Stage::HandingOver { attempts, retry_at, .. } = &mut *stage else { return };
            *attempts += 1;
            *retry_at = None;
            *attempts
        };
        let limit = u32::try_from(self.config.controlled_shutdown_max_retries).unwrap_or(0);
        // Alone, there is nobody to hand over to.
        if !self.config.controlled_shutdown_enable || !others_live || attempts > limit {
            return self.close_logs(now);
        }
        let me = BrokerId(self.config.broker_id);
        let epoch = self.replicas.broker_epoch();
        if self.cluster.is_controller() {
            let broker = self.clone();
            let done = Waiter::new(move |remaining: Vec<(String, i32)>| broker.handed_over(remaining.is_empty(), now));
            let begun =
                self.with_cluster(now, |cluster, effects| cluster.controlled_shutdown((me, epoch), done, now, effects));
            if begun.is_err() {
                self.handed_over(false, now);
            }
            return;
        }
        let request = ControlledShutdownRequest { broker_id: me.0, broker_epoch: epoch };
        let sent = controller.is_some_and(|controller| {
            let deadline = now.mono + ANSWER_MS;
            self.send((controller, Channel::ToController), PeerCall::ControlledShutdown, &(request, 3), deadline)
        });
        if !sent {
            self.handed_over(false, now);
        }
    }

    pub(crate) fn on_controlled_shutdown(
        self: &Arc<Self>,
        response: Result<ControlledShutdownResponse, PeerError>,
        now: Now,
    ) {
        let is_done = response.is_ok_and(|response| {
            response.error_code == ErrorCode::None.code() && response.remaining_partitions.is_empty()
        });
        self.handed_over(is_done, now);
    }

    fn handed_over(self: &Arc<Self>, is_done: bool, now: Now) {
        if is_done {
            return self.close_logs(now);
        }
        let backoff = u64::try_from(self.config.controlled_shutdown_retry_backoff_ms).unwrap_or(0).min(BACKOFF_MAX_MS);
        let at = now.mono + backoff;
        if let Stage::HandingOver { retry_at, .. } = &mut *self.stage.lock() {
            *retry_at = Some(at);
        }
        self.outbox.wake_at(at);
    }

    fn close_logs(self: &Arc<Self>, now: Now) {
        let deadline = now.mono + CLOSE_MS;
        {
            let mut stage = self.stage.lock();
            if !matches!(*stage, Stage::HandingOver { .. }) {
                return;
            }
            *stage = Stage::Closing { deadline };
        }
        self.replicas.shutdown();
        // Others may lead by now: whoever asked here until the process ends would be told old offsets.
        self.with_groups(now, |groups, io| groups.close(io));
        self.with_transactions(now, |transactions, io| transactions.close(io));
        self.with_share_states(now, |states, io| states.close(io));
        self.outbox.wake_at(deadline);
        self.with_cluster(now, |cluster, effects| cluster.close(now, effects));
    }

    /// ZooKeeper has ended the session, or took too long.
    pub(crate) fn closed(&self) {
        let before = std::mem::replace(&mut *self.stage.lock(), Stage::Closed);
        if before != Stage::Closed {
            self.outbox.stop(StopReason::Finished);
        }
    }

    pub(crate) fn tick_shutdown(self: &Arc<Self>, now: Now) {
        if self.is_cut_off(now) {
            tracing::warn!("no connection to ZooKeeper: shutting down without handing leaderships over");
            return self.close_logs(now);
        }
        if self.is_stuck(now) {
            tracing::info!("the controller moves no leadership: shutting down without handing the others over");
            return self.close_logs(now);
        }
        let stage = *self.stage.lock();
        match stage {
            Stage::HandingOver { retry_at: Some(at), .. } if at <= now.mono => self.hand_over(now),
            Stage::Closing { deadline } if deadline <= now.mono => self.closed(),
            _ => {}
        }
    }

    /// Has the controller moved nothing for too long?
    fn is_stuck(&self, now: Now) -> bool {
        if !matches!(*self.stage.lock(), Stage::HandingOver { .. }) {
            return false;
        }
        let leads = self.replicas.led();
        let mut stage = self.stage.lock();
        let Stage::HandingOver { led, moved_at, .. } = &mut *stage else { return false };
        if leads < *led {
            *moved_at = now.mono;
        }
        *led = leads;
        now.mono - *moved_at >= STUCK_MS
    }

    /// Is nobody there any more who could take the leaderships?
    fn is_cut_off(&self, now: Now) -> bool {
        if !matches!(*self.stage.lock(), Stage::HandingOver { .. }) {
            return false;
        }
        let is_connected = self.cluster.is_connected();
        let mut stage = self.stage.lock();
        let Stage::HandingOver { cut_off_since, .. } = &mut *stage else { return false };
        self.outbox.wake_at(now.mono + LOOK_MS);
        if is_connected {
            *cut_off_since = None;
            return false;
        }
        let since = *cut_off_since.get_or_insert(now.mono);
        now.mono - since >= NO_ZOOKEEPER_MS
    }

    pub(crate) fn shutdown_deadline(&self) -> Option<Millis> {
        match *self.stage.lock() {
            Stage::HandingOver { retry_at, .. } => retry_at,
            Stage::Closing { deadline } => Some(deadline),
            Stage::Running | Stage::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::tests::{NOW, Place};
    use crate::outbox::{StopReason, ZkInput};
    use bytes::Bytes;
    use common::kafka::messages::{UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataRequest};
    use common::time::Now;

    /// A session is connected, and a controller that never answers is known.
    fn place() -> Place {
        let place = Place::new();
        let endpoint =
            UpdateMetadataEndpoint { port: 1, host: "h".into(), listener: "PLAINTEXT".into(), security_protocol: 0 };
        let broker = |id| UpdateMetadataBroker { id, endpoints: vec![endpoint.clone()], ..Default::default() };
        let live_brokers = vec![broker(1), broker(2)];
        let request = UpdateMetadataRequest { controller_id: 2, live_brokers, ..Default::default() };
        place.broker.image.write().update(request).unwrap();
        place.broker.begin(NOW);
        place.broker.on_zk(ZkInput::Connected, NOW);
        let mut accepted = vec![0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0x46, 0x50, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 16];
        accepted.extend([7; 17]);
        accepted[40] = 0;
        place.broker.on_zk(ZkInput::Bytes(Bytes::from(accepted)), NOW);
        assert!(place.broker.cluster.is_connected());
        place
    }

    #[test]
    fn a_controller_that_does_not_answer_is_not_waited_for() {
        let place = place();
        place.broker.begin_shutdown(NOW);
        let stops_by = (0..100).map(|step| step * 250).find(|millis| {
            let now = Now { mono: NOW.mono + *millis, ..NOW };
            place.broker.tick(now);
            !place.answered.1.lock().is_empty()
        });
        assert_eq!(*place.answered.1.lock(), [StopReason::Finished]);
        // Two seconds for the controller, two for ZooKeeper, which says nothing either.
        assert_eq!(stops_by, Some(4_000));
    }
}
