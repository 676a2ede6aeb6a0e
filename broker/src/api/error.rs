//! Every error of the machines -> Kafka's error code. The only file of the broker that knows codes of errors it did not
//! make; each match is exhaustive, so that a new error cannot become UNKNOWN_SERVER_ERROR unseen.

use crate::cluster::assignment::PlacementError;
use crate::cluster::image::ImageError;
use crate::cluster::{
    AdminError, AlterPartitionError, ControlledShutdownError, ElectionError, NotController, ProducerIdsError,
    ReassignError,
};
use crate::group::GroupError;
use crate::log::AppendError;
use crate::log::producers::ProducerError;
use crate::partition::fetch_session::SessionError;
use crate::partition::moving::MoveError;
use crate::partition::{DeleteError, PieceError, ProduceError, ReadError, StateError};
use crate::producer_ids::NoProducerIds;
use crate::resources::ResourceError;
use crate::share::ShareStateError;
use crate::share::partition::AckError;
use crate::share::session::ShareSessionError;
use crate::telemetry::TelemetryError;
use crate::txn::TxnError;
use common::kafka::error::ErrorCode;
use common::kafka::wire::STRING_MAX_BYTES;

/// A text for a client. What it quotes came as a string of the wire, so quotation and words together may be longer than one
/// can be: the end is cut off.
pub(super) fn text(text: impl Into<String>) -> Option<String> {
    let mut text = text.into();
    text.truncate(text.floor_char_boundary(STRING_MAX_BYTES));
    Some(text)
}

impl From<MoveError> for ErrorCode {
    fn from(error: MoveError) -> ErrorCode {
        match error {
            MoveError::UnknownDir => ErrorCode::LogDirNotFound,
            MoveError::Storage => ErrorCode::KafkaStorageError,
            MoveError::NotHeld => ErrorCode::ReplicaNotAvailable,
        }
    }
}

impl From<StateError> for ErrorCode {
    fn from(error: StateError) -> ErrorCode {
        match error {
            // Kafka answers a leader epoch that is not new with the same code as an old controller.
            StateError::StaleController | StateError::StaleLeaderEpoch => ErrorCode::StaleControllerEpoch,
            StateError::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            StateError::InconsistentTopicId => ErrorCode::InconsistentTopicId,
            StateError::NoLogName => ErrorCode::InvalidTopicException,
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
            GroupError::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            GroupError::NotInTransaction => ErrorCode::InvalidTxnState,
            GroupError::InvalidRequest => ErrorCode::InvalidRequest,
            GroupError::UnsupportedAssignor => ErrorCode::UnsupportedAssignor,
            GroupError::InvalidRegex => ErrorCode::InvalidRegularExpression,
            GroupError::FencedEpoch => ErrorCode::FencedMemberEpoch,
            GroupError::StaleEpoch => ErrorCode::StaleMemberEpoch,
            GroupError::UnreleasedInstance => ErrorCode::UnreleasedInstanceId,
            GroupError::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        }
    }
}

impl From<TxnError> for ErrorCode {
    fn from(error: TxnError) -> ErrorCode {
        match error {
            TxnError::InvalidId => ErrorCode::InvalidRequest,
            TxnError::InvalidTimeout => ErrorCode::InvalidTransactionTimeout,
            TxnError::NotAvailable => ErrorCode::CoordinatorNotAvailable,
            TxnError::Loading | TxnError::NoProducerIds => ErrorCode::CoordinatorLoadInProgress,
            TxnError::NotCoordinator => ErrorCode::NotCoordinator,
            TxnError::InvalidProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
            TxnError::ProducerFenced => ErrorCode::ProducerFenced,
            TxnError::Concurrent => ErrorCode::ConcurrentTransactions,
            TxnError::InvalidTxnState => ErrorCode::InvalidTxnState,
            TxnError::NotFound => ErrorCode::TransactionalIdNotFound,
            // Kafka has no code for it either.
            TxnError::RecordTooLarge => ErrorCode::UnknownServerError,
        }
    }
}

impl From<AckError> for ErrorCode {
    fn from(error: AckError) -> ErrorCode {
        match error {
            AckError::Invalid => ErrorCode::InvalidRequest,
            AckError::NotAcquired | AckError::NoRenewal => ErrorCode::InvalidRecordState,
        }
    }
}

impl From<ShareSessionError> for ErrorCode {
    fn from(error: ShareSessionError) -> ErrorCode {
        match error {
            ShareSessionError::NotFound => ErrorCode::ShareSessionNotFound,
            ShareSessionError::InvalidEpoch => ErrorCode::InvalidShareSessionEpoch,
            ShareSessionError::LimitReached => ErrorCode::ShareSessionLimitReached,
            ShareSessionError::AcknowledgesAtFirst | ShareSessionError::TooManyPartitions => ErrorCode::InvalidRequest,
        }
    }
}

impl From<ShareStateError> for ErrorCode {
    fn from(error: ShareStateError) -> ErrorCode {
        match error {
            ShareStateError::InvalidKey | ShareStateError::ReadUninitialized | ShareStateError::WriteUninitialized => {
                ErrorCode::InvalidRequest
            }
            ShareStateError::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            ShareStateError::FencedStateEpoch => ErrorCode::FencedStateEpoch,
            ShareStateError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ShareStateError::NotCoordinator => ErrorCode::NotCoordinator,
            ShareStateError::Loading => ErrorCode::CoordinatorLoadInProgress,
            ShareStateError::NotAvailable => ErrorCode::CoordinatorNotAvailable,
            // Kafka has no code for it either.
            ShareStateError::TooLarge => ErrorCode::UnknownServerError,
        }
    }
}

/// What a transactional client of a version hears that may be too old for PRODUCER_FENCED (KIP-588).
pub(crate) fn of_txn(error: TxnError, knows_fenced: bool) -> ErrorCode {
    match ErrorCode::from(error) {
        ErrorCode::ProducerFenced if !knows_fenced => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

impl From<&ImageError> for ErrorCode {
    fn from(error: &ImageError) -> ErrorCode {
        match error {
            ImageError::StaleController { .. } => ErrorCode::StaleControllerEpoch,
        }
    }
}

impl From<NotController> for ErrorCode {
    fn from(_: NotController) -> ErrorCode {
        ErrorCode::NotController
    }
}

impl From<&PlacementError> for ErrorCode {
    fn from(error: &PlacementError) -> ErrorCode {
        match error {
            PlacementError::NoPartitions => ErrorCode::InvalidPartitions,
            PlacementError::NoReplicas | PlacementError::TooFewBrokers { .. } => ErrorCode::InvalidReplicationFactor,
            // Kafka has no code for it either.
            PlacementError::RacksIncomplete => ErrorCode::UnknownServerError,
        }
    }
}

impl From<&AdminError> for ErrorCode {
    fn from(error: &AdminError) -> ErrorCode {
        match error {
            AdminError::TopicExists(_) | AdminError::MarkedForDeletion(_) => ErrorCode::TopicAlreadyExists,
            AdminError::QueuedForDeletion | AdminError::InvalidName(_) | AdminError::Collides { .. } => {
                ErrorCode::InvalidTopicException
            }
            AdminError::Placement(error) => error.into(),
            AdminError::TooManyPartitions | AdminError::FewerPartitions { .. } | AdminError::SamePartitions(_) => {
                ErrorCode::InvalidPartitions
            }
            AdminError::NumbersAndAssignment => ErrorCode::InvalidRequest,
            AdminError::UnequalReplicas
            | AdminError::DuplicateReplica(_)
            | AdminError::NotConsecutive
            | AdminError::UnknownBrokers(_)
            | AdminError::AssignmentCount { .. }
            | AdminError::EmptyReplicas(_)
            | AdminError::DuplicateBrokers { .. }
            | AdminError::InconsistentFactor { .. } => ErrorCode::InvalidReplicaAssignment,
            AdminError::UnknownTopic(_) | AdminError::NotKept(_) => ErrorCode::UnknownTopicOrPartition,
            AdminError::NothingLeft(_) => ErrorCode::KafkaStorageError,
            AdminError::ReassignmentInProgress(_) => ErrorCode::ReassignmentInProgress,
            AdminError::TimedOut => ErrorCode::RequestTimedOut,
            AdminError::NotController => ErrorCode::NotController,
            AdminError::ZooKeeper(_) => ErrorCode::UnknownServerError,
        }
    }
}

impl From<AlterPartitionError> for ErrorCode {
    fn from(error: AlterPartitionError) -> ErrorCode {
        match error {
            AlterPartitionError::NotController => ErrorCode::NotController,
            AlterPartitionError::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
            AlterPartitionError::UnknownTopicId => ErrorCode::UnknownTopicId,
            AlterPartitionError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            AlterPartitionError::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            AlterPartitionError::StalePartitionEpoch => ErrorCode::InvalidUpdateVersion,
            AlterPartitionError::BadRecoveryState => ErrorCode::InvalidRequest,
            AlterPartitionError::IneligibleReplica => ErrorCode::IneligibleReplica,
        }
    }
}

impl From<ControlledShutdownError> for ErrorCode {
    fn from(error: ControlledShutdownError) -> ErrorCode {
        match error {
            // Kafka's ControllerMovedException, which has this code; the broker looks for the controller again.
            ControlledShutdownError::NotController => ErrorCode::StaleControllerEpoch,
            ControlledShutdownError::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
            ControlledShutdownError::UnknownBroker => ErrorCode::BrokerNotAvailable,
        }
    }
}

impl From<ProducerIdsError> for ErrorCode {
    fn from(error: ProducerIdsError) -> ErrorCode {
        match error {
            ProducerIdsError::NotController => ErrorCode::NotController,
            ProducerIdsError::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
            ProducerIdsError::UnknownBroker => ErrorCode::BrokerIdNotRegistered,
            ProducerIdsError::Unavailable => ErrorCode::UnknownServerError,
        }
    }
}

impl From<&ElectionError> for ErrorCode {
    fn from(error: &ElectionError) -> ErrorCode {
        match error {
            ElectionError::NotNeeded => ErrorCode::ElectionNotNeeded,
            ElectionError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ElectionError::TopicDeleted => ErrorCode::InvalidTopicException,
            ElectionError::PreferredNotAvailable(_) => ErrorCode::PreferredLeaderNotAvailable,
            ElectionError::NoneAvailable(_) => ErrorCode::EligibleLeadersNotAvailable,
            ElectionError::NotController => ErrorCode::NotController,
        }
    }
}

impl From<&ReassignError> for ErrorCode {
    fn from(error: &ReassignError) -> ErrorCode {
        match error {
            ReassignError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ReassignError::NotInProgress => ErrorCode::NoReassignmentInProgress,
            ReassignError::Empty
            | ReassignError::Duplicate(_)
            | ReassignError::InvalidBroker(_)
            | ReassignError::NotAlive { .. } => ErrorCode::InvalidReplicaAssignment,
            ReassignError::FactorChanges { .. } => ErrorCode::InvalidReplicationFactor,
            ReassignError::NotWritten => ErrorCode::NotController,
        }
    }
}

impl From<ReadError> for ErrorCode {
    fn from(error: ReadError) -> ErrorCode {
        match error {
            ReadError::NotLeaderOrFollower => ErrorCode::NotLeaderOrFollower,
            ReadError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ReadError::FencedEpoch => ErrorCode::FencedLeaderEpoch,
            ReadError::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
            ReadError::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
            ReadError::InconsistentTopicId => ErrorCode::InconsistentTopicId,
            ReadError::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
            ReadError::Storage => ErrorCode::KafkaStorageError,
            ReadError::Corrupt => ErrorCode::CorruptMessage,
            ReadError::InRemote { .. } => ErrorCode::OffsetMovedToTieredStorage,
            ReadError::RemoteUnknown => ErrorCode::ReplicaNotAvailable,
            ReadError::RemoteStore => ErrorCode::UnknownServerError,
        }
    }
}

impl From<PieceError> for ErrorCode {
    fn from(error: PieceError) -> ErrorCode {
        match error {
            PieceError::UnknownTopicId => ErrorCode::UnknownTopicId,
            PieceError::Forbidden => ErrorCode::TopicAuthorizationFailed,
            PieceError::Read(error) => error.into(),
        }
    }
}

impl From<SessionError> for ErrorCode {
    fn from(error: SessionError) -> ErrorCode {
        match error {
            SessionError::UnknownSession => ErrorCode::FetchSessionIdNotFound,
            SessionError::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
            SessionError::TopicIdMismatch => ErrorCode::FetchSessionTopicIdError,
        }
    }
}

impl From<&ProduceError> for ErrorCode {
    fn from(error: &ProduceError) -> ErrorCode {
        match error {
            ProduceError::NotLeader => ErrorCode::NotLeaderOrFollower,
            ProduceError::UnknownPartition => ErrorCode::NotLeaderOrFollower,
            ProduceError::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
            ProduceError::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
            ProduceError::TimedOut => ErrorCode::RequestTimedOut,
            ProduceError::Storage => ErrorCode::KafkaStorageError,
            ProduceError::NotInTransaction => ErrorCode::InvalidTxnState,
            ProduceError::Refused(error) => ErrorCode::from(&**error),
        }
    }
}

impl From<&AppendError> for ErrorCode {
    fn from(error: &AppendError) -> ErrorCode {
        match error {
            AppendError::Corrupt { .. } => ErrorCode::CorruptMessage,
            AppendError::UnsupportedFormat { .. } => ErrorCode::UnsupportedForMessageFormat,
            AppendError::RecordTooLarge { .. } => ErrorCode::MessageTooLarge,
            AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            AppendError::InvalidRecord { .. } => ErrorCode::InvalidRecord,
            AppendError::RecordsWithoutKey { .. } => ErrorCode::InvalidRecord,
            AppendError::InvalidTimestamp { .. } | AppendError::TimestampsOutOfRange { .. } => {
                ErrorCode::InvalidTimestamp
            }
            AppendError::Producer(error) => error.into(),
            // Only what is fetched has offsets of its own.
            AppendError::OffsetsOutOfOrder { .. } | AppendError::UnexpectedOffset { .. } => {
                ErrorCode::UnknownServerError
            }
            AppendError::Log(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<&ProducerError> for ErrorCode {
    fn from(error: &ProducerError) -> ErrorCode {
        match error {
            ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            ProducerError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            ProducerError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        }
    }
}

impl From<DeleteError> for ErrorCode {
    fn from(error: DeleteError) -> ErrorCode {
        match error {
            DeleteError::NotLeader => ErrorCode::NotLeaderOrFollower,
            DeleteError::UnknownPartition => ErrorCode::NotLeaderOrFollower,
            DeleteError::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
            DeleteError::Policy => ErrorCode::PolicyViolation,
            DeleteError::TimedOut => ErrorCode::RequestTimedOut,
            DeleteError::Storage => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<NoProducerIds> for ErrorCode {
    fn from(NoProducerIds: NoProducerIds) -> ErrorCode {
        ErrorCode::CoordinatorLoadInProgress
    }
}

impl From<&ResourceError> for ErrorCode {
    fn from(error: &ResourceError) -> ErrorCode {
        match error {
            ResourceError::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
            ResourceError::InvalidRequest(_) => ErrorCode::InvalidRequest,
            ResourceError::InvalidConfig(_) => ErrorCode::InvalidConfig,
            ResourceError::ClusterForbidden => ErrorCode::ClusterAuthorizationFailed,
            ResourceError::TopicForbidden => ErrorCode::TopicAuthorizationFailed,
            ResourceError::GroupForbidden => ErrorCode::GroupAuthorizationFailed,
            ResourceError::NotWritten(_) => ErrorCode::UnknownServerError,
        }
    }
}

impl From<&TelemetryError> for ErrorCode {
    fn from(error: &TelemetryError) -> ErrorCode {
        match error {
            TelemetryError::InvalidInstance | TelemetryError::Terminated => ErrorCode::InvalidRequest,
            TelemetryError::TooSoon => ErrorCode::ThrottlingQuotaExceeded,
            TelemetryError::UnknownSubscription => ErrorCode::UnknownSubscriptionId,
            TelemetryError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
            TelemetryError::TooLarge(_) => ErrorCode::TelemetryTooLarge,
            TelemetryError::Compressed(_) | TelemetryError::Unreadable(_) => ErrorCode::InvalidRecord,
            TelemetryError::NotTaken => ErrorCode::UnsupportedVersion,
        }
    }
}
