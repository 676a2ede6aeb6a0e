//! Tests of record batches: what is built is read back, patched and bounded.

use super::*;
use crate::Rng;

const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn random_records(rng: &mut Rng, base_offset: i64) -> Vec<Record> {
    let mut offset = base_offset;
    (0..rng.usize(1..30))
        .map(|_| {
            let mut bytes = |longest: usize| -> Option<Bytes> {
                let len = rng.usize(..longest);
                rng.bool().then(|| (0..len).map(|_| rng.u8(..)).collect())
            };
            let (key, value, header) = (bytes(20), bytes(300), bytes(9));
            let headers = vec![RecordHeader { key: "trace".to_owned(), value: header }; rng.usize(..3)];
            offset += rng.i64(0..3);
            let record = Record { offset, timestamp: 1_700_000_000_000 + rng.i64(-5..50), key, value, headers };
            offset += 1;
            record
        })
        .collect()
}

fn read(bytes: &Bytes) -> Result<(BatchHeader, Vec<Record>), BatchError> {
    let batch = Batch::parse(bytes.clone())?;
    batch.check_crc()?;
    let records = batch.records(1 << 20)?.collect::<Result<_, _>>()?;
    Ok((batch.header, records))
}

#[test]
fn what_is_built_is_read_back() {
    let mut rng = Rng::with_seed(3);
    for round in 0..200 {
        let base_offset = rng.i64(0..1 << 40);
        let records = random_records(&mut rng, base_offset);
        let spec = BatchSpec {
            base_offset,
            compression: ALL[round % ALL.len()],
            partition_leader_epoch: 5,
            producer_id: 9,
            producer_epoch: 2,
            base_sequence: i32::MAX,
            is_transactional: round % 2 == 0,
            ..BatchSpec::default()
        };
        let bytes = build(&spec, &records).unwrap();
        let (header, back) = read(&bytes).unwrap();
        assert_eq!(back, records);
        assert_eq!(header.size_bytes(), bytes.len());
        assert_eq!(header.last_offset(), records[records.len() - 1].offset);
        assert_eq!(header.compression().unwrap(), spec.compression);
        assert_eq!((header.is_transactional(), header.is_control()), (spec.is_transactional, false));
        assert_eq!(
            header.last_sequence(),
            if header.last_offset_delta == 0 { i32::MAX } else { header.last_offset_delta - 1 }
        );
        assert_eq!(&header.to_bytes()[..], &bytes[..HEADER_BYTES]);
        assert_eq!(crc_of(&header.to_bytes(), &bytes[HEADER_BYTES..]), header.crc);
    }
}

/// Two records at offset 10 in leader epoch 3, as kafka-clients 3.9.1 writes them, in hexadecimal.
const WRITTEN_BY_KAFKA: [(Compression, &str); 5] = [
    (
        Compression::None,
        "000000000000000a00000046000000030270e7865100000000000100000000000003e800000000000003e9ffffffffffffffffffffffffffff0000000210000000026b027600160002020102770202680278",
    ),
    (
        Compression::Gzip,
        "000000000000000a0000005a0000000302caf6b87200010000000100000000000003e800000000000003e9ffffffffffffffffffffffffffff000000021f8b08000000000000ff1360606060ca662a631063606262642a6762ca60aa00006eaebc7915000000",
    ),
    (
        Compression::Snappy,
        "000000000000000a0000005c000000030274b9745900020000000100000000000003e800000000000003e9ffffffffffffffffffffffffffff0000000282534e4150505900000000010000000100000017155010000000026b027600160002020102770202680278",
    ),
    (
        Compression::Lz4,
        "000000000000000a0000005500000003022b1ad94500030000000100000000000003e800000000000003e9ffffffffffffffffffffffffffff0000000204224d186040821500008010000000026b02760016000202010277020268027800000000",
    ),
    (
        Compression::Zstd,
        "000000000000000a000000520000000302320c0f3700040000000100000000000003e800000000000003e9ffffffffffffffffffffffffffff0000000228b52ffd0058a8000010000000026b027600160002020102770202680278010000",
    ),
];

fn bytes_of_hex(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn bytes_are_those_of_kafka() {
    let header = RecordHeader { key: "h".to_owned(), value: Some("x".into()) };
    let records = [
        Record { offset: 10, timestamp: 1000, key: Some("k".into()), value: Some("v".into()), headers: vec![] },
        Record { offset: 11, timestamp: 1001, key: None, value: Some("w".into()), headers: vec![header] },
    ];
    for (compression, hex) in WRITTEN_BY_KAFKA {
        let theirs = bytes_of_hex(hex);
        let (header, back) = read(&theirs).unwrap();
        assert_eq!((header.compression().unwrap(), header.partition_leader_epoch), (compression, 3));
        assert_eq!(back, records, "{compression:?}");
        // Compressors may differ in what they choose; the plain bytes may not.
        if compression == Compression::None {
            let spec = BatchSpec { base_offset: 10, partition_leader_epoch: 3, ..BatchSpec::default() };
            assert_eq!(build(&spec, &records).unwrap(), theirs);
        }
    }
}

#[test]
fn patches_keep_the_rest() {
    let record = Record { offset: 0, timestamp: 50, value: Some("v".into()), ..Record::default() };
    let before = build(&BatchSpec::default(), std::slice::from_ref(&record)).unwrap();
    let mut bytes = before.to_vec();
    set_base_offset(&mut bytes, 77);
    set_leader_epoch(&mut bytes, 4);
    let (header, records) = read(&bytes.clone().into()).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (77, 4));
    assert_eq!(records, [Record { offset: 77, ..record.clone() }]);

    set_max_timestamp(&mut bytes, TimestampType::LogAppendTime, 900);
    let (header, records) = read(&bytes.clone().into()).unwrap();
    assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, 900));
    assert_eq!(records[0].timestamp, 900);

    bytes[HEADER_BYTES] ^= 1;
    assert!(matches!(check_crc(&bytes), Err(BatchError::Crc { .. })));
}

#[test]
fn an_emptied_batch_keeps_its_offsets() {
    let spec = BatchSpec {
        base_offset: 5,
        last_offset: Some(9),
        compression: Compression::Gzip,
        producer_id: 1,
        empty_timestamp_ms: 33,
        ..BatchSpec::default()
    };
    let (header, records) = read(&build(&spec, &[]).unwrap()).unwrap();
    assert_eq!((header.last_offset(), header.next_offset(), header.max_timestamp), (9, 10, 33));
    assert!(records.is_empty());
}

#[test]
fn batches_are_walked_to_the_cut() {
    let one = build(&BatchSpec::default(), &[Record::default()]).unwrap();
    let all: Bytes = [&one[..], &one, &one[..one.len() - 1]].concat().into();
    let walked: Vec<_> = batches(all).collect();
    assert_eq!(walked.len(), 3);
    assert_eq!(walked[1].as_ref().unwrap().bytes, one);
    assert!(matches!(walked[2], Err(BatchError::Truncated { .. })));

    let mut old = one.to_vec();
    old[MAGIC_AT] = 1;
    assert!(matches!(Batch::parse(old.into()), Err(BatchError::Magic(1))));
    let mut short = one.to_vec();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert!(matches!(Batch::parse(short.into()), Err(BatchError::Length(48))));
}

#[test]
fn hostile_batches_are_errors() {
    let mut rng = Rng::with_seed(11);
    for compression in ALL {
        let records = random_records(&mut rng, 0);
        let bytes = build(&BatchSpec { compression, ..BatchSpec::default() }, &records).unwrap();
        for _ in 0..3000 {
            let mut hostile = bytes.to_vec();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..hostile.len());
                hostile[at] = rng.u8(..);
            }
            hostile.truncate(rng.usize(..=hostile.len()));
            for batch in batches(hostile.into()).flatten() {
                let count = batch.records(1 << 16).map_or(0, |records| records.count());
                assert!(count <= 1 << 16);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let check =
        |record: Record| assert!(matches!(build(&BatchSpec::default(), &[record]), Err(BatchError::DoesNotFit)));
    check(Record { offset: -1, ..Record::default() });
    check(Record { offset: 1 << 31, ..Record::default() });
}
