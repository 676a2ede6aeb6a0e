//! The tree as transactions change it: live, loaded again and pending. Nothing is stored here.

use prost::Message;

use super::acl::{AuthId, READ};
use super::pending::{Pending, PrepareRequest, PrepareSettings};
use super::txn::{Applied, CloseSession, CreateSession, Outcome, Txn, TxnBody};
use super::write::{CreateOp, CreateWrite, DeleteWrite, MultiWrite, SetAclWrite, SetDataWrite, Write, WriteBody};
use super::*;

/// A leader in small: decides, and applies when told to, so that requests can be in flight.
struct Leader {
    tree: Tree,
    pending: Pending,
    zxid: i64,
    in_flight: Vec<Txn>,
    log: Vec<Txn>,
    auth: Vec<AuthId>,
}

impl Leader {
    fn new(settings: PrepareSettings) -> Leader {
        Leader {
            tree: Tree::new(),
            pending: Pending::new(settings),
            zxid: 0,
            in_flight: Vec::new(),
            log: Vec::new(),
            auth: Vec::new(),
        }
    }

    /// With sessions 1 and 2.
    fn with_sessions() -> Leader {
        let mut leader = Leader::new(PrepareSettings { extended_types: true, ..PrepareSettings::default() });
        for session in [1, 2] {
            leader.run(session, begin());
        }
        leader
    }

    fn prepare(&mut self, session: i64, body: WriteBody) -> &Txn {
        self.zxid += 1;
        let time = 1_000 + self.zxid;
        let request =
            PrepareRequest { server: 1, session, is_local: false, auth: &self.auth, time, write: body.into() };
        let body = self.pending.prepare(&self.tree, request, self.zxid);
        let txn = Txn { zxid: self.zxid, time, origin: None, session, cxid: 0, body: Some(body) };
        self.in_flight.push(txn);
        self.in_flight.last().expect("just pushed")
    }

    fn apply_all(&mut self) -> Vec<Applied> {
        let mut applied = Vec::new();
        for txn in self.in_flight.drain(..) {
            applied.push(self.tree.apply(&txn));
            self.pending.applied(txn.zxid);
            self.log.push(txn);
        }
        applied
    }

    fn run(&mut self, session: i64, body: WriteBody) -> Applied {
        self.prepare(session, body);
        self.apply_all().pop().expect("one was in flight")
    }

    fn result(&mut self, session: i64, body: WriteBody) -> Result<Outcome, Refusal> {
        self.run(session, body).result
    }
}

fn begin() -> WriteBody {
    WriteBody::CreateSession(CreateSession { timeout_ms: 10_000, password: vec![9; 16] })
}

fn end() -> WriteBody {
    WriteBody::CloseSession(CloseSession {})
}

fn create_with(path: &str, flags: i32, acl: Vec<Acl>) -> WriteBody {
    let (op, ttl_ms) = match flags {
        4 => (CreateOp::Container, 0),
        5 | 6 => (CreateOp::Ttl, 500),
        _ => (CreateOp::Plain, 0),
    };
    let data = Some(b"data".as_slice().into());
    WriteBody::Create(CreateWrite { path: path.into(), data, acl, flags, op: op as i32, ttl_ms })
}

fn create(path: &str, flags: i32) -> WriteBody {
    create_with(path, flags, Acl::open())
}

fn delete(path: &str, version: i32) -> WriteBody {
    WriteBody::Delete(DeleteWrite { path: path.into(), version })
}

fn set(path: &str, data: &'static str, version: i32) -> WriteBody {
    WriteBody::SetData(SetDataWrite { path: path.into(), data: Some(data.into()), version })
}

fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> WriteBody {
    WriteBody::SetAcl(SetAclWrite { path: path.into(), acl, version })
}

fn check(path: &str, version: i32) -> WriteBody {
    WriteBody::Check(DeleteWrite { path: path.into(), version })
}

fn multi(bodies: Vec<WriteBody>) -> WriteBody {
    WriteBody::Multi(MultiWrite { writes: bodies.into_iter().map(Write::from).collect() })
}

/// What came of it, in one word.
fn word(result: &Result<Outcome, Refusal>) -> String {
    match result {
        Ok(Outcome::Created { path, .. }) => path.clone(),
        Ok(Outcome::Changed { stat }) => format!("v{}/{}", stat.version, stat.aversion),
        Ok(Outcome::Multi(results)) => results.iter().map(word).collect::<Vec<_>>().join(" "),
        Ok(Outcome::FailedMulti(refusals)) => {
            let words = refusals.iter().map(|refusal| refusal.map_or("Ok".into(), |refusal| format!("{refusal:?}")));
            words.collect::<Vec<_>>().join(" ")
        }
        Ok(outcome) => format!("{outcome:?}"),
        Err(refusal) => format!("{refusal:?}"),
    }
}

/// Where 2^31 children were made: without the setting as ZooKeeper names them, with it on; also behind numbers of ZooKeeper's.
#[test]
fn sequential_names_go_on_where_they_are_asked_to() {
    let check = |long_sequences: bool, made: i64, expected: [&str; 3]| {
        let mut leader = Leader::new(PrepareSettings { long_sequences, ..PrepareSettings::default() });
        leader.run(1, begin());
        leader.run(1, create("/q", 0));
        leader.zxid += 1;
        let first = super::txn::Create {
            path: "/q/first".into(),
            data: None,
            acl: Acl::open(),
            owner: 0,
            parent_cversion: made,
        };
        let body = Some(TxnBody::Create(first));
        let txn = Txn { zxid: leader.zxid, time: 1, origin: None, session: 1, cxid: 0, body };
        leader.tree.apply(&txn).result.expect("it is new");
        // The middle one is prepared before the first is applied.
        let alone = leader.result(1, create("/q/n-", 2));
        leader.prepare(1, create("/q/n-", 2));
        leader.prepare(1, create("/q/n-", 2));
        let rest = leader.apply_all().into_iter().map(|applied| applied.result);
        let names: Vec<String> = std::iter::once(alone).chain(rest).map(|result| word(&result)).collect();
        assert_eq!(names, expected.map(|digits| format!("/q/n-{digits}")), "{long_sequences} {made}");
        let cversion = leader.tree.node("/q").expect("it was made").stat().cversion;
        assert_eq!(cversion, (made as i32).wrapping_add(3).wrapping_mul(2).wrapping_sub(4));
    };
    let max = i64::from(i32::MAX);
    check(false, max, ["2147483647", "-2147483648", "-2147483647"]);
    check(true, max, ["2147483647", "2147483648", "2147483649"]);
    check(true, i64::from(i32::MIN), ["2147483648", "2147483649", "2147483650"]);
    check(true, 9_999_999_998, ["9999999998", "9999999999", "10000000000"]);
    check(true, 7, ["0000000007", "0000000008", "0000000009"]);
}

#[test]
fn a_new_tree_looks_like_zookeepers() {
    let tree = Tree::new();
    assert_eq!(tree.nodes_count(), 4);
    let stat = |path: &str| tree.node(path).map(Node::stat);
    assert_eq!(stat("/"), Some(Stat { cversion: -1, num_children: 1, ..Stat::default() }));
    assert_eq!(stat("/zookeeper"), Some(Stat { cversion: -2, num_children: 2, ..Stat::default() }));
    assert_eq!(stat("/zookeeper/config"), Some(Stat { aversion: -1, ..Stat::default() }));
    assert_eq!(stat(""), stat("/"));
    for missing in ["zookeeper", "/zookeeper/", "//", "/zookeeper//quota", "/a"] {
        assert_eq!(stat(missing), None, "{missing}");
    }
}

#[test]
fn requests_are_answered_as_by_zookeeper() {
    let steps: &[(WriteBody, &str)] = &[
        (create("/a", 0), "/a"),
        (create("/a", 0), "NodeExists"),
        (create("/x/y", 0), "NoNode"),
        (create("a", 0), "BadArguments"),
        (create("", 0), "BadArguments"),
        (create("/", 0), "NodeExists"),
        (create("//b", 0), "BadArguments"),
        (create("/a/", 0), "BadArguments"),
        (create("/a/..", 0), "BadArguments"),
        (create("/nul\0", 0), "BadArguments"),
        (create("/a", 9), "BadArguments"),
        (create_with("/b", 0, Vec::new()), "InvalidAcl"),
        (create_with("/b", 0, vec![Acl::new(1, "digest", "bad")]), "InvalidAcl"),
        (create("/a/s-", 2), "/a/s-0000000000"),
        (create("/a/", 2), "/a/0000000001"),
        (create("/a/plain", 0), "/a/plain"),
        (delete("/a/plain", -1), "Deleted"),
        (create("/a/s-", 3), "/a/s-0000000003"),
        (create("/a/e", 1), "/a/e"),
        (create("/a/e/f", 0), "NoChildrenForEphemerals"),
        (create("/a/c", 4), "/a/c"),
        (create("/a/t", 5), "/a/t"),
        (delete("/a", -1), "NotEmpty"),
        (delete("/a/e", 1), "BadVersion"),
        (delete("/a/e", 0), "Deleted"),
        (delete("/a/e", -1), "NoNode"),
        (delete("/", -1), "BadArguments"),
        (delete("/zookeeper/quota", -1), "BadArguments"),
        (delete("nothing", -1), "BadArguments"),
        (set("/a", "1", -1), "v1/0"),
        (set("/a", "2", 0), "BadVersion"),
        (set("/a", "2", 1), "v2/0"),
        (set("/b", "2", 1), "NoNode"),
        (set("/a/", "2", 1), "BadArguments"),
        (set_acl("/a", Acl::open(), 1), "BadVersion"),
        (set_acl("/a", vec![Acl::new(31, "auth", "")], 0), "InvalidAcl"),
        (set_acl("/a", Acl::open(), 0), "v2/1"),
        (check("/a", 2), "Checked"),
        (check("/a", 3), "BadVersion"),
        (check("/b", -1), "NoNode"),
        (WriteBody::DeleteContainer(DeleteWrite { path: "/a/c".into(), version: -1 }), "Deleted"),
        (WriteBody::DeleteContainer(DeleteWrite { path: "/a/s-0000000000".into(), version: -1 }), "BadVersion"),
        (
            multi(vec![create("/m", 0), create("/m/n", 0), set("/m/n", "x", 0), delete("/m/n", 1)]),
            "/m /m/n v1/0 Deleted",
        ),
        (multi(vec![create("/k", 0), create("/m", 0), create("/l", 0)]), "Ok NodeExists EarlierStepRefused"),
        (check("/k", -1), "NoNode"),
        (multi(vec![create("/m/s", 2), create("/m/s", 2)]), "/m/s0000000001 /m/s0000000002"),
        (multi(vec![]), ""),
        (multi(vec![multi(vec![])]), "Malformed"),
        (multi(vec![end()]), "Malformed"),
    ];
    let mut leader = Leader::with_sessions();
    for (number, (body, want)) in steps.iter().enumerate() {
        let zxid = leader.zxid;
        let got = leader.result(1, body.clone());
        assert_eq!(word(&got), *want, "step {number}: {body:?}");
        assert_eq!(leader.tree.zxid(), zxid + 1, "each request takes a zxid, refused or not");
    }
    assert_eq!(word(&leader.result(7, create("/z", 0))), "UnknownSession");
    assert_eq!(word(&leader.result(7, create("/z", 1))), "SessionExpired");
}

#[test]
fn clickhouse_requests() {
    use super::write::{CheckStatWrite, RemoveRecursiveWrite};
    let remove = |path: &str, limit| WriteBody::RemoveRecursive(RemoveRecursiveWrite { path: path.into(), limit });
    let absent = |path: &str, version| WriteBody::CheckNotExists(DeleteWrite { path: path.into(), version });
    let try_remove = |path: &str, version| WriteBody::TryRemove(DeleteWrite { path: path.into(), version });
    let stat = |czxid, children| {
        let (longs, ints) = (vec![czxid, -1, -1, -1, -1, -1], vec![-1, -1, -1, -1, children]);
        WriteBody::CheckStat(CheckStatWrite { path: "/a".into(), version: -1, longs, ints })
    };
    let unless_there = |path: &str| match create(path, 0) {
        WriteBody::Create(create) => WriteBody::CreateIfNotExists(create),
        other => other,
    };
    let steps: &[(WriteBody, &str)] = &[
        (unless_there("/a"), "/a"),
        (unless_there("/a"), "Checked"),
        (unless_there("/no/parent"), "NoNode"),
        (multi(vec![create("/a/b", 0), create("/a/b/c", 1), create("/a/d", 0)]), "/a/b /a/b/c /a/d"),
        (absent("/x", -1), "Checked"),
        (absent("/a", -1), "NodeExists"),
        (absent("/a", 0), "NodeExists"),
        (absent("/a", 1), "Checked"),
        (stat(3, 2), "Checked"),
        (stat(-1, -1), "Checked"),
        (stat(4, 2), "BadVersion"),
        (stat(3, 1), "BadVersion"),
        (multi(vec![create("/a/e", 0), stat(-1, 3), delete("/a/e", -1), stat(-1, 2)]), "/a/e Checked Deleted Checked"),
        (try_remove("/x", -1), "Checked"),
        (try_remove("/a/d", 1), "BadVersion"),
        (try_remove("/a/d", 0), "Deleted"),
        (remove("/x", 9), "NoNode"),
        (remove("/zookeeper/quota", 9), "BadArguments"),
        (remove("/a", 2), "NotEmpty"),
        (multi(vec![create("/a/f", 0), remove("/a", 3)]), "Ok NotEmpty"),
        (multi(vec![create("/a/f", 0), remove("/a", 4), create("/a", 0)]), "/a/f Deleted Deleted Deleted Deleted /a"),
        (check("/a/b/c", -1), "NoNode"),
    ];
    let mut leader = Leader::with_sessions();
    for (number, (body, want)) in steps.iter().enumerate() {
        assert_eq!(word(&leader.result(1, body.clone())), *want, "step {number}: {body:?}");
    }
    assert_eq!(leader.tree.ephemerals_count(), 0);
    leader.run(1, create_with("/shut", 0, vec![Acl::new(23, "world", "anyone")]));
    leader.run(1, create("/shut/in", 0));
    assert_eq!(word(&leader.result(1, remove("/shut", 9))), "NoAuth");
    assert!(leader.tree.node("/shut/in").is_some());
}

#[test]
fn ttl_znodes_need_the_setting_and_a_time() {
    let ttl = |flags, ttl_ms| {
        let acl = Acl::open();
        WriteBody::Create(CreateWrite { path: "/t".into(), data: None, acl, flags, op: CreateOp::Ttl as i32, ttl_ms })
    };
    let mut without = Leader::new(PrepareSettings::default());
    without.run(1, begin());
    assert_eq!(word(&without.result(1, ttl(5, 100))), "Unimplemented");
    let mut leader = Leader::with_sessions();
    for (body, want) in [
        (ttl(5, 0), "BadArguments"),
        (ttl(5, LONGEST_TTL_MS + 1), "BadArguments"),
        (ttl(0, 5), "BadArguments"),
        (create("/p", 5), "/p"),
        (ttl(6, LONGEST_TTL_MS), "/t0000000001"),
    ] {
        assert_eq!(word(&leader.result(1, body)), want);
    }
    assert_eq!(leader.tree.outlived(1_400, 0), Vec::<String>::new());
    assert_eq!(leader.tree.outlived(2_000, 0), ["/p"]);
    assert_eq!(leader.tree.node("/p").map(|node| node.stat().ephemeral_owner), Some(0));
}

#[test]
fn containers_outlive_their_last_child_and_no_longer() {
    let mut leader = Leader::with_sessions();
    leader.run(1, create("/c", 4));
    assert_eq!(leader.tree.outlived(i64::MAX, 0), Vec::<String>::new());
    assert_eq!(leader.tree.outlived(i64::MAX, 10), ["/c"]);
    leader.run(1, create("/c/x", 0));
    assert_eq!(leader.tree.outlived(i64::MAX, 10), Vec::<String>::new());
    leader.run(1, delete("/c/x", -1));
    assert_eq!(leader.tree.outlived(0, 0), ["/c"]);
    // The leader's own request has no session.
    let own = WriteBody::DeleteContainer(DeleteWrite { path: "/c".into(), version: -1 });
    assert_eq!(word(&leader.result(0, own)), "Deleted");
    assert_eq!(leader.tree.outlived(i64::MAX, 10), Vec::<String>::new());
}

#[test]
fn stat_counts_as_zookeeper_does() {
    let mut leader = Leader::with_sessions();
    let stat = |leader: &Leader, path: &str| leader.tree.node(path).map(Node::stat);
    leader.run(1, create("/a", 0)); // zxid 3
    let made = Stat { czxid: 3, mzxid: 3, pzxid: 3, ctime: 1003, mtime: 1003, data_length: 4, ..Stat::default() };
    assert_eq!(stat(&leader, "/a"), Some(made));
    leader.run(1, create("/a/b", 1)); // 4
    leader.run(1, create("/a/c", 0)); // 5
    leader.run(1, delete("/a/c", -1)); // 6
    let with_child = Stat { cversion: 3, num_children: 1, pzxid: 6, ..made };
    assert_eq!(stat(&leader, "/a"), Some(with_child));
    leader.run(1, set("/a", "longer data", 0)); // 7
    let changed = Stat { mzxid: 7, mtime: 1007, version: 1, data_length: 11, ..with_child };
    assert_eq!(stat(&leader, "/a"), Some(changed));
    leader.run(1, set_acl("/a", Acl::read_only(), -1)); // 8
    assert_eq!(stat(&leader, "/a"), Some(Stat { aversion: 1, ..changed }));
    assert_eq!(stat(&leader, "/a/b").map(|stat| stat.ephemeral_owner), Some(1));
    leader.run(1, end()); // 9
    assert_eq!(stat(&leader, "/a/b"), None);
    assert_eq!(stat(&leader, "/a"), Some(Stat { aversion: 1, cversion: 4, num_children: 0, pzxid: 9, ..changed }));
}

#[test]
fn permissions_guard_every_change() {
    let mut leader = Leader::with_sessions();
    for (path, perms) in [("/none", 0), ("/r", 1), ("/w", 2), ("/c", 4), ("/d", 8), ("/a", 16)] {
        leader.run(1, create(path, 0));
        leader.run(1, create(&format!("{path}/x"), 0));
        leader.run(1, set_acl(path, vec![Acl::new(perms, "world", "anyone")], -1));
    }
    for (allowed, body) in [
        ("/r", (|path| check(path, 0)) as fn(&str) -> WriteBody),
        ("/w", |path| set(path, "", -1)),
        ("/c", |path| create(&format!("{path}/new"), 0)),
        ("/d", |path| delete(&format!("{path}/x"), -1)),
        ("/a", |path| set_acl(path, vec![Acl::new(16, "world", "anyone")], -1)),
    ] {
        for path in ["/none", "/r", "/w", "/c", "/d", "/a"] {
            let got = leader.result(1, body(path));
            assert_eq!(got.is_ok(), path == allowed, "{path} {:?} {got:?}", body(path));
        }
    }
    leader.auth.push(AuthId { scheme: "super".into(), id: String::new() });
    assert_eq!(word(&leader.result(1, set("/none", "", -1))), "v1/1");
}

#[test]
fn a_request_sees_what_is_in_flight() {
    let mut leader = Leader::with_sessions();
    let bodies = [
        (1, create("/a", 0)),
        (1, create("/a/s", 2)),
        (2, create("/a/s", 3)),
        (1, delete("/a", -1)),
        (2, end()),
        (2, create("/late", 0)),
        (1, create("/a/s", 2)),
        (1, delete("/a/s0000000000", -1)),
        (1, multi(vec![delete("/a/s0000000002", 0), create("/a", 0)])),
        (1, multi(vec![delete("/a/s0000000002", 0), delete("/a", 0)])),
        (1, set("/a", "", -1)),
    ];
    let want = [
        "/a",
        "/a/s0000000000",
        "/a/s0000000001",
        "NotEmpty",
        "SessionClosed",
        "SessionExpired",
        "/a/s0000000002",
        "Deleted",
        "Ok NodeExists",
        "Deleted Deleted",
        "NoNode",
    ];
    for (session, body) in bodies {
        leader.prepare(session, body);
    }
    assert_eq!(leader.pending.in_flight_count(), 7);
    let got: Vec<String> = leader.apply_all().iter().map(|applied| word(&applied.result)).collect();
    assert_eq!(got, want);
    assert_eq!(leader.pending.in_flight_count(), 0);
    assert!(leader.tree.node("/a").is_none());
}

#[test]
fn events_of_each_change() {
    let mut leader = Leader::with_sessions();
    leader.run(1, create("/a", 0));
    let mut check = |session: i64, body: WriteBody, want: &[&str]| {
        let applied = leader.run(session, body.clone());
        let got: Vec<String> =
            applied.events.iter().map(|trigger| format!("{:?} {}", trigger.kind, trigger.path)).collect();
        assert_eq!(got, want, "{body:?}");
        (applied.closed_session, applied.events)
    };
    check(1, create("/b", 0), &["Created /b", "ChildrenChanged /"]);
    check(1, create("/a/b", 1), &["Created /a/b", "ChildrenChanged /a"]);
    check(1, create("/a/b", 1), &[]);
    check(1, set("/a", "x", -1), &["DataChanged /a"]);
    check(1, self::check("/a", -1), &[]);
    let (_, events) = check(1, set_acl("/b", Acl::read_only(), -1), &[]);
    assert!(events.is_empty());
    let both = multi(vec![set("/a", "y", -1), delete("/b", -1)]);
    let (_, events) = check(1, both, &["DataChanged /a", "Deleted /b", "ChildrenChanged /"]);
    assert_eq!(events[1].acl[0].perms, READ, "who could read the znode may hear of its end");
    let (closed, _) = check(1, end(), &["Deleted /a/b", "ChildrenChanged /a"]);
    assert_eq!(closed, Some(1));
}

#[test]
fn sessions_move_with_their_password() {
    let mut leader = Leader::with_sessions();
    let attach = |leader: &mut Leader, session, password: &[u8], server| {
        leader.pending.attach(&leader.tree, session, password, server)
    };
    assert_eq!(attach(&mut leader, 7, &[9; 16], 2), Err(Refusal::SessionExpired));
    assert_eq!(attach(&mut leader, 1, &[8; 16], 2), Err(Refusal::SessionExpired));
    assert_eq!(word(&leader.result(1, create("/a", 0))), "/a");
    assert_eq!(attach(&mut leader, 1, &[9; 16], 2), Ok(10_000));
    assert_eq!(word(&leader.result(1, create("/b", 0))), "SessionMoved");
    assert_eq!(attach(&mut leader, 1, &[9; 16], 1), Ok(10_000));
    assert_eq!(word(&leader.result(1, create("/b", 0))), "/b");
    leader.prepare(1, end());
    assert_eq!(attach(&mut leader, 1, &[9; 16], 1), Err(Refusal::SessionExpired));
    leader.apply_all();
    assert_eq!(attach(&mut leader, 1, &[9; 16], 1), Err(Refusal::SessionExpired));
    assert_eq!(word(&leader.result(2, begin())), "SessionExists");
}

#[test]
fn quotas_are_counted_and_hard_limits_hold() {
    let settings = PrepareSettings { enforce_quota: true, ..PrepareSettings::default() };
    let mut leader = Leader::new(settings);
    leader.run(1, begin());
    let node = |path: &str, data: &'static str| {
        let acl = Acl::open();
        let data = Some(data.into());
        WriteBody::Create(CreateWrite { path: path.into(), data, acl, flags: 0, op: 0, ttl_ms: 0 })
    };
    let stats = |leader: &Leader| {
        let node = leader.tree.node("/zookeeper/quota/a/zookeeper_stats").and_then(Node::data);
        node.map(|data| String::from_utf8_lossy(data).into_owned()).unwrap_or_default()
    };
    for (path, data) in [
        ("/a", "12345"),
        ("/ab", ""),
        ("/zookeeper/quota/a", ""),
        ("/zookeeper/quota/a/zookeeper_limits", "count=-1,bytes=-1=;countHardLimit=3;byteHardLimit=20"),
        ("/zookeeper/quota/a/zookeeper_stats", "count=0,bytes=0"),
    ] {
        assert_eq!(word(&leader.result(1, node(path, data))), path);
    }
    assert_eq!(stats(&leader), "count=1,bytes=5");
    for (body, want, after) in [
        (node("/a/b", "123"), "/a/b", "count=2,bytes=8"),
        (node("/ab/c", "123"), "/ab/c", "count=2,bytes=8"),
        (set("/a/b", "1234567", -1), "v1/0", "count=2,bytes=12"),
        (set("/a/b", "1234567890123456", -1), "QuotaExceeded", "count=2,bytes=12"),
        (node("/a/b/c", ""), "/a/b/c", "count=3,bytes=12"),
        (node("/a/b/d", ""), "QuotaExceeded", "count=3,bytes=12"),
        (delete("/a/b/c", -1), "Deleted", "count=2,bytes=12"),
    ] {
        assert_eq!(word(&leader.result(1, body.clone())), want, "{body:?}");
        assert_eq!(stats(&leader), after, "{body:?}");
    }
    let tree = Tree::load(leader.tree.entries()).unwrap();
    assert!(tree.exceeds_quota("/a/b/d", 0, 2) && !tree.exceeds_quota("/ab/d", 0, 2));
    leader.run(1, delete("/zookeeper/quota/a/zookeeper_limits", -1));
    leader.run(1, node("/a/x", "x"));
    assert_eq!(stats(&leader), "count=2,bytes=12");
}

/// A path from a small pool, so that requests meet each other.
fn random_path(rng: &mut fastrand::Rng) -> String {
    let names = ["a", "b", "c"];
    let depth = rng.usize(1..4);
    (0..depth).map(|_| format!("/{}", names[rng.usize(..names.len())])).collect()
}

fn random_body(rng: &mut fastrand::Rng, in_multi: bool) -> WriteBody {
    let path = random_path(rng);
    let version = if rng.u8(..4) == 0 { rng.i32(0..3) } else { -1 };
    let acl = match rng.u8(..8) {
        0 => Acl::read_only(),
        1 => vec![Acl::new(31, "ip", "1.2.3.4")],
        _ => Acl::open(),
    };
    match rng.u8(..if in_multi { 12 } else { 16 }) {
        0..5 => create_with(&path, rng.i32(0..7), acl),
        5..8 => delete(&path, version),
        8 => set(&path, "other data", version),
        9 => check(&path, version),
        10 => WriteBody::TryRemove(DeleteWrite { path, version }),
        11 => WriteBody::RemoveRecursive(super::write::RemoveRecursiveWrite { path, limit: rng.u32(0..9) }),
        12 => set_acl(&path, acl, version),
        13 => end(),
        14 => begin(),
        _ => multi((0..rng.usize(0..5)).map(|_| random_body(rng, true)).collect()),
    }
}

/// A transaction in which "is ending" and "has ended" are the same: the one thing that depends on how far it came.
fn plain(txn: &Txn) -> Txn {
    let mut txn = txn.clone();
    let unknown = Refusal::UnknownSession as i32;
    let plain = |code: &mut i32| *code = if *code == Refusal::SessionExpired as i32 { unknown } else { *code };
    match &mut txn.body {
        Some(TxnBody::Error(error)) => plain(&mut error.code),
        Some(TxnBody::FailedMulti(failed)) => failed.codes.iter_mut().for_each(plain),
        _ => {}
    }
    txn
}

/// One random history, with up to 20 requests in flight. All that must agree: a leader that applies each request
/// before it looks at the next; a follower that gets the log as bytes; trees loaded from the store and from a snapshot.
fn random_history(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut piped = Leader::with_sessions();
    let mut steady = Leader::with_sessions();
    let mut store = BTreeMap::new();
    let mut newest = 2;
    for _ in 0..300 {
        let mut session = rng.i64((newest - 2).max(1)..=newest);
        let body = random_body(&mut rng, false);
        if matches!(body, WriteBody::CreateSession(_)) {
            newest += 1;
            session = newest;
        }
        piped.prepare(session, body.clone());
        steady.run(session, body);
        if piped.in_flight.len() > rng.usize(..20) {
            piped.apply_all();
            for (key, value) in if rng.bool() { piped.tree.take_changes() } else { Vec::new() } {
                match value {
                    Some(value) => store.insert(key, value),
                    None => store.remove(&key),
                };
            }
        }
    }
    piped.apply_all();
    for (piped, steady) in piped.log.iter().zip(&steady.log) {
        assert_eq!(plain(piped), plain(steady), "seed {seed}: what is in flight counts as if it were applied");
    }
    let mut follower = Tree::new();
    for txn in &piped.log {
        follower.apply(&Txn::decode(txn.encode_to_vec().as_slice()).unwrap());
    }
    for (key, value) in piped.tree.take_changes() {
        match value {
            Some(value) => store.insert(key, value),
            None => store.remove(&key),
        };
    }
    let entries: BTreeMap<_, _> = piped.tree.entries().collect();
    assert_eq!(store, entries, "seed {seed}: the store holds the tree");
    let loaded = Tree::load(&store).unwrap();
    let copied = Tree::from_snapshot(&piped.tree.snapshot()).unwrap();
    for (name, tree) in [("steady", &steady.tree), ("follower", &follower), ("store", &loaded), ("snapshot", &copied)] {
        assert_eq!(tree.entries().collect::<BTreeMap<_, _>>(), entries, "seed {seed}: {name}");
        let figures = |tree: &Tree| {
            let sizes = (tree.nodes_count(), tree.data_size_bytes(), tree.ephemerals_count(), tree.acls_count());
            (tree.digest(), tree.zxid(), sizes, tree.outlived(i64::MAX, 1))
        };
        assert_eq!(figures(tree), figures(&piped.tree), "seed {seed}: {name}");
        assert_eq!(tree.nodes_count(), tree.descendants_count("/") + 1, "seed {seed}: {name}");
    }
}

#[test]
fn random_histories_agree_everywhere() {
    for seed in 0..60 {
        random_history(seed);
    }
}

#[test]
fn applying_is_total_whatever_the_log_holds() {
    let mut rng = fastrand::Rng::with_seed(5);
    for seed in 0..40 {
        // Transactions that were decided against another tree.
        let mut other = Leader::with_sessions();
        for _ in 0..60 {
            let session = rng.i64(1..4);
            let body = random_body(&mut rng, false);
            other.run(session, body);
        }
        let mut tree = Tree::new();
        rng.shuffle(&mut other.log);
        for txn in &other.log {
            tree.apply(txn);
        }
        let nested = TxnBody::Multi(super::txn::Multi {
            steps: vec![super::txn::Step { body: Some(TxnBody::CloseSession(CloseSession {})) }, Default::default()],
        });
        tree.apply(&Txn { zxid: 1, body: Some(nested), ..Txn::default() });
        tree.apply(&Txn::default());
        let loaded = Tree::load(tree.entries()).unwrap();
        assert_eq!(loaded.digest(), tree.digest(), "seed {seed}");
    }
}

#[test]
fn damaged_snapshots_are_refused() {
    let mut leader = Leader::with_sessions();
    for path in ["/a", "/a/b", "/c"] {
        leader.run(1, create(path, 1 - i32::from(path == "/a")));
    }
    let good = leader.tree.snapshot();
    assert_eq!(Tree::from_snapshot(&good).unwrap().digest(), leader.tree.digest());
    for length in 0..good.len() {
        assert!(Tree::from_snapshot(&good[..length]).is_err(), "cut to {length}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(Tree::from_snapshot(&bad).is_err(), "flipped at {at}");
        // With a checksum that fits the damage, as a liar would send it: an error or a tree, but no panic.
        let end = bad.len() - 4;
        let checksum = crc32c::crc32c(&bad[..end]);
        bad[end..].copy_from_slice(&checksum.to_le_bytes());
        let _ = Tree::from_snapshot(&bad);
    }
    assert_eq!(Tree::load(Vec::<(Vec<u8>, Vec<u8>)>::new()).unwrap().digest(), Tree::new().digest());
}

#[test]
fn a_leaf_is_small() {
    assert_eq!(std::mem::size_of::<Node>(), 80);
}

#[test]
fn deep_trees_are_no_danger() {
    let mut tree = Tree::new();
    let mut node = Node::new(tree.root.acl, None);
    for _ in 0..200_000 {
        let child = Box::new(std::mem::replace(&mut node, Node::new(tree.root.acl, None)));
        node.family_mut().children = Children::from([("a".into(), child)]);
    }
    tree.root.family = node.family.take();
    assert_eq!(tree.descendants_count("/"), 200_000);
    drop(tree);
}

#[test]
fn paths_have_a_longest_length() {
    let mut leader = Leader::with_sessions();
    let path = |length: usize| format!("/{}", "x".repeat(length - 1));
    let longest = path(common::limits::ZNODE_PATH_BYTES);
    assert_eq!(word(&leader.result(1, create(&longest, 0))), longest);
    assert_eq!(word(&leader.result(1, create(&path(longest.len() + 1), 0))), "BadArguments");
}
