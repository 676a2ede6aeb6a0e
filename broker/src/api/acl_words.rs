//! Access control lists in the words of CreateAcls, DeleteAcls and DescribeAcls: numbers to names and back.

use crate::access::acl::{AclEntry, AclFilter, Operation, PatternFilter, PatternType, Permission, ResourceType};

/// Any, in filters.
const ANY: i8 = 1;

/// The numbers and names of a filter, as the wire has them.
pub(super) struct FilterWords {
    pub(super) resource_type: i8,
    pub(super) name: Option<String>,
    pub(super) pattern: i8,
    pub(super) principal: Option<String>,
    pub(super) host: Option<String>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

impl FilterWords {
    /// `None` if a number means nothing.
    pub(super) fn read(self) -> Option<AclFilter> {
        fn or_any<T>(code: i8, read: impl Fn(i8) -> Option<T>) -> Option<Option<T>> {
            if code == ANY { Some(None) } else { read(code).map(Some) }
        }
        Some(AclFilter {
            resource_type: or_any(self.resource_type, ResourceType::from_code)?,
            name: self.name,
            pattern: PatternFilter::from_code(self.pattern)?,
            principal: self.principal,
            host: self.host,
            operation: or_any(self.operation, Operation::from_code)?,
            permission: or_any(self.permission, Permission::from_code)?,
        })
    }
}

/// An entry from its numbers; `None` if one means nothing.
pub(super) fn entry(principal: &str, host: &str, operation: i8, permission: i8) -> Option<AclEntry> {
    Some(AclEntry {
        principal: principal.to_owned(),
        host: host.to_owned(),
        operation: Operation::from_code(operation)?,
        permission: Permission::from_code(permission)?,
    })
}

/// A version that has no pattern types yet knows names only.
pub(super) fn knows_patterns(version: i16, pattern: PatternType) -> bool {
    version >= 1 || pattern == PatternType::Literal
}
