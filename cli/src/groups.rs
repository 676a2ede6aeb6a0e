//! `kafka-consumer-groups`: lists, describes and deletes consumer groups, and moves their offsets. Consumes nothing.
//!
//! Kafka's tool ends with 0 after most errors and leaves out some line ends; scripts know it that way, so this does too.

mod describe;
pub(crate) mod reset;
mod specs;
pub(crate) mod when;
pub(crate) mod wire;

use crate::client::java_text;
use crate::cluster::{Cluster, load_settings};
use crate::java_order;
use crate::options::{self, Ended, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;
use wire::Listing;

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
const SCENARIOS: [&str; 8] =
    ["to-offset", "shift-by", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "from-file"];
const STATES: [&str; 7] =
    ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"];
const TYPES: [&str; 2] = ["Consumer", "Classic"];

/// A request that cannot be meant: the usage is shown with the message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct IllegalArgument(pub(crate) String);

/// How far a group lags behind the ends of what it has committed offsets of.
pub(crate) struct Lag {
    pub(crate) id: String,
    pub(crate) state: String,
    /// Of the partitions whose end is known.
    pub(crate) lag: i64,
    /// Partitions whose end their leader did not tell.
    pub(crate) unknown: usize,
    /// Why nothing is known of what it has committed.
    pub(crate) problem: Option<String>,
}

/// Every consumer group with its lag, as far as brokers answer who looks only once.
pub(crate) fn lags(cluster: &mut Cluster) -> anyhow::Result<Vec<Lag>> {
    let mut lags = Vec::new();
    for Listing { id, state, .. } in wire::list(cluster, &[], &[])? {
        let lag = lag(cluster, &id);
        let problem = lag.as_ref().err().map(|error| format!("{error:#}"));
        let (lag, unknown) = lag.unwrap_or_default();
        lags.push(Lag { id, state, lag, unknown, problem });
    }
    lags.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(lags)
}

/// The lag of a group, and how many of its partitions are not counted.
fn lag(cluster: &mut Cluster, id: &str) -> anyhow::Result<(i64, usize)> {
    let committed = wire::committed(cluster, id)?;
    let partitions: Vec<_> = committed.keys().cloned().collect();
    let ends = crate::log_offsets::at(cluster, &partitions, crate::log_offsets::LATEST)?;
    let (mut lag, mut unknown) = (0, 0);
    for (partition, offset) in &committed {
        match ends.get(partition) {
            Some(Ok(end)) => lag += (end - offset).max(0),
            _ => unknown += 1,
        }
    }
    Ok((lag, unknown))
}

/// The tool.
pub(crate) fn groups(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = Options::parse(specs::SPECS, arguments).and_then(|options| {
        for sub_action in ["members", "verbose", "offsets"] {
            options.only_with(sub_action, &["describe"])?;
        }
        options.only_with("state", &["describe", "list"])?;
        options.only_with("type", &["list"])?;
        Ok(options)
    });
    let options = match parsed {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{}", error.uncaught());
            return Ok(ExitCode::FAILURE);
        }
    };
    check_options(&options, arguments)?;
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        let message =
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets";
        return Err(options.usage(message).into());
    }
    match act(&options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Ended>() => Err(error),
        Err(error) if error.is::<IllegalArgument>() || error.is::<options::OptionError>() => {
            Err(options.usage(&error.to_string()).into())
        }
        Err(error) => {
            let text = java_text(&error);
            // As the exception's own message; what caused it comes with the trace.
            let message = text.split("\nCaused by: ").next().unwrap_or_default();
            print_error(&format!("Executing consumer group command failed due to {message}"));
            eprintln!("{text}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn act(options: &Options) -> anyhow::Result<()> {
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings)?;
    let timeout = options.number::<u64>("timeout")?.unwrap_or(5000);
    cluster.set_call_timeout(Duration::from_millis(timeout));
    if options.has("list") {
        list(options, &mut cluster)
    } else if options.has("describe") {
        describe::describe(options, &mut cluster)
    } else if options.has("delete") {
        delete(options, &mut cluster)
    } else if options.has("reset-offsets") {
        reset::reset(options, &mut cluster)
    } else {
        reset::delete_offsets(options, &mut cluster)
    }
}

/// Options in the order of a Java set of them.
fn set_of(names: &[&'static str]) -> String {
    let names = java_order::hash_order(names.to_vec(), 16, |name| 31_i32.wrapping_add(java_order::hash(name)));
    names.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", ")
}

fn check_options(options: &Options, arguments: &[String]) -> anyhow::Result<()> {
    options.help_or_version(
        arguments,
        "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset \
         consumer group offsets.",
    )?;
    options.require(&["bootstrap-server"])?;
    let has_group = options.has("group") || options.has("all-groups");
    let levels = ["list", "describe", "delete", "reset-offsets"];
    if options.has("describe") {
        let one_of = format!("Option [describe] takes one of these options: {}", set_of(&levels));
        usage_unless(options, has_group, &one_of)?;
        let views = ["members", "offsets", "state"].iter().filter(|view| options.has(view)).count();
        let at_most = "Option [describe] takes at most one of these options: [members], [offsets], [state]";
        usage_unless(options, views <= 1, at_most)?;
        let no_value = !options.has("state") || options.value("state")?.is_none();
        usage_unless(options, no_value, "Option [describe] does not take a value for [state]")?;
    }
    let scopes = set_of(&["group", "all-groups"]);
    if options.has("delete") {
        usage_unless(options, has_group, &format!("Option [delete] takes one of these options: {scopes}"))?;
        let message = "The consumer does not support topic-specific offset deletion from a consumer group.";
        usage_unless(options, !options.has("topic"), message)?;
    }
    if options.has("delete-offsets") {
        let complete = options.has("group") && options.has("topic");
        usage_unless(options, complete, &format!("Option [delete-offsets] takes the following options: {scopes}"))?;
    }
    if options.has("reset-offsets") {
        let both = options.has("dry-run") && options.has("execute");
        usage_unless(options, !both, "Option [reset-offsets] only accepts one of [execute] and [dry-run]")?;
        if !options.has("dry-run") && !options.has("execute") {
            eprintln!(
                "WARN: No action will be performed as the --execute option is missing.In a future major release, the \
                 default behavior of this command will be to prompt the user before executing the reset rather than doing \
                 a dry run. You should add the --dry-run option explicitly if you are scripting this command and want to \
                 keep the current default behavior without prompting."
            );
        }
        usage_unless(options, has_group, &format!("Option [reset-offsets] takes one of these options: {scopes}"))?;
        for scenario in SCENARIOS {
            let others: Vec<&str> = SCENARIOS.into_iter().filter(|other| *other != scenario).collect();
            options.exclude(scenario, &others)?;
        }
    }
    options.exclude("group", &["all-groups", "list"])?;
    Ok(options.exclude("topic", &["describe", "list"])?)
}

fn usage_unless(options: &Options, fine: bool, message: &str) -> Result<(), Ended> {
    if fine { Ok(()) } else { Err(options.usage(message)) }
}

/// An error as the tool shows it.
fn print_error(message: &str) {
    println!("\nError: {message}");
}

fn list(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let (with_type, with_state) = (options.has("type"), options.has("state"));
    if !with_type && !with_state {
        for group in wire::list(cluster, &[], &[])? {
            println!("{}", group.id);
        }
        return Ok(());
    }
    let types = options.value("type")?.map_or_else(Vec::new, |text| chosen(text, &TYPES));
    let types = types.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| invalid(options, "type", &TYPES))?;
    let states = options.value("state")?.map_or_else(Vec::new, |text| chosen(text, &STATES));
    let states = states.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| invalid(options, "state", &STATES))?;
    let groups = wire::list(cluster, &states, &types)?;
    let width = groups.iter().map(|group| group.id.chars().count()).max().unwrap_or(0).max(15) + 10;
    let line = |id: &str, kind: &str, state: &str| {
        let mut line = format!("{id:width$}");
        if with_type {
            line += &format!(" {kind:20}");
        }
        if with_state {
            line += &format!(" {state:20}");
        }
        println!("{line}");
    };
    line("GROUP", "TYPE", "STATE");
    for Listing { id, kind, state, .. } in &groups {
        let known =
            |text: &str, known: &[&str]| if known.contains(&text) { text.to_owned() } else { "Unknown".to_owned() };
        let kind = match kind.as_str() {
            "classic" => "Classic".to_owned(),
            "consumer" => "Consumer".to_owned(),
            other => known(other, &TYPES),
        };
        line(id, &kind, &known(state, &STATES));
    }
    Ok(())
}

/// The words of a list, each as it is known; `None` stands for an unknown one.
fn chosen(list: &str, known: &[&'static str]) -> Vec<Option<String>> {
    let find =
        |word: &str| known.iter().find(|known| known.eq_ignore_ascii_case(word)).map(|known| (*known).to_owned());
    let words: BTreeSet<&str> = list.split(',').map(str::trim).collect();
    words.into_iter().filter(|_| !list.is_empty()).map(find).collect()
}

fn invalid(options: &Options, what: &str, known: &[&str]) -> IllegalArgument {
    let given = options.value(what).ok().flatten().unwrap_or_default();
    match what {
        "state" => IllegalArgument(format!("Invalid state list '{given}'. Valid states are: {}", known.join(", "))),
        _ => IllegalArgument(format!(
            "Invalid types list '{}'. Valid types are: {}",
            given.to_lowercase(),
            known.join(", ")
        )),
    }
}

/// The groups that the options name, each once.
fn wanted(options: &Options, cluster: &mut Cluster) -> anyhow::Result<Vec<String>> {
    if options.has("all-groups") {
        return Ok(wire::list(cluster, &[], &[]).map_err(reset::wrapped)?.into_iter().map(|group| group.id).collect());
    }
    let mut groups: Vec<String> = Vec::new();
    for group in options.values("group") {
        if !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }
    Ok(groups)
}

fn delete(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let groups = wanted(options, cluster)?;
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for group in java_order::hash_order(groups, 16, |group| java_order::hash(group)) {
        match wire::delete(cluster, &group) {
            Ok(()) => deleted.push(group),
            Err(error) => failed.push((group, error)),
        }
    }
    if failed.is_empty() {
        println!("Deletion of requested consumer groups ('{}') was successful.", deleted.join(", "));
        return Ok(());
    }
    print_error("Deletion of some consumer groups failed:");
    for (group, error) in &failed {
        let error = java_text(error);
        println!("* Group '{group}' could not be deleted due to: java.util.concurrent.ExecutionException: {error}");
    }
    if !deleted.is_empty() {
        println!("\nThese consumer groups were deleted successfully: '{}', '", deleted.join("'"));
    }
    Ok(())
}
