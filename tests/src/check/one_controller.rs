//! A controller epoch has one owner: no two brokers ever give orders in the same epoch.

use crate::sim::history::History;

/// Looks at the orders given so far.
pub fn check(history: &History) -> Result<(), String> {
    match history.controllers.iter().find(|(_, brokers)| brokers.len() > 1) {
        Some((epoch, brokers)) => Err(format!("brokers {brokers:?} are all controller in epoch {epoch}")),
        None => Ok(()),
    }
}
