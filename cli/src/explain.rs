//! `castellan explain`: one answer over both halves to "why is it so": which fact, since when, why, what to do. Looks and
//! changes nothing.

mod answer;
mod controller;
mod lag;
mod rebalance;
mod request;
mod under_replicated;
mod world;

use crate::cluster::load_settings;
use crate::up::layout::{Layout, Role};
use crate::up::{command_config_argument, dir, dir_argument, parse};
use answer::Answer;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;
use std::process::ExitCode;
use world::{Places, World};

/// A question: its name, what it asks, and who answers.
type Question = (&'static str, &'static str, Asks);

/// Who is asked.
#[derive(Clone, Copy)]
enum Asks {
    /// Brokers and coordinators together.
    Both(fn(&mut World, &ArgMatches) -> anyhow::Result<Answer>),
    /// Each coordinator by itself.
    Coordinators(fn(&Places, &ArgMatches) -> anyhow::Result<Answer>),
}

/// Every question.
const QUESTIONS: [Question; 5] = [
    (
        "under-replicated",
        "partitions with fewer replicas in sync than assigned: who lacks, and why",
        Asks::Both(|world, _| under_replicated::explain(world)),
    ),
    (
        "lag",
        "groups that are behind: by how much, who has the partition, and what holds it up",
        Asks::Both(lag::explain),
    ),
    (
        "controller",
        "who is the controller, since when, how often it changed, and who leads the coordinators",
        Asks::Both(|world, _| controller::explain(world)),
    ),
    ("rebalance", "groups that are not settled: who is there, and who is waited for", Asks::Both(rebalance::explain)),
    (
        "request",
        "a request to the coordinators, or the slowest of late: where it spent its time, server by server",
        Asks::Coordinators(request::explain),
    ),
];

/// The tool. Ends with 0 if there is nothing to explain, with 1 if something is found wrong.
pub(crate) fn explain(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some(matches) = parse(command(), arguments)? else { return Ok(ExitCode::SUCCESS) };
    let Some((name, matches)) = matches.subcommand() else { anyhow::bail!("what is to be explained?") };
    let (_, _, answer) = QUESTIONS.iter().find(|(known, _, _)| *known == name).expect("clap knows these alone");
    let answer = match answer {
        Asks::Both(explain) => {
            let mut world = World::open(places(matches)?)?;
            let answer = match world.is_down() {
                Some(finding) => Answer { findings: vec![finding], ..Answer::default() },
                None => {
                    let mut answer = explain(&mut world, matches)?;
                    answer.add_problems(world.problems());
                    answer
                }
            };
            world.close();
            answer
        }
        Asks::Coordinators(explain) => explain(&places(matches)?, matches)?,
    };
    match matches.get_flag("json") {
        true => println!("{}", answer.json(name)),
        false => print!("{}", answer.text(crate::clock::now_ms())),
    }
    Ok(if answer.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn command() -> Command {
    let place =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("HOST:PORT,...").help(help);
    let mut command = Command::new("castellan explain")
        .about("Why partitions, groups or the controller are as they are; ends with 1 if something is wrong")
        .subcommand_required(true)
        .arg_required_else_help(true);
    for (name, about, _) in QUESTIONS {
        let mut question = Command::new(name)
            .about(about)
            .arg(dir_argument())
            .arg(place("bootstrap-server", "brokers of a cluster that is not in a folder here"))
            .arg(command_config_argument())
            .arg(place("zookeeper", "its coordinators [default: those the brokers name]"))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("one JSON object instead of text"));
        if matches!(name, "lag" | "rebalance") {
            question = question.arg(Arg::new("group").long("group").value_name("GROUP").help("this group alone"));
        }
        if name == "request" {
            let id = Arg::new("request").value_name("ZXID|SESSION:XID").value_parser(request::parse_id);
            question = question.arg(id.help("a write by its zxid, a read by session and xid [default: the slowest]"));
        }
        if name == "lag" {
            let least = Arg::new("least").long("least").value_name("RECORDS").default_value("1");
            question = question.arg(
                least.value_parser(clap::value_parser!(i64).range(1..)).help("a partition that is less behind is well"),
            );
        }
        command = command.subcommand(question);
    }
    command
}

fn places(matches: &ArgMatches) -> anyhow::Result<Places> {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let (brokers, coordinators) = (given("bootstrap-server"), given("zookeeper"));
    let settings = given("command-config").map_or_else(|| Ok(BTreeMap::new()), |file| load_settings(&file))?;
    if brokers.is_some() || coordinators.is_some() {
        return Ok(Places { brokers, coordinators, settings, dir: None });
    }
    let layout = Layout::open(&dir(matches)?)?;
    let (brokers, coordinators) = (layout.connect_string(Role::Broker), layout.connect_string(Role::Coordinator));
    Ok(Places { brokers: Some(brokers), coordinators: Some(coordinators), settings, dir: Some(layout.dir) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
        for (line, problem) in [
            ("lag --group g --least 5", ""),
            ("lag --least 0", "'0'"),
            ("controller --group g", "--group"),
            ("request", ""),
            ("request 0x1c --json", ""),
            ("request 0x1000a2b:5 --zookeeper h:1", ""),
            ("request 0", "SESSION:XID"),
            ("request 5:x", "SESSION:XID"),
        ] {
            let parsed = parse(command(), &line.split(' ').map(str::to_owned).collect::<Vec<_>>());
            let text = parsed.as_ref().map_or_else(|error| error.to_string(), |_| String::new());
            assert!(text.contains(problem) && text.is_empty() == problem.is_empty(), "{line}: {text}");
        }
    }
}
