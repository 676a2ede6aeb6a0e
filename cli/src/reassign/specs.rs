//! The options of `kafka-reassign-partitions`, with the words of its help. Decides nothing.

use crate::options::{HELP, HIDDEN, Spec, VERSION, flag, long, text};

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    flag(
        "verify",
        "Verify if the reassignment completed as specified by the --reassignment-json-file option. If there is a throttle \
         engaged for the replicas specified, and the rebalance has completed, the throttle will be removed",
    ),
    flag(
        "generate",
        "Generate a candidate partition reassignment configuration. Note that this only generates a candidate assignment, \
         it does not execute it.",
    ),
    flag("execute", "Kick off the reassignment as specified by the --reassignment-json-file option."),
    flag("cancel", "Cancel an active reassignment."),
    flag("list", "List all active partition reassignments."),
    text(
        "bootstrap-server",
        "Server(s) to use for bootstrapping",
        "REQUIRED: the server(s) to use for bootstrapping.",
    ),
    text(
        "command-config",
        "Admin client property file",
        "Property file containing configs to be passed to Admin Client.",
    ),
    text(
        "reassignment-json-file",
        "manual assignment json file path",
        "The JSON file with the partition reassignment configurationThe format to use is - \n{\"partitions\":\n\
         \t[{\"topic\": \"foo\",\n\t  \"partition\": 1,\n\t  \"replicas\": [1,2,3],\n\t  \"log_dirs\": \
         [\"dir1\",\"dir2\",\"dir3\"] }],\n\"version\":1\n}\nNote that \"log_dirs\" is optional. When it is specified, its \
         length must equal the length of the replicas list. The value in this list can be either \"any\" or the \
         absolution path of the log directory on the broker. If absolute log directory path is specified, the replica \
         will be moved to the specified log directory on the broker.",
    ),
    text(
        "topics-to-move-json-file",
        "topics to reassign json file path",
        "Generate a reassignment configuration to move the partitions of the specified topics to the list of brokers \
         specified by the --broker-list option. The format to use is - \n{\"topics\":\n\t[{\"topic\": \
         \"foo\"},{\"topic\": \"foo1\"}],\n\"version\":1\n}",
    ),
    text(
        "broker-list",
        "brokerlist",
        "The list of brokers to which the partitions need to be reassigned in the form \"0,1,2\". This is required if \
         --topics-to-move-json-file is used to generate reassignment configuration",
    ),
    flag("disable-rack-aware", "Disable rack aware replica assignment"),
    long(
        "throttle",
        "throttle",
        "The movement of partitions between brokers will be throttled to this value (bytes/sec). This option can be \
         included with --execute when a reassignment is started, and it can be altered by resubmitting the current \
         reassignment along with the --additional flag. The throttle rate should be at least 1 KB/s.",
    )
    .or("-1"),
    long(
        "replica-alter-log-dirs-throttle",
        "replicaAlterLogDirsThrottle",
        "The movement of replicas between log directories on the same broker will be throttled to this value (bytes/sec). \
         This option can be included with --execute when a reassignment is started, and it can be altered by resubmitting \
         the current reassignment along with the --additional flag. The throttle rate should be at least 1 KB/s.",
    )
    .or("-1"),
    long("timeout", "timeout", "The maximum time in ms to wait for log directory replica assignment to begin.")
        .or("10000"),
    flag(
        "additional",
        "Execute this reassignment in addition to any other ongoing ones. This option can also be used to change the \
         throttle of an ongoing reassignment.",
    ),
    flag("preserve-throttles", "Do not modify broker or topic throttles."),
    flag("disallow-replication-factor-change", HIDDEN),
];
