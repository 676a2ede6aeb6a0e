//! The written cases: each operation with each answer it can have. They clean up after themselves, so that runs can
//! follow each other on the same servers.

use super::{Handshake, Step};
use bytes::{BufMut, Bytes, BytesMut};
use common::zk::{Acl, CreateMode, CreateRequest, Id, OpCode, Request, SetWatches, Writer};

const ROOT: &str = "/diff";

fn path(below: &str) -> String {
    format!("{ROOT}{below}")
}

fn create(below: &str, mode: CreateMode) -> Request {
    Request::Create(CreateRequest::new(path(below), "data", Acl::open_unsafe(), mode))
}

fn at(path: &str) -> Request {
    Request::Create2(CreateRequest::new(path, "data", Acl::open_unsafe(), CreateMode::Persistent))
}

fn flags(below: &str, flags: i32) -> CreateRequest {
    CreateRequest { flags, ..CreateRequest::new(path(below), "x", Acl::open_unsafe(), CreateMode::Persistent) }
}

fn delete(below: &str) -> Request {
    Request::Delete { path: path(below), version: -1 }
}

fn set(below: &str, data: &'static str, version: i32) -> Request {
    Request::SetData { path: path(below), data: Some(Bytes::from(data)), version }
}

fn with_acl(below: &str, acl: Vec<Acl>) -> Request {
    Request::Create(CreateRequest::new(path(below), "x", acl, CreateMode::Persistent))
}

fn acl(perms: i32, scheme: &str, id: &str) -> Acl {
    Acl::new(perms, Id::new(scheme, id))
}

fn auth(scheme: &str, proof: &'static str) -> Request {
    Request::Auth { auth_type: 0, scheme: scheme.into(), auth: Bytes::from(proof) }
}

/// Asked by the first session unless a number says another.
fn by(who: usize, requests: Vec<Request>) -> Vec<Step> {
    requests.into_iter().map(|request| Step::Ask(who, request)).collect()
}

fn within_root(steps: Vec<Step>) -> Vec<Step> {
    let mut all = by(0, vec![create("", CreateMode::Persistent)]);
    all.extend(steps);
    // Whatever is left, three levels deep.
    for name in ["a/b/c", "a/b", "a/c", "a", "b", "c", "d", "e", "p", "x", "y", "t", "k"] {
        all.push(Step::Ask(0, delete(&format!("/{name}"))));
    }
    for number in 0..12 {
        all.push(Step::Ask(0, delete(&format!("/s{number:010}"))));
    }
    all.push(Step::Ask(0, delete("")));
    all
}

/// All cases by name.
pub(super) fn all() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("paths", within_root(paths())),
        ("create", within_root(creates())),
        ("flags", within_root(create_flags())),
        ("acl", within_root(acls())),
        ("versions", within_root(versions())),
        ("multi", within_root(multis())),
        ("reads", within_root(reads())),
        ("watches", within_root(watches())),
        ("set watches", within_root(set_watches())),
        ("auth", within_root(auths())),
        ("ephemerals", within_root(ephemerals())),
        ("quota", within_root(quotas())),
        ("refused", within_root(refused())),
        ("raw", within_root(raw())),
        ("handshake", handshakes()),
    ]
}

fn paths() -> Vec<Step> {
    let odd = [
        "",
        "/",
        "x",
        "//",
        "/a/",
        "/a//b",
        "/./a",
        "/a/..",
        "/a/.",
        "/a/./b",
        "/a/b/",
        "/\u{0}",
        "/\u{1f}x",
        "/\u{7f}",
        "/\u{f8ff}",
        "/\u{fff0}",
        "/é",
        "/ ",
        "/zookeeper",
        "/zookeeper/x",
        "/zookeeper/config",
        "/zookeeper/quota",
        "/diff/\u{1}",
        "/diff/a\u{0}b",
        "/diff//",
        "/diff/.",
        "/diff/..",
        "/none/x",
    ];
    let mut requests = Vec::new();
    for odd in odd {
        let path = || odd.to_owned();
        requests.push(Request::Exists { path: path(), watch: false });
        requests.push(Request::GetAcl { path: path() });
        requests.push(Request::Sync { path: path() });
        if !matches!(odd, "/" | "" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config") {
            requests.push(Request::GetData { path: path(), watch: false });
            requests.push(Request::GetChildren { path: path(), watch: false });
            requests.push(Request::GetChildren2 { path: path(), watch: false });
            requests.push(Request::GetAllChildrenNumber { path: path() });
            requests.push(at(odd));
            requests.push(Request::SetData { path: path(), data: None, version: 7 });
            requests.push(Request::SetAcl { path: path(), acl: Acl::open_unsafe(), version: 7 });
        }
        requests.push(Request::Delete { path: path(), version: 9 });
        requests.push(Request::Delete { path: path(), version: -1 });
        requests.push(Request::DeleteContainer { path: path() });
        requests.push(Request::AddWatch { path: path(), mode: 0 });
        requests.push(Request::RemoveWatches { path: path(), kind: 3 });
        requests.push(Request::CheckWatches { path: path(), kind: 3 });
    }
    by(0, requests)
}

fn creates() -> Vec<Step> {
    let mut steps = by(
        0,
        vec![
            create("/a", CreateMode::Persistent),
            create("/a", CreateMode::Persistent),
            at("/diff/a"),
            create("/a/b", CreateMode::Ephemeral),
            create("/a/b/c", CreateMode::Persistent),
            create("/n/c", CreateMode::Persistent),
            create("/s", CreateMode::PersistentSequential),
            create("/s", CreateMode::EphemeralSequential),
            delete("/s0000000001"),
            create("/s", CreateMode::PersistentSequential),
            create("/a/", CreateMode::PersistentSequential),
            Request::CreateContainer(flags("/c", 4)),
            create("/c/x", CreateMode::Persistent),
            Request::Exists { path: path("/c"), watch: false },
            Request::DeleteContainer { path: path("/c") },
            delete("/c/x"),
            Request::DeleteContainer { path: path("/c") },
            Request::DeleteContainer { path: path("/a") },
        ],
    );
    for ttl_ms in [0, -1, 1, 1_000_000, (1 << 40) - 1, 1 << 40, i64::MAX, i64::MIN] {
        // A time to live that cannot be, on a create without the flag for one, ends a real server for good.
        let codes: &[i32] = if (1..1 << 40).contains(&ttl_ms) { &[5, 6, 0, 4] } else { &[5, 6] };
        for &code in codes {
            steps.push(Step::Ask(0, Request::CreateTtl { create: flags("/t", code), ttl_ms }));
            steps.push(Step::Ask(0, Request::Exists { path: path("/t"), watch: false }));
            steps.push(Step::Ask(0, delete("/t")));
        }
    }
    let mut long = BytesMut::new();
    long.put_bytes(b'x', 900_000);
    let large = CreateRequest::new(path("/x"), long.freeze(), Acl::open_unsafe(), CreateMode::Persistent);
    steps.extend(by(
        0,
        vec![
            Request::Create2(large),
            Request::GetData { path: path("/x"), watch: false },
            Request::SetData { path: path("/x"), data: None, version: -1 },
            Request::GetData { path: path("/x"), watch: false },
            Request::SetData { path: path("/x"), data: Some(Bytes::new()), version: -1 },
            Request::GetData { path: path("/x"), watch: false },
        ],
    ));
    steps
}

fn create_flags() -> Vec<Step> {
    let mut steps = Vec::new();
    for code in [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 100] {
        for request in [
            Request::Create(flags("/x", code)),
            Request::Create2(flags("/x", code)),
            Request::CreateContainer(flags("/x", code)),
            Request::CreateTtl { create: flags("/x", code), ttl_ms: 1000 },
        ] {
            steps.push(Step::Ask(0, request.clone()));
            steps.push(Step::Ask(0, Request::Exists { path: path("/x"), watch: false }));
            steps.push(Step::Ask(0, delete("/x")));
            steps.push(Step::Ask(0, Request::Multi(vec![request])));
            steps.push(Step::Ask(0, Request::Exists { path: path("/x"), watch: false }));
            steps.push(Step::Ask(0, delete("/x")));
        }
    }
    // Sequential ones have left their numbers behind.
    steps.push(Step::Ask(0, Request::GetChildren2 { path: path(""), watch: false }));
    let children: Vec<Request> = (0..80).map(|number| delete(&format!("/x{number:010}"))).collect();
    steps.extend(by(0, children));
    steps
}

fn acls() -> Vec<Step> {
    let lists = [
        vec![],
        Acl::open_unsafe(),
        Acl::read_unsafe(),
        Acl::creator_all(),
        vec![acl(0, "world", "anyone")],
        vec![acl(31, "world", "someone")],
        vec![acl(31, "world", "")],
        vec![acl(31, "ip", "127.0.0.1")],
        vec![acl(31, "ip", "127.0.0.1/8")],
        vec![acl(31, "ip", "127.0.0.1/33")],
        vec![acl(31, "ip", "127.0.0.1/-1")],
        vec![acl(31, "ip", "127.0.0.1/0")],
        vec![acl(31, "ip", "1.2.3")],
        vec![acl(31, "ip", "::1")],
        vec![acl(31, "ip", "fe80::/10")],
        vec![acl(31, "ip", "300.0.0.1")],
        vec![acl(31, "digest", "u:h")],
        vec![acl(31, "digest", "u")],
        vec![acl(31, "digest", "u:h:x")],
        vec![acl(31, "auth", "ignored")],
        vec![acl(31, "sasl", "user")],
        vec![acl(31, "x509", "CN=a")],
        vec![acl(31, "super", "x")],
        vec![acl(31, "nope", "x")],
        vec![acl(-1, "world", "anyone")],
        vec![acl(64, "world", "anyone")],
        vec![acl(1, "world", "anyone"), acl(1, "world", "anyone"), acl(2, "ip", "127.0.0.1")],
        vec![acl(31, "", "")],
    ];
    let mut steps = Vec::new();
    for list in lists {
        steps.extend(by(
            0,
            vec![
                with_acl("/x", list.clone()),
                Request::GetAcl { path: path("/x") },
                Request::SetAcl { path: path("/x"), acl: list, version: -1 },
                Request::Exists { path: path("/x"), watch: true },
                Request::GetData { path: path("/x"), watch: true },
                set("/x", "y", -1),
                create("/x/y", CreateMode::Persistent),
                delete("/x/y"),
                delete("/x"),
            ],
        ));
    }
    steps
}

fn versions() -> Vec<Step> {
    let mut requests = vec![create("/a", CreateMode::Persistent)];
    for version in [1, -2, 0, 0, i32::MAX, i32::MIN, 1, -1, 2] {
        requests.push(set("/a", "v", version));
        requests.push(Request::SetAcl { path: path("/a"), acl: Acl::open_unsafe(), version });
        requests.push(Request::Check { path: path("/a"), version });
        requests.push(Request::Multi(vec![Request::Check { path: path("/a"), version }]));
    }
    for version in [9, -2, 0, 3, -1, -1] {
        requests.push(Request::Delete { path: path("/a"), version });
    }
    by(0, requests)
}

fn multis() -> Vec<Step> {
    let check = |below: &str, version| Request::Check { path: path(below), version };
    let lists = vec![
        vec![],
        vec![create("/a", CreateMode::Persistent), create("/a/b", CreateMode::Persistent), set("/a/b", "2", 0)],
        vec![check("/a", 0), check("/a/b", 1), set("/a", "3", -1), check("/a", 1)],
        vec![check("/a", 1), check("/a/b", 7), set("/a", "3", -1), delete("/none")],
        vec![create("/x", CreateMode::Persistent), delete("/x"), create("/x", CreateMode::Ephemeral)],
        vec![delete("/x"), check("/x", 0)],
        vec![create("/s", CreateMode::PersistentSequential), create("/s", CreateMode::EphemeralSequential)],
        vec![delete("/a"), delete("/a/b")],
        vec![delete("/a/b"), delete("/a"), create("/a", CreateMode::Persistent)],
        vec![at("/diff/y"), Request::CreateContainer(flags("/k", 4)), delete("/k"), delete("/y")],
        vec![Request::CreateTtl { create: flags("/t", 5), ttl_ms: 100_000 }, delete("/t")],
        vec![at("bad"), delete("/a")],
        vec![delete("/a"), at("/diff/"), at("/x/y/z")],
        vec![with_acl("/x", vec![]), delete("/a")],
        vec![set("/a", "1", 5)],
        vec![set("/none", "1", 5)],
    ];
    let mut steps = by(2, vec![Request::AddWatch { path: ROOT.into(), mode: 1 }]);
    for list in lists {
        steps.push(Step::Ask(0, Request::Multi(list)));
        steps.push(Step::Ask(1, Request::GetChildren2 { path: ROOT.into(), watch: true }));
    }
    let read = |below: &str| Request::GetData { path: path(below), watch: true };
    let list = |below: &str| Request::GetChildren { path: path(below), watch: true };
    for reads in [vec![], vec![read("/a"), list(""), read("/none"), list("/none")], vec![read("bad"), read("/a/b")]] {
        steps.push(Step::Ask(0, Request::MultiRead(reads)));
    }
    for opcode in [14, 22] {
        // One that stands for an error, reads among writes and writes among reads, none at all.
        for inner in [-1, 0, 3, 4, 8, 9, 11, 14, 100, -11, 99] {
            if opcode == 22 && matches!(inner, 3 | 4) {
                continue;
            }
            let mut body = BytesMut::new();
            let mut writer = Writer::new(&mut body);
            writer.int(inner);
            writer.bool(false);
            writer.int(-1);
            writer.string("/diff/a");
            writer.int(-1);
            writer.int(-1);
            writer.bool(true);
            writer.int(-1);
            steps.push(Step::Raw(0, opcode, body.to_vec()));
        }
        steps.push(Step::Raw(0, opcode, vec![]));
        steps.push(Step::Raw(0, opcode, vec![0, 0, 0]));
    }
    steps
}

fn reads() -> Vec<Step> {
    let mut requests = vec![create("/a", CreateMode::Persistent), create("/a/b", CreateMode::Persistent)];
    for below in ["", "/a", "/a/b", "/none"] {
        for watch in [false, true] {
            requests.push(Request::Exists { path: path(below), watch });
            requests.push(Request::GetData { path: path(below), watch });
            requests.push(Request::GetChildren { path: path(below), watch });
            requests.push(Request::GetChildren2 { path: path(below), watch });
        }
        requests.push(Request::GetAcl { path: path(below) });
        requests.push(Request::GetAllChildrenNumber { path: path(below) });
        requests.push(Request::Sync { path: path(below) });
        requests.push(Request::GetEphemerals { prefix: path(below) });
    }
    requests.push(Request::WhoAmI);
    requests.push(set("/a", "new", -1));
    requests.push(delete("/a/b"));
    by(0, requests)
}

fn watches() -> Vec<Step> {
    let mut steps = Vec::new();
    let changes = || {
        let mut steps = by(1, vec![create("/a", CreateMode::Persistent), set("/a", "1", -1)]);
        steps.extend(by(0, vec![create("/a/b", CreateMode::Ephemeral), set("/a/b", "2", -1), delete("/a/b")]));
        steps.extend(by(1, vec![delete("/a")]));
        steps
    };
    for mode in [-1, 0, 1, 2] {
        steps.extend(by(2, vec![Request::AddWatch { path: path("/a"), mode }]));
        steps.extend(by(0, vec![Request::AddWatch { path: ROOT.into(), mode }]));
        steps.extend(changes());
        for kind in [0, 1, 2, 3, 4, 5, 6] {
            steps.extend(by(2, vec![Request::CheckWatches { path: path("/a"), kind }]));
        }
        for kind in [0, 1, 2, 4, 5, 3, 3] {
            steps.extend(by(2, vec![Request::RemoveWatches { path: path("/a"), kind }]));
            steps.extend(by(0, vec![Request::RemoveWatches { path: ROOT.into(), kind }]));
        }
        steps.extend(changes());
    }
    // One-shot watches of each kind on what is there and what is not.
    for (watched, request) in [
        ("/a", Request::Exists { path: path("/a"), watch: true }),
        ("", Request::GetData { path: path(""), watch: true }),
        ("", Request::GetChildren { path: path(""), watch: true }),
    ] {
        for kind in [1, 2, 3] {
            steps.extend(by(
                2,
                vec![
                    request.clone(),
                    Request::CheckWatches { path: path(watched), kind },
                    Request::RemoveWatches { path: path(watched), kind },
                    Request::CheckWatches { path: path(watched), kind: 3 },
                ],
            ));
            steps.extend(changes());
        }
    }
    steps
}

fn set_watches() -> Vec<Step> {
    let mut steps = by(0, vec![create("/a", CreateMode::Persistent), create("/a/b", CreateMode::Persistent)]);
    steps.extend(by(0, vec![set("/a", "1", -1), set("/a/b", "1", -1), delete("/a/b")]));
    let all = || vec![path("/a"), path("/a/b"), path(""), "bad".to_owned(), String::new()];
    for relative_zxid in [-1, 0, 1, 2, 3, 4, 5, 6, 100] {
        let watches = SetWatches { relative_zxid, data: all(), exist: all(), child: all(), ..SetWatches::default() };
        steps.push(Step::Ask(1, Request::SetWatches(watches.clone())));
        let watches = SetWatches { persistent: all(), persistent_recursive: all(), ..watches };
        steps.push(Step::Ask(2, Request::SetWatches2(watches)));
        steps.push(Step::Ask(0, create("/a/b", CreateMode::Persistent)));
        steps.push(Step::Ask(0, delete("/a/b")));
    }
    steps
}

fn auths() -> Vec<Step> {
    let mut steps = by(
        0,
        vec![
            Request::WhoAmI,
            auth("digest", "u:p"),
            auth("digest", "u:p"),
            auth("digest", "v:q"),
            Request::WhoAmI,
            auth("ip", "127.0.0.1"),
            auth("world", "anyone"),
            Request::WhoAmI,
            with_acl("/a", Acl::creator_all()),
            Request::GetAcl { path: path("/a") },
            set("/a", "mine", -1),
        ],
    );
    steps.extend(by(
        1,
        vec![
            Request::GetAcl { path: path("/a") },
            Request::GetData { path: path("/a"), watch: true },
            Request::Exists { path: path("/a"), watch: true },
            set("/a", "yours", -1),
            create("/a/b", CreateMode::Persistent),
            Request::GetChildren2 { path: path("/a"), watch: true },
            auth("digest", "v:q"),
            Request::GetData { path: path("/a"), watch: true },
            auth("nope", "x"),
            Request::WhoAmI,
            auth("digest", ""),
            auth("sasl", "x"),
            auth("x509", ""),
            auth("super", "x"),
            auth("", ""),
            auth("auth", "x"),
            auth("digest", "no-colon"),
            Request::WhoAmI,
            auth("digest", "a:b:c"),
            Request::WhoAmI,
        ],
    ));
    steps.extend(by(1, vec![auth("digest", "super:test"), Request::WhoAmI, set("/a", "all", -1)]));
    let read_only_digest = vec![acl(1, "digest", "u:x/1"), acl(16, "digest", "v:TdGWuoMYbUvKoSLMyX2EWYKlwf8=")];
    steps.extend(by(0, vec![with_acl("/b", read_only_digest), Request::GetAcl { path: path("/b") }]));
    steps.extend(by(2, vec![Request::GetAcl { path: path("/b") }, Request::Sasl { token: Some(Bytes::from("x")) }]));
    steps.extend(by(2, vec![Request::Sasl { token: None }, Request::WhoAmI]));
    steps
}

fn ephemerals() -> Vec<Step> {
    let mut steps = by(0, vec![create("/a", CreateMode::Persistent)]);
    steps.extend(by(1, vec![create("/a/b", CreateMode::Ephemeral), create("/e", CreateMode::Ephemeral)]));
    for prefix in ["", "/", " ", " / ", "/diff", "/diff/a", "/diff/e", "/diff/", "x"] {
        steps.push(Step::Ask(1, Request::GetEphemerals { prefix: prefix.into() }));
        steps.push(Step::Ask(0, Request::GetEphemerals { prefix: prefix.into() }));
    }
    steps.extend(by(0, vec![Request::GetChildren { path: path("/a"), watch: true }]));
    steps.extend(by(2, vec![Request::AddWatch { path: ROOT.into(), mode: 1 }]));
    steps.push(Step::Reopen(1));
    steps.extend(by(0, vec![Request::GetChildren2 { path: path("/a"), watch: true }]));
    steps
}

fn quotas() -> Vec<Step> {
    let root = "/zookeeper/quota/diff";
    let limits = format!("{root}/a/zookeeper_limits");
    let stats = format!("{root}/a/zookeeper_stats");
    let data = |path: &str, text: &'static str| {
        Request::Create(CreateRequest::new(path, text, Acl::open_unsafe(), CreateMode::Persistent))
    };
    let read = |path: &str| Request::GetData { path: path.to_owned(), watch: false };
    by(
        0,
        vec![
            create("/a", CreateMode::Persistent),
            data(root, ""),
            data(&format!("{root}/a"), ""),
            data(&limits, "count=3,bytes=20"),
            data(&stats, "count=1,bytes=4"),
            create("/a/b", CreateMode::Persistent),
            read(&stats),
            set("/a/b", "0123456789012345678901234567890", -1),
            read(&stats),
            create("/a/c", CreateMode::Persistent),
            create("/a/b/c", CreateMode::Persistent),
            read(&stats),
            delete("/a/b/c"),
            read(&stats),
            Request::SetData {
                path: limits.clone(),
                data: Some(Bytes::from("count=-1,bytes=-1=;byteHardLimit=40;countHardLimit=3")),
                version: -1,
            },
            create("/a/b/c", CreateMode::Persistent),
            set("/a", "0123456789", -1),
            set("/a/c", "012345678901234567890123456789", -1),
            Request::Multi(vec![create("/a/x", CreateMode::Persistent), create("/a/y", CreateMode::Persistent)]),
            read(&stats),
            delete("/a/b"),
            read(&stats),
            Request::Delete { path: limits, version: -1 },
            set("/a/c", "0123456789012345678901234567890123456789012345678901234567890123456789", -1),
            read(&stats),
            Request::Delete { path: stats, version: -1 },
            Request::Delete { path: format!("{root}/a"), version: -1 },
            Request::Delete { path: root.to_owned(), version: -1 },
        ],
    )
}

/// What clients may not ask, or not here.
fn refused() -> Vec<Step> {
    let mut steps = Vec::new();
    for opcode in [0, -1, 10, 13, 23, 99, 108, 1000, i32::MIN] {
        steps.push(Step::Raw(0, opcode, vec![]));
        steps.push(Step::Raw(0, opcode, vec![0; 40]));
    }
    steps
}

/// Bodies that end too early, go on too long, or lie about their lengths.
fn raw() -> Vec<Step> {
    let mut steps = Vec::new();
    for opcode in OpCode::ALL.iter().filter(|opcode| {
        !matches!(
            opcode,
            // An answer to a ping has its own xid; what a sync for nothing names is nobody's business.
            OpCode::Ping
                | OpCode::Sync
                | OpCode::CloseSession
                | OpCode::CreateSession
                | OpCode::Notification
                | OpCode::Error
                | OpCode::Auth
        ) && opcode.code() < 500
    }) {
        for body in [
            vec![],
            vec![0, 0, 0],
            vec![0, 0, 0, 9, b'/'],
            vec![255; 4],
            vec![255; 12],
            vec![127, 255, 255, 255, 0],
            [&[0, 0, 0, 5][..], b"/none"].concat(),
            [&[0, 0, 0, 5][..], b"/none", &[0; 30]].concat(),
            [&[0, 0, 0, 2][..], &[b'/', 0xff], &[0; 8]].concat(),
        ] {
            steps.push(Step::Raw(0, opcode.code(), body));
        }
    }
    steps
}

fn handshakes() -> Vec<Step> {
    let plain =
        Handshake { session: None, made_up: 0, password: None, zxid: 0, timeout_ms: 30_000, read_only: Some(false) };
    let mut steps = Vec::new();
    for timeout_ms in [0, -1, 1, 3_999, 4_000, 40_000, 40_001, i32::MAX, i32::MIN] {
        steps.push(Step::Connect(Handshake { timeout_ms, ..plain.clone() }));
    }
    for read_only in [None, Some(true)] {
        steps.push(Step::Connect(Handshake { read_only, ..plain.clone() }));
    }
    for zxid in [-1_000_000, -1, 1_000_000] {
        steps.push(Step::Connect(Handshake { zxid, ..plain.clone() }));
    }
    for password in [vec![], vec![1], vec![0; 17], vec![7; 1000]] {
        steps.push(Step::Connect(Handshake { password: Some(password), ..plain.clone() }));
    }
    for made_up in [1, -1, i64::MIN, i64::MAX, 0x0100_0000_0000_0001] {
        for read_only in [None, Some(false), Some(true)] {
            steps.push(Step::Connect(Handshake { made_up, read_only, ..plain.clone() }));
        }
    }
    for password in [None, Some(vec![]), Some(vec![0; 16]), Some(vec![0; 15])] {
        steps.push(Step::Connect(Handshake { session: Some(1), password, ..plain.clone() }));
    }
    for bytes in [vec![], vec![0; 3], vec![0; 12], vec![0; 44], vec![0; 46], vec![255; 44], vec![0; 100]] {
        steps.push(Step::ConnectRaw(bytes));
    }
    steps
}
