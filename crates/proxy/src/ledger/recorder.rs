//! A recorder follows one exchange and sees to it that it leaves exactly one record.

mod collected;
pub mod copier;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use archive::frame::{ResponseHead, Side};
use archive::journal::{Draft, Entry};
use archive::record::{Record, Transport};
use archive::spool::Unwritable;
use archive::spool::desk::Receipt;
use bytes::Bytes;
use http::{HeaderValue, response};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;
use wire::meter::Shape;

use super::account::{Account, Doubt, End, Expected};
use super::dump::Dump;
use super::head::stored_headers;
use super::{Books, FoundIn};
use crate::budget::reservation::{Reservation, Within};
use crate::config::{Bodies, WhenFull};
use crate::exchange::refusal::{Refusal, Word};
use crate::exchange::screen::intake::{Buffered, Reading};
use crate::exchange::screen::message::Carried;
use crate::exchange::screen::{Inspected, Looked, ScreenedBody, Verdict};
use collected::Collected;
use copier::{Copier, append};

/// Follows one exchange. When it is dropped before its end, that is the end.
pub struct Recorder {
    books: Arc<Books>,
    /// Its place among all exchanges. Taken by the end, whichever comes first: so there is one.
    place: Option<OwnedSemaphorePermit>,
    account: Box<Account>,
    /// The opening is in the spool.
    opened: bool,
    /// Part of a body could not be written: this exchange can no longer end complete.
    torn: Arc<AtomicBool>,
    /// The request's body, until it is in the spool.
    question: Buffered,
    /// What of the answer is not in the spool yet.
    answer: Collected,
    /// What the client is told where the upstream has not answered.
    told: Option<Box<(ResponseHead, Bytes)>>,
    /// What was reserved of budgets: settled by the end.
    reservation: Option<Box<Reservation>>,
    /// Where it is written down for people too.
    dump: Option<Box<Dump>>,
}

/// Says when the closing is in the spool.
pub type Closed = Receipt;

impl Recorder {
    pub(crate) fn new(
        books: Arc<Books>,
        place: OwnedSemaphorePermit,
        account: Account,
        dump: Option<Dump>,
    ) -> Self {
        books.metrics.opened();
        Self {
            books,
            place: Some(place),
            account: Box::new(account),
            opened: false,
            torn: Arc::default(),
            question: Buffered::default(),
            answer: Collected::new(),
            told: None,
            reservation: None,
            dump: dump.map(Box::new),
        }
    }

    /// Notes what is asked; from now on a refusal is on record with it.
    pub fn asked(&mut self, inspected: &mut Inspected) {
        let (verdict, screened) = inspected.looked_at();
        self.account.inspected(verdict, Some(&*screened));
        self.tell_findings(verdict);
        let ask = screened.ask.as_ref();
        match &mut screened.body {
            ScreenedBody::Whole(body) => {
                self.account.asked(ask, body.bytes.len() as u64);
                // What is kept can be read; what passes is as it came.
                self.question = match std::mem::replace(&mut screened.reading, Reading::Plain) {
                    Reading::Decoded(copy) => {
                        self.account.decoded(&body.bytes, copy.bytes.len() as u64);
                        copy
                    }
                    Reading::Plain => body.clone(),
                    unread @ Reading::Unread(_) => {
                        self.books.metrics.unread();
                        screened.reading = unread;
                        body.clone()
                    }
                };
                if self.books.keeping.keeps() {
                    self.account.says(ask, &self.question.bytes);
                }
                if verdict.body == Looked::Unfit {
                    self.question = Buffered::default();
                }
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
    pub fn asked_in_socket(&mut self, message: &Carried) {
        self.account.inspected(&message.verdict, None);
        self.tell_findings(&message.verdict);
        self.account.asked(message.ask.as_ref(), message.text.bytes.len() as u64);
        if self.books.keeping.keeps() {
            self.account.says(message.ask.as_ref(), &message.text.bytes);
        }
        if message.verdict.body != Looked::Unfit {
            self.question = message.text.clone();
        }
    }

    /// Notes what was found in a handshake, which was told already.
    pub fn looked_at(&mut self, verdict: &Verdict) {
        self.account.inspected(verdict, None);
    }

    /// What the request says, without its content coding, until it is in the spool; nothing where it
    /// streams by.
    pub fn question(&self) -> Option<&[u8]> {
        Some(&*self.question.bytes).filter(|question| !question.is_empty())
    }

    /// Keeps what was reserved of budgets until it is known what was spent.
    pub fn reserved(&mut self, reservation: Option<Reservation>) {
        self.reservation = reservation.map(Box::new);
    }

    /// What the client is told of a budget that is nearly spent.
    pub fn budget_note(&self) -> Option<HeaderValue> {
        let note = self.reservation.as_ref()?.note.as_deref()?;
        HeaderValue::from_str(note).ok()
    }

    fn tell_findings(&self, verdict: &Verdict) {
        let Record { id, user, key_id, .. } = &self.account.record;
        self.books.tell_findings(&FoundIn { exchange: id, user, key: key_id }, &verdict.fresh);
    }

    /// Brings the opening to the spool: before the first byte goes upstream.
    pub async fn request(&mut self) -> Result<(), Refusal> {
        if let Some(dump) = &mut self.dump {
            dump.asked(&self.question.bytes);
        }
        if self.books.room.is_left() && self.open().await.is_ok() {
            self.opened = true;
            self.question = Buffered::default();
            // They stand in the opening, and who asks has been read from them.
            self.account.request.headers = Vec::new();
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

    async fn open(&mut self) -> Result<(), Unwritable> {
        self.account.scrub(&self.books.options.rules);
        let written = self.books.keeping.append(|draft| self.push_opening(draft)).await;
        if written == Err(Unwritable::Unsynced) {
            // In the file, but not on the disk: nobody will close it, so that it ends here.
            self.books.keeping.append_failed(&self.account.record);
        }
        written
    }

    /// Notes the head of the answer and how its body is to be read.
    pub fn answered(&mut self, head: &response::Parts, shape: Shape, transport: Transport) {
        if let Some(dump) = &mut self.dump {
            dump.answered(head);
        }
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
    pub fn message_ended(&mut self, now: Instant) -> bool {
        if self.books.options.bodies == Bodies::Full {
            // Messages are kept as lines.
            self.answer.add(b"\n", now);
        }
        self.account.meter.end_message()
    }

    /// Whether a response has begun.
    pub fn is_answering(&self) -> bool {
        self.account.meter.reading().response_id.is_some()
    }

    /// What the request asked its answer to be.
    pub fn expected(&self) -> Expected {
        self.account.expected
    }

    /// Sees a piece of the answer that came now; tells where in it the terminal event begins that ends
    /// in it.
    pub fn see(&mut self, piece: &[u8], now: Instant) -> Option<usize> {
        let Self { account, answer, books, dump, .. } = self;
        account.piece((piece, now), |decoded| {
            if let Some(dump) = dump {
                dump.piece(decoded);
            }
            if books.options.bodies == Bodies::Full {
                answer.add(decoded, now);
            }
        })
    }

    /// Whether the answer stands inside an event.
    pub fn mid_event(&self) -> bool {
        self.account.meter.mid_event()
    }

    /// When [`Self::keep_up`] is to be called at the latest; nothing while nothing is collected.
    pub fn due(&self) -> Option<Instant> {
        self.answer.due()
    }

    /// Brings collected bytes to the spool when they are many or old. Bounds what a long answer
    /// holds in memory, and what of it a crash may lose.
    pub fn keep_up(&mut self, now: Instant) {
        if self.answer.is_due(now) {
            self.append_answer();
        }
    }

    /// Ends the exchange; the answer tells when the closing is in the spool. Only the first end
    /// counts.
    pub fn end(&mut self, end: End) -> Closed {
        self.close(end).unwrap_or_else(Receipt::refused)
    }

    /// Keeps what the client is told in the place of an answer. It counts as none of the upstream's:
    /// neither its bytes nor its status do.
    pub fn tells(&mut self, refusal: &Refusal) {
        let (head, mut body) = refusal.response().into_parts();
        if self.account.record.transport == Transport::Ws {
            body = format!("{}\n", refusal.socket_message()).into();
        }
        if self.books.options.bodies != Bodies::Full {
            body = Bytes::new();
        }
        let (status, headers) = (head.status.as_u16(), stored_headers(&head.headers));
        self.told = Some(Box::new((ResponseHead { status, headers, wire: None }, body)));
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
        self.see(piece, Instant::now());
        self.append_answer();
        if self.torn.load(Ordering::Relaxed) {
            tracing::warn!("bytes after the end of an answer could not be kept");
        }
    }

    /// Whether an end that could not be written is given to the client all the same.
    pub fn proceeds_unwritten(&self) -> bool {
        self.books.options.when_full == WhenFull::Proceed
    }

    fn close(&mut self, end: End) -> Option<Receipt> {
        let place = self.place.take();
        if place.is_none() && self.reservation.is_none() {
            return None;
        }
        if let Some(dump) = self.dump.take() {
            dump.close();
        }
        self.account.scrub(&self.books.options.rules);
        self.account.close(end, &self.books.options.prices);
        if let Some(reservation) = self.reservation.take() {
            let within = reservation.settle(&self.account.spent(), self.account.seen().as_ref());
            if within == Within::Over {
                self.books.metrics.over_bound();
                self.account.record.tags.insert("budget".to_owned(), "over bound".to_owned());
            }
        }
        // Without a place it leaves no record.
        let _place = place?;
        self.books.metrics.closed(&self.account.record);
        if let End::Refused(word) = end {
            self.books.count_refused(Some(self.account.record.key_id.clone()), word);
        }
        let torn = self.torn.load(Ordering::Relaxed);
        if torn {
            self.account.record.fail();
        }
        let answer = self.answer.take();
        let (response, rest) = match (self.account.response.take(), self.told.take()) {
            (None, Some(told)) => (Some(told.0), told.1),
            (response, _) => (response, answer),
        };
        let record = &self.account.record;
        let closing = Entry::Close { record, response: response.as_ref() };
        let receipt = self.books.keeping.append(|draft| {
            if !self.opened {
                self.push_opening(draft);
            }
            draft.push(&closing, rest);
        });
        (!torn).then_some(receipt)
    }

    fn push_opening(&self, draft: &mut Draft) {
        let keep = self.books.options.bodies == Bodies::Full;
        let question = if keep { self.question.bytes.clone() } else { Bytes::new() };
        let Account { record, request, .. } = &*self.account;
        draft.push(&Entry::Open { record, request }, question);
    }

    fn append_answer(&mut self) {
        let piece = self.answer.take();
        append(&self.books, (&self.account.record.id, Side::Response), piece, &self.torn);
    }

    fn copier(&self) -> Copier {
        let keep = self.books.options.bodies == Bodies::Full;
        Copier {
            id: self.account.record.id.clone(),
            books: keep.then(|| self.books.clone()),
            bytes: self.account.uploaded.clone(),
            torn: self.torn.clone(),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let cut = std::thread::panicking() || self.books.is_cutting();
        // Nobody waits for it any more.
        let _ = self.close(if cut { End::Cut } else { End::Left });
    }
}
