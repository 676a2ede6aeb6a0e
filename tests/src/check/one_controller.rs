//! A controller epoch has one owner: no two brokers ever give orders in the same epoch.

use crate::sim::history::History;

/// Looks at the orders given so far.
pub fn check(history: &History) -> Result<(), String> {
    match history.controllers.iter().find(|(_, brokers)| brokers.len() > 1) {
        Some((epoch, brokers)) => Err(format!("brokers {brokers:?} are all controller in epoch {epoch}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn two_controllers_of_an_epoch_are_found() {
        for (second, is_right) in [(&[2][..], true), (&[2, 3][..], false)] {
            let controllers = [(1, BTreeSet::from([1])), (2, second.iter().copied().collect())].into();
            assert_eq!(check(&History { controllers, ..History::default() }).is_ok(), is_right, "{second:?}");
        }
    }
}
