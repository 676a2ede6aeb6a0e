//! What rests in a follower's session, and what ends the rest.

use super::*;

/// A leader and two followers with two partitions, of which nobody wants anything.
fn at_rest() -> World {
    let mut world = World::new(&[1, 2, 3], 2);
    let second = NewState { partition: 1, ..world.state() };
    (1..=3).for_each(|id| world.tell(id, &second));
    world.pump();
    world.ack(1, &["a"]);
    world.pass(3000);
    world
}

fn looked_at(world: &World) -> u64 {
    world.partition(1).counters().fetches.get()
}

#[test]
fn a_request_costs_by_the_partitions_that_do_not_rest() {
    let mut world = at_rest();
    let before = looked_at(&world);
    world.pass(20_000);
    assert_eq!(looked_at(&world), before);
    world.ack(1, &["b"]);
    world.pass(3000);
    let both = looked_at(&world) - before;
    assert!((4..=10).contains(&both), "{both} looks for one record of two followers");
    assert_eq!(world.view(2).high_watermark, 2);
}

/// The rest is no silence: who was cut off only now is in sync for the time that it may lag.
#[test]
fn a_follower_that_rests_counts_as_heard() {
    let mut world = at_rest();
    world.pass(120_000);
    world.cut.insert(2);
    world.produce(1, &["b"], true);
    world.pass(20_000);
    assert_eq!(world.isr, [1, 2, 3]);
    world.pass(40_000);
    assert_eq!(world.isr, [1, 3]);
}

/// What happened, and what a follower must have within the half second for which its request waits.
#[test]
fn what_happens_ends_the_rest() {
    let mut world = at_rest();
    world.ack(1, &["b", "c"]);
    world.pass(3000);
    assert_eq!(world.view(2).high_watermark, 3, "told without records");

    let part: (Arc<str>, i32, i64) = (TOPIC.into(), 0, 2);
    let told: Arc<Mutex<Option<Vec<DeleteOutcome>>>> = Arc::default();
    let slot = told.clone();
    let done = move || -> waiting::Done<DeleteOutcome> { Box::new(move |outcomes| *slot.lock() = Some(outcomes)) };
    let node = world.nodes.get_mut(&1).unwrap();
    assert_eq!(node.replicas.delete_records(&[part], 5000, done, (world.now, &mut node.effects)), None);
    world.pass(1100);
    assert_eq!((told.lock().take(), world.view(2).start_offset), (Some(vec![Ok(2)]), 2));

    world.pass(3000);
    world.elect(2);
    world.ack(2, &["d"]);
    assert_eq!(world.content(3).last(), Some(&(3, "d".to_owned())));

    world.pass(3000);
    world.restart(3, true);
    world.ack(2, &["e"]);
    assert_eq!(world.content(3).last(), Some(&(4, "e".to_owned())));
}

/// Who rested and is dropped by the controller counts no more: acks=all waits for the others alone.
#[test]
fn a_follower_that_a_new_epoch_drops_holds_nothing_back() {
    let mut world = at_rest();
    world.pass(10_000);
    world.cut.insert(3);
    world.isr = vec![1, 2];
    world.elect(1);
    world.pass(1000);
    assert_eq!(world.ack(1, &["b"]), 1);
    assert_eq!(world.isr, [1, 2]);
}

/// A session that goes on without the partition says nothing of it.
#[test]
fn a_partition_that_its_follower_left_does_not_rest() {
    let mut world = at_rest();
    let node = world.nodes.get_mut(&2).unwrap();
    let stop = Stop { topic: TOPIC.into(), partition: 0, leader_epoch: NO_EPOCH, delete: false };
    assert_eq!(node.replicas.stop(1, &[stop], world.now, &mut node.effects), Ok(vec![Ok(())]));
    world.pass(120_000);
    assert_eq!(world.isr, [1, 2, 3]);
    world.produce(1, &["b"], true);
    world.pass(16_000);
    assert_eq!(world.isr, [1, 3], "it has been silent for two minutes");
}

#[test]
fn who_may_not_follow_any_more_gets_no_records() {
    let mut world = at_rest();
    world.forbidden.insert(3);
    world.pass(3000);
    world.produce(1, &["b"], true);
    world.pass(3000);
    assert_eq!((world.view(2).end_offset, world.view(3).end_offset), (2, 1));
    world.forbidden.clear();
    world.pass(3000);
    assert_eq!(world.view(3).end_offset, 2);
    assert_eq!(world.ack(1, &["c"]), 2);
}

/// A follower that begins a new session, as after a lost connection, is told of what comes in through that one.
#[test]
fn a_new_session_takes_the_place_of_an_old_one() {
    let mut world = at_rest();
    world.cut.insert(2);
    world.pass(1000);
    world.heal(2);
    world.pass(3000);
    world.ack(1, &["b"]);
    assert_eq!(world.content(2).last(), Some(&(1, "b".to_owned())));
}
