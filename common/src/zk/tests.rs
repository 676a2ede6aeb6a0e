//! Bytes as the jute definition of ZooKeeper 3.9 gives them, against our records, both ways; and hostile bytes.

use bytes::{Bytes, BytesMut};

use super::frame::{
    encode_connect_request, encode_connect_response, encode_reply, encode_request, encode_watch_event, take_frame,
};
use super::*;

/// Text like `00000001 "ab" 01`: hex digits and quoted ASCII.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, part) in text.split('"').enumerate() {
        if i % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<u8> = part.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        for pair in digits.chunks(2) {
            out.push(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        }
    }
    out
}

const STAT: &str = "0000000000000001 0000000000000002 0000000000000003 0000000000000004 00000005 00000006 00000007 \
                    0000000000000008 00000009 0000000a 000000000000000b";

fn stat() -> Stat {
    Stat {
        czxid: 1,
        mzxid: 2,
        ctime: 3,
        mtime: 4,
        version: 5,
        cversion: 6,
        aversion: 7,
        ephemeral_owner: 8,
        data_length: 9,
        num_children: 10,
        pzxid: 11,
    }
}

const OPEN_ACL: &str = r#"00000001 0000001f 00000005 "world" 00000006 "anyone""#;

fn create(path: &str, flags: i32) -> CreateRequest {
    CreateRequest { path: path.into(), data: Some(Bytes::from_static(b"v")), acl: Acl::open_unsafe(), flags }
}

fn check_request(request: Request, expected: &str) {
    let expected = bytes(expected);
    let mut out = BytesMut::new();
    request.encode(&mut Writer::new(&mut out));
    assert_eq!(out, expected, "encoding {request:?}");
    let mut reader = Reader::new(out.freeze());
    assert_eq!(Request::decode(request.opcode(), &mut reader), Ok(request.clone()));
    assert_eq!(reader.remaining(), 0);
    for cut in 0..expected.len() {
        let short = Request::decode(request.opcode(), &mut Reader::new(Bytes::copy_from_slice(&expected[..cut])));
        assert!(matches!(short, Err(DecodeError::Truncated { .. })), "{request:?} cut to {cut}: {short:?}");
    }
    // Every run of four bytes replaced by lying lengths and numbers: an error or another request, never a panic.
    for at in 0..expected.len().saturating_sub(3) {
        for lie in [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0x80, 0, 0, 0], [0, 0, 0, 0]] {
            let mut hostile = expected.clone();
            hostile[at..at + 4].copy_from_slice(&lie);
            let _ = Request::decode(request.opcode(), &mut Reader::new(hostile.into()));
        }
    }
}

fn check_response(opcode: OpCode, response: Response, expected: &str) {
    let expected = bytes(expected);
    let mut out = BytesMut::new();
    response.encode(&mut Writer::new(&mut out));
    assert_eq!(out, expected, "encoding {response:?}");
    let mut reader = Reader::new(out.freeze());
    assert_eq!(Response::decode(opcode, &mut reader), Ok(response.clone()));
    assert_eq!(reader.remaining(), 0);
    for cut in 0..expected.len() {
        let short = Response::decode(opcode, &mut Reader::new(Bytes::copy_from_slice(&expected[..cut])));
        assert!(matches!(short, Err(DecodeError::Truncated { .. })), "{response:?} cut to {cut}: {short:?}");
    }
    for at in 0..expected.len().saturating_sub(3) {
        for lie in [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0x80, 0, 0, 0], [0, 0, 0, 0]] {
            let mut hostile = expected.clone();
            hostile[at..at + 4].copy_from_slice(&lie);
            let _ = Response::decode(opcode, &mut Reader::new(hostile.into()));
        }
    }
}

#[test]
fn requests_are_the_bytes_of_the_jute_definition() {
    let path = r#"00000002 "/a""#;
    let a = || "/a".to_owned();
    let created = format!(r#"{path} 00000001 "v" {OPEN_ACL}"#);
    check_request(Request::Create(create("/a", 0)), &format!("{created} 00000000"));
    check_request(Request::Create2(create("/a", 3)), &format!("{created} 00000003"));
    check_request(Request::CreateContainer(create("/a", 4)), &format!("{created} 00000004"));
    check_request(Request::CreateIfNotExists(create("/a", 9)), &format!("{created} 00000009"));
    check_request(
        Request::CreateTtl { create: create("/a", 5), ttl_ms: 258 },
        &format!("{created} 00000005 0000000000000102"),
    );
    check_request(
        Request::Create(CreateRequest { data: None, acl: vec![], ..create("/a", 0) }),
        &format!("{path} ffffffff 00000000 00000000"),
    );
    check_request(Request::Delete { path: a(), version: -1 }, &format!("{path} ffffffff"));
    check_request(Request::DeleteContainer { path: a() }, path);
    check_request(Request::Exists { path: a(), watch: true }, &format!("{path} 01"));
    check_request(Request::GetData { path: a(), watch: false }, &format!("{path} 00"));
    check_request(
        Request::SetData { path: a(), data: Some(Bytes::from_static(b"xyz")), version: 7 },
        &format!(r#"{path} 00000003 "xyz" 00000007"#),
    );
    check_request(Request::SetData { path: a(), data: None, version: 7 }, &format!("{path} ffffffff 00000007"));
    check_request(Request::GetAcl { path: a() }, path);
    check_request(
        Request::SetAcl { path: a(), acl: Acl::creator_all(), version: 2 },
        &format!(r#"{path} 00000001 0000001f 00000004 "auth" 00000000 00000002"#),
    );
    check_request(Request::GetChildren { path: a(), watch: true }, &format!("{path} 01"));
    check_request(Request::GetChildren2 { path: a(), watch: false }, &format!("{path} 00"));
    check_request(Request::Sync { path: a() }, path);
    check_request(Request::Ping, "");
    check_request(Request::Check { path: a(), version: 3 }, &format!("{path} 00000003"));
    check_request(
        Request::Reconfig(ReconfigRequest {
            joining: Some("s".into()),
            leaving: None,
            new_members: Some(String::new()),
            config_version: -1,
        }),
        r#"00000001 "s" ffffffff 00000000 ffffffffffffffff"#,
    );
    check_request(Request::CheckWatches { path: a(), kind: 3 }, &format!("{path} 00000003"));
    check_request(Request::RemoveWatches { path: a(), kind: 1 }, &format!("{path} 00000001"));
    check_request(Request::AddWatch { path: a(), mode: 1 }, &format!("{path} 00000001"));
    check_request(
        Request::Auth { auth_type: 0, scheme: "digest".into(), auth: Bytes::from_static(b"u:p") },
        r#"00000000 00000006 "digest" 00000003 "u:p""#,
    );
    let watches = SetWatches {
        relative_zxid: 9,
        data: vec![a()],
        exist: vec![],
        child: vec![a(), "/b".into()],
        ..SetWatches::default()
    };
    let lists = format!(r#"0000000000000009 00000001 {path} 00000000 00000002 {path} 00000002 "/b""#);
    check_request(Request::SetWatches(watches.clone()), &lists);
    check_request(
        Request::SetWatches2(SetWatches { persistent_recursive: vec![a()], ..watches }),
        &format!("{lists} 00000000 00000001 {path}"),
    );
    check_request(Request::Sasl { token: Some(Bytes::from_static(b"t")) }, r#"00000001 "t""#);
    check_request(Request::GetEphemerals { prefix: a() }, path);
    check_request(Request::GetAllChildrenNumber { path: a() }, path);
    check_request(Request::WhoAmI, "");
    check_request(Request::CloseSession, "");
}

#[test]
fn requests_of_clickhouse_are_its_bytes() {
    let path = r#"00000002 "/a""#;
    let a = || "/a".to_owned();
    check_request(Request::FilteredList { path: a(), watch: true, filter: 2 }, &format!("{path} 01 02"));
    check_request(Request::CheckNotExists { path: a(), version: -1 }, &format!("{path} ffffffff"));
    check_request(Request::RemoveRecursive { path: a(), limit: u32::MAX }, &format!("{path} ffffffff"));
    check_request(Request::CheckStat { path: a(), version: -1, stat: stat() }, &format!("{path} ffffffff {STAT}"));
    check_request(Request::TryRemove { path: a(), version: 4 }, &format!("{path} 00000004"));
    check_request(
        Request::FilteredListWithStatsAndData { path: a(), watch: false, filter: 1, with_stat: true, with_data: false },
        &format!("{path} 00 01 01 00"),
    );
    check_request(Request::ListRecursive { path: a(), limit: 5 }, &format!("{path} 00000005"));
    check_request(Request::GetHistory { path: a(), zxid: 7, with_data: true }, &format!("{path} 0000000000000007 01"));
    let wanted = RequestsWanted { zxid: 7, session: 8, xid: 9, is_slowest_first: true, limit: 10 };
    check_request(Request::GetRequests(wanted), "0000000000000007 0000000000000008 00000009 01 0000000a");
}

#[test]
fn a_multi_is_headers_and_bodies_in_turn() {
    let header = |code: &str| format!("{code} 00 ffffffff");
    let end = "ffffffff 01 ffffffff";
    let path = r#"00000002 "/a""#;
    check_request(Request::Multi(vec![]), end);
    check_request(
        Request::Multi(vec![
            Request::Check { path: "/a".into(), version: 1 },
            Request::Create(create("/a", 1)),
            Request::Create2(create("/a", 0)),
            Request::Delete { path: "/a".into(), version: -1 },
            Request::SetData { path: "/a".into(), data: Some(Bytes::new()), version: 0 },
        ]),
        &format!(
            r#"{} {path} 00000001  {} {path} 00000001 "v" {OPEN_ACL} 00000001  {} {path} 00000001 "v" {OPEN_ACL} 00000000
               {} {path} ffffffff  {} {path} 00000000 00000000  {end}"#,
            header("0000000d"),
            header("00000001"),
            header("0000000f"),
            header("00000002"),
            header("00000005"),
        ),
    );
    check_request(
        Request::MultiRead(vec![
            Request::GetData { path: "/a".into(), watch: false },
            Request::GetChildren { path: "/a".into(), watch: false },
        ]),
        &format!("{} {path} 00  {} {path} 00  {end}", header("00000004"), header("00000008")),
    );
    for (opcode, inner) in [
        (OpCode::Multi, OpCode::GetData),
        (OpCode::Multi, OpCode::Multi),
        (OpCode::Multi, OpCode::CloseSession),
        (OpCode::MultiRead, OpCode::Delete),
        (OpCode::MultiRead, OpCode::MultiRead),
    ] {
        let mut out = BytesMut::new();
        let mut w = Writer::new(&mut out);
        w.int(inner.code());
        w.bool(false);
        w.int(-1);
        assert_eq!(
            Request::decode(opcode, &mut Reader::new(out.freeze())),
            Err(DecodeError::BadOpcode { code: inner.code() })
        );
    }
}

#[test]
fn what_only_servers_send_is_no_request() {
    for opcode in [OpCode::Notification, OpCode::Error, OpCode::CreateSession] {
        let expected = DecodeError::BadOpcode { code: opcode.code() };
        assert_eq!(Request::decode(opcode, &mut Reader::new(Bytes::new())), Err(expected));
    }
}

#[test]
fn responses_are_the_bytes_of_the_jute_definition() {
    let path = r#"00000002 "/a""#;
    let a = || "/a".to_owned();
    let data = || Some(Bytes::from_static(b"v"));
    let with_data = format!(r#"00000001 "v" {STAT}"#);
    check_response(OpCode::Create, Response::Create { path: a() }, path);
    for opcode in [OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl] {
        check_response(opcode, Response::Create2 { path: a(), stat: stat() }, &format!("{path} {STAT}"));
    }
    check_response(OpCode::Delete, Response::Delete, "");
    check_response(OpCode::Exists, Response::Exists { stat: stat() }, STAT);
    check_response(OpCode::GetData, Response::GetData { data: data(), stat: stat() }, &with_data);
    check_response(OpCode::GetData, Response::GetData { data: None, stat: stat() }, &format!("ffffffff {STAT}"));
    check_response(OpCode::SetData, Response::SetData { stat: stat() }, STAT);
    check_response(
        OpCode::GetAcl,
        Response::GetAcl { acl: Acl::read_unsafe(), stat: stat() },
        &format!(r#"00000001 00000001 00000005 "world" 00000006 "anyone" {STAT}"#),
    );
    check_response(OpCode::SetAcl, Response::SetAcl { stat: stat() }, STAT);
    check_response(
        OpCode::GetChildren,
        Response::GetChildren { children: vec!["c".into()] },
        r#"00000001 00000001 "c""#,
    );
    for opcode in [OpCode::GetChildren2, OpCode::FilteredList] {
        let response = Response::GetChildren2 { children: vec![], stat: stat() };
        check_response(opcode, response, &format!("00000000 {STAT}"));
    }
    check_response(OpCode::Sync, Response::Sync { path: a() }, path);
    check_response(OpCode::Reconfig, Response::Reconfig { data: data(), stat: stat() }, &with_data);
    check_response(OpCode::AddWatch, Response::AddWatch, "00000000");
    check_response(OpCode::SetWatches2, Response::SetWatches, "");
    check_response(OpCode::Sasl, Response::Sasl { token: None }, "ffffffff");
    check_response(
        OpCode::GetEphemerals,
        Response::GetEphemerals { ephemerals: vec![a()] },
        &format!("00000001 {path}"),
    );
    check_response(OpCode::GetAllChildrenNumber, Response::GetAllChildrenNumber { total: 513 }, "00000201");
    check_response(
        OpCode::WhoAmI,
        Response::WhoAmI { clients: vec![ClientInfo { auth_scheme: "ip".into(), user: "::1".into() }] },
        r#"00000001 00000002 "ip" 00000003 "::1""#,
    );
    check_response(OpCode::CreateIfNotExists, Response::CreateIfNotExists { path: a() }, path);
    check_response(OpCode::ListRecursive, Response::ListRecursive { paths: vec![a()] }, &format!("00000001 {path}"));
    check_response(
        OpCode::FilteredListWithStatsAndData,
        Response::FilteredListWithStatsAndData {
            children: vec!["c".into()],
            stat: stat(),
            stats: vec![stat()],
            data: vec![data()],
        },
        &format!(r#"00000001 00000001 "c" {STAT} 00000001 {STAT} 00000001 00000001 "v""#),
    );
}

#[test]
fn earlier_values_on_the_wire() {
    let data = || Some(Bytes::from_static(b"v"));
    let past = PastValue {
        czxid: 1,
        mzxid: 2,
        mtime: 3,
        version: 4,
        until: 5,
        is_removed: true,
        data_length: 1,
        data: data(),
        acl: Vec::new(),
    };
    check_response(
        OpCode::GetHistory,
        Response::GetHistory { values: vec![past] },
        "00000001 0000000000000001 0000000000000002 0000000000000003 00000004 0000000000000005 01 00000001 \
         00000001 \"v\" 00000000",
    );
    check_response(OpCode::GetRequests, Response::GetRequests { found: data() }, "00000001 \"v\"");
}

#[test]
fn a_multi_answers_each_operation() {
    let end = "ffffffff 01 ffffffff";
    let path = r#"00000002 "/a""#;
    check_response(
        OpCode::Multi,
        Response::Multi(vec![
            Ok(Response::Check),
            Ok(Response::Create { path: "/a".into() }),
            Ok(Response::Create2 { path: "/a".into(), stat: stat() }),
            Ok(Response::Delete),
            Ok(Response::SetData { stat: stat() }),
        ]),
        &format!(
            "0000000d 00 00000000  00000001 00 00000000 {path}  0000000f 00 00000000 {path} {STAT}
             00000002 00 00000000  00000005 00 00000000 {STAT}  {end}"
        ),
    );
    let failed = Response::Multi(vec![Err(ZkError::Ok), Err(ZkError::NodeExists), Err(ZkError::RuntimeInconsistency)]);
    assert_eq!(failed.first_failure(), Some((1, ZkError::NodeExists)));
    check_response(
        OpCode::Multi,
        failed,
        &format!("ffffffff 00 00000000 00000000  ffffffff 00 ffffff92 ffffff92  ffffffff 00 fffffffe fffffffe  {end}"),
    );
    let reads = Response::MultiRead(vec![
        Ok(Response::GetData { data: None, stat: stat() }),
        Err(ZkError::NoNode),
        Ok(Response::GetChildren { children: vec![] }),
    ]);
    check_response(
        OpCode::MultiRead,
        reads,
        &format!(
            "00000004 00 00000000 ffffffff {STAT}  ffffffff 00 ffffff9b ffffff9b  00000008 00 00000000 00000000  {end}"
        ),
    );
    let mut nested = BytesMut::new();
    for _ in 0..1000 {
        nested.extend_from_slice(&bytes("0000000e 00 00000000"));
    }
    assert_eq!(
        Response::decode(OpCode::Multi, &mut Reader::new(nested.freeze())),
        Err(DecodeError::BadOpcode { code: 14 })
    );
}

#[test]
fn handshakes_may_lack_the_read_only_byte() {
    let body = r#"00000000 0000000000000007 00002710 00000000000000ff 00000002 "pw""#;
    for (read_only, tail) in [(None, ""), (Some(false), "00"), (Some(true), "01")] {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 7,
            timeout_ms: 10_000,
            session_id: 255,
            password: Bytes::from_static(b"pw"),
            read_only,
        };
        let mut out = BytesMut::new();
        encode_connect_request(&request, &mut out);
        let frame = take_frame(&mut out, 100).unwrap().unwrap();
        assert_eq!(frame, bytes(&format!("{body}{tail}")));
        assert_eq!(ConnectRequest::decode(&mut Reader::new(frame)), Ok(request));
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 10_000,
            session_id: 255,
            password: Bytes::from_static(b"pw"),
            read_only,
        };
        encode_connect_response(&response, &mut out);
        let frame = take_frame(&mut out, 100).unwrap().unwrap();
        assert_eq!(frame, bytes(&format!(r#"00000000 00002710 00000000000000ff 00000002 "pw" {tail}"#)));
        assert_eq!(ConnectResponse::decode(&mut Reader::new(frame)), Ok(response));
    }
}

#[test]
fn frames_carry_headers() {
    let mut out = BytesMut::new();
    encode_request(-2, &Request::Ping, &mut out);
    encode_request(1, &Request::Sync { path: "/".into() }, &mut out);
    encode_reply(ReplyHeader { xid: 1, zxid: 3, err: -101 }, None, &mut out);
    encode_reply(ReplyHeader { xid: 1, zxid: 3, err: 0 }, Some(&Response::Sync { path: "/".into() }), &mut out);
    let event = WatcherEvent { kind: EventType::NodeDataChanged, state: KeeperState::SyncConnected, path: "/a".into() };
    encode_watch_event(5, &event, &mut out);
    let expected = r#"00000008 fffffffe 0000000b
        0000000d 00000001 00000009 00000001 "/"
        00000010 00000001 0000000000000003 ffffff9b
        00000015 00000001 0000000000000003 00000000 00000001 "/"
        0000001e ffffffff 0000000000000005 00000000 00000003 00000003 00000002 "/a""#;
    assert_eq!(out, bytes(expected));
    let mut frames = Vec::new();
    while let Some(frame) = take_frame(&mut out, 64).unwrap() {
        frames.push(frame);
    }
    let mut last = Reader::new(frames.pop().unwrap());
    assert_eq!(ReplyHeader::decode(&mut last), Ok(ReplyHeader { xid: -1, zxid: 5, err: 0 }));
    assert_eq!(WatcherEvent::decode(&mut last), Ok(event));
    let mut failed = Reader::new(frames[2].clone());
    assert_eq!(ReplyHeader::decode(&mut failed).unwrap().outcome(), Err(ZkError::NoNode));
    for unknown in ["00000008 00000003 00000000", "00000001 00000009 00000000"] {
        let decoded = WatcherEvent::decode(&mut Reader::new(bytes(unknown).into()));
        assert!(matches!(decoded, Err(DecodeError::BadValue { .. })));
    }
}

#[test]
fn frames_are_cut_whole_or_refused() {
    let limit = 16;
    let take =
        |text: &str| take_frame(&mut BytesMut::from(&bytes(text)[..]), limit).map(|frame| frame.map(|f| f.len()));
    assert_eq!(take("000000"), Ok(None));
    assert_eq!(take("00000002 01"), Ok(None));
    assert_eq!(take("00000002 0102 03"), Ok(Some(2)));
    assert_eq!(take("00000000"), Ok(Some(0)));
    assert_eq!(take("00000011"), Err(frame::FrameError { length: 17, limit }));
    assert_eq!(take("ffffffff"), Err(frame::FrameError { length: -1, limit }));
    assert_eq!(take("7fffffff"), Err(frame::FrameError { length: i32::MAX, limit }));
}

#[test]
fn chroots_reach_every_path() {
    let prefix = |path: &mut String| path.insert_str(0, "/r");
    let mut request = Request::Multi(vec![
        Request::Check { path: "/a".into(), version: 1 },
        Request::Create(create("/b", 0)),
        Request::Delete { path: "/c".into(), version: 1 },
    ]);
    request.change_paths(&prefix);
    let Request::Multi(ops) = &request else { panic!("still a multi") };
    let paths: Vec<_> = ops.iter().filter_map(Request::path).collect();
    assert_eq!(paths, ["/r/a", "/r/b", "/r/c"]);
    let mut response =
        Response::Multi(vec![Ok(Response::Create { path: "/a".into() }), Err(ZkError::NoNode), Ok(Response::Check)]);
    response.change_paths(&prefix);
    assert_eq!(
        response,
        Response::Multi(vec![Ok(Response::Create { path: "/r/a".into() }), Err(ZkError::NoNode), Ok(Response::Check)])
    );
}
