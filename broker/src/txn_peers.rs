//! What transactions ask of other brokers, which may be this one: markers of the leaders of their partitions, and of a
//! transaction's coordinator whether a partition is part of it (KIP-890). Knows their wire; decides nothing.

use crate::api::write_txn_markers;
use crate::broker::Broker;
use crate::outbox::Channel;
use crate::peers::PeerCall;
use crate::producer_ids::{Done, NoProducerIds};
use crate::txn::records::Place;
use crate::txn::{self, MarkerOrder, Producer, ProducerWaiter, TRANSACTION_TOPIC, Transactions, TxnError, Written};
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use common::kafka::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
    add_partitions_to_txn::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
};
use common::time::Now;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long another broker may take; as `request.timeout.ms` between brokers by default.
const TIMEOUT_MS: u64 = 30_000;
/// WriteTxnMarkers as Kafka 3.9 speaks it, and with the client's transaction.version.
const WRITE_TXN_MARKERS: i16 = 1;
const WRITE_TXN_MARKERS_OF_VERSION_2: i16 = 2;
/// AddPartitionsToTxn as brokers speak it.
const ADD_PARTITIONS_TO_TXN: i16 = 4;

/// What the coordinator says of each partition asked about; nothing of a partition means that it has no objection.
pub(crate) type Verdicts = BTreeMap<Place, ErrorCode>;
type Then = Box<dyn FnOnce(Verdicts, Now) + Send>;
/// Decides, or gives the waiter back for want of a producer id.
type Decide = Box<dyn Fn(&Transactions, ProducerWaiter, &mut txn::Io<'_>) -> Option<ProducerWaiter> + Send>;

/// Questions to coordinators that are not answered.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Open>);

#[derive(Default)]
struct Open {
    last_number: u64,
    waiting: BTreeMap<u64, (BTreeSet<Place>, Then)>,
}

/// A question to the coordinator of a transaction.
pub(crate) struct Question {
    pub(crate) transactional_id: String,
    pub(crate) producer: Producer,
    pub(crate) places: BTreeSet<Place>,
    /// Only to ask, not to add what is missing (transaction.version 2).
    pub(crate) verify_only: bool,
}

impl Broker {
    /// Has markers written by the leaders of their partitions.
    pub(crate) fn send_markers(self: &Arc<Self>, orders: Vec<MarkerOrder>, now: Now) {
        let mut by_leader: BTreeMap<BrokerId, Vec<MarkerOrder>> = BTreeMap::new();
        for order in orders {
            let mut places: BTreeMap<BrokerId, BTreeSet<Place>> = BTreeMap::new();
            let mut outcomes = BTreeMap::new();
            {
                let image = self.image.read();
                // What is not known is deleted, unless this broker knows nothing yet.
                let is_told = image.partition(TRANSACTION_TOPIC, order.partition).is_some();
                for place in &order.places {
                    match image.partition(&place.0, place.1).map(|partition| partition.leader) {
                        None if !is_told => drop(outcomes.insert(place.clone(), Written::NotYet)),
                        None => drop(outcomes.insert(place.clone(), Written::Yes)),
                        Some(..0) => drop(outcomes.insert(place.clone(), Written::NotYet)),
                        Some(leader) => drop(places.entry(BrokerId(leader)).or_default().insert(place.clone())),
                    }
                }
            }
            for (leader, places) in places {
                by_leader.entry(leader).or_default().push(MarkerOrder { places, ..order.clone() });
            }
            if !outcomes.is_empty() {
                let places = outcomes.keys().cloned().collect();
                self.later(MarkerOrder { places, ..order }, outcomes);
            }
        }
        for (leader, orders) in by_leader {
            self.send_markers_to(leader, orders, now);
        }
    }

    fn send_markers_to(self: &Arc<Self>, leader: BrokerId, orders: Vec<MarkerOrder>, now: Now) {
        let request = WriteTxnMarkersRequest { markers: orders.iter().map(marker).collect() };
        if leader == BrokerId(self.config.broker_id) {
            let broker = self.clone();
            let done = move |response: WriteTxnMarkersResponse| {
                let then = broker.clone();
                broker.outbox.run(Box::new(move |now| then.on_markers_response(&orders, Some(response), now)));
            };
            return write_txn_markers::apply(self, request, Box::new(done), now);
        }
        let call = PeerCall::WriteTxnMarkers(leader, orders.clone());
        let is_second = self.transactions.version() >= 2;
        let request = (request, if is_second { WRITE_TXN_MARKERS_OF_VERSION_2 } else { WRITE_TXN_MARKERS });
        if !self.send((leader, Channel::Markers), call, &request, now.mono + TIMEOUT_MS) {
            for order in orders {
                self.later(order, BTreeMap::new());
            }
        }
    }

    /// Tells the machine of an outcome, but not in the middle of what it does now.
    fn later(self: &Arc<Self>, order: MarkerOrder, outcomes: BTreeMap<Place, Written>) {
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            broker.with_transactions(now, |txns, io| txns.on_markers(&order, &outcomes, io));
        }));
    }

    /// A leader's answer to orders of markers, or none.
    pub(crate) fn on_markers_response(
        self: &Arc<Self>,
        orders: &[MarkerOrder],
        response: Option<WriteTxnMarkersResponse>,
        now: Now,
    ) {
        let mut outcomes: BTreeMap<(i64, Place), Written> = BTreeMap::new();
        for result in response.into_iter().flat_map(|response| response.markers) {
            for topic in result.topics {
                for partition in topic.partitions {
                    let place = (topic.name.clone(), partition.partition_index);
                    outcomes.insert((result.producer_id, place), written(partition.error_code));
                }
            }
        }
        self.with_transactions(now, |txns, io| {
            for order in orders {
                let of_place =
                    |place: &Place| Some((place.clone(), *outcomes.get(&(order.producer_id, place.clone()))?));
                txns.on_markers(order, &order.places.iter().filter_map(of_place).collect(), io);
            }
        });
    }

    /// Asks the coordinator of a transaction; `then` may be called before this returns.
    pub(crate) fn ask_coordinator(self: &Arc<Self>, question: Question, then: Then, now: Now) {
        let all = |code: ErrorCode| question.places.iter().map(|place| (place.clone(), code)).collect::<Verdicts>();
        let leader = {
            let image = self.image.read();
            let count = image.partition_count(TRANSACTION_TOPIC).unwrap_or(0);
            let partition = crate::group::partition_for(&question.transactional_id, count.max(1));
            image.partition(TRANSACTION_TOPIC, partition).map(|partition| BrokerId(partition.leader))
        };
        let Some(leader) = leader.filter(|leader| leader.0 >= 0) else {
            return then(all(ErrorCode::CoordinatorNotAvailable), now);
        };
        if leader == BrokerId(self.config.broker_id) {
            return self.ask_this_coordinator(question, then, now);
        }
        let request = AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: question.transactional_id.clone(),
                producer_id: question.producer.0,
                producer_epoch: question.producer.1,
                verify_only: question.verify_only,
                topics: by_topic(&question.places)
                    .into_iter()
                    .map(|(name, partitions)| AddPartitionsToTxnTopic { name, partitions })
                    .collect(),
            }],
            ..Default::default()
        };
        let failed = all(ErrorCode::NetworkException);
        let number = {
            let mut open = self.txn_questions.0.lock();
            open.last_number += 1;
            let number = open.last_number;
            open.waiting.insert(number, (question.places, then));
            number
        };
        let call = PeerCall::AddPartitionsToTxn(leader, number);
        let request = (request, ADD_PARTITIONS_TO_TXN);
        if !self.send((leader, Channel::Transactions), call, &request, now.mono + TIMEOUT_MS) {
            let waiting = self.txn_questions.0.lock().waiting.remove(&number);
            if let Some((_, then)) = waiting {
                then(failed, now);
            }
        }
    }

    fn ask_this_coordinator(self: &Arc<Self>, question: Question, then: Then, now: Now) {
        let Question { transactional_id, producer, places, verify_only } = question;
        let all = |places: &BTreeSet<Place>, code: ErrorCode| -> Verdicts {
            places.iter().map(|place| (place.clone(), code)).collect()
        };
        if verify_only {
            let result = self.with_transactions(now, |txns, io| txns.verify(&transactional_id, producer, &places, io));
            let verdicts = match result {
                Ok(missing) => all(&missing, ErrorCode::TransactionAbortable),
                Err(error) => all(&places, ErrorCode::from(error)),
            };
            return then(verdicts, now);
        }
        let broker = self.clone();
        let asked = places.clone();
        let waiter = move |result: Result<(), crate::txn::TxnError>| {
            let verdicts = match result {
                Ok(()) => Verdicts::new(),
                Err(error) => all(&asked, ErrorCode::from(error)),
            };
            broker.outbox.run(Box::new(move |now| then(verdicts, now)));
        };
        self.with_transactions(now, |txns, io| {
            txns.add((&transactional_id, producer), places, Box::new(waiter), io);
        });
    }

    /// The coordinator's answer, or none.
    pub(crate) fn on_txn_answer(self: &Arc<Self>, number: u64, response: Option<AddPartitionsToTxnResponse>, now: Now) {
        let Some((places, then)) = self.txn_questions.0.lock().waiting.remove(&number) else { return };
        let all = |code: ErrorCode| places.iter().map(|place| (place.clone(), code)).collect::<Verdicts>();
        let verdicts = match response {
            None => all(ErrorCode::NetworkException),
            Some(response) if response.error_code != 0 => {
                all(ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError))
            }
            Some(response) => response
                .results_by_transaction
                .into_iter()
                .flat_map(|result| result.topic_results)
                .flat_map(|topic| topic.results_by_partition.into_iter().map(move |one| (topic.name.clone(), one)))
                .filter(|(_, one)| one.partition_error_code != 0)
                .map(|(name, one)| {
                    let code = ErrorCode::from_code(one.partition_error_code);
                    ((name, one.partition_index), code.unwrap_or(ErrorCode::UnknownServerError))
                })
                .collect(),
        };
        then(verdicts, now);
    }

    /// Has a request of a transactional producer decided; once more with a new producer id if it needs one.
    pub(crate) fn decide_with_producer_id(self: &Arc<Self>, decide: Decide, waiter: ProducerWaiter, now: Now) {
        self.decide_with(decide, None, waiter, now);
    }

    fn decide_with(self: &Arc<Self>, decide: Decide, fresh_id: Option<i64>, waiter: ProducerWaiter, now: Now) {
        let waiter = self.with_transactions(now, |txns, io| {
            io.fresh_id = fresh_id;
            decide(txns, waiter, io)
        });
        let Some(waiter) = waiter else { return };
        let broker = self.clone();
        let then = Box::new(move |id, now| match id {
            Ok(id) => broker.decide_with(decide, Some(id), waiter, now),
            Err(_) => waiter(Err(TxnError::NoProducerIds)),
        });
        self.with_producer_id(then, now);
    }

    /// Gets a producer id that nobody else gets, and goes on with it.
    fn with_producer_id(self: &Arc<Self>, then: Box<dyn FnOnce(Result<i64, NoProducerIds>, Now) + Send>, now: Now) {
        let then = Arc::new(Mutex::new(Some(then)));
        let later = || -> Done {
            let (broker, then) = (self.clone(), then.clone());
            Box::new(move |id| {
                let then = then.lock().take();
                broker.outbox.run(Box::new(move |now| {
                    if let Some(then) = then {
                        then(id, now);
                    }
                }));
            })
        };
        if let Some(id) = self.next_producer_id(later, now) {
            let then = then.lock().take();
            if let Some(then) = then {
                then(id, now);
            }
        }
    }
}

fn by_topic(places: &BTreeSet<Place>) -> BTreeMap<String, Vec<i32>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        topics.entry(topic.clone()).or_default().push(*partition);
    }
    topics
}

fn marker(order: &MarkerOrder) -> WritableTxnMarker {
    WritableTxnMarker {
        producer_id: order.producer_id,
        producer_epoch: order.producer_epoch,
        transaction_result: order.is_commit,
        coordinator_epoch: order.coordinator_epoch,
        topics: by_topic(&order.places)
            .into_iter()
            .map(|(name, partition_indexes)| WritableTxnMarkerTopic { name, partition_indexes })
            .collect(),
        transaction_version: order.transaction_version,
    }
}

fn written(code: i16) -> Written {
    match ErrorCode::from_code(code) {
        // The producer cannot have written to a log of an older format.
        Some(ErrorCode::None | ErrorCode::UnsupportedForMessageFormat | ErrorCode::UnsupportedVersion) => Written::Yes,
        Some(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced) => Written::Fenced,
        _ => Written::NotYet,
    }
}
