//! `kafka-acls`: who may do what. Lists, adds and removes access control entries, through a broker. With
//! `--authorizer-properties zookeeper.connect=...` Kafka's tool writes to ZooKeeper by itself; this one finds the brokers
//! there and asks them.

mod specs;

use crate::client::{check, java_text};
use crate::cluster::{Cluster, Target, load_settings};
use crate::options::{self, Ended, Options, key_values};
use common::kafka::messages::{
    AclCreation, CreateAclsRequest, DeleteAclsFilter, DeleteAclsRequest, DescribeAclsRequest,
};
use specs::SPECS;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Numbers and names of the wire, names as Java's enums have them.
const RESOURCES: [(i8, &str); 6] =
    [(2, "TOPIC"), (3, "GROUP"), (4, "CLUSTER"), (5, "TRANSACTIONAL_ID"), (6, "DELEGATION_TOKEN"), (7, "USER")];
const PATTERNS: [(i8, &str); 4] = [(1, "ANY"), (2, "MATCH"), (3, "LITERAL"), (4, "PREFIXED")];
const PERMISSIONS: [(i8, &str); 2] = [(2, "DENY"), (3, "ALLOW")];
const OPERATIONS: [(i8, &str); 13] = [
    (2, "ALL"),
    (3, "READ"),
    (4, "WRITE"),
    (5, "CREATE"),
    (6, "DELETE"),
    (7, "ALTER"),
    (8, "DESCRIBE"),
    (9, "CLUSTER_ACTION"),
    (10, "DESCRIBE_CONFIGS"),
    (11, "ALTER_CONFIGS"),
    (12, "IDEMPOTENT_WRITE"),
    (13, "CREATE_TOKENS"),
    (14, "DESCRIBE_TOKENS"),
];
/// What each resource can suffer, by its number; `All` stands for these.
const SUPPORTED: [(i8, &[i8]); 6] = [
    (2, &[3, 4, 5, 8, 6, 7, 10, 11]),
    (3, &[3, 8, 6]),
    (4, &[5, 9, 10, 11, 12, 7, 8]),
    (5, &[8, 4]),
    (6, &[8]),
    (7, &[13, 14]),
];
/// In filters: any.
const ANY: i8 = 1;
const LITERAL: i8 = 3;
const CLUSTER: i8 = 4;
const CLUSTER_NAME: &str = "kafka-cluster";
const DEPRECATED: &str = "Warning: support for ACL configuration directly through the authorizer is deprecated and will be \
                          removed in a future release. Please use --bootstrap-server instead to set ACLs through the admin \
                          client.";

fn name(table: &[(i8, &'static str)], code: i8) -> &'static str {
    table.iter().find(|(number, _)| *number == code).map_or("UNKNOWN", |(_, name)| name)
}

/// Resources, or a filter that finds some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    kind: i8,
    name: String,
    pattern: i8,
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, pattern) = (name(&RESOURCES, self.kind), name(&PATTERNS, self.pattern));
        write!(f, "ResourcePattern(resourceType={kind}, name={}, patternType={pattern})", self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    principal: String,
    host: String,
    operation: i8,
    permission: i8,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (operation, permission) = (name(&OPERATIONS, self.operation), name(&PERMISSIONS, self.permission));
        let (principal, host) = (&self.principal, &self.host);
        write!(f, "(principal={principal}, host={host}, operation={operation}, permissionType={permission})")
    }
}

/// What a role does with resources of a type.
type Need = (i8, &'static [i8]);

/// Entries by resource, in the order in which they came.
type Wanted = Vec<(Pattern, Vec<Entry>)>;

/// The tool.
pub(crate) fn acls(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments).or_else(|error| {
        if error.is::<Ended>() {
            return Err(error);
        }
        let text = java_text(&error);
        println!("Error while executing ACL command: {text}");
        println!("java.util.concurrent.ExecutionException: {text}");
        Ok(ExitCode::FAILURE)
    }))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(SPECS, arguments)?;
    options.help_or_version(arguments, "This tool helps to manage acls on kafka.")?;
    check_options(&options)?;
    let settings = match options.value("command-config")? {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    let connect = || -> anyhow::Result<Cluster> {
        match options.value("bootstrap-server")? {
            Some(servers) => Cluster::new(servers, &settings),
            None => {
                let properties = key_values(&options.values("authorizer-properties"));
                let connect = properties.get("zookeeper.connect").map_or("", String::as_str);
                Cluster::by_zookeeper(connect, &settings)
            }
        }
    };
    if options.has("add") {
        let wanted = to_add(&options)?;
        add(&mut connect()?, &wanted)?;
    } else if options.has("remove") {
        let wanted = wanted(&options)?;
        remove(&mut connect()?, &options, &wanted)?;
    } else {
        list(&mut connect()?, &options)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_options(options: &Options) -> Result<(), Ended> {
    let has = |name: &str| options.has(name);
    let refuse = |is_wrong: bool, text: &str| if is_wrong { Err(options.usage(text)) } else { Ok(()) };
    let both = has("bootstrap-server") && has("authorizer");
    refuse(both, "Only one of --bootstrap-server or --authorizer must be specified")?;
    if !has("bootstrap-server") {
        options.require(&["authorizer-properties"])?;
        eprintln!("{DEPRECATED}");
    }
    refuse(
        has("command-config") && !has("bootstrap-server"),
        "The --command-config option can only be used with --bootstrap-server option",
    )?;
    refuse(
        has("authorizer-properties") && has("bootstrap-server"),
        "The --authorizer-properties option can only be used with --authorizer option",
    )?;
    let actions = ["add", "remove", "list"].iter().filter(|name| has(name)).count();
    refuse(actions != 1, "Command must include exactly one action: --list, --add, --remove. ")?;
    let makers = ["producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"];
    if has("list") {
        options.exclude("list", &makers)?;
    }
    for role in ["producer", "consumer"].into_iter().filter(|role| has(role)) {
        options.exclude(role, &["operation", "deny-principal", "deny-host"])?;
    }
    refuse(has("principal") && !has("list"), "The --principal option is only available if --list is set")?;
    refuse(has("producer") && !has("topic"), "With --producer you must specify a --topic")?;
    refuse(has("idempotent") && !has("producer"), "The --idempotent option is only available if --producer is set")?;
    let others = !has("producer") && (has("cluster") || has("transactional-id"));
    refuse(
        has("consumer") && (!has("topic") || !has("group") || others),
        "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be \
         specified.",
    )
}

fn pattern_type(options: &Options) -> anyhow::Result<i8> {
    let text = options.value("resource-pattern-type")?.unwrap_or("LITERAL");
    let found = PATTERNS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
    found
        .map(|(code, _)| *code)
        .ok_or_else(|| options.usage(&format!("Cannot parse argument '{text}' of option resource-pattern-type")).into())
}

fn resources(options: &Options) -> anyhow::Result<Vec<Pattern>> {
    let pattern = pattern_type(options)?;
    let mut found: Vec<Pattern> = Vec::new();
    let mut put = |kind: i8, name: &str, pattern: i8| {
        let one = Pattern { kind, name: name.to_owned(), pattern };
        if !found.contains(&one) {
            found.push(one);
        }
    };
    options.values("topic").iter().for_each(|name| put(2, name.trim(), pattern));
    if pattern == LITERAL && (options.has("cluster") || options.has("idempotent")) {
        put(CLUSTER, CLUSTER_NAME, LITERAL);
    }
    for (option, kind) in [("group", 3), ("transactional-id", 5), ("delegation-token", 6), ("user-principal", 7)] {
        options.values(option).iter().for_each(|name| put(kind, name.trim(), pattern));
    }
    Ok(found)
}

/// What the options say of whom, for these operations.
fn entries(options: &Options, operations: &[i8]) -> anyhow::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for (who, from, permission) in [("allow-principal", "allow-host", 3), ("deny-principal", "deny-host", 2)] {
        let hosts = options.values(from);
        let hosts = if hosts.is_empty() { vec!["*"] } else { hosts };
        for principal in options.values(who) {
            let principal = principal.trim();
            if !principal.contains(':') {
                anyhow::bail!("expected a string in format principalType:principalName but got {principal}");
            }
            for &operation in operations {
                found.extend(hosts.iter().map(|host| Entry {
                    principal: principal.to_owned(),
                    host: host.trim().to_owned(),
                    operation,
                    permission,
                }));
            }
        }
    }
    Ok(found)
}

fn wanted(options: &Options) -> anyhow::Result<Wanted> {
    let resources = resources(options)?;
    if resources.is_empty() {
        let text = "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or \
                    --delegation-token <Delegation Token ID>";
        return Err(options.usage(text).into());
    }
    let mut wanted: Wanted = Vec::new();
    let mut put = |resource: &Pattern, entries: Vec<Entry>| match wanted.iter_mut().find(|(known, _)| known == resource)
    {
        Some((_, known)) => known.extend(entries),
        None => wanted.push((resource.clone(), entries)),
    };
    if !options.has("producer") && !options.has("consumer") {
        let given = options.values("operation");
        let given = if given.is_empty() { vec!["All"] } else { given };
        let code = |text: &str| {
            let plain = text.trim().replace('_', "");
            let found = OPERATIONS.iter().find(|(_, name)| name.replace('_', "").eq_ignore_ascii_case(&plain));
            found.map(|(code, _)| *code).ok_or_else(|| anyhow::anyhow!("ACL operation {text} is not known"))
        };
        let operations = given.into_iter().map(code).collect::<Result<Vec<i8>, _>>()?;
        for resource in &resources {
            put(resource, entries(options, &operations)?);
        }
    }
    let roles: [(&str, &[Need]); 2] =
        [("producer", &[(2, &[4, 8, 5]), (5, &[4, 8])]), ("consumer", &[(2, &[3, 8]), (3, &[3])])];
    for (role, needs) in roles.iter().filter(|(role, _)| options.has(role)) {
        for (kind, operations) in *needs {
            for resource in resources.iter().filter(|resource| resource.kind == *kind) {
                put(resource, entries(options, operations)?);
            }
        }
        if *role == "producer" && options.has("idempotent") {
            put(&Pattern { kind: CLUSTER, name: CLUSTER_NAME.to_owned(), pattern: LITERAL }, entries(options, &[12])?);
        }
    }
    check_operations(options, &wanted)?;
    Ok(wanted)
}

fn check_operations(options: &Options, wanted: &Wanted) -> Result<(), Ended> {
    for (resource, entries) in wanted {
        let supported = SUPPORTED.iter().find(|(kind, _)| *kind == resource.kind).map_or(&[][..], |(_, list)| list);
        if entries.iter().any(|entry| entry.operation != 2 && !supported.contains(&entry.operation)) {
            let names: Vec<String> = supported.iter().chain(&[2]).map(|code| camel(name(&OPERATIONS, *code))).collect();
            let kind = name(&RESOURCES, resource.kind);
            return Err(options.usage(&format!("ResourceType {kind} only supports operations {}", names.join(", "))));
        }
    }
    Ok(())
}

/// `DescribeConfigs` for `DESCRIBE_CONFIGS`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    name.split('_').map(word).collect()
}

fn to_add(options: &Options) -> anyhow::Result<Wanted> {
    let pattern = pattern_type(options)?;
    if pattern < LITERAL {
        let text = format!(
            "A '--resource-pattern-type' value of '{}' is not valid when adding acls.",
            name(&PATTERNS, pattern)
        );
        return Err(options.usage(&text).into());
    }
    let wanted = wanted(options)?;
    if wanted.iter().any(|(_, entries)| entries.is_empty()) {
        let text = "You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.";
        return Err(options.usage(text).into());
    }
    Ok(wanted)
}

fn shown(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("\t{entry}")).collect::<Vec<_>>().join("\n")
}

fn add(cluster: &mut Cluster, wanted: &Wanted) -> anyhow::Result<()> {
    for (resource, entries) in wanted {
        println!("Adding ACLs for resource `{resource}`: \n {} \n", shown(entries));
        let creation = |entry: &Entry| AclCreation {
            resource_type: resource.kind,
            resource_name: resource.name.clone(),
            resource_pattern_type: resource.pattern,
            principal: entry.principal.clone(),
            host: entry.host.clone(),
            operation: entry.operation,
            permission_type: entry.permission,
        };
        let request = |_| CreateAclsRequest { creations: entries.iter().map(creation).collect() };
        let response = cluster.call(Target::Any, request, |_| 0)?;
        for result in response.results {
            check(result.error_code, result.error_message.as_deref())?;
        }
    }
    Ok(())
}

fn remove(cluster: &mut Cluster, options: &Options, wanted: &Wanted) -> anyhow::Result<()> {
    for (resource, entries) in wanted {
        let question = match entries.is_empty() {
            true => format!("Are you sure you want to delete all ACLs for resource filter `{resource}`? (y/n)"),
            false => format!(
                "Are you sure you want to remove ACLs: \n {} \n from resource filter `{resource}`? (y/n)",
                shown(entries)
            ),
        };
        if !options.has("force") {
            println!("{question}");
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer)?;
            if !answer.trim().eq_ignore_ascii_case("y") {
                continue;
            }
        }
        let all = DeleteAclsFilter {
            resource_type_filter: resource.kind,
            resource_name_filter: Some(resource.name.clone()),
            pattern_type_filter: resource.pattern,
            principal_filter: None,
            host_filter: None,
            operation: ANY,
            permission_type: ANY,
        };
        let one = |entry: &Entry| DeleteAclsFilter {
            principal_filter: Some(entry.principal.clone()),
            host_filter: Some(entry.host.clone()),
            operation: entry.operation,
            permission_type: entry.permission,
            ..all.clone()
        };
        let filters = if entries.is_empty() { vec![all.clone()] } else { entries.iter().map(one).collect() };
        let response = cluster.call(Target::Any, |_| DeleteAclsRequest { filters: filters.clone() }, |_| 0)?;
        for result in response.filter_results {
            check(result.error_code, result.error_message.as_deref())?;
        }
    }
    Ok(())
}

fn list(cluster: &mut Cluster, options: &Options) -> anyhow::Result<()> {
    let filters = resources(options)?;
    let filters: Vec<Option<Pattern>> = match filters.is_empty() {
        true => vec![None],
        false => filters.into_iter().map(Some).collect(),
    };
    let mut found: Wanted = Vec::new();
    for filter in filters {
        let request = |_| DescribeAclsRequest {
            resource_type_filter: filter.as_ref().map_or(ANY, |filter| filter.kind),
            resource_name_filter: filter.as_ref().map(|filter| filter.name.clone()),
            pattern_type_filter: filter.as_ref().map_or(ANY, |filter| filter.pattern),
            principal_filter: None,
            host_filter: None,
            operation: ANY,
            permission_type: ANY,
        };
        let response = cluster.call(Target::Any, request, |response| response.error_code)?;
        check(response.error_code, response.error_message.as_deref())?;
        for resource in response.resources {
            let pattern =
                Pattern { kind: resource.resource_type, name: resource.resource_name, pattern: resource.pattern_type };
            let entries = resource.acls.into_iter().map(|acl| Entry {
                principal: acl.principal,
                host: acl.host,
                operation: acl.operation,
                permission: acl.permission_type,
            });
            if !found.iter().any(|(known, _)| *known == pattern) {
                found.push((pattern, entries.collect()));
            }
        }
    }
    let principals = options.values("principal");
    if principals.is_empty() {
        print(&found, |_| true);
    }
    for principal in principals {
        println!("ACLs for principal `{}`", principal.trim());
        print(&found, |entry| entry.principal == principal.trim());
    }
    Ok(())
}

fn print(found: &Wanted, is_wanted: impl Fn(&Entry) -> bool) {
    for (resource, entries) in found {
        let entries: Vec<Entry> = entries.iter().filter(|entry| is_wanted(entry)).cloned().collect();
        if !entries.is_empty() {
            println!("Current ACLs for resource `{resource}`: \n {} \n", shown(&entries));
        }
    }
}
