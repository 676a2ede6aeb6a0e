//! The options of `kafka-console-producer`, with the words of its help. Decides nothing.

use crate::options::{HELP, HIDDEN, Spec, Takes, VERSION, flag, int, long, text};

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("topic", "topic", "REQUIRED: The topic id to produce messages to."),
    text(
        "broker-list",
        "broker-list",
        "DEPRECATED, use --bootstrap-server instead; ignored if --bootstrap-server is specified.  The broker list string in \
         the form HOST1:PORT1,HOST2:PORT2.",
    ),
    text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED unless --broker-list(deprecated) is specified. The server(s) to connect to. The broker list string in the \
         form HOST1:PORT1,HOST2:PORT2.",
    ),
    text("zookeeper", "hosts", HIDDEN),
    flag("from-beginning", HIDDEN),
    flag("sync", "If set message send requests to the brokers are synchronously, one at a time as they arrive."),
    Spec {
        name: "compression-codec",
        takes: Takes::Optional("String", "compression-codec"),
        default: None, required: false,
        description: "The compression codec: either 'none', 'gzip', 'snappy', 'lz4', or 'zstd'.If specified without value, \
                      then it defaults to 'gzip'",
    },
    int(
        "batch-size",
        "size",
        "Number of messages to send in a single batch if they are not being sent synchronously. please note that this \
         option will be replaced if max-partition-memory-bytes is also set",
    )
    .or("16384"),
    int(
        "message-send-max-retries",
        "",
        "Brokers can fail receiving the message for multiple reasons, and being unavailable transiently is just one of them. \
         This property specifies the number of retries before the producer give up and drop this message. This is the \
         option to control `retries` in producer configs.",
    )
    .or("3"),
    long(
        "retry-backoff-ms",
        "",
        "Before each retry, the producer refreshes the metadata of relevant topics. Since leader election takes a bit of \
         time, this property specifies the amount of time that the producer waits before refreshing the metadata. This is \
         the option to control `retry.backoff.ms` in producer configs.",
    )
    .or("100"),
    long(
        "timeout",
        "timeout_ms",
        "If set and the producer is running in asynchronous mode, this gives the maximum amount of time a message will queue \
         awaiting sufficient batch size. The value is given in ms. This is the option to control `linger.ms` in producer \
         configs.",
    )
    .or("1000"),
    text("request-required-acks", "request required acks", "The required `acks` of the producer requests").or("-1"),
    int(
        "request-timeout-ms",
        "request timeout ms",
        "The ack timeout of the producer requests. Value must be non-negative and non-zero.",
    )
    .or("1500"),
    long(
        "metadata-expiry-ms",
        "metadata expiration interval",
        "The period of time in milliseconds after which we force a refresh of metadata even if we haven't seen any \
         leadership changes. This is the option to control `metadata.max.age.ms` in producer configs.",
    )
    .or("300000"),
    long(
        "max-block-ms",
        "max block on send",
        "The max time that the producer will block for during a send request.",
    )
    .or("60000"),
    long(
        "max-memory-bytes",
        "total memory in bytes",
        "The total memory used by the producer to buffer records waiting to be sent to the server. This is the option to \
         control `buffer.memory` in producer configs.",
    )
    .or("33554432"),
    int(
        "max-partition-memory-bytes",
        "memory in bytes per partition",
        "The buffer size allocated for a partition. When records are received which are smaller than this size the producer \
         will attempt to optimistically group them together until this size is reached. This is the option to control \
         `batch.size` in producer configs.",
    )
    .or("16384"),
    text(
        "line-reader",
        "reader_class",
        "The class name of the class to use for reading lines from standard in. By default each line is read as a separate \
         message.",
    )
    .or("kafka.tools.ConsoleProducer$LineMessageReader"),
    int(
        "socket-buffer-size",
        "size",
        "The size of the tcp RECV size. This is the option to control `send.buffer.bytes` in producer configs.",
    )
    .or("102400"),
    text(
        "property",
        "prop",
        "A mechanism to pass user-defined properties in the form key=value to the message reader. This allows custom \
         configuration for a user-defined message reader.\n\
         Default properties include:\n \
         parse.key=false\n \
         parse.headers=false\n \
         ignore.error=false\n \
         key.separator=\\t\n \
         headers.delimiter=\\t\n \
         headers.separator=,\n \
         headers.key.separator=:\n \
         null.marker=   When set, any fields (key, value and headers) equal to this will be replaced by null\n\
         Default parsing pattern when:\n \
         parse.headers=true and parse.key=true:\n  \
         \"h1:v1,h2:v2...\\tkey\\tvalue\"\n \
         parse.key=true:\n  \
         \"key\\tvalue\"\n \
         parse.headers=true:\n  \
         \"h1:v1,h2:v2...\\tvalue\"",
    ),
    text(
        "reader-config",
        "config file",
        "Config properties file for the message reader. Note that [property] takes precedence over this config.",
    ),
    text(
        "producer-property",
        "producer_prop",
        "A mechanism to pass user-defined properties in the form key=value to the producer. ",
    ),
    text(
        "producer.config",
        "config file",
        "Producer config properties file. Note that [producer-property] takes precedence over this config.",
    ),
];
