//! Every Kafka message in every version: what is written is read back, an independent codec agrees on the bytes, and
//! hostile bytes are refused without a panic and without memory for lengths that lie. Starts no server.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use common::Rng;
use common::kafka::messages::{APIS, ApiDescriptor};
use common::kafka::wire::DecodeError;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

type Random = fn(&mut Rng, i16) -> Bytes;
type Recode = fn(Bytes, i16) -> Result<(Bytes, usize), DecodeError>;

/// One of the two messages of an API, in one version.
struct Case {
    api: &'static ApiDescriptor,
    version: i16,
    is_request: bool,
}

impl Case {
    fn random(&self, rng: &mut Rng) -> Bytes {
        let trial = &self.api.trial;
        let random: Random = if self.is_request { trial.random_request } else { trial.random_response };
        random(rng, self.version)
    }

    fn recode(&self, bytes: Bytes) -> Result<(Bytes, usize), DecodeError> {
        let trial = &self.api.trial;
        let recode: Recode = if self.is_request { trial.recode_request } else { trial.recode_response };
        recode(bytes, self.version)
    }

    fn name(&self) -> String {
        format!("{} {} version {}", self.api.name, if self.is_request { "request" } else { "response" }, self.version)
    }
}

/// Calls `check` with every message in every version and a generator of its own.
fn for_each(mut check: impl FnMut(&Case, &mut Rng)) {
    for api in APIS {
        for version in api.versions.clone() {
            for is_request in [true, false] {
                let seed = (i32::from(api.key) << 16) | (i32::from(version) << 1) | i32::from(is_request);
                check(&Case { api, version, is_request }, &mut Rng::with_seed(seed.unsigned_abs().into()));
            }
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    for_each(|case, rng| {
        for _ in 0..30 {
            let bytes = case.random(rng);
            assert_eq!(case.recode(bytes.clone()), Ok((bytes, 0)), "{}", case.name());
        }
    });
}

/// kafka-protocol 0.18 lists version 10 of OffsetCommit and OffsetFetch but does not read their requests.
fn is_refused_there(case: &Case) -> bool {
    case.is_request && matches!((case.api.name, case.version), ("OffsetCommit" | "OffsetFetch", 10))
}

/// What `kafka-protocol` makes of `bytes` when it reads and writes them; `None` if it lacks the API or version.
fn recode_independently(case: &Case, bytes: &Bytes) -> Option<Result<(Bytes, usize), String>> {
    let key = ApiKey::try_from(case.api.key).ok()?;
    let known = key.valid_versions();
    if !(known.min..=known.max).contains(&case.version) || is_refused_there(case) {
        return None;
    }
    let mut rest = bytes.clone();
    let mut written = BytesMut::new();
    let recoded = if case.is_request {
        RequestKind::decode(key, &mut rest, case.version).and_then(|kind| kind.encode(&mut written, case.version))
    } else {
        ResponseKind::decode(key, &mut rest, case.version).and_then(|kind| kind.encode(&mut written, case.version))
    };
    Some(recoded.map(|()| (written.freeze(), rest.len())).map_err(|error| error.to_string()))
}

#[test]
fn an_independent_codec_agrees() {
    let mut compared = 0;
    for_each(|case, rng| {
        for _ in 0..30 {
            let bytes = case.random(rng);
            let Some(recoded) = recode_independently(case, &bytes) else { return };
            let recoded = recoded.unwrap_or_else(|error| panic!("{}: {error} in {bytes:02x?}", case.name()));
            assert_eq!(recoded, (bytes, 0), "{}", case.name());
            compared += 1;
        }
    });
    // Keys 4 to 7, the oldest and the newest versions are unknown to it.
    assert!(compared > 12_000, "only {compared} messages were compared");
}

#[test]
fn a_cut_message_is_refused() {
    for_each(|case, rng| {
        let bytes = case.random(rng);
        for len in 0..bytes.len() {
            assert!(case.recode(bytes.slice(..len)).is_err(), "{} cut to {len} bytes", case.name());
        }
    });
}

/// The codec may use this many bytes of memory for each byte of input: an empty array of a flexible version takes one
/// byte and becomes 24, and a growing vector is there twice.
const MEMORY_PER_BYTE: usize = 64;
/// And this many for the arrays that are being read, nested in each other, of which a bounded count is reserved.
const MEMORY_AT_ALL: usize = 64 * 1024;

fn check_hostile(case: &Case, hostile: Vec<u8>) {
    let len = hostile.len();
    let hostile = Bytes::from(hostile);
    let before = memory::start();
    let _ = case.recode(hostile.clone());
    let used = memory::peak_since(before);
    let bound = len * MEMORY_PER_BYTE + MEMORY_AT_ALL;
    assert!(used <= bound, "{}: {used} bytes of memory for {len} bytes", case.name());
}

#[test]
fn lying_lengths_take_no_memory() {
    let lies: [&[u8]; 7] = [
        &500_000_000_i32.to_be_bytes(),
        &i32::MAX.to_be_bytes(),
        &i32::MIN.to_be_bytes(),
        &i16::MAX.to_be_bytes(),
        &i16::MIN.to_be_bytes(),
        // 500 million and the largest number as unsigned varints.
        &[0x80, 0xca, 0xb5, 0xee, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    for_each(|case, rng| {
        let bytes = case.random(rng);
        for at in 0..bytes.len() {
            for lie in lies {
                let end = (at + lie.len()).min(bytes.len());
                check_hostile(case, [&bytes[..at], lie, &bytes[end..]].concat());
            }
        }
    });
}

#[test]
fn long_arrays_of_short_elements_take_bounded_memory() {
    // A count that the bytes behind it really fill, as far as elements can be made of zeros or ones.
    let counts: [&[u8]; 2] = [&20_000_i32.to_be_bytes(), &[0xa1, 0x9c, 0x01]];
    for_each(|case, rng| {
        for _ in 0..2 {
            let bytes = case.random(rng);
            let at = rng.usize(..=bytes.len());
            for count in counts {
                for fill in [0, 1] {
                    check_hostile(case, [&bytes[..at], count, &[fill; 100_000]].concat());
                }
            }
        }
    });
}

#[test]
fn changed_bytes_never_panic() {
    for_each(|case, rng| {
        for _ in 0..300 {
            let mut hostile = case.random(rng).to_vec();
            for _ in 0..rng.usize(1..6) {
                if hostile.is_empty() {
                    break;
                }
                let at = rng.usize(..hostile.len());
                match rng.u8(..3) {
                    0 => hostile[at] = rng.u8(..),
                    1 => hostile[at] = [0, 1, 0x7f, 0x80, 0xff][rng.usize(..5)],
                    _ => drop(hostile.remove(at)),
                }
            }
            check_hostile(case, hostile);
        }
    });
}

#[test]
fn an_unknown_version_is_refused() {
    for api in APIS {
        for version in [api.versions.start() - 1, api.versions.end() + 1, i16::MIN, i16::MAX] {
            let refused = DecodeError::UnsupportedVersion { key: api.key, version };
            assert_eq!((api.trial.recode_request)(Bytes::new(), version), Err(refused.clone()));
            assert_eq!((api.trial.recode_response)(Bytes::new(), version), Err(refused));
        }
    }
}

/// Counts the memory that the current thread holds.
mod memory {
    use super::*;

    thread_local! {
        static HELD: Cell<isize> = const { Cell::new(0) };
        static PEAK: Cell<isize> = const { Cell::new(0) };
    }

    struct Counting;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    fn count(bytes: isize) {
        // Late frees of a thread that is ending are not counted.
        let _ = HELD.try_with(|held| {
            held.set(held.get() + bytes);
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        });
    }

    #[allow(unsafe_code, reason = "an allocator is unsafe to write; this one hands every call on to the system's")]
    // SAFETY: each method only counts and calls the method of `System` with the arguments it got.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count(layout.size() as isize);
            // SAFETY: the caller keeps the contract of `alloc`.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            count(-(layout.size() as isize));
            // SAFETY: `pointer` came from `System` with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    /// Starts a measurement: what is held now.
    pub(super) fn start() -> isize {
        let held = HELD.get();
        PEAK.set(held);
        held
    }

    /// The most that was held since `start`, above what was held then.
    pub(super) fn peak_since(start: isize) -> usize {
        usize::try_from(PEAK.get() - start).unwrap_or(0)
    }
}
