//! The options of `kafka-share-consumer-perf-test`, with the words of Kafka 4.3's help. Decides nothing.

use crate::options::{HELP, Spec, Takes, VERSION, flag, int, long, text};

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("bootstrap-server", "server to connect to", "REQUIRED. The server(s) to connect to."),
    text("topic", "topic", "REQUIRED: The topic to consume from."),
    text("group", "gid", "The group id to consume on.").or("perf-share-consumer"),
    int("fetch-size", "size", "The amount of data to fetch in a single request.").or("1048576"),
    text(
        "command-property",
        "prop1=val1",
        "Kafka share consumer related configuration properties like client.id. These configs take precedence over those \
         passed via --command-config or --consumer.config.",
    ),
    int("socket-buffer-size", "size", "The size of the tcp RECV size.").or("2097152"),
    text(
        "consumer.config",
        "config file",
        "(DEPRECATED) Share consumer config properties file. This option will be removed in a future version. Use \
         --command-config instead.",
    ),
    text("command-config", "config file", "Config properties file."),
    flag("print-metrics", "Print out the metrics."),
    flag(
        "show-detailed-stats",
        "If set, stats are reported for each reporting interval as configured by reporting-interval.",
    ),
    Spec {
        name: "timeout",
        takes: Takes::Optional("Long", "milliseconds"),
        default: Some("10000"),
        required: false,
        description: "The maximum allowed time in milliseconds between returned records.",
    },
    long(
        "messages",
        "count",
        "(DEPRECATED) The number of records to consume. This option will be removed in a future version. Use --num-records \
         instead.",
    ),
    long("num-records", "count", "REQUIRED: The number of records to consume."),
    long("reporting-interval", "interval_ms", "Interval in milliseconds at which to print progress info.").or("5000"),
    text(
        "date-format",
        "date format",
        "The date format to use for formatting the time field. See java.text.SimpleDateFormat for options.",
    )
    .or("yyyy-MM-dd HH:mm:ss:SSS"),
    flag("hide-header", "If set, skips printing the header for the stats."),
    int("threads", "count", "The number of share consumers to use for sharing the load.").or("1"),
    flag("show-consumer-stats", "If set, stats are reported for each share consumer depending on the no. of threads."),
];
