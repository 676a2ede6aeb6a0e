//! Share sessions (KIP-932): which partitions a member of a share group reads here, so that a request names only what changed.
//! Reads nothing and answers nobody.

use crate::outbox::ConnectionId;
use std::collections::BTreeMap;
use thiserror::Error;
use uuid::Uuid;

/// Epoch of a request that begins a session.
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch of a request that ends one.
pub const FINAL_EPOCH: i32 = -1;

/// The epoch behind `epoch`: grows to the largest number and starts again with 1.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// Why a request cannot use the session that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShareSessionError {
    /// There is none.
    #[error("no such share session")]
    NotFound,
    /// A request was lost, repeated or overtaken.
    #[error("share session epoch is not the next one")]
    InvalidEpoch,
    /// There are as many as there may be.
    #[error("the limit of share sessions has been reached")]
    LimitReached,
    /// It would read more partitions than a session may.
    #[error("a share session of more partitions than there are")]
    TooManyPartitions,
    /// A request that begins a session cannot acknowledge anything.
    #[error("the first request of a share session acknowledges")]
    AcknowledgesAtFirst,
}

/// A partition as sessions name it.
pub type Place = (Uuid, i32);

/// A member of a group.
pub type Member = (String, String);

#[derive(Debug)]
struct Session {
    /// Tells it from those that the member had before.
    number: u64,
    epoch: i32,
    /// In the order in which they were named, and whether each is to be told of even if there is nothing to tell.
    places: BTreeMap<u64, (Place, bool)>,
    order: BTreeMap<Place, u64>,
    next: u64,
    connection: ConnectionId,
}

impl Session {
    fn add(&mut self, place: Place, must_tell: bool) {
        if !self.order.contains_key(&place) {
            self.order.insert(place, self.next);
            self.places.insert(self.next, (place, must_tell));
            self.next += 1;
        }
    }

    fn forget(&mut self, place: &Place) {
        if let Some(at) = self.order.remove(place) {
            self.places.remove(&at);
        }
    }
}

/// All share sessions of a broker.
#[derive(Debug)]
pub struct ShareSessions {
    most: usize,
    last_number: u64,
    sessions: BTreeMap<Member, Session>,
}

/// How a fetch relates to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It reads these; the session is to be at this epoch still when it is answered.
    Reads {
        /// All partitions of the session, in their order.
        places: Vec<Place>,
        /// The session goes on from before.
        continues: Option<i32>,
    },
    /// It ends the session of this number, and reads nothing.
    Ends(u64),
}

impl ShareSessions {
    /// At most `most` (`group.share.max.share.sessions`).
    pub fn new(most: usize) -> ShareSessions {
        ShareSessions { most, last_number: 0, sessions: BTreeMap::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// True if a member of the group has one.
    pub fn has_group(&self, group: &str) -> bool {
        let from = (group.to_owned(), String::new());
        self.sessions.range(from..).next().is_some_and(|((of, _), _)| of == group)
    }

    /// Takes the session part of a ShareFetch; a session grows to `most_places` at most.
    pub fn open(
        &mut self,
        member: &Member,
        epoch: i32,
        (wanted, forgotten): (Vec<Place>, Vec<Place>),
        (acknowledges, connection, most_places): (bool, ConnectionId, usize),
    ) -> Result<Opened, ShareSessionError> {
        match epoch {
            FINAL_EPOCH => {
                let session = self.sessions.get(member).ok_or(ShareSessionError::NotFound)?;
                Ok(Opened::Ends(session.number))
            }
            INITIAL_EPOCH if acknowledges => Err(ShareSessionError::AcknowledgesAtFirst),
            INITIAL_EPOCH => {
                if wanted.len() > most_places {
                    return Err(ShareSessionError::TooManyPartitions);
                }
                self.sessions.remove(member);
                if self.sessions.len() >= self.most {
                    return Err(ShareSessionError::LimitReached);
                }
                self.last_number += 1;
                let mut session = Session {
                    number: self.last_number,
                    epoch: next_epoch(INITIAL_EPOCH),
                    places: BTreeMap::new(),
                    order: BTreeMap::new(),
                    next: 0,
                    connection,
                };
                wanted.into_iter().for_each(|place| session.add(place, false));
                let places = session.places.values().map(|(place, _)| *place).collect();
                self.sessions.insert(member.clone(), session);
                Ok(Opened::Reads { places, continues: None })
            }
            epoch => {
                let session = self.sessions.get_mut(member).ok_or(ShareSessionError::NotFound)?;
                if session.epoch != epoch {
                    return Err(ShareSessionError::InvalidEpoch);
                }
                let is_more = wanted.iter().any(|place| !session.order.contains_key(place));
                let kept = session.order.len().saturating_sub(forgotten.len());
                if is_more && kept + wanted.len() > most_places {
                    return Err(ShareSessionError::TooManyPartitions);
                }
                wanted.into_iter().for_each(|place| session.add(place, true));
                forgotten.iter().for_each(|place| session.forget(place));
                session.epoch = next_epoch(epoch);
                let places = session.places.values().map(|(place, _)| *place).collect();
                Ok(Opened::Reads { places, continues: Some(session.epoch) })
            }
        }
    }

    /// Takes the session part of a ShareAcknowledge; the session's number if it ends.
    pub fn acknowledge(&mut self, member: &Member, epoch: i32) -> Result<Option<u64>, ShareSessionError> {
        if epoch == INITIAL_EPOCH {
            return Err(ShareSessionError::InvalidEpoch);
        }
        let session = self.sessions.get_mut(member).ok_or(ShareSessionError::NotFound)?;
        if epoch == FINAL_EPOCH {
            return Ok(Some(session.number));
        }
        if session.epoch != epoch {
            return Err(ShareSessionError::InvalidEpoch);
        }
        session.epoch = next_epoch(epoch);
        Ok(None)
    }

    /// A fetch is answered: which of the partitions are told of. `answers` says of each if it has records, and if it is an
    /// error.
    pub fn tell(
        &mut self,
        member: &Member,
        continues: Option<i32>,
        answers: &[(Place, bool, bool)],
    ) -> Result<Vec<bool>, ShareSessionError> {
        let Some(epoch) = continues else { return Ok(vec![true; answers.len()]) };
        let session = self.sessions.get_mut(member).filter(|session| session.epoch == epoch);
        let session = session.ok_or(ShareSessionError::InvalidEpoch)?;
        let mut told = Vec::with_capacity(answers.len());
        for (place, has_records, is_error) in answers {
            let at = session.order.get(place).copied();
            let must_tell = at.and_then(|at| session.places.get_mut(&at)).is_some_and(|(_, must_tell)| {
                let before = *must_tell;
                *must_tell = *is_error;
                before
            });
            told.push(*has_records || *is_error || must_tell);
            if *has_records && at.is_some() {
                // Behind those that got none, so that none starves.
                session.forget(place);
                session.add(*place, false);
            }
        }
        Ok(told)
    }

    /// The session of this number ends, and not another one that the member has begun since; true if it was there.
    pub fn remove(&mut self, member: &Member, number: u64) -> bool {
        let is_there = self.sessions.get(member).is_some_and(|session| session.number == number);
        is_there && self.sessions.remove(member).is_some()
    }

    /// The members whose sessions came by a connection, and the sessions' numbers.
    pub fn of_connection(&self, connection: ConnectionId) -> Vec<(Member, u64)> {
        let is_its = |session: &Session| session.connection == connection;
        let its = self.sessions.iter().filter(|(_, session)| is_its(session));
        its.map(|(member, session)| (member.clone(), session.number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ShareSessionError::{AcknowledgesAtFirst, InvalidEpoch, LimitReached, NotFound, TooManyPartitions};

    const CONNECTION: ConnectionId = ConnectionId(1);

    fn place(partition: i32) -> Place {
        (Uuid::from_u128(1), partition)
    }

    fn member(name: &str) -> Member {
        ("g".to_owned(), name.to_owned())
    }

    fn places(numbers: &[i32]) -> Vec<Place> {
        numbers.iter().map(|number| place(*number)).collect()
    }

    #[test]
    fn sessions_begin_go_on_and_end() {
        let mut sessions = ShareSessions::new(2);
        // Member, epoch, wanted, forgotten, whether it acknowledges, and what comes of it.
        let reads = |numbers: &[i32], continues| Ok(Opened::Reads { places: places(numbers), continues });
        for (name, epoch, wanted, forgotten, acknowledges, expected) in [
            ("a", 1, &[][..], &[][..], false, Err(NotFound)),
            ("a", FINAL_EPOCH, &[], &[], false, Err(NotFound)),
            ("a", 0, &[0, 1], &[], true, Err(AcknowledgesAtFirst)),
            ("a", 0, &[1, 0], &[], false, reads(&[1, 0], None)),
            ("a", 1, &[2], &[1], true, reads(&[0, 2], Some(2))),
            ("a", 1, &[], &[], false, Err(InvalidEpoch)),
            ("a", 2, &[3, 4], &[], false, Err(TooManyPartitions)),
            ("a", 2, &[], &[], false, reads(&[0, 2], Some(3))),
            ("b", 0, &[], &[], false, reads(&[], None)),
            ("c", 0, &[], &[], false, Err(LimitReached)),
            ("c", 0, &[0, 1, 2, 3], &[], false, Err(TooManyPartitions)),
            ("a", 0, &[7], &[], false, reads(&[7], None)),
            ("a", FINAL_EPOCH, &[], &[], true, Ok(Opened::Ends(3))),
        ] {
            let asked = (places(wanted), places(forgotten));
            let came = sessions.open(&member(name), epoch, asked, (acknowledges, CONNECTION, 3));
            assert_eq!(came, expected, "{name} {epoch}");
        }
        assert_eq!(sessions.acknowledge(&member("a"), 0), Err(InvalidEpoch));
        assert_eq!(sessions.acknowledge(&member("a"), 1), Ok(None));
        assert_eq!(sessions.acknowledge(&member("a"), 1), Err(InvalidEpoch));
        assert_eq!(sessions.acknowledge(&member("a"), FINAL_EPOCH), Ok(Some(3)));
        assert_eq!(sessions.acknowledge(&member("c"), 1), Err(NotFound));
        assert_eq!(sessions.of_connection(CONNECTION).len(), 2);
        for (number, expected) in [(1, false), (3, true), (3, false)] {
            assert_eq!(sessions.remove(&member("a"), number), expected, "{number}");
        }
        assert!(sessions.has_group("g") && !sessions.has_group("f") && !sessions.has_group("h"));
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut sessions = ShareSessions::new(2);
        let a = member("a");
        let open = |sessions: &mut ShareSessions, epoch, wanted: &[i32]| {
            sessions.open(&a, epoch, (places(wanted), Vec::new()), (false, CONNECTION, 3)).unwrap()
        };
        open(&mut sessions, 0, &[0, 1]);
        let nothing = [(place(0), false, false), (place(1), false, false)];
        assert_eq!(sessions.tell(&a, None, &nothing), Ok(vec![true, true]));
        assert_eq!(sessions.tell(&a, Some(1), &nothing), Ok(vec![false, false]));
        let some = [(place(0), true, false), (place(1), false, true)];
        assert_eq!(sessions.tell(&a, Some(1), &some), Ok(vec![true, true]));
        // That an error is over is told.
        assert_eq!(sessions.tell(&a, Some(1), &nothing), Ok(vec![false, true]));
        assert_eq!(sessions.tell(&a, Some(1), &nothing), Ok(vec![false, false]));
        assert_eq!(open(&mut sessions, 1, &[2]), Opened::Reads { places: places(&[1, 0, 2]), continues: Some(2) });
        assert_eq!(sessions.tell(&a, Some(1), &nothing), Err(InvalidEpoch));
        assert_eq!(sessions.tell(&a, Some(2), &[(place(2), false, false)]), Ok(vec![true]));
    }
}
