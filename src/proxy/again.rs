//! Whether a request may be sent again (contract.md 4 "Retries", security.md 31): at most once for each reason, and never a
//! POST that may have been processed.

use http::Method;

use super::upload::UploadBody;
use crate::telemetry::{Retries, Retry};
use crate::upstream::{Freshness, Progress, SendError, SendFault};

/// Whether a request may be sent again.
pub(super) struct Again {
    pub(super) idempotent: bool,
    empty: bool,
    pub(super) made: Retries,
}

impl Again {
    /// Doing it twice is doing it once (RFC 9110 9.2.2), by the method that is carried out.
    pub(super) fn of(effective: &Method, body: &UploadBody) -> Self {
        let empty = matches!(body, UploadBody::Empty);
        Self { idempotent: effective.is_idempotent(), empty, made: Retries::default() }
    }

    /// What cannot be sent again takes a connection that is known to live.
    pub(super) fn freshness(&self) -> Freshness {
        if self.idempotent && self.empty { Freshness::Pooled } else { Freshness::Proven }
    }

    /// Why it may be sent again after an exchange that failed: once, whichever way connections fail.
    pub(super) fn after_failure<B>(&self, error: &SendError<B>) -> Option<Retry> {
        let retry = match error.fault {
            SendFault::Refused => Retry::Refused,
            SendFault::Closed(_) if error.reused => Retry::Closed,
            _ => return None,
        };
        let failed_before = self.made.contains(Retry::Refused) || self.made.contains(Retry::Closed);
        (!failed_before && self.is_safe_after(error.progress)).then_some(retry)
    }

    fn is_safe_after(&self, progress: Progress) -> bool {
        match progress {
            Progress::Nothing => true,
            Progress::Written => self.idempotent,
            Progress::Answered => false,
        }
    }
}
