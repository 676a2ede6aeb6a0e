//! The words of a shell line and the options among them, by the rules of ZooKeeper's shell and Apache Commons CLI. Runs
//! nothing.

/// Why a line is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    /// No such option.
    #[error("org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: {0}")]
    Unrecognized(String),
    /// The line ends where a value should be.
    #[error("org.apache.commons.cli.MissingArgumentException: Missing argument for option: {0}")]
    MissingValue(char),
}

/// A command with its options taken out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    options: Vec<(char, Option<String>)>,
    /// The command itself comes first.
    pub(super) words: Vec<String>,
}

impl Arguments {
    /// Takes the options out of the words. `known` names them by letter; a colon behind one says that it takes a value.
    pub(super) fn parse(words: &[String], known: &str) -> Result<Arguments, ParseError> {
        let mut arguments = Arguments::default();
        let takes_value = |letter: char| known.contains(&format!("{letter}:"));
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                arguments.words.extend(words.cloned());
                break;
            }
            let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty() && rest.parse::<f64>().is_err())
            else {
                arguments.words.push(word.clone());
                continue;
            };
            let mut rest = letters.chars();
            while let Some(letter) = rest.next() {
                if letter == ':' || !known.contains(letter) {
                    return Err(ParseError::Unrecognized(word.clone()));
                }
                if !takes_value(letter) {
                    arguments.options.push((letter, None));
                    continue;
                }
                let attached = rest.as_str().trim_start_matches('=');
                let value = match attached {
                    "" => words.next().cloned().ok_or(ParseError::MissingValue(letter))?,
                    attached => attached.to_owned(),
                };
                arguments.options.push((letter, Some(value)));
                break;
            }
        }
        Ok(arguments)
    }

    /// All words as they are.
    pub(super) fn without_options(words: &[String]) -> Arguments {
        Arguments { options: Vec::new(), words: words.to_vec() }
    }

    /// Is the option there?
    pub(super) fn has(&self, letter: char) -> bool {
        self.options.iter().any(|(found, _)| *found == letter)
    }

    /// The value of an option.
    pub(super) fn value(&self, letter: char) -> Option<&str> {
        self.options.iter().find(|(found, _)| *found == letter).and_then(|(_, value)| value.as_deref())
    }
}

/// The words of a line: parted by blanks, those in quotes whole.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = match first {
            '"' | '\'' => rest[1..].find(first).map(|end| (&rest[1..=end], &rest[end + 2..])),
            _ => None,
        };
        let (word, after) = match quoted {
            Some(parts) => parts,
            // A quote that is not closed is left out.
            None if matches!(first, '"' | '\'') => {
                rest = &rest[1..];
                continue;
            }
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_words() {
        for (line, expected) in [
            ("ls /", vec!["ls", "/"]),
            ("  set /x  \"a b\" ", vec!["set", "/x", "a b"]),
            ("set /x 'a \"b\"'", vec!["set", "/x", "a \"b\""]),
            ("set /x \"\"", vec!["set", "/x", ""]),
            ("set /x \"open", vec!["set", "/x", "open"]),
            ("", vec![]),
        ] {
            assert_eq!(words(line), expected, "{line:?}");
        }
    }

    fn check(line: &str, known: &str, expected: Result<(&str, &str), &str>) {
        let outcome = Arguments::parse(&words(line), known).map(|arguments| {
            let options: Vec<String> = arguments
                .options
                .iter()
                .map(|(letter, value)| format!("{letter}{}", value.as_deref().unwrap_or_default()))
                .collect();
            (options.join(" "), arguments.words.join(" "))
        });
        let outcome = outcome.as_ref().map(|(options, words)| (options.as_str(), words.as_str()));
        let outcome = outcome.map_err(ToString::to_string);
        assert_eq!(outcome, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn options_are_taken_out() {
        check("create -es /x", "esct:", Ok(("e s", "create /x")));
        check("create /x -t 5 data", "esct:", Ok(("t5", "create /x data")));
        check("set /x -5", "sv:", Ok(("", "set /x -5")));
        check("set -v 3 /x y", "sv:", Ok(("v3", "set /x y")));
        check("get -z /x", "sw", Err("org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -z"));
        check(
            "set /x y -v",
            "sv:",
            Err("org.apache.commons.cli.MissingArgumentException: Missing argument for option: v"),
        );
        check("set -- /x -z", "sv:", Ok(("", "set /x -z")));
    }
}
