//! Every error of the machines -> Kafka's error code. The only file of the broker that knows codes of errors it did not
//! make; each match is exhaustive, so that a new error cannot become UNKNOWN_SERVER_ERROR unseen.

use crate::partition::StateError;
use common::kafka::error::ErrorCode;

impl From<StateError> for ErrorCode {
    fn from(error: StateError) -> ErrorCode {
        match error {
            // Kafka answers a leader epoch that is not new with the same code as an old controller.
            StateError::StaleController | StateError::StaleLeaderEpoch => ErrorCode::StaleControllerEpoch,
            StateError::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            StateError::InconsistentTopicId => ErrorCode::InconsistentTopicId,
            StateError::NotAReplica => ErrorCode::UnknownTopicOrPartition,
            StateError::Storage => ErrorCode::KafkaStorageError,
        }
    }
}
