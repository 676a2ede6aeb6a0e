//! Carries what one machine wants to the next: runs a machine, takes its effects, and works them off while no machine's
//! lock is held. Decides nothing.

use crate::api;
use crate::broker::Broker;
use crate::cluster::{self, Cluster};
use crate::group::{self, Groups, OFFSETS_TOPIC};
use crate::internal_topic::InternalTopic;
use crate::outbox::{Channel, PeerAddress, PeerError, StopReason};
use crate::partition::follower::{FetchAnswer, FetchFailure, SessionFailure};
use crate::partition::waiting::Done;
use crate::partition::{self, Replicas};
use crate::peers::{Destination, FetcherId, PeerCall};
use crate::replication;
use crate::share::{self, SHARE_STATE_TOPIC, ShareStates};
use crate::tiered::METADATA_TOPIC;
use crate::txn::{self, MarkerOrder, TRANSACTION_TOPIC, Transactions};
use bytes::Bytes;
use common::id::BrokerId;
use common::kafka::header;
use common::kafka::messages::{
    AddPartitionsToTxnRequest, AllocateProducerIdsRequest, AlterPartitionRequest, ApiVersionsRequest,
    ControlledShutdownRequest, CreateTopicsRequest, FetchRequest, LeaderAndIsrRequest, ListOffsetsRequest,
    OffsetForLeaderEpochRequest, Request, StopReplicaRequest, UpdateMetadataRequest, WriteTxnMarkersRequest,
};
use common::time::{Millis, Now};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A controller and its brokers answer each other within this; as Kafka's `request.timeout.ms` for them.
const CONTROL_TIMEOUT_MS: u64 = 30_000;

/// Something to be carried out.
enum Work {
    Partition(partition::Effect),
    Cluster(cluster::Effect),
    Answer(Box<dyn FnOnce() + Send>),
    Markers(Vec<MarkerOrder>),
}

impl Broker {
    /// Runs the partitions' machine and carries out what it wants.
    pub fn with_replicas<T>(
        self: &Arc<Self>,
        now: Now,
        act: impl FnOnce(&Replicas, &mut Vec<partition::Effect>) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let outcome = act(&self.replicas, &mut effects);
        self.carry(effects.into_iter().map(Work::Partition).collect(), now);
        outcome
    }

    /// Runs the cluster's machine and carries out what it wants.
    pub fn with_cluster<T>(
        self: &Arc<Self>,
        now: Now,
        act: impl FnOnce(&Cluster, &mut Vec<cluster::Effect>) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let outcome = act(&self.cluster, &mut effects);
        self.carry(effects.into_iter().map(Work::Cluster).collect(), now);
        // What was due later, or not at all, may be due sooner now: a lost session's next attempt to connect, for one.
        if let Some(at) = self.cluster.next_deadline() {
            self.outbox.wake_at(at);
        }
        outcome
    }

    /// Runs the groups' machine and carries out what it wants.
    pub fn with_groups<T>(self: &Arc<Self>, now: Now, act: impl FnOnce(&Groups, &mut group::Io<'_>) -> T) -> T {
        let mut work = VecDeque::new();
        let outcome = self.run_groups(now, &mut work, act);
        self.carry(work, now);
        outcome
    }

    fn run_groups<T>(
        self: &Arc<Self>,
        now: Now,
        work: &mut VecDeque<Work>,
        act: impl FnOnce(&Groups, &mut group::Io<'_>) -> T,
    ) -> T {
        let journal = InternalTopic { broker: self, name: OFFSETS_TOPIC, effects: RefCell::default() };
        let mut io = group::Io::new(&journal, &journal, now);
        let outcome = act(&self.groups, &mut io);
        let group::Io { answers, wake_at, loads, .. } = io;
        work.extend(journal.effects.into_inner().into_iter().map(Work::Partition));
        work.extend(answers.into_iter().map(Work::Answer));
        if let Some(at) = wake_at {
            self.groups_due.bring_forward(at);
            self.outbox.wake_at(at);
        }
        for (partition, leader_epoch) in loads {
            self.load_groups(partition, leader_epoch);
        }
        outcome
    }

    /// Runs the transactions' machine and carries out what it wants.
    pub fn with_transactions<T>(
        self: &Arc<Self>,
        now: Now,
        act: impl FnOnce(&Transactions, &mut txn::Io<'_>) -> T,
    ) -> T {
        let mut work = VecDeque::new();
        let outcome = self.run_transactions(now, &mut work, act);
        self.carry(work, now);
        outcome
    }

    fn run_transactions<T>(
        self: &Arc<Self>,
        now: Now,
        work: &mut VecDeque<Work>,
        act: impl FnOnce(&Transactions, &mut txn::Io<'_>) -> T,
    ) -> T {
        let journal = InternalTopic { broker: self, name: TRANSACTION_TOPIC, effects: RefCell::default() };
        let mut io = txn::Io::new(&journal, now);
        let outcome = act(&self.transactions, &mut io);
        let txn::Io { answers, orders, wake_at, loads, .. } = io;
        work.extend(journal.effects.into_inner().into_iter().map(Work::Partition));
        work.extend(answers.into_iter().map(Work::Answer));
        if !orders.is_empty() {
            work.push_back(Work::Markers(orders));
        }
        if let Some(at) = wake_at {
            self.transactions_due.bring_forward(at);
            self.outbox.wake_at(at);
        }
        for (partition, leader_epoch) in loads {
            self.load_transactions(partition, leader_epoch);
        }
        outcome
    }

    /// Runs the share coordinator's machine and carries out what it wants.
    pub fn with_share_states<T>(
        self: &Arc<Self>,
        now: Now,
        act: impl FnOnce(&ShareStates, &mut share::coordinator::Io<'_>) -> T,
    ) -> T {
        let mut work = VecDeque::new();
        let outcome = self.run_share_states(now, &mut work, act);
        self.carry(work, now);
        outcome
    }

    fn run_share_states<T>(
        self: &Arc<Self>,
        now: Now,
        work: &mut VecDeque<Work>,
        act: impl FnOnce(&ShareStates, &mut share::coordinator::Io<'_>) -> T,
    ) -> T {
        let journal = InternalTopic { broker: self, name: SHARE_STATE_TOPIC, effects: RefCell::default() };
        let mut io = share::coordinator::Io::new(&journal, &journal, now);
        let outcome = act(&self.share_states, &mut io);
        let share::coordinator::Io { answers, wake_at, loads, prunes, .. } = io;
        work.extend(journal.effects.into_inner().into_iter().map(Work::Partition));
        work.extend(answers.into_iter().map(Work::Answer));
        if let Some(at) = wake_at {
            self.share_states_due.bring_forward(at);
            self.outbox.wake_at(at);
        }
        for (partition, leader_epoch) in loads {
            self.load_share_states(partition, leader_epoch);
        }
        for (partition, offset) in prunes {
            self.prune_share_states(partition, offset);
        }
        outcome
    }

    /// As [`Self::load_groups`].
    fn load_share_states(self: &Arc<Self>, partition: i32, leader_epoch: i32) {
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            broker.with_share_states(now, |states, io| states.load(partition, leader_epoch, io));
        }));
    }

    /// Deletes records of the state topic that say nothing any more. Whether replicas follow at once does not matter.
    fn prune_share_states(self: &Arc<Self>, partition: i32, offset: i64) {
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            let parts = [(Arc::from(SHARE_STATE_TOPIC), partition, offset)];
            broker.with_replicas(now, |replicas, effects| {
                let ignore = || -> Done<partition::DeleteOutcome> { Box::new(|_| {}) };
                replicas.delete_records(&parts, 0, ignore, (now, effects));
            });
        }));
    }

    /// As [`Self::load_groups`].
    fn load_transactions(self: &Arc<Self>, partition: i32, leader_epoch: i32) {
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            broker.with_transactions(now, |txns, io| txns.load(partition, leader_epoch, io));
        }));
    }

    /// Reading a large partition must keep nobody waiting.
    fn load_groups(self: &Arc<Self>, partition: i32, leader_epoch: i32) {
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            broker.with_groups(now, |groups, io| groups.load(partition, leader_epoch, io));
        }));
    }

    fn carry(self: &Arc<Self>, mut work: VecDeque<Work>, now: Now) {
        while let Some(next) = work.pop_front() {
            match next {
                Work::Partition(effect) => self.carry_partition(effect, now, &mut work),
                Work::Cluster(effect) => self.carry_cluster(effect, now, &mut work),
                Work::Answer(answer) => answer(),
                Work::Markers(orders) => self.send_markers(orders, now),
            }
        }
    }

    fn carry_partition(self: &Arc<Self>, effect: partition::Effect, now: Now, work: &mut VecDeque<Work>) {
        use partition::Effect;
        match effect {
            Effect::HighWatermark { topic, partition, offset } if &*topic == OFFSETS_TOPIC => {
                self.run_groups(now, work, |groups, io| groups.on_high_watermark(partition, offset, io));
            }
            Effect::BecameLeader { topic, partition, leader_epoch } if &*topic == OFFSETS_TOPIC => {
                if self.run_groups(now, work, |groups, io| groups.on_leader(partition, leader_epoch, io)) {
                    self.load_groups(partition, leader_epoch);
                }
            }
            Effect::Resigned { topic, partition, leader_epoch } if &*topic == OFFSETS_TOPIC => {
                self.run_groups(now, work, |groups, io| groups.on_resigned(partition, leader_epoch, io));
            }
            Effect::HighWatermark { topic, partition, offset } if &*topic == TRANSACTION_TOPIC => {
                self.run_transactions(now, work, |txns, io| txns.on_high_watermark(partition, offset, io));
            }
            Effect::BecameLeader { topic, partition, leader_epoch } if &*topic == TRANSACTION_TOPIC => {
                if self.run_transactions(now, work, |txns, io| txns.on_leader(partition, leader_epoch, io)) {
                    self.load_transactions(partition, leader_epoch);
                }
            }
            Effect::Resigned { topic, partition, leader_epoch } if &*topic == TRANSACTION_TOPIC => {
                self.run_transactions(now, work, |txns, io| txns.on_resigned(partition, leader_epoch, io));
            }
            Effect::HighWatermark { topic, partition, offset } if &*topic == SHARE_STATE_TOPIC => {
                self.run_share_states(now, work, |states, io| states.on_high_watermark(partition, offset, io));
            }
            Effect::BecameLeader { topic, partition, leader_epoch } if &*topic == SHARE_STATE_TOPIC => {
                if self.run_share_states(now, work, |states, io| states.on_leader(partition, leader_epoch, io)) {
                    self.load_share_states(partition, leader_epoch);
                }
            }
            Effect::Resigned { topic, partition, leader_epoch } if &*topic == SHARE_STATE_TOPIC => {
                self.run_share_states(now, work, |states, io| states.on_resigned(partition, leader_epoch, io));
            }
            Effect::HighWatermark { topic, .. } if &*topic == METADATA_TOPIC => self.wake_tiered(now),
            Effect::HighWatermark { topic, partition, .. } => self.on_more_to_share(&topic, partition, now),
            Effect::BecameLeader { topic, partition, .. } | Effect::Resigned { topic, partition, .. } => {
                self.on_share_leadership(&topic, partition, now);
            }
            Effect::AlterPartition(changes) => self.send_alter_partition(&changes, now, work),
            Effect::Fetch { leader, fetcher, ask } => self.send_fetch((BrokerId(leader), fetcher), ask, now, work),
            Effect::ListOffsets { leader, fetcher, ask } => {
                let id = FetcherId { leader: BrokerId(leader), number: fetcher };
                let request = replication::list_offsets_request(self, &ask);
                let deadline = now.mono + CONTROL_TIMEOUT_MS;
                if !self.send((id.leader, Channel::Fetch(fetcher)), PeerCall::ListOffsets(id), &request, deadline) {
                    self.run_replicas(work, |replicas, effects| {
                        replicas.on_offsets((leader, fetcher), None, now, effects);
                    });
                }
            }
            Effect::EpochEnds { leader, fetcher, ask } => self.send_epochs((leader, fetcher), &ask, now, work),
            Effect::ReadRemote(fetch) => self.read_remote(*fetch),
            Effect::Rebuild { leader, ask } => self.rebuild_from_remote(leader, ask),
            Effect::Chore(chore) => self.begin_chore(chore),
            Effect::WakeAt(at) => self.outbox.wake_at(at),
            Effect::LogDirFailed(dir) => {
                tracing::error!(dir = %dir.display(), "a log directory failed; its partitions are offline");
                self.run_cluster(work, |cluster, effects| cluster.on_log_dir_failed(now, effects));
            }
            Effect::NoLogDirLeft => {
                self.outbox.stop(StopReason::Fatal("Shutdown broker because all log dirs have failed".to_owned()));
            }
        }
    }

    fn begin_chore(self: &Arc<Self>, chore: partition::Chore) {
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            let rest = |millis| broker.outbox.rest(millis);
            broker.with_replicas(now, |replicas, effects| replicas.do_chore(chore, now, effects, &rest));
        }));
    }

    fn run_replicas(
        self: &Arc<Self>,
        work: &mut VecDeque<Work>,
        act: impl FnOnce(&Replicas, &mut Vec<partition::Effect>),
    ) {
        let mut effects = Vec::new();
        act(&self.replicas, &mut effects);
        work.extend(effects.into_iter().map(Work::Partition));
    }

    fn send_fetch(
        self: &Arc<Self>,
        (leader, number): (BrokerId, u32),
        ask: partition::follower::FetchAsk,
        now: Now,
        work: &mut VecDeque<Work>,
    ) {
        let request = replication::fetch_request(self, ask);
        let wait = self.config.replica_fetch_wait_max_ms.max(self.config.replica_socket_timeout_ms);
        let deadline = now.mono + u64::try_from(wait).unwrap_or(0);
        let call = PeerCall::Fetch(FetcherId { leader, number });
        if !self.send((leader, Channel::Fetch(number)), call, &request, deadline) {
            self.run_replicas(work, |replicas, effects| {
                replicas.on_fetch((leader.0, number), Err(SessionFailure::NoAnswer), now, effects);
            });
        }
    }

    fn send_epochs(
        self: &Arc<Self>,
        (leader, fetcher): (i32, u32),
        ask: &partition::follower::EpochsAsk,
        now: Now,
        work: &mut VecDeque<Work>,
    ) {
        let id = FetcherId { leader: BrokerId(leader), number: fetcher };
        let request = replication::epochs_request(self, ask);
        let deadline = now.mono + CONTROL_TIMEOUT_MS;
        if !self.send((id.leader, Channel::Fetch(fetcher)), PeerCall::EpochEnds(id), &request, deadline) {
            self.run_replicas(work, |replicas, effects| replicas.on_epochs((leader, fetcher), None, now, effects));
        }
    }

    fn on_fetch_answer(self: &Arc<Self>, id: FetcherId, response: Result<Bytes, PeerError>, version: i16, now: Now) {
        let answer = match decode::<FetchRequest>(response, version) {
            Ok(response) => replication::fetch_answer(response, version),
            Err(_) => Err(SessionFailure::NoAnswer),
        };
        let is_fenced = |answer: &FetchAnswer| {
            answer.partitions.iter().any(|(.., outcome)| matches!(outcome, Err(FetchFailure::FencedEpoch)))
        };
        if answer.as_ref().is_ok_and(is_fenced) {
            self.isolation.fenced(now.mono);
        }
        self.with_replicas(now, |replicas, effects| {
            replicas.on_fetch((id.leader.0, id.number), answer, now, effects);
        });
    }

    fn on_epochs_answer(self: &Arc<Self>, id: FetcherId, response: Result<Bytes, PeerError>, version: i16, now: Now) {
        let answer = decode::<OffsetForLeaderEpochRequest>(response, version).ok().map(replication::epochs_answer);
        self.with_replicas(now, |replicas, effects| {
            replicas.on_epochs((id.leader.0, id.number), answer, now, effects);
        });
    }

    /// Tells the controller, which may be this broker, of new sets of in-sync replicas.
    fn send_alter_partition(self: &Arc<Self>, changes: &[partition::IsrChange], now: Now, work: &mut VecDeque<Work>) {
        if self.cluster.is_controller() {
            let broker = self.clone();
            let done = cluster::Waiter::new(move |outcomes| {
                let answers = Some(replication::isr_answers(outcomes));
                broker.with_replicas(now, |replicas, effects| replicas.on_alter_partition(answers, now, effects));
            });
            let me = (BrokerId(self.config.broker_id), self.replicas.broker_epoch());
            let wanted = replication::isr_changes(changes);
            let mut effects = Vec::new();
            let begun = self.cluster.alter_partitions(me, wanted, done, (now, &mut effects));
            work.extend(effects.into_iter().map(Work::Cluster));
            if begun.is_ok() {
                return;
            }
        } else {
            let controller = self.image.read().controller();
            let request = replication::alter_partition_request(self, changes);
            let deadline = now.mono + CONTROL_TIMEOUT_MS;
            let sent = controller.is_some_and(|controller| {
                self.send((controller, Channel::ToController), PeerCall::AlterPartition, &request, deadline)
            });
            if sent {
                return;
            }
        }
        self.run_replicas(work, |replicas, effects| replicas.on_alter_partition(None, now, effects));
    }

    fn carry_cluster(self: &Arc<Self>, effect: cluster::Effect, now: Now, work: &mut VecDeque<Work>) {
        use cluster::Effect;
        let deadline = now.mono + CONTROL_TIMEOUT_MS;
        match effect {
            Effect::Zk(number, command) => {
                self.zk_commands.lock().add(number, command, |command| self.outbox.zk(command));
            }
            Effect::LeaderAndIsr { to, flight, request } if self.is_me(&to) => {
                let broker = self.clone();
                let me = to.broker;
                api::leader_and_isr::apply(self, request, now, move |response, now| {
                    broker.with_cluster(now, |cluster, effects| {
                        cluster.on_leader_and_isr_response((me, flight), Ok(response), now, effects);
                    });
                });
            }
            Effect::UpdateMetadata { to, flight, request } if self.is_me(&to) => {
                let response = api::update_metadata::apply(self, request, now);
                self.run_cluster(work, |cluster, effects| {
                    cluster.on_update_metadata_response((to.broker, flight), Ok(response), now, effects)
                });
            }
            Effect::StopReplica { to, flight, request } if self.is_me(&to) => {
                let response = api::stop_replica::apply(self, request, now);
                self.run_cluster(work, |cluster, effects| {
                    cluster.on_stop_replica_response((to.broker, flight), Ok(response), now, effects)
                });
            }
            Effect::LeaderAndIsr { to, flight, request } => {
                let call = PeerCall::LeaderAndIsr(to.broker, flight);
                self.peers.send(Destination { channel: Channel::Controller, deadline, address: to }, call, &request, 7);
            }
            Effect::UpdateMetadata { to, flight, request } => {
                let call = PeerCall::UpdateMetadata(to.broker, flight);
                self.peers.send(Destination { channel: Channel::Controller, deadline, address: to }, call, &request, 8);
            }
            Effect::StopReplica { to, flight, request } => {
                let call = PeerCall::StopReplica(to.broker, flight);
                self.peers.send(Destination { channel: Channel::Controller, deadline, address: to }, call, &request, 4);
            }
            Effect::ConfigChanged { kind, name, settings } => self.on_settings(&kind, &name, &settings),
            Effect::AclsChanged { resource, entries } => {
                if let Some(authorizer) = &self.authorizer {
                    authorizer.set(resource, entries);
                }
            }
            Effect::FeatureLevels(levels) => self.on_feature_levels(levels, now),
            Effect::RememberSession(text) => self.remember_session(&text),
            Effect::ClusterId(id) => {
                if let Err(error) = self.replicas.claim(&id) {
                    self.outbox.stop(StopReason::Fatal(error.to_string()));
                }
            }
            Effect::Registered { broker_epoch } => {
                let id = self.config.broker_id;
                if !self.has_started.swap(true, Ordering::Relaxed) {
                    // The line that scripts wait for in Kafka's log.
                    tracing::info!("[KafkaServer id={id}] started (castellan {})", env!("CARGO_PKG_VERSION"));
                }
                self.replicas.set_broker_epoch(broker_epoch);
                // Everything that ZooKeeper says of settings is read before a broker registers.
                self.apply_settings();
            }
            Effect::Closed => self.closed(),
            Effect::Answer(answer) => answer.deliver(),
            Effect::Stop(error) => self.outbox.stop(StopReason::Fatal(error.to_string())),
        }
    }

    fn run_cluster(self: &Arc<Self>, work: &mut VecDeque<Work>, act: impl FnOnce(&Cluster, &mut Vec<cluster::Effect>)) {
        let mut effects = Vec::new();
        act(&self.cluster, &mut effects);
        work.extend(effects.into_iter().map(Work::Cluster));
    }

    fn is_me(&self, to: &PeerAddress) -> bool {
        to.broker == BrokerId(self.config.broker_id)
    }

    /// Sends a request to a broker on the inter-broker listener; false if it is not known where it is.
    pub(crate) fn send<R: Request>(
        &self,
        (to, channel): (BrokerId, Channel),
        call: PeerCall,
        (request, version): &(R, i16),
        deadline: Millis,
    ) -> bool {
        let address = {
            let image = self.image.read();
            image.endpoint(to, &self.config.inter_broker_listener_name).map(|endpoint| PeerAddress {
                broker: to,
                host: endpoint.host.clone(),
                port: endpoint.port,
            })
        };
        let Some(address) = address else { return false };
        self.peers.send(Destination { address, channel, deadline }, call, request, *version);
        true
    }

    /// Gives the response to a request to another broker, or the reason why there is none, to who asked.
    pub(crate) fn deliver_peer_response(
        self: &Arc<Self>,
        (call, version): (PeerCall, i16),
        response: Result<Bytes, PeerError>,
        now: Now,
    ) {
        match call {
            PeerCall::Fetch(id) => self.on_fetch_answer(id, response, version, now),
            PeerCall::ListOffsets(id) => {
                let answer = decode::<ListOffsetsRequest>(response, version).ok().map(replication::list_offsets_answer);
                self.with_replicas(now, |replicas, effects| {
                    replicas.on_offsets((id.leader.0, id.number), answer, now, effects);
                });
            }
            PeerCall::EpochEnds(id) => self.on_epochs_answer(id, response, version, now),
            PeerCall::RemoteMetadata(leader, call) => {
                self.on_metadata_answer((leader, call), response, version, now);
            }
            PeerCall::AlterPartition => {
                let answers = decode::<AlterPartitionRequest>(response, version)
                    .ok()
                    .and_then(|response| replication::alter_partition_answer(response, version));
                self.with_replicas(now, |replicas, effects| replicas.on_alter_partition(answers, now, effects));
            }
            PeerCall::LeaderAndIsr(broker, flight) => {
                let response = decode::<LeaderAndIsrRequest>(response, version);
                self.with_cluster(now, |cluster, effects| {
                    cluster.on_leader_and_isr_response((broker, flight), response, now, effects);
                });
            }
            PeerCall::UpdateMetadata(broker, flight) => {
                let response = decode::<UpdateMetadataRequest>(response, version);
                self.with_cluster(now, |cluster, effects| {
                    cluster.on_update_metadata_response((broker, flight), response, now, effects);
                });
            }
            PeerCall::StopReplica(broker, flight) => {
                let response = decode::<StopReplicaRequest>(response, version);
                self.with_cluster(now, |cluster, effects| {
                    cluster.on_stop_replica_response((broker, flight), response, now, effects);
                });
            }
            PeerCall::AllocateProducerIds => {
                let response = decode::<AllocateProducerIdsRequest>(response, version).ok();
                self.on_producer_ids_response(response, now);
            }
            PeerCall::WriteTxnMarkers(_, orders) => {
                self.on_markers_response(&orders, decode::<WriteTxnMarkersRequest>(response, version).ok(), now);
            }
            PeerCall::ApiVersions(broker) => {
                self.on_features(broker, decode::<ApiVersionsRequest>(response, version).ok(), now);
            }
            PeerCall::AddPartitionsToTxn(_, question) => {
                self.on_txn_answer(question, decode::<AddPartitionsToTxnRequest>(response, version).ok(), now);
            }
            PeerCall::ShareState(_, number) => self.on_share_state_response(number, response, version, now),
            PeerCall::Ends(_, number) => self.on_ends(number, decode::<ListOffsetsRequest>(response, version).ok()),
            PeerCall::ControlledShutdown => {
                let response = decode::<ControlledShutdownRequest>(response, version);
                self.on_controlled_shutdown(response, now);
            }
            // Whoever needs the topics looks for them again; the answer is for the log alone.
            PeerCall::CreateTopics => {
                let response = decode::<CreateTopicsRequest>(response, version);
                tracing::debug!(?response, "the controller was asked for topics");
            }
        }
    }
}

pub(crate) fn decode<R: Request>(response: Result<Bytes, PeerError>, version: i16) -> Result<R::Response, PeerError> {
    match header::decode_response::<R>(response?, version) {
        Ok((_, response)) => Ok(response),
        Err(error) => {
            tracing::warn!(api = R::NAME, version, %error, "a broker's response cannot be read");
            Err(PeerError::Malformed)
        }
    }
}
