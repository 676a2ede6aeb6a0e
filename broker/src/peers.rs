//! Requests to other brokers that wait for their response: which machine gets it, how to read it, until when. Never
//! sends again by itself; the machine that asked decides.

use crate::outbox::{Channel, Outbox, PeerAddress};
use crate::txn::MarkerOrder;
use common::id::BrokerId;
use common::kafka::header::{self, RequestHeader};
use common::kafka::messages::Request;
use common::time::Millis;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whose request it was; the response goes back there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerCall {
    /// A replica fetcher's Fetch.
    Fetch(FetcherId),
    /// A replica fetcher's ListOffsets.
    ListOffsets(FetcherId),
    /// A replica fetcher's OffsetForLeaderEpoch.
    EpochEnds(FetcherId),
    /// About partitions of the metadata topic of remote segments.
    RemoteMetadata(BrokerId, MetadataCall),
    /// ISR changes told to the controller.
    AlterPartition,
    /// A block of producer ids asked of the controller.
    AllocateProducerIds,
    /// The controller's word to this broker, and its number.
    LeaderAndIsr(BrokerId, u64),
    /// The controller's word to this broker, and its number.
    UpdateMetadata(BrokerId, u64),
    /// The controller's word to this broker, and its number.
    StopReplica(BrokerId, u64),
    /// This broker asks the controller to take its leaderships.
    ControlledShutdown,
    /// Topics that a client asked for and that are not there.
    CreateTopics,
    /// Markers that end transactions.
    WriteTxnMarkers(BrokerId, Vec<MarkerOrder>),
    /// Which features another broker serves.
    ApiVersions(BrokerId),
    /// Whether partitions are in a transaction; the number of the question.
    AddPartitionsToTxn(BrokerId, u64),
    /// Where partitions end; the number of the question.
    Ends(BrokerId, u64),
    /// The state of share partitions; the number of the question.
    ShareState(BrokerId, u64),
}

impl PeerCall {
    /// The broker that was asked, where the call says so.
    pub fn broker(&self) -> Option<BrokerId> {
        match self {
            PeerCall::Fetch(id) | PeerCall::ListOffsets(id) | PeerCall::EpochEnds(id) => Some(id.leader),
            PeerCall::LeaderAndIsr(broker, _)
            | PeerCall::UpdateMetadata(broker, _)
            | PeerCall::StopReplica(broker, _)
            | PeerCall::WriteTxnMarkers(broker, _)
            | PeerCall::AddPartitionsToTxn(broker, _)
            | PeerCall::Ends(broker, _)
            | PeerCall::ShareState(broker, _)
            | PeerCall::RemoteMetadata(broker, _)
            | PeerCall::ApiVersions(broker) => Some(*broker),
            PeerCall::AlterPartition
            | PeerCall::AllocateProducerIds
            | PeerCall::ControlledShutdown
            | PeerCall::CreateTopics => None,
        }
    }
}

/// What is asked of the leader of partitions of the metadata topic of remote segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataCall {
    /// Records, from these offsets on.
    Read(Vec<(i32, i64)>),
    /// Where these begin.
    Start(Vec<i32>),
    /// A record is written.
    Write,
}

/// One replica fetcher: the leader it follows and its number among those to the same leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetcherId {
    /// The broker it fetches from.
    pub leader: BrokerId,
    /// From 0 to `num.replica.fetchers` - 1.
    pub number: u32,
}

/// A request on its way.
#[derive(Debug)]
struct Waiting {
    call: PeerCall,
    version: i16,
    deadline: Millis,
    /// The connection it was sent by; `None` if it could not be written.
    by: Option<(PeerAddress, Channel)>,
}

/// Where a request goes and until when its response is awaited.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The broker.
    pub address: PeerAddress,
    /// Which of the connections to it.
    pub channel: Channel,
    /// After this the request counts as failed with `PeerError::TimedOut`.
    pub deadline: Millis,
}

/// All requests on their way.
pub struct Peers {
    outbox: Arc<dyn Outbox>,
    client_id: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    deadlines: BTreeSet<(Millis, u64)>,
}

impl Peers {
    /// `client_id` is how this broker names itself to the others.
    pub fn new(outbox: Arc<dyn Outbox>, client_id: String) -> Peers {
        Peers { outbox, client_id, state: Mutex::default() }
    }

    /// Sends a request; its response, or the lack of one, comes back through `finish` or `expired`.
    pub fn send<R: Request>(&self, to: Destination, call: PeerCall, request: &R, version: i16) {
        let id = {
            let mut state = self.state.lock();
            state.next_id += 1;
            let id = state.next_id;
            let by = Some((to.address.clone(), to.channel));
            state.waiting.insert(id, Waiting { call, version, deadline: to.deadline, by });
            state.deadlines.insert((to.deadline, id));
            id
        };
        let correlation_id = i32::from_be_bytes([(id >> 24 & 0x7f) as u8, (id >> 16) as u8, (id >> 8) as u8, id as u8]);
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id,
            client_id: Some(self.client_id.clone()),
        };
        match header::encode_request(&header, request) {
            Ok(frame) => {
                self.outbox.wake_at(to.deadline);
                self.outbox.peer(&to.address, to.channel, id, frame);
            }
            // ZooKeeper may hold a name that is longer than the wire's strings. Whoever asked hears that it failed, later:
            // its locks may be held now.
            Err(error) => {
                tracing::error!(api = R::NAME, version, %error, "a request to another broker cannot be written");
                self.hurry(id);
                self.outbox.wake_at(Millis(0));
            }
        }
    }

    /// The request counts as timed out from now on.
    fn hurry(&self, id: u64) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if let Some(waiting) = state.waiting.get_mut(&id) {
            state.deadlines.remove(&(waiting.deadline, id));
            waiting.deadline = Millis(0);
            waiting.by = None;
            state.deadlines.insert((Millis(0), id));
        }
    }

    /// Takes a request off the list: whose it was and its version. `None` if it was answered or timed out before.
    pub fn finish(&self, id: u64) -> Option<(PeerCall, i16)> {
        let mut state = self.state.lock();
        let waiting = state.waiting.remove(&id)?;
        state.deadlines.remove(&(waiting.deadline, id));
        Some((waiting.call, waiting.version))
    }

    /// Takes every request off the list whose time has passed. Its connection is given up, as Kafka's clients do: whoever
    /// does not answer in time may never, and what is sent next would wait behind it.
    pub fn expired(&self, now: Millis) -> Vec<PeerCall> {
        let mut expired = Vec::new();
        {
            let mut state = self.state.lock();
            while let Some((deadline, id)) = state.deadlines.first().copied()
                && deadline <= now
            {
                state.deadlines.pop_first();
                expired.extend(state.waiting.remove(&id));
            }
        }
        for (to, channel) in expired.iter().filter_map(|waiting| waiting.by.as_ref()) {
            self.outbox.drop_peer(to, *channel);
        }
        expired.into_iter().map(|waiting| waiting.call).collect()
    }

    /// Takes every request to the controller off the list: whoever was asked is the controller no longer, and may be silent
    /// for long. Their responses count no more.
    pub fn abandon_asked_of_controller(&self) -> Vec<PeerCall> {
        let mut state = self.state.lock();
        let of_controller = |waiting: &Waiting| waiting.call.broker().is_none();
        let ids: Vec<u64> =
            state.waiting.iter().filter(|(_, waiting)| of_controller(waiting)).map(|(&id, _)| id).collect();
        let mut calls = Vec::new();
        for id in ids {
            if let Some(waiting) = state.waiting.remove(&id) {
                state.deadlines.remove(&(waiting.deadline, id));
                calls.push(waiting.call);
            }
        }
        calls
    }

    /// When `expired` has something to say.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.state.lock().deadlines.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{ConnectionId, Job, StopReason, ZkCommand};
    use bytes::Bytes;
    use common::kafka::messages::{CreatableTopic, CreateTopicsRequest};
    use common::kafka::wire::{Frame, STRING_MAX_BYTES};

    /// What was sent and which connections were given up.
    #[derive(Default)]
    struct Wire(Mutex<Vec<String>>);

    impl Outbox for Wire {
        fn peer(&self, to: &PeerAddress, channel: Channel, request_id: u64, _: Bytes) {
            self.0.lock().push(format!("send {request_id} to {} {channel:?}", to.broker.0));
        }
        fn drop_peer(&self, to: &PeerAddress, channel: Channel) {
            self.0.lock().push(format!("drop {} {channel:?}", to.broker.0));
        }
        fn reply(&self, _: ConnectionId, _: u64, _: Frame) {}
        fn close(&self, _: ConnectionId, _: u64, _: String) {}
        fn zk(&self, _: ZkCommand) {}
        fn wake_at(&self, _: Millis) {}
        fn run(&self, _: Job) {}
        fn stop(&self, _: StopReason) {}
    }

    #[test]
    fn a_request_that_times_out_takes_its_connection_with_it() {
        let wire = Arc::new(Wire::default());
        let peers = Peers::new(wire.clone(), "c".into());
        let address = PeerAddress { broker: BrokerId(2), host: "h".into(), port: 1 };
        let to = Destination { address, channel: Channel::ToController, deadline: Millis(100) };
        let named = |len: usize| CreateTopicsRequest {
            topics: vec![CreatableTopic { name: "x".repeat(len), ..Default::default() }],
            ..Default::default()
        };
        peers.send(to.clone(), PeerCall::CreateTopics, &named(1), 5);
        peers.send(to.clone(), PeerCall::ControlledShutdown, &named(1), 5);
        assert_eq!(peers.finish(1), Some((PeerCall::CreateTopics, 5)));
        assert_eq!(peers.expired(Millis(99)), []);
        peers.send(to, PeerCall::AlterPartition, &named(STRING_MAX_BYTES + 1), 5);
        assert_eq!(peers.expired(Millis(99)), [PeerCall::AlterPartition], "what cannot be written fails at once");
        assert_eq!(peers.expired(Millis(100)), [PeerCall::ControlledShutdown]);
        assert_eq!(*wire.0.lock(), ["send 1 to 2 ToController", "send 2 to 2 ToController", "drop 2 ToController"]);
    }
}
