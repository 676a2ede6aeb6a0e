//! Each operation's answer on a small tree. Nothing is replicated here.

use common::zk::{CreateMode, CreateRequest, Id};

use super::*;
use crate::trace::TraceLimits;
use crate::tree::acl::Acl;
use crate::tree::txn::{Create, CreateSession, SetAcl, Txn, TxnBody};
use common::zk::RequestsWanted;

/// `/a` readable by all, `/a/d` with bob's digest, `/a/none` closed, `/a/e` of session 5, and a few below.
fn tree() -> Tree {
    let mut tree = Tree::new();
    let mut zxid = 0;
    let mut apply = |session: i64, body: TxnBody| {
        zxid += 1;
        tree.apply(&Txn { zxid, time: 1_000, session, body: Some(body), ..Txn::default() }).result.expect("it fits")
    };
    apply(5, TxnBody::CreateSession(CreateSession { timeout_ms: 1, password: vec![] }));
    let bob = || vec![Acl::new(31, "digest", "bob:hash"), Acl::new(1, "world", "anyone")];
    for (number, (path, acl, owner)) in [
        ("/a", Acl::open(), 0),
        ("/a/d", bob(), 0),
        ("/a/none", vec![Acl::new(31, "ip", "1.1.1.1")], 0),
        ("/a/e", Acl::open(), 5),
        ("/a/d/x", Acl::open(), 5),
        ("/a/none/hidden", Acl::open(), 0),
    ]
    .into_iter()
    .enumerate()
    {
        let data = Some(path.to_owned().into());
        let parent_cversion = i64::try_from(number).expect("few");
        apply(0, TxnBody::Create(Create { path: path.into(), data, acl, owner, parent_cversion }));
    }
    apply(0, TxnBody::SetAcl(SetAcl { path: "/a/d".into(), acl: bob(), version: 1 }));
    tree
}

fn stranger() -> Vec<AuthId> {
    vec![AuthId { scheme: "ip".into(), id: "9.9.9.9".into() }]
}

fn answer(tree: &Tree, auth: &[AuthId], request: Request) -> Result<Response, ZkError> {
    answer_with(tree, &Trace::new(1, TraceLimits { count: 0, slow_ms: 0 }), auth, request)
}

fn answer_with(tree: &Tree, trace: &Trace, auth: &[AuthId], request: Request) -> Result<Response, ZkError> {
    let mut context = ReadContext {
        tree,
        watches: &mut Watches::default(),
        connection: ConnectionId(1),
        session: 5,
        auth,
        settings: &AclSettings::default(),
        trace,
        missed: Vec::new(),
    };
    read(&mut context, &request)
}

/// ClickHouse's client reads a bit for each feature, the highest of a byte first.
#[test]
fn clickhouse_is_told_which_operations_there_are() {
    let get =
        |tree: &Tree, path: &str| match answer(tree, &stranger(), Request::GetData { path: path.into(), watch: false })
        {
            Ok(Response::GetData { data, .. }) => Ok(data.unwrap_or_default().to_vec()),
            other => Err(other.err()),
        };
    let mut tree = tree();
    assert_eq!(get(&tree, "/keeper/feature_flags"), Ok(vec![0xfb, 0xe0]));
    assert_eq!(get(&tree, "/keeper/api_version"), Ok(b"2".to_vec()));
    assert_eq!(get(&tree, "/keeper"), Err(Some(ZkError::NoNode)));
    // A znode that is there counts.
    for (number, path) in ["/keeper", "/keeper/feature_flags"].into_iter().enumerate() {
        let body = Create { path: path.into(), data: Some("x".into()), acl: Acl::open(), owner: 0, parent_cversion: 9 };
        let zxid = 100 + number as i64;
        tree.apply(&Txn { zxid, body: Some(TxnBody::Create(body)), ..Txn::default() }).result.expect("it fits");
    }
    assert_eq!(get(&tree, "/keeper/feature_flags"), Ok(b"x".to_vec()));
}

#[test]
fn every_operation_is_carried_out_as_the_table_says() {
    let samples: Vec<Request> = vec![
        Request::Ping,
        Request::WhoAmI,
        Request::CloseSession,
        Request::Sync { path: "/".into() },
        Request::Exists { path: "/".into(), watch: false },
        Request::GetEphemerals { prefix: "/".into() },
        Request::Delete { path: "/x".into(), version: -1 },
        Request::TryRemove { path: "/x".into(), version: -1 },
        Request::Multi(vec![Request::Check { path: "/".into(), version: 0 }]),
        Request::MultiRead(vec![]),
        Request::Sasl { token: None },
    ];
    let tree = tree();
    for request in samples {
        let class = class(request.opcode());
        let reads = answer(&tree, &stranger(), request.clone()) != Err(ZkError::Unimplemented);
        assert_eq!(reads, class == Class::Read, "{request:?}");
        assert_eq!(write(request.clone()).is_ok(), class == Class::Write, "{request:?}");
    }
    for opcode in OpCode::ALL {
        let never_asked = matches!(opcode, OpCode::Notification | OpCode::Error | OpCode::CreateSession);
        assert_eq!(class(*opcode) == Class::Refused, never_asked, "{opcode:?}");
    }
}

#[test]
fn reads_need_their_permission() {
    let tree = tree();
    let path = || "/a/none".to_owned();
    for request in [
        Request::Exists { path: path(), watch: true },
        Request::GetData { path: path(), watch: true },
        Request::GetAcl { path: path() },
        Request::GetChildren { path: path(), watch: true },
        Request::GetChildren2 { path: path(), watch: true },
        Request::GetAllChildrenNumber { path: path() },
        Request::FilteredList { path: path(), watch: true, filter: 0 },
        Request::ListRecursive { path: path(), limit: 0 },
    ] {
        assert_eq!(answer(&tree, &stranger(), request.clone()), Err(ZkError::NoAuth), "{request:?}");
        let super_user = [AuthId { scheme: "super".into(), id: String::new() }];
        assert!(answer(&tree, &super_user, request.clone()).is_ok(), "{request:?}");
    }
}

#[test]
fn digests_are_shown_to_administrators_only() {
    let tree = tree();
    let shown = |auth: &[AuthId]| match answer(&tree, auth, Request::GetAcl { path: "/a/d".into() }) {
        Ok(Response::GetAcl { acl, stat }) => (acl[0].id.clone(), stat.aversion),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(&stranger()), (Id::new("digest", "bob:x"), 1));
    let bob = [AuthId { scheme: "digest".into(), id: "bob:hash".into() }];
    assert_eq!(shown(&bob), (Id::new("digest", "bob:hash"), 1));
}

#[test]
fn lists() {
    let tree = tree();
    let check = |request: Request, want: &[&str]| {
        let got = match answer(&tree, &stranger(), request.clone()).expect("readable") {
            Response::GetChildren { children }
            | Response::GetChildren2 { children, .. }
            | Response::GetEphemerals { ephemerals: children }
            | Response::ListRecursive { paths: children } => children,
            Response::FilteredListWithStatsAndData { children, stats, data, .. } => {
                let one = |number: usize| {
                    let data = data[number].as_deref().map(String::from_utf8_lossy);
                    format!("{} {} {data:?}", children[number], stats[number].czxid)
                };
                (0..children.len()).map(one).collect()
            }
            Response::GetAllChildrenNumber { total } => vec![total.to_string()],
            Response::WhoAmI { clients } => {
                clients.into_iter().map(|c| format!("{} {}", c.auth_scheme, c.user)).collect()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(got, want, "{request:?}");
    };
    let path = || "/a".to_owned();
    let prefix = |prefix: &str| Request::GetEphemerals { prefix: prefix.into() };
    check(Request::GetChildren { path: path(), watch: false }, &["d", "e", "none"]);
    check(Request::GetChildren2 { path: path(), watch: false }, &["d", "e", "none"]);
    check(Request::FilteredList { path: path(), watch: false, filter: 1 }, &["d", "none"]);
    check(Request::FilteredList { path: path(), watch: false, filter: 2 }, &["e"]);
    let both = Request::FilteredListWithStatsAndData {
        path: path(),
        watch: false,
        filter: 0,
        with_stat: true,
        with_data: true,
    };
    check(both, &["d 3 Some(\"/a/d\")", "e 5 Some(\"/a/e\")", "none 0 None"]);
    check(Request::ListRecursive { path: path(), limit: 0 }, &["/a/d", "/a/e", "/a/none", "/a/d/x"]);
    check(Request::ListRecursive { path: path(), limit: 2 }, &["/a/d", "/a/e"]);
    check(Request::GetAllChildrenNumber { path: path() }, &["5"]);
    check(Request::GetAllChildrenNumber { path: "/".into() }, &["9"]);
    check(prefix(""), &["/a/d/x", "/a/e"]);
    check(prefix(" / "), &["/a/d/x", "/a/e"]);
    check(prefix("/a/d"), &["/a/d/x"]);
    check(prefix("/b"), &[]);
    check(Request::WhoAmI, &["ip 9.9.9.9"]);
}

#[test]
fn reads_of_a_multi_fail_one_by_one() {
    let tree = tree();
    let get = |path: &str| Request::GetData { path: path.into(), watch: true };
    let Ok(Response::MultiRead(results)) =
        answer(&tree, &stranger(), Request::MultiRead(vec![get("/no"), get("/a/none"), get("/a"), Request::Ping]))
    else {
        panic!("a multi is answered by a multi");
    };
    let errors: Vec<Option<ZkError>> = results.iter().map(|result| result.as_ref().err().copied()).collect();
    assert_eq!(errors, [Some(ZkError::NoNode), Some(ZkError::NoAuth), None, Some(ZkError::Unimplemented)]);
}

#[test]
fn creates_in_a_multi_go_by_their_flags() {
    let create = |mode| CreateRequest::new("/x", "", vec![], mode);
    let shape = |request| match write(Request::Multi(vec![request])) {
        Ok((_, ReplyShape::Multi(shapes))) => Ok(shapes),
        Ok((_, other)) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let cases = [
        (Request::Create(create(CreateMode::Persistent)), Ok(ReplyShape::Create)),
        (Request::Create2(create(CreateMode::Persistent)), Ok(ReplyShape::Create2)),
        (Request::Create(create(CreateMode::Container)), Ok(ReplyShape::Create2)),
        (Request::Create(create(CreateMode::PersistentWithTtl)), Err(ZkError::MarshallingError)),
        (
            Request::Create2(CreateRequest { flags: 7, ..create(CreateMode::Persistent) }),
            Err(ZkError::MarshallingError),
        ),
        (Request::CreateTtl { create: create(CreateMode::PersistentWithTtl), ttl_ms: 1 }, Ok(ReplyShape::Create2)),
        (Request::CreateTtl { create: create(CreateMode::Persistent), ttl_ms: 1 }, Ok(ReplyShape::Create)),
    ];
    for (request, want) in cases {
        assert_eq!(shape(request.clone()), want.map(|shape| vec![shape]), "{request:?}");
    }
}

#[test]
fn requests_of_all_are_for_who_may_do_everything() {
    let ask = |tree: &Tree, count| {
        let trace = Trace::new(7, TraceLimits { count, slow_ms: 5 });
        let wanted = RequestsWanted { limit: 10, ..RequestsWanted::default() };
        let answer = answer_with(tree, &trace, &stranger(), Request::GetRequests(wanted))?;
        let Response::GetRequests { found } = answer else { panic!("{answer:?}") };
        Ok::<_, ZkError>(String::from_utf8(found.unwrap_or_default().to_vec()).unwrap())
    };
    let mut tree = Tree::new();
    assert_eq!(ask(&tree, 0), Err(ZkError::Unimplemented));
    assert_eq!(ask(&tree, 3), Ok(r#"{"count":3,"requests":[],"server":7,"slow_ms":5}"#.to_owned()));
    let body = TxnBody::SetAcl(SetAcl { path: "/".into(), acl: vec![Acl::new(1, "world", "anyone")], version: 1 });
    tree.apply(&Txn { zxid: 1, time: 1, body: Some(body), ..Txn::default() }).result.unwrap();
    assert_eq!(ask(&tree, 3), Err(ZkError::NoAuth));
}

#[test]
fn earlier_values_are_for_who_might_read_them() {
    use crate::tree::history::HistoryLimits;
    use crate::tree::txn::{Delete, SetData};
    let mut tree = tree();
    let asked = |path: &str, zxid| Request::GetHistory { path: path.into(), zxid, with_data: true };
    assert_eq!(answer(&tree, &stranger(), asked("/a", 0)), Err(ZkError::Unimplemented));
    tree.keep_history(HistoryLimits { count: 10, bytes: 10_000 });
    let mut apply = |zxid: i64, body: TxnBody| {
        let txn = Txn { zxid, time: 1_000 * zxid, body: Some(body), ..Txn::default() };
        tree.apply(&txn).result.expect("it fits");
    };
    let set = |path: &str, data: &'static str, version| {
        TxnBody::SetData(SetData { path: path.into(), data: Some(data.into()), version })
    };
    let none_hidden = || "/a/none/hidden".to_owned();
    apply(100, set("/a/d", "first", 1));
    apply(101, set("/a/d", "second", 2));
    apply(102, TxnBody::Delete(Delete { path: "/a/e".into() }));
    apply(103, TxnBody::Delete(Delete { path: none_hidden() }));
    apply(104, TxnBody::Delete(Delete { path: "/a/none".into() }));
    let check = |path: &str, zxid, expected: Result<&str, ZkError>| {
        let shown = answer(&tree, &stranger(), asked(path, zxid)).map(|response| {
            let Response::GetHistory { values } = response else { panic!("{response:?}") };
            let one = |value: &common::zk::PastValue| {
                let data = String::from_utf8_lossy(value.data.as_deref().unwrap_or_default()).into_owned();
                let end = if value.is_removed { "removed" } else { "" };
                format!("{data}@{}-{}{end} {}", value.mzxid, value.until, value.acl[0].id.id)
            };
            values.iter().map(one).collect::<Vec<_>>().join(", ")
        });
        assert_eq!(shown.as_deref().map_err(|error| *error), expected, "{path} {zxid}");
    };
    // Of a digest the secret part is hidden, as from getACL.
    check("/a/d", 0, Ok("second@101-0 bob:x, first@100-101 bob:x, /a/d@3-100 bob:x"));
    check("/a/d", 100, Ok("first@100-101 bob:x"));
    check("/a/d", 2, Ok(""));
    check("/a/d", i64::MAX, Ok("second@101-0 bob:x"));
    check("/a/e", 0, Ok("/a/e@5-102removed anyone"));
    check("/a/none/hidden", 0, Ok("/a/none/hidden@7-103removed anyone"));
    check("/a/none", 0, Err(ZkError::NoAuth));
    check("/a/nothing", 0, Err(ZkError::NoNode));
}
