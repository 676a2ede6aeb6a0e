//! The servers as processes: started in their own group, known by a pid file, stopped by a signal. A pid is believed only
//! while its command line still names the settings file, so that nothing else is ever signalled.

use super::layout::{Role, Server};
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::{CommandExt, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// `PF_EXITING` among the flags in `/proc/PID/stat`: the process is coming to its end.
const EXITING: u32 = 4;

fn pid_file(dir: &Path, server: &Server) -> PathBuf {
    dir.join(format!("{}.pid", server.name()))
}

/// True from a server's start until it was stopped on purpose.
pub(crate) fn has_pid_file(dir: &Path, server: &Server) -> bool {
    pid_file(dir, server).exists()
}

fn log_file(dir: &Path, server: &Server) -> PathBuf {
    dir.join(format!("{}.log", server.name()))
}

/// The pid of a server that runs.
pub(crate) fn pid(dir: &Path, server: &Server) -> Option<i32> {
    let pid: i32 = fs::read_to_string(pid_file(dir, server)).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let settings = server.settings_file(dir);
    // A process that is just becoming the server has no command line yet; neither has one that has ended.
    if command.is_empty() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit(") ").next()?.split(' ');
        let state = fields.next()?;
        // One that was killed has neither a command line nor ended until its last thread has.
        let flags: u32 = fields.nth(5)?.parse().ok()?;
        return (!matches!(state, "Z" | "X") && flags & EXITING == 0).then_some(pid);
    }
    let named = command.split(|byte| *byte == 0).any(|word| word == settings.as_os_str().as_encoded_bytes());
    named.then_some(pid)
}

/// A server that was started here: whoever joins it hears how it ended.
pub(crate) type Started = std::thread::JoinHandle<std::io::Result<ExitStatus>>;

/// How a server ended, in words.
pub(crate) fn ending(status: std::io::Result<ExitStatus>) -> String {
    match status.as_ref().map(|status| (status.signal(), status.code())) {
        Ok((Some(signal), _)) => format!("was killed by signal {signal}"),
        Ok((None, Some(0))) => "stopped".to_owned(),
        Ok((None, Some(code))) => format!("ended by itself with code {code}"),
        _ => "ended by itself".to_owned(),
    }
}

/// Where a server's log ends now.
pub(crate) fn log_end(dir: &Path, server: &Server) -> u64 {
    fs::metadata(log_file(dir, server)).map_or(0, |log| log.len())
}

/// What a server said of settings that it does not know since its log ended there: place and problem, one a line.
pub(crate) fn unknown_settings(dir: &Path, server: &Server, from: u64) -> Vec<String> {
    let text = fs::read(log_file(dir, server)).unwrap_or_default();
    let text = String::from_utf8_lossy(text.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default());
    let settings = server.settings_file(dir).display().to_string();
    let told = |line: &str| line.contains("unknown setting") || line.contains("unknown key");
    let place = |line: &str| Some(line[line.find(&settings)?..].to_owned());
    text.lines().filter(|line| told(line)).filter_map(place).collect()
}

/// Starts a server and writes its pid file; its output goes to its log file.
pub(crate) fn start(dir: &Path, server: &Server) -> anyhow::Result<Started> {
    let binary = match server.role {
        Role::Coordinator => "coordinator",
        Role::Broker => "broker",
    };
    let program = sibling(binary)?;
    let log = log_file(dir, server);
    let output = fs::File::options()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("opening {}", log.display()))?;
    let child = Command::new(&program)
        .arg(server.settings_file(dir))
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("opening the log twice")?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    fs::write(pid_file(dir, server), format!("{}\n", child.id())).context("writing the pid file")?;
    // Reaped by a thread, so that a server that ends is no zombie which still looks alive.
    Ok(std::thread::spawn(move || {
        let mut child = child;
        child.wait()
    }))
}

/// The server program next to this one.
pub(crate) fn sibling(binary: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("finding this program")?;
    let program = this.with_file_name(binary);
    anyhow::ensure!(program.exists(), "{} is not there; 'make build' builds it", program.display());
    Ok(program)
}

/// Asks servers to end, waits, and kills those that did not in time.
pub(crate) fn stop(dir: &Path, servers: &[&Server], patience: Duration) {
    signal_all(dir, servers, Signal::TERM);
    let deadline = Instant::now() + patience;
    while servers.iter().any(|server| pid(dir, server).is_some()) {
        if Instant::now() > deadline {
            signal_all(dir, servers, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for server in servers {
        let _ = fs::remove_file(pid_file(dir, server));
    }
}

/// Says to an `up` that waits in the foreground that the servers end because somebody asked; withdrawn when dropped.
pub(crate) fn mark_stopping(dir: &Path) -> StoppingMark {
    let mark = StoppingMark(dir.join("stopping"));
    // Without the mark the servers end all the same; only what a waiting `up` says is different.
    let _ = fs::write(&mark.0, "");
    mark
}

/// True while somebody stops the servers of a folder.
pub(crate) fn is_stopping(dir: &Path) -> bool {
    dir.join("stopping").exists()
}

/// Withdraws a mark that a killed `down` left.
pub(crate) fn forget_stopping(dir: &Path) {
    let _ = fs::remove_file(dir.join("stopping"));
}

/// A file that stands while servers are being stopped.
pub(crate) struct StoppingMark(PathBuf);

impl Drop for StoppingMark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn signal_all(dir: &Path, servers: &[&Server], signal: Signal) {
    for server in servers {
        if let Some(pid) = pid(dir, server).and_then(Pid::from_raw) {
            // Gone between the two looks: what was wanted.
            let _ = kill_process(pid, signal);
        }
    }
}

/// `standalone`, `leader`, `follower`, ...; `None` while the coordinator does not serve.
pub(crate) fn coordinator_mode(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut text = String::new();
    stream.take(64 * 1024).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}

/// Resident memory of a process.
pub(crate) fn resident_mib(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

/// The end of a server's log: why it is not there.
pub(crate) fn last_words(dir: &Path, server: &Server) -> String {
    let text = fs::read_to_string(log_file(dir, server)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_server_ended() {
        for (raw, expected) in
            [(9, "was killed by signal 9"), (0, "stopped"), (70 << 8, "ended by itself with code 70")]
        {
            assert_eq!(ending(Ok(ExitStatus::from_raw(raw))), expected);
        }
    }

    #[test]
    fn settings_that_are_not_known_are_found_in_the_log() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path();
        let server = Server { role: Role::Broker, id: 0, port: 1 };
        let file = server.settings_file(dir).display().to_string();
        let line = |key: &str| format!("2026 WARN broker: {file}:9: {key}: unknown setting, ignored\n");
        fs::write(log_file(dir, &server), line("old")).unwrap();
        let from = log_end(dir, &server);
        assert_eq!(unknown_settings(dir, &server, 0).len(), 1);
        fs::write(log_file(dir, &server), line("old") + &line("new") + "WARN other\n").unwrap();
        assert_eq!(unknown_settings(dir, &server, from), [format!("{file}:9: new: unknown setting, ignored")]);
    }
}
