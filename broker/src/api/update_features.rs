//! UpdateFeatures (57, KIP-584), versions 0 to 2: an operator sets levels of transaction.version, group.version and
//! share.version, all of a request or none; the controller does it. They stand in ZooKeeper, and each broker goes by them at
//! once. Safe and unsafe downgrades are the same: none loses anything that is kept. Before version 2 each feature has a result
//! of its own. Errors: NOT_CONTROLLER, CLUSTER_AUTHORIZATION_FAILED, INVALID_UPDATE_VERSION, FEATURE_UPDATE_FAILED if ZooKeeper
//! did not take it.

use super::access::Access;
use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::cluster::Waiter;
use crate::features::Wish;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::update_features::{FeatureUpdateKey, UpdatableFeatureResult};
use common::kafka::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use std::ops::RangeInclusive;

/// Kinds of changes: upgrade, safe and unsafe downgrade.
const UPGRADE: i8 = 1;
const DOWNGRADES: RangeInclusive<i8> = 2..=3;
/// Features tell the kind from this version on; before, whether it may be a downgrade.
const KINDS_FROM: i16 = 1;
/// The last version with a result for each feature.
const RESULTS_TO: i16 = 1;

/// See the top of the file.
pub struct UpdateFeatures;

impl Endpoint for UpdateFeatures {
    type Request = UpdateFeaturesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access<Self::Request> =
        Access::Cluster(Operation::Alter, |_, code| refused(code, code.message().to_owned()));

    fn handle(ctx: &Context<'_>, request: UpdateFeaturesRequest) -> Reply<UpdateFeaturesResponse> {
        if !ctx.broker.cluster.is_controller() {
            return Reply::Now(UpdateFeaturesResponse {
                error_code: ErrorCode::NotController.code(),
                error_message: None,
                ..UpdateFeaturesResponse::default()
            });
        }
        let wishes: Vec<Wish> = request.feature_updates.iter().map(|update| wish(update, ctx.version)).collect();
        let checked = ctx.broker.features.check(&wishes, BrokerId(ctx.broker.config.broker_id));
        let levels = match checked {
            Ok(levels) => levels,
            Err(problem) => {
                let problem =
                    format!("The update failed for all features since the following feature had an error: {problem}");
                return Reply::Now(refused(ErrorCode::InvalidUpdateVersion, problem));
            }
        };
        let version = ctx.version;
        if request.validate_only || levels.is_empty() {
            return Reply::Now(done(version, request.feature_updates));
        }
        let ticket: Ticket<UpdateFeaturesRequest> = ctx.ticket();
        let waiter = Waiter::new(move |outcome: Result<(), common::zk::ZkError>| {
            ticket.answer(&match outcome {
                Ok(()) => done(version, request.feature_updates),
                Err(_) => refused(ErrorCode::FeatureUpdateFailed, ErrorCode::FeatureUpdateFailed.message().to_owned()),
            });
        });
        ctx.broker.with_cluster(ctx.now, |cluster, effects| {
            cluster.set_feature_levels(levels, waiter, ctx.now, effects);
        });
        Reply::Parked
    }
}

fn wish(update: &FeatureUpdateKey, version: i16) -> Wish {
    let is_downgrade = match update.upgrade_type {
        _ if version < KINDS_FROM => Some(update.allow_downgrade),
        UPGRADE => Some(false),
        kind if DOWNGRADES.contains(&kind) => Some(true),
        _ => None,
    };
    Wish { feature: update.feature.clone(), level: update.max_version_level, is_downgrade }
}

fn refused(code: ErrorCode, problem: String) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse { error_code: code.code(), error_message: text(problem), ..Default::default() }
}

fn done(version: i16, updates: Vec<FeatureUpdateKey>) -> UpdateFeaturesResponse {
    let result = |update: FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature,
        error_code: 0,
        error_message: None,
    };
    let results = if version <= RESULTS_TO { updates.into_iter().map(result).collect() } else { Vec::new() };
    UpdateFeaturesResponse { error_code: 0, error_message: None, results, ..Default::default() }
}
