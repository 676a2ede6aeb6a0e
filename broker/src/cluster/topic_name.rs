//! Which topic names are allowed, which collide and which topics are internal, as Kafka 3.9 has it. Knows no topics.

use thiserror::Error;

/// The topic of committed offsets and group state.
pub const GROUP_METADATA: &str = "__consumer_offsets";
/// The topic of transaction state.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic of share groups.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The topic that tells what is in the remote store; not an internal one to Kafka.
pub const REMOTE_LOG_METADATA: &str = "__remote_log_metadata";
/// The metadata log of a KRaft cluster; no topic may have this name.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

const MAX_LENGTH: usize = 249;

/// Why a name is no topic name; the text is Kafka's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("Topic name is invalid: {reason}")]
pub struct TopicNameError {
    reason: String,
}

/// Checks a name.
pub fn validate(name: &str) -> Result<(), TopicNameError> {
    let length = name.chars().count();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if length > MAX_LENGTH => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}")
        }
        _ if !name.chars().all(legal) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    Err(TopicNameError { reason })
}

/// True for the topics that brokers themselves write.
pub fn is_internal(name: &str) -> bool {
    matches!(name, GROUP_METADATA | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// Names that differ only in `.` and `_` have the same metric names; Kafka refuses the second one.
pub fn collide(one: &str, other: &str) -> bool {
    let unify = |c: char| if c == '.' { '_' } else { c };
    one.chars().map(unify).eq(other.chars().map(unify))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        let cases = [
            ("", "Topic name is invalid: the empty string is not allowed"),
            ("..", "Topic name is invalid: '..' is not allowed"),
            (
                "a b",
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
        ];
        for (bad, text) in cases {
            assert_eq!(validate(bad).unwrap_err().to_string(), text);
        }
        assert!(validate(&"x".repeat(250)).unwrap_err().to_string().ends_with("max allowed length 249"));
        assert!(collide("a.b", "a_b") && !collide("a.b", "a-b"));
        assert!(is_internal("__consumer_offsets") && !is_internal("t"));
    }
}
