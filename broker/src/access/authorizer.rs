//! The one place that decides who may do what: Kafka's `AclAuthorizer` as a function of the lists, the super users and
//! `allow.everyone.if.no.acl.found`. Reads nothing by itself.

use super::acl::{
    AclEntry, EVERYBODY, Entries, Operation, PatternType, Permission, ResourcePattern, ResourceType, WILDCARD,
};
use crate::config::BrokerConfig;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};

/// The class that turns lists on, as Kafka names it.
pub const ACL_AUTHORIZER: &str = "kafka.security.authorizer.AclAuthorizer";

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// `User:NAME`.
    pub principal: &'a str,
    /// The client's address.
    pub host: &'a str,
}

impl Asker<'_> {
    fn is_meant(&self, entry: &AclEntry) -> bool {
        (entry.principal == self.principal || entry.principal == EVERYBODY)
            && (entry.host == self.host || entry.host == WILDCARD)
    }
}

/// The lists by the names of their resources.
type ByName = BTreeMap<String, Entries>;

/// Decides by lists.
#[derive(Debug)]
pub struct Authorizer {
    super_users: BTreeSet<String>,
    allows_if_none: bool,
    lists: RwLock<BTreeMap<(ResourceType, PatternType), ByName>>,
}

impl Authorizer {
    /// By the settings; `None` if they name no authorizer.
    ///
    /// # Errors
    /// If they name another one.
    pub fn of(config: &BrokerConfig) -> Result<Option<Authorizer>, String> {
        let class = config.authorizer_class_name.trim();
        match class {
            "" => return Ok(None),
            ACL_AUTHORIZER => {}
            other => return Err(format!("authorizer.class.name={other}: there is {ACL_AUTHORIZER} only")),
        }
        let get = |name: &str| config.properties.get(name).map(str::trim).unwrap_or_default();
        let users = get("super.users").split(';').map(str::trim).filter(|user| !user.is_empty());
        let users: BTreeSet<String> = users.map(str::to_owned).collect();
        if let Some(user) = users.iter().find(|user| !user.contains(':')) {
            return Err(format!("super.users: expected a string in format principalType:principalName but got {user}"));
        }
        let allows_if_none = get("allow.everyone.if.no.acl.found").eq_ignore_ascii_case("true");
        Ok(Some(Authorizer::new(users, allows_if_none)))
    }

    /// Without any lists yet.
    pub fn new(super_users: BTreeSet<String>, allows_if_none: bool) -> Authorizer {
        Authorizer { super_users, allows_if_none, lists: RwLock::default() }
    }

    /// The list of these resources is this now; an empty one is none.
    pub fn set(&self, resource: ResourcePattern, entries: Entries) {
        let mut lists = self.lists.write();
        let by_name = lists.entry((resource.resource_type, resource.pattern_type)).or_default();
        if entries.is_empty() {
            by_name.remove(&resource.name);
        } else {
            by_name.insert(resource.name, entries);
        }
    }

    /// Every list.
    pub fn lists(&self) -> Vec<(ResourcePattern, Entries)> {
        let lists = self.lists.read();
        let of_kind = lists.iter().flat_map(|((resource_type, pattern_type), by_name)| {
            by_name.iter().map(|(name, entries)| {
                let (resource_type, pattern_type, name) = (*resource_type, *pattern_type, name.clone());
                (ResourcePattern { resource_type, pattern_type, name }, entries.clone())
            })
        });
        of_kind.collect()
    }

    /// May this be done to the one resource of this name?
    pub fn permits(&self, asker: &Asker<'_>, operation: Operation, (kind, name): (ResourceType, &str)) -> bool {
        if self.super_users.contains(asker.principal) {
            return true;
        }
        let lists = self.lists.read();
        let literal = lists.get(&(kind, PatternType::Literal));
        let literal = [WILDCARD, name].into_iter().filter_map(|name| literal?.get(name));
        let prefixed = lists.get(&(kind, PatternType::Prefixed)).filter(|prefixes| !prefixes.is_empty());
        let prefixed = prefixed.into_iter().flat_map(|prefixes| {
            let ends = name.char_indices().map(|(at, letter)| at + letter.len_utf8());
            ends.filter_map(|end| prefixes.get(&name[..end]))
        });
        let found: Vec<&Entries> = prefixed.chain(literal).collect();
        if found.is_empty() {
            return self.allows_if_none;
        }
        let has = |permission: Permission, operations: &[Operation]| {
            found.iter().copied().flatten().any(|entry| {
                entry.permission == permission
                    && (entry.operation == Operation::All || operations.contains(&entry.operation))
                    && asker.is_meant(entry)
            })
        };
        !has(Permission::Deny, &[operation]) && has(Permission::Allow, implied_by(operation))
    }

    /// May this be done to any resource of a type at all (KIP-679)?
    pub fn permits_some(&self, asker: &Asker<'_>, operation: Operation, kind: ResourceType) -> bool {
        if self.super_users.contains(asker.principal) {
            return true;
        }
        let lists = self.lists.read();
        let names = |pattern: PatternType, permission: Permission| -> BTreeSet<&str> {
            let is_meant = |entry: &AclEntry| {
                entry.permission == permission
                    && (entry.operation == operation || entry.operation == Operation::All)
                    && asker.is_meant(entry)
            };
            let by_name = lists.get(&(kind, pattern)).into_iter().flatten();
            by_name.filter(|(_, entries)| entries.iter().any(is_meant)).map(|(name, _)| name.as_str()).collect()
        };
        let denied = names(PatternType::Literal, Permission::Deny);
        if denied.contains(WILDCARD) {
            return false;
        }
        if self.allows_if_none {
            return true;
        }
        let denied_prefixes = names(PatternType::Prefixed, Permission::Deny);
        let is_covered = |name: &str| denied_prefixes.iter().any(|prefix| name.starts_with(prefix));
        names(PatternType::Prefixed, Permission::Allow).into_iter().any(|prefix| !is_covered(prefix))
            || names(PatternType::Literal, Permission::Allow)
                .into_iter()
                .any(|name| name == WILDCARD || (!denied.contains(name) && !is_covered(name)))
    }
}

/// Who may do one of these may do it: reading, writing, deleting and changing imply asking.
fn implied_by(operation: Operation) -> &'static [Operation] {
    use Operation::*;
    match operation {
        Describe => &[Describe, Read, Write, Delete, Alter],
        DescribeConfigs => &[DescribeConfigs, AlterConfigs],
        All => &[All],
        Read => &[Read],
        Write => &[Write],
        Create => &[Create],
        Delete => &[Delete],
        Alter => &[Alter],
        ClusterAction => &[ClusterAction],
        AlterConfigs => &[AlterConfigs],
        IdempotentWrite => &[IdempotentWrite],
        CreateTokens => &[CreateTokens],
        DescribeTokens => &[DescribeTokens],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pattern principal host operation permission`, `t*` for a prefix.
    fn authorizer(lines: &str, allows_if_none: bool) -> Authorizer {
        let authorizer = Authorizer::new(BTreeSet::from(["User:root".to_owned()]), allows_if_none);
        let mut lists: BTreeMap<ResourcePattern, Entries> = BTreeMap::new();
        for line in lines.split(';').map(str::trim).filter(|line| !line.is_empty()) {
            let [name, principal, host, operation, permission] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let (pattern_type, name) = match name.strip_suffix('*').filter(|prefix| !prefix.is_empty()) {
                Some(prefix) => (PatternType::Prefixed, prefix),
                None => (PatternType::Literal, name),
            };
            let resource = ResourcePattern { resource_type: ResourceType::Topic, pattern_type, name: name.to_owned() };
            lists.entry(resource).or_default().insert(AclEntry {
                principal: format!("User:{principal}"),
                host: host.to_owned(),
                operation: Operation::from_name(operation).unwrap(),
                permission: Permission::from_name(permission).unwrap(),
            });
        }
        for (resource, entries) in lists {
            authorizer.set(resource, entries);
        }
        authorizer
    }

    #[test]
    fn lists_permit_and_forbid_as_kafkas_do() {
        let lists = "t alice * Read Allow; t bob 10.0.0.1 All Allow; t bob * Delete Deny; a* carol * AlterConfigs Allow; \
                     * dave * Write Allow; abc dave * Write Deny; x* * * Describe Allow; * * 6.6.6.6 All Deny";
        let cases = [
            ("alice", "1.1.1.1", "Read", "t", true),
            ("alice", "1.1.1.1", "Describe", "t", true),
            ("alice", "1.1.1.1", "Write", "t", false),
            ("alice", "6.6.6.6", "Read", "t", false),
            ("bob", "10.0.0.1", "Write", "t", true),
            ("bob", "10.0.0.2", "Write", "t", false),
            ("bob", "10.0.0.1", "Delete", "t", false),
            ("carol", "1.1.1.1", "DescribeConfigs", "abc", true),
            ("carol", "1.1.1.1", "DescribeConfigs", "b", false),
            ("carol", "1.1.1.1", "Describe", "abc", false),
            ("dave", "1.1.1.1", "Write", "any", true),
            ("dave", "1.1.1.1", "Write", "abc", false),
            ("eve", "1.1.1.1", "Describe", "xy", true),
            ("eve", "1.1.1.1", "Read", "xy", false),
            ("root", "6.6.6.6", "Alter", "t", true),
        ];
        let authorizer = authorizer(lists, false);
        for (user, host, operation, topic, expected) in cases {
            let principal = format!("User:{user}");
            let asker = Asker { principal: &principal, host };
            let operation = Operation::from_name(operation).unwrap();
            let found = authorizer.permits(&asker, operation, (ResourceType::Topic, topic));
            assert_eq!(found, expected, "{user}@{host} {operation:?} {topic}");
        }
    }

    #[test]
    fn what_nobody_has_listed_is_open_only_if_the_settings_say_so() {
        let asker = Asker { principal: "User:a", host: "h" };
        for allows in [true, false] {
            let authorizer = authorizer("t b * Read Allow", allows);
            assert_eq!(authorizer.permits(&asker, Operation::Read, (ResourceType::Topic, "other")), allows);
            assert!(!authorizer.permits(&asker, Operation::Read, (ResourceType::Topic, "t")));
        }
    }

    #[test]
    fn something_is_permitted_unless_all_of_it_is_forbidden() {
        let asker = Asker { principal: "User:a", host: "h" };
        let cases = [
            ("", false),
            ("t a * Write Allow", true),
            ("t a * Read Allow", false),
            ("t a * Write Allow; t a * Write Deny", false),
            ("t a * Write Allow; * a * All Deny", false),
            ("tab a * Write Allow; ta* a * Write Deny", false),
            ("t* a * Write Allow; ta* a * Write Deny", true),
            ("* a * Write Allow; t a * Write Deny", true),
        ];
        for (lists, expected) in cases {
            let found = authorizer(lists, false).permits_some(&asker, Operation::Write, ResourceType::Topic);
            assert_eq!(found, expected, "{lists}");
        }
    }
}
