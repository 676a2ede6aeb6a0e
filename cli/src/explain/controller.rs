//! `castellan explain controller`: who it is, since when and by whose session, how often it changed, and who leads the
//! coordinators below.

use super::answer::{Answer, Finding, span};
use super::world::{Registration, World, broker_address, reach};
use crate::clock::{log_time_of, now_ms};
use common::zk::{PastValue, Stat};
use serde_json::Value;
use std::collections::BTreeMap;

/// A change of the controller that is younger is told first, milliseconds.
const RECENT_MS: i64 = 10 * 60 * 1000;

/// What stands in the znodes of the election.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seat {
    /// The broker in `/controller` and the node's stat.
    holder: Option<(i32, Stat)>,
    /// `/controller_epoch` and the node's stat.
    epoch: Option<(i64, Stat)>,
}

/// What is known besides.
#[derive(Clone, Debug, Default)]
struct Around {
    /// Registered brokers, each with the session that registered it.
    registered: BTreeMap<i32, i64>,
    /// The controller by the brokers' word; `None` if they do not answer.
    hearsay: Option<i32>,
    /// Why the holder does not answer.
    unreachable: Option<String>,
    /// Coordinators and their roles.
    coordinators: Vec<(String, Option<String>)>,
    /// What starts servers.
    start: Option<String>,
}

/// The answer.
pub(super) fn explain(world: &mut World) -> anyhow::Result<Answer> {
    let mut answer = Answer::default();
    let metadata = world.metadata();
    let seat = seat(world);
    let registrations = world.registrations();
    let holder = seat.holder.as_ref().map(|(id, _)| *id);
    let address = holder.and_then(|id| {
        let registered = registrations.get(&id).map(|found| found.address.clone());
        metadata.as_ref().and_then(|metadata| broker_address(metadata, id)).or(registered)
    });
    let around = Around {
        registered: registrations.iter().map(|(id, found)| (*id, found.stat.ephemeral_owner)).collect(),
        hearsay: metadata.map(|metadata| metadata.controller_id),
        unreachable: address.and_then(|address| reach(&address, &world.security()).err()),
        coordinators: world.coordinators(),
        start: world.start_command.clone(),
    };
    if world.has_coordinators() {
        answer.findings = judge(&seat, &around);
        answer.findings.extend(judge_coordinators(&around));
    }
    answer.summary = recent_change(&seat, now_ms());
    facts(&seat, &around, &mut answer);
    events(&seat, &registrations, &mut answer);
    past(&world.past("/controller"), &world.past("/controller_epoch"), &mut answer);
    Ok(answer)
}

fn seat(world: &mut World) -> Seat {
    let holder = world.read("/controller").and_then(|(data, stat)| Some((holder(&data)?, stat)));
    let epoch = world.read("/controller_epoch").and_then(|(data, stat)| Some((epoch(&data)?, stat)));
    Seat { holder, epoch }
}

/// What happened, if the controller changed not long ago and nothing is wrong any more.
fn recent_change(seat: &Seat, now_ms: i64) -> Option<String> {
    let (id, stat) = seat.holder.as_ref()?;
    let (epoch, _) = seat.epoch.as_ref()?;
    let ago = now_ms - stat.ctime;
    (*epoch > 1 && ago < RECENT_MS)
        .then(|| format!("The controller changed {} ago, to broker {id}; nothing is wrong now.", span(ago)))
}

fn holder(data: &[u8]) -> Option<i32> {
    let json: Value = serde_json::from_slice(data).ok()?;
    i32::try_from(json.get("brokerid")?.as_i64()?).ok()
}

fn epoch(data: &[u8]) -> Option<i64> {
    std::str::from_utf8(data).ok()?.trim().parse().ok()
}

fn judge(seat: &Seat, around: &Around) -> Vec<Finding> {
    let finding = |fact: String, since_ms, why: Vec<Option<String>>, remedy: &str| Finding {
        subject: "controller".to_owned(),
        fact,
        since_ms,
        why: why.into_iter().flatten().collect(),
        remedy: vec![remedy.to_owned()],
        affects: vec!["leaders are not moved, topics are not made or deleted until there is one".to_owned()],
    };
    let Some((id, stat)) = &seat.holder else {
        let nobody = around.registered.is_empty().then(|| "no broker is registered that could be it".to_owned());
        let somebody = (!around.registered.is_empty())
            .then(|| format!("registered and not elected: brokers {:?}", around.registered.keys()));
        let remedy =
            around.start.as_deref().unwrap_or("start a broker; if some run, their logs say why none is elected");
        return vec![finding(
            "there is none: /controller does not exist".to_owned(),
            None,
            vec![nobody, somebody],
            remedy,
        )];
    };
    let mut findings = Vec::new();
    let session = Some(format!("/controller is held by session {:#x}", stat.ephemeral_owner));
    match around.registered.get(id) {
        None => findings.push(finding(
            format!("broker {id} holds it and is not registered"),
            Some(stat.ctime),
            vec![session.clone(), around.unreachable.clone()],
            "wait until its session ends; if the broker runs, see its log",
        )),
        Some(owner) if *owner != stat.ephemeral_owner => findings.push(finding(
            format!("broker {id} holds it by another session than it is registered by ({owner:#x})"),
            Some(stat.ctime),
            vec![session.clone(), Some("the broker began a new session and the old one has not ended yet".to_owned())],
            "wait until the old session ends, then another broker is elected",
        )),
        Some(_) if around.unreachable.is_some() => findings.push(finding(
            format!("broker {id} holds it and does not answer"),
            None,
            vec![around.unreachable.clone(), session],
            "see whether its process is paused or its network is cut; when its session ends another broker is elected",
        )),
        Some(_) => {}
    }
    if let Some(hearsay) = around.hearsay.filter(|hearsay| hearsay != id) {
        findings.push(finding(
            format!("the brokers say {hearsay}, /controller says {id}"),
            Some(stat.ctime),
            vec![Some("the new controller has not told the brokers yet, or cannot reach them".to_owned())],
            "ask again in a moment; if it stays so, see the log of the controller",
        ));
    }
    findings
}

fn judge_coordinators(around: &Around) -> Vec<Finding> {
    let away: Vec<&str> =
        around.coordinators.iter().filter(|(_, mode)| mode.is_none()).map(|(server, _)| server.as_str()).collect();
    let leads = |mode: &Option<String>| matches!(mode.as_deref(), Some("leader" | "standalone"));
    let remedy = vec![around.start.clone().unwrap_or_else(|| "start them; their logs say why they ended".to_owned())];
    let mut findings = Vec::new();
    if !away.is_empty() {
        let count = around.coordinators.len();
        findings.push(Finding {
            subject: "coordinators".to_owned(),
            fact: format!("{} of {count} do not serve: {}", away.len(), away.join(", ")),
            remedy: remedy.clone(),
            ..Finding::default()
        });
    }
    if !around.coordinators.is_empty() && !around.coordinators.iter().any(|(_, mode)| leads(mode)) {
        findings.push(Finding {
            subject: "coordinators".to_owned(),
            fact: "none of those named leads, so nothing can be written if none leads at all".to_owned(),
            why: vec!["fewer than a majority are there, or the leader is not in the connect string".to_owned()],
            remedy,
            ..Finding::default()
        });
    }
    findings
}

fn facts(seat: &Seat, around: &Around, answer: &mut Answer) {
    if let Some((id, stat)) = &seat.holder {
        let since = log_time_of(stat.ctime);
        answer.facts.push(format!("controller: broker {id} since {since}, by session {:#x}", stat.ephemeral_owner));
    }
    if let Some((epoch, stat)) = &seat.epoch {
        answer.facts.push(format!(
            "epoch: {epoch}, so it changed {} since {}; the last time {}",
            match epoch - 1 {
                1 => "once".to_owned(),
                changes => format!("{changes} times"),
            },
            log_time_of(stat.ctime),
            log_time_of(stat.mtime)
        ));
    }
    if let Some(hearsay) = around.hearsay {
        answer.facts.push(format!("by the brokers' word: broker {hearsay}"));
    }
    for (server, mode) in &around.coordinators {
        answer.facts.push(format!("coordinator {server}: {}", mode.as_deref().unwrap_or("does not serve")));
    }
}

fn events(seat: &Seat, registrations: &BTreeMap<i32, Registration>, answer: &mut Answer) {
    for (id, Registration { stat, .. }) in registrations {
        answer.happened(
            stat.czxid,
            Some(stat.ctime),
            format!("broker {id} registered, session {:#x}", stat.ephemeral_owner),
        );
    }
    if let Some((id, stat)) = &seat.holder {
        answer.happened(stat.czxid, Some(stat.ctime), format!("broker {id} became controller"));
    }
    if let Some((epoch, stat)) = &seat.epoch {
        answer.happened(stat.mzxid, Some(stat.mtime), format!("controller epoch {epoch}"));
    }
}

/// Earlier controllers, from coordinators that keep earlier values.
fn past(controllers: &[PastValue], epochs: &[PastValue], answer: &mut Answer) {
    for value in controllers.iter().filter(|value| value.until != 0) {
        let Some(id) = holder(value.data.as_deref().unwrap_or_default()) else { continue };
        answer.happened(value.mzxid, Some(value.mtime), format!("broker {id} became controller"));
        answer.happened(value.until, None, format!("broker {id} was controller no more"));
    }
    for value in epochs.iter().filter(|value| value.until != 0) {
        let Some(epoch) = epoch(value.data.as_deref().unwrap_or_default()) else { continue };
        answer.happened(value.mzxid, Some(value.mtime), format!("controller epoch {epoch}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_and_what_is_wrong_with_it() {
        let by = |session| Stat { ephemeral_owner: session, ctime: 5, ..Stat::default() };
        let held = |session| Seat { holder: Some((1, by(session))), ..Seat::default() };
        let around = |registered: &[(i32, i64)], hearsay, unreachable: Option<&str>| Around {
            registered: registered.iter().copied().collect(),
            hearsay,
            unreachable: unreachable.map(str::to_owned),
            ..Around::default()
        };
        for (seat, around, expected) in [
            (held(7), around(&[(1, 7), (2, 8)], Some(1), None), ""),
            (held(7), around(&[(1, 7)], None, None), ""),
            (held(7), around(&[(2, 8)], Some(1), Some("refused")), "not registered"),
            (held(6), around(&[(1, 7)], Some(1), None), "another session than it is registered by (0x7)"),
            (held(7), around(&[(1, 7)], Some(1), Some("silent")), "does not answer"),
            (held(7), around(&[(1, 7)], Some(2), None), "the brokers say 2, /controller says 1"),
            (Seat::default(), around(&[(1, 7)], Some(-1), None), "there is none"),
            (Seat::default(), around(&[], None, None), "there is none"),
        ] {
            let found = judge(&seat, &around);
            assert_eq!(found.len(), usize::from(!expected.is_empty()), "{found:?}");
            assert!(found.iter().all(|found| found.fact.contains(expected)), "{found:?}");
        }
    }

    #[test]
    fn a_change_is_told_while_it_is_news() {
        for (epoch, now, expected) in [
            (1, 5_000, None),
            (2, 5_000, Some("The controller changed 4 s ago, to broker 1; nothing is wrong now.")),
            (2, 1_000 + RECENT_MS, None),
        ] {
            let stat = Stat { ctime: 1_000, ..Stat::default() };
            let seat = Seat { holder: Some((1, stat)), epoch: Some((epoch, stat)) };
            assert_eq!(recent_change(&seat, now).as_deref(), expected, "{epoch} {now}");
        }
    }

    #[test]
    fn coordinators_need_one_that_leads() {
        let named = |modes: &[Option<&str>]| Around {
            coordinators: modes.iter().map(|mode| ("c".to_owned(), mode.map(str::to_owned))).collect(),
            ..Around::default()
        };
        for (modes, expected) in [
            (&[][..], 0),
            (&[Some("standalone")], 0),
            (&[Some("leader"), Some("follower")], 0),
            (&[Some("leader"), None], 1),
            (&[Some("follower"), None], 2),
        ] {
            assert_eq!(judge_coordinators(&named(modes)).len(), expected, "{modes:?}");
        }
    }

    #[test]
    fn the_nodes_data_are_kafkas() {
        assert_eq!(holder(br#"{"version":2,"brokerid":1,"timestamp":"10","kraftControllerEpoch":-1}"#), Some(1));
        assert_eq!((holder(b"x"), epoch(b"12"), epoch(b"")), (None, Some(12), None));
    }
}
