//! What is a matter of time while a socket answers: silence, an end from here, and how long collected
//! bytes wait for the spool.

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::{Answering, Asked, BORDER, State};
use crate::exchange::refusal::{Refusal, Word};

impl<W: AsyncWrite + Unpin> Answering<'_, W> {
    /// Ends the socket from here, as soon as the message under way is over.
    pub(super) fn end_with(&mut self, refusal: Refusal) {
        self.state = State::Ending(refusal.with_contact(self.manner.contact.as_deref()));
        self.timer.as_mut().reset(Instant::now() + BORDER);
    }

    /// The timer is not set anew with each piece, which would cost more than this look.
    pub(super) fn look_at_the_time(&mut self) {
        let (now, due) = (Instant::now(), self.last_sign + self.manner.idle_timeout);
        if self.queue.is_empty() {
            self.timer.as_mut().reset(now + self.manner.idle_timeout);
        } else if now < due {
            self.timer.as_mut().reset(due);
            self.keep_up(now);
        } else {
            let limit = humantime::format_duration(self.manner.idle_timeout);
            let message = format!("The upstream has sent nothing for {limit}.");
            self.end_with(Refusal::new(Word::UpstreamTimeout, message));
        }
    }

    /// Brings to the spool what was collected of the answer, where it is many bytes or old, and sees
    /// to it that this is looked at again in time.
    pub(super) fn keep_up(&mut self, now: Instant) {
        let Some(Asked::Exchange(open)) = self.queue.front_mut() else { return };
        open.recorder.keep_up(now.into_std());
        let Some(due) = open.recorder.due().map(Instant::from_std) else { return };
        if self.timer.deadline() > due && !matches!(self.state, State::Ending(_)) {
            self.timer.as_mut().reset(due);
        }
    }
}
