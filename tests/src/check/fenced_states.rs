//! A controller that has been succeeded changes nothing any more: no partition state is written with its epoch after the
//! next one has begun.

use super::coordinators;
use crate::sim::world::World;

/// Looks at all partition states in the newest tree.
pub fn check(world: &World) -> Result<(), String> {
    let newest = coordinators(world).map(|(_, process)| process.node.tree()).max_by_key(|tree| tree.zxid());
    let Some(tree) = newest else { return Ok(()) };
    let Some(epoch_node) = tree.node("/controller_epoch") else { return Ok(()) };
    let number = |data: &[u8]| std::str::from_utf8(data).ok().and_then(|text| text.trim().parse::<i64>().ok());
    let Some(epoch) = epoch_node.data().and_then(number) else { return Ok(()) };
    let begun = epoch_node.stat().mzxid;
    for (topic, node) in tree.node("/brokers/topics").into_iter().flat_map(|node| node.entries()) {
        let Some((_, partitions)) = node.entries().find(|(name, _)| *name == "partitions") else { continue };
        for (partition, node) in partitions.entries() {
            let Some((_, state)) = node.entries().find(|(name, _)| *name == "state") else { continue };
            let text = String::from_utf8_lossy(state.data().unwrap_or_default()).into_owned();
            let Some((_, rest)) = text.split_once("\"controller_epoch\":") else { continue };
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if state.stat().mzxid > begun && digits.parse().is_ok_and(|written: i64| written < epoch) {
                return Err(format!(
                    "{topic}-{partition} was written in controller epoch {digits} during {epoch}: {text}"
                ));
            }
        }
    }
    Ok(())
}
