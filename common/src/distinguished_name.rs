//! Certificates as far as ours to read: the subject as Java's `X500Principal.getName()` (RFC 2253) writes it, which is what
//! stands in ZooKeeper's access lists and, after `User:`, in Kafka's, and who may issue others. Reads DER of a certificate
//! whose signature somebody else has checked; never trusts its lengths.

/// Attributes that RFC 2253 gives a keyword: the object identifier's bytes and the keyword.
const KEYWORDS: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// Keywords that Java takes when it reads a name, beyond those it writes.
const READ_KEYWORDS: &[&str] = &[
    "S",
    "T",
    "IP",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "SERIALNUMBER",
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The explicit version in front of a certificate's serial number.
const VERSION: u8 = 0xa0;
/// The explicit extensions behind a certificate's key.
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
/// The extension that says whether its subject may issue certificates: 2.5.29.19.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 29, 19];
/// UTF8String, PrintableString, T61String, IA5String, GeneralString.
const TEXTS: [u8; 5] = [0x0c, 0x13, 0x14, 0x16, 0x1b];

/// The certificate's subject; `None` if the bytes are no certificate.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = any(rest)?.2;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        rest = any(rest)?.2;
    }
    let (mut names, _) = element(rest, SEQUENCE)?;
    let mut parts = Vec::new();
    while !names.is_empty() {
        let (mut set, after) = element(names, SET)?;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (attribute, next) = element(set, SEQUENCE)?;
            attributes.push(text(attribute)?);
            set = next;
        }
        parts.push(attributes.join("+"));
        names = after;
    }
    parts.reverse();
    Some(parts.join(","))
}

/// What a certificate says of itself as an issuer of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuing {
    /// What its basicConstraints say; `None` if it has none.
    pub is_authority: Option<bool>,
    /// It is of version 1, which knows no extensions.
    pub is_first_version: bool,
    /// Issuer and subject are the same.
    pub is_own_issuer: bool,
}

/// Reads whether the certificate may issue others; `None` if the bytes are no certificate.
pub fn issuing(certificate: &[u8]) -> Option<Issuing> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    let is_first_version = rest.first() != Some(&VERSION);
    if !is_first_version {
        rest = any(rest)?.2;
    }
    // Serial number, algorithm.
    for _ in 0..2 {
        rest = any(rest)?.2;
    }
    let (issuer, rest) = element(rest, SEQUENCE)?;
    // Validity.
    let (subject, mut rest) = element(any(rest)?.2, SEQUENCE)?;
    // The key and, seldom seen, unique numbers of both.
    while !rest.is_empty() && rest[0] != EXTENSIONS {
        rest = any(rest)?.2;
    }
    let mut is_authority = None;
    if !rest.is_empty() {
        let (mut extensions, _) = element(element(rest, EXTENSIONS)?.0, SEQUENCE)?;
        while !extensions.is_empty() {
            let (extension, after) = element(extensions, SEQUENCE)?;
            extensions = after;
            let (name, mut value) = element(extension, OBJECT_IDENTIFIER)?;
            if name == BASIC_CONSTRAINTS {
                if value.first() == Some(&BOOLEAN) {
                    value = any(value)?.2;
                }
                let (constraints, _) = element(element(value, OCTET_STRING)?.0, SEQUENCE)?;
                let is_true = element(constraints, BOOLEAN).is_some_and(|(content, _)| content == [0xff]);
                is_authority = Some(is_true);
            }
        }
    }
    Some(Issuing { is_authority, is_first_version, is_own_issuer: issuer == subject })
}

/// Whether Java would read this as a name: attributes with known keywords or object identifiers, each with its value.
pub fn is_valid(name: &str) -> bool {
    name.is_empty()
        || split(name).iter().all(|part| {
            part.split_once('=').is_some_and(|(keyword, _)| {
                let keyword = keyword.trim().to_ascii_uppercase();
                let is_known =
                    KEYWORDS.iter().any(|(_, known)| *known == keyword) || READ_KEYWORDS.contains(&keyword.as_str());
                let oid = keyword.strip_prefix("OID.").unwrap_or(&keyword);
                let is_oid = oid.contains('.')
                    && oid.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()));
                is_known || is_oid
            })
        })
}

/// Cuts a name at the commas, semicolons and plus signs that are neither escaped nor quoted.
fn split(name: &str) -> Vec<&str> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let (mut is_escaped, mut is_quoted) = (false, false);
    for (at, c) in name.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' | ';' | '+' if !is_quoted => {
                parts.push(&name[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&name[begin..]);
    parts
}

/// Tag, content and what follows.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let len = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let (len, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(len)?;
    Some((tag, content, after))
}

fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, after)| (content, after))
}

/// One attribute with its value.
fn text(attribute: &[u8]) -> Option<String> {
    let (oid, value) = element(attribute, OBJECT_IDENTIFIER)?;
    let (tag, content, _) = any(value)?;
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid).map(|(_, keyword)| (*keyword).to_owned());
    match keyword {
        Some(keyword) if TEXTS.contains(&tag) => {
            Some(format!("{keyword}={}", escaped(&String::from_utf8_lossy(content))))
        }
        keyword => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("{}=#{hex}", keyword.or_else(|| dotted(oid))?))
        }
    }
}

fn dotted(oid: &[u8]) -> Option<String> {
    let mut arcs = Vec::new();
    let mut arc: u64 = 0;
    for byte in oid {
        arc = arc.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(arc);
            arc = 0;
        }
    }
    let first = *arcs.first()?;
    let top = (first / 40).min(2);
    arcs[0] = first - top * 40;
    let arcs: Vec<String> = std::iter::once(top).chain(arcs).map(|arc| arc.to_string()).collect();
    Some(arcs.join("."))
}

fn escaped(value: &str) -> String {
    let is_blank = |c: char| c == ' ' || c == '\r';
    let mut plain = String::new();
    for c in value.chars() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => plain.extend(['\\', c]),
            '\0' => plain.push_str("\\00"),
            c => plain.push(c),
        }
    }
    let lead = plain.len() - plain.trim_start_matches(is_blank).len();
    let trail = plain.trim_end_matches(is_blank).len();
    plain.char_indices().fold(String::new(), |mut text, (at, c)| {
        if at < lead || at >= trail {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length in front, short form.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match u8::try_from(content.len()) {
            Ok(len) if len < 0x80 => bytes.push(len),
            _ => bytes.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]),
        }
        bytes.extend(content);
        bytes
    }

    fn certificate(subject: &[&[(&[u8], u8, &str)]]) -> Vec<u8> {
        let sets: Vec<u8> = subject
            .iter()
            .flat_map(|set| {
                let one = |(oid, tag, value): &(&[u8], u8, &str)| {
                    der(SEQUENCE, &[der(OBJECT_IDENTIFIER, oid), der(*tag, value.as_bytes())].concat())
                };
                der(SET, &set.iter().flat_map(one).collect::<Vec<u8>>())
            })
            .collect();
        let body = [
            der(VERSION, &der(2, &[2])),
            der(2, &[1]),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &sets),
        ];
        der(SEQUENCE, &der(SEQUENCE, &body.concat()))
    }

    /// What OpenJDK 17 prints for certificates that OpenSSL made with these subjects.
    #[test]
    fn subjects_read_as_java_writes_them() {
        let check = |subject_der: &[&[(&[u8], u8, &str)]], expected: &str| {
            let made = certificate(subject_der);
            assert_eq!(subject(&made).as_deref(), Some(expected));
            for end in 0..made.len() {
                let _ = subject(&made[..end]);
            }
        };
        let (cn, o, ou, c): (&[u8], &[u8], &[u8], &[u8]) =
            (&[0x55, 4, 3], &[0x55, 4, 10], &[0x55, 4, 11], &[0x55, 4, 6]);
        let dc = KEYWORDS[8].0;
        let email: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
        check(&[&[(c, 0x13, "DE")], &[(o, 0x0c, "Acme, Inc.")], &[(ou, 0x0c, "a")]], "OU=a,O=Acme\\, Inc.,C=DE");
        check(&[&[(dc, 0x16, "org")], &[(dc, 0x16, "example")], &[(cn, 0x0c, "x")]], "CN=x,DC=example,DC=org");
        check(&[&[(cn, 0x0c, "x")], &[(email, 0x16, "a@b.c")]], "1.2.840.113549.1.9.1=#16056140622e63,CN=x");
        check(&[&[(cn, 0x0c, " lead #x=y<z>;\"q\\ ")]], "CN=\\ lead \\#x\\=y\\<z\\>\\;\\\"q\\\\\\ ");
        check(&[&[(cn, 0x0c, "ü名")], &[(&[0x55, 4, 5], 0x13, "12")]], "2.5.4.5=#13023132,CN=ü名");
        check(&[&[(o, 0x0c, "a")], &[(cn, 0x0c, "b"), (ou, 0x0c, "c")]], "CN=b+OU=c,O=a");
        assert_eq!(subject(b"no certificate"), None);
    }

    #[test]
    fn names_that_may_stand_in_a_list() {
        let check = |name: &str, expected: bool| assert_eq!(is_valid(name), expected, "{name}");
        check("CN=x,OU=a\\,b,O=\"c,d\"", true);
        check("CN=b+OU=c, 2.5.4.5=#13023132", true);
        check("emailAddress=a@b.c", true);
        check("", true);
        check("x", false);
        check("CN=x,", false);
        check("NOSUCH=x", false);
    }
}
