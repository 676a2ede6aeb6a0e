//! What hurt Kafka and Redpanda: truncation that loses what was acknowledged, leaders that do not know that they are none,
//! replicas that count too early, duplicates of producers that retry.

use super::{
    Case, Script, broker, controller, cut_off, heal, host, in_sync, moment, new_partition_leader, numbers,
    one_partition, one_partition_and_a_client, one_partition_and_a_group, partition, wait, znode,
};
use crate::sim::disk::SimDisk;
use crate::sim::scenario::Run;
use crate::sim::world::{Host, Program, Role, SECOND, Store, World};
use broker::api::Handled;
use broker::connection::ConnectionInfo;
use broker::outbox::ConnectionId;
use common::Rng;
use common::kafka::error::ErrorCode;
use common::kafka::header::{RequestHeader, decode_response, encode_request};
use common::kafka::messages::fetch::{FetchPartition, FetchTopic};
use common::kafka::messages::leader_and_isr::{LeaderAndIsrPartitionState, LeaderAndIsrTopicState};
use common::kafka::messages::update_metadata::{UpdateMetadataPartitionState, UpdateMetadataTopicState};
use common::kafka::messages::{FetchRequest, LeaderAndIsrRequest, Request, UpdateMetadataRequest};
use common::zk;

/// All cases of brokers together.
pub const CASES: &[Case] = &[
    Case {
        name: "a follower that turns to a new leader keeps what was acknowledged",
        known: "KIP-101 scenario 1: it cuts its log at its own high watermark, and is then elected",
        script: Script::Cluster(one_partition, leaders_die_one_after_the_other),
        off: &["truncate-to-high-watermark"],
        seeds: 120,
    },
    Case {
        name: "logs are equal after leaders came and went fast",
        known: "KIP-101 scenario 2, KIP-279: two leaders wrote different records at the same offsets",
        script: Script::Cluster(one_partition, leaders_are_cut_off_by_turns),
        off: &["not-truncated", "divergence-not-seen"],
        seeds: 120,
    },
    Case {
        name: "a consumer never sees what is taken back",
        known: "KIP-320; Redpanda #3003 (Jepsen 2022): records and offsets that another leader does not have",
        script: Script::Cluster(one_partition, leaders_are_cut_off_by_turns),
        off: &["read-beyond-high-watermark", "high-watermark-early"],
        seeds: 120,
    },
    Case {
        name: "who was away is elected only when it has everything again",
        known: "ISR shrink and expand races (KAFKA-7128, KIP-497): a lagging replica counts as in sync",
        script: Script::Cluster(one_partition, the_laggard_returns),
        off: &["lagging-in-isr", "elected-out-of-sync"],
        seeds: 120,
    },
    Case {
        name: "a retry across a change of leader is no duplicate",
        known: "Redpanda #3039 (Jepsen 2022): duplicates of idempotent producers",
        script: Script::Cluster(one_partition, answers_are_lost),
        off: &["sequence-not-checked", "producers-not-kept"],
        seeds: 120,
    },
    Case {
        name: "what is acknowledged is on the replicas when the leader dies",
        known: "Redpanda (Jepsen 2022), lost writes",
        script: Script::Cluster(one_partition, leaders_die_one_after_the_other),
        off: &["reply-before-replicated"],
        seeds: 20,
    },
    Case {
        name: "a leader answers only who knows its epoch",
        known: "KIP-320: a reader goes on at a leader that does not know that it is none, or not yet that it is one",
        script: Script::Cluster(one_partition, fetches_of_other_epochs),
        off: &["fetch-not-fenced"],
        seeds: 2,
    },
    Case {
        name: "an order of an earlier controller is refused",
        known: "KIP-380, KAFKA-6029: a controller that was paused goes on giving orders",
        script: Script::Cluster(one_partition, orders_of_an_old_controller),
        off: &["old-controller-heeded"],
        seeds: 2,
    },
    Case {
        name: "what comes over a connection that the controller has given up changes nothing",
        known: "seed 2478 of ours, Kafka 3.9 as well: a late UpdateMetadata names leaders that are none, until the next change",
        script: Script::Cluster(one_partition, a_late_order),
        off: &["late-order-heeded"],
        seeds: 2,
    },
    Case {
        name: "a controller that was succeeded unawares writes nothing",
        known: "KAFKA-6082: a controller that does not know of its successor writes partition states",
        script: Script::Cluster(one_partition_and_a_client, controllers_do_not_hear),
        off: &["controller-not-fenced"],
        seeds: 80,
    },
    Case {
        name: "a group's coordinator that was succeeded unawares tells no old offsets",
        known: "Kafka answers OffsetFetch from memory until the controller reaches it: a consumer starts where another has been",
        script: Script::Cluster(one_partition_and_a_group, coordinators_of_groups_do_not_hear),
        off: &["succeeded-coordinator-tells"],
        seeds: 60,
    },
    Case {
        name: "the last replica standing has on disk what was acknowledged before it was alone",
        known: "Kafka, KIP-966: the last of the ISR loses power, comes back shorter and is elected",
        script: Script::Cluster(one_partition, the_last_replica_loses_power),
        off: &["alone-without-fsync"],
        seeds: 80,
    },
    Case {
        name: "who left the last one standing leads when that one is gone for good",
        known: "KIP-966: the in-sync replicas are one that never returns, and another has all that was acknowledged",
        script: Script::Cluster(one_partition, the_last_replica_is_gone),
        off: &["eligible-not-elected", "committed-below-min-isr"],
        seeds: 40,
    },
    Case {
        name: "who left the last one standing and then lost power does not lead",
        known: "KIP-966: a replica is eligible only as long as it has what it had",
        script: Script::Cluster(one_partition, the_eligible_replica_loses_power),
        off: &["unclean-stays-eligible"],
        seeds: 80,
    },
    Case {
        name: "the last one standing does not lead from an empty disk",
        known: "Kafka before KIP-966: the only in-sync replica comes back with an empty disk, leads, and all others cut their logs",
        script: Script::Cluster(one_partition, the_last_replica_is_emptied),
        off: &["empty-disk-trusted"],
        seeds: 4,
    },
    Case {
        name: "a replica that lost the end of a segment and not the next one has no hole",
        known: "seed 175 of ours: after a loss of power nothing looked torn, and records were missing in the middle",
        script: Script::Cluster(one_partition, power_fails_as_segments_begin),
        off: &["hole-not-noticed"],
        seeds: 40,
    },
    Case {
        name: "a hole is not forgotten by who stops before it has a leader",
        known: "seed 164 of ours: the stop called the log clean, and the hole stayed",
        script: Script::Cluster(one_partition, power_fails_and_then_it_is_stopped),
        off: &["hole-forgotten-at-stop"],
        seeds: 40,
    },
];

/// Asks a broker directly, as over a connection of its own, the last of all.
fn ask<R: Request>(run: &mut Run, host: Host, request: &R, version: i16) -> Result<R::Response, String> {
    ask_over(ConnectionId(u64::MAX), run, host, (request, version))
}

fn ask_over<R: Request>(
    id: ConnectionId,
    run: &mut Run,
    host: Host,
    (request, version): (&R, i16),
) -> Result<R::Response, String> {
    let client_id = Some("case".to_owned());
    let header = RequestHeader { api_key: R::KEY, api_version: version, correlation_id: 1, client_id };
    let frame = encode_request(&header, request).map_err(|error| error.to_string())?;
    let info = ConnectionInfo {
        id,
        listener: "PLAINTEXT".to_owned(),
        client_host: "10.0.0.99".to_owned(),
        client_port: 0,
        software: Default::default(),
        principal: "User:ANONYMOUS".to_owned(),
    };
    let handled = run.world.act(host, |program, ctx| match program {
        Program::Broker(process) => Some(process.broker.on_request(&info, 0, frame.slice(4..), ctx.now())),
        _ => None,
    });
    let Some(Some(Handled::Now(answer))) = handled else { return Err(format!("no answer at once to {}", R::NAME)) };
    let bytes = answer.into_bytes().map_err(|error| error.to_string())?;
    decode_response::<R>(bytes.slice(4..), version).map(|(_, response)| response).map_err(|error| error.to_string())
}

/// What a broker answers to a fetch of one who knows this leader epoch.
fn fetch_in_epoch(run: &mut Run, host: Host, current_leader_epoch: i32) -> Result<i16, String> {
    let partition = FetchPartition { current_leader_epoch, partition_max_bytes: 1_000, ..FetchPartition::default() };
    let topic = FetchTopic { topic: "a".to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest { max_bytes: 1_000, topics: vec![topic], ..FetchRequest::default() };
    let response = ask(run, host, &request, 12)?;
    let data = response.responses.first().and_then(|topic| topic.partitions.first());
    data.map(|data| data.error_code).ok_or_else(|| "a fetch without its partition".to_owned())
}

/// The leader is asked for records by one who knows an older leader epoch than it, and by one who knows a newer.
fn fetches_of_other_epochs(run: &mut Run, _: &mut Rng) -> Result<(), String> {
    in_sync(run, 3)?;
    let first = new_partition_leader(run, None)?;
    let one = broker(&run.world, first);
    run.world.kill(one);
    let leader = new_partition_leader(run, Some(first))?;
    wait(run, 1_000)?;
    let epoch = numbers(&znode(&run.world, "/brokers/topics/a/partitions/0/state").unwrap_or_default(), "leader_epoch");
    let epoch = epoch.first().copied().ok_or("no leader epoch")?;
    for (current_leader_epoch, wanted) in [
        (epoch - 1, ErrorCode::FencedLeaderEpoch),
        (epoch, ErrorCode::None),
        (epoch + 1, ErrorCode::UnknownLeaderEpoch),
    ] {
        let host = broker(&run.world, leader);
        let found = fetch_in_epoch(run, host, current_leader_epoch)?;
        if found != wanted.code() {
            return Err(format!("in epoch {epoch}, a fetch in {current_leader_epoch} gets {found}, not {wanted:?}"));
        }
    }
    Ok(())
}

/// After a change of controller, a broker gets an order in the last one's epoch.
fn orders_of_an_old_controller(run: &mut Run, _: &mut Rng) -> Result<(), String> {
    in_sync(run, 3)?;
    let old = controller(&run.world).ok_or("no controller")?;
    let one = broker(&run.world, old);
    run.world.kill(one);
    run.run_until("another controller", 30 * SECOND, |world| controller(world).is_some_and(|now| now != old))?;
    wait(run, 2_000)?;
    let epoch = znode(&run.world, "/controller_epoch").and_then(|text| text.parse::<i32>().ok()).ok_or("no epoch")?;
    let follower = [1, 2, 3].into_iter().find(|id| *id != old).unwrap_or(old);
    let state = LeaderAndIsrPartitionState {
        controller_epoch: epoch - 1,
        leader: follower,
        leader_epoch: 1_000,
        isr: vec![follower],
        partition_epoch: 1_000,
        replicas: vec![1, 2, 3],
        ..LeaderAndIsrPartitionState::default()
    };
    let topic =
        LeaderAndIsrTopicState { topic_name: "a".to_owned(), partition_states: vec![state], ..Default::default() };
    let request = LeaderAndIsrRequest {
        controller_id: old,
        controller_epoch: epoch - 1,
        topic_states: vec![topic],
        ..LeaderAndIsrRequest::default()
    };
    let host = broker(&run.world, follower);
    // The answer may come later; what counts is whether the broker believes it.
    let _ = ask(run, host, &request, 6);
    let found = fetch_in_epoch(run, host, 1_000)?;
    if found == ErrorCode::None.code() { Err(format!("an order of epoch {} made a leader", epoch - 1)) } else { Ok(()) }
}

/// The controller's word, from before the leader changed, comes over a connection older than the one it has now.
fn a_late_order(run: &mut Run, _: &mut Rng) -> Result<(), String> {
    in_sync(run, 3)?;
    let gone = new_partition_leader(run, None)?;
    let one = broker(&run.world, gone);
    run.world.kill(one);
    let leader = new_partition_leader(run, Some(gone))?;
    wait(run, 2_000)?;
    let number = |path: &str, key: &str| {
        let text = znode(&run.world, path).unwrap_or_default();
        text.parse().ok().or_else(|| numbers(&text, key).first().copied()).ok_or_else(|| format!("no number in {path}"))
    };
    let controller_epoch = number("/controller_epoch", "")?;
    let leader_epoch = number("/brokers/topics/a/partitions/0/state", "leader_epoch")? - 1;
    let state = UpdateMetadataPartitionState {
        controller_epoch,
        leader: gone,
        leader_epoch,
        isr: vec![1, 2, 3],
        replicas: vec![1, 2, 3],
        ..UpdateMetadataPartitionState::default()
    };
    let topic =
        UpdateMetadataTopicState { topic_name: "a".to_owned(), partition_states: vec![state], ..Default::default() };
    let late = UpdateMetadataRequest {
        controller_id: controller(&run.world).ok_or("no controller")?,
        controller_epoch,
        topic_states: vec![topic],
        ..UpdateMetadataRequest::default()
    };
    let follower = [1, 2, 3].into_iter().find(|id| ![gone, leader, late.controller_id].contains(id));
    let host = broker(&run.world, follower.unwrap_or(leader));
    // Its connection is closed, or with the defence off it is answered; what counts is what the broker tells after it.
    let _ = ask_over(ConnectionId(0), run, host, (&late, 6));
    let told = run.world.act(host, |program, _| match program {
        Program::Broker(process) => process.broker.image.read().partition("a", 0).map(|partition| partition.leader),
        _ => None,
    });
    let told = told.flatten();
    if told == Some(leader) {
        Ok(())
    } else {
        Err(format!("the leader is {leader}, and after a late order {told:?} is told"))
    }
}

/// The controller does not hear that it was succeeded, and a partition loses its leader meanwhile.
fn controllers_do_not_hear(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..6 {
        in_sync(run, 3)?;
        wait(run, 2_000)?;
        let old = controller(&run.world).ok_or("no controller")?;
        let leader = new_partition_leader(run, None)?;
        let (coordinator, deaf) = (host(&run.world, "c1"), broker(&run.world, old));
        run.world.core.network.cut(coordinator, deaf);
        let client = host(&run.world, "z1");
        run.world.act(client, |program, ctx| {
            if let Program::ZkClient(client) = program {
                client.ask(zk::Request::Delete { path: "/controller".to_owned(), version: -1 }, ctx);
            }
        });
        run.run_until("another controller", 5 * SECOND, |world| controller(world).is_some_and(|now| now != old))?;
        moment(run, rng, 50_000)?;
        let one = broker(&run.world, leader);
        if leader != old {
            run.world.kill(one);
        }
        wait(run, rng.u64(500..2_000))?;
        heal(&mut run.world);
        wait(run, 3_000)?;
    }
    Ok(())
}

/// The leader dies, and the one after it dies before its followers have fetched from it.
fn leaders_die_one_after_the_other(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..6 {
        in_sync(run, 3)?;
        moment(run, rng, SECOND)?;
        let first = new_partition_leader(run, None)?;
        let one = broker(&run.world, first);
        // What it takes last reaches nobody.
        let others = [1, 2, 3].map(|id| broker(&run.world, id)).into_iter().filter(|other| *other != one);
        let links: Vec<(Host, Host)> = others.flat_map(|other| [(one, other), (other, one)]).collect();
        cut_off(&mut run.world, one, links.iter().map(|(_, other)| *other));
        wait(run, rng.u64(20..300))?;
        run.world.kill(one);
        links.iter().for_each(|(from, to)| run.world.core.mend(*from, *to));
        let second = new_partition_leader(run, Some(first))?;
        moment(run, rng, 15_000)?;
        let other = broker(&run.world, second);
        run.world.kill(other);
        wait(run, rng.u64(50..2_000))?;
        run.world.start(one);
        wait(run, rng.u64(50..2_000))?;
        run.world.start(other);
        new_partition_leader(run, None)?;
    }
    Ok(())
}

/// The leader is cut off from the others but not from the clients, so that its log goes its own way until it hears of
/// its successor; then it is the successor's turn.
/// Brokers lose ZooKeeper and the controller, but hear another broker: their groups go on with them and with their successors.
fn coordinators_of_groups_do_not_hear(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    let coordinator = host(&run.world, "c1");
    for _ in 0..3 {
        in_sync(run, 3)?;
        let leads = controller(&run.world);
        let id = [1, 2, 3][rng.usize(0..3)];
        let others = [1, 2, 3].into_iter().filter(|other| *other != id);
        let heard = others.clone().find(|other| Some(*other) != leads);
        let away: Vec<Host> =
            others.filter(|other| Some(*other) != heard).map(|other| broker(&run.world, other)).collect();
        let one = broker(&run.world, id);
        cut_off(&mut run.world, one, away.into_iter().chain([coordinator]));
        run.run_until("its session ends", 20 * SECOND, |world| znode(world, &format!("/brokers/ids/{id}")).is_none())?;
        wait(run, rng.u64(6_000..20_000))?;
        heal(&mut run.world);
        moment(run, rng, 2 * SECOND)?;
    }
    Ok(())
}

fn leaders_are_cut_off_by_turns(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..4 {
        in_sync(run, 3)?;
        let leader = new_partition_leader(run, None)?;
        let one = broker(&run.world, leader);
        let others: Vec<Host> = [1, 2, 3].map(|id| broker(&run.world, id)).into();
        let coordinator = host(&run.world, "c1");
        cut_off(&mut run.world, one, others.into_iter().chain([coordinator]));
        new_partition_leader(run, Some(leader))?;
        // The successor's log becomes as long as the old leader's, or does not.
        wait(run, rng.u64(100..6_000))?;
        heal(&mut run.world);
        moment(run, rng, 2 * SECOND)?;
    }
    Ok(())
}

/// One replica is away long enough to fall out of sync, and the others die as soon as it is back.
fn the_laggard_returns(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..4 {
        in_sync(run, 3)?;
        let leader = new_partition_leader(run, None)?;
        let controller = controller(&run.world);
        let laggard = [1, 2, 3].into_iter().find(|id| *id != leader && Some(*id) != controller).unwrap_or(leader);
        let away = broker(&run.world, laggard);
        let others: Vec<Host> = [1, 2, 3].map(|id| broker(&run.world, id)).into();
        let coordinator = host(&run.world, "c1");
        cut_off(&mut run.world, away, others.into_iter().chain([coordinator]));
        in_sync(run, 2)?;
        wait(run, rng.u64(500..2_500))?;
        // It asks at once, and what it gets takes its time.
        let one = broker(&run.world, leader);
        run.world.core.network.set_slow(one, away, 800_000);
        heal(&mut run.world);
        if rng.bool() {
            in_sync(run, 3)?;
        } else {
            moment(run, rng, 400_000)?;
        }
        run.world.core.network.set_slow(one, away, 0);
        let rest: Vec<Host> =
            [1, 2, 3].into_iter().filter(|id| *id != laggard).map(|id| broker(&run.world, id)).collect();
        for host in &rest {
            run.world.kill(*host);
        }
        wait(run, rng.u64(1_000..3_000))?;
        for host in rest {
            run.world.start(host);
        }
        new_partition_leader(run, None)?;
        wait(run, 3_000)?;
    }
    Ok(())
}

/// Answers to producers are lost, so that they send again what is there already, to the same leader and to the next.
fn answers_are_lost(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..4 {
        in_sync(run, 3)?;
        let leader = new_partition_leader(run, None)?;
        let one = broker(&run.world, leader);
        for client in clients(&run.world) {
            run.world.core.network.cut(one, client);
        }
        wait(run, rng.u64(200..1_500))?;
        if rng.bool() {
            run.world.kill(one);
            new_partition_leader(run, Some(leader))?;
        }
        heal(&mut run.world);
        wait(run, rng.u64(4_000..6_000))?;
    }
    Ok(())
}

fn clients(world: &World) -> Vec<Host> {
    let is_client = |host: &Host| matches!(world.machine(*host).role, Role::Kafka { .. });
    (0..world.core.machines.len()).map(Host).filter(is_client).collect()
}

/// Two replicas die, one after the other; the third goes on alone and then loses power.
fn the_last_replica_loses_power(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..3 {
        in_sync(run, 3)?;
        moment(run, rng, SECOND)?;
        let leader = new_partition_leader(run, None)?;
        let others: Vec<Host> =
            [1, 2, 3].into_iter().filter(|id| *id != leader).map(|id| broker(&run.world, id)).collect();
        for host in &others {
            run.world.kill(*host);
            moment(run, rng, SECOND)?;
        }
        in_sync(run, 1)?;
        wait(run, rng.u64(100..1_000))?;
        let last = broker(&run.world, leader);
        run.world.power_off(last);
        wait(run, 1_000)?;
        run.world.start(last);
        run.run_until("the last one leads again", 30 * SECOND, |world| partition(world).0 == Some(leader))?;
        for host in others {
            run.world.start(host);
        }
    }
    Ok(())
}

/// Leader and the two others, with everybody in sync; the first of the others dies and leaves the in-sync replicas.
fn down_to_two(run: &mut Run, rng: &mut Rng) -> Result<[i32; 3], String> {
    in_sync(run, 3)?;
    let leader = new_partition_leader(run, None)?;
    let others: Vec<i32> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let (first, second) = if rng.bool() { (others[0], others[1]) } else { (others[1], others[0]) };
    run.world.kill(broker(&run.world, first));
    in_sync(run, 2)?;
    wait(run, rng.u64(100..1_000))?;
    Ok([leader, first, second])
}

/// One replica dies, another is cut off or stopped in order; the third is alone for a while and then gone.
fn the_last_replica_is_gone(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..3 {
        let [leader, first, second] = down_to_two(run, rng)?;
        let (last, away) = (broker(&run.world, leader), broker(&run.world, second));
        // The controller must hear of it from the leader, and move the lead to no one it cannot reach.
        let preferred = numbers(&znode(&run.world, "/brokers/topics/a").unwrap_or_default(), "0");
        let can_be_cut = controller(&run.world) != Some(second) && preferred.first() == Some(&leader);
        let is_stopped = rng.bool() || !can_be_cut;
        if is_stopped {
            run.world.act(away, |program, ctx| {
                if let Program::Broker(process) = program {
                    process.begin_shutdown(ctx);
                }
            });
        } else {
            // From the leader alone: it lags behind, and is there when the leader is gone.
            run.world.core.network.cut(away, last);
            run.world.core.network.cut(last, away);
        }
        in_sync(run, 1)?;
        wait(run, rng.u64(100..3_000))?;
        run.world.kill(last);
        if is_stopped {
            run.run_until("it has stopped", 60 * SECOND, |world| !world.machine(away).is_running)?;
            run.world.start(away);
        }
        run.run_until("the eligible one leads", 30 * SECOND, |world| partition(world).0 == Some(second))?;
        run.world.core.mend(away, last);
        run.world.core.mend(last, away);
        run.world.start(broker(&run.world, first));
        in_sync(run, 2)?;
        run.world.start(last);
    }
    Ok(())
}

/// One replica dies, another loses power with what it did not sync; the third dies, and comes back later than the other.
fn the_eligible_replica_loses_power(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    let [leader, first, second] = down_to_two(run, rng)?;
    let (last, away) = (broker(&run.world, leader), broker(&run.world, second));
    run.world.power_off(away);
    in_sync(run, 1)?;
    wait(run, rng.u64(100..1_000))?;
    run.world.kill(last);
    run.world.start(away);
    wait(run, rng.u64(10_000..20_000))?;
    if let Some(leader) = partition(&run.world).0 {
        return Err(format!("broker {leader} leads, which lost records"));
    }
    run.world.start(last);
    run.run_until("the last one leads again", 30 * SECOND, |world| partition(world).0 == Some(leader))?;
    run.world.start(broker(&run.world, first));
    Ok(())
}

/// One replica dies, another is stopped in order; the third dies and comes back first, with an empty disk.
fn the_last_replica_is_emptied(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    let [leader, first, second] = down_to_two(run, rng)?;
    let (last, away) = (broker(&run.world, leader), broker(&run.world, second));
    run.world.act(away, |program, ctx| {
        if let Program::Broker(process) = program {
            process.begin_shutdown(ctx);
        }
    });
    in_sync(run, 1)?;
    run.run_until("it has stopped", 60 * SECOND, |world| !world.machine(away).is_running)?;
    run.world.kill(last);
    run.world.core.machines[last.0].store = Store::Disk(SimDisk::default());
    run.world.start(last);
    wait(run, rng.u64(10_000..20_000))?;
    if let Some(leader) = partition(&run.world).0 {
        return Err(format!("broker {leader} leads, which has nothing"));
    }
    run.world.start(away);
    run.run_until("the eligible one leads", 30 * SECOND, |world| partition(world).0 == Some(second))?;
    run.world.start(broker(&run.world, first));
    Ok(())
}

/// A follower's machine loses power just when its log has got another segment, before the last one is synced.
fn power_fails_at_a_new_segment(run: &mut Run, rng: &mut Rng) -> Result<Host, String> {
    in_sync(run, 3)?;
    let leader = new_partition_leader(run, None)?;
    let others: Vec<i32> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let follower = broker(&run.world, others[rng.usize(..2)]);
    let newest = |world: &World| match &world.machine(follower).store {
        Store::Disk(disk) => disk.segments("/data/a-0").keys().next_back().copied(),
        Store::Coordinator(_) | Store::None => None,
    };
    let (before, end) = (newest(&run.world), run.world.core.now() + 60 * SECOND);
    while newest(&run.world) == before {
        if run.world.core.now() > end {
            return Err("the log gets no other segment".to_owned());
        }
        let next = run.world.core.now() + 100;
        run.world.run_to(next);
    }
    run.world.power_off(follower);
    in_sync(run, 2)?;
    Ok(follower)
}

fn power_fails_as_segments_begin(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..5 {
        let follower = power_fails_at_a_new_segment(run, rng)?;
        run.world.start(follower);
    }
    in_sync(run, 3)
}

/// Afterwards it hears nobody until it is stopped in order.
fn power_fails_and_then_it_is_stopped(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..4 {
        let follower = power_fails_at_a_new_segment(run, rng)?;
        let all = (0..run.world.core.machines.len()).map(Host);
        cut_off(&mut run.world, follower, all);
        run.world.start(follower);
        wait(run, 500)?;
        run.world.act(follower, |program, ctx| {
            if let Program::Broker(process) = program {
                process.begin_shutdown(ctx);
            }
        });
        run.run_until("it has stopped", 60 * SECOND, |world| !world.machine(follower).is_running)?;
        heal(&mut run.world);
    }
    in_sync(run, 3)
}
