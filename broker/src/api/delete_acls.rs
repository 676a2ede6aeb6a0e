//! DeleteAcls (31, KIP-140, 290), versions 0 to 3: removes the entries of access control lists that filters find; any broker
//! does it. SECURITY_DISABLED without an authorizer, CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST for numbers that mean
//! nothing.

use super::access::Access;
use super::acl_words::{FilterWords, knows_patterns};
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{AclEntry, AclFilter, Entries, Operation, ResourcePattern};
use crate::cluster::{AclChange, AclOutcome, Remove, Waiter};
use crate::gathered::Gathered;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsRequest, DeleteAclsResponse};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the top of the file.
pub struct DeleteAcls;

/// The filters, by their place in the request.
type Filters = Arc<Vec<(usize, AclFilter)>>;

impl Endpoint for DeleteAcls {
    type Request = DeleteAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const ACCESS: Access<Self::Request> =
        Access::Cluster(Operation::Alter, |request, code| refused_all(request, code, code.message()));

    fn handle(ctx: &Context<'_>, request: DeleteAclsRequest) -> Reply<DeleteAclsResponse> {
        let Some(authorizer) = &ctx.broker.authorizer else {
            let text = "No Authorizer is configured.";
            return Reply::Now(refused_all(&request, ErrorCode::SecurityDisabled, text));
        };
        let (mut results, mut filters) = (Vec::new(), Vec::new());
        for (index, filter) in request.filters.into_iter().enumerate() {
            let words = FilterWords {
                resource_type: filter.resource_type_filter,
                name: filter.resource_name_filter,
                pattern: filter.pattern_type_filter,
                principal: filter.principal_filter,
                host: filter.host_filter,
                operation: filter.operation,
                permission: filter.permission_type,
            };
            match words.read() {
                Some(filter) => {
                    filters.push((index, filter));
                    results.push(DeleteAclsFilterResult { error_message: None, ..Default::default() });
                }
                None => results.push(refused(ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message())),
            }
        }
        let known = authorizer.lists().into_iter().map(|(resource, _)| resource);
        let named = filters.iter().flat_map(|(_, filter)| filter.named_resources());
        let found = |resource: &ResourcePattern| {
            knows_patterns(ctx.version, resource.pattern_type)
                && filters.iter().any(|(_, filter)| filter.finds_resource(resource))
        };
        let resources: BTreeSet<ResourcePattern> = known.chain(named).filter(found).collect();
        if resources.is_empty() {
            return Reply::Now(DeleteAclsResponse { filter_results: results, ..Default::default() });
        }
        let filters: Filters = Arc::new(filters);
        let ticket: Ticket<DeleteAclsRequest> = ctx.ticket();
        let gathered = Gathered::new(results, resources.len(), move |filter_results| {
            ticket.answer(&DeleteAclsResponse { filter_results, ..Default::default() });
        });
        for resource in resources {
            let (gathered, asked, of) = (gathered.clone(), filters.clone(), resource.clone());
            let done =
                Waiter::new(move |outcome: AclOutcome| gathered.put(|results| put(results, &asked, &of, outcome)));
            let (filters, of) = (filters.clone(), resource.clone());
            let goes = move |entry: &AclEntry| {
                filters.iter().any(|(_, filter)| filter.finds_resource(&of) && filter.finds_entry(entry))
            };
            let change = AclChange { resource, add: Entries::new(), remove: Remove(Box::new(goes)) };
            let now = ctx.now;
            ctx.broker.with_cluster(now, |cluster, effects| cluster.change_acls(change, done, now, effects));
        }
        Reply::ParkedAlone
    }
}

/// What was removed is told with the first filter that found it.
fn put(results: &mut [DeleteAclsFilterResult], filters: &Filters, resource: &ResourcePattern, outcome: AclOutcome) {
    match outcome {
        Ok(removed) => {
            for entry in removed {
                let finds = |filter: &AclFilter| filter.finds_resource(resource) && filter.finds_entry(&entry);
                let Some((index, _)) = filters.iter().find(|(_, filter)| finds(filter)) else { continue };
                results[*index].matching_acls.push(matching(resource, entry));
            }
        }
        Err(problem) => {
            for (index, _) in filters.iter().filter(|(_, filter)| filter.finds_resource(resource)) {
                results[*index] = refused(ErrorCode::UnknownServerError, &problem.to_string());
            }
        }
    }
}

fn matching(resource: &ResourcePattern, entry: AclEntry) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_code: 0,
        error_message: None,
        resource_type: resource.resource_type.code(),
        resource_name: resource.name.clone(),
        pattern_type: resource.pattern_type.code(),
        principal: entry.principal,
        host: entry.host,
        operation: entry.operation.code(),
        permission_type: entry.permission.code(),
    }
}

fn refused(code: ErrorCode, text: &str) -> DeleteAclsFilterResult {
    let error_message = super::error::text(text);
    DeleteAclsFilterResult { error_code: code.code(), error_message, ..Default::default() }
}

fn refused_all(request: &DeleteAclsRequest, code: ErrorCode, text: &str) -> DeleteAclsResponse {
    let filter_results = request.filters.iter().map(|_| refused(code, text)).collect();
    DeleteAclsResponse { filter_results, ..Default::default() }
}
