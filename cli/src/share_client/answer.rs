//! What a broker answers to ShareFetch or ShareAcknowledge about a session and about what was said of records. Reads no record.

use super::Place;
use crate::client::check;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{ShareAcknowledgeResponse, ShareFetchResponse};
use std::collections::BTreeMap;

/// Why nothing that was said counts: the connection broke.
pub(super) const NO_ANSWER: &str = "The server disconnected before a response was received.";
/// Why what was said of a partition does not count of which nothing was answered.
const NOT_ANSWERED: &str = "Acknowledgement not successful due to invalid response from broker";

/// What is answered.
pub(super) struct Answer {
    /// The problem with the whole request.
    problem: Option<String>,
    partitions: BTreeMap<Place, Verdict>,
}

/// Of one partition.
struct Verdict {
    /// The error with getting records.
    fetch_code: i16,
    /// The error with what was said, and what the broker says of it.
    acknowledge: (i16, Option<String>),
}

fn problem(code: i16, message: Option<&str>) -> Option<String> {
    check(code, message).err().map(|error| error.to_string())
}

impl From<&ShareFetchResponse> for Answer {
    fn from(response: &ShareFetchResponse) -> Answer {
        let verdicts = response.responses.iter().flat_map(|topic| {
            topic.partitions.iter().map(|data| {
                let acknowledge = (data.acknowledge_error_code, data.acknowledge_error_message.clone());
                ((topic.topic_id, data.partition_index), Verdict { fetch_code: data.error_code, acknowledge })
            })
        });
        Answer {
            problem: problem(response.error_code, response.error_message.as_deref()),
            partitions: verdicts.collect(),
        }
    }
}

impl From<&ShareAcknowledgeResponse> for Answer {
    fn from(response: &ShareAcknowledgeResponse) -> Answer {
        let verdicts = response.responses.iter().flat_map(|topic| {
            topic.partitions.iter().map(|data| {
                let acknowledge = (data.error_code, data.error_message.clone());
                ((topic.topic_id, data.partition_index), Verdict { fetch_code: 0, acknowledge })
            })
        });
        Answer {
            problem: problem(response.error_code, response.error_message.as_deref()),
            partitions: verdicts.collect(),
        }
    }
}

impl Answer {
    /// Does the session go on? Else the request was not looked into.
    pub(super) fn is_of_session(&self) -> bool {
        self.problem.is_none()
    }

    /// Was a partition not given for a reason of its own?
    pub(super) fn has_fetch_errors(&self) -> bool {
        self.partitions.values().any(|verdict| verdict.fetch_code != 0)
    }

    /// The partitions that the broker does not lead.
    pub(super) fn moved(&self) -> Vec<Place> {
        let is_elsewhere = |code: i16| {
            matches!(
                ErrorCode::from_code(code),
                Some(
                    ErrorCode::NotLeaderOrFollower
                        | ErrorCode::FencedLeaderEpoch
                        | ErrorCode::UnknownTopicOrPartition
                        | ErrorCode::UnknownTopicId
                )
            )
        };
        let moved = self
            .partitions
            .iter()
            .filter(|(_, verdict)| is_elsewhere(verdict.fetch_code) || is_elsewhere(verdict.acknowledge.0));
        moved.map(|(place, _)| *place).collect()
    }

    /// Why what was said of records of a partition does not count.
    pub(super) fn problem_of(&self, place: &Place) -> Option<String> {
        if self.problem.is_some() {
            return self.problem.clone();
        }
        match self.partitions.get(place) {
            Some(Verdict { acknowledge: (code, message), .. }) => problem(*code, message.as_deref()),
            None => Some(NOT_ANSWERED.to_owned()),
        }
    }
}
