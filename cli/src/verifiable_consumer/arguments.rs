//! The options of `kafka-verifiable-consumer`, with the words of its help. Decides nothing.

use crate::argparse::{Argument, Group, Parser, Takes};

const SERVERS: &str = "HOST1:PORT1[,HOST2:PORT2[...]]";

/// What the tool knows.
pub(super) static PARSER: Parser = Parser {
    prog: "verifiable-consumer",
    description: "This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, \
                  received messages, and offsets committed) as JSON objects to STDOUT.",
    arguments: &[
        Argument::new(
            &["--bootstrap-server"],
            Takes::Text,
            "REQUIRED unless --broker-list(deprecated) is specified. The server(s) to connect to. Comma-separated list of \
             Kafka brokers in the form HOST1:PORT1,HOST2:PORT2,...",
        )
        .named(SERVERS)
        .within(0),
        Argument::new(
            &["--broker-list"],
            Takes::Text,
            "DEPRECATED, use --bootstrap-server instead; ignored if --bootstrap-server is specified.  Comma-separated list \
             of Kafka brokers in the form HOST1:PORT1,HOST2:PORT2,...",
        )
        .named(SERVERS)
        .within(0),
        Argument::new(&["--topic"], Takes::Text, "Consumes messages from this topic.").named("TOPIC").required(),
        Argument::new(&["--group-protocol"], Takes::Text, "Group protocol (must be one of CLASSIC, CONSUMER)")
            .named("GROUP_PROTOCOL")
            .or("classic"),
        Argument::new(
            &["--group-remote-assignor"],
            Takes::Text,
            "Group remote assignor; only used if the group protocol is CONSUMER",
        )
        .named("GROUP_REMOTE_ASSIGNOR"),
        Argument::new(&["--group-id"], Takes::Text, "The groupId shared among members of the consumer group")
            .named("GROUP_ID")
            .required(),
        Argument::new(&["--group-instance-id"], Takes::Text, "A unique identifier of the consumer instance")
            .named("GROUP_INSTANCE_ID"),
        Argument::new(
            &["--max-messages"],
            Takes::Integer,
            "Consume this many messages. If -1 (the default), the consumer will consume until the process is killed \
             externally",
        )
        .named("MAX-MESSAGES")
        .or("-1"),
        Argument::new(&["--session-timeout"], Takes::Integer, "Set the consumer's session timeout")
            .named("TIMEOUT_MS")
            .or("30000"),
        Argument::new(&["--verbose"], Takes::Nothing, "Enable to log individual consumed records"),
        Argument::new(&["--enable-autocommit"], Takes::Nothing, "Enable offset auto-commit on consumer"),
        Argument::new(
            &["--reset-policy"],
            Takes::Text,
            "Set reset policy (must be either 'earliest', 'latest', or 'none'",
        )
        .named("RESETPOLICY")
        .or("earliest"),
        Argument::new(
            &["--assignment-strategy"],
            Takes::Text,
            "Set assignment strategy (e.g. org.apache.kafka.clients.consumer.RoundRobinAssignor); only used if the group \
             protocol is CLASSIC",
        )
        .named("ASSIGNMENTSTRATEGY")
        .or("org.apache.kafka.clients.consumer.RangeAssignor"),
        Argument::new(
            &["--consumer.config"],
            Takes::Text,
            "Consumer config properties file (config options shared with command line parameters will be overridden).",
        )
        .named("CONFIG_FILE"),
    ],
    groups: &[Group {
        title: "Connection Group",
        description: "Group of arguments for connection to brokers",
        required: true,
    }],
    commands: &[],
};
