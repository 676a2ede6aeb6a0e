//! Names of users, clients and addresses as names of znodes: Kafka's `Sanitizer`, an encoding like that of URLs.

/// The name of the znode.
pub fn sanitize(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => text.push(char::from(byte)),
            other => {
                let _ = write!(text, "%{other:02X}");
            }
        }
    }
    text
}

/// The name that a znode stands for; what is no such encoding stays.
pub fn desanitize(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let decoded = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_into_znodes_and_come_back() {
        let cases = [
            ("alice", "alice"),
            ("a b*c+d", "a%20b%2Ac%2Bd"),
            ("CN=ä,O=x/y", "CN%3D%C3%A4%2CO%3Dx%2Fy"),
            ("<default>", "%3Cdefault%3E"),
        ];
        for (name, node) in cases {
            assert_eq!(sanitize(name), node);
            assert_eq!(desanitize(node), name);
        }
        assert_eq!(desanitize("100%"), "100%");
        assert_eq!(desanitize("%zz%4"), "%zz%4");
    }
}
