//! Plays the cases of known bugs: with all defences, and with each that a case names turned off.

use std::io::Write as _;
use std::process::ExitCode;
use tests::sim::trace::{Detail, keep_logs};
use tests::wounds::{Case, all, play, tell};

/// The first seed that fails, of so many from 1 on.
fn first_failure(case: &Case, seeds: u64, off: Option<&'static str>) -> Option<(u64, String)> {
    (1..=seeds).find_map(|seed| play(case, seed, off).err().map(|problem| (seed, problem)))
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let only = words.next().unwrap_or_default();
    let seeds = words.next().and_then(|word| word.parse().ok());
    if let Some(filter) = words.next() {
        keep_logs(&filter);
    }
    let told = words.next();
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = std::io::stdout();
    let mut is_good = true;
    for case in all().filter(|case| case.name.contains(&only) || case.known.contains(&only)) {
        let seeds = seeds.unwrap_or(case.seeds);
        let _ = writeln!(out, "{}\n  {}", case.name, case.known);
        match first_failure(case, seeds, None) {
            None => drop(writeln!(out, "  holds in {seeds} seeds")),
            Some((seed, problem)) => {
                is_good = false;
                for line in tell(case, (seed, None), Detail::Story).1 {
                    let _ = writeln!(out, "    {line}");
                }
                let _ = writeln!(out, "  FAILS with seed {seed}: {problem}");
            }
        }
        for off in case.off {
            if told.as_deref() == Some(off) {
                for line in tell(case, (1, Some(off)), Detail::Story).1 {
                    let _ = writeln!(out, "    {line}");
                }
            }
            match first_failure(case, case.seeds, Some(off)) {
                Some((seed, problem)) => {
                    let problem: String = problem.chars().take(140).collect();
                    let _ = writeln!(out, "  without {off}: seed {seed}: {problem}");
                }
                None => {
                    is_good = false;
                    let _ = writeln!(out, "  without {off}: NOT SEEN in {} seeds", case.seeds);
                }
            }
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
