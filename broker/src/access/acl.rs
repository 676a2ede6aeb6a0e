//! Access control lists as they are said, kept and matched: resources, operations, entries, filters, and the JSON of
//! `/kafka-acl`. Decides nothing: that is `authorizer.rs`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;

/// The one name that a resource of type `Cluster` has.
pub const CLUSTER_NAME: &str = "kafka-cluster";
/// A name, host or user that stands for all.
pub const WILDCARD: &str = "*";
/// The principal that stands for all.
pub const EVERYBODY: &str = "User:*";

/// A kind of names with its number on the wire and its name in ZooKeeper.
macro_rules! named {
    ($(#[$doc:meta])* $kind:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $kind { $($(#[$variant_doc])* $variant,)* }

        impl $kind {
            /// All of them, by number.
            pub const ALL: &[$kind] = &[$($kind::$variant,)*];

            /// On the wire.
            pub fn code(self) -> i8 {
                match self { $($kind::$variant => $code,)* }
            }

            /// In ZooKeeper: in camel case.
            pub fn name(self) -> &'static str {
                match self { $($kind::$variant => $name,)* }
            }

            /// By its number.
            pub fn from_code(code: i8) -> Option<$kind> {
                $kind::ALL.iter().copied().find(|one| one.code() == code)
            }

            /// By its name, in any case, with or without underscores.
            pub fn from_name(name: &str) -> Option<$kind> {
                let name = name.replace('_', "");
                $kind::ALL.iter().copied().find(|one| one.name().eq_ignore_ascii_case(&name))
            }
        }
    };
}

named! {
    /// What something is done to.
    ResourceType {
        /// A topic.
        Topic = 2 "Topic",
        /// A group of consumers.
        Group = 3 "Group",
        /// The cluster.
        Cluster = 4 "Cluster",
        /// The id of a transactional producer.
        TransactionalId = 5 "TransactionalId",
        /// A delegation token (KIP-48).
        DelegationToken = 6 "DelegationToken",
        /// A user (KIP-373).
        User = 7 "User",
    }
}

named! {
    /// What is done.
    Operation {
        /// Everything.
        All = 2 "All",
        /// Reading.
        Read = 3 "Read",
        /// Writing.
        Write = 4 "Write",
        /// Creating.
        Create = 5 "Create",
        /// Deleting.
        Delete = 6 "Delete",
        /// Changing.
        Alter = 7 "Alter",
        /// Asking what it is like.
        Describe = 8 "Describe",
        /// What brokers do among themselves.
        ClusterAction = 9 "ClusterAction",
        /// Asking for settings.
        DescribeConfigs = 10 "DescribeConfigs",
        /// Changing settings.
        AlterConfigs = 11 "AlterConfigs",
        /// Writing with a producer id.
        IdempotentWrite = 12 "IdempotentWrite",
        /// Making delegation tokens.
        CreateTokens = 13 "CreateTokens",
        /// Asking for delegation tokens.
        DescribeTokens = 14 "DescribeTokens",
    }
}

named! {
    /// Whether an entry permits.
    Permission {
        /// It forbids, whatever else permits.
        Deny = 2 "Deny",
        /// It permits.
        Allow = 3 "Allow",
    }
}

named! {
    /// Which names a pattern stands for.
    PatternType {
        /// The one name, or all if it is `*`.
        Literal = 3 "Literal",
        /// All that begin so (KIP-290).
        Prefixed = 4 "Prefixed",
    }
}

impl ResourceType {
    /// What can be done to it; `All` stands for these.
    pub fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            ResourceType::Topic => &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs],
            // The last two since groups have settings (KIP-848).
            ResourceType::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
            ResourceType::Cluster => {
                &[Create, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, Alter, Describe]
            }
            ResourceType::TransactionalId => &[Describe, Write],
            ResourceType::DelegationToken => &[Describe],
            ResourceType::User => &[CreateTokens, DescribeTokens],
        }
    }
}

/// The resources that a list of entries is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourcePattern {
    /// Of this type.
    pub resource_type: ResourceType,
    /// How to read the name.
    pub pattern_type: PatternType,
    /// The name, its beginning, or `*`.
    pub name: String,
}

impl ResourcePattern {
    /// Is the one resource of this name among them?
    pub fn covers(&self, name: &str) -> bool {
        match self.pattern_type {
            PatternType::Literal => self.name == WILDCARD || self.name == name,
            PatternType::Prefixed => name.starts_with(&self.name),
        }
    }
}

/// One line of a list: whom it permits or forbids what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclEntry {
    /// `User:NAME`, or `User:*`.
    pub principal: String,
    /// The client's address, or `*`.
    pub host: String,
    /// What.
    pub operation: Operation,
    /// Whether.
    pub permission: Permission,
}

/// The lists of a resource.
pub type Entries = BTreeSet<AclEntry>;

/// Which names a filter looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternFilter {
    /// Patterns of either type with this name.
    Any,
    /// All patterns that cover the name.
    Match,
    /// Patterns of one type with this name.
    Only(PatternType),
}

impl PatternFilter {
    /// By its number on the wire.
    pub fn from_code(code: i8) -> Option<PatternFilter> {
        match code {
            1 => Some(PatternFilter::Any),
            2 => Some(PatternFilter::Match),
            other => PatternType::from_code(other).map(PatternFilter::Only),
        }
    }
}

/// Finds lines of lists; `None` is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilter {
    /// Of resources of this type.
    pub resource_type: Option<ResourceType>,
    /// Of resources with this name, as `pattern` says.
    pub name: Option<String>,
    /// How the name is meant.
    pub pattern: PatternFilter,
    /// Of this principal.
    pub principal: Option<String>,
    /// For this host.
    pub host: Option<String>,
    /// About this operation.
    pub operation: Option<Operation>,
    /// That permit, or forbid.
    pub permission: Option<Permission>,
}

impl AclFilter {
    /// Are the lists of these resources looked at?
    pub fn finds_resource(&self, resource: &ResourcePattern) -> bool {
        if self.resource_type.is_some_and(|wanted| wanted != resource.resource_type) {
            return false;
        }
        match (self.pattern, &self.name) {
            (PatternFilter::Only(wanted), _) if wanted != resource.pattern_type => false,
            (_, None) => true,
            (PatternFilter::Match, Some(name)) => resource.covers(name),
            (_, Some(name)) => *name == resource.name,
        }
    }

    /// Is it such a line?
    pub fn finds_entry(&self, entry: &AclEntry) -> bool {
        self.principal.as_ref().is_none_or(|wanted| *wanted == entry.principal)
            && self.host.as_ref().is_none_or(|wanted| *wanted == entry.host)
            && self.operation.is_none_or(|wanted| wanted == entry.operation)
            && self.permission.is_none_or(|wanted| wanted == entry.permission)
    }

    /// The resources it names, whether they have lists or not; empty if it may find any.
    pub fn named_resources(&self) -> Vec<ResourcePattern> {
        let (Some(resource_type), Some(name)) = (self.resource_type, &self.name) else { return Vec::new() };
        let types: &[PatternType] = match &self.pattern {
            PatternFilter::Match => &[],
            PatternFilter::Any => PatternType::ALL,
            PatternFilter::Only(only) => std::slice::from_ref(only),
        };
        let one = |&pattern_type: &PatternType| ResourcePattern { resource_type, pattern_type, name: name.clone() };
        types.iter().map(one).collect()
    }
}

/// What stands in a node of `/kafka-acl` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AclDataError {
    /// It is no JSON, or not of this shape.
    #[error("no access control list: {0}")]
    Malformed(String),
    /// It is of a version not known here.
    #[error("version {0} of access control lists is not known")]
    Version(i32),
    /// A word in it is not known.
    #[error("{0} is not known in access control lists")]
    Word(String),
}

#[derive(Serialize, Deserialize)]
struct Node {
    version: i32,
    acls: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    principal: String,
    permission_type: String,
    operation: String,
    host: String,
}

/// What stands in a resource's node.
pub fn encode(entries: &Entries) -> Vec<u8> {
    let line = |entry: &AclEntry| Line {
        principal: entry.principal.clone(),
        permission_type: entry.permission.name().to_owned(),
        operation: entry.operation.name().to_owned(),
        host: entry.host.clone(),
    };
    let node = Node { version: 1, acls: entries.iter().map(line).collect() };
    serde_json::to_vec(&node).expect("strings and numbers can always be written")
}

/// Reads a resource's node; an empty one has no entries.
///
/// # Errors
/// If it is not what Kafka writes.
pub fn decode(data: &[u8]) -> Result<Entries, AclDataError> {
    if data.is_empty() {
        return Ok(Entries::new());
    }
    let node: Node = serde_json::from_slice(data).map_err(|error| AclDataError::Malformed(error.to_string()))?;
    if node.version != 1 {
        return Err(AclDataError::Version(node.version));
    }
    let entry = |line: Line| {
        let word = |word: &str| AclDataError::Word(word.to_owned());
        Ok(AclEntry {
            operation: Operation::from_name(&line.operation).ok_or_else(|| word(&line.operation))?,
            permission: Permission::from_name(&line.permission_type).ok_or_else(|| word(&line.permission_type))?,
            principal: line.principal,
            host: line.host,
        })
    };
    node.acls.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stand_in_zookeeper_as_kafka_writes_them() {
        let text = r#"{"version":1,"acls":[{"principal":"User:alice","permissionType":"Allow","operation":"Read","host":"*"},{"principal":"User:bob","permissionType":"Deny","operation":"DescribeConfigs","host":"10.0.0.1"}]}"#;
        let entries = decode(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encode(&entries)).unwrap(), text);
        assert_eq!(decode(b""), Ok(Entries::new()));
        for bad in ["x", "{}", r#"{"version":2,"acls":[]}"#, &text.replace("Read", "Fly"), &text.replace("Deny", "No")]
        {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_find_what_they_name() {
        let pattern = |kind, name: &str| ResourcePattern {
            resource_type: ResourceType::Topic,
            pattern_type: kind,
            name: name.to_owned(),
        };
        let filter = |pattern, name: Option<&str>| AclFilter {
            resource_type: Some(ResourceType::Topic),
            name: name.map(str::to_owned),
            pattern,
            principal: None,
            host: None,
            operation: None,
            permission: None,
        };
        use PatternType::{Literal, Prefixed};
        let all = [pattern(Literal, "a"), pattern(Literal, "ab"), pattern(Literal, "*"), pattern(Prefixed, "a")];
        let cases = [
            (PatternFilter::Any, None, "1111"),
            (PatternFilter::Any, Some("a"), "1001"),
            (PatternFilter::Match, Some("ab"), "0111"),
            (PatternFilter::Match, Some("*"), "0010"),
            (PatternFilter::Only(Literal), Some("*"), "0010"),
            (PatternFilter::Only(Literal), None, "1110"),
            (PatternFilter::Only(Prefixed), Some("a"), "0001"),
        ];
        for (kind, name, expected) in cases {
            let filter = filter(kind, name);
            let found: String = all.iter().map(|one| if filter.finds_resource(one) { '1' } else { '0' }).collect();
            assert_eq!(found, expected, "{kind:?} {name:?}");
        }
    }
}
