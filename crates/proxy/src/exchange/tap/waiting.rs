//! What may happen while the upstream is waited for: an interruption, a silence, and the end of what
//! lingers.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::{After, Stage, Tap};
use crate::exchange::refusal::{Refusal, Word};
use crate::ledger::account::End;

/// How long the terminal event waits for the end of the stream, so that what little comes after it
/// is recorded with it.
const LINGER: Duration = Duration::from_millis(20);

impl Tap {
    /// Looks what may end the answer while the upstream is waited for.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::Lingering = self.stage {
            ready!(self.poll_lingering(cx));
            self.end(End::Answered, After::Trail);
        } else if let Poll::Ready(refusal) = self.poll_interrupted(cx) {
            self.cut_in(refusal);
        } else {
            ready!(self.poll_silence(cx));
        }
        Poll::Ready(())
    }

    pub(super) fn poll_interrupted(&mut self, cx: &mut Context<'_>) -> Poll<Refusal> {
        let interrupted = self.interrupted.get_or_insert_with(|| {
            let manner = self.manner.clone();
            let key_ended = self.permit.principal().live.ended.clone();
            Box::pin(async move { manner.interrupted(&key_ended).await })
        });
        interrupted.as_mut().poll(cx)
    }

    fn poll_lingering(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Set here, since most answers end with their last piece: a nearer time wakes the driver.
        self.wake_by(self.last_piece + LINGER);
        self.poll_timer(cx)
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let silent = self.last_piece + self.manner.idle_timeout;
        let flush = self.recorder.due().map(Instant::from_std);
        self.wake_by(flush.map_or(silent, |flush| flush.min(silent)));
        ready!(self.poll_timer(cx));
        self.timer = None;
        // The timer is not set anew with each piece, which would cost more than this look.
        let now = Instant::now();
        self.recorder.keep_up(now.into_std());
        if now >= silent {
            let limit = humantime::format_duration(self.manner.idle_timeout);
            let message = format!("The upstream has sent nothing for {limit}.");
            self.cut_in(Refusal::new(Word::UpstreamTimeout, message));
        }
        Poll::Ready(())
    }

    fn wake_by(&mut self, at: Instant) {
        if self.timer.as_ref().is_none_or(|timer| timer.deadline() > at) {
            self.set_timer(at);
        }
    }

    pub(super) fn set_timer(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Ready at the time that was set; never where none was.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
}
