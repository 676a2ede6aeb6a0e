//! The options of `kafka-verifiable-share-consumer`, with the words of Kafka 4.3's help. Decides nothing.

use crate::argparse::{Argument, Group, Parser, Takes};

/// What the tool knows.
pub(super) static PARSER: Parser = Parser {
    prog: "verifiable-share-consumer",
    description: "This tool creates a share group and consumes messages from a specific topic and emits share consumer events \
                  (e.g. share consumer startup, received messages, and offsets acknowledged) as JSON objects to STDOUT.",
    arguments: &[
        Argument::new(
            &["--bootstrap-server"],
            Takes::Text,
            "The server(s) to connect to. Comma-separated list of Kafka brokers in the form HOST1:PORT1,HOST2:PORT2,...",
        )
        .named("HOST1:PORT1[,HOST2:PORT2[...]]")
        .required()
        .within(0),
        Argument::new(&["--topic"], Takes::Text, "Consumes messages from this topic.").named("TOPIC").required(),
        Argument::new(&["--group-id"], Takes::Text, "The group id of the share group").named("GROUP-ID").required(),
        Argument::new(
            &["--max-messages"],
            Takes::Integer,
            "Consume this many messages. If -1 (the default), the share consumers will consume until the process is killed \
             externally",
        )
        .named("MAX-MESSAGES")
        .or("-1"),
        Argument::new(&["--verbose"], Takes::Nothing, "Enable to log individual consumed records"),
        Argument::new(
            &["--acknowledgement-mode"],
            Takes::Text,
            "Acknowledgement mode for the share consumers (must be either 'auto', 'sync' or 'async')",
        )
        .named("ACKNOWLEDGEMENT-MODE")
        .or("auto"),
        Argument::new(
            &["--offset-reset-strategy"],
            Takes::Text,
            "Share group offset reset strategy (must be either 'earliest' or 'latest')",
        )
        .named("OFFSET-RESET-STRATEGY")
        .or(""),
        Argument::new(
            &["--command-config"],
            Takes::Text,
            "Config properties file (config options shared with command line parameters will be overridden).",
        )
        .named("CONFIG-FILE"),
    ],
    groups: &[Group {
        title: "Connection Group",
        description: "Group of arguments for connection to brokers",
        required: true,
    }],
    commands: &[],
};
