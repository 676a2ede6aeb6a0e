//! Runs the simulated cluster from many seeds, several at a time, each world in a thread of its own. For each that fails it
//! prints what does not hold, the timeline, and the command that repeats it; on demand it leaves out what is not needed to
//! fail.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use tests::sim::scenario::{Outcome, Plan, run_caught};
use tests::sim::trace::{Detail, keep_logs};

/// Lines of the timeline that are printed.
const LINES: usize = 60;
/// One seed in so many is run twice: both runs must be the same.
const TWICE_EVERY: u64 = 20;
/// Runs that leaving out faults may take.
const MINIMIZE_RUNS: usize = 300;

const USAGE: &str = "there are --seeds N --first-seed S --jobs N --coordinators --shares --only FAULT,FAULT,... --minimize --story \
                     --events --log FILTER";

struct Options {
    seeds: u64,
    first_seed: u64,
    jobs: u64,
    minimizes: bool,
    detail: Detail,
    only: Option<BTreeSet<usize>>,
    has_coordinators_alone: bool,
    has_shares: bool,
}

impl Options {
    fn plan(&self, seed: u64) -> Plan {
        let plan = match (self.has_coordinators_alone, self.has_shares) {
            (true, _) => Plan::coordinators(),
            (false, true) => Plan::shares(),
            (false, false) => Plan::of_seed(seed),
        };
        Plan { detail: self.detail, only: self.only.clone(), ..plan }
    }

    /// The command that repeats a run.
    fn command(&self, seed: u64, only: Option<&[usize]>) -> String {
        let mut extra = String::new();
        if self.has_coordinators_alone {
            extra += " --coordinators";
        }
        if self.has_shares {
            extra += " --shares";
        }
        if let Some(only) = only {
            let numbers: Vec<String> = only.iter().map(usize::to_string).collect();
            extra += &format!(" --only {}", numbers.join(","));
        }
        let extra = if extra.is_empty() { extra } else { format!(" SIM_FLAGS=\"{}\"", extra.trim()) };
        format!("make sim SEEDS=1 FIRST_SEED={seed}{extra}")
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seeds: 20,
        first_seed: 1,
        jobs: 1,
        minimizes: false,
        detail: Detail::Hash,
        only: None,
        has_coordinators_alone: false,
        has_shares: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = |value: Option<String>| {
            let value = value.ok_or_else(|| format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{word}: {value} is not a number"))
        };
        match word.as_str() {
            "--seeds" => options.seeds = number(words.next())?,
            "--first-seed" => options.first_seed = number(words.next())?,
            "--jobs" => options.jobs = number(words.next())?.max(1),
            "--coordinators" => options.has_coordinators_alone = true,
            "--shares" => options.has_shares = true,
            "--only" => {
                let list = words.next().ok_or("--only needs numbers of faults")?;
                let numbers = list.split(',').filter(|number| !number.is_empty()).map(str::parse);
                let numbers: Result<_, _> = numbers.collect();
                options.only = Some(numbers.map_err(|_| format!("--only: {list} is not a list of numbers"))?);
            }
            "--minimize" => options.minimizes = true,
            "--story" => options.detail = Detail::Story,
            "--events" => options.detail = Detail::Events,
            "--log" => {
                options.detail = options.detail.max(Detail::Story);
                keep_logs(&words.next().ok_or("--log needs a filter, such as info")?);
            }
            _ => return Err(format!("{word} is unknown; {USAGE}")),
        }
    }
    Ok(options)
}

/// Leaves out faults, many at a time at first, for as long as the run still fails. What is left is needed.
fn minimize(seed: u64, plan: &Plan, suffered: Vec<usize>) -> Vec<usize> {
    let fails = |faults: &[usize]| {
        let only = Some(faults.iter().copied().collect());
        run_caught(seed, &Plan { only, detail: Detail::Hash, ..plan.clone() }).violation.is_some()
    };
    let mut faults = suffered;
    let (mut size, mut runs) = (faults.len().div_ceil(2), 0);
    while size > 0 && runs < MINIMIZE_RUNS {
        let mut from = 0;
        while from < faults.len() && runs < MINIMIZE_RUNS {
            let mut fewer = faults.clone();
            fewer.drain(from..(from + size).min(faults.len()));
            runs += 1;
            if fails(&fewer) {
                faults = fewer;
            } else {
                from += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    faults
}

/// Runs a seed; its story, and whether it holds.
fn report(seed: u64, options: &Options) -> (String, Outcome) {
    let plan = options.plan(seed);
    let mut outcome = run_caught(seed, &plan);
    if seed.is_multiple_of(TWICE_EVERY) && outcome.violation.is_none() {
        let again = run_caught(seed, &plan);
        if again.trace != outcome.trace {
            outcome.violation = Some(format!("two runs of one seed differ: {:?} {:?}", outcome.trace, again.trace));
        }
    }
    let (hash, events) = outcome.trace;
    let word = match &outcome.violation {
        Some(_) => "FAILED",
        None if outcome.is_undecided => "undecided",
        None => "ok",
    };
    let seconds = outcome.ended / 1_000_000;
    let mut text = format!(
        "seed {seed}: {word}, {seconds} s, {} faults, {events} events, {} requests, trace {hash:016x}\n",
        outcome.suffered.len(),
        outcome.answered
    );
    let mut only: Option<Vec<usize>> = options.only.as_ref().map(|only| only.iter().copied().collect());
    if outcome.violation.is_some() && options.minimizes {
        // A panic takes its list with it: the numbers are those of all faults that there may be.
        let all = if outcome.suffered.is_empty() { (1..=400).collect() } else { outcome.suffered.clone() };
        only = Some(minimize(seed, &plan, all));
    }
    if outcome.violation.is_some() && (outcome.lines.is_empty() || options.minimizes) {
        // The same seed gives the same run, so it can be told afterwards.
        let detail = plan.detail.max(Detail::Story);
        let told =
            run_caught(seed, &Plan { detail, only: only.as_ref().map(|only| only.iter().copied().collect()), ..plan });
        outcome.lines = told.lines;
        outcome.lines.drain(..outcome.lines.len().saturating_sub(LINES));
        outcome.violation = told.violation.or(outcome.violation);
    }
    for line in &outcome.lines {
        text += &format!("  {line}\n");
    }
    if let Some(violation) = &outcome.violation {
        text += &format!("  {violation}\n  repeat with: {}\n", options.command(seed, only.as_deref()));
    }
    (text, outcome)
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
    let next = AtomicU64::new(options.first_seed);
    let end = options.first_seed + options.seeds;
    let (mut failed, mut undecided, mut seconds, mut requests, mut faults) = (Vec::new(), 0, 0, 0, 0);
    std::thread::scope(|scope| {
        let (sender, reports) = mpsc::channel();
        for _ in 0..options.jobs {
            let (sender, options, next) = (sender.clone(), &options, &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send((seed, report(seed, options))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, (text, outcome)) in reports {
            let _ = write!(out, "{text}");
            seconds += outcome.ended / 1_000_000;
            requests += outcome.answered;
            undecided += usize::from(outcome.is_undecided);
            faults += outcome.suffered.len();
            if outcome.violation.is_some() {
                failed.push(seed);
            }
        }
    });
    let (count, bad) = (options.seeds, failed.len());
    let hours = seconds as f64 / 3600.0;
    let _ = writeln!(
        out,
        "{count} seeds, {hours:.1} simulated hours, {faults} faults, {requests} requests, {undecided} undecided, {bad} failed"
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
