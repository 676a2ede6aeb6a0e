//! Lines of the audit log, as ZooKeeper's: who changed what, from where, and whether it was done. Writes nothing itself.

use crate::tree::acl::AuthId;
use common::zk::{Acl, CreateMode, CreateRequest, Request, Response, ZkError};
use std::net::IpAddr;

/// What is remembered of a request until its answer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    operation: &'static str,
    path: String,
    mode: Option<String>,
    acl: Option<String>,
    steps: Vec<Entry>,
}

impl Entry {
    fn new(operation: &'static str, path: &str) -> Entry {
        Entry { operation, path: path.to_owned(), mode: None, acl: None, steps: Vec::new() }
    }

    /// What there is to say of a request; none of one that changes nothing.
    pub fn of(request: &Request) -> Option<Entry> {
        let created = |create: &CreateRequest| {
            let mode = CreateMode::from_flag(create.flags).map(|mode| mode_name(mode).to_owned());
            Entry { mode, ..Entry::new("create", &create.path) }
        };
        Some(match request {
            Request::Create(create)
            | Request::Create2(create)
            | Request::CreateContainer(create)
            | Request::CreateTtl { create, .. }
            | Request::CreateIfNotExists(create) => created(create),
            Request::Delete { path, .. }
            | Request::DeleteContainer { path }
            | Request::TryRemove { path, .. }
            | Request::RemoveRecursive { path, .. } => Entry::new("delete", path),
            Request::SetData { path, .. } => Entry::new("setData", path),
            Request::SetAcl { path, acl, .. } => Entry { acl: Some(acl_text(acl)), ..Entry::new("setAcl", path) },
            Request::Reconfig(_) => Entry::new("reconfig", ""),
            Request::Multi(steps) => {
                Entry { steps: steps.iter().filter_map(Entry::of).collect(), ..Entry::new("multiOperation", "") }
            }
            _ => return None,
        })
    }

    /// The lines for an answer.
    pub fn lines(&self, who: Who<'_>, result: &Result<Response, ZkError>) -> Vec<String> {
        let failed = match result {
            Err(_) => true,
            Ok(Response::Multi(results)) => results.iter().any(Result::is_err),
            Ok(_) => false,
        };
        if failed || self.steps.is_empty() {
            let path = match result {
                Ok(Response::Create { path } | Response::Create2 { path, .. }) => path,
                _ => &self.path,
            };
            return vec![self.line(who, path, failed)];
        }
        self.steps.iter().map(|step| step.line(who, &step.path, false)).collect()
    }

    fn line(&self, who: Who<'_>, path: &str, failed: bool) -> String {
        let users: Vec<&str> = who.auth.iter().map(AuthId::user).collect();
        let mut line = format!(
            "session={:#x}\tuser={}\tip={}\toperation={}",
            who.session,
            users.join(","),
            who.remote,
            self.operation
        );
        let more = [("znode", (!path.is_empty()).then_some(path)), ("znode_type", self.mode.as_deref())];
        for (key, value) in more.into_iter().chain([("acl", self.acl.as_deref())]) {
            if let Some(value) = value {
                line.push_str(&format!("\t{key}={}", escaped(value)));
            }
        }
        line + if failed { "\tresult=failure" } else { "\tresult=success" }
    }
}

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The session.
    pub session: i64,
    /// Who the client has shown to be.
    pub auth: &'a [AuthId],
    /// Its address.
    pub remote: IpAddr,
}

/// A path may hold what would look like another field or line.
fn escaped(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn mode_name(mode: CreateMode) -> &'static str {
    match mode {
        CreateMode::Persistent => "persistent",
        CreateMode::Ephemeral => "ephemeral",
        CreateMode::PersistentSequential => "persistent_sequential",
        CreateMode::EphemeralSequential => "ephemeral_sequential",
        CreateMode::Container => "container",
        CreateMode::PersistentWithTtl => "persistent_with_ttl",
        CreateMode::PersistentSequentialWithTtl => "persistent_sequential_with_ttl",
    }
}

/// `scheme:id:perms`, several joined by commas; digests are left out.
fn acl_text(acl: &[Acl]) -> String {
    let one = |acl: &Acl| {
        let id = if acl.id.scheme == "digest" { acl.id.id.split(':').next().unwrap_or("") } else { &acl.id.id };
        let perms: String = ['r', 'w', 'c', 'd', 'a']
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| acl.perms & (1 << bit) != 0)
            .map(|(_, letter)| letter)
            .collect();
        format!("{}:{id}:{perms}", acl.id.scheme)
    };
    acl.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_who_did_what() {
        let auth = [AuthId::ip(IpAddr::from([9, 9, 9, 9])), AuthId { scheme: "digest".into(), id: "u:h".into() }];
        let who = Who { session: 0x1a, auth: &auth, remote: IpAddr::from([9, 9, 9, 9]) };
        let check = |request: &Request, result: Result<Response, ZkError>, want: &[&str]| {
            let begin = "session=0x1a\tuser=9.9.9.9,u\tip=9.9.9.9\toperation=";
            let want: Vec<String> = want.iter().map(|line| format!("{begin}{line}")).collect();
            assert_eq!(Entry::of(request).map_or(Vec::new(), |entry| entry.lines(who, &result)), want, "{request:?}");
        };
        let create = |mode| Request::Create(CreateRequest::new("/a", "", Acl::open_unsafe(), mode));
        let delete = Request::Delete { path: "/b".into(), version: -1 };
        check(
            &create(CreateMode::EphemeralSequential),
            Ok(Response::Create { path: "/a0000000001".into() }),
            &["create\tznode=/a0000000001\tznode_type=ephemeral_sequential\tresult=success"],
        );
        check(
            &create(CreateMode::Persistent),
            Err(ZkError::NodeExists),
            &["create\tznode=/a\tznode_type=persistent\tresult=failure"],
        );
        let acl = Request::SetAcl { path: "/a\tx=y".into(), acl: Acl::creator_all(), version: -1 };
        check(&acl, Err(ZkError::NoAuth), &["setAcl\tznode=/a x=y\tacl=auth::rwcda\tresult=failure"]);
        let multi = Request::Multi(vec![create(CreateMode::Container), delete]);
        let done = Response::Multi(vec![Ok(Response::Create { path: "/a".into() }), Ok(Response::Delete)]);
        check(
            &multi,
            Ok(done),
            &["create\tznode=/a\tznode_type=container\tresult=success", "delete\tznode=/b\tresult=success"],
        );
        let refused = Response::Multi(vec![Err(ZkError::Ok), Err(ZkError::NoNode)]);
        check(&multi, Ok(refused), &["multiOperation\tresult=failure"]);
        check(&Request::Ping, Ok(Response::Ping), &[]);
    }
}
