//! The way to the upstream: connections, time limits, and the headers that change on the way.

pub mod body;
pub mod dial;
pub mod transport;

use std::time::Duration;

use anyhow::{Context as _, Result};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::upgrade::Upgraded;
use redact::secret::Secret;

use super::auth::{Credential, Principal};
use super::endpoint::Endpoint;
use super::limit::Permit;
use super::manner::Manner;
use super::refusal::{Refusal, Word};
use super::screen::{Buffered, Screened, ScreenedBody};
use super::sent::{BodyError, RequestBody, body};
use crate::config;
use body::UpstreamBody;
use dial::Dialer;
use transport::{Transport, Unanswered};

/// What any body error is turned into.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The upstream's answer with the proof that it was admitted.
pub struct Answer {
    /// As the upstream gave it, hop-by-hop headers removed.
    pub response: Response<UpstreamBody>,
    /// Held until the exchange has ended.
    pub permit: Permit,
}

/// What the upstream said to a handshake.
pub enum Upgrade {
    /// The head of its answer, and the connection that is a WebSocket now.
    Done(http::response::Parts, Upgraded),
    /// Any other answer.
    Refused(Response<UpstreamBody>),
}

/// The upstream and the organisation's credential for it.
pub struct Upstream {
    transport: Transport,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    base_path: String,
    base_query: Option<String>,
    authorization: HeaderValue,
    first_byte_timeout: Duration,
}

impl Upstream {
    /// Prepares the pool; nothing is connected yet.
    pub fn new(settings: &config::Upstream, key: &Secret<String>) -> Result<Self> {
        let url = settings.url.clone().into_parts();
        let scheme = url.scheme.unwrap_or(Scheme::HTTPS);
        let authority = url.authority.context("the upstream's address has no host")?;
        let base = url.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose()))
            .context("the upstream's key cannot stand in a header")?;
        authorization.set_sensitive(true);
        Ok(Self {
            transport: Transport::new(Dialer::new(settings.connect_timeout, &scheme)?),
            scheme,
            host: HeaderValue::try_from(authority.as_str())?,
            authority,
            base_path: base.path().trim_end_matches('/').to_owned(),
            base_query: base.query().map(str::to_owned),
            authorization,
            first_byte_timeout: settings.first_byte_timeout,
        })
    }

    /// Sends an admitted and inspected request; gives up when the key ends or the time is over.
    ///
    /// Never a retry once a byte may have arrived.
    pub async fn forward(
        &self,
        permit: Permit,
        screened: Screened,
        manner: &Manner,
    ) -> Result<Answer, Refusal> {
        let principal = permit.principal();
        let request = self.request(principal, screened)?;
        let response = self.answer(request, principal, manner).await?;
        Ok(Answer { response: without_hop_by_hop(response), permit })
    }

    /// Asks for a WebSocket; gives up when the key ends or the time is over.
    pub async fn upgrade(
        &self,
        permit: &Permit,
        endpoint: &Endpoint,
        handshake: &Request<()>,
        manner: &Manner,
    ) -> Result<Upgrade, Refusal> {
        let principal = permit.principal();
        let mut request = Request::new(body(ScreenedBody::Whole(Buffered::default())));
        *request.uri_mut() = self.uri(&endpoint.path, handshake.uri().query())?;
        *request.headers_mut() = self.headers(handshake.headers(), principal.credential);
        *request.extensions_mut() = handshake.extensions().clone();
        ask_for_socket(request.headers_mut());
        let mut response = self.answer(request, principal, manner).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Upgrade::Refused(without_hop_by_hop(response)));
        }
        let connection = hyper::upgrade::on(&mut response).await.map_err(|error| {
            let message = format!("The upstream's connection did not become a WebSocket: {error}.");
            Refusal::new(Word::UpstreamUnreachable, message)
        })?;
        Ok(Upgrade::Done(without_hop_by_hop(response).into_parts().0, connection))
    }

    /// Lets go of kept connections that are of no use any more.
    pub fn sweep(&self) {
        self.transport.sweep();
    }

    /// Sends a request and waits for the head of its answer.
    async fn answer(
        &self,
        request: Request<RequestBody>,
        principal: &Principal,
        manner: &Manner,
    ) -> Result<Response<UpstreamBody>, Refusal> {
        let answer = tokio::time::timeout(self.first_byte_timeout, self.transport.send(request));
        tokio::select! {
            biased;
            refusal = manner.interrupted(&principal.live.ended) => Err(refusal),
            answer = answer => match answer {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(error)) => Err(unanswered(&error)),
                Err(_) => Err(self.too_slow()),
            },
        }
    }

    fn request(
        &self,
        principal: &Principal,
        screened: Screened,
    ) -> Result<Request<RequestBody>, Refusal> {
        let uri = self.uri(&screened.path, screened.head.uri.query())?;
        let headers = self.headers(&screened.head.headers, principal.credential);
        let mut request = Request::new(body(screened.body));
        *request.method_mut() = screened.head.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        // The spelling of header names travels in here.
        *request.extensions_mut() = screened.head.extensions;
        Ok(request)
    }

    /// The base address's path with ours behind it, and both queries.
    fn uri(&self, path: &str, query: Option<&str>) -> Result<Uri, Refusal> {
        let mut target = format!("{}{path}", self.base_path);
        let queries = [self.base_query.as_deref(), query];
        for (index, query) in queries.into_iter().flatten().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(query);
        }
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(target).build().map_err(|_| {
            Refusal::new(Word::UnreadableBody, "The request's address cannot be passed on.")
        })
    }

    /// The client's headers in their order, but for those that must change.
    fn headers(&self, client: &HeaderMap, credential: Credential) -> HeaderMap {
        let connection = listed_in_connection(client);
        let mut headers = HeaderMap::with_capacity(client.len() + 1);
        for (name, value) in client {
            if is_hop_by_hop(name, &connection) || is_ours(name) {
                continue;
            }
            if name == header::HOST {
                headers.append(name, self.host.clone());
            } else if name == header::AUTHORIZATION && credential == Credential::Organisation {
                headers.insert(name, self.authorization.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        if credential == Credential::Organisation {
            headers.entry(header::AUTHORIZATION).or_insert_with(|| self.authorization.clone());
        }
        headers
    }

    fn too_slow(&self) -> Refusal {
        let limit = humantime::format_duration(self.first_byte_timeout);
        let message = format!("The upstream did not answer within {limit}.");
        Refusal::new(Word::UpstreamTimeout, message)
    }
}

/// Whose fault it is that there is no answer.
fn unanswered(error: &Unanswered) -> Refusal {
    match causes(error).find_map(|error| error.downcast_ref::<BodyError>()) {
        Some(error @ BodyError::TooLarge) => {
            return Refusal::new(Word::BodyTooLarge, sentence(error));
        }
        Some(error @ BodyError::Client(_)) => {
            return Refusal::new(Word::UnreadableBody, sentence(error)).to_nobody();
        }
        None => {}
    }
    let cause = causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let timed_out = causes(error)
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::TimedOut);
    let unreachable = matches!(error, Unanswered::Unreachable(_));
    match (unreachable, timed_out) {
        (true, true) => {
            let message = format!("No connection to the upstream came about in time: {cause}.");
            Refusal::new(Word::UpstreamTimeout, message).before_upstream()
        }
        (true, false) => {
            let message = format!("The upstream cannot be reached: {cause}.");
            Refusal::new(Word::UpstreamUnreachable, message).before_upstream()
        }
        (false, _) => {
            let message = format!("The upstream ended the connection without an answer: {cause}.");
            Refusal::new(Word::UpstreamUnreachable, message)
        }
    }
}

/// The hop's part of a handshake (RFC 6455 §4.1). Of the extensions those are offered whose messages
/// can be read in passing.
fn ask_for_socket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let extensions = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let extensions: Vec<&str> = extensions.filter_map(|text| text.to_str().ok()).collect();
    let known = wire::websocket::offered(&extensions.join(","));
    match known.and_then(|known| HeaderValue::try_from(known).ok()) {
        Some(known) => drop(headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, known)),
        None => drop(headers.remove(header::SEC_WEBSOCKET_EXTENSIONS)),
    }
}

/// An error as a message for people.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// What an error came from, the nearest first.
fn causes(error: &Unanswered) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |error| error.source())
}

/// RFC 9110 §7.6.1: what a connection says about itself ends with it.
fn is_hop_by_hop(name: &HeaderName, connection: &[HeaderName]) -> bool {
    const FIXED: [HeaderName; 4] =
        [header::CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];
    FIXED.contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        || connection.contains(name)
}

/// What only an answer of ours may say.
fn is_our_word(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-codex-proxy-")
}

/// What is meant for this proxy, or must not leave the house.
fn is_ours(name: &HeaderName) -> bool {
    *name == header::PROXY_AUTHORIZATION
        || *name == header::COOKIE
        || matches!(name.as_str(), "api-key")
        || is_our_word(name)
}

fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    // What the end-to-end parts need cannot be listed away (RFC 9110 §7.6.1, last paragraph).
    names
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect()
}

fn without_hop_by_hop(mut response: Response<UpstreamBody>) -> Response<UpstreamBody> {
    // Which version the upstream speaks ends with its connection too.
    *response.version_mut() = Version::HTTP_11;
    let connection = listed_in_connection(response.headers());
    let ends_here = |name: &HeaderName| is_hop_by_hop(name, &connection) || is_our_word(name);
    if response.headers().keys().any(ends_here) {
        let all = response.headers().iter();
        let kept = all.filter(|(name, _)| !ends_here(name));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        // Rebuilt, not removed from: removal would change the order of those that stay.
        *response.headers_mut() = kept;
    }
    response
}
