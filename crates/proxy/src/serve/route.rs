//! What an address on our own sockets is for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::peer::{Peer, Strangers};
use super::terms::Terms;
use crate::clock;
use crate::config::preset::{Opens, Shutdown};
use crate::exchange::arrived::ClientBody;
use crate::exchange::endpoint::is_api;
use crate::exchange::exchange;
use crate::exchange::refusal::Word;
use crate::exchange::tap::Body;
use crate::ledger::account::Arrival;
use crate::metrics::Metrics;

/// The exchange's id, on every answer of the API.
const ID_HEADER: HeaderName = HeaderName::from_static("x-codex-proxy-id");

const NOTHING_HERE: &str = "There is nothing at this address; the OpenAI API is below /v1.";

/// Who comes in through a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Clients and operators.
    Everyone,
    /// Clients: health and metrics are elsewhere.
    Clients,
    /// Operators: health and metrics only.
    Operators,
    /// Clients, who find the API's open endpoints here and not even a word about anything else.
    Api,
}

/// Who asks on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Through which door they came.
    pub door: Door,
    /// From where.
    pub peer: Peer,
}

/// Everything that can be asked here.
pub struct Site {
    terms: RwLock<Arc<Terms>>,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// All connections, and what runs for them.
    pub connections: TaskTracker,
    /// Who proved nothing.
    pub strangers: Strangers,
    /// Fires when somebody asks over HTTP to stop.
    pub shutdown: CancellationToken,
    opens: Opens,
    draining: AtomicBool,
}

impl Site {
    /// A site with these terms, until it is given others.
    pub fn new(
        terms: Terms,
        opens: Opens,
        metrics: Arc<Metrics>,
        connections: TaskTracker,
    ) -> Self {
        let terms = RwLock::new(Arc::new(terms));
        let (strangers, draining) = (Strangers::default(), AtomicBool::new(false));
        let shutdown = CancellationToken::new();
        Self { terms, metrics, connections, strangers, shutdown, opens, draining }
    }

    /// From now on other terms hold for whatever begins.
    pub fn put(&self, terms: Terms) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    /// What holds for whatever begins now.
    pub fn terms(&self) -> Arc<Terms> {
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on it is not ready, because another process is; what comes in all the same on
    /// connections that are open is served.
    pub fn leave(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.terms().proxy.manner.draining.cancel();
    }

    /// From now on it is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        let lasting = &self.terms().proxy;
        lasting.ledger.take_no_more();
        lasting.manner.draining.cancel();
    }

    /// Answers one request.
    pub async fn answer(
        self: Arc<Self>,
        caller: Caller,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if caller.door == Door::Api {
            return self.only_api(caller.peer, request).await;
        }
        let for_clients = caller.door != Door::Operators;
        let for_operators = caller.door != Door::Clients;
        if !has_one_host(&request) {
            let answer = error(StatusCode::BAD_REQUEST, "A request has exactly one Host header.");
            return named(request.uri(), answer);
        }
        match request.uri().path() {
            "/healthz" if for_operators => text(StatusCode::OK, "alive\n"),
            "/readyz" if for_operators => self.readiness(),
            "/metrics" if for_operators => self.numbers(),
            _ if for_clients && is_api(request.uri()) => self.api(caller.peer, request).await,
            _ => named(request.uri(), error(StatusCode::NOT_FOUND, NOTHING_HERE)),
        }
    }

    /// Answers where nothing is but the API's open endpoints, and perhaps the order to stop.
    async fn only_api(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let uri = request.uri();
        let is_plain = uri.scheme().is_none() && uri.query().is_none();
        let is_order = request.method() == Method::GET && is_plain && uri.path() == "/shutdown";
        if is_order && self.opens == (Opens::Api { shutdown: Shutdown::Open }) {
            self.shutdown.cancel();
            return bare(StatusCode::OK);
        }
        let terms = self.terms();
        if terms.proxy.endpoints.resolve(&request).is_err() {
            terms.proxy.ledger.refused(None, Word::NotAllowed);
            let (head, body) = request.into_parts();
            let (body, unread) = ClientBody::new(&head.headers, body);
            drop(body);
            unread.discard().await;
            return bare(StatusCode::FORBIDDEN);
        }
        if !has_one_host(&request) {
            return error(StatusCode::BAD_REQUEST, "A request has exactly one Host header.");
        }
        self.api(peer, request).await
    }

    async fn api(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let terms = self.terms();
        let arrival = terms.proxy.ledger.arrival();
        let origin = allowed_origin(&terms.origins, request.headers());
        let mut answer = if is_preflight(&request) {
            preflight(request.headers(), origin.as_ref())
        } else {
            self.exchange(&terms, peer, arrival, request).await
        };
        let headers = answer.headers_mut();
        name(headers, arrival.id);
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(header::VARY, HeaderValue::from_static("origin"));
            let expose = "x-codex-proxy-id, x-codex-proxy-refusal, x-codex-proxy-budget";
            let expose = HeaderValue::from_static(expose);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose);
        }
        answer
    }

    async fn exchange(
        &self,
        terms: &Terms,
        peer: Peer,
        arrival: Arrival,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let (body, unread) = ClientBody::new(&head.headers, body);
        let client = peer.client(&head.headers, &terms.trusted_proxies);
        // Boxed here, where it begins: futures around it would be moved about with room for it.
        let exchange = Box::pin(exchange(&terms.proxy, arrival, Request::from_parts(head, body)));
        match exchange.await {
            Ok(answer) => answer,
            Err(refusal) => {
                if refusal.word().status() == StatusCode::UNAUTHORIZED {
                    self.strangers.tell(client, refusal.word().as_str());
                }
                unread.discard().await;
                let contact = terms.proxy.manner.contact.as_deref();
                let mut answer = refusal.with_contact(contact).response().map(whole);
                date(answer.headers_mut());
                answer
            }
        }
    }

    fn readiness(&self) -> Response<Body> {
        let service = StatusCode::SERVICE_UNAVAILABLE;
        if self.draining.load(Ordering::Relaxed) {
            return text(service, "draining\n");
        }
        if !self.terms().proxy.ledger.is_writable() {
            return text(service, "no record can be written\n");
        }
        if self.terms().proxy.auth.is_lost() {
            return text(service, "the store cannot be reached\n");
        }
        text(StatusCode::OK, "ready\n")
    }

    fn numbers(&self) -> Response<Body> {
        let buffered = self.terms().proxy.screen.buffered();
        self.metrics.store_lost_for(self.terms().proxy.auth.lost_for());
        let mut answer = Response::new(whole(self.metrics.text(buffered).into()));
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        answer
    }
}

fn name(headers: &mut HeaderMap, id: Uuid) {
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(ID_HEADER, id);
    }
}

/// An answer that came to no exchange: below the API's address it has an id all the same.
fn named(uri: &Uri, mut answer: Response<Body>) -> Response<Body> {
    if uri.path().starts_with("/v1") {
        name(answer.headers_mut(), Uuid::now_v7());
    }
    answer
}

/// The origin of a browser's request, if browsers may ask from there.
fn allowed_origin(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let allowed = origins.iter().any(|one| one == "*" || one.as_bytes() == origin.as_bytes());
    allowed.then(|| origin.clone())
}

/// Fetch standard, "CORS-preflight request".
fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(asked: &HeaderMap, allowed: Option<&HeaderValue>) -> Response<Body> {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() =
        if allowed.is_some() { StatusCode::NO_CONTENT } else { StatusCode::FORBIDDEN };
    if allowed.is_some() {
        let headers = answer.headers_mut();
        let methods = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD).cloned();
        let methods = methods.unwrap_or_else(|| HeaderValue::from_static("GET, POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let names = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let names =
            names.unwrap_or_else(|| HeaderValue::from_static("authorization, content-type"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    answer
}

/// RFC 9112 §3.2: otherwise two programs on the way might take it for two hosts.
fn has_one_host<B>(request: &Request<B>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    hosts == 1 || (hosts == 0 && request.version() != Version::HTTP_11)
}

/// An error outside the API, in the API's form.
fn error(status: StatusCode, message: &str) -> Response<Body> {
    let code = if status == StatusCode::NOT_FOUND { "not_found" } else { "bad_request" };
    let error = serde_json::json!({ "error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": code,
    } });
    let mut answer = text(status, &error.to_string());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(whole(text.to_owned().into()));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    date(answer.headers_mut());
    answer
}

/// A status, and nothing that tells more.
fn bare(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = status;
    date(answer.headers_mut());
    answer
}

fn whole(bytes: Bytes) -> Body {
    Body::Whole(Full::new(bytes))
}

/// Answers of our own say when they were made (RFC 9110 §6.6.1); the upstream's are left alone.
fn date(headers: &mut HeaderMap) {
    let date =
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&clock::now());
    if let Some(date) = date.ok().and_then(|date| HeaderValue::try_from(date).ok()) {
        headers.insert(header::DATE, date);
    }
}
