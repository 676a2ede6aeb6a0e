//! `kafka-server-stop` and `zookeeper-server-stop`: ask this user's servers to end, however they were started. Only
//! processes that run the very server next to this program are meant. Does not wait for them.

use crate::up::process::sibling;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::ExitCode;

/// `kafka-server-stop`.
pub(crate) fn kafka(_: &[String]) -> anyhow::Result<ExitCode> {
    stop("broker", "No kafka server to stop")
}

/// `zookeeper-server-stop`.
pub(crate) fn zookeeper(_: &[String]) -> anyhow::Result<ExitCode> {
    stop("coordinator", "No zookeeper server to stop")
}

fn stop(binary: &str, nothing: &str) -> anyhow::Result<ExitCode> {
    let name = std::env::var("SIGNAL").unwrap_or_default();
    let signal =
        signal(if name.is_empty() { "TERM" } else { &name }).with_context(|| format!("{name}: invalid signal"))?;
    let running = running(&sibling(binary)?)?;
    if running.is_empty() {
        println!("{nothing}");
        return Ok(ExitCode::FAILURE);
    }
    let mut refused = Vec::new();
    for pid in running {
        // One that ended meanwhile is as was wanted.
        if let Err(error) = kill_process(pid, signal)
            && error != rustix::io::Errno::SRCH
        {
            refused.push(format!("{}: {error}", pid.as_raw_nonzero()));
        }
    }
    if !refused.is_empty() {
        bail!("could not signal {}", refused.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// The signal that the variable SIGNAL names, as `kill -s` understands it.
fn signal(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "TERM" | "15" => Signal::TERM,
        "KILL" | "9" => Signal::KILL,
        "INT" | "2" => Signal::INT,
        "HUP" | "1" => Signal::HUP,
        "QUIT" | "3" => Signal::QUIT,
        "STOP" | "19" => Signal::STOP,
        "CONT" | "18" => Signal::CONT,
        _ => return None,
    })
}

/// The processes that run a program, as far as this user may see.
fn running(program: &Path) -> anyhow::Result<Vec<Pid>> {
    let program = program.canonicalize().with_context(|| format!("finding {}", program.display()))?;
    // A program that was built anew while it ran is shown so.
    let replaced = format!("{} (deleted)", program.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("reading /proc")? {
        let Ok(entry) = entry else { continue };
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let (Some(pid), Ok(executable)) = (pid, std::fs::read_link(entry.path().join("exe"))) else { continue };
        if executable == program || executable.as_os_str() == replaced.as_str() {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_program_is_found_by_its_file() {
        let found = running(&std::env::current_exe().unwrap()).unwrap();
        assert!(found.contains(&rustix::process::getpid()));
        assert_eq!(running(Path::new("/proc/version")).unwrap(), Vec::new());
    }
}
