//! Which strings are node paths, by the rules and in the words of ZooKeeper's `PathUtils`. Never touches a tree.

/// Why a string is no path. The texts are ZooKeeper's, its tests and tools compare them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The string is empty.
    #[error("Path length must be > 0")]
    Empty,
    /// The string does not begin at the root.
    #[error("Path must start with / character")]
    NotAbsolute,
    /// The string ends with a slash and is not the root.
    #[error("Path must not end with / character")]
    TrailingSlash,
    /// Something inside is wrong.
    #[error("Invalid path string \"{path}\" caused by {flaw} @{at}")]
    Invalid {
        /// The whole string.
        path: String,
        /// What is wrong.
        flaw: PathFlaw,
        /// Where, counted in UTF-16 units as Java does.
        at: usize,
    },
}

/// What may be wrong inside a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFlaw {
    /// U+0000.
    #[error("null character not allowed")]
    Null,
    /// Two slashes in a row.
    #[error("empty node name specified")]
    EmptyName,
    /// A node named `.` or `..`.
    #[error("relative paths not allowed")]
    Relative,
    /// A control character, a private or special one, or one outside the basic plane.
    #[error("invalid character")]
    Character,
}

/// Checks that `path` names a node: it starts at the root, has no trailing slash, no empty, `.` or `..` names and no
/// characters that ZooKeeper refuses.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path.len() == 1 {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    let mut before_last = ' ';
    let mut last = '/';
    let mut rest = path.chars();
    rest.next();
    // Everything that passes is one UTF-16 unit long, so counting characters counts units.
    let mut at = 1;
    while let Some(c) = rest.next() {
        let name_ends = matches!(rest.clone().next(), None | Some('/'));
        let flaw = match c {
            '\0' => Some(PathFlaw::Null),
            '/' if last == '/' => Some(PathFlaw::EmptyName),
            '.' if last == '.' && before_last == '/' && name_ends => Some(PathFlaw::Relative),
            '.' if last == '/' && name_ends => Some(PathFlaw::Relative),
            '\u{1}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'.. => {
                Some(PathFlaw::Character)
            }
            _ => None,
        };
        if let Some(flaw) = flaw {
            return Err(PathError::Invalid { path: path.to_owned(), flaw, at });
        }
        before_last = last;
        last = c;
        at += 1;
    }
    Ok(())
}

/// Checks the path of a create request. A sequential node's name gets a number appended, so its path may end with a slash.
pub fn validate_for_create(path: &str, sequential: bool) -> Result<(), PathError> {
    if sequential { validate(&format!("{path}1")) } else { validate(path) }
}

/// The path of the node above; `None` for the root.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(0) | None => None,
        Some(at) => Some(&path[..at]),
    }
}

/// The last name of the path; empty for the root.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The path of the child `name` of `parent`.
pub fn child(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<&str>) {
        let found = validate(path).err().map(|e| e.to_string());
        assert_eq!(found.as_deref(), expected, "path {path:?}");
    }

    #[test]
    fn paths_are_judged_as_by_zookeeper() {
        for good in [
            "/",
            "/this is / a valid/path",
            "/name/with.period.",
            "/.../a",
            "/..a",
            "/.a/b..",
            "/a/...",
            "/\u{40}\u{a0}\u{fdff}",
        ] {
            check(good, None);
        }
        check("", Some("Path length must be > 0"));
        check("not/valid", Some("Path must start with / character"));
        check("/ends/with/", Some("Path must not end with / character"));
        check("/a//b", Some("Invalid path string \"/a//b\" caused by empty node name specified @3"));
        check("//", Some("Path must not end with / character"));
        check("/a/../b", Some("Invalid path string \"/a/../b\" caused by relative paths not allowed @4"));
        check("/a/./b", Some("Invalid path string \"/a/./b\" caused by relative paths not allowed @3"));
        check("/.", Some("Invalid path string \"/.\" caused by relative paths not allowed @1"));
        check("/..", Some("Invalid path string \"/..\" caused by relative paths not allowed @2"));
        check("/a/.", Some("Invalid path string \"/a/.\" caused by relative paths not allowed @3"));
        check("/a\0", Some("Invalid path string \"/a\0\" caused by null character not allowed @2"));
        for bad in ['\u{1}', '\u{1f}', '\u{7f}', '\u{9f}', '\u{e000}', '\u{f8ff}', '\u{fff0}', '\u{fffd}', '\u{1f600}']
        {
            let path = format!("/é{bad}x");
            check(&path, Some(&format!("Invalid path string \"{path}\" caused by invalid character @2")));
        }
    }

    #[test]
    fn a_sequential_node_may_have_no_name_of_its_own() {
        assert_eq!(validate_for_create("/a/", true), Ok(()));
        assert_eq!(validate_for_create("/a/", false), Err(PathError::TrailingSlash));
        assert_eq!(validate_for_create("", true), Err(PathError::NotAbsolute));
    }

    #[test]
    fn parents_names_and_children() {
        for (path, up, last) in [("/", None, ""), ("/a", Some("/"), "a"), ("/a/b/c", Some("/a/b"), "c")] {
            assert_eq!((parent(path), name(path)), (up, last));
            if let Some(up) = up {
                assert_eq!(child(up, last), path);
            }
        }
    }
}
