//! DescribeAcls (29, KIP-140, 290), versions 0 to 3: the entries of access control lists that a filter finds.
//! SECURITY_DISABLED without an authorizer, CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST for numbers that mean nothing.

use super::access::Access;
use super::acl_words::{FilterWords, knows_patterns};
use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{AclDescription, DescribeAclsRequest, DescribeAclsResource, DescribeAclsResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DescribeAcls;

impl Endpoint for DescribeAcls {
    type Request = DescribeAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::Describe, |_, code| refused(code, None));

    fn handle(ctx: &Context<'_>, request: DescribeAclsRequest) -> Reply<DescribeAclsResponse> {
        let Some(authorizer) = &ctx.broker.authorizer else {
            let text = "No Authorizer is configured on the broker".to_owned();
            return Reply::Now(refused(ErrorCode::SecurityDisabled, Some(text)));
        };
        let words = FilterWords {
            resource_type: request.resource_type_filter,
            name: request.resource_name_filter,
            pattern: request.pattern_type_filter,
            principal: request.principal_filter,
            host: request.host_filter,
            operation: request.operation,
            permission: request.permission_type,
        };
        let Some(filter) = words.read() else {
            return Reply::Now(refused(ErrorCode::InvalidRequest, None));
        };
        let lists = authorizer.lists().into_iter();
        let lists = lists.filter(|(resource, _)| {
            filter.finds_resource(resource) && knows_patterns(ctx.version, resource.pattern_type)
        });
        let resources = lists.filter_map(|(resource, entries)| {
            let acls = entries.into_iter().filter(|entry| filter.finds_entry(entry));
            let acls: Vec<AclDescription> = acls
                .map(|entry| AclDescription {
                    principal: entry.principal,
                    host: entry.host,
                    operation: entry.operation.code(),
                    permission_type: entry.permission.code(),
                })
                .collect();
            (!acls.is_empty()).then(|| DescribeAclsResource {
                resource_type: resource.resource_type.code(),
                resource_name: resource.name,
                pattern_type: resource.pattern_type.code(),
                acls,
            })
        });
        let resources = resources.collect();
        Reply::Now(DescribeAclsResponse { error_message: None, resources, ..Default::default() })
    }
}

fn refused(code: ErrorCode, message: Option<String>) -> DescribeAclsResponse {
    let error_message = Some(message.unwrap_or_else(|| code.message().to_owned()));
    DescribeAclsResponse { error_code: code.code(), error_message, ..Default::default() }
}
