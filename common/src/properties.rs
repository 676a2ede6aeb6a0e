//! Java properties files: `key=value`, `key: value`, `#` and `!` comments, `\` continuation and escapes, as
//! `java.util.Properties` reads them. Remembers the file and line of each key for error messages. Reads no file.

use std::collections::BTreeMap;
use thiserror::Error;

/// Settings by key, each with the place it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<String, Entry>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value with escapes resolved, not trimmed at the end (as Java).
    pub value: String,
    /// Where it was set: `server.properties:12`, `--override` or an environment variable.
    pub place: String,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{place}: {key}={value}: {problem}")]
pub struct PropertyError {
    /// File and line, or the flag or variable.
    pub place: String,
    /// The key.
    pub key: String,
    /// The value as given.
    pub value: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Properties {
    /// Reads a file's text; `file` is the name for messages. A malformed `\uXXXX` stays as it stands.
    pub fn parse(text: &str, file: &str) -> Properties {
        let mut properties = Properties::default();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') || line.starts_with('!') {
                continue;
            }
            let mut logical = line.to_owned();
            while logical.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
                logical.pop();
                match lines.next() {
                    Some((_, next)) => logical.push_str(next.trim_start()),
                    None => break,
                }
            }
            let (key, value) = split(&logical);
            properties.set(&unescape(key), &unescape(value), &format!("{file}:{}", index + 1));
        }
        properties
    }

    /// Sets or replaces a key.
    pub fn set(&mut self, key: &str, value: &str, place: &str) {
        self.entries.insert(key.to_owned(), Entry { value: value.to_owned(), place: place.to_owned() });
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.value.as_str())
    }

    /// The value and place of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All settings in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The value parsed, `default` if the key is absent; an error names file, line and key.
    pub fn parse_or<T: std::str::FromStr>(&self, key: &str, default: T, expected: &str) -> Result<T, PropertyError> {
        match self.entries.get(key) {
            None => Ok(default),
            Some(entry) => entry.value.trim().parse().map_err(|_| self.error(key, &format!("expected {expected}"))),
        }
    }

    /// An error about a key, with its place and value.
    pub fn error(&self, key: &str, problem: &str) -> PropertyError {
        let entry = self.entries.get(key);
        PropertyError {
            place: entry.map_or_else(|| "default".to_owned(), |entry| entry.place.clone()),
            key: key.to_owned(),
            value: entry.map_or_else(String::new, |entry| entry.value.clone()),
            problem: problem.to_owned(),
        }
    }
}

/// Key and value: parted by the first unescaped `=`, `:` or white space.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || c.is_whitespace() {
            let rest = line[index..].trim_start();
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..index], rest.trim_start());
        }
    }
    (line, "")
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let code: String = chars.clone().take(4).collect();
                match u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == 4).and_then(char::from_u32) {
                    Some(c) => {
                        out.push(c);
                        chars.nth(3);
                    }
                    None => out.push('u'),
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str, &str)]) {
        let properties = Properties::parse(text, "f");
        let found: Vec<_> =
            properties.iter().map(|(key, entry)| (key, entry.value.as_str(), entry.place.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_what_java_reads() {
        check(
            "a=1\n# c\n ! d\nb : 2\nc 3\nd",
            &[("a", "1", "f:1"), ("b", "2", "f:4"), ("c", "3", "f:5"), ("d", "", "f:6")],
        );
        check("a=x\\\n   y\nb=1", &[("a", "xy", "f:1"), ("b", "1", "f:3")]);
        check("a\\=b=c\\:d\\u0041", &[("a=b", "c:dA", "f:1")]);
        check("a=C:\\\\x", &[("a", "C:\\x", "f:1")]);
        check("a=1\na=2", &[("a", "2", "f:2")]);
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        let properties = Properties::parse("\nport=x", "server.properties");
        let error = properties.parse_or("port", 1u16, "a port number from 0 to 65535").unwrap_err();
        assert_eq!(error.to_string(), "server.properties:2: port=x: expected a port number from 0 to 65535");
    }
}
