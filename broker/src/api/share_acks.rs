//! What ShareFetch and ShareAcknowledge have in common: who asks, what it says became of records, partition by partition, and
//! who leads a partition that is not led here.

use super::Context;
use crate::access::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::leaders::{CurrentLeader, current_leader};
use crate::share::ShareKey;
use crate::share::partition::{AckBatch, AckType};
use crate::share::session::{Member, Place};
use common::kafka::error::ErrorCode;
use std::sync::Arc;

/// The longest member id: a UUID as text.
const MEMBER_ID_CHARS: usize = 36;
/// From this version on locks can be renewed.
const RENEWS_FROM: i16 = 2;

/// One partition's part: first and last offset and what is said of them.
pub(super) struct Ack {
    pub(super) place: Place,
    pub(super) batches: Vec<(i64, i64, Vec<i8>)>,
    pub(super) version: i16,
}

/// Who asks, if it may.
pub(super) fn asker(ctx: &Context<'_>, group: Option<&String>, name: Option<&String>) -> Result<Member, ErrorCode> {
    if !ctx.broker.serves_share_groups() {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let group = group.ok_or(ErrorCode::InvalidRequest)?;
    if !ctx.may(Operation::Read, ResourceType::Group, group) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let name = name.filter(|name| is_member_id(name)).ok_or(ErrorCode::InvalidRequest)?;
    Ok((group.clone(), name.clone()))
}

/// What is known of the leader, if the error says that it is another one.
pub(super) fn leader_for(
    broker: &Broker,
    (topic_id, partition): Place,
    code: ErrorCode,
    listener: &str,
) -> Option<CurrentLeader> {
    if !matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
        return None;
    }
    let name = broker.image.read().topic_name(topic_id).map(str::to_owned)?;
    Some(current_leader(broker, &name, partition, listener))
}

/// Ends the session of this number in its own turn: whoever calls this may be in the middle of a machine's.
pub(super) fn end_session(broker: Arc<Broker>, member: Member, number: u64) {
    let outbox = broker.outbox.clone();
    outbox.run(Box::new(move |now| broker.end_share_session((&member, number), now)));
}

/// As Kafka counts: in the units of a Java string.
pub(super) fn is_member_id(name: &str) -> bool {
    !name.is_empty() && name.encode_utf16().count() <= MEMBER_ID_CHARS
}

/// Has what is said taken; `then` hears at once or when it is written.
pub(super) fn acknowledge(
    ctx: &Context<'_>,
    member: &Member,
    ack: Ack,
    renews: bool,
    then: Box<dyn FnOnce(ErrorCode) + Send>,
) {
    let name = ctx.broker.image.read().topic_name(ack.place.0).map(str::to_owned);
    let Some(name) = name else { return then(ErrorCode::UnknownTopicId) };
    let Some(batches) = batches(&ack, renews) else { return then(ErrorCode::InvalidRequest) };
    if !ctx.may_topic(Operation::Read, &name) {
        return then(ErrorCode::TopicAuthorizationFailed);
    }
    if ctx.broker.image.read().partition(&name, ack.place.1).is_none() {
        return then(ErrorCode::UnknownTopicOrPartition);
    }
    if batches.is_empty() {
        return then(ErrorCode::None);
    }
    let key = ShareKey { group: member.0.clone(), topic_id: ack.place.0, partition: ack.place.1 };
    let acked = move |result: Result<(), ErrorCode>| then(result.err().unwrap_or(ErrorCode::None));
    ctx.broker.share_acknowledge((&key, &member.1), &batches, Box::new(acked), ctx.now);
}

/// `None` if it is said in a way that the version does not know.
fn batches(ack: &Ack, renews: bool) -> Option<Vec<AckBatch>> {
    let is_said = |kind: AckType| kind != AckType::Renew || (renews && ack.version >= RENEWS_FROM);
    let one = |(first, last, types): &(i64, i64, Vec<i8>)| {
        let types = types.iter().map(|code| AckType::from_code(*code).filter(|kind| is_said(*kind)));
        Some(AckBatch { first: *first, last: *last, types: types.collect::<Option<Vec<_>>>()? })
    };
    ack.batches.iter().map(one).collect()
}
