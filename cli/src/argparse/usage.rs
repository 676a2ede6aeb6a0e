//! Usage, help and errors as argparse4j lays them out: lines of at most 75 characters, or what the terminal has, with the
//! words of lines that go on spread over the whole width. Prints nothing.

use super::{Argument, Parser, Place, Takes};
use crate::options::words;

/// Where nothing is known of the terminal.
const WIDTH: usize = 75;
/// What is left free on a terminal.
const MARGIN: usize = 5;
/// The column of descriptions.
const COLUMN: usize = 25;
/// A longer name has a line of its own.
const NAME_MAX: usize = 21;
/// A longer beginning of the usage has a line of its own.
const PROG_MAX: usize = 30;

fn width() -> usize {
    let columns = match std::env::var("COLUMNS") {
        Ok(columns) => columns.parse().ok(),
        Err(_) => std::fs::File::open("/dev/tty")
            .ok()
            .and_then(|terminal| rustix::termios::tcgetwinsize(terminal).ok())
            .map(|size| usize::from(size.ws_col)),
    };
    columns.filter(|columns| *columns > MARGIN).map_or(WIDTH, |columns| columns - MARGIN)
}

/// What stands for an option's argument.
fn metavar(argument: &Argument) -> String {
    let name = match argument.metavar {
        Some(name) => name.to_owned(),
        None if !argument.choices.is_empty() => format!("{{{}}}", argument.choices.join(",")),
        None => argument.name().replace('-', "_").to_uppercase(),
    };
    match argument.takes {
        Takes::Nothing => String::new(),
        Takes::Several => format!("{name} [{name} ...]"),
        _ => name,
    }
}

fn bare(argument: &Argument) -> String {
    let flag = argument.flags.first().copied().unwrap_or_default();
    format!("{flag} {}", metavar(argument)).trim_end().to_owned()
}

fn bracketed(argument: &Argument) -> String {
    let bare = bare(argument);
    if argument.required { bare } else { format!("[{bare}]") }
}

/// The parts of the usage that a tool shows before its command, or behind its own options.
fn groups(parser: &Parser, upper: bool, parts: &mut Vec<String>) {
    for (at, group) in parser.groups.iter().enumerate() {
        let members: Vec<&Argument> = parser.of_group(at).collect();
        if upper && !group.required {
            continue;
        }
        match members[..] {
            [] => {}
            [one] => parts.push(if group.required { bare(one) } else { bracketed(one) }),
            [first, ref between @ .., last] => {
                let (open, close) = if group.required { ("(", ")") } else { ("[", "]") };
                parts.push(format!("{open}{}", bare(first)));
                for member in between {
                    parts.extend(["|".to_owned(), bare(member)]);
                }
                parts.extend(["|".to_owned(), format!("{}{close}", bare(last))]);
            }
        }
    }
}

/// The usage: how a command line looks.
pub(super) fn usage(place: &Place) -> String {
    let mut parts = Vec::new();
    if let Some((upper, command)) = place.upper {
        parts.extend(upper.arguments.iter().filter(|one| one.required && one.group.is_none()).map(bracketed));
        groups(upper, true, &mut parts);
        parts.push(command.to_owned());
    }
    parts.extend(place.parser.all().filter(|argument| argument.group.is_none()).map(bracketed));
    groups(place.parser, false, &mut parts);
    if !place.parser.commands.is_empty() {
        parts.extend([commands(place.parser), "...".to_owned()]);
    }
    let (width, start) = (width(), format!("usage: {}", place.parser.prog));
    let own_line = start.len() > PROG_MAX;
    let indent = " ".repeat(if own_line { 6 } else { start.len() });
    let mut text = if own_line { format!("{start}\n{indent}") } else { start };
    let mut column = indent.len() + if own_line { indent.len() } else { 0 };
    for (at, part) in parts.iter().enumerate() {
        if at > 0 && column + part.len() + 1 > width {
            text += &format!("\n{indent}");
            column = indent.len();
        }
        text += &format!(" {part}");
        column += 1 + part.len();
    }
    text + "\n"
}

fn commands(parser: &Parser) -> String {
    let names: Vec<&str> = parser.commands.iter().map(|command| command.name).collect();
    format!("{{{}}}", names.join(","))
}

/// The help.
pub(super) fn help(place: &Place) -> String {
    let (parser, width) = (place.parser, width());
    let mut text = usage(place);
    if !parser.description.is_empty() {
        text += &format!("\n{}\n", wrap(parser.description, width, 0, ""));
    }
    if !parser.commands.is_empty() {
        text += "\npositional arguments:\n";
        text += &entry(&commands(parser), "", width);
        for command in parser.commands.iter().filter(|command| !command.help.is_empty()) {
            text += &entry(&format!("  {}", command.name), command.help, width);
        }
    }
    text += "\noptional arguments:\n";
    // A command's help does not show defaults.
    let of = |argument: &Argument| described(argument, place.upper.is_none(), width);
    let is_apart = |argument: &&Argument| argument.group.is_some_and(|group| parser.groups[group].is_separate());
    text.extend(parser.all().filter(|argument| !is_apart(argument)).map(of));
    for (at, group) in parser.groups.iter().enumerate().filter(|(_, group)| group.is_separate()) {
        text += "\n";
        if !group.title.is_empty() {
            text += &format!("{}:\n", group.title);
        }
        if !group.description.is_empty() {
            text += &format!("  {}\n\n", wrap(group.description, width, 2, "  "));
        }
        text.extend(parser.of_group(at).map(of));
    }
    text
}

fn described(argument: &Argument, with_default: bool, width: usize) -> String {
    let metavar = metavar(argument);
    let names: Vec<String> =
        argument.flags.iter().map(|flag| format!("{flag} {metavar}").trim_end().to_owned()).collect();
    let help = match argument.default.filter(|_| with_default) {
        Some(default) => format!("{} (default: {default})", argument.help),
        None => argument.help.to_owned(),
    };
    entry(&names.join(", "), help.trim_start(), width)
}

/// A name and what it means.
fn entry(name: &str, help: &str, width: usize) -> String {
    if help.is_empty() {
        return format!("  {name}\n");
    }
    let indent = " ".repeat(COLUMN);
    let help = wrap(help, width, COLUMN, &indent);
    if name.len() <= NAME_MAX {
        format!("  {name:0$}{help}\n", COLUMN - 2)
    } else {
        format!("  {name}\n{indent}{help}\n")
    }
}

/// What is said of a line that is wrong.
pub(super) fn error(place: &Place, message: &str) -> String {
    let message = format!("{}: error: {message}\n", place.parser.prog);
    usage(place) + &wrap(&message, width(), 0, "")
}

/// Breaks a text into lines, the first of which begins in the column `offset`. Lines that go on are filled.
fn wrap(text: &str, width: usize, offset: usize, indent: &str) -> String {
    let (mut lines, mut line, mut column) = (String::new(), String::new(), offset);
    for word in words(text) {
        let length = word.chars().count();
        column += length;
        if column > width {
            lines += &filled(&line, width, column - length);
            lines += &format!("\n{indent}");
            line.clear();
            column = indent.len() + length;
        }
        line += word;
        if word.ends_with('\n') {
            lines += &line;
            lines += indent;
            line.clear();
            column = indent.len();
        }
    }
    lines + &line
}

/// A line whose gaps are widened so that it reaches from its column to `width`; one more goes to those in the middle.
fn filled(line: &str, width: usize, column: usize) -> String {
    let trimmed = line.trim_matches(' ');
    let column = column - (line.chars().count() - trimmed.chars().count());
    let gaps = trimmed.as_bytes().windows(2).filter(|pair| pair[0] != b' ' && pair[1] == b' ').count();
    if gaps == 0 {
        return trimmed.to_owned();
    }
    let (each, left) = ((width - column.min(width)) / gaps, (width - column.min(width)) % gaps);
    let first = (gaps - left).div_ceil(2);
    let (mut text, mut gap, mut within) = (String::new(), 0, false);
    for letter in trimmed.chars() {
        if letter == ' ' && !within {
            text += &" ".repeat(each + usize::from((first..first + left).contains(&gap)));
            gap += 1;
        }
        within = letter == ' ';
        text.push(letter);
    }
    text
}

/// Names like one that is not known: (as shown, what is compared).
pub(super) fn did_you_mean<'a>(body: &str, known: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    // Beyond this distance nothing is meant.
    const FAR: usize = 7;
    let mut near: Vec<(usize, &str)> =
        known.map(|(shown, name)| (if name.starts_with(body) { 0 } else { distance(body, name) }, shown)).collect();
    near.sort_unstable();
    let Some(best) = near.first().map(|(distance, _)| *distance).filter(|distance| *distance < FAR) else {
        return String::new();
    };
    let names = near.iter().filter(|(distance, _)| *distance == best).map(|(_, shown)| format!("\t{shown}\n"));
    "\nDid you mean:\n".to_owned() + &names.collect::<String>()
}

/// How far a name is from what was typed, by the costs that git uses: swapping two letters 0, another letter 2, a letter
/// more 1, one less 4.
fn distance(typed: &str, name: &str) -> usize {
    let (typed, name): (Vec<char>, Vec<char>) = (typed.chars().collect(), name.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=name.len()).collect()];
    for (i, letter) in typed.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in name.iter().enumerate() {
            let mut cost = rows[i][j] + if letter == other { 0 } else { 2 };
            if i > 0 && j > 0 && letter != other && typed[i - 1] == *other && *letter == name[j - 1] {
                cost = cost.min(rows[i - 1][j - 1]);
            }
            row.push(cost.min(rows[i][j + 1] + 4).min(row[j] + 1));
        }
        rows.push(row);
    }
    rows[typed.len()][name.len()]
}
