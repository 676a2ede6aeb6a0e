//! Topic ids as Kafka writes them: URL-safe base64 without padding, 22 letters. Makes no ids.

use uuid::Uuid;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The 22 letters of an id.
pub(crate) fn format(id: Uuid) -> String {
    // 128 bits and four zero bits behind them make 22 groups of six.
    let letter = |group: u32| {
        let bits = if group == 21 { id.as_u128() << 4 } else { id.as_u128() >> (122 - 6 * group) };
        char::from(LETTERS[usize::try_from(bits & 63).expect("six bits")])
    };
    (0..22).map(letter).collect()
}

/// The id that the letters stand for; `None` if they stand for none.
pub(crate) fn parse(text: &str) -> Option<Uuid> {
    let letters = text.strip_suffix("==").unwrap_or(text).as_bytes();
    if letters.len() != 22 {
        return None;
    }
    let mut bits: u128 = 0;
    for (group, letter) in letters.iter().enumerate() {
        let value = LETTERS.iter().position(|candidate| candidate == letter)? as u128;
        bits = if group == 21 { bits << 2 | value >> 4 } else { bits << 6 | value };
    }
    Some(Uuid::from_u128(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_there_and_back() {
        for text in ["oY1Nu6ZQTE6HnI9y2Gi3dQ", "AAAAAAAAAAAAAAAAAAAAAA", "_____________________w"] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
        assert_eq!(parse("short"), None);
    }
}
