//! The way to the upstream: connections and time limits.

pub mod body;
pub mod credential;
pub mod dial;
pub mod headers;
pub mod health;
pub mod route;
pub mod splice;
pub mod transport;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use http::uri::Scheme;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::upgrade::Upgraded;
use redact::mask::Known;

use super::auth::Principal;
use super::endpoint::Endpoint;
use super::limit::Permit;
use super::manner::Manner;
use super::refusal::{Reach, Refusal, Word};
use super::screen::intake::Buffered;
use super::screen::{Extra, Screened, ScreenedBody};
use super::sent::{BodyError, RequestBody, body};
use crate::config::Config;
use crate::config::secrets::Secrets;
use crate::config::target::Target;
use crate::ledger::account::Doubt;
use body::UpstreamBody;
use credential::Way;
use dial::Dialer;
use headers::incoming;
use route::{Routes, Tried, Wanted};
use splice::Splice;
use transport::{Transport, Unanswered};

/// What any body error is turned into.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The upstream's answer with the proof that it was admitted.
pub struct Answer {
    /// As the upstream gave it, hop-by-hop headers removed.
    pub response: Response<UpstreamBody>,
    /// Held until the exchange has ended.
    pub permit: Permit,
    /// Who answered.
    pub served: Served,
    /// Which masks stand for which values in what was asked.
    pub masks: Option<Arc<Known>>,
    /// What of the answer only we asked for.
    pub extra: Extra,
}

/// Which way an exchange went.
#[derive(Clone)]
pub struct Served {
    way: Arc<Way>,
    doubtful: bool,
    several: bool,
}

impl Served {
    /// What the way is called, where there are several.
    pub fn name(&self) -> Option<&str> {
        self.several.then_some(self.way.name.as_str())
    }

    /// Whom to tell the code of the answer's error, where it may have to do with the credential.
    pub fn doubt(&self) -> Option<Doubt> {
        let way = self.doubtful.then(|| self.way.clone())?;
        Some(Box::new(move |code| way.refused(code, Instant::now())))
    }
}

/// What the upstream said to a handshake.
pub enum Upgrade {
    /// The head of its answer, the connection that is a WebSocket now, and to whom.
    Done(http::response::Parts, Upgraded, Served),
    /// Any other answer.
    Refused(Response<UpstreamBody>, Served),
}

/// The upstreams and the ways to them.
pub struct Upstream {
    transport: Transport,
    routes: Routes,
    first_byte_timeout: Duration,
}

impl Upstream {
    /// Prepares the ways and the pool; nothing is connected yet. A key that is spliced in stands in
    /// none of the secrets.
    pub fn new(config: &Config, secrets: &Secrets, splice: Option<Arc<Splice>>) -> Result<Self> {
        let is_https = |target: &Target| target.url.scheme() == Some(&Scheme::HTTPS);
        let scheme = if config.targets().any(is_https) { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Self {
            transport: Transport::new(
                Dialer::new(config.upstream.connect_timeout, &scheme)?,
                splice,
            ),
            routes: Routes::new(config, secrets)?,
            first_byte_timeout: config.upstream.first_byte_timeout,
        })
    }

    /// Sends an admitted and inspected request; gives up when the key ends or the time is over.
    ///
    /// Never a retry once a byte may have arrived: another way is tried only where no connection
    /// came about, or a kept one was closed before anything was written.
    pub async fn forward(
        &self,
        permit: Permit,
        mut screened: Box<Screened>,
        manner: &Manner,
    ) -> Result<Answer, Refusal> {
        let principal = permit.principal();
        let Screened { surface, path, head, body, ask, masks, extra, .. } = &mut *screened;
        let (masks, extra) = (masks.take(), *extra);
        let wanted = Wanted::new(principal, *surface, &head.headers, ask.as_ref());
        let sent = Sent {
            method: &head.method,
            path,
            query: head.uri.query(),
            headers: &head.headers,
            extensions: std::mem::take(&mut head.extensions),
            content: body.take(),
            dress: |_| {},
        };
        let (response, served) = self.send(principal, &wanted, sent, manner).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let message = "The upstream changed the protocol, which nobody asked for.";
            return Err(Refusal::new(Word::UpstreamUnreachable, message));
        }
        Ok(Answer { response: incoming(response), permit, served, masks, extra })
    }

    /// Whether a WebSocket can be opened before its model is known: not where models have
    /// upstreams of their own.
    pub fn takes_sockets(&self, principal: &Principal, endpoint: &Endpoint) -> bool {
        let nothing = HeaderMap::new();
        !self.routes.need_model(&Wanted::new(principal, endpoint.surface, &nothing, None))
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
        let wanted = Wanted::new(principal, endpoint.surface, handshake.headers(), None);
        let sent = Sent {
            method: handshake.method(),
            path: &endpoint.path,
            query: handshake.uri().query(),
            headers: handshake.headers(),
            extensions: handshake.extensions().clone(),
            content: ScreenedBody::Whole(Buffered::default()),
            dress: ask_for_socket,
        };
        let (mut response, mut served) = self.send(principal, &wanted, sent, manner).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Upgrade::Refused(incoming(response), served));
        }
        let connection = hyper::upgrade::on(&mut response).await.map_err(|error| {
            let message = format!("The upstream's connection did not become a WebSocket: {error}.");
            Refusal::new(Word::UpstreamUnreachable, message)
        })?;
        // What a message answers has no status of its own: its code may always tell.
        served.doubtful = served.several;
        Ok(Upgrade::Done(incoming(response).into_parts().0, connection, served))
    }

    /// Sends a request on the best way, or on the next where no connection comes about.
    async fn send(
        &self,
        principal: &Principal,
        wanted: &Wanted<'_>,
        mut sent: Sent<'_>,
        manner: &Manner,
    ) -> Result<(Response<UpstreamBody>, Served), Refusal> {
        let mut tried = Tried::default();
        let repeatable = sent.content.is_whole() && self.routes.are_several();
        let mut unreached = None;
        while let Some(way) = self.routes.best(wanted, &mut tried, Instant::now())? {
            // Much may have passed since the key was looked at: a body that came slowly, another way.
            if let Some(refusal) = manner.interruption(&principal.live.ended) {
                return Err(refusal.before_upstream());
            }
            let mut request = sent.on(&way)?;
            // Copied only where it may be needed again.
            *request.extensions_mut() = if repeatable {
                sent.extensions.clone()
            } else {
                std::mem::take(&mut sent.extensions)
            };
            match self.answer(request, &way, principal, manner).await {
                Ok(response) => {
                    let several = self.routes.are_several();
                    let doubtful = several && way.answered(response.status(), Instant::now());
                    return Ok((response, Served { way, doubtful, several }));
                }
                Err(refusal) if refusal.reach() == Reach::Here && self.routes.are_several() => {
                    way.unreachable(Instant::now());
                    self.routes.skip_site(&way, &mut tried);
                    unreached = Some(refusal);
                    if !repeatable {
                        break;
                    }
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Err(unreached.unwrap_or_else(no_way))
    }

    /// Lets go of kept connections that are of no use any more.
    pub fn sweep(&self) {
        self.transport.sweep();
    }

    /// Sends a request and waits for the head of its answer.
    async fn answer(
        &self,
        request: Request<RequestBody>,
        way: &Way,
        principal: &Principal,
        manner: &Manner,
    ) -> Result<Response<UpstreamBody>, Refusal> {
        let answer = self.transport.send(request, &way.site.origin);
        let answer = tokio::time::timeout(self.first_byte_timeout, answer);
        tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(error)) => Err(unanswered(&error)),
                Err(_) => Err(self.too_slow()),
            },
            refusal = manner.interrupted(&principal.live.ended) => Err(refusal),
        }
    }

    fn too_slow(&self) -> Refusal {
        let limit = humantime::format_duration(self.first_byte_timeout);
        let message = format!("The upstream did not answer within {limit}.");
        Refusal::new(Word::UpstreamTimeout, message)
    }
}

/// A request as it is sent, whichever way it goes.
struct Sent<'r> {
    method: &'r Method,
    path: &'r str,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
    /// The spelling of header names travels in here.
    extensions: Extensions,
    content: ScreenedBody,
    /// Adds what belongs to the connection.
    dress: fn(&mut HeaderMap),
}

impl Sent<'_> {
    fn on(&mut self, way: &Way) -> Result<Request<RequestBody>, Refusal> {
        let (uri, mut headers) = way.head(self.path, self.query, self.headers)?;
        (self.dress)(&mut headers);
        let mut request = Request::new(body(self.content.take()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn no_way() -> Refusal {
    Refusal::new(Word::UpstreamUnreachable, "No upstream is configured for this.").before_upstream()
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
    // Nothing follows the head but frames.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
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
