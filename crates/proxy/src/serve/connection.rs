//! The connections that come in on a listening socket.

use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderValue, header};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::doors::Stages;
use super::peer::{Peer, announced};
use super::route::{Caller, Door, Site};
use super::socket::{Listener, Stream};
use super::stream::ClientStream;
use super::terms::Terms;
use super::tls;
use crate::config::Config;
use crate::exchange::socket::Handover;

/// How often a connection is looked at that has sent less than tells its version.
const LOOK: Duration = Duration::from_millis(20);
/// RFC 9113 §3.4: what a client that speaks HTTP/2 sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Stands at one socket.
pub struct Host {
    /// Answers.
    pub site: Arc<Site>,
    /// Who comes in here.
    pub door: Door,
    /// How many at once.
    pub room: Arc<Semaphore>,
    /// All connections, and what runs for them.
    pub connections: TaskTracker,
    /// How far they are from their end.
    pub stages: Stages,
}

impl Host {
    /// Lets in whoever comes, while there is room.
    pub async fn welcome(self, listener: Listener) {
        let host = Arc::new(self);
        loop {
            // No room: new connections wait in the kernel's queue, which is bounded too.
            let Some(Ok(room)) =
                host.stages.leaving.run_until_cancelled(host.room.clone().acquire_owned()).await
            else {
                return;
            };
            match host.stages.leaving.run_until_cancelled(listener.accept()).await {
                None => return,
                Some(Ok((stream, from))) => {
                    let peer = from.map_or(Peer::Machine, Peer::from);
                    host.connections.spawn(host.clone().attend(stream, peer, room));
                }
                Some(Err(error)) => {
                    // Out of descriptors, most likely: give others time to close theirs.
                    tracing::error!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// The connection as HTTP can be spoken on it, and who is at its other end.
    async fn prepare(
        &self,
        stream: Stream,
        peer: Peer,
        terms: &Terms,
    ) -> std::io::Result<(Stream, Peer)> {
        // Socket files and operators' doors are for this machine and what watches it: there is
        // neither a PROXY header nor TLS.
        let mut stream = match stream {
            Stream::Tcp(stream) if self.door != Door::Operators => stream,
            other => return Ok((other, peer)),
        };
        let strangers = &self.site.strangers;
        let mut client = peer;
        if peer.is_in(&terms.proxy_protocol) {
            let announced = Box::pin(announced(&mut stream)).await;
            let named = announced.inspect_err(|_| strangers.tell(peer, "no PROXY header"))?;
            client = named.unwrap_or(peer);
        }
        let Some(tls) = &terms.tls else { return Ok((Stream::Tcp(stream), client)) };
        let secured = Box::pin(tls::secure(stream, tls.clone())).await;
        let refused = |error: &std::io::Error| {
            if tls::is_refusal(error) {
                strangers.tell(client, "client certificate");
            }
        };
        Ok((secured.inspect_err(refused)?, client))
    }

    /// Speaks HTTP until the connection ends, or the gateway does.
    async fn converse(&self, stream: Stream, peer: Peer, terms: Arc<Terms>) -> hyper::Result<()> {
        let protocols = &terms.protocols;
        let version = self.stages.closing.run_until_cancelled(protocols.version(&stream));
        let Some(Some(version)) = version.await else { return Ok(()) };
        let caller = Caller { door: self.door, peer };
        let socket = Arc::new(OnceLock::new());
        let service = service_fn(|request| {
            let (site, stages, socket) = (self.site.clone(), self.stages.clone(), socket.clone());
            let answer = Box::pin(site.answer(caller, request));
            async move {
                let answer = stages.cut.run_until_cancelled_owned(answer).await;
                let mut answer = answer.ok_or("the gateway ends")?;
                if let Some(handover) = answer.extensions_mut().remove::<Handover>() {
                    let _ = socket.set(handover);
                } else if version == Version::One && stages.leaving.is_cancelled() {
                    // The last answer on its connection; HTTP/2 has other words for that.
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, &str>(answer)
            }
        });
        let stream = TokioIo::new(ClientStream::new(stream, protocols.read_timeout));
        match version {
            Version::One => {
                let connection = protocols.http1.serve_connection(stream, service);
                let connection = pin!(connection.with_upgrades());
                drop(terms);
                // Not when it is left: a request may be on its way on an idle connection. The next
                // answer ends it.
                let end = &self.stages.closing;
                let shut_down = http1::UpgradeableConnection::graceful_shutdown;
                self.attend_to(connection, end, shut_down).await?;
            }
            Version::Two => {
                let connection = pin!(protocols.http2.serve_connection(stream, service));
                drop(terms);
                // RFC 9113 §6.8: a client is told which of its streams are still answered.
                let end = &self.stages.leaving;
                self.attend_to(connection, end, http2::Connection::graceful_shutdown).await?;
            }
        }
        if let Some(socket) = socket.get().and_then(Handover::take) {
            self.site.metrics.socket_opened();
            self.stages.cut.run_until_cancelled(Box::pin(socket.run())).await;
            self.site.metrics.socket_closed();
        }
        Ok(())
    }

    async fn attend_to<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        end: &CancellationToken,
        shut_down: impl FnOnce(Pin<&mut C>),
    ) -> hyper::Result<()> {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = end.cancelled() => shut_down(connection.as_mut()),
        }
        self.stages.cut.run_until_cancelled(connection).await.unwrap_or(Ok(()))
    }

    async fn attend(self: Arc<Self>, stream: Stream, peer: Peer, _room: OwnedSemaphorePermit) {
        let metrics = self.site.metrics.clone();
        metrics.connected();
        let terms = self.site.terms();
        match self.prepare(stream, peer, &terms).await {
            Ok((stream, peer)) => self.listen_to(stream, peer, terms).await,
            Err(error) => {
                metrics.bad_connection();
                tracing::debug!(%error, "a connection ended before its first request");
            }
        }
        metrics.disconnected();
    }

    async fn listen_to(&self, stream: Stream, peer: Peer, terms: Arc<Terms>) {
        if let Err(error) = self.converse(stream, peer, terms).await {
            // Clients that leave in the middle are no news; clients that send rubbish are counted.
            if error.is_parse() {
                self.site.metrics.bad_connection();
            }
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// The two protocols that are spoken.
#[derive(Clone)]
pub struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Tracked>,
    /// For a connection to say something, and for the head of a request.
    head_timeout: Duration,
    /// For a client to read what was sent.
    read_timeout: Duration,
}

/// Which protocol a client speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Runs the streams of an HTTP/2 connection where the shutdown waits for them.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

impl Protocols {
    /// As this configuration wants them; streams of HTTP/2 are run in `connections`.
    pub fn new(config: &Config, connections: &TaskTracker) -> Self {
        let head_timeout = config.client.head_timeout;
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .preserve_header_case(true)
            .auto_date_header(false);
        let mut http2 = http2::Builder::new(Tracked(connections.clone()));
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(head_timeout)
            .max_concurrent_streams(256)
            .auto_date_header(false);
        Self { http1, http2, head_timeout, read_timeout: config.client.read_timeout }
    }

    /// Looks at what the client sends first, without taking it. None: it says nothing, or goes.
    async fn version(&self, stream: &Stream) -> Option<Version> {
        if let Stream::Tls(secured) = stream {
            // RFC 9113 §3.3: over TLS it was agreed in the handshake.
            let two = secured.get_ref().1.alpn_protocol() == Some(b"h2");
            return Some(if two { Version::Two } else { Version::One });
        }
        let look = async {
            let mut first = [0; PREFACE.len()];
            loop {
                let seen = stream.peek(&mut first).await.ok().filter(|seen| *seen > 0)?;
                let (seen, preface) = (first.get(..seen)?, PREFACE.get(..seen)?);
                if seen != preface {
                    return Some(Version::One);
                }
                if seen.len() == PREFACE.len() {
                    return Some(Version::Two);
                }
                // More will come: what was looked at stays, so that there is nothing to wait on.
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(self.head_timeout, look).await.ok().flatten()
    }
}
