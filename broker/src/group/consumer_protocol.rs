//! The little that the broker reads of consumers' own protocol inside the opaque member metadata, and the assignments that it
//! writes for members of the classic protocol in a group of the new one.

use bytes::Bytes;
use common::kafka::wire::{EncodeError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};

/// Newest version of an assignment that there is.
const ASSIGNMENT_NEWEST: i16 = 3;

/// Partitions by topic name.
pub(super) type NamedPartitions = BTreeMap<String, BTreeSet<i32>>;

/// What a member says in its subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// Topics it reads.
    pub topics: BTreeSet<String>,
    /// Partitions it has, from version 1 on.
    pub owned: NamedPartitions,
    /// `client.rack`, from version 3 on.
    pub rack_id: Option<String>,
}

/// The topics of a subscription, whatever its version: later ones only add at the end. `None` if it cannot be read.
pub(super) fn subscribed_topics(metadata: Bytes) -> Option<Vec<String>> {
    let mut from = Reader::new(metadata);
    from.get_i16().ok().filter(|version| *version >= 0)?;
    texts(&mut from)
}

/// A whole subscription; `None` if it cannot be read.
pub(super) fn subscription(metadata: Bytes) -> Option<Subscription> {
    let mut from = Reader::new(metadata);
    let version = from.get_i16().ok().filter(|version| *version >= 0)?;
    let topics = texts(&mut from)?.into_iter().collect();
    from.get_nullable_bytes(false).ok()?;
    let owned = if version >= 1 { partitions(&mut from)? } else { NamedPartitions::new() };
    if version >= 2 {
        from.get_i32().ok()?;
    }
    let rack_id = if version >= 3 { from.get_nullable_string(false).ok()? } else { None };
    Some(Subscription { topics, owned, rack_id })
}

/// The partitions of an assignment; `None` if it cannot be read. No bytes at all are no partitions.
pub(super) fn assignment(bytes: Bytes) -> Option<NamedPartitions> {
    if bytes.is_empty() {
        return Some(NamedPartitions::new());
    }
    let mut from = Reader::new(bytes);
    from.get_i16().ok().filter(|version| *version >= 0)?;
    partitions(&mut from)
}

/// An assignment in the version of a subscription.
pub(super) fn write_assignment(partitions: &NamedPartitions, subscription: &Bytes) -> Result<Bytes, EncodeError> {
    let version = Reader::new(subscription.clone()).get_i16().unwrap_or(0).clamp(0, ASSIGNMENT_NEWEST);
    let mut out = Writer::new();
    out.put_i16(version);
    out.put_length(Some(partitions.len()), false)?;
    for (topic, numbers) in partitions {
        out.put_nullable_string(Some(topic), false)?;
        out.put_length(Some(numbers.len()), false)?;
        for number in numbers {
            out.put_i32(*number);
        }
    }
    // No data of the assignor's own.
    out.put_nullable_bytes(None, false)?;
    Ok(out.finish()?.into_bytes()?)
}

fn texts(from: &mut Reader) -> Option<Vec<String>> {
    let count = from.get_array_count(false).ok()??;
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(from.get_nullable_string(false).ok()??);
    }
    Some(texts)
}

fn partitions(from: &mut Reader) -> Option<NamedPartitions> {
    let mut partitions = NamedPartitions::new();
    for _ in 0..from.get_array_count(false).ok()?? {
        let topic = from.get_nullable_string(false).ok()??;
        let numbers = partitions.entry(topic).or_default();
        for _ in 0..from.get_array_count(false).ok()?? {
            numbers.insert(from.get_i32().ok()?);
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_read_and_nonsense_is_not() {
        let subscribed: &[u8] = &[0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 0xff, 0xff, 0xff, 0xff];
        let topics = ["a".to_owned(), "b".to_owned()];
        assert_eq!(subscribed_topics(Bytes::copy_from_slice(subscribed)), Some(topics.to_vec()));
        assert_eq!(subscribed_topics(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff])), None);
        assert_eq!(subscribed_topics(Bytes::new()), None);
        // Version 1 has to say what the member has.
        assert_eq!(subscription(Bytes::copy_from_slice(subscribed)), None);
        let owned: &[u8] = &[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 7];
        let rest: &[u8] = &[0, 0, 0, 3, 0, 1, b'r'];
        let mut whole = [subscribed, owned, rest].concat();
        whole[1] = 3;
        let expected = Subscription {
            topics: topics.into(),
            owned: [("a".to_owned(), [7].into())].into(),
            rack_id: Some("r".to_owned()),
        };
        assert_eq!(subscription(Bytes::from(whole)), Some(expected));
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        let partitions: NamedPartitions = [("a".to_owned(), [0, 2].into())].into();
        let written = write_assignment(&partitions, &Bytes::from_static(&[0, 9])).unwrap();
        assert_eq!(&written[..], b"\0\x03\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff");
        assert_eq!(assignment(written), Some(partitions));
        assert_eq!(assignment(Bytes::new()), Some(NamedPartitions::new()));
        assert_eq!(assignment(Bytes::from_static(&[0, 0, 0, 0, 0, 9])), None);
    }
}
