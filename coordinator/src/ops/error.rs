//! Which error of the wire each refusal of the tree is. The only place in the coordinator that says so.

use common::zk::ZkError;

use crate::tree::txn::Refusal;

/// The code that clients get for a refusal.
pub fn code(refusal: Refusal) -> ZkError {
    match refusal {
        Refusal::Unknown | Refusal::SessionExists => ZkError::SystemError,
        Refusal::NoNode => ZkError::NoNode,
        Refusal::NodeExists => ZkError::NodeExists,
        Refusal::BadVersion => ZkError::BadVersion,
        Refusal::NotEmpty => ZkError::NotEmpty,
        Refusal::NoChildrenForEphemerals => ZkError::NoChildrenForEphemerals,
        Refusal::InvalidAcl => ZkError::InvalidAcl,
        Refusal::NoAuth => ZkError::NoAuth,
        Refusal::BadArguments => ZkError::BadArguments,
        Refusal::SessionExpired => ZkError::SessionExpired,
        Refusal::UnknownSession => ZkError::UnknownSession,
        Refusal::SessionMoved => ZkError::SessionMoved,
        Refusal::Unimplemented => ZkError::Unimplemented,
        Refusal::QuotaExceeded => ZkError::QuotaExceeded,
        Refusal::EarlierStepRefused => ZkError::RuntimeInconsistency,
        Refusal::Malformed => ZkError::MarshallingError,
        Refusal::NoWatcher => ZkError::NoWatcher,
        Refusal::ReconfigDisabled => ZkError::ReconfigDisabled,
        Refusal::ReconfigInProgress => ZkError::ReconfigInProgress,
        Refusal::NewConfigNoQuorum => ZkError::NewConfigNoQuorum,
        Refusal::AuthFailed => ZkError::AuthFailed,
        Refusal::EphemeralOnLocalSession => ZkError::EphemeralOnLocalSession,
    }
}
