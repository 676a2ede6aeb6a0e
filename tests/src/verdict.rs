//! The checkers of histories that real clients wrote down, as programs: lines from the files named as arguments or from standard
//! input, and a verdict.

use crate::sim::history::History;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

/// Gives each line to `take`, which says `None` if it makes no sense, and the history to `check`; prints what that says. The exit
/// code is 1 if the history is wrong, 2 if it cannot be read.
pub fn of(
    take: impl Fn(&mut History, &str) -> Option<()>,
    check: impl FnOnce(&mut History) -> Result<String, String>,
) -> ExitCode {
    let (code, said) = match read(&take).map(|mut history| check(&mut history)) {
        Ok(Ok(said)) => (0, said),
        Ok(Err(problem)) => (1, problem),
        Err(problem) => (2, problem),
    };
    let _ = writeln!(std::io::stdout(), "{said}");
    ExitCode::from(code)
}

fn read(take: &impl Fn(&mut History, &str) -> Option<()>) -> Result<History, String> {
    let (mut text, mut files) = (String::new(), std::env::args().skip(1).peekable());
    let read = match files.peek() {
        None => std::io::stdin().read_to_string(&mut text).map(drop),
        Some(_) => files.try_for_each(|file| std::fs::read_to_string(file).map(|more| text.push_str(&more))),
    };
    read.map_err(|error| format!("the history cannot be read: {error}"))?;
    let mut history = History::default();
    for line in text.lines() {
        take(&mut history, line).ok_or_else(|| format!("this line makes no sense: {line}"))?;
    }
    Ok(history)
}
