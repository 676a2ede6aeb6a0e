//! Checks a history of registers that real clients wrote down: a line for each request, from the files named as arguments
//! or from standard input. Ends with 1 and says why if no linearizable ensemble could have given these answers. Starts and
//! asks nothing.
//!
//!     set CLIENT SESSION ASKED ANSWERED PATH VALUE EXPECTED-VERSION NEW-VERSION|unknown|refused
//!     get CLIENT SESSION ASKED ANSWERED PATH synced|plain VALUE VERSION
//!
//! Times are microseconds of one clock; values have no blanks and are unique but for `-`, which is empty.

use common::zk::ZkError;
use std::process::ExitCode;
use tests::check::registers;
use tests::sim::history::{History, ZkAsk, ZkOp, ZkOutcome};

fn parse(line: &str) -> Option<ZkOp> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, client, session, asked, answered, path, more @ ..] = &words[..] else { return None };
    let path = (*path).to_owned();
    let value = |word: &str| if word == "-" { String::new() } else { word.to_owned() };
    let (ask, outcome) = match (*kind, more) {
        ("set", [value, expected, outcome]) => {
            let ask = ZkAsk::Set { path, value: (*value).to_owned(), version: expected.parse().ok()? };
            let outcome = match *outcome {
                "unknown" => ZkOutcome::Unknown,
                "refused" => ZkOutcome::Refused(ZkError::BadVersion),
                version => ZkOutcome::Set(vec![version.parse().ok()?]),
            };
            (ask, outcome)
        }
        ("get", [how, found, version]) => {
            let ask = ZkAsk::Get { path, is_synced: *how == "synced" };
            (ask, ZkOutcome::Read { value: value(found), version: version.parse().ok()? })
        }
        _ => return None,
    };
    let (client, session) = (client.parse().ok()?, session.parse().ok()?);
    Some(ZkOp { client, session, asked: asked.parse().ok()?, answered: answered.parse().ok()?, ask, outcome })
}

fn main() -> ExitCode {
    let take = |history: &mut History, line: &str| parse(line).map(|op| history.zk.push(op));
    tests::verdict::of(take, |history| {
        // The order in which a client asked is the order of its lines; sessions are told apart in the order of the answers.
        history.zk.sort_by_key(|op| op.answered);
        registers::check(history).map_err(|problem| format!("NOT linearizable: {problem}"))?;
        Ok(format!("{} requests: linearizable", history.zk.len()))
    })
}
