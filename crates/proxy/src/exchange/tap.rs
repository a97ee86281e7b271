//! The answer on its way to the client: it passes unchanged and as it comes, and is shown to the
//! recorder. Only its terminal unit waits until the closing is in the spool.

mod hold;
mod waiting;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use archive::spool::Unwritable;
use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use wire::meter::Shape;

use super::endpoint::Operation;
use super::limit::Permit;
use super::manner::Manner;
use super::refusal::Refusal;
use super::restored::Restored;
use super::upstream::body::UpstreamBody;
use super::upstream::{Answer, BoxError};
use crate::ledger::account::End;
use crate::ledger::recorder::{Closed, Recorder};
use hold::{Hold, reading};

/// The body of an answer.
pub enum Body {
    /// One of ours.
    Whole(Full<Bytes>),
    /// The upstream's.
    Tapped(Box<Tap>),
    /// The upstream's, with values in the place of masks.
    Restored(Box<Restored>),
}

/// The upstream's body while it passes.
pub struct Tap {
    upstream: UpstreamBody,
    /// How long the body is, as far as that is known before anything is taken of it.
    length: SizeHint,
    recorder: Recorder,
    permit: Permit,
    /// How a refusal is put into the stream; none where that cannot be.
    event: Option<fn(&Refusal) -> String>,
    hold: Hold,
    stage: Stage,
    /// Frames that may go.
    ready: VecDeque<Frame<Bytes>>,
    /// The terminal unit.
    held: VecDeque<Frame<Bytes>>,
    /// What ends it from our side. Like the timer, made when the upstream is first waited for: most
    /// answers that are no streams are here whole.
    interrupted: Option<Pin<Box<dyn Future<Output = Refusal> + Send>>>,
    timer: Option<Pin<Box<Sleep>>>,
    manner: Arc<Manner>,
    last_piece: Instant,
}

enum Stage {
    /// Frames pass.
    Passing,
    /// The terminal unit is here; the end of the stream is awaited a moment.
    Lingering,
    /// The closing is on its way to the spool.
    Closing(Closed, After),
    /// The record is closed, and yet the upstream goes on.
    Trailing,
    /// First what was given to hyper leaves: at an error it would throw that away.
    Breaking(Option<BoxError>),
    /// To the client the body breaks off.
    Broken(Option<BoxError>),
    /// Nothing more.
    Over,
}

/// What follows once the record is closed.
enum After {
    Trail,
    Over,
    Break(BoxError),
}

impl Tap {
    /// Taps an answer.
    pub async fn on(
        answer: Answer,
        mut recorder: Recorder,
        operation: Operation,
        manner: Arc<Manner>,
    ) -> Result<Response<Body>, Refusal> {
        let (head, upstream) = answer.response.into_parts();
        let (shape, hold, transport) = reading(operation, recorder.expected(), &head);
        // Into coded bytes nothing can be put.
        let coded = head.headers.contains_key(header::CONTENT_ENCODING);
        let event: Option<fn(&Refusal) -> String> = match shape {
            Shape::ResponsesEvents if !coded => Some(Refusal::responses_event),
            Shape::ChatEvents if !coded => Some(Refusal::chat_event),
            _ => None,
        };
        recorder.answered(&head, shape, transport);
        if upstream.is_end_stream() {
            // Nothing will be polled, so that the end is now.
            let closed = recorder.end(End::Answered).await;
            if closed.is_err() && !recorder.proceeds_unwritten() {
                return Err(Refusal::busy("No record can be written at the moment."));
            }
            return Ok(Response::from_parts(head, Body::Whole(Full::default())));
        }
        let mut tap = Box::new(Self {
            length: upstream.size_hint(),
            upstream,
            recorder,
            permit: answer.permit,
            event,
            hold,
            stage: Stage::Passing,
            ready: VecDeque::new(),
            held: VecDeque::new(),
            interrupted: None,
            timer: None,
            manner,
            last_piece: Instant::now(),
        });
        poll_fn(|cx| tap.poll_first(cx)).await;
        Ok(Response::from_parts(head, Body::Tapped(tap)))
    }

    /// Takes what came with the head, so that it leaves with it, in one write. An answer that is here
    /// whole ends before it leaves.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ready.is_empty() {
            match &mut self.stage {
                Stage::Passing | Stage::Lingering => {
                    // What is not here yet is no reason for the head to wait.
                    let Poll::Ready(()) = self.poll_upstream(cx) else { break };
                }
                Stage::Closing(closed, _) => {
                    let written = ready!(Pin::new(closed).poll(cx));
                    self.closed(written);
                }
                // Else it would leave as a body of another kind: one of known length.
                Stage::Over => self.ready.push_back(Frame::data(Bytes::new())),
                Stage::Trailing | Stage::Breaking(_) | Stage::Broken(_) => break,
            }
        }
        Poll::Ready(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut self.stage {
                Stage::Passing | Stage::Lingering => ready!(self.poll_upstream(cx)),
                Stage::Closing(closed, _) => {
                    let written = ready!(Pin::new(closed).poll(cx));
                    self.closed(written);
                }
                Stage::Trailing => ready!(self.poll_trailing(cx)),
                Stage::Breaking(error) => {
                    self.stage = Stage::Broken(error.take());
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Broken(error) => return Poll::Ready(error.take().map(Err)),
                Stage::Over => return Poll::Ready(None),
            }
        }
    }

    /// One step with the upstream; ready means that something has changed.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What lingers has ended already: only its record is awaited. Looked at each time, since an
        // upstream that is ahead of its client is never waited for.
        if let Stage::Passing = self.stage
            && let Some(refusal) = self.manner.interruption(&self.permit.principal().live.ended)
        {
            self.cut_in(refusal);
            return Poll::Ready(());
        }
        match Pin::new(&mut self.upstream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.last_piece = Instant::now();
                self.recorder.keep_up(self.last_piece.into_std());
                self.take(frame);
            }
            Poll::Ready(Some(Err(error))) => {
                let whole = matches!(self.stage, Stage::Lingering);
                let end = if whole { End::Answered } else { End::Broken };
                self.end(end, After::Break(error.into()));
            }
            Poll::Ready(None) => self.end(End::Answered, After::Over),
            Poll::Pending => return self.poll_waiting(cx),
        }
        Poll::Ready(())
    }

    /// Shows a frame to the recorder, and lets go or holds it.
    fn take(&mut self, frame: Frame<Bytes>) {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            // Trailers come last: they wait with what is held.
            Err(trailers) => return self.held.push_back(trailers),
        };
        let terminal = self.recorder.see(&data, self.last_piece.into_std());
        if let Stage::Lingering = self.stage {
            return self.held.push_back(Frame::data(data));
        }
        match &mut self.hold {
            Hold::End => self.ready.push_back(Frame::data(data)),
            Hold::Event => match terminal {
                None => self.ready.push_back(Frame::data(data)),
                Some(at) => {
                    let last = data.split_off(at.min(data.len()));
                    self.let_go(data);
                    self.linger(last);
                }
            },
            Hold::Length(left) => {
                *left = left.saturating_sub(data.len() as u64);
                if *left > 0 { self.ready.push_back(Frame::data(data)) } else { self.linger(data) }
            }
            Hold::LastByte => {
                let last = data.split_off(data.len().saturating_sub(1));
                self.ready.append(&mut self.held);
                self.let_go(data);
                self.held.push_back(Frame::data(last));
            }
        }
    }

    fn let_go(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.ready.push_back(Frame::data(data));
        }
    }

    fn linger(&mut self, last: Bytes) {
        self.held.push_back(Frame::data(last));
        self.stage = Stage::Lingering;
    }

    fn end(&mut self, end: End, after: After) {
        self.stage = Stage::Closing(self.recorder.end(end), after);
    }

    /// Ends the answer from our side: with an event where the client reads events, else by
    /// breaking off.
    fn cut_in(&mut self, refusal: Refusal) {
        let refusal = refusal.with_contact(self.manner.contact.as_deref());
        self.held.clear();
        let Some(event) = self.event else {
            let broken = After::Break(refusal.word().as_str().into());
            return self.end(End::Refused(refusal.word()), broken);
        };
        // A half event is ended by a blank line; what is held of it has not been sent.
        let half = if self.recorder.mid_event() { "\n\n" } else { "" };
        self.held.push_back(Frame::data((half.to_owned() + &event(&refusal)).into()));
        self.end(End::Refused(refusal.word()), After::Over);
    }

    /// The closing is written, or cannot be.
    fn closed(&mut self, written: Result<(), Unwritable>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Closing(_, after) = stage else { return };
        if written.is_err() && !self.recorder.proceeds_unwritten() {
            // What is complete is recorded: so this is not complete.
            self.stage = Stage::Breaking(Some("the record cannot be written".into()));
            return;
        }
        self.ready.append(&mut self.held);
        self.stage = match after {
            After::Over => Stage::Over,
            After::Trail => {
                self.set_timer(Instant::now() + self.manner.idle_timeout);
                Stage::Trailing
            }
            After::Break(error) => Stage::Breaking(Some(error)),
        };
    }

    fn poll_trailing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let frame = match Pin::new(&mut self.upstream).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            // Its record is closed: neither a dead key nor a silent upstream keeps it open.
            Poll::Pending => {
                let interrupted = self.poll_interrupted(cx).is_ready();
                let silent = self.poll_timer(cx).is_ready();
                if !interrupted && !silent {
                    return Poll::Pending;
                }
                None
            }
        };
        self.set_timer(Instant::now() + self.manner.idle_timeout);
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.recorder.late(data);
                }
                self.ready.push_back(frame);
            }
            Some(Err(error)) => self.stage = Stage::Breaking(Some(error.into())),
            None => self.stage = Stage::Over,
        }
        Poll::Ready(())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Tapped(tap) => tap.poll(cx),
            Self::Restored(restored) => restored.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Tapped(tap) => matches!(tap.stage, Stage::Over) && tap.ready.is_empty(),
            Self::Restored(restored) => restored.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Tapped(tap) => tap.length,
            Self::Restored(_) => SizeHint::default(),
        }
    }
}
