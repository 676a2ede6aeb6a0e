//! A request is carried out once, however often it was sent on between servers: no two nodes hold the same value, as every
//! create has one of its own.

use coordinator::tree::Tree;
use std::collections::BTreeMap;

/// Looks at the nodes that clients create.
pub fn check(tree: &Tree) -> Result<(), String> {
    let mut seen: BTreeMap<&[u8], &str> = BTreeMap::new();
    for folder in ["/seq", "/eph"] {
        for (name, node) in tree.node(folder).into_iter().flat_map(|node| node.entries()) {
            let value = node.data().unwrap_or_default();
            if let Some(first) = seen.insert(value, name) {
                let value = String::from_utf8_lossy(value);
                return Err(format!("{first} and {name} in {folder} were both made by one request, for {value}"));
            }
        }
    }
    Ok(())
}
