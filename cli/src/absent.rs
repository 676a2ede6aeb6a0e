//! Tools of Kafka's that people look for and that are not here: what to say when one is called. Runs nothing.

/// Why a tool is not here.
enum Why {
    /// It is to come.
    NotYet,
    /// Apache's own works against our servers.
    Apaches(&'static str),
    /// It is about something that this topology does not have.
    NoUse(&'static str),
}

const KRAFT: &str = "it is about KRaft, and a cluster on ZooKeeper has no metadata quorum";

const ABSENT: &[(&str, Why)] = &[
    ("kafka-delegation-tokens", Why::NotYet),
    ("kafka-jmx", Why::NoUse("the servers are no Java processes and have no JMX")),
    ("kafka-metadata-quorum", Why::NoUse(KRAFT)),
    ("kafka-metadata-shell", Why::NoUse(KRAFT)),
    ("kafka-run-class", Why::NoUse("there is no Java class to run")),
    ("kafka-storage", Why::NoUse("log directories need no formatting; a broker makes them when it starts")),
    ("kafka-mirror-maker", Why::Apaches("MirrorMaker")),
    ("connect-distributed", Why::Apaches("Kafka Connect")),
    ("connect-mirror-maker", Why::Apaches("MirrorMaker")),
    ("connect-plugin-path", Why::Apaches("Kafka Connect")),
    ("connect-standalone", Why::Apaches("Kafka Connect")),
    ("trogdor", Why::Apaches("Trogdor")),
    ("zookeeper-security-migration", Why::NotYet),
];

/// What to say of a tool that Kafka has and Castellan has not; `None` for a name that Kafka does not know either.
pub(crate) fn explanation(name: &str) -> Option<String> {
    let (_, why) = ABSENT.iter().find(|(absent, _)| *absent == name)?;
    Some(match why {
        Why::NotYet => format!("{name} is not part of Castellan yet; Apache's works against these brokers"),
        Why::Apaches(product) => {
            format!("{product} is not part of Castellan; Apache's {name} works against these brokers")
        }
        Why::NoUse(why) => format!("{name} is not part of Castellan: {why}"),
    })
}
