//! The way to the upstream: connections and time limits.

pub mod credential;
pub mod headers;
pub mod health;
pub mod route;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::uri::Scheme;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::auth::Principal;
use super::limit::Permit;
use super::refusal::{Reach, Refusal, Word};
use super::screen::Screened;
use super::sent::{BodyError, RequestBody, body};
use super::tap::Manner;
use crate::config::Config;
use crate::config::target::Target;
use crate::ledger::account::Doubt;
use credential::Way;
use headers::incoming;
use route::{Routes, Tried, Wanted};

/// What any body error is turned into.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The upstream's answer with the proof that it was admitted.
pub struct Answer {
    /// As the upstream gave it, hop-by-hop headers removed.
    pub response: Response<Incoming>,
    /// Held until the exchange has ended.
    pub permit: Permit,
    /// Who answered.
    pub served: Served,
}

/// Which way an exchange went.
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

/// The upstreams and the ways to them.
pub struct Upstream {
    client: Client<Timed, RequestBody>,
    routes: Routes,
    first_byte_timeout: Duration,
}

impl Upstream {
    /// Fetches the credentials and prepares the pool; nothing is connected yet.
    pub fn new(config: &Config) -> Result<Self> {
        let is_https = |target: &Target| target.url.scheme() == Some(&Scheme::HTTPS);
        let scheme = if config.targets().any(is_https) { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Self {
            client: client(config.upstream.connect_timeout, &scheme)?,
            routes: Routes::new(config)?,
            first_byte_timeout: config.upstream.first_byte_timeout,
        })
    }

    /// Sends an admitted and inspected request; gives up when the key ends or the time is over.
    ///
    /// Never a retry once a byte may have arrived: another way is tried only where no connection
    /// came about, and the client library repeats only what a dead pooled connection refused
    /// before anything was written.
    pub async fn forward(
        &self,
        permit: Permit,
        screened: Screened,
        manner: &Manner,
    ) -> Result<Answer, Refusal> {
        let principal = permit.principal();
        let Screened { surface, path, head, body: mut content, ask, .. } = screened;
        let wanted = Wanted::new(principal, surface, &head.headers, ask.as_ref());
        let mut tried = Tried::default();
        let repeatable = content.is_whole();
        let mut unreached = None;
        while let Some(way) = self.routes.best(&wanted, &mut tried, Instant::now())? {
            let (uri, headers) = way.head(&path, head.uri.query(), &head.headers)?;
            let mut request = Request::new(body(content.take()));
            *request.method_mut() = head.method.clone();
            *request.uri_mut() = uri;
            *request.headers_mut() = headers;
            // The spelling of header names travels in here.
            *request.extensions_mut() = head.extensions.clone();
            match self.answer(request, principal, manner).await {
                Ok(response) => {
                    let doubtful = way.answered(response.status(), Instant::now());
                    let served = Served { way, doubtful, several: self.routes.are_several() };
                    return Ok(Answer { response: incoming(response), permit, served });
                }
                Err(refusal) if refusal.reach() == Reach::Here => {
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

    /// Sends a request and waits for the head of its answer.
    async fn answer(
        &self,
        request: Request<RequestBody>,
        principal: &Principal,
        manner: &Manner,
    ) -> Result<Response<Incoming>, Refusal> {
        let answer = tokio::time::timeout(self.first_byte_timeout, self.client.request(request));
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

    fn too_slow(&self) -> Refusal {
        let limit = humantime::format_duration(self.first_byte_timeout);
        let message = format!("The upstream did not answer within {limit}.");
        Refusal::new(Word::UpstreamTimeout, message)
    }
}

fn no_way() -> Refusal {
    Refusal::new(Word::UpstreamUnreachable, "No upstream is configured for this.").before_upstream()
}

fn client(connect_timeout: Duration, scheme: &Scheme) -> Result<Client<Timed, RequestBody>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls(scheme)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    let timed = Timed { connector: https, limit: connect_timeout };
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(50))
        .http1_preserve_header_case(true)
        .build(timed);
    Ok(client)
}

/// Connects within a time limit, TLS included.
#[derive(Clone)]
struct Timed {
    connector: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Timed {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.connector.call(uri));
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        Box::pin(async move { connecting.await.unwrap_or_else(|_| Err(late().into())) })
    }
}

/// The system's certificate authorities; a small machine with plain upstreams may have none.
fn tls(scheme: &Scheme) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(
        *scheme != Scheme::HTTPS || !roots.is_empty(),
        "the system has no certificate authorities: install the package ca-certificates"
    );
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whose fault it is that there is no answer.
fn unanswered(error: &Error) -> Refusal {
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
    match (error.is_connect(), timed_out) {
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

/// An error as a message for people.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// What an error came from, the nearest first.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |error| error.source())
}
