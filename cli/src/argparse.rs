//! Command lines as those of Kafka's tools read them that are made with argparse4j: `--record-size 100`, options by an
//! unambiguous beginning of their names, commands with options of their own, and its error texts. `options` is for the
//! other tools. Prints and exits nowhere but in [`Refusal::show`], which gives the exit code back.

mod usage;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// One text; the last one counts.
    Text,
    /// One text each time; all count.
    Texts,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// A number.
    Double,
    /// At least one text, up to the next option.
    Several,
}

/// One option of a tool or of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument {
    /// With dashes. [`Parsed`] knows the option by the first that has two.
    pub(crate) flags: &'static [&'static str],
    pub(crate) takes: Takes,
    /// What stands for the argument in the help; else it is made of the name.
    pub(crate) metavar: Option<&'static str>,
    /// The arguments that are allowed, if not all are.
    pub(crate) choices: &'static [&'static str],
    pub(crate) default: Option<&'static str>,
    pub(crate) required: bool,
    /// The group of options that exclude each other: its place in [`Parser::groups`].
    pub(crate) group: Option<usize>,
    pub(crate) help: &'static str,
}

impl Argument {
    /// An option that need not be there.
    pub(crate) const fn new(flags: &'static [&'static str], takes: Takes, help: &'static str) -> Argument {
        let default = if matches!(takes, Takes::Nothing) { Some("false") } else { None };
        Argument { flags, takes, metavar: None, choices: &[], default, required: false, group: None, help }
    }

    /// The same with this in the place of its argument.
    pub(crate) const fn named(mut self, metavar: &'static str) -> Argument {
        self.metavar = Some(metavar);
        self
    }

    /// The same with a default.
    pub(crate) const fn or(mut self, default: &'static str) -> Argument {
        self.default = Some(default);
        self
    }

    /// The same, which must be there.
    pub(crate) const fn required(mut self) -> Argument {
        self.required = true;
        self
    }

    /// The same in a group.
    pub(crate) const fn within(mut self, group: usize) -> Argument {
        self.group = Some(group);
        self
    }

    /// The name by which [`Parsed`] knows it.
    fn name(&self) -> &'static str {
        let long = self.flags.iter().find(|flag| flag.starts_with("--"));
        long.or(self.flags.first()).map_or("", |flag| flag.trim_start_matches('-'))
    }

    /// As errors name it.
    fn shown(&self) -> String {
        self.flags.join("/")
    }
}

/// `-h`, which all have.
pub(super) const HELP: Argument =
    Argument { default: None, ..Argument::new(&["-h", "--help"], Takes::Nothing, "show this help message and exit") };

/// Options of which at most one may be there.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    /// One must be there.
    pub(crate) required: bool,
}

impl Group {
    /// Has it a part of its own in the help?
    fn is_separate(&self) -> bool {
        !self.title.is_empty() || !self.description.is_empty()
    }
}

/// The options of a tool, or of one of its commands.
#[derive(Debug)]
pub(crate) struct Parser {
    /// As usage and errors name the tool.
    pub(crate) prog: &'static str,
    pub(crate) description: &'static str,
    pub(crate) arguments: &'static [Argument],
    pub(crate) groups: &'static [Group],
    pub(crate) commands: &'static [Command],
}

/// A command of a tool.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) parser: Parser,
}

impl Parser {
    /// With `-h`, in the order of the help.
    fn all(&self) -> impl Iterator<Item = &Argument> {
        std::iter::once(&HELP).chain(self.arguments)
    }

    fn of_group(&self, group: usize) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(move |argument| argument.group == Some(group))
    }
}

/// A command line that was understood.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    values: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// The command that was given.
    pub(crate) command: Option<&'static str>,
}

impl Parsed {
    /// Is the option there?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The option's argument, else its default.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let given = self.values.get(name).and_then(|values| values.last());
        given.map(String::as_str).or_else(|| self.defaults.get(name).copied())
    }

    /// The option's arguments.
    pub(crate) fn texts(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The option's argument as the number that it was checked to be.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|text| text.trim().parse().ok())
    }
}

/// Why a tool does not go on.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The help was asked for; this is it.
    Help(String),
    /// The line is wrong: what is said of it, with the usage and, for tools that say it their own way, without.
    Wrong { text: String, message: String },
}

impl Refusal {
    /// Says it, and gives the exit code. The library's way of ending makes no difference between help and error.
    pub(crate) fn show(&self) -> ExitCode {
        match self {
            Refusal::Help(text) => print!("{text}"),
            Refusal::Wrong { text, .. } => eprint!("{text}"),
        }
        ExitCode::FAILURE
    }

    /// The same as the tools do that do not leave it to the library: an error is one line, and help is no failure.
    pub(crate) fn show_in_a_line(&self) -> ExitCode {
        match self {
            Refusal::Help(_) => {
                self.show();
                ExitCode::SUCCESS
            }
            Refusal::Wrong { message, .. } => {
                eprint!("Command line error: {message}. Type --help for help.");
                ExitCode::FAILURE
            }
        }
    }
}

/// The help of a tool.
pub(crate) fn help(parser: &'static Parser) -> String {
    usage::help(&Place { parser, upper: None })
}

/// What a tool says that finds a line wrong after it was read.
pub(crate) fn wrong(parser: &'static Parser, message: &str) -> Refusal {
    Place { parser, upper: None }.wrong(message)
}

/// Reads the command line of a tool that shows its help if nothing stands on it. An exit code if that, or what is wrong with
/// the line, was all there was to say.
pub(crate) fn begin(parser: &'static Parser, arguments: &[String]) -> Result<Parsed, ExitCode> {
    if arguments.is_empty() {
        print!("{}", help(parser));
        return Err(ExitCode::SUCCESS);
    }
    parse(parser, arguments).map_err(|refusal| refusal.show())
}

/// Reads a command line.
pub(crate) fn parse(parser: &'static Parser, arguments: &[String]) -> Result<Parsed, Refusal> {
    let mut line = Line { arguments, at: 0, only_positional: false };
    let mut parsed = Parsed::default();
    let mut late = None;
    let mut place = Place { parser, upper: None };
    while let Some(command) = read(&place, &mut line, &mut parsed, &mut late)? {
        parsed.command = Some(command.name);
        place = Place { parser: &command.parser, upper: Some((parser, command.name)) };
    }
    late.map_or(Ok(parsed), Err)
}

/// A parser and, if it is a command's, whose command.
pub(super) struct Place {
    pub(super) parser: &'static Parser,
    pub(super) upper: Option<(&'static Parser, &'static str)>,
}

impl Place {
    fn wrong(&self, message: &str) -> Refusal {
        self.wrong_with_hint(message, "")
    }

    fn wrong_with_hint(&self, message: &str, hint: &str) -> Refusal {
        Refusal::Wrong { text: usage::error(self, message) + hint, message: message.to_owned() }
    }

    /// What is wrong with an option's argument.
    fn wrong_argument(&self, argument: &Argument, message: &str) -> Refusal {
        self.wrong(&format!("argument {}: {message}", argument.shown()))
    }

    /// The option that a flag means, by its name or an unambiguous beginning of it.
    fn find(&self, flag: &str) -> Result<Option<&'static Argument>, Refusal> {
        let all = || std::iter::once(&HELP).chain(self.parser.arguments);
        if let Some(exact) = all().find(|argument| argument.flags.contains(&flag)) {
            return Ok(Some(exact));
        }
        let mut found: Vec<(&str, &'static Argument)> = all()
            .flat_map(|argument| argument.flags.iter().map(move |known| (*known, argument)))
            .filter(|(known, _)| known.starts_with(flag))
            .collect();
        if found.len() > 1 {
            found.sort_by_key(|(known, _)| *known);
            let names: Vec<&str> = found.iter().map(|(known, _)| *known).collect();
            return Err(self.wrong(&format!("ambiguous option: {flag} could match {}", names.join(", "))));
        }
        Ok(found.first().map(|(_, argument)| *argument))
    }

    /// An argument, if it is of the right kind.
    fn checked(&self, argument: &Argument, text: &str) -> Result<String, Refusal> {
        let (fits, kind) = match argument.takes {
            Takes::Integer => (text.parse::<i32>().is_ok(), "Integer"),
            Takes::Long => (text.parse::<i64>().is_ok(), "Long"),
            Takes::Double => (text.trim().parse::<f64>().is_ok(), "Double"),
            Takes::Nothing | Takes::Text | Takes::Texts | Takes::Several => (true, ""),
        };
        if !fits {
            let why = format!("For input string: \"{text}\"");
            let message = format!("could not convert '{text}' to {kind} ({why})");
            return Err(self.wrong_argument(argument, &message));
        }
        if !argument.choices.is_empty() && !argument.choices.contains(&text) {
            let choices = argument.choices.join(",");
            let message = format!("invalid choice: '{text}' (choose from {{{choices}}})");
            return Err(self.wrong_argument(argument, &message));
        }
        Ok(text.to_owned())
    }

    /// What must be there and is not. Of several the last one is told.
    fn missing(&self, used: &BTreeSet<&str>) -> Option<Refusal> {
        let missing = |argument: &&Argument| argument.required && !used.contains(argument.name());
        if let Some(argument) = self.parser.all().filter(missing).last() {
            return Some(self.wrong(&format!("argument {} is required", argument.shown())));
        }
        let groups = self.parser.groups.iter().enumerate().filter(|(_, group)| group.required);
        let mut unused = groups.filter(|(at, _)| !self.parser.of_group(*at).any(|one| used.contains(one.name())));
        let (at, _) = unused.next_back()?;
        let names: String = self.parser.of_group(at).map(|one| one.shown() + " ").collect();
        Some(self.wrong(&format!("one of the arguments {names}is required")))
    }
}

/// A command line that is being read.
struct Line<'a> {
    arguments: &'a [String],
    at: usize,
    /// `--` was seen.
    only_positional: bool,
}

impl<'a> Line<'a> {
    /// What is next, if it is no option.
    fn next_value(&mut self) -> Option<&'a str> {
        let next = self.arguments.get(self.at)?;
        if self.is_flag(next) {
            return None;
        }
        self.at += 1;
        Some(next)
    }

    /// Does it look like an option? A negative number does not.
    fn is_flag(&self, argument: &str) -> bool {
        let negative = argument
            .strip_prefix('-')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()));
        !self.only_positional && argument.starts_with('-') && !negative
    }
}

/// Reads the options of one parser, and the command behind them. What is missing is told `late`, when all else is right.
fn read(
    place: &Place,
    line: &mut Line,
    parsed: &mut Parsed,
    late: &mut Option<Refusal>,
) -> Result<Option<&'static Command>, Refusal> {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for argument in place.parser.arguments {
        parsed.defaults.extend(argument.default.map(|default| (argument.name(), default)));
    }
    while let Some(term) = line.arguments.get(line.at) {
        if line.is_flag(term) && term != "--" {
            line.at += 1;
            option(place, term, line, parsed, &mut used)?;
        } else if term == "--" && !line.only_positional {
            line.only_positional = true;
            line.at += 1;
        } else if !line.only_positional && !place.parser.commands.is_empty() {
            *late = late.take().or_else(|| place.missing(&used));
            let commands = place.parser.commands;
            line.at += 1;
            return command(place, commands, term).map(Some);
        } else {
            let rest = line.arguments[line.at..].join(" ");
            return Err(place.wrong(&format!("unrecognized arguments: '{rest}'")));
        }
    }
    if !place.parser.commands.is_empty() {
        return Err(place.wrong("too few arguments"));
    }
    *late = late.take().or_else(|| place.missing(&used));
    Ok(None)
}

fn command(place: &Place, commands: &'static [Command], term: &str) -> Result<&'static Command, Refusal> {
    if let Some(exact) = commands.iter().find(|command| command.name == term) {
        return Ok(exact);
    }
    let mut found: Vec<&'static Command> =
        commands.iter().filter(|command| !term.is_empty() && command.name.starts_with(term)).collect();
    found.sort_by_key(|command| command.name);
    match found[..] {
        [one] => Ok(one),
        [] => {
            let names: Vec<String> = commands.iter().map(|command| format!("'{}'", command.name)).collect();
            let message = format!("invalid choice: '{term}' (choose from {})", names.join(", "));
            let known = commands.iter().map(|command| (command.name, command.name));
            Err(place.wrong_with_hint(&message, &usage::did_you_mean(term, known)))
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|command| command.name).collect();
            Err(place.wrong(&format!("ambiguous command: {term} could match {}", names.join(", "))))
        }
    }
}

/// Reads one option with what belongs to it.
fn option(
    place: &Place,
    term: &str,
    line: &mut Line,
    parsed: &mut Parsed,
    used: &mut BTreeSet<&'static str>,
) -> Result<(), Refusal> {
    let (flag, attached) = term.split_once('=').map_or((term, None), |(flag, value)| (flag, Some(value)));
    let (argument, attached) = match place.find(flag)? {
        Some(argument) => (argument, attached),
        // `-i7` is `-i 7`.
        None => match term.char_indices().nth(2).map(|(at, _)| (place.find(&term[..at]), &term[at..])) {
            Some((Ok(Some(argument)), value)) if !term.starts_with("--") && argument.takes != Takes::Nothing => {
                (argument, Some(value))
            }
            _ => return Err(unknown(place, term)),
        },
    };
    let mates = argument.group.into_iter().flat_map(|group| place.parser.of_group(group));
    if let Some(other) = mates.into_iter().find(|one| one.name() != argument.name() && used.contains(one.name())) {
        return Err(place.wrong_argument(argument, &format!("not allowed with argument {}", other.shown())));
    }
    used.insert(argument.name());
    let values = parsed.values.entry(argument.name()).or_default();
    match argument.takes {
        Takes::Nothing => {
            if let Some(value) = attached {
                return Err(place.wrong_argument(argument, &format!("ignore implicit argument '{value}'")));
            }
            if argument.flags == HELP.flags {
                return Err(Refusal::Help(usage::help(place)));
            }
            *values = vec!["true".to_owned()];
        }
        Takes::Several => {
            values.clear();
            values.extend(attached.map(str::to_owned));
            while attached.is_none()
                && let Some(value) = line.next_value()
            {
                values.push(value.to_owned());
            }
            if values.is_empty() {
                return Err(place.wrong_argument(argument, "expected 1 argument(s)"));
            }
        }
        _ => {
            let Some(value) = attached.or_else(|| line.next_value()) else {
                return Err(place.wrong_argument(argument, "expected one argument"));
            };
            values.push(place.checked(argument, value)?);
        }
    }
    Ok(())
}

fn unknown(place: &Place, term: &str) -> Refusal {
    let message = format!("unrecognized arguments: '{term}'");
    let body = term.trim_start_matches('-');
    if body.len() < 2 {
        return place.wrong(&message);
    }
    let flags = place.parser.all().flat_map(|argument| argument.flags);
    let known = flags.map(|flag| (*flag, flag.trim_start_matches('-'))).filter(|(_, body)| body.len() > 1);
    place.wrong_with_hint(&message, &usage::did_you_mean(body, known))
}
