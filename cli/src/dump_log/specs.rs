//! The options of `kafka-dump-log`, with the words of its help. Decides nothing.

use crate::options::{HELP, Spec, Takes, VERSION, flag, int, text};

/// The decoder that shows texts.
pub(super) const STRINGS: &str = "org.apache.kafka.tools.api.StringDecoder";

const fn class(name: &'static str, description: &'static str) -> Spec {
    Spec { name, takes: Takes::Optional("String", ""), default: Some(STRINGS), required: false, description }
}

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    flag(
        "print-data-log",
        "If set, printing the messages content when dumping data logs. Automatically set if any decoder option is \
         specified.",
    ),
    flag("verify-index-only", "If set, just verify the index log without printing its content."),
    flag(
        "index-sanity-check",
        "If set, just checks the index sanity without printing its content. This is the same check that is executed on \
         broker startup to determine if an index needs rebuilding or not.",
    ),
    text("files", "file1, file2, ...", "REQUIRED: The comma separated list of data and index log files to be dumped."),
    int("max-message-size", "size", "Size of largest message.").or("5242880"),
    int(
        "max-bytes",
        "size",
        "Limit the amount of total batches read in bytes avoiding reading the whole .log file(s).",
    )
    .or("2147483647"),
    flag(
        "deep-iteration",
        "If set, uses deep instead of shallow iteration. Automatically set if print-data-log is enabled.",
    ),
    class(
        "value-decoder-class",
        "If set, used to deserialize the messages. This class should implement org.apache.kafka.tools.api.Decoder trait. \
         Custom jar should be available in kafka/libs directory.",
    ),
    class(
        "key-decoder-class",
        "If set, used to deserialize the keys. This class should implement org.apache.kafka.tools.api.Decoder trait. \
         Custom jar should be available in kafka/libs directory.",
    ),
    flag("offsets-decoder", "If set, log data will be parsed as offset data from the __consumer_offsets topic."),
    flag(
        "transaction-log-decoder",
        "If set, log data will be parsed as transaction metadata from the __transaction_state topic.",
    ),
    flag("cluster-metadata-decoder", "If set, log data will be parsed as cluster metadata records."),
    flag(
        "remote-log-metadata-decoder",
        "If set, log data will be parsed as TopicBasedRemoteLogMetadataManager (RLMM) metadata records. Instead, the \
         value-decoder-class option can be used if a custom RLMM implementation is configured.",
    ),
    flag("skip-record-metadata", "Whether to skip printing metadata for each record."),
];
