//! Plants each bug of the table in turn and runs the simulated cluster until a checker sees it. Fails if one is not seen.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::mutants::{ALL, Mutant, checker, run};

struct Options {
    seeds: u64,
    first_seed: u64,
    all_seeds: bool,
    only: Option<String>,
}

/// What became of one run with a bug.
struct Found {
    seed: u64,
    violation: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 40, first_seed: 1, all_seeds: false, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = |value: Option<String>| {
            let value = value.ok_or_else(|| format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{word}: {value} is not a number"))
        };
        match word.as_str() {
            "--seeds" => options.seeds = number(words.next())?,
            "--first-seed" => options.first_seed = number(words.next())?,
            "--all-seeds" => options.all_seeds = true,
            "--only" => options.only = Some(words.next().ok_or("--only needs a name")?),
            _ => {
                return Err(format!("{word} is unknown; there are --seeds N --first-seed S --all-seeds --only NAME"));
            }
        }
    }
    Ok(options)
}

/// Runs with one bug: until it is seen, or all seeds. A seed that fails without the bug proves nothing and is left out.
fn hunt(mutant: &Mutant, options: &Options, healthy: &Mutex<BTreeMap<(usize, u64), bool>>) -> Vec<Found> {
    let plan = (mutant.plan)();
    let mut found = Vec::new();
    for seed in options.first_seed..options.first_seed + options.seeds {
        let outcome = run(seed, &plan, Some(mutant.name));
        let mut violation = outcome.violation;
        if violation.is_some() {
            let key = (mutant.plan as usize, seed);
            let known = healthy.lock().ok().and_then(|known| known.get(&key).copied());
            let is_healthy = known.unwrap_or_else(|| run(seed, &plan, None).violation.is_none());
            if let Ok(mut known) = healthy.lock() {
                known.insert(key, is_healthy);
            }
            violation = violation.filter(|_| is_healthy);
        }
        let is_seen = violation.is_some();
        found.push(Found { seed, violation });
        if is_seen && !options.all_seeds {
            break;
        }
    }
    found
}

fn row(mutant: &Mutant, found: &[Found]) -> String {
    let seen: Vec<&Found> = found.iter().filter(|found| found.violation.is_some()).collect();
    let Some(first) = seen.first() else {
        return format!("{:28} NOT SEEN in {} seeds: {}", mutant.name, found.len(), mutant.breaks);
    };
    let mut checkers: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in seen.iter().filter_map(|found| found.violation.as_deref()) {
        *checkers.entry(checker(violation)).or_default() += 1;
    }
    let checkers: Vec<String> = checkers.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let of = format!("{} of {}", seen.len(), found.len());
    format!("{:28} {of:>9}, first seed {:>3}: {}", mutant.name, first.seed, checkers.join(", "))
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            let _ = writeln!(out, "mutants: {problem}");
            return ExitCode::from(2);
        }
    };
    // Assertions that stop a server are what is looked for.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted: Vec<&Mutant> =
        ALL.iter().filter(|mutant| options.only.as_deref().is_none_or(|only| mutant.name.contains(only))).collect();
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let healthy = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(mutant) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = hunt(mutant, &options, &healthy);
                    let first = found.iter().find_map(|found| found.violation.as_deref()).unwrap_or("");
                    let text: String = first.chars().take(160).collect();
                    let _ = writeln!(std::io::stdout(), "{}\n    {text}", row(mutant, &found));
                    missed.fetch_add(usize::from(first.is_empty()), Ordering::Relaxed);
                }
            });
        }
    });
    let missed = missed.into_inner();
    let _ = writeln!(out, "{} planted bugs, {missed} not seen", wanted.len());
    if missed == 0 && !wanted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
