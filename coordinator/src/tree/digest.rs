//! A short fingerprint of bytes, for comparing trees of equal software. It protects from mistakes, not from an enemy.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes `bytes` into `seed`: eight at a time, the length included, so that `ab`+`c` and `a`+`bc` differ.
pub(crate) fn fingerprint(seed: u64, bytes: &[u8]) -> u64 {
    let mut value = mix(seed) ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        value = mix(value ^ word);
    }
    let mut last = [0; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    mix(value ^ u64::from_le_bytes(last))
}

fn mix(value: u64) -> u64 {
    let wide = u128::from(value ^ 0xa076_1d64_78bd_642f) * u128::from(MULTIPLIER);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn different_bytes_give_different_fingerprints() {
        let mut seen = std::collections::BTreeSet::new();
        for text in ["", "a", "b", "ab", "a\0", "abcdefgh", "abcdefg", "abcdefghi", "\0\0\0\0\0\0\0\0", "\0"] {
            assert!(seen.insert(fingerprint(1, text.as_bytes())), "{text:?}");
            assert!(seen.insert(fingerprint(2, text.as_bytes())), "{text:?}");
        }
    }
}
