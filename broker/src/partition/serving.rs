//! A whole fetch request: session, partitions, waiting, and what belongs into the answer. Knows no wire format.

use super::fetch_session::{FetchKey, FetchSessions, SessionError, SessionRequest, Summary, Target};
use super::*;

/// Which topics there are, as far as this broker was told.
pub trait Topics {
    /// The name of a topic id.
    fn name(&self, id: &Uuid) -> Option<Arc<str>>;
    /// True if there is such a partition, wherever it is.
    fn contains(&self, topic: &str, partition: i32) -> bool;
    /// May who asks follow, if it says that it does?
    fn may_follow(&self) -> bool {
        true
    }
    /// May who asks read it?
    fn may_read(&self, topic: &str) -> bool {
        let _ = topic;
        true
    }
}

/// A fetch request.
pub struct FetchOrder {
    /// What holds for all its partitions.
    pub params: FetchParams,
    /// Its partitions, or what is new of them.
    pub session: SessionRequest,
}

/// One partition of the answer.
pub struct FetchPiece {
    /// As the fetcher names it.
    pub key: FetchKey,
    /// The topic's name if it is known.
    pub topic: Option<Arc<str>>,
    /// What was read, or why not.
    pub outcome: Result<FetchData, PieceError>,
}

/// Why a partition of a fetch has no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PieceError {
    /// No topic has this id.
    #[error("unknown topic id")]
    UnknownTopicId,
    /// Who asks may not read it.
    #[error("not permitted")]
    Forbidden,
    /// It cannot be read here.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The answer to a fetch request.
pub struct FetchReply {
    /// Session id; 0 without a session.
    pub session_id: i32,
    /// What is to be told, partition by partition.
    pub pieces: Vec<FetchPiece>,
}

/// What a fetch ends in.
pub type FetchResult = Result<FetchReply, SessionError>;

impl Replicas {
    /// Serves a fetch. Gives the answer if it is due now; otherwise `done` makes the closure that will get it.
    pub fn serve_fetch(
        &self,
        order: FetchOrder,
        topics: &dyn Topics,
        done: impl FnOnce() -> Box<dyn FnOnce(FetchResult) + Send>,
        (now, effects): (Now, &mut Vec<Effect>),
    ) -> Option<FetchResult> {
        let context = match self.sessions.open(order.session, now.mono) {
            Ok(context) => context,
            Err(error) => return Some(Err(error)),
        };
        if let Some(standing) = context.standing() {
            // A follower that waits for more than the next record must have it counted.
            if order.params.replica.is_some() && order.params.min_bytes <= 1 && topics.may_follow() {
                return self.serve_standing((&standing, context, order.params), topics, done, (now, effects));
            }
            context.wake_all();
        }
        let mut parts = Vec::new();
        let mut known: Vec<Target> = Vec::new();
        let mut unknown: Vec<FetchPiece> = Vec::new();
        for target in context.targets(|id| topics.name(id)) {
            let error = match &target.topic {
                None => PieceError::UnknownTopicId,
                Some(topic) if !topics.may_read(topic) => PieceError::Forbidden,
                Some(topic) if !topics.contains(topic, target.key.partition) => ReadError::UnknownPartition.into(),
                Some(topic) => {
                    let topic_id = match target.key.topic {
                        fetch_session::TopicKey::Id(id) => id,
                        fetch_session::TopicKey::Name(_) => Uuid::nil(),
                    };
                    let (topic, partition) = (topic.clone(), target.key.partition);
                    parts.push(FetchPart { topic, topic_id, partition, wanted: target.wanted });
                    known.push(target);
                    continue;
                }
            };
            unknown.push(FetchPiece { key: target.key, topic: target.topic, outcome: Err(error) });
        }
        let sessions = self.sessions.clone();
        let mut finish = Some(move |outcomes: Vec<FetchOutcome>| {
            let mut pieces: Vec<FetchPiece> = known
                .into_iter()
                .zip(outcomes)
                .map(|(target, outcome)| FetchPiece {
                    key: target.key,
                    topic: target.topic,
                    outcome: outcome.map_err(PieceError::from),
                })
                .collect();
            pieces.extend(unknown);
            finish(&sessions, context, pieces, now.mono)
        });
        let taken = "called once: here or when the fetch is parked";
        let parked = || {
            let finish = finish.take().expect(taken);
            let done = done();
            Box::new(move |outcomes| done(finish(outcomes))) as waiting::Done<FetchOutcome>
        };
        let outcomes = self.fetch(FetchCall { params: order.params, parts }, parked, now, effects)?;
        let finish = finish.take().expect(taken);
        Some(finish(outcomes))
    }
}

pub(super) fn finish(
    sessions: &FetchSessions,
    context: fetch_session::FetchContext,
    pieces: Vec<FetchPiece>,
    now: Millis,
) -> FetchResult {
    let summaries: Vec<(FetchKey, Summary)> =
        pieces.iter().map(|piece| (piece.key.clone(), summary(&piece.outcome))).collect();
    let (session_id, told) = sessions.finish(context, &summaries, now)?;
    let pieces = pieces.into_iter().zip(told).filter(|(_, told)| *told).map(|(piece, _)| piece).collect();
    Ok(FetchReply { session_id, pieces })
}

fn summary(outcome: &Result<FetchData, PieceError>) -> Summary {
    match outcome {
        Ok(data) => Summary {
            records_bytes: data.records.len(),
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
            must_tell: data.diverging.is_some() || data.preferred_replica.is_some(),
            is_error: false,
        },
        Err(_) => Summary { high_watermark: -1, log_start_offset: -1, is_error: true, ..Summary::default() },
    }
}
