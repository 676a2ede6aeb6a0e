//! TxnOffsetCommit (28), versions 0 to 5: offsets that count once their transaction commits (KIP-98); with member and
//! generation from version 3 on (KIP-447). The coordinator of the transaction is asked whether the offsets are part of it;
//! from version 5 on they join it by that (KIP-890).
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION, INVALID_GROUP_ID, OFFSET_METADATA_TOO_LARGE, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE,
//! TRANSACTION_ABORTABLE (version 4 on), and what OffsetCommit says of groups. COORDINATOR_LOAD_IN_PROGRESS is
//! COORDINATOR_NOT_AVAILABLE before version 2, whose clients cannot bear it.

use super::offset_commit::check_partition;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::records::OffsetValue;
use crate::group::{CommitInput, CommitResult, OFFSETS_TOPIC, Place, Sender, partition_for};
use crate::log::Verification;
use crate::txn_peers::{Question, Verdicts};
use common::kafka::error::ErrorCode;
use common::kafka::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use common::kafka::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use common::time::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// First version whose clients bear COORDINATOR_LOAD_IN_PROGRESS (KAFKA-7296).
const LOADING_FROM: i16 = 2;
/// First version that knows TRANSACTION_ABORTABLE (KIP-1050).
const ABORTABLE_FROM: i16 = 4;
/// First version of transaction.version 2.
const ADDS_FROM: i16 = 5;

/// See the top of the file.
pub struct TxnOffsetCommit;

impl Endpoint for TxnOffsetCommit {
    type Request = TxnOffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &Context<'_>, request: TxnOffsetCommitRequest) -> Reply<TxnOffsetCommitResponse> {
        if !ctx.may(Operation::Write, ResourceType::TransactionalId, &request.transactional_id) {
            return Reply::Now(refused(&request, ErrorCode::TransactionalIdAuthorizationFailed));
        }
        if !ctx.may(Operation::Read, ResourceType::Group, &request.group_id) {
            return Reply::Now(refused(&request, ErrorCode::GroupAuthorizationFailed));
        }
        let producer = (request.producer_id, request.producer_epoch);
        let (response, offsets) = sort(ctx, request.topics);
        if offsets.is_empty() {
            return Reply::Now(response);
        }
        let count = ctx.broker.image.read().partition_count(OFFSETS_TOPIC);
        let count = count.unwrap_or(ctx.broker.config.offsets_topic_num_partitions).max(1);
        let place = (OFFSETS_TOPIC.to_owned(), partition_for(&request.group_id, count));
        let input = CommitInput {
            group_id: request.group_id,
            sender: Sender {
                member_id: request.member_id,
                instance_id: request.group_instance_id,
                generation: request.generation_id,
            },
            producer: Some(producer),
            verification: Verification::Off,
            knows_member_epochs: true,
            offsets,
        };
        let mut pending = Pending { ticket: ctx.ticket(), response, input };
        if pending.input.group_id.is_empty() {
            pending.refuse(ErrorCode::InvalidGroupId);
            return Reply::Parked;
        }
        if !ctx.broker.current.read().transaction_partition_verification_enable {
            pending.commit(ctx.broker, ctx.now);
            return Reply::Parked;
        }
        let held = ctx.broker.replicas.get(OFFSETS_TOPIC, place.1);
        let needed = held.and_then(|held| held.begin_verification(producer, 0, ctx.now));
        pending.input.verification = needed.unwrap_or_default();
        if !matches!(needed, Some(Verification::Asked(_))) {
            // The transaction is open here; or another broker coordinates the group, which the commit will find out.
            pending.commit(ctx.broker, ctx.now);
            return Reply::Parked;
        }
        let question = Question {
            transactional_id: request.transactional_id,
            producer,
            places: BTreeSet::from([place]),
            verify_only: ctx.version < ADDS_FROM,
        };
        let broker = ctx.broker.clone();
        let then = Box::new(move |verdicts: Verdicts, now: Now| match verdicts.into_values().next() {
            None => pending.commit(&broker, now),
            Some(code) => pending.refuse(code),
        });
        ctx.broker.ask_coordinator(question, then, ctx.now);
        Reply::Parked
    }
}

/// A commit that waits for the word of the transaction's coordinator.
struct Pending {
    ticket: Ticket<TxnOffsetCommitRequest>,
    response: TxnOffsetCommitResponse,
    input: CommitInput,
}

impl Pending {
    fn commit(self, broker: &Arc<Broker>, now: Now) {
        let Pending { ticket, response, input } = self;
        let waiter = Box::new(move |results: CommitResult| {
            let errors =
                results.into_iter().filter_map(|(place, result)| Some((place, ErrorCode::from(result.err()?))));
            answer(ticket, response, &errors.collect());
        });
        broker.with_groups(now, |groups, io| groups.commit(input, waiter, io));
    }

    fn refuse(self, code: ErrorCode) {
        let version = self.ticket.version();
        let code = match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
            // The client tries those again, and knows them from the coordinator of its group alone.
            ErrorCode::NetworkException
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::UnknownTopicOrPartition => ErrorCode::CoordinatorNotAvailable,
            ErrorCode::ConcurrentTransactions if version < ADDS_FROM => ErrorCode::CoordinatorNotAvailable,
            other => other,
        };
        let errors = self.input.offsets.iter().map(|(place, _)| (place.clone(), code)).collect();
        answer(self.ticket, self.response, &errors);
    }
}

/// The same for every partition.
fn refused(request: &TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse {
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &request.topics {
        let mut answered = TxnOffsetCommitResponseTopic { name: topic.name.clone(), ..Default::default() };
        answered.partitions.extend(topic.partitions.iter().map(|partition| TxnOffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: code.code(),
        }));
        response.topics.push(answered);
    }
    response
}

fn sort(
    ctx: &Context<'_>,
    topics: Vec<common::kafka::messages::txn_offset_commit::TxnOffsetCommitRequestTopic>,
) -> (TxnOffsetCommitResponse, Vec<(Place, OffsetValue)>) {
    let mut response = TxnOffsetCommitResponse::default();
    let mut offsets = Vec::new();
    let image = ctx.broker.image.read();
    for topic in topics {
        let mut answered = TxnOffsetCommitResponseTopic { name: topic.name.clone(), ..Default::default() };
        let may_read = ctx.may_topic(Operation::Read, &topic.name);
        for partition in topic.partitions {
            let index = partition.partition_index;
            let error = check_partition(&image, (&topic.name, index), may_read);
            let partition_answer =
                TxnOffsetCommitResponsePartition { partition_index: index, error_code: error.code() };
            answered.partitions.push(partition_answer);
            if error == ErrorCode::None {
                offsets.push(((topic.name.clone(), index), value(partition, ctx.now.wall.0)));
            }
        }
        response.topics.push(answered);
    }
    (response, offsets)
}

fn value(partition: TxnOffsetCommitRequestPartition, now_ms: i64) -> OffsetValue {
    OffsetValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.unwrap_or_default(),
        commit_timestamp: now_ms,
        expire_timestamp: None,
    }
}

fn answer(
    ticket: Ticket<TxnOffsetCommitRequest>,
    mut response: TxnOffsetCommitResponse,
    errors: &BTreeMap<Place, ErrorCode>,
) {
    for topic in &mut response.topics {
        for partition in &mut topic.partitions {
            match errors.get(&(topic.name.clone(), partition.partition_index)) {
                None => {}
                Some(ErrorCode::CoordinatorLoadInProgress) if ticket.version() < LOADING_FROM => {
                    partition.error_code = ErrorCode::CoordinatorNotAvailable.code();
                }
                Some(error) => partition.error_code = error.code(),
            }
        }
    }
    ticket.answer(&response);
}
