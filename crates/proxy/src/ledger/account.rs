//! What is known of one exchange, and the record that it makes.

mod cost;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use archive::frame::{RequestHead, ResponseHead, Wire};
use archive::record::{Outcome, Record, Source, Transport};
use http::{HeaderMap, Request};
use jiff::Timestamp;
use uuid::Uuid;
use wire::ask::Ask;
use wire::attribution::{Attribution, RequestKind};
use wire::coding::Decoder;
use wire::estimate::Question;
use wire::meter::{Ending, Meter, Reading, Shape};
use wire::price::PriceTable;
use wire::usage::Usage;

use super::Options;
use super::head::{stored_headers, target};
use crate::config;
use crate::exchange::auth::Principal;
use crate::exchange::endpoint::{Endpoint, Operation};
use crate::exchange::refusal::Word;
use crate::exchange::screen::Looked;

/// When a request came, and the name its exchange got.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The exchange's id.
    pub id: Uuid,
    /// By the calendar.
    pub time: Timestamp,
    /// For measuring.
    pub at: Instant,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The upstream's answer came to its end.
    Answered,
    /// We answered instead, or cut in.
    Refused(Word),
    /// The upstream broke off.
    Broken,
    /// The client left.
    Left,
    /// This program broke off.
    Cut,
}

/// What a request asked its answer to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A stream of events.
    Events,
    /// One body.
    Whole,
}

/// Who wants to know the code of an answer's error.
pub type Doubt = Box<dyn FnOnce(&str) + Send>;

/// What is known of one exchange so far.
pub(crate) struct Account {
    pub(crate) expected: Expected,
    pub(crate) record: Record,
    pub(crate) request: RequestHead,
    pub(crate) response: Option<ResponseHead>,
    pub(crate) meter: Meter,
    /// Undoes the answer's content coding, where it has one that is known.
    decoder: Option<Box<Decoder>>,
    /// Of the answer as it passes, where it has a coding that is undone.
    passed: Option<Box<blake3::Hasher>>,
    /// The answer is a stream that is whole only with its last event.
    ends_with_event: bool,
    /// How long the request's body is without its content coding, where it has one.
    decoded_bytes: Option<u64>,
    /// A sample of what is said to the model, where it may be of use.
    question: Option<Box<Question>>,
    /// Who wants to know the code of the answer's error.
    pub(crate) doubt: Option<Doubt>,
    /// Bytes of a streamed request body that have passed.
    pub(crate) uploaded: Arc<AtomicU64>,
    /// The request may have reached the upstream.
    pub(crate) forwarded: bool,
    /// What it used.
    usage: Usage,
    /// What it cost, where that is known.
    cost_nanos: Option<u64>,
    operation: Operation,
    arrived: Instant,
    /// Whether the record has what the client says about itself.
    attributed: bool,
    attribution: Arc<config::attribution::Attribution>,
    /// How the request was looked through for secrets; nothing while it was not.
    pub(super) inspected: Option<Looked>,
}

impl Account {
    pub(crate) fn new<B>(
        principal: &Principal,
        endpoint: &Endpoint,
        request: &Request<B>,
        arrival: Arrival,
        options: &Options,
    ) -> Self {
        let mut record = Record::blank(arrival.id.to_string(), arrival.time, &options.node);
        record.key_id.clone_from(&principal.key.id);
        record.user.clone_from(&principal.key.user);
        record.team.clone_from(&principal.key.team);
        record.endpoint.clone_from(&endpoint.name);
        record.content_encoding = coding(request.headers()).map(str::to_owned);
        let head = RequestHead {
            method: request.method().to_string(),
            target: target(request.uri()),
            headers: stored_headers(request.headers()),
            wire: None,
        };
        Self {
            record,
            request: head,
            response: None,
            meter: Meter::new(Shape::Opaque),
            decoder: None,
            passed: None,
            ends_with_event: false,
            decoded_bytes: None,
            question: None,
            doubt: None,
            uploaded: Arc::default(),
            forwarded: false,
            expected: Expected::Whole,
            usage: Usage::default(),
            cost_nanos: None,
            operation: endpoint.operation,
            arrived: arrival.at,
            attributed: false,
            attribution: options.attribution.clone(),
            inspected: None,
        }
    }

    /// Notes that the exchange is one of several on a connection.
    pub(crate) fn in_socket(&mut self, connection: Uuid) {
        self.record.connection_id = Some(connection.to_string());
        self.record.transport = Transport::Ws;
        self.operation = Operation::Responses;
    }

    /// Notes what is asked, as the body tells.
    pub(crate) fn asked(&mut self, ask: Option<&Ask>, bytes: u64) {
        self.record.request_bytes = bytes;
        if let Some(ask) = ask {
            self.expected = if ask.stream { Expected::Events } else { Expected::Whole };
            self.record.model.clone_from(&ask.model);
            self.record.service_tier.clone_from(&ask.service_tier);
            self.record.previous_response_id.clone_from(&ask.previous_response_id);
        }
        self.attribute(ask);
    }

    /// Notes that of the request's body a copy without its content coding is kept, so long.
    pub(crate) fn decoded(&mut self, passed: &[u8], bytes: u64) {
        self.decoded_bytes = Some(bytes);
        let hash = blake3::hash(passed);
        self.request.wire = self.wire(passed.len() as u64, hash);
    }

    /// Keeps a sample of what is said to the model: should the upstream not say what was used.
    pub(crate) fn says(&mut self, ask: Option<&Ask>, body: &[u8]) {
        if let Some(ask) = ask.filter(|_| self.is_model_call()) {
            self.question = Some(Box::new(Question::read(ask, body)));
        }
    }

    /// What is kept of a body that passed in the coding that is on record.
    fn wire(&self, bytes: u64, hash: blake3::Hash) -> Option<Wire> {
        let coding = self.record.content_encoding.clone()?;
        Some(Wire { coding, bytes, blake3: hash.to_hex().to_string() })
    }

    /// Notes the head of the answer.
    pub(crate) fn answered(
        &mut self,
        head: &http::response::Parts,
        shape: Shape,
        transport: Transport,
    ) {
        self.record.status = Some(head.status.as_u16());
        self.record.transport = transport;
        if let Some(coding) = coding(&head.headers) {
            // Boxed: they are large, and most answers have none.
            self.decoder = Decoder::new(coding).map(Box::new);
            self.passed = self.decoder.as_ref().map(|_| Box::new(blake3::Hasher::new()));
            self.record.content_encoding = Some(coding.to_owned());
        }
        let headers = stored_headers(&head.headers);
        self.response = Some(ResponseHead { status: head.status.as_u16(), headers, wire: None });
        self.read_as(shape);
    }

    /// Notes that messages of a WebSocket answer. Its handshake's status is none of the exchange's:
    /// that is 200, unless a message names another.
    pub(crate) fn answered_in_socket(&mut self, handshake: &http::response::Parts) {
        self.record.status = Some(200);
        let extensions = handshake.headers.get(http::header::SEC_WEBSOCKET_EXTENSIONS);
        let compressed = extensions.and_then(|extensions| extensions.to_str().ok());
        let compressed = compressed.filter(|agreed| agreed.contains("permessage-deflate"));
        self.record.content_encoding = compressed.map(|_| "permessage-deflate".to_owned());
        let headers = stored_headers(&handshake.headers);
        self.response =
            Some(ResponseHead { status: handshake.status.as_u16(), headers, wire: None });
        self.read_as(Shape::ResponsesMessages);
    }

    /// Notes that what answers cannot be read: how it ends tells nothing.
    pub(crate) fn is_unreadable(&mut self) {
        self.read_as(Shape::Opaque);
    }

    fn read_as(&mut self, shape: Shape) {
        self.ends_with_event =
            matches!(shape, Shape::ResponsesEvents | Shape::ResponsesMessages | Shape::ChatEvents);
        self.meter = Meter::new(shape);
    }

    /// Shows a piece of the answer, and when it came, to the meter, and its decoded bytes to `keep`;
    /// tells where in the piece the terminal event begins, which in a coded piece is its first byte.
    pub(crate) fn piece(
        &mut self,
        (piece, now): (&[u8], Instant),
        keep: impl FnOnce(&[u8]),
    ) -> Option<usize> {
        if self.record.first_byte_ms.is_none() {
            self.record.first_byte_ms = Some(millis(now.duration_since(self.arrived)));
        }
        self.record.response_bytes += piece.len() as u64;
        if let Some(passed) = &mut self.passed {
            passed.update(piece);
        }
        let Some(decoder) = &mut self.decoder else {
            keep(piece);
            return self.meter.feed(piece);
        };
        if let Ok(text) = decoder.feed(piece) {
            keep(&text);
            return self.meter.feed(&text).map(|_| 0);
        }
        // Failing to understand an answer never fails it: from here on it is kept as it is.
        self.decoder = None;
        self.read_as(Shape::Opaque);
        keep(piece);
        None
    }

    /// Completes the record.
    pub(crate) fn close(&mut self, end: End, prices: &PriceTable) {
        if !self.attributed {
            self.attribute(None);
        }
        let reading = self.meter.reading();
        if let (Some(doubt), Some(code)) = (self.doubt.take(), &reading.error_code) {
            doubt(code);
        }
        self.record.status = reading.error_status.or(self.record.status);
        (self.record.outcome, self.record.source) = self.outcome(end, &reading);
        if let End::Refused(word) = end {
            self.record.refusal = Some(word.as_str().to_owned());
            // Over HTTP the status may have been sent before; in a socket each message has its own.
            let sent = self.record.status.filter(|_| self.record.transport != Transport::Ws);
            self.record.status = Some(sent.unwrap_or(word.status().as_u16()));
        }
        self.record.request_bytes += self.uploaded.swap(0, Ordering::Relaxed);
        self.record.upstream_model.clone_from(&reading.upstream_model);
        self.record.response_id.clone_from(&reading.response_id);
        if reading.service_tier.is_some() {
            self.record.service_tier.clone_from(&reading.service_tier);
        }
        self.count(&reading);
        self.price(&reading, prices);
        self.record.took_ms = millis(self.arrived.elapsed());
        if let Some(passed) = self.passed.take() {
            let wire = self.wire(self.record.response_bytes, passed.finalize());
            if let Some(response) = &mut self.response {
                response.wire = wire;
            }
        }
    }

    fn outcome(&self, end: End, reading: &Reading) -> (Outcome, Source) {
        match end {
            End::Refused(_) => (Outcome::Refused, Source::Proxy),
            End::Left => (Outcome::Cancelled, Source::Client),
            End::Cut => (Outcome::Failed, Source::Proxy),
            End::Answered if self.is_whole(reading) => (Outcome::Complete, Source::Upstream),
            End::Answered | End::Broken => (Outcome::Failed, Source::Upstream),
        }
    }

    /// Whether an answer that ended is what was asked for: no error, and not cut off.
    fn is_whole(&self, reading: &Reading) -> bool {
        let is_error = self.record.status.is_none_or(|status| status >= 400);
        match reading.ending {
            _ if has_failed(reading) => false,
            Some(Ending::Completed | Ending::Incomplete | Ending::Done) => !is_error,
            Some(Ending::Failed) => false,
            None => !is_error && !self.ends_with_event,
        }
    }

    fn attribute(&mut self, ask: Option<&Ask>) {
        self.attributed = true;
        // As they are stored: what may not be stored says nothing about who asked.
        let headers = &self.request.headers;
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let nothing = Ask::default();
        let mut said = Attribution::read(&header, ask.unwrap_or(&nothing), self.attribution.paths);
        if ask.is_none() {
            said.request_kind = RequestKind::Other;
        } else if self.record.endpoint.ends_with("/responses/compact") {
            said.request_kind = RequestKind::Compaction;
        }
        let record = &mut self.record;
        said.request_kind.as_str().clone_into(&mut record.request_kind);
        record.session_id = said.session_id;
        record.thread_id = said.thread_id;
        record.turn_id = said.turn_id;
        record.parent_thread_id = said.parent_thread_id;
        record.subagent = said.subagent;
        record.repo = said.repo;
        record.commit = said.commit;
        record.client = said.client;
        record.client_version = said.client_version;
        // Beside what the client says: which way it went, noted before.
        record.tags.extend(said.tags);
        // OpenAI's SDKs say how often they have tried before.
        let retry = header("x-stainless-retry-count").filter(|count| *count != "0");
        record.tags.extend(retry.map(|count| ("retry".to_owned(), count.to_owned())));
        // What the operator says goes before.
        let named = self.attribution.headers.iter();
        let headers = named.filter_map(|name| Some((name.as_str(), header(name)?)));
        let (user, team, key) = (&record.user, record.team.as_deref(), &record.key_id);
        let configured = self.attribution.tags((user, team, key));
        let tags =
            headers.chain(configured).map(|(name, value)| (name.to_owned(), value.to_owned()));
        record.tags.extend(tags.collect::<Vec<_>>());
        // That is ours to say.
        for own in ["screen", "budget"] {
            record.tags.remove(own);
        }
        if self.inspected == Some(Looked::Partly) {
            record.tags.insert("screen".to_owned(), "unscanned".to_owned());
        }
    }
}

/// Whether the upstream said that it failed: by its last event, or by an error instead of usage.
fn has_failed(reading: &Reading) -> bool {
    reading.ending == Some(Ending::Failed)
        || (reading.error_code.is_some() && reading.usage.is_none())
}

/// The content coding that these headers name.
fn coding(headers: &HeaderMap) -> Option<&str> {
    headers.get(http::header::CONTENT_ENCODING)?.to_str().ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
