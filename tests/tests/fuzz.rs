//! A few seconds of bytes that nobody meant. `make fuzz SECONDS=N` goes on from there.

use tests::fuzz::{AREAS, round};

#[test]
fn damaged_bytes_panic_nowhere() {
    for area in AREAS {
        for seed in 1..=40 {
            assert_eq!(round(area, seed), Ok(()));
        }
    }
}
