//! Every error of the machines -> Kafka's error code. The only file of the broker that knows codes of errors it did not
//! make; each match is exhaustive, so that a new error cannot become UNKNOWN_SERVER_ERROR unseen.

use crate::group::GroupError;
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

impl From<GroupError> for ErrorCode {
    fn from(error: GroupError) -> ErrorCode {
        match error {
            GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
            GroupError::NotAvailable => ErrorCode::CoordinatorNotAvailable,
            GroupError::Loading => ErrorCode::CoordinatorLoadInProgress,
            GroupError::NotCoordinator => ErrorCode::NotCoordinator,
            GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            GroupError::UnknownMember => ErrorCode::UnknownMemberId,
            GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
            GroupError::FencedInstance => ErrorCode::FencedInstanceId,
            GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
            GroupError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
            GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            GroupError::GroupFull => ErrorCode::GroupMaxSizeReached,
            GroupError::NotEmpty => ErrorCode::NonEmptyGroup,
            GroupError::NotFound => ErrorCode::GroupIdNotFound,
            GroupError::SubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
            GroupError::MetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            GroupError::UnstableOffset => ErrorCode::UnstableOffsetCommit,
            GroupError::CommitTooLarge => ErrorCode::InvalidCommitOffsetSize,
            // Kafka has no code for it either; the operator has to raise max.message.bytes of the offsets topic.
            GroupError::RecordTooLarge => ErrorCode::UnknownServerError,
            GroupError::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}
