//! Bodies that are played from a list of steps: what to send, when to wait, where to break.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
    vec,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{
    directive::LONGEST,
    event::{self, Event},
    script::delivery::{Delivery, Quirk, Stop},
};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing for a while.
    Wait(Duration),
    /// One frame.
    Send(Bytes),
    /// The connection breaks.
    Break,
}

/// Time for the server to write out what it was given before the connection breaks.
const FLUSH: Duration = Duration::from_millis(5);

/// Plans a stream of server-sent events.
pub(crate) fn plan(events: &[Event], delivery: &Delivery, pace: Duration) -> Vec<Step> {
    let frames = events.iter().map(|event| event.frame(delivery)).collect();
    plan_frames(frames, |text| event::comment(text, delivery), delivery, pace)
}

/// Plans a stream of events, each framed already; and how to frame a comment.
pub(crate) fn plan_frames(
    frames: Vec<Bytes>,
    comment: impl Fn(&'static str) -> Bytes,
    delivery: &Delivery,
    pace: Duration,
) -> Vec<Step> {
    let count = frames.len();
    let mut steps = vec![Step::Wait(delivery.first)];
    for (index, frame) in frames.into_iter().enumerate() {
        if let Some(end) = stop(delivery, index, &frame) {
            steps.extend(end);
            return steps;
        }
        steps.extend((index > 0).then_some(Step::Wait(delivery.pace.unwrap_or(pace))));
        let ping = delivery.has(Quirk::Comment).then(|| comment("ping"));
        steps.extend(ping.map(Step::Send));
        steps.push(Step::Send(frame));
    }
    steps.extend(stop(delivery, count, &Bytes::new()).unwrap_or_default());
    let trailing = delivery.has(Quirk::Trailing).then(|| comment("trailing"));
    steps.extend(trailing.map(Step::Send));
    steps
}

/// The last steps, if the stream stops before this frame.
fn stop(delivery: &Delivery, index: usize, frame: &Bytes) -> Option<Vec<Step>> {
    let half = || frame.slice(..frame.len() / 2);
    match delivery.stop? {
        Stop::Cut(after) if after == index => {
            Some(vec![Step::Send(half()), Step::Wait(FLUSH), Step::Break])
        }
        Stop::Eof(after) if after == index => Some(Vec::new()),
        Stop::Stall(after) if after == index => Some(vec![Step::Wait(LONGEST), Step::Break]),
        Stop::Cut(_) | Stop::Eof(_) | Stop::Stall(_) => None,
    }
}

/// Breaks after so many bytes.
pub(crate) fn cut(steps: Vec<Step>, mut bytes: usize) -> Vec<Step> {
    let mut kept = Vec::new();
    for step in steps {
        let Step::Send(frame) = step else {
            kept.push(step);
            continue;
        };
        if frame.len() >= bytes {
            let last = Step::Send(frame.slice(..bytes));
            kept.extend([last, Step::Wait(FLUSH), Step::Break]);
            return kept;
        }
        bytes -= frame.len();
        kept.push(Step::Send(frame));
    }
    kept
}

/// A body that plays steps. A step is taken only when the server has room for it.
#[derive(Debug)]
pub(crate) struct Playback {
    steps: vec::IntoIter<Step>,
    length: Option<u64>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Playback {
    /// A body; with its length if that is to be announced.
    pub(crate) fn new(steps: Vec<Step>, length: Option<u64>) -> Self {
        Self { steps: steps.into_iter(), length, waiting: None }
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let playback = self.get_mut();
        loop {
            if let Some(waiting) = &mut playback.waiting {
                ready!(waiting.as_mut().poll(context));
                playback.waiting = None;
            }
            match playback.steps.next() {
                None => return Poll::Ready(None),
                Some(Step::Wait(Duration::ZERO)) => {}
                Some(Step::Wait(time)) => playback.waiting = Some(Box::pin(sleep(time))),
                Some(Step::Send(frame)) if frame.is_empty() => {}
                Some(Step::Send(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Some(Step::Break) => return Poll::Ready(Some(Err(Broken))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The script breaks the connection.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the script breaks the connection")
    }
}

impl Error for Broken {}
