//! Runs the simulated cluster from many seeds. For each that fails it prints what does not hold, the timeline, and the
//! command that repeats it.

use std::io::Write as _;
use std::process::ExitCode;
use tests::sim::scenario::{self, Outcome, Plan};
use tests::sim::trace::{Detail, keep_logs};

/// Lines of the timeline that are printed.
const LINES: usize = 60;

struct Options {
    seeds: u64,
    first_seed: u64,
    detail: Detail,
    plan: Plan,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 20, first_seed: 1, detail: Detail::Hash, plan: Plan::whole() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = |value: Option<String>| {
            let value = value.ok_or_else(|| format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{word}: {value} is not a number"))
        };
        match word.as_str() {
            "--seeds" => options.seeds = number(words.next())?,
            "--first-seed" => options.first_seed = number(words.next())?,
            "--coordinators" => options.plan = Plan::coordinators(),
            "--story" => options.detail = Detail::Story,
            "--events" => options.detail = Detail::Events,
            "--log" => {
                options.detail = options.detail.max(Detail::Story);
                keep_logs(&words.next().ok_or("--log needs a filter, such as info")?);
            }
            _ => {
                return Err(format!(
                    "{word} is unknown; there are --seeds N --first-seed S --coordinators --story --events --log FILTER"
                ));
            }
        }
    }
    Ok(options)
}

/// A run; a panic in it is a violation too.
fn run(seed: u64, plan: &Plan) -> Outcome {
    let caught = std::panic::catch_unwind(|| scenario::run(seed, plan));
    caught.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            violation: Some(format!("panic: {}", text.unwrap_or_default())),
            trace: (0, 0),
            ended: 0,
            answered: 0,
            lines: Vec::new(),
        }
    })
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            let _ = writeln!(out, "simulate: {problem}");
            return ExitCode::from(2);
        }
    };
    let plan = Plan { detail: options.detail, ..options.plan };
    let mut failed = Vec::new();
    for seed in options.first_seed..options.first_seed + options.seeds {
        let outcome = run(seed, &plan);
        let (hash, events) = outcome.trace;
        let word = if outcome.violation.is_some() { "FAILED" } else { "ok" };
        let seconds = outcome.ended / 1_000_000;
        let _ = writeln!(
            out,
            "seed {seed}: {word}, {seconds} s, {events} events, {} requests, trace {hash:016x}",
            outcome.answered
        );
        let mut lines = outcome.lines;
        if let Some(violation) = outcome.violation {
            if lines.is_empty() {
                // The same seed gives the same run, so it can be told afterwards.
                lines = run(seed, &Plan { detail: Detail::Story, ..plan.clone() }).lines;
                lines.drain(..lines.len().saturating_sub(LINES));
            }
            failed.push((seed, violation));
        }
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
        if let Some((_, violation)) = failed.last().filter(|(failed, _)| *failed == seed) {
            let _ = writeln!(out, "  {violation}\n  repeat with: make sim SEEDS=1 FIRST_SEED={seed}");
        }
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
