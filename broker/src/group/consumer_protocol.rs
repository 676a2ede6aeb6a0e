//! The little that the broker reads of consumers' own protocol inside the opaque member metadata. Writes none of it.

use bytes::Bytes;
use common::kafka::wire::Reader;

/// The topics of a subscription, whatever its version: later ones only add at the end. `None` if it cannot be read.
pub(super) fn subscribed_topics(metadata: Bytes) -> Option<Vec<String>> {
    let mut from = Reader::new(metadata);
    let version = from.get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = from.get_array_count(false).ok()??;
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(from.get_nullable_string(false).ok()??);
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_nonsense_is_not() {
        let subscription: &[u8] = &[0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(subscribed_topics(Bytes::copy_from_slice(subscription)), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(subscribed_topics(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff])), None);
        assert_eq!(subscribed_topics(Bytes::new()), None);
    }
}
