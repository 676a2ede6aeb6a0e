//! The usage text: two columns of at most 80 characters, laid out as jopt-simple does. Prints nothing.

use super::{HIDDEN, Spec, Takes};

/// Of the whole text.
const WIDTH: usize = 80;
/// Between the columns.
const GAP: usize = 2;
/// Of continued lines.
const INDENT: &str = "  ";

/// The usage of a tool.
pub(super) fn render(specs: &[Spec]) -> String {
    let mut shown: Vec<&Spec> = specs.iter().filter(|spec| spec.description != HIDDEN).collect();
    shown.sort_by_key(|spec| spec.name);
    let mut rows =
        vec![("Option".to_owned(), "Description".to_owned()), ("------".to_owned(), "-----------".to_owned())];
    rows.extend(shown.into_iter().map(|spec| (option(spec), description(spec))));
    let left = width(rows.iter().map(|row| &row.0)).min((WIDTH - GAP) / 2);
    let right = width(rows.iter().map(|row| &row.1)).min(WIDTH - left - GAP);
    let mut text = String::new();
    for (option, description) in &rows {
        let (options, descriptions) = (pieces(option, left), pieces(description, right));
        for line in 0..options.len().max(descriptions.len()) {
            let cell = |cells: &[String]| cells.get(line).cloned().unwrap_or_default();
            text += &format!("{:left$}{:GAP$}{:right$}\n", cell(&options), "", cell(&descriptions));
        }
    }
    text
}

fn width<'a>(cells: impl Iterator<Item = &'a String>) -> usize {
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

fn option(spec: &Spec) -> String {
    let dashes = if spec.name.len() == 1 { "-" } else { "--" };
    let argument = |kind: &str, what: &str| if what.is_empty() { kind.to_owned() } else { format!("{kind}: {what}") };
    match spec.takes {
        Takes::Nothing => format!("{dashes}{}", spec.name),
        Takes::Required(kind, what) => format!("{dashes}{} <{}>", spec.name, argument(kind, what)),
        Takes::Optional(kind, what) => format!("{dashes}{} [{}]", spec.name, argument(kind, what)),
    }
}

fn description(spec: &Spec) -> String {
    match spec.default {
        Some(default) => format!("{} (default: {default})", spec.description).trim().to_owned(),
        None => spec.description.to_owned(),
    }
}

/// A cell as lines of at most `width` characters; a line that continues the one above is indented.
fn pieces(cell: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in cell.trim().split('\n') {
        let mut piece = String::new();
        for word in words(line) {
            if piece.chars().count() + word.chars().count() > width {
                lines.push(std::mem::replace(&mut piece, INDENT.to_owned()));
            }
            piece += word;
        }
        if !piece.is_empty() {
            lines.push(piece);
        }
    }
    lines
}

/// The parts of a line between which it may be broken, as Java's line break iterator sees them in English text.
fn words(line: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = line.char_indices().collect();
    let mut words = Vec::new();
    let mut start = 0;
    for pair in 1..chars.len() {
        let before = if pair >= 2 { Some(chars[pair - 2].1) } else { None };
        let ((_, last), (at, next)) = (chars[pair - 1], chars[pair]);
        if may_break(before, last, next) {
            words.push(&line[start..at]);
            start = at;
        }
    }
    if start < line.len() {
        words.push(&line[start..]);
    }
    words
}

fn may_break(before: Option<char>, last: char, next: char) -> bool {
    if next.is_whitespace() {
        return false;
    }
    if last.is_whitespace() {
        return true;
    }
    if ")]}>'\"!?%;:,.-".contains(next) {
        return false;
    }
    if next == '(' {
        return last.is_alphanumeric();
    }
    match last {
        '-' => !(next.is_ascii_digit() && before.is_none_or(char::is_whitespace)),
        '.' | ',' | ':' | ';' | '!' | '?' => {
            !(next.is_ascii_digit() && before.is_some_and(|before| before.is_ascii_digit()))
        }
        _ => false,
    }
}
