//! CreateAcls (30, KIP-140, 290), versions 0 to 3: adds entries to access control lists in ZooKeeper; any broker does it.
//! SECURITY_DISABLED without an authorizer, CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST for what cannot be kept.

use super::access::Access;
use super::acl_words::entry;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{CLUSTER_NAME, Entries, Operation, PatternType, ResourcePattern, ResourceType};
use crate::cluster::{AclChange, AclOutcome, Remove, Waiter};
use crate::gathered::Gathered;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{AclCreation, AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct CreateAcls;

impl Endpoint for CreateAcls {
    type Request = CreateAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const ACCESS: Access<Self::Request> =
        Access::Cluster(Operation::Alter, |request, code| refused_all(request, code, code.message()));

    fn handle(ctx: &Context<'_>, request: CreateAclsRequest) -> Reply<CreateAclsResponse> {
        if ctx.broker.authorizer.is_none() {
            let text = "No Authorizer is configured.";
            return Reply::Now(refused_all(&request, ErrorCode::SecurityDisabled, text));
        }
        let mut results =
            vec![AclCreationResult { error_message: None, ..Default::default() }; request.creations.len()];
        let mut wanted: BTreeMap<ResourcePattern, (Entries, Vec<usize>)> = BTreeMap::new();
        for (index, creation) in request.creations.into_iter().enumerate() {
            match read(creation) {
                Ok((resource, entry)) => {
                    let (entries, indexes) = wanted.entry(resource).or_default();
                    entries.insert(entry);
                    indexes.push(index);
                }
                Err(text) => results[index] = result(ErrorCode::InvalidRequest, &text),
            }
        }
        if wanted.is_empty() {
            return Reply::Now(CreateAclsResponse { results, ..Default::default() });
        }
        let ticket: Ticket<CreateAclsRequest> = ctx.ticket();
        let gathered = Gathered::new(results, wanted.len(), move |results| {
            ticket.answer(&CreateAclsResponse { results, ..Default::default() });
        });
        for (resource, (add, indexes)) in wanted {
            let gathered = gathered.clone();
            let done = Waiter::new(move |outcome: AclOutcome| gathered.put(|results| put(results, &indexes, &outcome)));
            let change = AclChange { resource, add, remove: Remove(Box::new(|_| false)) };
            let now = ctx.now;
            ctx.broker.with_cluster(now, |cluster, effects| cluster.change_acls(change, done, now, effects));
        }
        Reply::ParkedAlone
    }
}

fn put(results: &mut [AclCreationResult], indexes: &[usize], outcome: &AclOutcome) {
    if let Err(problem) = outcome {
        for &index in indexes {
            results[index] = result(ErrorCode::UnknownServerError, &problem.to_string());
        }
    }
}

fn read(creation: AclCreation) -> Result<(ResourcePattern, crate::access::acl::AclEntry), String> {
    let unknown = || "Failed to create ACL".to_owned();
    let resource_type = ResourceType::from_code(creation.resource_type).ok_or_else(unknown)?;
    let pattern_type = PatternType::from_code(creation.resource_pattern_type).ok_or_else(unknown)?;
    let name = creation.resource_name;
    if resource_type == ResourceType::Cluster && name != CLUSTER_NAME {
        return Err(format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}"));
    }
    if name.is_empty() {
        return Err("Invalid empty resource name".to_owned());
    }
    // The name becomes that of a node in ZooKeeper.
    if name.contains('/') || !creation.principal.contains(':') {
        return Err(unknown());
    }
    let entry = entry(&creation.principal, &creation.host, creation.operation, creation.permission_type);
    Ok((ResourcePattern { resource_type, pattern_type, name }, entry.ok_or_else(unknown)?))
}

fn result(code: ErrorCode, text: &str) -> AclCreationResult {
    AclCreationResult { error_code: code.code(), error_message: super::error::text(text) }
}

fn refused_all(request: &CreateAclsRequest, code: ErrorCode, text: &str) -> CreateAclsResponse {
    let results = request.creations.iter().map(|_| result(code, text)).collect();
    CreateAclsResponse { results, ..Default::default() }
}
