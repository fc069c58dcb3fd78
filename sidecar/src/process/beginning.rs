//! The first moments of a process. A network policy lets a new pod through once it knows its address, a little after the pod has begun: that
//! something does not answer until then is no fault, and nobody is warned of it.

use std::fmt::Display;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;

/// Until then every policy should know a new pod.
const LETS_THROUGH: Duration = Duration::from_secs(15);

/// When a process began to reach for what is outside its pod.
#[derive(Clone, Copy, Debug)]
pub struct Beginning(Instant);

impl Beginning {
    /// It begins.
    #[must_use]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Logs what cannot be used, and why: as a warning, unless it may only not be let through to yet.
    pub fn tell(self, reason: Reason, error: &dyn Display, what: &str) {
        if self.explains(reason, Instant::now()) {
            tracing::info!(%reason, %error, "{what}");
        } else {
            tracing::warn!(%reason, %error, "{what}");
        }
    }

    fn explains(self, reason: Reason, now: Instant) -> bool {
        let is_silence = matches!(
            reason,
            Reason::SourceUnreachable | Reason::StoreUnreachable | Reason::TargetUnreachable
        );
        is_silence && now.saturating_duration_since(self.0) < LETS_THROUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silence_of_the_first_moments_is_no_warning() {
        let beginning = Beginning::now();
        let (soon, late) = (beginning.0 + LETS_THROUGH / 2, beginning.0 + LETS_THROUGH);
        assert!(beginning.explains(Reason::StoreUnreachable, soon));
        assert!(!beginning.explains(Reason::StoreUnreachable, late));
        // It has answered, and not as it must.
        assert!(!beginning.explains(Reason::StoreAccessDenied, soon));
    }
}
