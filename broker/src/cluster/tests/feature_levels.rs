//! Levels of features that an operator sets: who hears of them, and what Kafka's own brokers see.

use super::*;

impl World {
    /// What a broker was told last, in the order in which it was told beside its registration.
    fn levels(&self, broker: i32) -> (Levels, bool) {
        let mut last = (Levels::new(), false);
        let mut is_registered = false;
        for effect in &self.members[&broker].effects {
            match effect {
                Effect::FeatureLevels(levels) => last = (levels.clone(), is_registered),
                Effect::Registered { .. } => is_registered = true,
                _ => {}
            }
        }
        last
    }

    fn set(&mut self, levels: &Levels) -> mpsc::Receiver<Result<(), ZkError>> {
        let levels = levels.clone();
        self.act(1, |core, io, done| core.feature_levels.change(levels, done, io))
    }
}

fn levels(of: &[(&str, i16)]) -> Levels {
    of.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect()
}

#[test]
fn all_brokers_hear_of_levels_and_later_ones_before_they_register() {
    let mut world = World::new(&[1, 2]);
    for (set, expected) in [
        (levels(&[("share.version", 0)]), levels(&[("share.version", 0)])),
        (levels(&[("transaction.version", 1)]), levels(&[("share.version", 0), ("transaction.version", 1)])),
        (levels(&[("share.version", 1)]), levels(&[("share.version", 1), ("transaction.version", 1)])),
    ] {
        assert_eq!(world.set(&set).try_recv().unwrap(), Ok(()));
        assert_eq!((world.levels(1).0, world.levels(2).0), (expected.clone(), expected));
    }
    world.start_with(config(3));
    assert_eq!(world.levels(3), (world.levels(1).0, false));
    // Brokers of Apache Kafka stop when they read a feature that they do not know.
    let text =
        r#"{"features":{},"version":2,"status":1,"castellan_levels":{"share.version":1,"transaction.version":1}}"#;
    assert_eq!(world.text("/feature").unwrap(), text);
    world.kill(1);
    world.pass(20_000);
    assert_eq!(world.text("/feature").unwrap(), text, "the next controller leaves it as it is");
}

#[test]
fn levels_that_kafka_wrote_count() {
    let mut world = World::new(&[]);
    let kafkas =
        br#"{"version":2,"status":1,"features":{"share.version":{"max_version_level":0},"x":{"max_version_level":3}}}"#;
    world.zk.force_create("/feature", kafkas);
    world.start_with(config(1));
    assert_eq!(world.levels(1).0, levels(&[("share.version", 0), ("x", 3)]));
}

#[test]
fn a_change_survives_lost_answers_and_other_changes() {
    for lost_answer in 0..4 {
        let mut world = World::new(&[1, 2]);
        world.zk.lose_answer_after(lost_answer);
        let outcome = world.set(&levels(&[("share.version", 0)]));
        for id in [1, 2] {
            world.member(id).core.store.ask_again();
        }
        world.run();
        assert_eq!(outcome.try_recv().unwrap(), Ok(()), "{lost_answer}");
        for id in [1, 2] {
            assert_eq!(world.levels(id).0, levels(&[("share.version", 0)]), "broker {id}, lost {lost_answer}");
        }
    }
}
