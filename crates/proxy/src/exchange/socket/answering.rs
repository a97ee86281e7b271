//! From the upstream to the client. Frames pass as they come and are shown to the recorder of the
//! exchange that they answer; only the end of a terminal message waits until the closing is in
//! the spool. What this proxy has to say itself goes between messages.

mod timing;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;

use http::response::Parts;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use wire::websocket::{Follower, Forgets, Opcode, Part, Step, close, text};

use super::restoring::{Restoring, overdue};
use super::{Asked, BORDER, Buffer, Closing, Ended, Open, Side, WAITING, piece_size};
use crate::exchange::manner::Manner;
use crate::exchange::refusal::{Refusal, Word};
use crate::ledger::account::End;
use crate::ledger::recorder::Recorder;

/// RFC 6455 §7.4.1, and the registry of RFC 6455 §11.7 for 1012.
const POLICY: u16 = 1008;
const INTERNAL: u16 = 1011;
const RESTART: u16 = 1012;

/// The upstream's side of a socket.
pub(super) struct Answering<'a, W> {
    pub(super) manner: &'a Manner,
    /// The handshake's answer.
    pub(super) accepted: &'a Parts,
    pub(super) compresses: Option<Forgets>,
    pub(super) follower: Follower,
    pub(super) waiting: mpsc::Receiver<Asked>,
    /// What is under way, the one that is being answered first.
    pub(super) queue: VecDeque<Asked>,
    /// The exchange that ended last: what comes between two exchanges is kept with the first.
    pub(super) last: Option<Recorder>,
    pub(super) closing: &'a Closing,
    // Both are waited for all the time, and so made once.
    pub(super) interrupted: Waited<'a, Refusal>,
    pub(super) draining: Waited<'a, ()>,
    pub(super) state: State,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) last_sign: Instant,
    /// Frames of the message under way are kept until what stands in them is restored.
    pub(super) withholds: bool,
    pub(super) writer: W,
}

/// What may happen once while a socket is open.
pub(super) type Waited<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How the socket stands.
pub(super) enum State {
    Open,
    /// It is closed as soon as nothing is under way.
    Draining,
    /// It is closed as soon as no message is.
    Ending(Refusal),
}

/// What happens next.
enum Next {
    Asked(Asked),
    Bytes(usize),
    Drain,
    Interrupted(Refusal),
    /// Messages have waited long enough for those after them.
    Release,
    Due,
}

impl<W: AsyncWrite + Unpin> Answering<'_, W> {
    /// Reads until the upstream is gone, or the socket is closed from here.
    pub(super) async fn run(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Ended {
        self.go_on(from).await.unwrap_or(Ended::Client)
    }

    /// Ends what the socket leaves open.
    pub(super) async fn finish(&mut self, ended: &Ended) {
        let end = match ended {
            // Whoever closes first does not wait for an answer.
            Ended::Upstream if self.closing.is_clients() => End::Left,
            Ended::Upstream => End::Broken,
            Ended::Client | Ended::Here => End::Left,
            Ended::Cut(word) => End::Refused(*word),
        };
        self.end_all(end).await;
    }

    async fn go_on(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Ended> {
        let mut buffer = Buffer::new();
        loop {
            if self.follower.is_between_messages()
                && let Some(ended) = self.between().await?
            {
                return Ok(ended);
            }
            match self.next(from, &mut buffer).await {
                Next::Bytes(0) => return Ok(Ended::Upstream),
                Next::Bytes(length) => {
                    self.last_sign = Instant::now();
                    for piece in buffer.first(length).chunks(piece_size(self.compresses)) {
                        self.pass(piece).await?;
                    }
                    self.writer.flush().await?;
                    buffer.adapt(length);
                }
                Next::Asked(asked) => {
                    self.last_sign = Instant::now();
                    self.settle_unread().await;
                    self.queue.push_back(asked);
                }
                Next::Drain => self.state = State::Draining,
                Next::Interrupted(refusal) => self.end_with(refusal),
                Next::Release => {
                    let rest = self.rest();
                    self.writer.write_all(&rest).await?;
                    self.writer.flush().await?;
                }
                Next::Due => {
                    if let State::Ending(refusal) = &self.state {
                        return Ok(Ended::Cut(refusal.word()));
                    }
                    if self.last_sign.elapsed() >= self.manner.idle_timeout {
                        self.settle_unread().await;
                    }
                    self.look_at_the_time();
                }
            }
        }
    }

    async fn next(&mut self, from: &mut (impl AsyncRead + Unpin), buffer: &mut Buffer) -> Next {
        let is_open = matches!(self.state, State::Open);
        let is_ending = matches!(self.state, State::Ending(_));
        let restoring = match self.queue.front() {
            Some(Asked::Exchange(open)) => open.restoring.as_ref(),
            _ => None,
        };
        tokio::select! {
            biased;
            refusal = self.interrupted.as_mut(), if !is_ending => Next::Interrupted(refusal),
            () = self.draining.as_mut(), if is_open => Next::Drain,
            Some(asked) = self.waiting.recv(), if self.queue.len() < WAITING => Next::Asked(asked),
            // A broken connection is at its end as well.
            length = buffer.read(from) => Next::Bytes(length.unwrap_or(0)),
            () = overdue(restoring) => Next::Release,
            () = self.timer.as_mut() => Next::Due,
        }
    }

    /// Says what is to be said between two messages, and tells if that was the end.
    async fn between(&mut self) -> io::Result<Option<Ended>> {
        if let State::Ending(refusal) = &self.state {
            let refusal = refusal.clone();
            return self.farewell(&refusal).await.map(Some);
        }
        while !matches!(self.queue.front(), None | Some(Asked::Exchange(_))) {
            match self.queue.pop_front() {
                Some(Asked::Refused(refusal)) => self.tell(&refusal).await?,
                Some(Asked::End(code, reason)) => return self.close(code, reason).await.map(Some),
                Some(Asked::Exchange(_)) | None => {}
            }
        }
        let is_idle = self.queue.is_empty() && self.waiting.is_empty();
        if is_idle && matches!(self.state, State::Draining) {
            return self.close(RESTART, "This proxy is stopping.").await.map(Some);
        }
        Ok(None)
    }

    /// Passes bytes on and shows them to the recorder.
    async fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What is answered here was put into the queue before it went upstream.
        while self.queue.len() < WAITING
            && let Ok(asked) = self.waiting.try_recv()
        {
            self.queue.push_back(asked);
        }
        let now = self.last_sign.into_std();
        let (mut at, mut sent) = (0, 0);
        while at < bytes.len() {
            self.begin_frame();
            let Self { follower, queue, last, accepted, withholds, .. } = self;
            let step = follower.step(bytes.get(at..).unwrap_or_default(), &mut |data| match (
                queue.front_mut(),
                &mut *last,
            ) {
                (Some(Asked::Exchange(open)), _) => {
                    open.see(accepted, data, now);
                    if *withholds {
                        open.withhold(data);
                    }
                }
                (_, Some(last)) => last.late(data),
                (_, None) => {}
            });
            let withheld = self.withhold(&step);
            if withheld.is_some() {
                self.writer.write_all(bytes.get(sent..at).unwrap_or_default()).await?;
                sent = at + step.used;
            }
            let mut restored = self.restore(&step, withheld.unwrap_or_default());
            if step.ends_message() && self.ends_exchange() {
                self.writer.write_all(bytes.get(sent..at).unwrap_or_default()).await?;
                sent = sent.max(at);
                restored.extend(self.rest());
                self.end_answered().await?;
            }
            self.writer.write_all(&restored).await?;
            if step.ended.is_some_and(|head| head.opcode == Opcode::Close) {
                self.closing.begin(Side::Upstream);
                let end = if self.closing.is_clients() { End::Left } else { End::Broken };
                self.end_all(end).await;
            }
            at += step.used;
        }
        self.writer.write_all(bytes.get(sent..).unwrap_or_default()).await?;
        if let Some(Asked::Exchange(open)) = self.queue.front_mut()
            && !self.follower.is_readable()
        {
            open.recorder.is_unreadable();
        }
        self.keep_up(self.last_sign);
        Ok(())
    }

    /// Decides, where a message may begin, whether its frames are kept from the client until what
    /// stands in them is restored.
    fn begin_frame(&mut self) {
        if self.follower.is_between_messages() {
            let front = self.queue.front();
            self.withholds =
                matches!(front, Some(Asked::Exchange(open)) if open.restoring.is_some());
        }
    }

    /// Of frames that are withheld: the bytes that pass all the same, which are those of control
    /// frames. Nothing where frames pass as they come.
    fn withhold(&mut self, step: &Step) -> Option<Vec<u8>> {
        if !self.withholds {
            return None;
        }
        if let (Part::Head(head), Some(Asked::Exchange(open))) =
            (&step.part, self.queue.front_mut())
            && let Some(restoring) = &mut open.restoring
            && matches!(head.opcode, Opcode::Text | Opcode::Binary)
        {
            restoring.begin(head.opcode);
        }
        if !step.is_control {
            return Some(Vec::new());
        }
        // A control frame is short: it passes when it has ended.
        let ended = step.ended.as_ref();
        Some(ended.map(|head| [head.bytes(), self.follower.control()].concat()).unwrap_or_default())
    }

    /// What the client gets of withheld frames: control frames, and messages that have ended. Before
    /// the end of all, whatever still waits.
    fn restore(&mut self, step: &Step, passes: Vec<u8>) -> Vec<u8> {
        let closes = step.ended.is_some_and(|head| head.opcode == Opcode::Close);
        let Some(Asked::Exchange(open)) = self.queue.front_mut() else { return passes };
        match &mut open.restoring {
            Some(restoring) if closes => [restoring.rest(), passes].concat(),
            Some(restoring) if self.withholds && step.ends_message() => {
                [passes, restoring.end()].concat()
            }
            _ => passes,
        }
    }

    /// What still waits of the answer under way.
    fn rest(&mut self) -> Vec<u8> {
        let Some(Asked::Exchange(open)) = self.queue.front_mut() else { return Vec::new() };
        open.restoring.as_mut().map(Restoring::rest).unwrap_or_default()
    }

    /// Where answers cannot be read, nobody knows when one ends: at the next question, or after a
    /// silence. Failing to understand an answer never fails it.
    async fn settle_unread(&mut self) {
        if !self.follower.is_readable() {
            while let Some(Asked::Exchange(mut open)) = self.queue.pop_front() {
                let _ = open.recorder.end(End::Answered).await;
            }
        }
    }

    /// A message has ended; tells whether its exchange has.
    fn ends_exchange(&mut self) -> bool {
        match (self.queue.front_mut(), &mut self.last) {
            (Some(Asked::Exchange(open)), _) => {
                let is_terminal = open.recorder.message_ended(self.last_sign.into_std());
                is_terminal || (open.is_unsure && !open.recorder.is_answering())
            }
            (_, Some(last)) => {
                last.late(b"\n");
                false
            }
            (_, None) => false,
        }
    }

    /// What the client takes for complete is recorded before.
    async fn end_answered(&mut self) -> io::Result<()> {
        let Some(Asked::Exchange(open)) = self.queue.pop_front() else { return Ok(()) };
        let Open { mut recorder, .. } = *open;
        let written = recorder.end(End::Answered).await.is_ok();
        if !written && !recorder.proceeds_unwritten() {
            return Err(io::Error::other("the record cannot be written"));
        }
        self.last = Some(recorder);
        Ok(())
    }

    /// Ends what is under way, says why, and closes.
    async fn farewell(&mut self, refusal: &Refusal) -> io::Result<Ended> {
        let under_way = self.end_all(End::Refused(refusal.word())).await;
        if under_way > 0 {
            self.writer.write_all(&text(refusal.socket_message().as_bytes())).await?;
        }
        match refusal.word() {
            Word::KeyDisabled => self.close(POLICY, "This key was disabled or replaced.").await,
            Word::Busy => self.close(RESTART, "This proxy is stopping.").await,
            _ => self.close(INTERNAL, refusal.word().as_str()).await,
        }
    }

    /// Ends all exchanges under way; how many there were.
    async fn end_all(&mut self, end: End) -> usize {
        let mut ended = 0;
        // What is on its way to the queue was asked too, and nothing more is taken.
        self.waiting.close();
        let rest = self.rest();
        // Whoever is gone does not miss it.
        let _ = self.writer.write_all(&rest).await;
        while let Some(asked) = self.queue.pop_front().or_else(|| self.waiting.try_recv().ok()) {
            if let Asked::Exchange(mut open) = asked {
                let _ = open.recorder.end(end).await;
                ended += 1;
            }
        }
        ended
    }

    async fn tell(&mut self, refusal: &Refusal) -> io::Result<()> {
        let refusal = refusal.clone().with_contact(self.manner.contact.as_deref());
        self.writer.write_all(&text(refusal.socket_message().as_bytes())).await?;
        self.writer.flush().await
    }

    async fn close(&mut self, code: u16, reason: &str) -> io::Result<Ended> {
        self.writer.write_all(&close(code, reason)).await?;
        self.writer.flush().await?;
        Ok(Ended::Here)
    }
}

impl Open {
    fn see(&mut self, accepted: &Parts, data: &[u8], now: std::time::Instant) {
        self.recorder.answered_in_socket(accepted);
        self.recorder.see(data, now);
    }

    fn withhold(&mut self, data: &[u8]) {
        if let Some(restoring) = &mut self.restoring {
            restoring.take(data);
        }
    }
}
