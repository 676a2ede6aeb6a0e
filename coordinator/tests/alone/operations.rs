//! Four-letter words, the admin server's commands, probes and metrics.

use super::*;
use common::zk::{AddWatchMode, Id};
use serde_json::json;

/// Two clients, ephemeral znodes, watches of each kind.
fn busy() -> Alone {
    let mut alone = Alone::new("4lw.commands.whitelist=*\nDigestAuthenticationProvider.superDigest=super:x");
    let (first, second) = (alone.client(), alone.client());
    alone.create(first, "/a", CreateMode::Persistent);
    alone.create(first, "/a/e", CreateMode::Ephemeral);
    alone.create(second, "/f", CreateMode::Ephemeral);
    alone.ask(first, Request::GetData { path: "/a".into(), watch: true }).1.unwrap();
    alone.ask(second, Request::Exists { path: "/a".into(), watch: true }).1.unwrap();
    alone.ask(second, Request::GetChildren { path: "/a".into(), watch: true }).1.unwrap();
    let mode = AddWatchMode::PersistentRecursive.code();
    alone.ask(second, Request::AddWatch { path: "/".into(), mode }).1.unwrap();
    alone.pass(50);
    alone
}

#[test]
fn requests_are_told_stage_by_stage() {
    let mut alone = Alone::new("requests.count=2\nrequests.slowMs=5");
    let client = alone.client();
    for number in 0..3 {
        alone.create(client, &format!("/{number}"), CreateMode::Persistent);
    }
    alone.pass(TICK_MS);
    alone.ask(client, Request::GetData { path: "/0".into(), watch: false }).1.unwrap();
    alone.pass(TICK_MS);
    alone.ask(client, Request::Delete { path: "/none".into(), version: -1 }).1.unwrap_err();
    alone.pass(50);
    let session = alone.node.tree().sessions().next().unwrap().0;
    let stages = ["received", "taken", "proposed", "durable", "committed", "applied", "replied"];
    let check = |alone: &mut Alone, command: &str, expected: &[(&str, &str)]| {
        let answer = alone.command(command);
        let shown: Vec<(&str, &str)> = answer["requests"]
            .as_array()
            .unwrap_or_else(|| panic!("{command}: {answer}"))
            .iter()
            .map(|entry| (entry["operation"].as_str().unwrap(), entry["path"].as_str().unwrap()))
            .collect();
        assert_eq!(shown, expected, "{command}: {answer}");
        assert_eq!((&answer["slow_ms"], &answer["server"]), (&json!(5), &json!(1)));
    };
    check(&mut alone, "requests", &[("delete", "/none"), ("getData", "/0"), ("create", "/2")]);
    check(&mut alone, "requests?limit=1", &[("delete", "/none")]);
    check(&mut alone, "requests?zxid=0x4", &[("create", "/2")]);
    check(&mut alone, "requests?zxid=4&order=slowest", &[("create", "/2")]);
    check(&mut alone, &format!("requests?session={session:#x}&limit=1"), &[("delete", "/none")]);
    check(&mut alone, "requests?session=7", &[]);
    let names = |entry: &serde_json::Value| -> Vec<String> {
        let stages = entry["stages"].as_array().unwrap().iter();
        stages.map(|stage| stage["stage"].as_str().unwrap().to_owned()).collect()
    };
    let told = alone.command("requests");
    assert_eq!(names(&told["requests"][0]), stages);
    assert_eq!(names(&told["requests"][1]), ["received", "replied"]);
    for (command, error) in [
        ("requests?zxid=0xz", "zxid=0xz is no number"),
        ("requests?order=oldest", "order=oldest is neither recent nor slowest"),
        ("requests?xid=4294967296", "xid is no 32-bit number"),
    ] {
        assert_eq!(alone.command(command), json!({"command": "requests", "error": error}));
    }
}

/// Session ids as they count, so that cases can name them.
fn numbered(mut text: String, alone: &Alone) -> String {
    for (number, (session, _)) in alone.node.tree().sessions().enumerate() {
        for form in [format!("{session:#x}"), session.to_string()] {
            text = text.replace(&form, &format!("S{number}"));
        }
    }
    text
}

#[test]
fn words_are_answered_as_zookeeper_does() {
    let mut alone = busy();
    let version = "Zookeeper version: 3.9.4-castellan-0.1.0, built on 2025-11-21 00:00 UTC";
    let cases = [
        ("ruok", "imok".to_owned()),
        ("isro", "rw".to_owned()),
        ("gtmk", "306".to_owned()),
        ("dirs", "datadir_size: 0\nlogdir_size: 0\n".to_owned()),
        ("hash", String::new()),
        (
            "conf",
            "clientPort=2181\nsecureClientPort=-1\ndataDir=/d\ndataDirSize=0\ndataLogDir=/d\ndataLogSize=0\n\
             tickTime=1000\nmaxClientCnxns=60\nminSessionTimeout=2000\nmaxSessionTimeout=20000\n\
             clientPortListenBacklog=-1\nserverId=0\n"
                .to_owned(),
        ),
        (
            "srvr",
            format!(
                "{version}\nLatency min/avg/max: 0/0.0/0\nReceived: 9\nSent: 9\nConnections: 3\nOutstanding: 0\n\
                 Zxid: 0x5\nMode: standalone\nNode count: 7\n"
            ),
        ),
        (
            "stat",
            format!(
                "{version}\nClients:\n /10.0.0.1:1000[1](queued=0,recved=4,sent=4)\n \
                 /10.0.0.2:1000[1](queued=0,recved=5,sent=5)\n /127.0.0.1:5[0](queued=0,recved=1,sent=0)\n\n\
                 Latency min/avg/max: 0/0.0/0\nReceived: 9\nSent: 9\nConnections: 3\nOutstanding: 0\nZxid: 0x5\n\
                 Mode: standalone\nNode count: 7\n"
            ),
        ),
        (
            "cons",
            " /10.0.0.1:1000[1](queued=0,recved=4,sent=4,sid=S0,lop=GETD,est=1700000000100,to=10000,lcxid=0x1,lzxid=0x5,\
             lresp=1700000000100,llat=0,minlat=0,avglat=0,maxlat=0)\n \
             /10.0.0.2:1000[1](queued=0,recved=5,sent=5,sid=S1,lop=ADDW,est=1700000000100,to=10000,lcxid=0x1,lzxid=0x5,\
             lresp=1700000000100,llat=0,minlat=0,avglat=0,maxlat=0)\n /127.0.0.1:5[0](queued=0,recved=1,sent=0)\n\n"
                .to_owned(),
        ),
        ("wchs", "2 connections watching 2 paths\nTotal watches:3\n".to_owned()),
        ("wchc", "S0\n\t/a\nS1\n\t/\n\t/a\n\n".to_owned()),
        ("wchp", "/\n\tS1\n/a\n\tS0\n\tS1\n\n".to_owned()),
        (
            "dump",
            "SessionTracker dump:\nSession Sets (1)/(2):\n2 expire at Tue Nov 14 22:13:31 UTC 2023:\n\tS0\n\tS1\n\
             ephemeral nodes dump:\nSessions with Ephemerals (2):\nS0:\n\t/a/e\nS1:\n\t/f\nConnections dump:\n\
             Connections Sets (2)/(3):\n2 expire at Tue Nov 14 22:13:30 UTC 2023:\n\tip: /10.0.0.1:1000 sessionId: S0\n\
             \tip: /10.0.0.2:1000 sessionId: S1\n1 expire at Tue Nov 14 22:13:50 UTC 2023:\n\
             \tip: /127.0.0.1:5 sessionId: 0x0\n"
                .to_owned(),
        ),
        ("crst", "Connection stats reset.\n".to_owned()),
        ("srst", "Server stats reset.\n".to_owned()),
    ];
    for (word, want) in cases {
        let got = alone.word(word);
        assert_eq!(numbered(got, &alone), want, "{word}");
    }
    let after = alone.word("stat");
    assert!(
        after.contains("/10.0.0.1:1000[1](queued=0,recved=0,sent=0)") && after.contains("Received: 0\n"),
        "{after}"
    );
}

#[test]
fn only_words_of_the_whitelist_are_answered() {
    for (whitelist, word, want) in [
        ("4lw.commands.whitelist=ruok, cons", "ruok", "imok"),
        ("4lw.commands.whitelist=ruok, cons", "wchc", "wchc is not executed because it is not in the whitelist.\n"),
        ("", "dump", "dump is not executed because it is not in the whitelist.\n"),
        ("", "ruok", "imok"),
    ] {
        assert_eq!(Alone::new(whitelist).word(word), want, "{whitelist} {word}");
    }
    assert!(Alone::new("4lw.commands.whitelist=ruok").word("srvr").starts_with("Zookeeper version: 3.9.4-"));
}

#[test]
fn mntr_has_the_names_that_dashboards_ask_for() {
    let text = busy().word("mntr");
    let lines: BTreeMap<&str, &str> = text.lines().map(|line| line.split_once('\t').unwrap()).collect();
    for (name, want) in [
        ("zk_server_state", "standalone"),
        ("zk_znode_count", "7"),
        ("zk_ephemerals_count", "2"),
        ("zk_watch_count", "4"),
        ("zk_global_sessions", "2"),
        ("zk_num_alive_connections", "3"),
        ("zk_outstanding_requests", "0"),
        ("zk_avg_latency", "0.0"),
        ("zk_connection_request_count", "2"),
        ("zk_commit_count", "5"),
        ("zk_cnt_updatelatency", "3"),
        ("zk_p99_readlatency", "0"),
        ("zk_max_file_descriptor_count", "0"),
    ] {
        assert_eq!(lines.get(name), Some(&want), "{name}");
    }
    assert!(text.starts_with("zk_version\t3.9.4-castellan"), "{text}");
}

#[test]
fn commands_are_answered_as_zookeeper_does() {
    let mut alone = busy();
    let cases = [
        ("ruok", json!({"command": "ruok", "error": null})),
        ("gtmk", json!({"command": "get_trace_mask", "error": null, "tracemask": 306})),
        ("stmk", json!({"command": "set_trace_mask", "error": "setTraceMask requires long traceMask argument"})),
        ("stmk?traceMask=7", json!({"command": "set_trace_mask", "error": null, "tracemask": 7})),
        ("get_trace_mask", json!({"command": "get_trace_mask", "error": null, "tracemask": 7})),
        ("nope", json!({"command": "nope", "error": "Unknown command: nope"})),
        ("lead", json!({"command": "leader", "error": "server is not initialized"})),
        ("isro", json!({"command": "is_read_only", "error": null, "read_only": false})),
        ("zabstate", json!({"command": "zabstate", "error": null, "voting": false, "zabstate": ""})),
        ("voting_view", json!({"command": "voting_view", "error": null, "current_config": {}})),
        ("hash", json!({"command": "hash", "error": null, "digests": []})),
        (
            "wchs",
            json!({"command": "watch_summary", "error": null, "num_connections": 2, "num_paths": 2, "num_total_watches": 3}),
        ),
        (
            "watches",
            json!({"command": "watches", "error": null, "session_id_to_watched_paths": {"S0": ["/a"], "S1": ["/", "/a"]}}),
        ),
        (
            "conf",
            json!({
                "command": "configuration", "error": null, "client_port": 2181, "data_dir": "/d", "data_log_dir": "/d",
                "tick_time": 1000, "max_client_cnxns": 60, "min_session_timeout": 2000, "max_session_timeout": 20000,
                "server_id": 0, "client_port_listen_backlog": -1,
            }),
        ),
        (
            "icfg",
            json!({
                "command": "initial_configuration", "error": null,
                "initial_configuration": "4lw.commands.whitelist=*\nDigestAuthenticationProvider.superDigest=[hidden]\n\
                                          clientPort=2181\ndataDir=/d\ntickTime=1000\n",
            }),
        ),
    ];
    for (command, want) in cases {
        let got = alone.command(command);
        let got: serde_json::Value = serde_json::from_str(&numbered(got.to_string(), &alone)).unwrap();
        assert_eq!(got, want, "{command}");
    }
    let watchers = alone.command("watchers?path=/a&limit=2");
    assert_eq!((&watchers["not_shown"], watchers["watchers"].as_array().map(Vec::len)), (&json!(1), Some(2)));
    let first = &watchers["watchers"][0];
    let told = ["path", "watches", "mode", "remote"].map(|key| first[key].as_str().unwrap());
    assert_eq!(told, ["/a", "data", "once", "10.0.0.1:1000"], "{watchers:#}");
    assert!(first["since"].as_str().unwrap().starts_with("2023-11-14T22:13:20."), "{watchers:#}");
    assert_eq!(alone.command("watchers?path=/b")["watchers"], json!([]));
    let stats = alone.command("stats");
    assert_eq!(stats["connections"].as_array().map(Vec::len), Some(2), "{stats:#}");
    assert_eq!(stats["server_stats"]["last_processed_zxid"], json!(5), "{stats:#}");
    assert_eq!(alone.command("mntr")["znode_count"], json!(7));
}

#[test]
fn a_snapshot_is_for_who_may_do_everything() {
    let mut alone = busy();
    let check = |alone: &mut Alone, authorization: Option<&str>, status: u16| {
        let authorization = authorization.map(str::to_owned);
        let clock = alone.clock();
        let request = AdminRequest::Snapshot { authorization: authorization.clone(), remote: [10, 0, 0, 1].into() };
        let reply = alone.node.admin(&request, clock);
        assert_eq!(reply.status, status, "{authorization:?}: {reply:?}");
        assert_eq!(reply.body == AdminBody::Snapshot, status == 200, "{reply:?}");
    };
    check(&mut alone, None, 401);
    check(&mut alone, Some("nonsense"), 401);
    check(&mut alone, Some("nosuch user:secret"), 401);
    check(&mut alone, Some("digest user:secret with more"), 401);
    check(&mut alone, Some("digest user:secret"), 200);
    // As ZooKeeper, not before 300 ms have passed.
    check(&mut alone, Some("digest user:secret"), 429);
    alone.pass(400);
    check(&mut alone, Some("ip"), 200);
    alone.pass(400);
    let client = alone.client();
    let acl = vec![Acl { perms: 31, id: Id { scheme: "digest".into(), id: "user:hash".into() } }];
    alone.ask(client, Request::SetAcl { path: "/".into(), acl, version: -1 }).1.unwrap();
    check(&mut alone, Some("digest other:secret"), 403);
    check(&mut alone, Some("ip"), 403);
    let mut alone = Alone::new("admin.snapshot.enabled=false\n");
    check(&mut alone, None, 401);
    check(&mut alone, Some("ip"), 503);
    let mut alone = Alone::new("admin.rateLimiterIntervalInMS=1000000\n");
    check(&mut alone, Some("ip"), 200);
    alone.pass(900);
    check(&mut alone, Some("ip"), 429);
    alone.pass(200);
    check(&mut alone, Some("ip"), 200);
}

#[test]
fn a_tree_is_restored_for_who_may_do_everything() {
    let mut alone = busy();
    let snapshot = alone.node.tree().snapshot();
    let ask = |alone: &mut Alone, authorization: Option<&str>, snapshot: Option<Vec<u8>>, status: u16| {
        let authorization = authorization.map(str::to_owned);
        let snapshot = snapshot.map(Into::into);
        let request = AdminRequest::Restore { authorization, remote: [10, 0, 0, 1].into(), snapshot };
        let reply = alone.node.admin(&request, alone.clock());
        assert_eq!(reply.status, status, "{request:?}: {reply:?}");
        alone.pass(20);
        let replies = alone.node.take_restored();
        replies.into_iter().map(|reply| (reply.status, reply.body)).collect::<Vec<_>>()
    };
    let client = alone.client();
    alone.create(client, "/since", CreateMode::Persistent);
    let digest = alone.node.tree().digest();
    ask(&mut alone, None, Some(snapshot.clone()), 401);
    ask(&mut alone, Some("digest"), Some(snapshot.clone()), 401);
    // Only to hear whether it would be taken; and one that is none is refused by the tree itself.
    assert_eq!(ask(&mut alone, Some("ip"), None, 200), []);
    let refused = ask(&mut alone, Some("ip"), Some(b"nonsense".to_vec()), 200);
    assert_eq!(refused.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [500]);
    assert_eq!(alone.node.tree().digest(), digest);
    alone.pass(400);
    let restored = ask(&mut alone, Some("ip"), Some(snapshot.clone()), 200);
    let [(200, AdminBody::Json(body))] = &restored[..] else { panic!("{restored:?}") };
    assert_eq!(body["last_zxid"], alone.node.tree().zxid());
    ask(&mut alone, Some("ip"), Some(snapshot.clone()), 429);
    assert!(alone.lines[&client].is_closed, "nothing holds of what it was told");
    assert!(alone.node.tree().node("/since").is_none());
    let mut alone = Alone::new("admin.restore.enabled=false\n");
    ask(&mut alone, Some("ip"), Some(snapshot), 503);
}

#[test]
fn probes_and_metrics() {
    let mut alone = busy();
    let clock = alone.clock();
    assert_eq!(alone.node.admin(&AdminRequest::Live, clock).status, 200);
    let ready = alone.node.admin(&AdminRequest::Ready, clock);
    assert_eq!(ready.status, 200, "{ready:?}");
    let AdminBody::Text(text) = alone.node.admin(&AdminRequest::Metrics, clock).body else { panic!("text") };
    for want in
        ["# TYPE znode_count gauge\nznode_count 7.0\n", "readlatency_count 4.0\n", "# TYPE commit_count counter"]
    {
        assert!(text.contains(want), "{want} in {text}");
    }
}
