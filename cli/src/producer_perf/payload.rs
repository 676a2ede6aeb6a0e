//! What `kafka-producer-perf-test` sends: letters at random, lines of a file in random order, or counted numbers. The same
//! in each run. Sends nothing.

use crate::argparse::Parsed;
use anyhow::anyhow;
use regex::Regex;

/// Makes records' values.
pub(super) enum Payload {
    /// So many letters.
    Letters { letters: Vec<u8>, random: fastrand::Rng },
    /// One of these.
    Lines { lines: Vec<Vec<u8>>, random: fastrand::Rng },
    /// 0, 1, 2, ...
    Numbers(Vec<u8>),
}

impl Payload {
    /// As the options ask for.
    ///
    /// # Errors
    /// If the file cannot be used, in the words of Kafka's tool.
    pub(super) fn of(parsed: &Parsed) -> anyhow::Result<Payload> {
        let random = fastrand::Rng::with_seed(0);
        if let Some(file) = parsed.text("payload-file") {
            let delimiter = parsed.text("payload-delimiter").unwrap_or("\\n");
            let delimiter = if delimiter == "\\n" { "\n" } else { delimiter };
            return Ok(Payload::Lines { lines: lines(file, delimiter)?, random });
        }
        match parsed.number::<i32>("record-size") {
            Some(size) => {
                let length = usize::try_from(size);
                let length = length.map_err(|_| anyhow!("java.lang.NegativeArraySizeException: {size}"))?;
                Ok(Payload::Letters { letters: vec![0; length], random })
            }
            None => Ok(Payload::Numbers(Vec::new())),
        }
    }

    /// The value of a record.
    pub(super) fn next(&mut self, number: u64) -> &[u8] {
        match self {
            Payload::Letters { letters, random } => {
                // Eight at a time: the letters must not be what the test measures.
                for chunk in letters.chunks_mut(8) {
                    for (letter, random) in chunk.iter_mut().zip(random.u64(..).to_le_bytes()) {
                        *letter = b'A' + random % 26;
                    }
                }
                letters
            }
            Payload::Lines { lines, random } => &lines[random.usize(..lines.len())],
            Payload::Numbers(text) => {
                text.clear();
                text.extend_from_slice(number.to_string().as_bytes());
                text
            }
        }
    }
}

fn lines(file: &str, delimiter: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
    println!("Reading payloads from: {}", path.display());
    let text = std::fs::read(file).ok().filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| anyhow!("java.lang.IllegalArgumentException: File does not exist or empty file provided."))?;
    let lines = split(&String::from_utf8_lossy(&text), delimiter)?;
    println!("Number of messages read: {}", lines.len());
    if lines.is_empty() {
        return Err(anyhow!("java.lang.IllegalArgumentException: bound must be positive"));
    }
    Ok(lines)
}

/// As Java splits: by a regular expression, without empty pieces at the end.
fn split(text: &str, delimiter: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let delimiter = Regex::new(delimiter)
        .map_err(|error| anyhow!("java.util.regex.PatternSyntaxException: {delimiter}: {error}"))?;
    let mut pieces: Vec<Vec<u8>> = delimiter.split(text).map(|piece| piece.as_bytes().to_vec()).collect();
    while pieces.last().is_some_and(Vec::is_empty) {
        pieces.pop();
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_as_in_java() {
        for (text, delimiter, pieces) in [
            ("a\nb\n\n", "\n", &["a", "b"][..]),
            ("a,,b", ",", &["a", "", "b"]),
            ("a1b22c", "[0-9]+", &["a", "b", "c"]),
        ] {
            let expected: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
            assert_eq!(split(text, delimiter).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn letters_are_letters() {
        let mut payload = Payload::Letters { letters: vec![0; 13], random: fastrand::Rng::with_seed(0) };
        let first = payload.next(0).to_vec();
        assert!(first.len() == 13 && first.iter().all(u8::is_ascii_uppercase), "{first:?}");
        assert_ne!(payload.next(1), first);
        assert_eq!(Payload::Numbers(Vec::new()).next(17), b"17");
    }
}
