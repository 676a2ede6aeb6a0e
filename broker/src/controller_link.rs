//! Over which connection the controller speaks to this broker. It has one at a time, and opens another only after it has
//! given the last one up; what the network still brings over an earlier one was sent before all that came since, and must not
//! undo it. Leader epochs tell that of roles; of the list of brokers and leaders that a controller sends, nothing does.
//! (Kafka 3.9 takes such an order.) Only tells; the APIs of the controller turn it away.

use crate::outbox::ConnectionId;
use common::mutants;
use parking_lot::Mutex;

/// The connection over which the latest controller spoke last.
#[derive(Debug, Default)]
pub(crate) struct ControllerLink(Mutex<Option<(i32, ConnectionId)>>);

impl ControllerLink {
    /// An order of the controller of `epoch` came over `connection`. True if one of its orders came over a later connection
    /// before. An earlier controller is refused for its epoch.
    pub(crate) fn is_overtaken(&self, epoch: i32, connection: ConnectionId) -> bool {
        let mut last = self.0.lock();
        let is_overtaken = last.is_some_and(|(known, later)| known == epoch && connection < later);
        if last.is_none_or(|last| last < (epoch, connection)) {
            *last = Some((epoch, connection));
        }
        is_overtaken && !mutants::is_on("late-order-heeded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_over_an_earlier_connection_is_late() {
        let link = ControllerLink::default();
        for (epoch, connection, is_overtaken) in [
            (1, 5, false),
            (1, 5, false),
            (1, 7, false),
            (1, 5, true),
            (1, 7, false),
            (2, 3, false),
            // For its epoch.
            (1, 8, false),
            (2, 3, false),
            (2, 2, true),
        ] {
            assert_eq!(link.is_overtaken(epoch, ConnectionId(connection)), is_overtaken, "{epoch} over {connection}");
        }
    }
}
