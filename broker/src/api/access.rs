//! What a client must be permitted (`authorizer.class.name`) before a request is handled: for most APIs it is said here, in
//! their rows of the table; where it depends on the names in a request, handlers ask. Decides nothing: `access/authorizer.rs`
//! does.

use super::Context;
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::access::authorizer::Asker;
use crate::broker::Broker;
use crate::resources::{GROUP, Resource, ResourceError, TOPIC};
use common::kafka::error::ErrorCode;
use common::kafka::messages::Request;
use std::sync::Arc;

/// What a request as a whole needs, and what is answered without it.
pub enum Access<R: Request> {
    /// Nothing, or what depends on the names in it.
    ByNames,
    /// To do this to the cluster.
    Cluster(Operation, fn(&R, ErrorCode) -> R::Response),
    /// To do this to the resource of this type that the request names.
    Of(Operation, ResourceType, fn(&R) -> &str, fn(&R, ErrorCode) -> R::Response),
}

impl<R: Request> Access<R> {
    /// The answer to who may not; `None` if it may.
    pub(super) fn refusal(&self, ctx: &Context<'_>, request: &R) -> Option<R::Response> {
        let (operation, kind, name, refused) = match self {
            Access::ByNames => return None,
            Access::Cluster(operation, refused) => (*operation, ResourceType::Cluster, CLUSTER_NAME, refused),
            Access::Of(operation, kind, name, refused) => (*operation, *kind, name(request), refused),
        };
        (!ctx.may(operation, kind, name)).then(|| refused(request, denied(kind)))
    }
}

/// How a client hears that it may not.
pub(super) fn denied(kind: ResourceType) -> ErrorCode {
    match kind {
        ResourceType::Topic => ErrorCode::TopicAuthorizationFailed,
        ResourceType::Group => ErrorCode::GroupAuthorizationFailed,
        ResourceType::Cluster => ErrorCode::ClusterAuthorizationFailed,
        ResourceType::TransactionalId => ErrorCode::TransactionalIdAuthorizationFailed,
        ResourceType::DelegationToken | ResourceType::User => ErrorCode::DelegationTokenAuthorizationFailed,
    }
}

/// What a client may do, to be asked later.
#[derive(Clone)]
pub(super) struct Rights {
    broker: Arc<Broker>,
    principal: String,
    host: String,
}

impl Rights {
    /// May this be done?
    pub(super) fn sees(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let asker = Asker { principal: &self.principal, host: &self.host };
        self.broker.permits(&asker, operation, (kind, name))
    }

    /// As a field of bits by number (KIP-430).
    pub(super) fn operations(&self, kind: ResourceType, name: &str) -> i32 {
        let permitted = kind.operations().iter().filter(|operation| self.sees(**operation, kind, name));
        permitted.fold(0, |bits, operation| bits | 1 << operation.code())
    }

    /// The same for the cluster; nothing if the client may not ask.
    pub(super) fn cluster_operations(&self) -> i32 {
        match self.sees(Operation::Describe, ResourceType::Cluster, CLUSTER_NAME) {
            true => self.operations(ResourceType::Cluster, CLUSTER_NAME),
            false => 0,
        }
    }
}

impl Context<'_> {
    fn asker(&self) -> Asker<'_> {
        Asker { principal: &self.connection.principal, host: &self.connection.client_host }
    }

    /// May the client do this? Who asks for what it may not is told of in the log.
    pub(super) fn may(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let may = self.sees(operation, kind, name);
        if !may {
            let Asker { principal, host } = self.asker();
            let (operation, resource) = (operation.name(), kind.name());
            tracing::info!(principal, host, operation, resource, name, "denied");
        }
        may
    }

    /// As `may`, for a topic.
    pub(super) fn may_topic(&self, operation: Operation, topic: &str) -> bool {
        self.may(operation, ResourceType::Topic, topic)
    }

    /// As `may`, for the cluster.
    pub(super) fn may_cluster(&self, operation: Operation) -> bool {
        self.may(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// May the client change the settings of a resource?
    pub(super) fn may_change(&self, (kind, name): &Resource) -> Result<(), ResourceError> {
        match *kind {
            TOPIC if self.may_topic(Operation::AlterConfigs, name) => Ok(()),
            TOPIC => Err(ResourceError::TopicForbidden),
            GROUP if self.may(Operation::AlterConfigs, ResourceType::Group, name) => Ok(()),
            GROUP => Err(ResourceError::GroupForbidden),
            _ if self.may_cluster(Operation::AlterConfigs) => Ok(()),
            _ => Err(ResourceError::ClusterForbidden),
        }
    }

    /// As `may`, where nobody asked for this very thing.
    pub(super) fn sees(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        self.broker.permits(&self.asker(), operation, (kind, name))
    }

    /// May the client do this to any resource of the type (KIP-679)?
    pub(super) fn may_some(&self, operation: Operation, kind: ResourceType) -> bool {
        self.broker.authorizer.as_ref().is_none_or(|all| all.permits_some(&self.asker(), operation, kind))
    }

    /// The same for an answer that comes later.
    pub(super) fn rights(&self) -> Rights {
        Rights {
            broker: self.broker.clone(),
            principal: self.connection.principal.clone(),
            host: self.connection.client_host.clone(),
        }
    }
}
