//! The options of `kafka-console-consumer`, with the words of its help. Decides nothing.

use crate::options::{HELP, HIDDEN, Spec, VERSION, flag, int, long, text};

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("topic", "topic", "The topic to consume on."),
    text(
        "whitelist",
        "Java regex (String)",
        "DEPRECATED, use --include instead; ignored if --include specified. Regular expression specifying list of topics to \
         include for consumption.",
    ),
    text(
        "include",
        "Java regex (String)",
        "Regular expression specifying list of topics to include for consumption.",
    ),
    int(
        "partition",
        "partition",
        "The partition to consume from. Consumption starts from the end of the partition unless '--offset' is specified.",
    ),
    text(
        "offset",
        "consume offset",
        "The offset to consume from (a non-negative number), or 'earliest' which means from beginning, or 'latest' which \
         means from end",
    )
    .or("latest"),
    text(
        "consumer-property",
        "consumer_prop",
        "A mechanism to pass user-defined properties in the form key=value to the consumer.",
    ),
    text(
        "consumer.config",
        "config file",
        "Consumer config properties file. Note that [consumer-property] takes precedence over this config.",
    ),
    text("formatter", "class", "The name of a class to use for formatting kafka messages for display.")
        .or("org.apache.kafka.tools.consumer.DefaultMessageFormatter"),
    text(
        "property",
        "prop",
        "The properties to initialize the message formatter. Default properties include: \n \
         print.timestamp=true|false\n \
         print.key=true|false\n \
         print.offset=true|false\n \
         print.partition=true|false\n \
         print.headers=true|false\n \
         print.value=true|false\n \
         key.separator=<key.separator>\n \
         line.separator=<line.separator>\n \
         headers.separator=<line.separator>\n \
         null.literal=<null.literal>\n \
         key.deserializer=<key.deserializer>\n \
         value.deserializer=<value.deserializer>\n \
         header.deserializer=<header.deserializer>\n\n\
         Users can also pass in customized properties for their formatter; more specifically, users can pass in properties \
         keyed with 'key.deserializer.', 'value.deserializer.' and 'headers.deserializer.' prefixes to configure their \
         deserializers.",
    ),
    text(
        "formatter-config",
        "config file",
        "Config properties file to initialize the message formatter. Note that [property] takes precedence over this \
         config.",
    ),
    flag(
        "from-beginning",
        "If the consumer does not already have an established offset to consume from, start with the earliest message \
         present in the log rather than the latest message.",
    ),
    int(
        "max-messages",
        "num_messages",
        "The maximum number of messages to consume before exiting. If not set, consumption is continual.",
    ),
    long(
        "timeout-ms",
        "timeout_ms",
        "If specified, exit if no message is available for consumption for the specified interval.",
    ),
    flag("skip-message-on-error", "If there is an error when processing a message, skip it instead of halt."),
    text("bootstrap-server", "server to connect to", "REQUIRED: The server(s) to connect to."),
    text("zookeeper", "urls", HIDDEN),
    text("broker-list", "broker-list", HIDDEN),
    text("producer-property", "producer_prop", HIDDEN),
    flag("new-consumer", HIDDEN),
    text("key-deserializer", "deserializer for key", ""),
    text("value-deserializer", "deserializer for values", ""),
    flag(
        "enable-systest-events",
        "Log lifecycle events of the consumer in addition to logging consumed messages. (This is specific for system \
         tests.)",
    ),
    text(
        "isolation-level",
        "",
        "Set to read_committed in order to filter out transactional messages which are not committed. Set to \
         read_uncommitted to read all messages.",
    )
    .or("read_uncommitted"),
    text("group", "consumer group id", "The consumer group id of the consumer."),
];
