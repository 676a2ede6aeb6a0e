//! Random requests: good and bad values from small pools, so that they meet each other.

use crate::data::{batch, fetch, produce, records};
use crate::groups::{commit, committed};
use crate::{Pair, admin};
use common::Rng;
use common::kafka::batch::BatchSpec;
use common::kafka::compression::Compression;
use common::kafka::messages::*;

const TOPICS: [&str; 8] = ["t", "t", "compacted", "gzip", "doomed", "nobody", "a b", ""];
const GROUPS: [&str; 4] = ["r1", "r2", "r3", ""];
const PARTITIONS: [i32; 6] = [0, 0, 1, 2, 9, -1];
const NUMBERS: [i64; 10] = [-5, -2, -1, 0, 0, 1, 2, 10, 1010, 100_000];

struct Dice<'a>(&'a mut Rng);

impl Dice<'_> {
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.usize(..all.len())]
    }

    fn place(&mut self) -> (&'static str, i32) {
        (self.of(&TOPICS), self.of(&PARTITIONS))
    }

    fn version<R: Request>(&mut self, pair: &Pair) -> i16 {
        self.0.i16(pair.versions::<R>())
    }
}

pub(crate) fn run(pair: &mut Pair, seed: u64, steps: u64) {
    admin::prepare(pair);
    println!("seed {seed}, {steps} steps");
    let mut rng = Rng::with_seed(seed);
    for _ in 0..steps {
        step(pair, &mut Dice(&mut rng));
    }
}

fn step(pair: &mut Pair, dice: &mut Dice<'_>) {
    let (topic, partition) = dice.place();
    let (a, b, c) = (dice.of(&NUMBERS), dice.of(&NUMBERS), dice.of(&NUMBERS));
    match dice.0.u8(..9) {
        0 | 1 => {
            let spec = BatchSpec {
                compression: dice.of(&[Compression::None, Compression::Snappy, Compression::Zstd]),
                producer_id: dice.of(&[-1, 500, 501]),
                ..BatchSpec::default()
            };
            let is_idempotent = spec.producer_id >= 0;
            let spec = BatchSpec {
                producer_epoch: if is_idempotent { dice.of(&[0, 0, 1]) } else { -1 },
                base_sequence: if is_idempotent { dice.of(&[0, 1, 2, 3]) } else { -1 },
                ..spec
            };
            let (count, version) = (dice.0.usize(1..4), dice.version::<ProduceRequest>(pair));
            let acks = dice.of(&[-1, 1, 3]);
            pair.ask("random", version, |_| ProduceRequest {
                acks,
                ..produce(topic, partition, Some(batch(&spec, &records(count, 6))))
            });
        }
        2 | 3 => {
            let version = dice.version::<FetchRequest>(pair);
            let (other, isolation_level) = (dice.place(), dice.of(&[0, 1]));
            // How many batches of gzip are 200 bytes is up to who compressed them.
            let is_gzip = [topic, other.0].contains(&"gzip");
            let bytes = if is_gzip { dice.of(&[1, 1 << 20]) } else { dice.of(&[1, 200, 1 << 20]) };
            let places = [(topic, partition, a, dice.of(&[-1, 0, 3]), -1, bytes), (other.0, other.1, b, -1, -1, bytes)];
            pair.ask("random", version, |facts| FetchRequest { isolation_level, ..fetch(facts, version, &places) });
        }
        4 => {
            let version = dice.version::<ListOffsetsRequest>(pair);
            let part =
                list_offsets::ListOffsetsPartition { partition_index: partition, timestamp: c, ..Default::default() };
            pair.ask("random", version, |_| ListOffsetsRequest {
                replica_id: -1,
                topics: vec![list_offsets::ListOffsetsTopic { name: topic.into(), partitions: vec![part.clone()] }],
                ..Default::default()
            });
        }
        5 => {
            let (version, group) = (dice.version::<OffsetCommitRequest>(pair), dice.of(&GROUPS));
            let generation = if version == 0 { -1 } else { dice.of(&[-1, -1, 0, 3]) };
            pair.ask("random", version, |_| commit(group, generation, "", &[(topic, partition, a, Some("x"))]));
        }
        6 => {
            let (version, group) = (dice.version::<OffsetFetchRequest>(pair), dice.of(&GROUPS));
            pair.ask("random", version, |_| committed(version, &[group], Some(&[(topic, &[partition, 0])])));
        }
        7 => {
            let version = dice.version::<DeleteRecordsRequest>(pair);
            let part =
                delete_records::DeleteRecordsPartition { partition_index: partition, offset: dice.of(&[-1, 0, 1, 2]) };
            pair.ask("random", version, |_| DeleteRecordsRequest {
                topics: vec![delete_records::DeleteRecordsTopic { name: topic.into(), partitions: vec![part.clone()] }],
                timeout_ms: 5000,
            });
        }
        _ => {
            let version = dice.version::<OffsetForLeaderEpochRequest>(pair);
            let epoch = dice.of(&[-1, 0, 0, 1, 4]);
            pair.ask("random", version, |_| OffsetForLeaderEpochRequest {
                replica_id: if version < 3 { -2 } else { -1 },
                topics: vec![offset_for_leader_epoch::OffsetForLeaderTopic {
                    topic: topic.into(),
                    partitions: vec![offset_for_leader_epoch::OffsetForLeaderPartition {
                        partition,
                        current_leader_epoch: -1,
                        leader_epoch: epoch,
                    }],
                }],
            });
        }
    }
}
