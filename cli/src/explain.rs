//! `castellan explain`: one answer over both halves to "why is it so": which fact, since when, why, what to do. Looks and
//! changes nothing.

mod answer;
mod controller;
mod lag;
mod rebalance;
mod under_replicated;
mod world;

use crate::up::layout::{Layout, Role};
use crate::up::{dir, dir_argument, parse};
use answer::Answer;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::process::ExitCode;
use world::{Places, World};

/// A question: its name, what it asks, and who answers.
type Question = (&'static str, &'static str, fn(&mut World, &ArgMatches) -> anyhow::Result<Answer>);

/// Every question.
const QUESTIONS: [Question; 4] = [
    ("under-replicated", "partitions with fewer replicas in sync than assigned: who lacks, and why", |world, _| {
        under_replicated::explain(world)
    }),
    ("lag", "groups that are behind: by how much, who has the partition, and what holds it up", lag::explain),
    (
        "controller",
        "who is the controller, since when, how often it changed, and who leads the coordinators",
        |world, _| controller::explain(world),
    ),
    ("rebalance", "groups that are not settled: who is there, and who is waited for", rebalance::explain),
];

/// The tool. Ends with 0 if there is nothing to explain, with 1 if something is found wrong.
pub(crate) fn explain(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some(matches) = parse(command(), arguments)? else { return Ok(ExitCode::SUCCESS) };
    let Some((name, matches)) = matches.subcommand() else { anyhow::bail!("what is to be explained?") };
    let (_, _, answer) = QUESTIONS.iter().find(|(known, _, _)| *known == name).expect("clap knows these alone");
    let mut world = World::open(places(matches)?)?;
    let mut answer = answer(&mut world, matches)?;
    answer.add_problems(world.problems());
    world.close();
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
            .arg(place("zookeeper", "its coordinators [default: those the brokers name]"))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("one JSON object instead of text"));
        if matches!(name, "lag" | "rebalance") {
            question = question.arg(Arg::new("group").long("group").value_name("GROUP").help("this group alone"));
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
    if brokers.is_some() || coordinators.is_some() {
        return Ok(Places { brokers, coordinators, dir: None });
    }
    let layout = Layout::open(&dir(matches)?)?;
    let (brokers, coordinators) = (layout.connect_string(Role::Broker), layout.connect_string(Role::Coordinator));
    Ok(Places { brokers: Some(brokers), coordinators: Some(coordinators), dir: Some(layout.dir) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
        for (line, problem) in
            [("lag --group g --least 5", ""), ("lag --least 0", "'0'"), ("controller --group g", "--group")]
        {
            let parsed = parse(command(), &line.split(' ').map(str::to_owned).collect::<Vec<_>>());
            let text = parsed.as_ref().map_or_else(|error| error.to_string(), |_| String::new());
            assert!(text.contains(problem) && text.is_empty() == problem.is_empty(), "{line}: {text}");
        }
    }
}
