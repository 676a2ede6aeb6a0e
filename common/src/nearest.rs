//! The known name that somebody most likely meant who wrote another. Knows no names itself.

/// The one of `known` that differs from `word` by the fewest letters put in, left out or taken for others: at most two, and at
/// most a quarter of them all.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 4).min(2);
    known.map(|name| (distance(word, name), name)).filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

/// How many letters have to be put in, left out or exchanged (Levenshtein). Upper and lower case are the same letter.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for j in 0..b.len() {
            let exchanged = diagonal + usize::from(letter != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let known = ["num.partitions", "num.io.threads", "clientPort", "port"];
        for (word, expected) in [
            ("num.partitons", Some("num.partitions")),
            ("num.partitoins", Some("num.partitions")),
            ("clientport", Some("clientPort")),
            ("clntPrt", None),
            ("my.plugin.setting", None),
            ("pot", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }
}
