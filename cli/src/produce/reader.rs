//! Lines of standard input as records: `headers key value`, as far as the properties say so. Sends nothing.

use anyhow::bail;
use regex::Regex;
use std::collections::BTreeMap;
use std::io::{BufReader, Read};

/// How much is read ahead, bytes.
const BUFFER: usize = 1 << 20;

/// A line as a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Option<Vec<(String, Option<Vec<u8>>)>>,
}

/// Reads lines and takes them apart.
pub(super) struct LineReader {
    lines: Lines<Box<dyn Read>>,
    number: u64,
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: Regex,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
}

impl LineReader {
    /// Reads the properties (`parse.key`, `key.separator`, ...); lines come from standard input.
    pub(super) fn new(properties: &BTreeMap<String, String>) -> anyhow::Result<LineReader> {
        LineReader::over(Box::new(std::io::stdin()), properties)
    }

    fn over(input: Box<dyn Read>, properties: &BTreeMap<String, String>) -> anyhow::Result<LineReader> {
        let text = |key: &str, default: &str| properties.get(key).map_or(default, String::as_str).to_owned();
        let yes = |key: &str| properties.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let key_separator = text("key.separator", "\t");
        let headers_delimiter = text("headers.delimiter", "\t");
        let headers_separator = text("headers.separator", ",");
        let headers_key_separator = text("headers.key.separator", ":");
        let null_marker = properties.get("null.marker").cloned();
        let parts = [
            ("headers.delimiter", Some(&headers_delimiter), "headers.separator", &headers_separator),
            ("headers.delimiter", Some(&headers_delimiter), "headers.key.separator", &headers_key_separator),
            ("headers.separator", Some(&headers_separator), "headers.key.separator", &headers_key_separator),
            ("null.marker", null_marker.as_ref(), "key.separator", &key_separator),
            ("null.marker", null_marker.as_ref(), "headers.separator", &headers_separator),
            ("null.marker", null_marker.as_ref(), "headers.delimiter", &headers_delimiter),
            ("null.marker", null_marker.as_ref(), "headers.key.separator", &headers_key_separator),
        ];
        for (one, value, other, same) in parts {
            if value == Some(same) {
                bail!("org.apache.kafka.common.KafkaException: {one} and {other} may not be equal");
            }
        }
        Ok(LineReader {
            lines: Lines::new(input),
            number: 0,
            parse_key: yes("parse.key"),
            key_separator,
            parse_headers: yes("parse.headers"),
            headers_delimiter,
            headers_separator: Regex::new(&headers_separator)?,
            headers_key_separator,
            ignore_error: yes("ignore.error"),
            null_marker,
        })
    }

    /// The next record; `None` at the end of the input.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Record>> {
        self.number += 1;
        let Some(line) = self.lines.next()? else { return Ok(None) };
        if !self.parse_key && !self.parse_headers && self.null_marker.is_none() {
            return Ok(Some(Record { key: None, value: Some(into_utf8(line)), headers: None }));
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut rest = line.as_str();
        let headers = match self.parse_headers {
            true => self.cut(&line, &mut rest, &self.headers_delimiter, "headers delimiter")?,
            false => None,
        };
        let key = match self.parse_key {
            true => self.cut(&line, &mut rest, &self.key_separator, "key separator")?,
            false => None,
        };
        let headers = headers.filter(|headers| !self.is_null(headers));
        Ok(Some(Record {
            key: key.filter(|key| !self.is_null(key)).map(|key| key.as_bytes().to_vec()),
            value: (!self.is_null(rest)).then(|| rest.as_bytes().to_vec()),
            headers: headers.map(|headers| self.headers(headers)).transpose()?,
        }))
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    /// Takes what is before the separator off `rest`.
    fn cut<'a>(&self, line: &str, rest: &mut &'a str, separator: &str, name: &str) -> anyhow::Result<Option<&'a str>> {
        match rest.split_once(separator) {
            Some((field, after)) => {
                *rest = after;
                Ok(Some(field))
            }
            None if self.ignore_error => Ok(None),
            None => bail!(
                "org.apache.kafka.common.KafkaException: No {name} found on line number {}: '{line}'",
                self.number
            ),
        }
    }

    fn headers(&self, text: &str) -> anyhow::Result<Vec<(String, Option<Vec<u8>>)>> {
        let mut pairs: Vec<&str> = self.headers_separator.split(text).collect();
        // As Java's split: empty pairs at the end are none.
        while pairs.len() > 1 && pairs.last().is_some_and(|pair| pair.is_empty()) {
            pairs.pop();
        }
        let mut headers = Vec::new();
        for pair in pairs {
            let header = match pair.split_once(&self.headers_key_separator) {
                Some((key, _)) if self.is_null(key) => bail!(
                    "org.apache.kafka.common.KafkaException: Header keys should not be equal to the null marker '{key}' \
                     as they can't be null"
                ),
                Some((key, value)) => (key.to_owned(), (!self.is_null(value)).then(|| value.as_bytes().to_vec())),
                None if self.ignore_error => (pair.to_owned(), None),
                None => bail!(
                    "org.apache.kafka.common.KafkaException: No header key separator found in pair '{pair}' on line \
                     number {}",
                    self.number
                ),
            };
            headers.push(header);
        }
        Ok(headers)
    }
}

/// Java reads characters: bytes that are no UTF-8 become replacement characters.
fn into_utf8(bytes: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(bytes) {
        Ok(text) => text.into_bytes(),
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into_bytes(),
    }
}

/// Lines that end with `\n`, `\r` or `\r\n`, as Java reads them.
struct Lines<R> {
    input: BufReader<R>,
    after_return: bool,
}

impl<R: Read> Lines<R> {
    fn new(input: R) -> Lines<R> {
        Lines { input: BufReader::with_capacity(BUFFER, input), after_return: false }
    }

    fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        use std::io::BufRead as _;
        let mut line = Vec::new();
        loop {
            let mut available = self.input.fill_buf()?;
            if std::mem::take(&mut self.after_return) && available.first() == Some(&b'\n') {
                self.input.consume(1);
                available = self.input.fill_buf()?;
            }
            if available.is_empty() {
                return Ok((!line.is_empty()).then_some(line));
            }
            match available.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                Some(end) => {
                    line.extend_from_slice(&available[..end]);
                    self.after_return = available[end] == b'\r';
                    self.input.consume(end + 1);
                    return Ok(Some(line));
                }
                None => {
                    line.extend_from_slice(available);
                    let len = available.len();
                    self.input.consume(len);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(properties: &str, input: &'static str, expected: &[Result<&str, &str>]) {
        let properties = properties.split(' ').filter_map(|pair| pair.split_once('='));
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut reader = LineReader::over(Box::new(input.as_bytes()), &properties).unwrap();
        let mut found = Vec::new();
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or("null".to_owned(), |bytes| String::from_utf8(bytes.clone()).unwrap())
        };
        loop {
            match reader.next() {
                Ok(Some(record)) => {
                    let headers = record.headers.iter().flatten().map(|(key, value)| format!("{key}={}", text(value)));
                    let headers: Vec<String> = headers.collect();
                    found.push(Ok(format!("[{}] {} {}", headers.join(" "), text(&record.key), text(&record.value))));
                }
                Ok(None) => break,
                Err(error) => found.push(Err(error.to_string())),
            }
        }
        let expected: Vec<Result<String, String>> =
            expected.iter().map(|line| line.map(str::to_owned).map_err(str::to_owned)).collect();
        assert_eq!(found, expected, "{input:?}");
    }

    #[test]
    fn lines_become_records() {
        check("", "a\nb\r\nc\rd", &[Ok("[] null a"), Ok("[] null b"), Ok("[] null c"), Ok("[] null d")]);
        check("", "\n\n", &[Ok("[] null "), Ok("[] null ")]);
        check("parse.key=true key.separator=:", "k:v:w\n:v\n", &[Ok("[] k v:w"), Ok("[]  v")]);
        check(
            "parse.key=true",
            "nokey",
            &[Err("org.apache.kafka.common.KafkaException: No key separator found on line number 1: 'nokey'")],
        );
        check("parse.key=true ignore.error=true", "nokey", &[Ok("[] null nokey")]);
        check("parse.key=true parse.headers=true", "h1:v1,h2:\tk\tv", &[Ok("[h1=v1 h2=] k v")]);
        check(
            "parse.key=true key.separator=: null.marker=NULL",
            "NULL:NULL\na:NULL",
            &[Ok("[] null null"), Ok("[] a null")],
        );
    }
}
