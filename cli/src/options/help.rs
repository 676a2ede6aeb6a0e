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
    let header = if shown.iter().any(|spec| spec.required) { "Option (* = required)" } else { "Option" };
    let mut rows =
        vec![(header.to_owned(), "Description".to_owned()), ("-".repeat(header.len()), "-----------".to_owned())];
    rows.extend(shown.into_iter().map(|spec| (option(spec), description(spec))));
    let left = widest(rows.iter().map(|row| &row.0)).min((WIDTH - GAP) / 2);
    let right = widest(rows.iter().map(|row| &row.1)).min(WIDTH - left - GAP);
    let mut lines: Vec<(String, String)> = Vec::new();
    for (option, description) in &rows {
        let (mut options, mut descriptions) =
            (pieces(option, left).into_iter(), pieces(description, right).into_iter());
        loop {
            match (options.next(), descriptions.next()) {
                (None, None) => break,
                (option, description) => lines.push((option.unwrap_or_default(), description.unwrap_or_default())),
            }
        }
    }
    // Broken into lines, the columns may be narrower than they were allowed to be.
    let left = widest(lines.iter().map(|line| &line.0));
    let right = widest(lines.iter().map(|line| &line.1)).min(WIDTH - left - GAP);
    let mut text = String::new();
    for (option, description) in lines {
        text += &format!("{option:left$}{:GAP$}{description:right$}\n", "");
    }
    text
}

fn widest<'a>(cells: impl Iterator<Item = &'a String>) -> usize {
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

fn option(spec: &Spec) -> String {
    let dashes = match (spec.required, spec.name.len()) {
        (true, 1) => "* -",
        (true, _) => "* --",
        (false, 1) => "-",
        (false, _) => "--",
    };
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
                lines.push(piece.trim_end().to_owned());
                INDENT.clone_into(&mut piece);
            }
            piece += word;
        }
        if !piece.is_empty() {
            lines.push(piece);
        }
    }
    lines
}

/// The parts of a line between which it may be broken, as Java's line break iterator sees them in help texts.
pub(crate) fn words(line: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = line.char_indices().collect();
    let mut words = Vec::new();
    let mut start = 0;
    for pair in chars.windows(2) {
        let ((_, last), (at, next)) = (pair[0], pair[1]);
        if may_break(&line[start..at], last, next) {
            words.push(&line[start..at]);
            start = at;
        }
    }
    if start < line.len() {
        words.push(&line[start..]);
    }
    words
}

/// May a line be broken between `word`, which ends with `last`, and `next`?
fn may_break(word: &str, last: char, next: char) -> bool {
    const OPENING: &str = "([{";
    const QUOTES: &str = "'\"";
    const CLOSING: &str = ")]}'\"!?%;:,.";
    if next.is_whitespace() {
        return false;
    }
    if last.is_whitespace() {
        return true;
    }
    if OPENING.contains(next) {
        return !OPENING.contains(last) && !QUOTES.contains(last) && word != "-";
    }
    match last {
        // A number may have a sign.
        '-' if word == "-" && next.is_ascii_digit() => false,
        '-' => !"-)]}".contains(next) && !QUOTES.contains(next),
        ')' | ']' | '}' => !CLOSING.contains(next),
        '.' | ',' => {
            let between_digits = next.is_ascii_digit() && word.chars().rev().nth(1).is_some_and(|c| c.is_ascii_digit());
            !CLOSING.contains(next) && !between_digits
        }
        ':' | ';' | '!' | '?' => !CLOSING.contains(next),
        _ => {
            next == '>'
                && word.len() > 1
                && word.starts_with('-')
                && word[1..].bytes().all(|byte| byte.is_ascii_digit())
        }
    }
}
