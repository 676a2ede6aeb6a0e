//! Random requests by seed: small trees, few names, so that requests meet each other's effects.

use super::Step;
use bytes::Bytes;
use common::zk::{Acl, CreateRequest, Id, Request, SetWatches};
use fastrand::Rng;

/// The steps of a run, which begin and end with nothing.
pub(super) fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let root = "/diff-random";
    let plain = |path: &str| CreateRequest { path: path.to_owned(), acl: Acl::open_unsafe(), ..blank() };
    let mut steps = vec![Step::Ask(0, Request::Create(plain(root)))];
    for _ in 0..count {
        steps.push(match rng.u8(..60) {
            0 => Step::Reopen(rng.usize(..2)),
            _ => {
                let who = rng.usize(..2);
                Step::Ask(who, request(&mut rng, root))
            }
        });
    }
    // The super user takes everything away: lists that nobody may read are among it.
    let proof = Request::Auth { auth_type: 0, scheme: "digest".into(), auth: Bytes::from("super:test") };
    steps.extend([Step::Reopen(1), Step::Reopen(0), Step::Ask(0, proof)]);
    let names = ["a", "b", "c", "\u{e9}"];
    for depth in (0..3).rev() {
        let mut below = vec![root.to_owned()];
        for _ in 0..=depth {
            below = below.iter().flat_map(|path| names.map(|name| format!("{path}/{name}"))).collect();
        }
        steps.extend(below.into_iter().map(|path| Step::Ask(0, Request::Delete { path, version: -1 })));
    }
    steps.push(Step::Ask(0, Request::Delete { path: root.to_owned(), version: -1 }));
    steps
}

fn blank() -> CreateRequest {
    CreateRequest { path: String::new(), data: None, acl: Vec::new(), flags: 0 }
}

fn path(rng: &mut Rng, root: &str) -> String {
    match rng.u8(..50) {
        0 => format!("{root}/"),
        1 => format!("{root}/a//b"),
        2 => "bad".into(),
        3 => format!("{root}/a/.."),
        4 => format!("{root}/n\u{1}"),
        5 => format!("{root}/\u{e9}"),
        6 => root.to_owned(),
        _ => {
            let names = ["a", "b", "c"];
            let depth = rng.usize(0..3);
            format!("{root}{}", (0..=depth).map(|_| format!("/{}", names[rng.usize(..3)])).collect::<String>())
        }
    }
}

fn acl(rng: &mut Rng) -> Vec<Acl> {
    let one = |perms, scheme: &str, id: &str| Acl::new(perms, Id::new(scheme, id));
    match rng.u8(..24) {
        0 => vec![],
        1 => Acl::creator_all(),
        2 => Acl::read_unsafe(),
        3 => vec![one(rng.i32(0..32), "ip", "127.0.0.0/8")],
        4 => vec![one(31, "ip", "300.1.1.1")],
        5 => vec![one(rng.i32(0..32), "world", "anyone"), one(31, "digest", "u:xyz")],
        6 => vec![one(31, "digest", "uxyz")],
        7 => vec![one(1, "world", "anyone"), one(31, "auth", "")],
        _ => Acl::open_unsafe(),
    }
}

/// A write; no sequential one, whose names would not be found again.
fn write(rng: &mut Rng, root: &str, is_in_multi: bool) -> Request {
    let path = path(rng, root);
    let version = if rng.u8(..3) == 0 { rng.i32(-2..3) } else { -1 };
    let data = match rng.u8(..8) {
        0 => None,
        1 => Some(Bytes::new()),
        n => Some(Bytes::from(vec![n; usize::from(n) * 3])),
    };
    let flags = match rng.u8(..24) {
        0 if !is_in_multi => 7,
        1 if !is_in_multi => -1,
        n => [0, 1, 4][usize::from(n) % 3],
    };
    let create = CreateRequest { path: path.clone(), data: data.clone(), acl: acl(rng), flags };
    match rng.u8(..20) {
        0..5 => Request::Create(create),
        5..9 => Request::Create2(create),
        9 => Request::CreateContainer(CreateRequest { flags: if rng.bool() { 4 } else { flags }, ..create }),
        10 => Request::CreateTtl { create: CreateRequest { flags: 5, ..create }, ttl_ms: 1_000_000 },
        11..15 => Request::Delete { path, version },
        15..18 => Request::SetData { path, data, version },
        _ => Request::Check { path, version },
    }
}

fn request(rng: &mut Rng, root: &str) -> Request {
    let watch = rng.bool();
    let path = path(rng, root);
    match rng.u8(..40) {
        0..14 => match write(rng, root, false) {
            // By itself it ends the connection.
            check @ Request::Check { .. } => Request::Multi(vec![check]),
            other => other,
        },
        14..16 => Request::Multi((0..rng.usize(0..5)).map(|_| write(rng, root, true)).collect()),
        16..18 => Request::SetAcl { path, acl: acl(rng), version: if rng.bool() { -1 } else { rng.i32(0..2) } },
        18..21 => Request::Exists { path, watch },
        21..24 => Request::GetData { path, watch },
        24 => Request::GetAcl { path },
        25..27 => Request::GetChildren { path, watch },
        27..29 => Request::GetChildren2 { path, watch },
        29 => {
            let one = |rng: &mut Rng| {
                let path = self::path(rng, root);
                match rng.bool() {
                    true => Request::GetData { path, watch },
                    false => Request::GetChildren { path, watch },
                }
            };
            Request::MultiRead((0..rng.usize(0..4)).map(|_| one(rng)).collect())
        }
        30 => Request::GetEphemerals { prefix: if rng.bool() { path } else { String::new() } },
        31 => Request::GetAllChildrenNumber { path },
        32 => Request::AddWatch { path, mode: rng.i32(0..3) },
        33 => Request::CheckWatches { path, kind: rng.i32(0..7) },
        34 => Request::RemoveWatches { path, kind: rng.i32(0..7) },
        35 => Request::Sync { path },
        36 => Request::WhoAmI,
        37 => Request::MultiRead(vec![]),
        38 => Request::Auth {
            auth_type: 0,
            scheme: if rng.bool() { "digest".into() } else { "ip".into() },
            auth: Bytes::from(format!("u{}:p", rng.u8(..2))),
        },
        _ => {
            let mut paths = |most| (0..rng.usize(..most)).map(|_| self::path(rng, root)).collect::<Vec<_>>();
            let (data, exist, child, persistent, persistent_recursive) =
                (paths(3), paths(3), paths(3), paths(2), paths(2));
            let relative_zxid = rng.i64(0..60);
            Request::SetWatches2(SetWatches { relative_zxid, data, exist, child, persistent, persistent_recursive })
        }
    }
}
