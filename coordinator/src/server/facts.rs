//! What the process and its system tell of themselves: open files, sizes of directories, environment. Cheap enough to be
//! asked for each answer that shows it.

use super::socket::SocketCounters;
use crate::config::Config;
use crate::four_letter::Facts;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Everything, as it is now.
pub(super) fn gather(config: &Config, counters: &SocketCounters) -> Facts {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let data_dir_bytes = size(&config.data_dir);
    Facts {
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        max_files: limit.unwrap_or(u64::MAX),
        data_dir_bytes,
        log_dir_bytes: if config.data_log_dir == config.data_dir { data_dir_bytes } else { size(&config.data_log_dir) },
        connections_rejected: count(&counters.rejected),
        bytes_received: count(&counters.bytes),
        requests_too_large: count(&counters.too_large),
        throttled: count(&counters.throttled),
        handshakes_failed: count(&counters.handshakes_failed),
        handshakes: count(&counters.handshakes),
        environment: environment(),
    }
}

/// Bytes of all files below a directory. What cannot be read counts nothing.
fn size(dir: &Path) -> u64 {
    let mut left = vec![dir.to_owned()];
    let mut bytes = 0;
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => left.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// ZooKeeper's keys, where there is something to say; a JVM there is not.
fn environment() -> Vec<(&'static str, String)> {
    let system = rustix::system::uname();
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
    let memory = |key: &str| -> String {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
        kib.map_or_else(|| "<NA>".to_owned(), |kib| format!("{}MB", kib / 1024))
    };
    vec![
        ("host.name", system.nodename().to_string_lossy().into_owned()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("os.name", system.sysname().to_string_lossy().into_owned()),
        ("os.arch", std::env::consts::ARCH.replace("x86_64", "amd64")),
        ("os.version", system.release().to_string_lossy().into_owned()),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", std::env::current_dir().map_or_else(|_| "<NA>".to_owned(), |dir| dir.display().to_string())),
        ("os.memory.free", memory("MemAvailable:")),
        ("os.memory.max", memory("MemTotal:")),
        ("os.memory.total", memory("MemTotal:")),
    ]
}
