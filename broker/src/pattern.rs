//! Patterns that clients give, which match names as a whole, as Java's `matches` does. Kafka reads them with RE2/J, whose syntax
//! the crate `regex` has; like it, it takes no longer than the text is long.

use regex::{Error, Regex, RegexBuilder};

/// A compiled pattern takes no more memory than this: a few bytes of a client's can stand for much.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// The pattern, to be matched with whole names.
pub(crate) fn whole(pattern: &str) -> Result<Regex, Error> {
    let compiled = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    // Alone first: `a)(b` is no pattern, and would become one between brackets.
    compiled(pattern)?;
    compiled(&format!("^(?:{pattern})$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_a_whole() {
        for (pattern, name, expected) in [
            ("a", "a", Some(true)),
            ("a", "ab", Some(false)),
            ("a|ab", "ab", Some(true)),
            (".*-tx\\d+", "my-tx12", Some(true)),
            ("a)(b", "ab", None),
            ("(", "(", None),
            ("(?:a{1000}){1000}", "a", None),
        ] {
            assert_eq!(whole(pattern).ok().map(|regex| regex.is_match(name)), expected, "{pattern} {name}");
        }
    }
}
