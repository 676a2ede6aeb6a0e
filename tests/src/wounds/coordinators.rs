//! What hurt ZooKeeper, ClickHouse Keeper and etcd: followers that acknowledge what they do not have, logs with holes,
//! sessions that are forgotten, readers that are told old news.

use super::{Case, Script, cut_off, heal, host, ids, moment, new_leader, three_coordinators, wait};
use crate::check::coordinators;
use crate::sim::scenario::Run;
use crate::sim::world::{Host, Micros, Program, SECOND, Store, World};
use common::Rng;

/// All cases of coordinators together.
pub const CASES: &[Case] = &[
    Case {
        name: "what a rejoining follower has acknowledged survives a loss of power",
        known: "ZOOKEEPER-2846, 3023, 4643, 4646, 4685: the leader counts a follower whose disk lacks the history",
        script: Script::Cluster(three_coordinators, power_fails_behind_a_rejoin),
        off: &["ack-before-fsync"],
        seeds: 80,
    },
    Case {
        name: "a follower that dies while it is synced never leads with half a history",
        known: "ZOOKEEPER-4785, 4394, 3642: the new epoch is on disk before the history is",
        script: Script::Cluster(three_coordinators, power_fails_in_elections),
        off: &["vote-not-kept"],
        seeds: 80,
    },
    Case {
        name: "a stale follower spreads no hole in the committed log",
        known: "ZOOKEEPER-4925 (3.9.3): a follower's committed log has holes, and it syncs others from it",
        script: Script::Cluster(three_coordinators, stale_followers_take_turns),
        off: &["vote-not-kept"],
        seeds: 80,
    },
    Case {
        name: "a leader that was cut off gives up what was never committed",
        known: "ZOOKEEPER-3911, 4643: uncommitted transactions in a DIFF are shown, or stay after TRUNC",
        script: Script::Cluster(three_coordinators, leaders_are_cut_off),
        off: &["commit-beyond-match"],
        seeds: 40,
    },
    Case {
        name: "a request is carried out once, however often it is sent on",
        known: "what a server sends its leader again after their link broke; no peer's wound, but everyone's risk",
        script: Script::Cluster(three_coordinators, links_break),
        off: &["request-taken-twice"],
        seeds: 80,
    },
    Case {
        name: "a leader with a slow disk carries out its clients' writes once",
        known: "seed 18 of ours: what a leader took from its own clients it took again, after half a second without progress",
        script: Script::Cluster(three_coordinators, disks_of_leaders_are_slow),
        off: &["own-request-taken-twice"],
        seeds: 20,
    },
    Case {
        name: "an answer to a leader's earlier life closes no link",
        known: "seed 193 of ours: a leader that is back in its term, without its last entries, hears that others have them",
        script: Script::Cluster(three_coordinators, leaders_are_back_at_once),
        off: &["late-answer-closes-link"],
        seeds: 40,
    },
    Case {
        name: "a session that only reads, or only pings, at a follower lives",
        known: "ClickHouse #111102: the leader expires sessions of followers that write nothing; ephemerals vanish",
        script: Script::Cluster(three_coordinators, sessions_only_ping),
        off: &["touch-not-told"],
        seeds: 2,
    },
    Case {
        name: "a request for a session that a change of leader meets is carried out by the next leader",
        known: "ClickHouse #114401: the request is lost and the client waits for its whole timeout",
        script: Script::Cluster(three_coordinators, sessions_begin_as_the_leader_dies),
        off: &["forgotten-at-new-term"],
        seeds: 6,
    },
    Case {
        name: "a leader that was paused answers no sync with old news",
        known: "etcd #20418: a process that was paused serves a linearizable read from its old state",
        script: Script::Cluster(three_coordinators, leaders_pause),
        off: &["lease-read", "sync-is-local"],
        seeds: 80,
    },
];

fn coordinator_hosts(world: &World) -> [Host; 3] {
    ids("c").map(|name| host(world, &name))
}

/// One server is away and comes back; as soon as it counts again, all lose power. What was acknowledged with its vote
/// must be on its disk.
fn power_fails_behind_a_rejoin(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    let all = coordinator_hosts(&run.world);
    for round in 0..12 {
        let away = all[round % 3];
        run.world.kill(away);
        wait(run, rng.u64(300..900))?;
        run.world.start(away);
        let other = all[(round + rng.usize(1..3)) % 3];
        run.world.kill(other);
        wait(run, rng.u64(200..800))?;
        let survivors: Vec<Host> = all.into_iter().filter(|host| *host != other).collect();
        for host in survivors {
            run.world.power_off(host);
        }
        wait(run, 20)?;
        for host in all {
            run.world.start(host);
        }
        new_leader(run, None)?;
        moment(run, rng, SECOND)?;
    }
    Ok(())
}

/// Whoever was just elected, or just voted, loses power, again and again.
fn power_fails_in_elections(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..25 {
        let leader = new_leader(run, None)?;
        run.world.power_off(leader);
        let others: Vec<Host> = coordinator_hosts(&run.world).into_iter().filter(|host| *host != leader).collect();
        wait(run, rng.u64(100..400))?;
        let second = others[rng.usize(..2)];
        run.world.power_off(second);
        run.world.start(leader);
        moment(run, rng, 100_000)?;
        run.world.start(second);
    }
    Ok(())
}

/// Each server in turn misses a part of the log, comes back, and is the one on whom the next leader depends.
fn stale_followers_take_turns(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for round in 0..12 {
        let all = coordinator_hosts(&run.world);
        let stale = all[round % 3];
        cut_off(&mut run.world, stale, all);
        wait(run, rng.u64(400..1_500))?;
        heal(&mut run.world);
        moment(run, rng, 60_000)?;
        let leader = new_leader(run, None)?;
        if leader != stale {
            run.world.power_off(leader);
        }
        moment(run, rng, 300_000)?;
        heal(&mut run.world);
        new_leader(run, None)?;
    }
    Ok(())
}

/// Leaders are cut off with requests under way, for a moment only: what they added to their logs and nobody else has is
/// about as long as what the others add meanwhile.
fn leaders_are_cut_off(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..30 {
        let leader = new_leader(run, None)?;
        let all = coordinator_hosts(&run.world);
        cut_off(&mut run.world, leader, all);
        run.run_until("the others elect", 20 * SECOND, |world| {
            coordinators(world).any(|(host, process)| host != leader && process.is_leader())
        })?;
        moment(run, rng, 100_000)?;
        heal(&mut run.world);
        moment(run, rng, 300_000)?;
    }
    Ok(())
}

/// The connections between coordinators break all the time.
fn links_break(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..60 {
        let all = coordinator_hosts(&run.world);
        for (conn, _) in run.world.core.network.open_at(all[rng.usize(..3)]) {
            let between = run
                .world
                .core
                .network
                .connections
                .get(&conn)
                .is_some_and(|connection| connection.hosts.iter().all(|host| all.contains(host)) && rng.bool());
            if between {
                run.world.core.break_connection(conn);
            }
        }
        moment(run, rng, 200_000)?;
    }
    Ok(())
}

fn slow_disk(world: &mut World, host: Host, micros: Micros) {
    if let Store::Coordinator(disk) = &mut world.core.machines[host.0].store {
        disk.slowness = micros;
    }
}

/// What leaders write takes longer than they wait for what they took from their clients.
fn disks_of_leaders_are_slow(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..6 {
        let leader = new_leader(run, None)?;
        slow_disk(&mut run.world, leader, 3 * SECOND);
        wait(run, rng.u64(2_000..4_000))?;
        slow_disk(&mut run.world, leader, 0);
        moment(run, rng, SECOND)?;
    }
    Ok(())
}

/// Leaders end when the others have entries that their own disks do not have yet, and are back before another is elected
/// and before the others' disks have let them answer.
fn leaders_are_back_at_once(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..20 {
        let leader = new_leader(run, None)?;
        for host in coordinator_hosts(&run.world) {
            slow_disk(&mut run.world, host, if host == leader { 3 * SECOND } else { 300_000 });
        }
        moment(run, rng, 300_000)?;
        run.world.kill(leader);
        run.world.start(leader);
        moment(run, rng, SECOND)?;
        for host in coordinator_hosts(&run.world) {
            slow_disk(&mut run.world, host, 0);
        }
        new_leader(run, None)?;
        moment(run, rng, SECOND)?;
    }
    Ok(())
}

/// Clients have ephemeral nodes and then only ping, for several timeouts.
fn sessions_only_ping(run: &mut Run, _: &mut Rng) -> Result<(), String> {
    wait(run, 2_000)?;
    all_idle(run, true);
    wait(run, 2_000)?;
    let leader = new_leader(run, None)?;
    let sessions = |world: &World| match world.program(leader) {
        Some(Program::Coordinator(process)) => {
            process.node.tree().ephemeral_owners().map(|(owner, _)| owner).collect::<Vec<i64>>()
        }
        _ => Vec::new(),
    };
    let before = sessions(&run.world);
    if before.len() < 2 {
        return Err(format!("only sessions {before:x?} have ephemeral nodes"));
    }
    wait(run, 20_000)?;
    let after = sessions(&run.world);
    all_idle(run, false);
    if before == after { Ok(()) } else { Err(format!("sessions {before:x?} only pinged, {after:x?} are left")) }
}

fn all_idle(run: &mut Run, is_idle: bool) {
    for name in ids("z") {
        set_idle(run, host(&run.world, &name), is_idle);
    }
}

fn set_idle(run: &mut Run, client: Host, is_idle: bool) {
    run.world.act(client, |program, _| {
        if let Program::ZkClient(client) = program {
            client.is_idle = is_idle;
        }
    });
}

/// New clients ask for sessions while the leader dies. A second after there is another leader, all have one.
fn sessions_begin_as_the_leader_dies(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..12 {
        let leader = new_leader(run, None)?;
        let clients = ids("z").map(|name| host(&run.world, &name));
        for client in clients {
            run.world.kill(client);
            run.world.start(client);
        }
        moment(run, rng, 6_000)?;
        let on_leader: Vec<Host> = clients.into_iter().filter(|client| talks_to(&run.world, *client, leader)).collect();
        run.world.kill(leader);
        new_leader(run, Some(leader))?;
        wait(run, 1_000)?;
        // Who was at the server that died has to try another, which is the client's affair.
        for client in clients.into_iter().filter(|client| !on_leader.contains(client)) {
            let is_connected = matches!(run.world.program(client), Some(Program::ZkClient(c)) if c.is_connected());
            if !is_connected {
                let name = &run.world.machine(client).name;
                return Err(format!("{name} has no session a second after the change of leader"));
            }
        }
        run.world.start(leader);
        wait(run, rng.u64(500..1_500))?;
    }
    Ok(())
}

fn talks_to(world: &World, client: Host, server: Host) -> bool {
    world.core.network.connections.values().any(|connection| connection.hosts == [client, server])
}

/// Leaders stand still until another leads, and find questions of their clients when they go on.
fn leaders_pause(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..12 {
        let leader = new_leader(run, None)?;
        let all_clients = ids("z").map(|name| host(&run.world, &name));
        let its: Vec<Host> = all_clients.into_iter().filter(|client| talks_to(&run.world, *client, leader)).collect();
        its.iter().for_each(|client| set_idle(run, *client, true));
        run.world.pause(leader);
        run.run_until("another leads", 20 * SECOND, |world| {
            coordinators(world).any(|(host, process)| host != leader && process.is_leader())
        })?;
        wait(run, rng.u64(300..900))?;
        // What its clients ask now, they ask after the others' writes were answered.
        its.iter().for_each(|client| set_idle(run, *client, false));
        wait(run, 150)?;
        // It hears its clients before it hears the others.
        let all = coordinator_hosts(&run.world);
        cut_off(&mut run.world, leader, all);
        run.world.resume(leader);
        wait(run, 200)?;
        heal(&mut run.world);
        wait(run, rng.u64(500..1_500))?;
    }
    Ok(())
}
