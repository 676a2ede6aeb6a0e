//! Command lines as Kafka's tools read them. Those tools use jopt-simple, whose rules, error texts and help layout scripts
//! and tutorials rely on and no Rust parser has: `-property x` is `--property x`, an option's argument may look like an
//! option, nothing is abbreviated. clap serves castellan's own commands (`up.rs`). Prints and exits nowhere but in
//! [`Options::or_usage`] and its kin, which give the exit code back.

mod help;

pub(crate) use help::words;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

/// Does an option take an argument? The texts are shown in the help.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takes {
    /// No argument.
    Nothing,
    /// An argument: the name of its Java type and what it is, which may be empty.
    Required(&'static str, &'static str),
    /// Perhaps an argument.
    Optional(&'static str, &'static str),
}

/// One option that a tool knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// Without dashes.
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// Shown in the help after the description; also what [`Options::value`] gives when the option is absent.
    pub(crate) default: Option<&'static str>,
    /// A command line without it is refused by [`Options::require_marked`], and the help marks it.
    pub(crate) required: bool,
    /// For the help. An option whose description is [`HIDDEN`] is understood but not shown.
    pub(crate) description: &'static str,
}

/// The description of options that Kafka 3.9 does not have: accepted for the sake of older tutorials, not advertised.
pub(crate) const HIDDEN: &str = "\0hidden";

/// What a tool has beyond the one whose name it bears stands in its help below this line, indented by tabs.
pub(crate) const OF_CASTELLAN: &str = "Of Castellan alone:";

/// An option without argument.
pub(crate) const fn flag(name: &'static str, description: &'static str) -> Spec {
    Spec { name, takes: Takes::Nothing, default: None, required: false, description }
}

/// An option with a text argument.
pub(crate) const fn text(name: &'static str, what: &'static str, description: &'static str) -> Spec {
    Spec { name, takes: Takes::Required("String", what), default: None, required: false, description }
}

/// An option with a whole number of 32 bits as argument.
pub(crate) const fn int(name: &'static str, what: &'static str, description: &'static str) -> Spec {
    Spec { name, takes: Takes::Required("Integer", what), default: None, required: false, description }
}

/// An option with a whole number of 64 bits as argument.
pub(crate) const fn long(name: &'static str, what: &'static str, description: &'static str) -> Spec {
    Spec { name, takes: Takes::Required("Long", what), default: None, required: false, description }
}

impl Spec {
    /// The same option with a default value.
    pub(crate) const fn or(mut self, default: &'static str) -> Spec {
        self.default = Some(default);
        self
    }

    /// The same option, which must be there.
    pub(crate) const fn needed(mut self) -> Spec {
        self.required = true;
        self
    }
}

/// `--help`, which all tools have.
pub(crate) const HELP: Spec = flag("help", "Print usage information.");
/// `--version`, which all tools have.
pub(crate) const VERSION: Spec = flag("version", "Display Kafka version.");
/// What `--version` says: the version of Kafka whose tools these are.
pub(crate) const KAFKA_VERSION: &str = "3.9.1";

/// Why a command line is refused, in jopt-simple's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OptionError {
    /// No such option.
    #[error("{0} is not a recognized option")]
    Unrecognized(String),
    /// The line ends where an argument should be.
    #[error("Option {0} requires an argument")]
    MissingArgument(String),
    /// Given twice, needed once.
    #[error("Found multiple arguments for option {0}, but you asked for only one")]
    Multiple(String),
    /// Not a number.
    #[error("Cannot parse argument '{argument}' of option {option}")]
    Conversion { option: String, argument: String },
    /// Options that must be there and are not.
    #[error("Missing required option(s) [{0}]")]
    MissingRequired(String),
    /// An option that goes with another one only.
    #[error("Option(s) [{0}] are unavailable given other options on the command line")]
    Unavailable(String),
}

impl OptionError {
    /// The refusal as a tool shows it that does not catch it.
    pub(crate) fn uncaught(&self) -> String {
        let class = match self {
            OptionError::Unrecognized(_) => "UnrecognizedOptionException",
            OptionError::MissingArgument(_) => "OptionMissingRequiredArgumentException",
            OptionError::Multiple(_) => "MultipleArgumentsForOptionException",
            OptionError::Conversion { .. } => "OptionArgumentConversionException",
            OptionError::MissingRequired(_) => "MissingRequiredOptionsException",
            OptionError::Unavailable(_) => "UnavailableOptionException",
        };
        format!("Exception in thread \"main\" joptsimple.{class}: {self}")
    }
}

/// The tool has said what there is to say and ends with this code.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) u8);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Ended {}

/// A command line that was understood.
#[derive(Debug)]
pub(crate) struct Options {
    specs: &'static [Spec],
    /// In the order of the command line; an option without argument has `None`.
    found: Vec<(&'static str, Option<String>)>,
    /// What belongs to no option.
    pub(crate) rest: Vec<String>,
}

impl Options {
    /// Reads a command line.
    pub(crate) fn parse(specs: &'static [Spec], arguments: &[String]) -> Result<Options, OptionError> {
        let mut options = Options { specs, found: Vec::new(), rest: Vec::new() };
        let mut arguments = arguments.iter().peekable();
        let mut only_rest = false;
        while let Some(argument) = arguments.next() {
            if only_rest || !looks_like_an_option(argument) {
                options.rest.push(argument.clone());
                continue;
            }
            if argument == "--" {
                only_rest = true;
                continue;
            }
            let (dashes, body) = argument.strip_prefix("--").map_or_else(|| ("-", &argument[1..]), |body| ("--", body));
            let (name, attached) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                // After one dash each letter could be an option of its own, so the first is the unknown one.
                let unknown = if dashes == "--" { name.to_owned() } else { body.chars().take(1).collect() };
                return Err(OptionError::Unrecognized(unknown));
            };
            let value = match (spec.takes, attached) {
                (Takes::Nothing, _) => None,
                (_, Some(value)) => Some(value.to_owned()),
                (Takes::Required(..), None) => match arguments.next() {
                    Some(value) => Some(value.clone()),
                    None => return Err(OptionError::MissingArgument(name.to_owned())),
                },
                (Takes::Optional(..), None) => {
                    arguments.next_if(|next| !looks_like_an_option(next) || next.as_str() == "--").cloned()
                }
            };
            options.found.push((spec.name, value));
        }
        Ok(options)
    }

    /// Reads a command line; if it cannot be, says why and shows the usage.
    pub(crate) fn or_usage(specs: &'static [Spec], arguments: &[String]) -> Result<Options, Ended> {
        Options::parse(specs, arguments).map_err(|error| usage(specs, &error.to_string()))
    }

    /// Every option marked as needed is there, or `--help` or `--version` is.
    pub(crate) fn require_marked(&self) -> Result<(), OptionError> {
        let missing: Vec<&str> =
            self.specs.iter().filter(|spec| spec.required && !self.has(spec.name)).map(|spec| spec.name).collect();
        match missing.is_empty() || self.has("help") || self.has("version") {
            true => Ok(()),
            false => Err(OptionError::MissingRequired(missing.join(", "))),
        }
    }

    /// `name` is there only together with one of `others`.
    pub(crate) fn only_with(&self, name: &str, others: &[&str]) -> Result<(), OptionError> {
        match self.has(name) && !others.iter().any(|other| self.has(other)) {
            true => Err(OptionError::Unavailable(name.to_owned())),
            false => Ok(()),
        }
    }

    /// Is the option there?
    pub(crate) fn has(&self, name: &str) -> bool {
        debug_assert!(self.specs.iter().any(|spec| spec.name == name), "{name} is not declared");
        self.found.iter().any(|(found, _)| *found == name)
    }

    /// The options of the command line in its order, each with its argument.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.found.iter().map(|(name, value)| (*name, value.as_deref()))
    }

    /// Every argument of an option, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.found.iter().filter(|(found, _)| *found == name).filter_map(|(_, value)| value.as_deref()).collect()
    }

    /// The argument of an option, else its default.
    pub(crate) fn value(&self, name: &str) -> Result<Option<&str>, OptionError> {
        let mut values =
            self.found.iter().filter(|(found, _)| *found == name).filter_map(|(_, value)| value.as_deref());
        let first = values.next();
        if values.next().is_some() {
            return Err(OptionError::Multiple(name.to_owned()));
        }
        if first.is_some() || self.has(name) {
            return Ok(first);
        }
        Ok(self.specs.iter().find(|spec| spec.name == name).and_then(|spec| spec.default))
    }

    /// The argument of an option as a number, else its default.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, OptionError> {
        self.value(name)?.map(|value| parse_number(name, value)).transpose()
    }

    /// Says a message, shows the usage on stderr, and ends with 1.
    pub(crate) fn usage(&self, message: &str) -> Ended {
        usage(self.specs, message)
    }

    /// Shows the usage if there are no arguments or `--help` is among them, the version if that was asked for.
    pub(crate) fn help_or_version(&self, arguments: &[String], message: &str) -> Result<(), Ended> {
        if arguments.is_empty() || self.has("help") {
            return Err(self.usage(message));
        }
        if self.has("version") {
            println!("{KAFKA_VERSION}");
            return Err(Ended(0));
        }
        Ok(())
    }

    /// Each of these options must be there.
    pub(crate) fn require(&self, names: &[&str]) -> Result<(), Ended> {
        match names.iter().find(|name| !self.has(name)) {
            Some(name) => Err(self.usage(&format!("Missing required argument \"[{name}]\""))),
            None => Ok(()),
        }
    }

    /// None of these options goes with `used`.
    pub(crate) fn exclude(&self, used: &str, others: &[&str]) -> Result<(), Ended> {
        match others.iter().find(|other| self.has(used) && self.has(other)) {
            Some(other) => Err(self.usage(&format!("Option \"[{used}]\" can't be used with option \"[{other}]\""))),
            None => Ok(()),
        }
    }
}

/// The exit code of a tool that may have ended early.
pub(crate) fn exit(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match result {
        Err(error) => match error.downcast_ref::<Ended>() {
            Some(Ended(code)) => Ok(ExitCode::from(*code)),
            None => Err(error),
        },
        ok => ok,
    }
}

/// Says a message, shows the usage on stderr, and ends with 1.
pub(crate) fn usage(specs: &[Spec], message: &str) -> Ended {
    eprintln!("{message}");
    eprint!("{}", help::render(specs));
    Ended(1)
}

/// `key=value` each, the value possibly empty or missing; later ones win.
pub(crate) fn key_values(arguments: &[&str]) -> std::collections::BTreeMap<String, String> {
    arguments
        .iter()
        .map(|argument| argument.split_once('=').unwrap_or((argument, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn parse_number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, OptionError> {
    value.parse().map_err(|_| OptionError::Conversion { option: name.to_owned(), argument: value.to_owned() })
}

fn looks_like_an_option(argument: &str) -> bool {
    argument.starts_with('-') && argument != "-"
}
