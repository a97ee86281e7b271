//! A recorder follows one exchange and sees to it that it leaves exactly one record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use archive::frame::{Closing, Line, Opening, PART_BYTES, Part, Side};
use archive::record::Transport;
use archive::spool::{Command, Unwritable};
use bytes::Bytes;
use http::response;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::{PollSemaphore, PollSender};
use uuid::Uuid;
use wire::meter::Shape;

use super::Books;
use super::account::{Account, Doubt, End, Expected};
use crate::config::{Bodies, WhenFull};
use crate::exchange::refusal::{Refusal, Word};
use crate::exchange::screen::message::ScreenedMessage;
use crate::exchange::screen::{Buffered, Reading, Screened, ScreenedBody};

/// What was collected for this long goes to the spool too: so much of an answer a crash may lose.
const FLUSH: Duration = Duration::from_secs(1);

/// Bytes of an answer that are collected before they go to the spool.
const PIECE: usize = PART_BYTES / 4;

/// The seat of the closing frame in the spool's queue, and the exchange's place among all.
type Place = (mpsc::OwnedPermit<Command>, OwnedSemaphorePermit);

/// Follows one exchange. When it is dropped before its end, that is the end.
pub struct Recorder {
    books: Arc<Books>,
    /// Taken by the end, whichever comes first: so there is exactly one.
    place: Option<Place>,
    account: Box<Account>,
    /// The opening frame is in the spool.
    opened: bool,
    /// The request's body, until it is in the spool.
    question: Buffered,
    /// What of the answer is not in the spool yet.
    answer: Vec<u8>,
    flushed: Instant,
    pieces: Pieces,
}

/// Says when the closing frame is in the spool.
pub type Closed = oneshot::Receiver<Result<(), Unwritable>>;

impl Recorder {
    pub(crate) fn new(books: Arc<Books>, place: Place, account: Account) -> Self {
        let pieces = Pieces::new(&books);
        books.metrics.opened();
        Self {
            books,
            place: Some(place),
            account: Box::new(account),
            opened: false,
            question: Buffered::default(),
            answer: Vec::new(),
            flushed: Instant::now(),
            pieces,
        }
    }

    /// Notes what is asked; from now on a refusal is on record with it.
    pub fn asked(&mut self, screened: &mut Screened) {
        let ask = screened.ask.as_ref();
        match &mut screened.body {
            ScreenedBody::Whole(body) => {
                self.account.asked(ask, body.bytes.len() as u64);
                // What is kept can be read; what passes is as it came.
                self.question = match std::mem::replace(&mut screened.reading, Reading::Plain) {
                    Reading::Decoded(copy) => {
                        self.account.decoded(copy.bytes.len() as u64);
                        copy
                    }
                    Reading::Plain => body.clone(),
                    unread @ Reading::Unread(_) => {
                        self.books.metrics.unread();
                        screened.reading = unread;
                        body.clone()
                    }
                };
            }
            ScreenedBody::Streamed { copier, .. } => {
                self.account.asked(ask, 0);
                *copier = Some(self.copier());
            }
        }
    }

    /// Notes that the exchange is one of several on a connection.
    pub fn in_socket(&mut self, connection: Uuid) {
        self.account.in_socket(connection);
    }

    /// Notes what is asked by a message of a WebSocket.
    pub fn asked_in_socket(&mut self, message: &ScreenedMessage) {
        self.account.asked(message.ask.as_ref(), message.text.bytes.len() as u64);
        self.question = message.text.clone();
    }

    /// Brings the opening frame to the spool: before the first byte goes upstream.
    pub async fn request(&mut self) -> Result<(), Refusal> {
        let parts = self.question();
        let (ack, done) = oneshot::channel();
        let command = Command::Open(Box::new(self.opening()), parts, ack);
        let sent = self.books.inbox.send(command).await.is_ok();
        let written = sent && matches!(done.await, Ok(Ok(())));
        if written {
            self.opened = true;
            self.question = Buffered::default();
        } else if self.proceeds_unwritten() {
            // It goes on without a record, and is counted.
            self.place = None;
            self.books.metrics.unrecorded();
        } else {
            return Err(Refusal::busy("No record can be written at the moment."));
        }
        self.account.forwarded = true;
        Ok(())
    }

    /// Notes the head of the answer and how its body is to be read.
    pub fn answered(&mut self, head: &response::Parts, shape: Shape, transport: Transport) {
        self.account.answered(head, shape, transport);
    }

    /// Notes which of several ways it went, and whom to tell the code of the answer's error.
    pub fn served(&mut self, name: Option<&str>, doubt: Option<Doubt>) {
        if let Some(name) = name {
            self.books.metrics.served(name);
            self.account.record.tags.insert("upstream".to_owned(), name.to_owned());
        }
        self.account.doubt = doubt;
    }

    /// Notes that messages of a WebSocket answer, whose handshake was answered so. Only the first
    /// call counts.
    pub fn answered_in_socket(&mut self, handshake: &response::Parts) {
        if self.account.response.is_none() {
            self.account.answered_in_socket(handshake);
        }
    }

    /// Notes that what answers cannot be read.
    pub fn is_unreadable(&mut self) {
        self.account.is_unreadable();
    }

    /// Notes that a message has ended; tells whether the exchange ends with it.
    pub fn message_ended(&mut self) -> bool {
        if self.books.options.bodies == Bodies::Full {
            // Messages are kept as lines.
            self.answer.push(b'\n');
        }
        self.account.meter.end_message()
    }

    /// What the request asked its answer to be.
    pub fn expected(&self) -> Expected {
        self.account.expected
    }

    /// Sees a piece of the answer; tells where in it the terminal event begins that ends in it.
    pub fn see(&mut self, piece: &[u8]) -> Option<usize> {
        let Self { account, answer, books, .. } = self;
        account.piece(piece, |decoded| {
            if books.options.bodies == Bodies::Full {
                answer.extend_from_slice(decoded);
            }
        })
    }

    /// Whether the answer stands inside an event.
    pub fn mid_event(&self) -> bool {
        self.account.meter.mid_event()
    }

    /// Brings collected bytes to the spool's queue; pending while that is full. Bounds what a long
    /// answer holds in memory.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.answer.len() >= PIECE || self.flushed.elapsed() >= FLUSH;
        if !due || self.answer.is_empty() {
            return Poll::Ready(());
        }
        ready!(self.pieces.poll_room(cx));
        self.flushed = Instant::now();
        let parts = self.take_answer();
        self.pieces.send(parts);
        Poll::Ready(())
    }

    /// Ends the exchange; the answer tells when the closing frame is in the spool. Only the first
    /// end counts.
    pub fn end(&mut self, end: End) -> Closed {
        let (ack, closed) = oneshot::channel();
        self.close(end, Some(ack));
        closed
    }

    /// Nothing of the request reached the upstream, though it was on its way: it cost nothing.
    pub fn not_forwarded(&mut self) {
        self.account.forwarded = false;
    }

    /// Whether its opening frame is written: then it must have an end.
    pub fn is_opened(&self) -> bool {
        self.opened
    }

    /// Leaves no record: only for a request that was answered `busy` before it was opened.
    pub fn forget(mut self) {
        if self.place.take().is_some() {
            self.books.metrics.forgotten();
            self.books.count_refused(Some(self.account.record.key_id.clone()), Word::Busy);
        }
    }

    /// Keeps bytes that came after the end.
    pub fn late(&mut self, piece: &[u8]) {
        self.see(piece);
        let parts = self.take_answer();
        let lost =
            !parts.is_empty() && self.books.inbox.try_send(Command::Body(parts, None)).is_err();
        if lost {
            tracing::warn!("bytes after the end of an answer could not be kept");
        }
    }

    /// Whether an end that could not be written is given to the client all the same.
    pub fn proceeds_unwritten(&self) -> bool {
        self.books.options.when_full == WhenFull::Proceed
    }

    fn close(&mut self, end: End, ack: Option<archive::spool::Ack>) {
        let Some((seat, _place)) = self.place.take() else { return };
        let record = self.account.close(end, &self.books.options.prices);
        self.books.metrics.closed(&record);
        if let End::Refused(word) = end {
            self.books.count_refused(Some(record.key_id.clone()), word);
        }
        let mut lines = Vec::new();
        if !self.opened {
            lines.push(Line::Open(Box::new(self.opening())));
            lines.extend(self.question().into_iter().map(Line::Body));
        }
        lines.extend(self.take_answer().into_iter().map(Line::Body));
        let response = self.account.response.take();
        let closing = Box::new(Closing { record, response, frames: Vec::new() });
        seat.send(Command::Close(closing, lines, ack));
    }

    fn opening(&self) -> Opening {
        let record = self.account.record.clone();
        Opening { record, request: self.account.request.clone(), frames: Vec::new() }
    }

    fn question(&self) -> Vec<Part> {
        if self.books.options.bodies == Bodies::None {
            return Vec::new();
        }
        Part::cut(&self.account.record.id, Side::Request, &self.question.bytes)
    }

    fn take_answer(&mut self) -> Vec<Part> {
        let answer = std::mem::take(&mut self.answer);
        Part::cut(&self.account.record.id, Side::Response, &answer)
    }

    fn copier(&self) -> Copier {
        let keep = self.books.options.bodies == Bodies::Full;
        let pieces = keep.then(|| Pieces::new(&self.books));
        let id = self.account.record.id.clone();
        Copier { id, pieces, bytes: self.account.uploaded.clone() }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let cut = std::thread::panicking() || self.books.is_cutting();
        self.close(if cut { End::Cut } else { End::Left }, None);
    }
}

/// Keeps a copy of a request body that streams by.
#[derive(Debug)]
pub struct Copier {
    id: String,
    pieces: Option<Pieces>,
    bytes: Arc<AtomicU64>,
}

impl Copier {
    /// Copies a piece; pending while the spool's queue is full. The piece may go on when ready.
    pub fn poll_copy(&mut self, cx: &mut Context<'_>, piece: &Bytes) -> Poll<()> {
        if let Some(pieces) = &mut self.pieces {
            ready!(pieces.poll_room(cx));
            pieces.send(Part::cut(&self.id, Side::Request, piece));
        }
        self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(())
    }
}

/// The way of body pieces to the spool: bounded in number, and so in bytes.
#[derive(Debug)]
struct Pieces {
    room: PollSemaphore,
    granted: Option<OwnedSemaphorePermit>,
    inbox: PollSender<Command>,
}

impl Pieces {
    fn new(books: &Books) -> Self {
        let room = PollSemaphore::new(books.pieces.clone());
        Self { room, granted: None, inbox: PollSender::new(books.inbox.clone()) }
    }

    /// Waits until a piece may be sent: first for room among the pieces, so that whoever waits
    /// holds no seat in the queue.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.granted.is_none() {
            self.granted = ready!(self.room.poll_acquire(cx));
        }
        // An error means that the spool's thread is gone; the end will be told so.
        self.inbox.poll_reserve(cx).map(|_| ())
    }

    fn send(&mut self, parts: Vec<Part>) {
        let _ = self.inbox.send_item(Command::Body(parts, self.granted.take()));
    }
}
