//! What the five requests to the share coordinator have in common: each names share partitions of one group, and each of
//! these gets its own answer. Answered when all have theirs.

use super::Context;
use crate::broker::Broker;
use crate::gathered::Gathered;
use crate::share::{ShareKey, ShareStateError, StateReply, StateRequest};
use common::kafka::error::ErrorCode;
use std::sync::Arc;
use uuid::Uuid;

/// One share partition's part of a request: topic, partition, and what is asked.
pub(super) type Asked = (Uuid, i32, StateRequest);
/// Its answer: topic, partition, and what the coordinator says.
pub(super) type Answered = (Uuid, i32, Result<StateReply, ShareStateError>);

/// Asks this broker's coordinator; `then` gets the answers in the order of the questions, perhaps before this returns. It
/// must not call a machine.
pub(super) fn ask(
    ctx: &Context<'_>,
    group: &str,
    asked: Vec<Asked>,
    then: impl FnOnce(Vec<Answered>) + Send + 'static,
) {
    if asked.is_empty() {
        return then(Vec::new());
    }
    let broker: &Arc<Broker> = ctx.broker;
    let initial: Vec<Answered> = asked
        .iter()
        .map(|(topic_id, partition, _)| (*topic_id, *partition, Err(ShareStateError::NotAvailable)))
        .collect();
    let gathered = Gathered::new(initial, asked.len(), then);
    broker.with_share_states(ctx.now, |states, io| {
        for (slot, (topic_id, partition, request)) in asked.into_iter().enumerate() {
            let gathered = gathered.clone();
            let waiter = move |result| gathered.put(|answers: &mut Vec<Answered>| answers[slot].2 = result);
            let key = ShareKey { group: group.to_owned(), topic_id, partition };
            states.handle(key, request, Box::new(waiter), io);
        }
    });
}

/// Answers by topic, in the order in which topics were named; a topic that was named twice in a row is told once.
pub(super) fn by_topic<T>(answers: Vec<Answered>, one: impl Fn(Answered) -> T) -> Vec<(Uuid, Vec<T>)> {
    let mut topics: Vec<(Uuid, Vec<T>)> = Vec::new();
    for answer in answers {
        let topic_id = answer.0;
        let answer = one(answer);
        match topics.last_mut() {
            Some((last, partitions)) if *last == topic_id => partitions.push(answer),
            _ => topics.push((topic_id, vec![answer])),
        }
    }
    topics
}

/// Code and text of an error; nothing if there is none.
pub(super) fn told(result: &Result<StateReply, ShareStateError>) -> (i16, Option<String>) {
    match result {
        Ok(_) => (ErrorCode::None.code(), None),
        Err(error) => {
            let code = ErrorCode::from(*error);
            let text = match error {
                ShareStateError::ReadUninitialized | ShareStateError::WriteUninitialized => error.to_string(),
                _ => code.message().to_owned(),
            };
            (code.code(), Some(text))
        }
    }
}

/// The answer to who may not ask.
pub(super) fn refused(code: ErrorCode) -> (i16, Option<String>) {
    (code.code(), Some(code.message().to_owned()))
}
