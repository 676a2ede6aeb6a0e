//! The options of the tool and what it says of itself. Reads no command line.

use crate::options::{HELP, Spec, VERSION, flag, long, text};

/// What the tool does.
pub(super) const USAGE: &str = "This tool helps to quickly reset an application in order to reprocess its data from \
scratch.\n\
* This tool resets offsets of input topics to the earliest available offset (by default), or to a specific defined \
position and it skips to the end of intermediate topics (topics that are input and output topics, e.g., used by \
deprecated through() method).\n\
* This tool deletes the internal topics that were created by Kafka Streams (topics starting with \"<application.id>-\").\n\
The tool finds these internal topics automatically. If the topics flagged automatically for deletion by the dry-run are \
unsuitable, you can specify a subset with the \"--internal-topics\" option.\n\
* This tool will not delete output topics (if you want to delete them, you need to do it yourself with the \
bin/kafka-topics.sh command).\n\
* This tool will not clean up the local state on the stream application instances (the persisted stores used to cache \
aggregation results).\n\
You need to call KafkaStreams#cleanUp() in your application or manually delete them from the directory specified by \
\"state.dir\" configuration (${java.io.tmpdir}/kafka-streams/<application.id> by default).\n\
* When long session timeout has been configured, active members could take longer to get expired on the broker thus \
blocking the reset job to complete. Use the \"--force\" option could remove those left-over members immediately. Make \
sure to stop all stream applications when this option is specified to avoid unexpected disruptions.\n\n\
*** Important! You will get wrong output if you don't clean up the local stores after running the reset tool!\n\n\
*** Warning! This tool makes irreversible changes to your application. It is strongly recommended that you run this \
once with \"--dry-run\" to preview your changes before making them.\n\n";

/// The ways to say where input topics are read again, of which one may be there; in the order of Kafka's checks.
pub(super) const SCENARIOS: [&str; 7] =
    ["to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "from-file", "shift-by"];

/// What the tool knows.
pub(super) const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("application-id", "id", "The Kafka Streams application ID (application.id).").needed(),
    text(
        "bootstrap-servers",
        "urls",
        "DEPRECATED: Comma-separated list of broker urls with format: HOST1:PORT1,HOST2:PORT2",
    ),
    text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED unless --bootstrap-servers(deprecated) is specified. The server(s) to connect to. The broker list string \
         in the form HOST1:PORT1,HOST2:PORT2. (default: localhost:9092)",
    ),
    text(
        "input-topics",
        "list",
        "Comma-separated list of user input topics. For these topics, the tool by default will reset the offset to the \
         earliest available offset. Reset to other offset position by appending other reset offset option, ex: \
         --input-topics foo --shift-by 5",
    ),
    text(
        "intermediate-topics",
        "list",
        "Comma-separated list of intermediate user topics (topics that are input and output topics, e.g., used in the \
         deprecated through() method). For these topics, the tool will skip to the end.",
    ),
    text(
        "internal-topics",
        "list",
        "Comma-separated list of internal topics to delete. Must be a subset of the internal topics marked for deletion by \
         the default behaviour (do a dry-run without this option to view these topics).",
    ),
    long("to-offset", "", "Reset offsets to a specific offset."),
    text("to-datetime", "", "Reset offsets to offset from datetime. Format: 'YYYY-MM-DDTHH:mm:SS.sss'"),
    text("by-duration", "", "Reset offsets to offset by duration from current timestamp. Format: 'PnDTnHnMnS'"),
    flag("to-earliest", "Reset offsets to earliest offset."),
    flag("to-latest", "Reset offsets to latest offset."),
    text("from-file", "", "Reset offsets to values defined in CSV file."),
    long(
        "shift-by",
        "number-of-offsets",
        "Reset offsets shifting current offset by 'n', where 'n' can be positive or negative",
    ),
    text(
        "config-file",
        "file name",
        "Property file containing configs to be passed to admin clients and embedded consumer.",
    ),
    flag(
        "force",
        "Force the removal of members of the consumer group (intended to remove stopped members if a long session timeout \
         was used). Make sure to shut down all stream applications when this option is specified to avoid unexpected \
         rebalances.",
    ),
    flag("dry-run", "Display the actions that would be performed without executing the reset commands."),
];
