//! Java's login configuration (JAAS), as `sasl.jaas.config` and the files of `java.security.auth.login.config` have it: which
//! login modules there are, and their options. Never judges what an option means.

use std::collections::BTreeMap;
use thiserror::Error;

/// One login module and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginModule {
    /// The class.
    pub class: String,
    /// What is said for it: user names and passwords, mostly.
    pub options: BTreeMap<String, String>,
}

/// The text is no login configuration; in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JaasError {
    /// It is empty.
    #[error("Login module not specified in JAAS config")]
    NoModule,
    /// Only a class stands there.
    #[error("Login module control flag not specified in JAAS config")]
    NoFlag,
    /// A flag other than required, requisite, sufficient, optional.
    #[error("Invalid login module control flag '{0}' in JAAS config")]
    Flag(String),
    /// A key without `=value`.
    #[error("Value not specified for key '{0}' in JAAS config")]
    NoValue(String),
    /// An entry must end so.
    #[error("JAAS config entry not terminated by semi-colon")]
    NoEnd,
    /// A file's context is `Name { ... };`.
    #[error("JAAS file: expected NAME {{ MODULE FLAG OPTIONS; }};")]
    Context,
}

/// Reads the modules of `sasl.jaas.config`.
///
/// # Errors
/// If there is none, or something is missing.
pub fn parse(text: &str) -> Result<Vec<LoginModule>, JaasError> {
    let tokens = tokens(text);
    let mut rest = tokens.as_slice();
    let mut modules = Vec::new();
    while !rest.is_empty() {
        modules.push(module(&mut rest)?);
    }
    if modules.is_empty() { Err(JaasError::NoModule) } else { Ok(modules) }
}

/// Reads a file of contexts, `KafkaServer { ... };`, by name.
///
/// # Errors
/// If something is missing.
pub fn parse_file(text: &str) -> Result<BTreeMap<String, Vec<LoginModule>>, JaasError> {
    let tokens = tokens(text);
    let mut rest = tokens.as_slice();
    let mut contexts = BTreeMap::new();
    while let [Token::Word(name), Token::Sign('{'), after @ ..] = rest {
        rest = after;
        let mut modules = Vec::new();
        while rest.first().is_some_and(|token| *token != Token::Sign('}')) {
            modules.push(module(&mut rest)?);
        }
        let [Token::Sign('}'), after @ ..] = rest else { return Err(JaasError::Context) };
        rest = after.strip_prefix(&[Token::Sign(';')]).unwrap_or(after);
        contexts.insert(name.clone(), modules);
    }
    if rest.is_empty() { Ok(contexts) } else { Err(JaasError::Context) }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Sign(char),
}

fn module(rest: &mut &[Token]) -> Result<LoginModule, JaasError> {
    let [Token::Word(class), after @ ..] = *rest else { return Err(JaasError::NoModule) };
    let [Token::Word(flag), after @ ..] = after else { return Err(JaasError::NoFlag) };
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_lowercase().as_str()) {
        return Err(JaasError::Flag(flag.clone()));
    }
    let mut module = LoginModule { class: class.clone(), options: BTreeMap::new() };
    *rest = after;
    loop {
        match *rest {
            [Token::Sign(';'), after @ ..] => {
                *rest = after;
                return Ok(module);
            }
            [Token::Word(key), Token::Sign('='), Token::Word(value), after @ ..] => {
                module.options.insert(key.clone(), value.clone());
                *rest = after;
            }
            [Token::Word(key), ..] => return Err(JaasError::NoValue(key.clone())),
            _ => return Err(JaasError::NoEnd),
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter.is_whitespace() {
            rest = &rest[letter.len_utf8()..];
        } else if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, after)| after);
        } else if matches!(letter, '"' | '\'') {
            let (word, after) = quoted(&rest[1..], letter);
            tokens.push(Token::Word(word));
            rest = after;
        } else if matches!(letter, '=' | ';' | '{' | '}') {
            tokens.push(Token::Sign(letter));
            rest = &rest[1..];
        } else {
            let ends = |c: char| c.is_whitespace() || "=;{}\"'".contains(c);
            let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        }
    }
    tokens
}

/// What stands before the closing quote, with its escapes resolved, and what after it.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut word = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, 'n')) => word.push('\n'),
                Some((_, 't')) => word.push('\t'),
                Some((_, 'r')) => word.push('\r'),
                Some((_, other)) => word.push(other),
                None => break,
            },
            letter if letter == quote => return (word, &text[at + 1..]),
            letter => word.push(letter),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A class and its options.
    type Module<'a> = (&'a str, &'a [(&'a str, &'a str)]);

    fn check(text: &str, expected: Result<&[Module<'_>], &str>) {
        let found = parse(text).map_err(|error| error.to_string());
        let module = |(class, options): &Module<'_>| LoginModule {
            class: (*class).to_owned(),
            options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let expected = expected.map(|list| list.iter().map(module).collect()).map_err(str::to_owned);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn login_configurations_are_read_as_java_reads_them() {
        check(
            "org.x.PlainLoginModule required username=\"a\" password='b;\\'c' user_a=\"b=\\\"\";",
            Ok(&[("org.x.PlainLoginModule", &[("password", "b;'c"), ("user_a", "b=\""), ("username", "a")])]),
        );
        check("A required; // note\n B OPTIONAL /* x */ k=v ;", Ok(&[("A", &[]), ("B", &[("k", "v")])]));
        check("", Err("Login module not specified in JAAS config"));
        check("A", Err("Login module control flag not specified in JAAS config"));
        check("A must;", Err("Invalid login module control flag 'must' in JAAS config"));
        check("A required k;", Err("Value not specified for key 'k' in JAAS config"));
        check("A required k=v", Err("JAAS config entry not terminated by semi-colon"));
    }

    #[test]
    fn files_have_contexts() {
        let file = parse_file("KafkaServer {\n A required u=\"p\";\n};\nClient { B required; };").unwrap();
        assert_eq!(file["KafkaServer"], parse("A required u=p;").unwrap());
        assert_eq!(file["Client"], parse("B required;").unwrap());
        assert_eq!(parse_file("A required;"), Err(JaasError::Context));
        assert_eq!(parse_file("A {"), Err(JaasError::Context));
    }
}
