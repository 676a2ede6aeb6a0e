//! The options of `kafka-producer-perf-test`, with the words of its help. Decides nothing.

use crate::argparse::{Argument, Group, Parser, Takes};

/// What the tool knows.
pub(super) static PARSER: Parser = Parser {
    prog: "producer-performance",
    description: "This tool is used to verify the producer performance.",
    arguments: &[
        Argument::new(&["--topic"], Takes::Text, "produce messages to this topic").named("TOPIC").required(),
        Argument::new(&["--num-records"], Takes::Long, "number of messages to produce").named("NUM-RECORDS").required(),
        Argument::new(
            &["--record-size"],
            Takes::Integer,
            "message size in bytes. Note that you must provide exactly one of --record-size or --payload-file or \
             --payload-monotonic.",
        )
        .named("RECORD-SIZE")
        .within(0),
        Argument::new(
            &["--payload-file"],
            Takes::Text,
            "file to read the message payloads from. This works only for UTF-8 encoded text files. Payloads will be read \
             from this file and a payload will be randomly selected when sending messages. Note that you must provide \
             exactly one of --record-size or --payload-file or --payload-monotonic.",
        )
        .named("PAYLOAD-FILE")
        .within(0),
        Argument::new(
            &["--payload-monotonic"],
            Takes::Nothing,
            "payload is monotonically increasing integer. Note that you must provide exactly one of --record-size or \
             --payload-file or --payload-monotonic.",
        )
        .within(0),
        Argument::new(
            &["--payload-delimiter"],
            Takes::Text,
            "provides delimiter to be used when --payload-file is provided. Defaults to new line. Note that this \
             parameter will be ignored if --payload-file is not provided.",
        )
        .named("PAYLOAD-DELIMITER")
        .or("\\n"),
        Argument::new(
            &["--throughput"],
            Takes::Double,
            "throttle maximum message throughput to *approximately* THROUGHPUT messages/sec. Set this to -1 to disable \
             throttling.",
        )
        .named("THROUGHPUT")
        .required(),
        Argument::new(
            &["--producer-props"],
            Takes::Several,
            "kafka producer related configuration properties like bootstrap.servers,client.id etc. These configs take \
             precedence over those passed via --producer.config.",
        )
        .named("PROP-NAME=PROP-VALUE"),
        Argument::new(&["--producer.config"], Takes::Text, "producer config properties file.").named("CONFIG-FILE"),
        Argument::new(&["--print-metrics"], Takes::Nothing, "print out metrics at the end of the test."),
        Argument::new(
            &["--transactional-id"],
            Takes::Text,
            "The transactionalId to use if transaction-duration-ms is > 0. Useful when testing the performance of \
             concurrent transactions.",
        )
        .named("TRANSACTIONAL-ID")
        .or("performance-producer-default-transactional-id"),
        Argument::new(
            &["--transaction-duration-ms"],
            Takes::Long,
            "The max age of each transaction. The commitTransaction will be called after this time has elapsed. \
             Transactions are only enabled if this value is positive.",
        )
        .named("TRANSACTION-DURATION")
        .or("0"),
    ],
    groups: &[Group {
        title: "",
        description: "either --record-size or --payload-file must be specified but not both.",
        required: true,
    }],
    commands: &[],
};
