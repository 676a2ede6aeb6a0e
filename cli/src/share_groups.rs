//! `kafka-share-groups`: lists, describes and deletes share groups (KIP-932), and moves where they begin. Consumes nothing.
//!
//! Kafka's tool ends with 0 after most errors; scripts know it that way, so this does too.

mod describe;
mod offsets;
mod specs;
mod wire;

use crate::client::java_text;
use crate::cluster::{Cluster, load_settings};
use crate::groups::IllegalArgument;
use crate::groups::reset::wrapped;
use crate::groups::wire::{self as all_groups, Listing};
use crate::java_order::{hash, hash_order};
use crate::options::{self, Ended, Options};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
const SCENARIOS: [&str; 3] = ["to-datetime", "to-earliest", "to-latest"];
const STATES: [&str; 3] = ["Stable", "Empty", "Dead"];

/// The tool.
pub(crate) fn share_groups(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = Options::parse(specs::SPECS, arguments).and_then(|options| {
        for sub_action in ["members", "offsets", "verbose"] {
            options.only_with(sub_action, &["describe"])?;
        }
        options.only_with("state", &["describe", "list"])?;
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
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets.";
        return Err(options.usage(message).into());
    }
    match act(&options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Ended>() => Err(error),
        Err(error) if error.is::<IllegalArgument>() => Err(options.usage(&error.to_string()).into()),
        Err(error) => {
            let text = java_text(&error);
            print_error(&format!("Executing share group command failed due to {text}"));
            // As the trace begins.
            let of_options = error.downcast_ref::<options::OptionError>().map(options::OptionError::uncaught);
            let thrown = of_options.unwrap_or(text);
            eprintln!("{}", thrown.trim_start_matches("Exception in thread \"main\" "));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn act(options: &Options) -> anyhow::Result<()> {
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings)?;
    let timeout = options.number::<u64>("timeout")?.unwrap_or(30_000);
    cluster.set_call_timeout(Duration::from_millis(timeout));
    if options.has("list") {
        list(options, &mut cluster)
    } else if options.has("describe") {
        describe::describe(options, &mut cluster)
    } else if options.has("delete") {
        delete(options, &mut cluster)
    } else if options.has("reset-offsets") {
        offsets::reset(options, &mut cluster)
    } else {
        offsets::delete(options, &mut cluster)
    }
}

fn check_options(options: &Options, arguments: &[String]) -> anyhow::Result<()> {
    let what = "This tool helps to list, describe, reset and delete share groups.";
    options.help_or_version(arguments, what)?;
    options.require(&["bootstrap-server"])?;
    let usage_unless = |fine: bool, message: &str| if fine { Ok(()) } else { Err(options.usage(message)) };
    let has_group = options.has("group") || options.has("all-groups");
    if options.has("describe") {
        usage_unless(has_group, "Option [describe] takes one of these options: [all-groups], [group]")?;
        let views = ["members", "offsets", "state"].iter().filter(|view| options.has(view)).count();
        let at_most = "Option [describe] takes at most one of these options: [members], [offsets], [state]";
        usage_unless(views <= 1, at_most)?;
        let no_value = !options.has("state") || options.value("state")?.is_none();
        usage_unless(no_value, "Option [describe] does not take a value for [state]")?;
    }
    if options.has("delete") {
        usage_unless(has_group, "Option [delete] takes the options [group] or [all-groups]")?;
        let both = options.has("group") && options.has("all-groups");
        usage_unless(!both, "Option [delete] takes either [group] or [all-groups], not both.")?;
        usage_unless(!options.has("topic"), "Option [delete] does not take the option: [topic]")?;
    }
    if options.has("delete-offsets") {
        let complete = options.has("group") && options.has("topic");
        usage_unless(complete, "Option [delete-offsets] takes the following options: [group], [topic]")?;
    }
    if options.has("reset-offsets") {
        let (dry_run, execute) = (options.has("dry-run"), options.has("execute"));
        usage_unless(!(dry_run && execute), "Option [reset-offsets] only accepts one of [execute] and [dry-run]")?;
        usage_unless(dry_run || execute, "Option [reset-offsets] takes the option: [execute] or [dry-run]")?;
        usage_unless(options.has("group"), "Option [reset-offsets] takes the option: [group]")?;
        let has_scope = options.has("topic") || options.has("all-topics");
        usage_unless(has_scope, "Option [reset-offsets] takes one of these options: [all-topics], [topic]")?;
        let has_scenario = SCENARIOS.iter().any(|scenario| options.has(scenario));
        let one_of = "Option [reset-offsets] takes one of these options: [to-datetime], [to-earliest], [to-latest]";
        usage_unless(has_scenario, one_of)?;
        for scenario in SCENARIOS {
            let others: Vec<&str> = SCENARIOS.into_iter().filter(|other| *other != scenario).collect();
            options.exclude(scenario, &others)?;
        }
    }
    options.exclude("group", &["all-groups", "list"])?;
    Ok(options.exclude("topic", &["list", "describe"])?)
}

/// An error as the tool shows it.
fn print_error(message: &str) {
    println!("\nError: {message}");
}

fn share_groups_in(cluster: &mut Cluster, states: &[String]) -> anyhow::Result<Vec<Listing>> {
    all_groups::list_those(cluster, states, &["share".to_owned()], |group| group.kind.eq_ignore_ascii_case("share"))
}

fn list(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    if !options.has("state") {
        for group in share_groups_in(cluster, &[]).map_err(wrapped)? {
            println!("{}", group.id);
        }
        return Ok(());
    }
    let given = options.value("state")?.unwrap_or_default();
    let mut states = Vec::new();
    for word in given.split(',').filter(|_| !given.is_empty()) {
        let Some(state) = STATES.iter().find(|state| state.eq_ignore_ascii_case(word.trim())) else {
            let known = STATES.join(", ");
            return Err(IllegalArgument(format!("Invalid state list '{given}'. Valid states are: {known}")).into());
        };
        states.push((*state).to_owned());
    }
    let groups = share_groups_in(cluster, &states).map_err(wrapped)?;
    let width = groups.iter().map(|group| group.id.chars().count()).max().unwrap_or(0).max(15);
    println!("{:width$} STATE", "GROUP");
    for group in groups {
        println!("{:width$} {}", group.id, group.state);
    }
    Ok(())
}

/// The groups that the options name, each once.
fn wanted(options: &Options, cluster: &mut Cluster) -> anyhow::Result<Vec<String>> {
    if options.has("all-groups") {
        let groups = share_groups_in(cluster, &[]).map_err(wrapped)?;
        return Ok(groups.into_iter().map(|group| group.id).collect());
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
    let there: BTreeMap<String, String> =
        share_groups_in(cluster, &[]).map_err(wrapped)?.into_iter().map(|group| (group.id, group.state)).collect();
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for id in wanted(options, cluster)? {
        let problem = match there.get(&id).map(String::as_str) {
            None => Some(format!("java.lang.IllegalArgumentException: Group '{id}' is not a share group.")),
            Some("Empty") => all_groups::delete(cluster, &id).err().map(|error| java_text(&error)),
            Some("Dead") => Some(format!("java.lang.IllegalStateException: Share group '{id}' group state is DEAD.")),
            Some(_) => {
                Some(format!("org.apache.kafka.common.errors.GroupNotEmptyException: Share group '{id}' is not EMPTY."))
            }
        };
        match problem {
            None => deleted.push(id),
            Some(problem) => failed.push((id, problem)),
        }
    }
    let deleted: Vec<String> = hash_order(deleted, 16, |id| hash(id)).into_iter().map(|id| format!("'{id}'")).collect();
    if failed.is_empty() {
        println!("Deletion of requested share groups ({}) was successful.", deleted.join(", "));
        return Ok(());
    }
    print_error("Deletion of some share groups failed:");
    for (group, problem) in hash_order(failed, 16, |(id, _)| hash(id)) {
        println!("* Group '{group}' could not be deleted due to: {problem}");
    }
    if !deleted.is_empty() {
        println!("\nThese share groups were deleted successfully: {}", deleted.join(", "));
    }
    Ok(())
}
