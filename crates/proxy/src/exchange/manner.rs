//! How answers are brought to an end that the upstream does not give them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;

/// How answers are tapped.
#[derive(Debug)]
pub struct Manner {
    /// Longest silence of an upstream in the middle of an answer.
    pub idle_timeout: Duration,
    /// Whom a refusal tells the developer to ask.
    pub contact: Option<String>,
    /// Fires when the gateway begins to end: what waits for its client's next word is closed.
    pub draining: CancellationToken,
    /// Fires when the gateway ends and cuts what is still open.
    pub closing: CancellationToken,
}

impl Manner {
    /// What ends an exchange from our side by now, its key or the gateway, if anything does.
    pub fn interruption(&self, key_ended: &CancellationToken) -> Option<Refusal> {
        if key_ended.is_cancelled() {
            return Some(Refusal::key_ended());
        }
        self.closing.is_cancelled().then(stopping)
    }

    /// Waits for that.
    pub async fn interrupted(&self, key_ended: &CancellationToken) -> Refusal {
        tokio::select! {
            biased;
            () = key_ended.cancelled() => Refusal::key_ended(),
            () = self.closing.cancelled() => stopping(),
        }
    }
}

fn stopping() -> Refusal {
    Refusal::busy("This proxy is stopping.")
}
