//! `kafka-broker-api-versions`: which APIs each broker serves, in which versions, and which of these Kafka 3.9's clients
//! would use. Changes nothing.

mod table;

use crate::client::check;
use crate::cluster::{Cluster, NoServers, Target, address, load_settings};
use crate::options::{self, HELP, Options, Spec, VERSION, text};
use common::kafka::messages::{ApiVersion, ApiVersionsRequest};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;
use table::APIS;

const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text(
        "command-config",
        "command config property file",
        "A property file containing configs to be passed to Admin Client.",
    ),
    text("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: The server to connect to."),
];

/// The tool.
pub(crate) fn api_versions(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(SPECS, arguments).map_err(|error| anyhow::anyhow!(error.uncaught()))?;
    options.help_or_version(arguments, "This tool helps to retrieve broker version information.")?;
    options.require(&["bootstrap-server"])?;
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings);
    // Kafka's tool makes no admin client of its own and lets the reason go uncaught.
    let mut cluster = cluster.map_err(|error| match error.downcast_ref::<NoServers>() {
        Some(NoServers(reason)) => anyhow::anyhow!("Exception in thread \"main\" {reason}"),
        None => error,
    })?;
    for id in cluster.broker_ids()? {
        let Some(broker) = cluster.broker(id) else { continue };
        let rack = broker.rack.as_deref().unwrap_or("null");
        let node = format!("{} (id: {id} rack: {rack})", address(&broker.host, broker.port));
        // A broker that is gone meanwhile is waited for no longer than Kafka's tool does.
        cluster.set_call_timeout(Duration::from_secs(5));
        let request = |_| ApiVersionsRequest {
            client_software_name: "castellan".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let answer = cluster.call(Target::Node(id), request, |response| response.error_code);
        match answer.and_then(|response| Ok(check(response.error_code, None).map(|()| response)?)) {
            Ok(response) => println!("{node} -> (\n\t{}\n)", lines(&response.api_keys).join(",\n\t")),
            Err(error) => println!("{node} -> ERROR: {}", crate::client::java_text(&error)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each API, by key.
fn lines(served: &[ApiVersion]) -> Vec<String> {
    let mut lines: BTreeMap<i16, String> = APIS
        .iter()
        .filter(|api| api.of_brokers)
        .map(|api| (api.key, format!("{}({}): UNSUPPORTED", api.name, api.key)))
        .collect();
    for ApiVersion { api_key: key, min_version: min, max_version: max, .. } in served {
        let range = if min == max { min.to_string() } else { format!("{min} to {max}") };
        let line = match APIS.iter().find(|api| api.key == *key) {
            None => format!("UNKNOWN({key}): {range}"),
            Some(api) if api.latest < *min => format!("{}({key}): {range} [unusable: node too new]", api.name),
            Some(api) => format!("{}({key}): {range} [usable: {}]", api.name, api.latest.min(*max)),
        };
        lines.insert(*key, line);
    }
    lines.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_what_is_usable() {
        let served = |api_key, min_version, max_version| ApiVersion { api_key, min_version, max_version };
        let lines = lines(&[served(0, 0, 13), served(1, 4, 4), served(18, 9, 9), served(52, 0, 1), served(999, 0, 2)]);
        let line = |start: &str| lines.iter().find(|line| line.starts_with(start)).map(String::as_str);
        for expected in [
            "Produce(0): 0 to 13 [usable: 11]",
            "Fetch(1): 4 [usable: 4]",
            "ListOffsets(2): UNSUPPORTED",
            "ApiVersions(18): 9 [unusable: node too new]",
            "Vote(52): 0 to 1 [usable: 1]",
            "UNKNOWN(999): 0 to 2",
        ] {
            assert_eq!(line(expected.split(':').next().unwrap()), Some(expected));
        }
        assert_eq!(line("BeginQuorumEpoch"), None, "an API of controllers alone is not missed");
    }
}
