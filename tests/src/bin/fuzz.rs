//! Damages bytes of every kind for some seconds, with seeds that were not used before. Prints the seed of what it finds.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tests::fuzz::{AREAS, round};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let seconds = words.next().and_then(|word| word.parse().ok()).unwrap_or(60);
    let first_seed: Option<u64> = words.next().and_then(|word| word.parse().ok());
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it runs is the user's wish; rounds follow from their seeds"
    )]
    let (started, wall) = (std::time::Instant::now(), std::time::SystemTime::now());
    let since_epoch = wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut seed = first_seed.unwrap_or(since_epoch.as_secs() << 24);
    let first = seed;
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = std::io::stdout();
    while started.elapsed() < Duration::from_secs(seconds) {
        for area in AREAS {
            if let Err(problem) = round(area, seed) {
                let _ = writeln!(out, "{problem}\n  repeat with: make fuzz SECONDS=1 FIRST_SEED={seed}");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
    }
    let _ = writeln!(out, "{} rounds of {} kinds, from seed {first}, nothing found", seed - first, AREAS.len());
    ExitCode::SUCCESS
}
