//! Times by the patterns of Java's `SimpleDateFormat`, as far as numbers, names in English and zones go. Reads no dates.

use crate::clock::{self, Local};

/// A pattern that is understood.
pub(crate) struct DateFormat {
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    /// A letter, so many times.
    Field(char, usize),
}

/// What fields can be made of.
const LETTERS: &str = "yuMLdDEaHkhKmsSzZX";

impl DateFormat {
    /// Reads a pattern.
    ///
    /// # Errors
    /// In Java's words, if a letter means nothing.
    pub(crate) fn new(pattern: &str) -> Result<DateFormat, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut letters = pattern.chars().peekable();
        let text = |parts: &mut Vec<Part>, letter: char| match parts.last_mut() {
            Some(Part::Text(text)) => text.push(letter),
            _ => parts.push(Part::Text(letter.to_string())),
        };
        while let Some(letter) = letters.next() {
            match letter {
                '\'' if letters.next_if_eq(&'\'').is_some() => text(&mut parts, '\''),
                '\'' => loop {
                    match letters.next() {
                        Some('\'') if letters.next_if_eq(&'\'').is_none() => break,
                        Some(letter) => text(&mut parts, letter),
                        None => return Err("Unterminated quote".to_owned()),
                    }
                },
                letter if LETTERS.contains(letter) => {
                    let mut count = 1;
                    while letters.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    parts.push(Part::Field(letter, count));
                }
                letter if letter.is_ascii_alphabetic() => return Err(format!("Illegal pattern character '{letter}'")),
                letter => text(&mut parts, letter),
            }
        }
        Ok(DateFormat { parts })
    }

    /// A time in milliseconds since 1970, in the zone of this machine.
    pub(crate) fn format(&self, ms: i64) -> String {
        let local = clock::local(ms);
        let show = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(letter, count) => field(*letter, *count, &local),
        };
        self.parts.iter().map(show).collect()
    }
}

fn field(letter: char, count: usize, at: &Local) -> String {
    let hour = at.second / 3600;
    let number = |number: i64| format!("{number:0count$}");
    let name = |name: &str| if count >= 4 { name.to_owned() } else { name.chars().take(3).collect() };
    let offset = |colon: &str| {
        let sign = if at.offset_s < 0 { '-' } else { '+' };
        let minutes = at.offset_s.abs() / 60;
        format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
    };
    match letter {
        'y' if count == 2 => format!("{:02}", at.year.rem_euclid(100)),
        'y' => number(at.year),
        'u' => number(if at.weekday == 0 { 7 } else { at.weekday }),
        'M' | 'L' if count >= 3 => name(clock::MONTHS[usize::try_from(at.month - 1).unwrap_or(0)]),
        'M' | 'L' => number(at.month),
        'd' => number(at.day),
        'D' => number(at.day_of_year),
        'E' => name(clock::WEEKDAYS[usize::try_from(at.weekday).unwrap_or(0)]),
        'a' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        'H' => number(hour),
        'k' => number(if hour == 0 { 24 } else { hour }),
        'K' => number(hour % 12),
        'h' => number(if hour % 12 == 0 { 12 } else { hour % 12 }),
        'm' => number(at.second / 60 % 60),
        's' => number(at.second % 60),
        'S' => number(at.millisecond),
        'z' => at.zone.clone(),
        'Z' => offset(""),
        _ if at.offset_s == 0 => "Z".to_owned(),
        _ if count == 1 => offset("")[..3].to_owned(),
        _ => offset(if count == 2 { "" } else { ":" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_javas() {
        let at = Local {
            year: 2026,
            month: 3,
            day: 1,
            weekday: 0,
            day_of_year: 60,
            second: 13 * 3600 + 5 * 60 + 9,
            millisecond: 7,
            zone: "CET".to_owned(),
            offset_s: 3600,
        };
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss:SSS", "2026-03-01 13:05:09:007"),
            ("yy M d h:m a", "26 3 1 1:5 PM"),
            ("EEE, MMM dd 'o''clock' z", "Sun, Mar 01 o'clock CET"),
            ("EEEE MMMM D u Z X XXX", "Sunday March 60 7 +0100 +01 +01:00"),
        ] {
            let format = DateFormat::new(pattern).unwrap();
            let shown: String = format
                .parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Field(letter, count) => field(*letter, *count, &at),
                })
                .collect();
            assert_eq!(shown, expected, "{pattern}");
        }
        assert_eq!(DateFormat::new("yyyy x").err().as_deref(), Some("Illegal pattern character 'x'"));
        assert_eq!(DateFormat::new("'x").err().as_deref(), Some("Unterminated quote"));
    }
}
