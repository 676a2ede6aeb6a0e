//! The options of `kafka-consumer-perf-test`, with the words of its help. Decides nothing.

use crate::options::{HELP, Spec, Takes, VERSION, flag, int, long, text};

/// What the tool knows. The help of Kafka's tool shows the group that it has just drawn.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text(
        "broker-list",
        "broker-list",
        "DEPRECATED, use --bootstrap-server instead; ignored if --bootstrap-server is specified. The broker list string in \
         the form HOST1:PORT1,HOST2:PORT2.",
    ),
    text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED unless --broker-list(deprecated) is specified. The server(s) to connect to.",
    ),
    text("topic", "topic", "REQUIRED: The topic to consume from."),
    text("group", "gid", "The group id to consume on. (default: perf-consumer-12345)"),
    int("fetch-size", "size", "The amount of data to fetch in a single request.").or("1048576"),
    flag(
        "from-latest",
        "If the consumer does not already have an established offset to consume from, start with the latest message present \
         in the log rather than the earliest message.",
    ),
    int("socket-buffer-size", "size", "The size of the tcp RECV size.").or("2097152"),
    int("threads", "count", "DEPRECATED AND IGNORED: Number of processing threads.").or("10"),
    int("num-fetch-threads", "count", "DEPRECATED AND IGNORED: Number of fetcher threads.").or("1"),
    text("consumer.config", "config file", "Consumer config properties file."),
    flag("print-metrics", "Print out the metrics."),
    flag(
        "show-detailed-stats",
        "If set, stats are reported for each reporting interval as configured by reporting-interval",
    ),
    Spec {
        name: "timeout",
        takes: Takes::Optional("Long", "milliseconds"),
        default: Some("10000"),
        required: false,
        description: "The maximum allowed time in milliseconds between returned records.",
    },
    long("messages", "count", "REQUIRED: The number of messages to send or consume"),
    long("reporting-interval", "interval_ms", "Interval in milliseconds at which to print progress info.").or("5000"),
    text(
        "date-format",
        "date format",
        "The date format to use for formatting the time field. See java.text.SimpleDateFormat for options.",
    )
    .or("yyyy-MM-dd HH:mm:ss:SSS"),
    flag("hide-header", "If set, skips printing the header for the stats"),
];
