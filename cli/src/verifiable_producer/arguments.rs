//! The options of `kafka-verifiable-producer`, with the words of its help. Decides nothing.

use crate::argparse::{Argument, Group, Parser, Takes};

const SERVERS: &str = "HOST1:PORT1[,HOST2:PORT2[...]]";

/// What the tool knows.
pub(super) static PARSER: Parser = Parser {
    prog: "verifiable-producer",
    description: "This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each \
                  \"send\" request, making externally visible which messages have been acked and which have not.",
    arguments: &[
        Argument::new(&["--topic"], Takes::Text, "Produce messages to this topic.").named("TOPIC").required(),
        Argument::new(
            &["--bootstrap-server"],
            Takes::Text,
            "REQUIRED: The server(s) to connect to. Comma-separated list of Kafka brokers in the form \
             HOST1:PORT1,HOST2:PORT2,...",
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
        Argument::new(
            &["--max-messages"],
            Takes::Integer,
            "Produce this many messages. If -1, produce messages until the process is killed externally.",
        )
        .named("MAX-MESSAGES")
        .or("-1"),
        Argument::new(
            &["--throughput"],
            Takes::Integer,
            "If set >= 0, throttle maximum message throughput to *approximately* THROUGHPUT messages/sec.",
        )
        .named("THROUGHPUT")
        .or("-1"),
        Argument {
            choices: &["0", "1", "-1"],
            ..Argument::new(
                &["--acks"],
                Takes::Integer,
                "Acks required on each produced message. See Kafka docs on acks for details.",
            )
            .named("ACKS")
            .or("-1")
        },
        Argument::new(&["--producer.config"], Takes::Text, "Producer config properties file.").named("CONFIG_FILE"),
        Argument::new(
            &["--message-create-time"],
            Takes::Long,
            "Send messages with creation time starting at the arguments value, in milliseconds since epoch",
        )
        .named("CREATETIME")
        .or("-1"),
        Argument::new(
            &["--value-prefix"],
            Takes::Integer,
            "If specified, each produced value will have this prefix with a dot separator",
        )
        .named("VALUE-PREFIX"),
        Argument::new(
            &["--repeating-keys"],
            Takes::Integer,
            "If specified, each produced record will have a key starting at 0 increment by 1 up to the number specified \
             (exclusive), then the key is set to 0 again",
        )
        .named("REPEATING-KEYS"),
    ],
    groups: &[Group {
        title: "Connection Group",
        description: "Group of arguments for connection to brokers",
        required: true,
    }],
    commands: &[],
};
