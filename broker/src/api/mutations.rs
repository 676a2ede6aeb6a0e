//! The quota of partitions that a client makes or deletes (KIP-599), over the topics of one request. Knows no topic.

use super::Context;
use common::kafka::error::ErrorCode;

/// How the quota holds the client back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutations {
    is_strict: bool,
    wait_ms: u64,
}

impl Mutations {
    /// Of a request of the context's version; from `strict_from` on the client knows THROTTLING_QUOTA_EXCEEDED, and is
    /// refused instead of held back.
    pub(super) fn new(ctx: &Context<'_>, strict_from: i16) -> Mutations {
        Mutations { is_strict: ctx.version >= strict_from, wait_ms: 0 }
    }

    /// May the client make or delete so many partitions more?
    pub(super) fn take(&mut self, ctx: &Context<'_>, partitions: i32) -> Result<(), ErrorCode> {
        let outcome = ctx.may_mutate(u32::try_from(partitions).unwrap_or(1), self.is_strict);
        let (Ok(ms) | Err(ms)) = outcome;
        self.wait_ms = self.wait_ms.max(ms);
        outcome.map(|_| ()).map_err(|_| ErrorCode::ThrottlingQuotaExceeded)
    }

    /// `throttle_time_ms` of the response.
    pub(super) fn throttle_time_ms(self) -> i32 {
        i32::try_from(self.wait_ms).unwrap_or(i32::MAX)
    }
}
