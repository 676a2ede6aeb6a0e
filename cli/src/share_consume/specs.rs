//! The options of `kafka-console-share-consumer`, with the words of Kafka 4.3's help. Decides nothing.

use crate::options::{HELP, Spec, VERSION, flag, int, text};

/// What is said of the formatter's properties under either name of the option.
macro_rules! properties {
    () => {
        "The properties to initialize the message formatter. Default properties include: \n \
         print.timestamp=true|false\n \
         print.key=true|false\n \
         print.offset=true|false\n \
         print.delivery=true|false\n \
         print.epoch=true|false\n \
         print.partition=true|false\n \
         print.headers=true|false\n \
         print.value=true|false\n \
         key.separator=<key.separator>\n \
         line.separator=<line.separator>\n \
         headers.separator=<headers.separator>\n \
         null.literal=<null.literal>\n \
         key.deserializer=<key.deserializer>\n \
         value.deserializer=<value.deserializer>\n \
         header.deserializer=<header.deserializer>\n\
         \nUsers can also pass in customized properties for their formatter; more specifically, users can pass in \
         properties keyed with 'key.deserializer.', 'value.deserializer.' and 'headers.deserializer.' prefixes to configure \
         their deserializers."
    };
}

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("topic", "topic", "The topic to consume from."),
    text(
        "consumer-property",
        "consumer_prop",
        "(DEPRECATED) Consumer config properties in the form key=value. This option will be removed in a future version. \
         Use --command-property instead.",
    ),
    text("command-property", "consumer_prop", "Consumer config properties in the form key=value."),
    text(
        "consumer-config",
        "config file",
        "(DEPRECATED) Consumer config properties file. Note that [command-property] takes precedence over this config. This \
         option will be removed in a future version. Use --command-config instead.",
    ),
    text(
        "command-config",
        "config file",
        "Consumer config properties file. Note that [command-property] takes precedence over this config.",
    ),
    text("formatter", "class", "The name of a class to use for formatting Kafka messages for display.")
        .or("org.apache.kafka.tools.consumer.DefaultMessageFormatter"),
    text(
        "property",
        "prop",
        concat!(
            "(DEPRECATED) ",
            properties!(),
            " \nThis option will be removed in a future version. Use --formatter-property instead."
        ),
    ),
    text("formatter-property", "prop", properties!()),
    text(
        "formatter-config",
        "config file",
        "Config properties file to initialize the message formatter. Note that [formatter-property] takes precedence over \
         this config.",
    ),
    int(
        "max-messages",
        "num_messages",
        "The maximum number of messages to consume before exiting. If not set, consumption is continual.",
    ),
    int(
        "timeout-ms",
        "timeout_ms",
        "If specified, exit if no message is available for consumption for the specified interval.",
    ),
    flag("reject", "If specified, messages are rejected as they are consumed."),
    flag("release", "If specified, messages are released as they are consumed."),
    flag("reject-message-on-error", "If there is an error when processing a message, reject it instead of halting."),
    text("bootstrap-server", "server to connect to", "REQUIRED: The server(s) to connect to."),
    text("key-deserializer", "deserializer for keys", "The name of the class to use for deserializing keys."),
    text("value-deserializer", "deserializer for values", "The name of the class to use for deserializing values."),
    text("group", "share group id", "The share group id of the consumer."),
    flag(
        "enable-systest-events",
        "Log lifecycle events of the share consumer in addition to logging consumed messages. (This is specific for system \
         tests.)",
    ),
];
