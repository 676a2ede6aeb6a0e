//! FindCoordinator (10), versions 0 to 6: KIP-98, 699 (several keys), 890, 932. COORDINATOR_NOT_AVAILABLE while the
//! internal topic is being made or has no leader; INVALID_REQUEST for a key type that does not exist or that the version does
//! not have, and for a share partition that is not named as `group:topic-id:partition`.

use super::access::denied;
use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{OFFSETS_TOPIC, partition_for};
use crate::share::{SHARE_STATE_TOPIC, ShareKey};
use crate::txn::TRANSACTION_TOPIC;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use std::ops::RangeInclusive;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// See the top of the file.
pub struct FindCoordinator;

impl Endpoint for FindCoordinator {
    type Request = FindCoordinatorRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(ctx: &Context<'_>, request: FindCoordinatorRequest) -> Reply<FindCoordinatorResponse> {
        if ctx.version >= 4 {
            let keys = request.coordinator_keys.into_iter();
            let coordinators = keys.map(|key| find(ctx, request.key_type, key)).collect();
            return Reply::Now(FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() });
        }
        let found = find(ctx, request.key_type, request.key);
        let message = |code: i16| ErrorCode::from_code(code).map(|error| error.message().to_owned());
        Reply::Now(FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: message(found.error_code),
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..FindCoordinatorResponse::default()
        })
    }
}

fn find(ctx: &Context<'_>, key_type: i8, key: String) -> Coordinator {
    let (node_id, host, port, error) = match locate(ctx, key_type, &key) {
        Ok((node_id, host, port)) => (node_id, host, port, ErrorCode::None),
        Err(error) => (-1, String::new(), -1, error),
    };
    // Kafka has a text for a kind of key that is none, and an empty one for all else.
    let is_kind = matches!(key_type, GROUP | TRANSACTION | SHARE);
    let message = if is_kind { "" } else { error.message() };
    Coordinator { key, node_id, host, port, error_code: error.code(), error_message: Some(message.to_owned()) }
}

/// The leader of the key's partition, as reached on the client's listener.
fn locate(ctx: &Context<'_>, key_type: i8, key: &str) -> Result<(i32, String, i32), ErrorCode> {
    let (topic, key) = match key_type {
        GROUP => (OFFSETS_TOPIC, key.to_owned()),
        TRANSACTION => (TRANSACTION_TOPIC, key.to_owned()),
        SHARE if ctx.version >= 6 => {
            if !ctx.may_cluster(Operation::ClusterAction) {
                return Err(ErrorCode::ClusterAuthorizationFailed);
            }
            (SHARE_STATE_TOPIC, ShareKey::parse(key).ok_or(ErrorCode::InvalidRequest)?.text())
        }
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let kind = if key_type == GROUP { ResourceType::Group } else { ResourceType::TransactionalId };
    if key_type != SHARE && !ctx.may(Operation::Describe, kind, &key) {
        return Err(denied(kind));
    }
    let image = ctx.broker.image.read();
    let Some(count) = image.partition_count(topic) else {
        drop(image);
        ctx.broker.create_internal_topic(topic, ctx.now);
        return Err(ErrorCode::CoordinatorNotAvailable);
    };
    let partition = image.partition(topic, partition_for(&key, count.max(1)));
    let leader = partition.map(|partition| BrokerId(partition.leader)).filter(|leader| leader.0 >= 0);
    let endpoint = leader.and_then(|leader| Some((leader, image.endpoint(leader, &ctx.connection.listener)?)));
    let (leader, endpoint) = endpoint.ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok((leader.0, endpoint.host.clone(), i32::from(endpoint.port)))
}
