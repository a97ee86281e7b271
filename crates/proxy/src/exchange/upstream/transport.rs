//! Exchanges over kept connections.
//!
//! A connection has no task of its own: whoever waits for its answer, or reads the answer's body,
//! drives it. So a piece of an answer costs no change between tasks, and all that is ready leaves
//! in one piece. hyper reads and writes the bytes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result as AnyResult};
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};

use super::BoxError;
use super::body::UpstreamBody;
use super::dial::Dialer;
use super::splice::{HeadComes, Splice, Spliced};
use crate::exchange::sent::RequestBody;

/// How long a connection may wait for its next exchange. Upstreams close theirs after a minute or
/// more: ours go before.
const IDLE: Duration = Duration::from_secs(50);
/// How many connections of one origin may wait.
const MOST_IDLE: usize = 512;
/// How many headers an answer may have.
const MOST_HEADERS: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No connection came about: nothing has left.
    #[error("connecting")]
    Unreachable(#[source] BoxError),
    /// The connection broke, or what came is no answer.
    #[error("exchanging")]
    Broken(#[source] hyper::Error),
}

/// Sends requests and keeps connections.
pub struct Transport {
    dialer: Dialer,
    http1: http1::Builder,
    splice: Option<Arc<Splice>>,
    idle: Arc<Idle>,
}

/// Connections that wait for their next exchange.
#[derive(Default)]
pub struct Idle {
    links: Mutex<Links>,
}

/// By origin, of which there are few; each with the time since which it waits, the latest last.
type Links = Vec<(Arc<Origin>, Vec<(Instant, Box<Link>)>)>;

/// Where a connection leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    address: Uri,
    host: HeaderValue,
}

impl Origin {
    /// Where this address leads.
    pub fn of(address: &Uri) -> AnyResult<Arc<Self>> {
        let authority = address.authority().context("the upstream's address has no host")?.clone();
        let scheme = address.scheme().cloned().unwrap_or(Scheme::HTTPS);
        let host = HeaderValue::try_from(authority.as_str())?;
        let root = PathAndQuery::from_static("/");
        let address = Uri::builder().scheme(scheme).authority(authority).path_and_query(root);
        Ok(Arc::new(Self { address: address.build()?, host }))
    }

    /// What requests that go there say in `host`.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }
}

/// A connection, at rest or in the middle of one exchange.
pub struct Link {
    sender: SendRequest<RequestBody>,
    /// Until it has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    origin: Arc<Origin>,
    head_comes: HeadComes,
}

impl Transport {
    /// Keeps connections that this dialer makes; on them a key may join requests.
    pub fn new(dialer: Dialer, splice: Option<Arc<Splice>>) -> Self {
        let mut http1 = http1::Builder::new();
        http1.preserve_header_case(true).max_headers(MOST_HEADERS);
        Self { dialer, http1, splice, idle: Arc::default() }
    }

    /// Sends a request, whose address is its path there, and waits for the head of its answer.
    ///
    /// It is sent a second time only where a kept connection turns out to be closed before anything
    /// of the request was written to it.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        origin: &Arc<Origin>,
    ) -> Result<Response<UpstreamBody>, Unanswered> {
        // HTTP/2 clients send none.
        request.headers_mut().entry(HOST).or_insert_with(|| origin.host.clone());
        while let Some(link) = self.idle.take(origin) {
            match link.exchange(request).await {
                Ok(answer) => return Ok(self.body_of(answer)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Unanswered::Broken(error.into_error())),
                },
            }
        }
        // Boxed, so that an exchange on a kept connection is not moved about with room for it.
        let link = Box::pin(self.connect(origin)).await?;
        let answer = link.exchange(request).await;
        answer.map(|answer| self.body_of(answer)).map_err(|e| Unanswered::Broken(e.into_error()))
    }

    /// Lets go of connections that have waited too long, or that the other side has closed.
    pub fn sweep(&self) {
        self.idle.links().retain_mut(|(_, links)| {
            links.retain_mut(|(since, link)| since.elapsed() < IDLE && link.is_ready());
            !links.is_empty()
        });
    }

    async fn connect(&self, origin: &Arc<Origin>) -> Result<Box<Link>, Unanswered> {
        let line = self.dialer.dial(&origin.address).await.map_err(Unanswered::Unreachable)?;
        let (line, head_comes) = Spliced::new(line.into_inner(), self.splice.clone());
        let shaken = self.http1.handshake(line).await;
        let (sender, connection) = shaken.map_err(Unanswered::Broken)?;
        Ok(Box::new(Link {
            sender,
            connection: Some(Box::pin(connection.with_upgrades())),
            origin: origin.clone(),
            head_comes,
        }))
    }

    fn body_of(
        &self,
        (answer, link): (Response<hyper::body::Incoming>, Box<Link>),
    ) -> Response<UpstreamBody> {
        answer.map(|incoming| UpstreamBody::new(incoming, link, self.idle.clone()))
    }
}

impl Link {
    async fn exchange(
        mut self: Box<Self>,
        request: Request<RequestBody>,
    ) -> Result<(Response<hyper::body::Incoming>, Box<Self>), TrySendError<Request<RequestBody>>>
    {
        self.head_comes.next();
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            let _ = self.drive(cx);
            answer.as_mut().poll(cx)
        });
        let answer = answer.await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            // From here on it is no HTTP: whoever asked for that gets it from the answer.
            poll_fn(|cx| self.drive(cx)).await;
        }
        Ok((answer, self))
    }

    /// Reads and writes what can be read and written now; ready when the connection has ended.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        // An error reaches whoever waits for the answer or its body.
        let ended = connection.as_mut().poll(cx).map(|_| ());
        if ended.is_ready() {
            self.connection = None;
        }
        ended
    }

    /// Whether another exchange may begin.
    fn is_ready(&mut self) -> bool {
        let _ = self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

impl Idle {
    /// Takes a connection whose answer has ended, if it can be used again.
    pub fn put(&self, mut link: Box<Link>) {
        if !link.is_ready() {
            return;
        }
        let mut links = self.links();
        let Some((_, waiting)) = links.iter_mut().find(|(origin, _)| *origin == link.origin) else {
            links.push((link.origin.clone(), vec![(Instant::now(), link)]));
            return;
        };
        if waiting.len() < MOST_IDLE {
            waiting.push((Instant::now(), link));
        }
    }

    /// The connection that came last: those before may grow old and go.
    fn take(&self, origin: &Arc<Origin>) -> Option<Box<Link>> {
        let pop = || {
            let mut links = self.links();
            links.iter_mut().find(|(waiting, _)| waiting == origin)?.1.pop()
        };
        loop {
            let (since, mut link) = pop()?;
            if since.elapsed() < IDLE && link.is_ready() {
                return Some(link);
            }
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // A panic while the lock was held leaves a list of connections, which is all it ever is.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
