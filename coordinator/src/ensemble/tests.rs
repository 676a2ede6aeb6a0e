//! The ensemble's edges: damaged messages, what a restart finds, who may become leader. No network and no clock.

use super::message::{FRAME_HEADER_BYTES, PeerMessage, next_frame};
use super::*;
use bytes::BytesMut;

const CONFIG_IDS: [u64; 3] = [1, 2, 3];

fn ensemble(seed: u64) -> Ensemble {
    let config = EnsembleConfig {
        id: 1,
        configuration: Configuration { voters: CONFIG_IDS.to_vec(), ..Default::default() },
        election_ticks: 10,
        heartbeat_ticks: 2,
    };
    let mut ensemble = Ensemble::new(&config, Recovered::default(), Rng::with_seed(seed)).unwrap();
    ensemble.set_voting(Voting::Any);
    ensemble
}

/// Does the disk work and gives what was to be sent and applied.
fn settle(ensemble: &mut Ensemble) -> (Vec<(u64, PeerBody)>, Vec<Committed>) {
    let (mut sent, mut applied) = (Vec::new(), Vec::new());
    while let Some(progress) = ensemble.progress() {
        sent.extend(progress.messages);
        if let Some(last) = progress.committed.last() {
            ensemble.applied(last.position);
        }
        applied.extend(progress.committed);
        if let Some(append) = progress.append {
            ensemble.persisted(append.number);
        }
    }
    (sent, applied)
}

fn random_message(rng: &mut Rng) -> RaftMessage {
    let index = rng.u64(0..12);
    let term = rng.u64(0..6);
    let entry = |rng: &mut Rng, index| LogEntry {
        index: if rng.u8(..) < 10 { rng.u64(..) } else { index },
        term: rng.u64(0..=term),
        kind: rng.u32(0..4),
        data: Bytes::from(vec![0; rng.usize(0..9)]),
    };
    let entries = (0..rng.u64(0..4)).map(|i| entry(rng, index + 1 + i)).collect();
    let huge = |rng: &mut Rng, value: u64| if rng.u8(..) < 10 { rng.u64(..) } else { value };
    let log_term = rng.u64(0..5);
    let (commit, commit_term, reject_hint) = (rng.u64(0..12), rng.u64(0..6), rng.u64(0..12));
    RaftMessage {
        kind: rng.u32(0..20),
        term: huge(rng, term),
        log_term,
        index: huge(rng, index),
        commit: huge(rng, commit),
        commit_term,
        reject: rng.bool(),
        reject_hint: huge(rng, reject_hint),
        context: Bytes::from(vec![0; rng.usize(0..70)]),
        entries,
    }
}

#[test]
fn no_message_of_a_peer_ends_the_process() {
    let mut refused = 0;
    for seed in 0..3_000 {
        let mut rng = Rng::with_seed(seed);
        let mut ensemble = ensemble(seed);
        for _ in 0..60 {
            if rng.u8(..) < 60 {
                ensemble.tick();
            }
            let from = rng.u64(2..5);
            let outcome = match rng.u8(..12) {
                0 => {
                    ensemble.step_commit(from, Commit { term: rng.u64(0..6), index: rng.u64(0..14) });
                    Ok(())
                }
                1 => {
                    ensemble.step_behind(from, Behind { term: rng.u64(0..6), last: rng.u64(0..14) });
                    Ok(())
                }
                2 if ensemble.may_propose() => {
                    ensemble.propose(Bytes::from_static(b"x"));
                    Ok(())
                }
                _ => ensemble.step(from, random_message(&mut rng)),
            };
            refused += usize::from(outcome.is_err());
            if rng.bool() {
                settle(&mut ensemble);
            }
        }
    }
    assert!(refused > 1_000);
}

#[test]
fn no_bytes_of_a_peer_end_the_process() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..20_000 {
        let mut frame = BytesMut::new();
        PeerMessage { body: Some(PeerBody::Raft(random_message(&mut rng))) }.encode_frame(&mut frame);
        for _ in 0..rng.usize(0..4) {
            let at = rng.usize(FRAME_HEADER_BYTES..frame.len());
            frame[at] = rng.u8(..);
        }
        let mut bytes = frame.freeze();
        let frame = next_frame(&mut bytes).unwrap();
        let _ = PeerMessage::parse(frame.slice(..rng.usize(0..=frame.len())));
    }
}

#[test]
fn an_ensemble_of_one_commits_when_its_disk_has_it() {
    let configuration = Configuration { voters: vec![7], ..Default::default() };
    let config = EnsembleConfig { id: 7, configuration, election_ticks: 10, heartbeat_ticks: 2 };
    let mut ensemble = Ensemble::new(&config, Recovered::default(), Rng::with_seed(1)).unwrap();
    assert_eq!(ensemble.leader(), None, "nobody said that it may vote");
    ensemble.set_voting(Voting::Any);
    assert_eq!(ensemble.leader(), Some(7));
    let first = ensemble.progress().unwrap();
    assert_eq!((first.committed.len(), ensemble.progress().is_none()), (0, true));
    ensemble.persisted(first.append.unwrap().number);
    let (_, applied) = settle(&mut ensemble);
    assert_eq!(applied.len(), 1);
    assert_eq!(ensemble.propose(Bytes::from_static(b"x")), 2);
    let (_, applied) = settle(&mut ensemble);
    let position = LogPosition { index: 2, term: 1 };
    assert_eq!(applied, [Committed { position, data: Bytes::from_static(b"x"), change: None }]);
}

#[test]
fn a_heartbeat_is_answered_while_the_disk_is_slow() {
    let mut ensemble = ensemble(1);
    let heartbeat = |term| RaftMessage { kind: MessageType::MsgHeartbeat as u32, term, ..Default::default() };
    let answers = |ensemble: &mut Ensemble| {
        let mut count = 0;
        let mut last = None;
        while let Some(progress) = ensemble.progress() {
            count += progress.messages.len();
            last = progress.append.map(|append| append.number).or(last);
        }
        (count, last)
    };
    ensemble.step(2, heartbeat(1)).unwrap();
    let (count, append) = answers(&mut ensemble);
    assert_eq!(count, 0, "a new term is promised only when it is kept");
    ensemble.persisted(append.unwrap());
    assert_eq!(answers(&mut ensemble).0, 1);
    let entry = LogEntry { index: 1, term: 1, kind: 0, data: Bytes::new() };
    let append =
        RaftMessage { kind: MessageType::MsgAppend as u32, term: 1, entries: vec![entry], ..Default::default() };
    ensemble.step(2, append).unwrap();
    assert_eq!(answers(&mut ensemble).0, 0, "entries are acknowledged only when they are kept");
    ensemble.step(2, heartbeat(1)).unwrap();
    assert_eq!(answers(&mut ensemble).0, 1);
}

#[test]
fn an_acknowledgement_that_outlived_the_leader_it_was_meant_for_is_no_fault() {
    let configuration = Configuration { voters: CONFIG_IDS.to_vec(), ..Default::default() };
    let config = EnsembleConfig { id: 1, configuration, election_ticks: 10, heartbeat_ticks: 2 };
    // It led in term 2, sent entry 2 and ended before its own disk had it.
    let recovered = Recovered {
        hard_state: HardState { term: 2, vote: 1, commit: 1 },
        entries: vec![LogEntry { index: 1, term: 2, kind: 0, data: Bytes::new() }],
        ..Default::default()
    };
    let mut ensemble = Ensemble::new(&config, recovered, Rng::with_seed(1)).unwrap();
    ensemble.set_voting(Voting::Any);
    let answer = |kind: MessageType, term, index| RaftMessage { kind: kind as u32, term, index, ..Default::default() };
    assert_eq!(ensemble.step(2, answer(MessageType::MsgAppendResponse, 2, 2)), Ok(()));
    settle(&mut ensemble);
    assert_eq!((ensemble.role(), ensemble.term(), ensemble.last_index()), (Role::Follower, 2, 1));

    while ensemble.term() == 2 {
        ensemble.tick();
        ensemble.step(2, answer(MessageType::MsgRequestPreVoteResponse, 3, 0)).unwrap();
        settle(&mut ensemble);
    }
    ensemble.step(2, answer(MessageType::MsgRequestVoteResponse, 3, 0)).unwrap();
    settle(&mut ensemble);
    assert!(ensemble.is_leader());
    assert_eq!(ensemble.step(2, answer(MessageType::MsgAppendResponse, 2, 9)), Ok(()), "of an earlier term");
    let beyond = MessageError::BeyondLog { index: 9, last: 2 };
    assert_eq!(ensemble.step(2, answer(MessageType::MsgAppendResponse, 3, 9)), Err(beyond), "never sent");
}
