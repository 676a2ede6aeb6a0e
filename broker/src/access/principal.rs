//! `ssl.principal.mapping.rules` (KIP-371): which user the subject of a certificate is. Never reads a certificate.

use regex::{Captures, Regex};

/// The rules, the first that applies counts.
#[derive(Clone, Debug)]
pub struct PrincipalMapping {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Rule {
    /// The subject as it is.
    Default,
    Replace {
        /// The pattern as one for a whole subject: whether the rule applies.
        whole: Regex,
        /// The pattern as it stands: each place it is found at is replaced.
        pattern: Regex,
        replacement: String,
        case: Case,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    AsIs,
    Lower,
    Upper,
}

impl PrincipalMapping {
    /// Reads rules in Kafka's syntax: `DEFAULT` or `RULE:pattern/replacement/[LU]`, with commas between them.
    ///
    /// # Errors
    /// If a pattern is no regular expression; the text names it.
    pub fn parse(text: &str) -> Result<PrincipalMapping, String> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if let Some(rule) = rest.strip_prefix("RULE:") {
                let unfinished = || format!("Invalid rule: {rest}");
                let (pattern, after) = until_slash(rule).ok_or_else(unfinished)?;
                let (replacement, after) = until_slash(after).ok_or_else(unfinished)?;
                let case = match after.chars().next() {
                    Some('L') => Case::Lower,
                    Some('U') => Case::Upper,
                    _ => Case::AsIs,
                };
                let regex = |text: &str| Regex::new(text).map_err(|error| format!("Invalid rule: {rest}: {error}"));
                let (pattern, whole) = (regex(pattern)?, regex(&format!("^(?:{pattern})$"))?);
                rules.push(Rule::Replace { whole, pattern, replacement: replacement.to_owned(), case });
                rest = after;
            } else if rest.starts_with("DEFAULT") {
                rules.push(Rule::Default);
            }
            rest = rest.split_once(',').map_or("", |(_, rest)| rest.trim_start());
        }
        Ok(PrincipalMapping { rules })
    }

    /// The user's name; `None` if no rule applies, and the connection is refused.
    pub fn user(&self, subject: &str) -> Option<String> {
        self.rules.iter().find_map(|rule| match rule {
            Rule::Default => Some(subject.to_owned()),
            Rule::Replace { whole, pattern, replacement, case } => {
                let replace = |captures: &Captures<'_>| expand(replacement, captures);
                let name = whole.is_match(subject).then(|| pattern.replace_all(subject, replace).into_owned())?;
                Some(match case {
                    Case::AsIs => name,
                    Case::Lower => name.to_lowercase(),
                    Case::Upper => name.to_uppercase(),
                })
            }
        })
    }
}

/// What stands before the first slash that no backslash precedes, and what after it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '/' if !escaped => return Some((&text[..at], &text[at + 1..])),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// Java's replacement: `$1` is a group, of several digits as many as name one; a backslash takes the next as it is.
fn expand(replacement: &str, captures: &Captures<'_>) -> String {
    let mut text = String::new();
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.extend(letters.next()),
            '$' => {
                let mut number: Option<usize> = None;
                while let Some(digit) = letters.peek().and_then(|digit| digit.to_digit(10)) {
                    let next = number.unwrap_or(0) * 10 + digit as usize;
                    if next >= captures.len() {
                        break;
                    }
                    number = Some(next);
                    letters.next();
                }
                match number {
                    Some(number) => text += captures.get(number).map_or("", |group| group.as_str()),
                    None => text.push('$'),
                }
            }
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_become_users_as_with_kafka() {
        let two = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, RULE:^CN=(.*?),OU=(.*?),O=(.*?)$/$1@$2/U,DEFAULT";
        let cases = [
            ("DEFAULT", "CN=a,O=b", Some("CN=a,O=b")),
            ("", "CN=a", None),
            (two, "CN=Kafka,OU=ServiceUsers,O=x", Some("kafka")),
            (two, "CN=adm,OU=ops,O=x", Some("ADM@OPS")),
            (two, "O=x", Some("O=x")),
            ("RULE:CN=(\\w+)/$1/", "CN=a,O=b", None),
            ("RULE:^cn=(.*?),ou=(.*?)$/$1@$3/", "cn=a,ou=b", Some("a@$3")),
            ("RULE:^CN=(.*?),O=(.*)$/$1\\/$2/,DEFAULT", "CN=a,O=b", Some("a/b")),
            // Whether it applies is a question of the whole subject, what is replaced is what is found first.
            ("RULE:CN=(.*?),OU=.*?/$1/,DEFAULT", "CN=a,OU=b", Some("ab")),
            ("RULE:CN=a|CN=ab/x/", "CN=ab", Some("xb")),
        ];
        for (rules, subject, user) in cases {
            let mapping = PrincipalMapping::parse(rules).unwrap();
            assert_eq!(mapping.user(subject).as_deref(), user, "{rules}: {subject}");
        }
        assert!(PrincipalMapping::parse("RULE:^CN=(.*").is_err());
        assert!(PrincipalMapping::parse("RULE:(/x/").is_err());
    }
}
