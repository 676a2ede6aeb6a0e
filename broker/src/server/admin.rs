//! The port for metrics and probes: HTTP and what the system tells of the process. What the figures and answers are is the
//! broker's to say.

use super::Shared;
use crate::config::BrokerConfig;
use crate::report::ProcessFacts;
use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What is due is looked at every second at least. A broker that has not done so for this long hangs.
const HANGING_MS: u64 = 30_000;

/// Other brokers have two seconds to say where their partitions end; without their word the lag of groups there is not told.
const LEADERS_PATIENCE: Duration = Duration::from_millis(2_500);

/// Binds the port if one is set.
pub(super) async fn bind(config: &BrokerConfig) -> anyhow::Result<Option<TcpListener>> {
    let Some(port) = config.metrics_http_port.and_then(|port| u16::try_from(port).ok()) else { return Ok(None) };
    let host = config.metrics_http_host.trim();
    let bound = TcpListener::bind((host, port)).await.with_context(|| {
        format!("binding {host}:{port}: another process may be listening there; choose another 'metrics.http.port'")
    })?;
    let port = bound.local_addr().map_or(port, |address| address.port());
    tracing::info!(host, port, "metrics and probes are given over http");
    Ok(Some(bound))
}

/// Serves until the task is dropped; from before the logs are read, so that the probes tell of it.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::warn!(%error, "metrics and probes are not given any more");
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Some(broker) = shared.broker.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "it reads its logs\n").into_response();
    };
    let (told, ends) = oneshot::channel();
    // Who scraped may be gone when the leaders have answered.
    broker.ask_ends(Box::new(move |ends| drop(told.send(ends))), shared.clock.now());
    let ends = tokio::time::timeout(LEADERS_PATIENCE, ends).await.ok().and_then(Result::ok).unwrap_or_default();
    let (broker, now) = (broker.clone(), shared.clock.now());
    // With many partitions it takes a while, which no client is to wait for.
    match tokio::task::spawn_blocking(move || broker.prometheus(&process(), &ends, now)).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether it would help to start the process again.
async fn live(State(shared): State<Arc<Shared>>) -> Response {
    let silent_ms = shared.clock.now().mono.0.saturating_sub(shared.ticked_at.load(Ordering::Relaxed));
    if shared.broker.get().is_some() && silent_ms > HANGING_MS {
        let text = format!("nothing was done for {silent_ms} ms\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    "ok\n".into_response()
}

/// Whether clients are served.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let Some(broker) = shared.broker.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: it reads its logs\n").into_response();
    };
    match broker.readiness(shared.clock.now().mono) {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

/// Times of a process are told to programs in these parts of a second, whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// As Linux tells it; what cannot be read is zero.
fn process() -> ProcessFacts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (stat, status, system) = (read("/proc/self/stat"), read("/proc/self/status"), read("/proc/stat"));
    // The name of the command, in brackets, may hold anything. Behind it are numbers, the third field of all the first.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    ProcessFacts {
        cpu_seconds: (ticks(14) + ticks(15)) / TICKS_PER_SECOND,
        virtual_bytes: number_after(&status, "VmSize:") * 1024,
        resident_bytes: number_after(&status, "VmRSS:") * 1024,
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        max_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX),
        start_seconds: number_after(&system, "btime") as f64 + ticks(22) / TICKS_PER_SECOND,
    }
}

/// The first number of the line that begins so.
fn number_after(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let facts = process();
        assert!(facts.resident_bytes > 1 << 20 && facts.virtual_bytes >= facts.resident_bytes, "{facts:?}");
        assert!((3..facts.max_files).contains(&facts.open_files), "{facts:?}");
        assert!(facts.start_seconds > 1.7e9 && facts.cpu_seconds < 1e6, "{facts:?}");
    }
}
