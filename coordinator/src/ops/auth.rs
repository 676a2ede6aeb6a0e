//! auth and whoAmI. Changes no connection: it says which ids were proved.

use std::net::IpAddr;

use common::zk::{ClientInfo, Response, ZkError};

use super::ReadContext;
use crate::tree::acl::{self, AclSettings, AuthId};

/// The ids that an auth packet proves.
///
/// # Errors
/// `AuthFailed` if the scheme is not served; the connection closes after the answer.
pub fn authenticate(
    settings: &AclSettings,
    remote: IpAddr,
    scheme: &str,
    proof: &[u8],
) -> Result<Vec<AuthId>, ZkError> {
    let ids = acl::authenticate(settings, remote, scheme, proof);
    if ids.is_empty() { Err(ZkError::AuthFailed) } else { Ok(ids) }
}

pub(super) fn who_am_i(context: &mut ReadContext<'_>) -> Response {
    let client = |id: &AuthId| ClientInfo { auth_scheme: id.scheme.clone(), user: id.user().to_owned() };
    Response::WhoAmI { clients: context.auth.iter().map(client).collect() }
}
