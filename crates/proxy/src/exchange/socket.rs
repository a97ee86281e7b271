//! A WebSocket between a client and the upstream. Frames pass unchanged and as they come; each
//! `response.create` of the client is an exchange with a journey of its own.
//!
//! The handshake is no exchange: it asks nothing. One that the upstream refuses is, so that it is
//! known who refused.

mod answering;
mod asking;
mod held;
mod restoring;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Body as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::websocket::{Agreement, Follower, Forgets};

use super::arrived::ClientBody;
use super::auth::Principal;
use super::endpoint::{Endpoint, Operation};
use super::limit::{self, Permit};
use super::manner::Manner;
use super::refusal::{Refusal, Word};
use super::screen::Extra;
use super::screen::message::SocketMasks;
use super::tap::{Body, Tap};
use super::upstream::{Answer, Served, Upgrade};
use super::{Proxy, refused};
use crate::config::WebSocket;
use crate::ledger::account::Arrival;
use crate::ledger::recorder::Recorder;
use answering::{Answering, State};
use asking::{Asking, Message};
use restoring::Restoring;

/// Exchanges of one socket that may wait for their answers; Codex has one at a time.
const WAITING: usize = 8;
/// How long one side may leave the other's closing frame unanswered.
const CLOSING: Duration = Duration::from_secs(5);
/// How long a message of the upstream may take to end when the socket is to be closed from here.
const BORDER: Duration = Duration::from_millis(500);
/// After so long a socket that is to be closed from here is cut.
const CUT: Duration = Duration::from_millis(700);
/// How long a client may take to read what was sent before the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Compressed bytes are inflated in pieces of this many: of each may come a thousand times as much.
const COMPRESSED_PIECE: usize = 8 << 10;

/// A longer refusal of a handshake is not kept back.
const AT_ONCE: u64 = 64 << 10;

/// A socket whose handshake was answered: its connection goes on with it.
pub struct Socket {
    proxy: Arc<Proxy>,
    principal: Principal,
    endpoint: Endpoint,
    /// The handshake as it was asked.
    handshake: Request<()>,
    /// The handshake as it was answered.
    accepted: http::response::Parts,
    id: Uuid,
    served: Served,
    client: OnUpgrade,
    upstream: Upgraded,
}

/// Carries a socket from its handshake's answer to the connection.
#[derive(Clone)]
pub struct Handover(Arc<Mutex<Option<Socket>>>);

impl Handover {
    /// The socket; only the first who asks gets it.
    pub fn take(&self) -> Option<Socket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An exchange, or what is to be told instead; in the order in which it was asked.
enum Asked {
    Exchange(Box<Open>),
    Refused(Refusal),
    /// The socket ends: a code and a reason.
    End(u16, &'static str),
}

/// An exchange that went upstream.
struct Open {
    recorder: Recorder,
    _permit: Permit,
    /// It could not be read that it asks for an answer: then any message that is no part of one
    /// ends it, so that it does not stand in the way of others.
    is_unsure: bool,
    /// What puts values back into its answer, where something was masked.
    restoring: Option<Restoring>,
}

/// Why a direction has ended.
enum Ended {
    /// The client closed its connection, or broke it.
    Client,
    /// The upstream did.
    Upstream,
    /// All was said.
    Here,
    /// It was to end from here, and did not in time.
    Cut(Word),
}

/// Whether a request asks for a WebSocket.
pub fn is_asked<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The upstream's refusal of a handshake in one piece: clients, Codex among them, read no more of
/// its body than comes with its head, and the tap keeps the last piece until all is recorded.
async fn at_once(answer: Response<Body>) -> Result<Response<Body>, Refusal> {
    if answer.body().size_hint().exact().is_none_or(|length| length > AT_ONCE) {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| {
        let message = format!("The upstream's refusal of the WebSocket broke off: {error}.");
        Refusal::new(Word::UpstreamUnreachable, message)
    })?;
    Ok(Response::from_parts(head, Body::Whole(Full::new(body.to_bytes()))))
}

/// Asks the upstream for a socket, and gives its answer: 101 with a [`Handover`], or whatever else.
pub async fn open(
    proxy: &Arc<Proxy>,
    principal: Principal,
    endpoint: Endpoint,
    arrival: Arrival,
    mut request: Request<ClientBody>,
) -> Result<Response<Body>, Refusal> {
    if let Err(refusal) = is_spoken(proxy, &principal, &endpoint, &request) {
        proxy.ledger.refused(Some(principal.key.id.clone()), refusal.word());
        return Err(refusal);
    }
    let client = hyper::upgrade::on(&mut request);
    let mut head = request.into_parts().0;
    let mut verdict = proxy.screen.guard().handshake(&principal, &mut head);
    let handshake = Request::from_parts(head, ());
    proxy.ledger.found(&principal, &verdict.fresh);
    // The record comes after the answer: a handshake that succeeds leaves none.
    let shaken = match verdict.refusal.take() {
        None => shake(proxy, &principal, &endpoint, &handshake).await,
        Some(refusal) => Err(refusal),
    };
    let (accepted, upstream, served) = match shaken {
        Ok((Upgrade::Done(accepted, upstream, served), _)) => (accepted, upstream, served),
        Ok((Upgrade::Refused(response, served), permit)) => {
            let mut recorder = proxy.ledger.open(&principal, &endpoint, &handshake, arrival)?;
            recorder.looked_at(&verdict);
            recorder.request().await?;
            recorder.served(served.name(), served.doubt());
            let (masks, extra) = (verdict.masks.take(), Extra::Nothing);
            let answer = Answer { response, permit, served, masks, extra };
            let answer = Tap::on(answer, recorder, Operation::Other, proxy.manner.clone()).await?;
            return at_once(answer).await;
        }
        Err(refusal) => {
            let mut recorder = proxy.ledger.open(&principal, &endpoint, &handshake, arrival)?;
            recorder.looked_at(&verdict);
            return Err(refused(proxy, refusal, recorder).await);
        }
    };
    let mut response = Response::from_parts(accepted.clone(), Body::Whole(Full::default()));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let (id, proxy) = (arrival.id, proxy.clone());
    let socket =
        Socket { proxy, principal, endpoint, handshake, accepted, id, served, client, upstream };
    response.extensions_mut().insert(Handover(Arc::new(Mutex::new(Some(socket)))));
    Ok(response)
}

async fn shake(
    proxy: &Proxy,
    principal: &Principal,
    endpoint: &Endpoint,
    handshake: &Request<()>,
) -> Result<(Upgrade, Permit), Refusal> {
    let slot = proxy.limits.enter(principal)?;
    // Nothing is asked yet: which models a key may ask is decided exchange by exchange.
    let asked = limit::Asked { operation: Operation::Other, ask: None, text: None };
    let permit = proxy.limits.admit(slot, &asked).await?;
    let answer = proxy.upstream.upgrade(&permit, endpoint, handshake, &proxy.manner).await?;
    Ok((answer, permit))
}

/// Codex falls back to HTTP silently on the status of this refusal.
fn is_spoken<B>(
    proxy: &Proxy,
    principal: &Principal,
    endpoint: &Endpoint,
    request: &Request<B>,
) -> Result<(), Refusal> {
    let off = |message: &str| Err(Refusal::new(Word::WebsocketOff, message));
    if proxy.manner.draining.is_cancelled() {
        return Err(Refusal::busy("This proxy is stopping."));
    }
    if proxy.websocket == WebSocket::Off {
        return off("WebSocket is not spoken here: use HTTP.");
    }
    if request.version() != Version::HTTP_11 || request.method() != Method::GET {
        return off("A WebSocket begins with a GET of HTTP/1.1.");
    }
    if !is_handshake(request.headers()) {
        let message = "This is no handshake of a WebSocket as RFC 6455 has it.";
        return Err(Refusal::new(Word::UnreadableBody, message));
    }
    if !endpoint.path.ends_with("/responses") {
        return off("WebSocket is spoken on /v1/responses only: use HTTP.");
    }
    if !proxy.upstream.takes_sockets(principal, endpoint) {
        return off(
            "Models have upstreams of their own here, and a WebSocket is opened before its model is known: use HTTP.",
        );
    }
    Ok(())
}

/// RFC 6455 §4.2.1. With a body, who stands behind us might take frames for it, or it for frames.
fn is_handshake(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(header::CONNECTION).iter();
    let mut words = connection.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let length = headers.get(header::CONTENT_LENGTH);
    words.any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
        && length.is_none_or(|length| length == "0")
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

impl Socket {
    /// Carries frames both ways until one side ends, the key does, or the gateway.
    pub async fn run(self) {
        // Without its connection there is nobody to carry for.
        let Ok(client) = self.client.await else { return };
        let (mut client_reads, client_writes) = tokio::io::split(TokioIo::new(client));
        let (mut upstream_reads, mut upstream_writes) =
            tokio::io::split(TokioIo::new(self.upstream));
        let agreed = agreed(&self.accepted.headers);
        let (asked, waiting) = mpsc::channel(WAITING);
        let closing = Closing::default();
        let key_ended = self.principal.live.ended.clone();
        let manner = self.proxy.manner.clone();
        let asking = Asking {
            proxy: &self.proxy,
            principal: &self.principal,
            endpoint: &self.endpoint,
            handshake: &self.handshake,
            connection: self.id,
            served: &self.served,
            compresses: agreed.client,
            follower: Follower::new(agreed.client),
            message: Message::None,
            asked,
            closing: &closing,
            masks: SocketMasks::default(),
            restores: agreed.server.is_none(),
        };
        let mut answering = Answering {
            manner: &manner,
            accepted: &self.accepted,
            compresses: agreed.server,
            follower: Follower::new(agreed.server),
            waiting,
            queue: VecDeque::new(),
            last: None,
            closing: &closing,
            interrupted: Box::pin(manner.interrupted(&key_ended)),
            draining: Box::pin(manner.draining.cancelled()),
            state: State::Open,
            timer: Box::pin(tokio::time::sleep(manner.idle_timeout)),
            last_sign: Instant::now(),
            withholds: false,
            writer: client_writes,
        };
        let ended = tokio::select! {
            ended = Box::pin(answering.run(&mut upstream_reads)) => ended,
            ended = Box::pin(asking.run(&mut client_reads, &mut upstream_writes)) => ended,
            ended = late(&closing, &manner, &key_ended) => ended,
        };
        answering.finish(&ended).await;
        let part_from_upstream = tokio::time::timeout(LAST_WORDS, upstream_writes.shutdown());
        let part_from_client = async {
            if let Ended::Upstream | Ended::Here = ended {
                // Closing a socket with unread bytes resets it, and what was sent last is lost.
                let _ = tokio::time::timeout(LAST_WORDS, answering.writer.shutdown()).await;
                let _ = tokio::time::timeout(LAST_WORDS, read_out(&mut client_reads)).await;
            }
            drop((answering, client_reads));
        };
        let _ = tokio::join!(part_from_upstream, part_from_client);
    }
}

/// What both sides agreed about compression.
fn agreed(accepted: &HeaderMap) -> Agreement {
    let extensions = accepted.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let extensions: Vec<&str> = extensions.filter_map(|text| text.to_str().ok()).collect();
    Agreement::read(&extensions.join(","))
}

/// Which side sent its closing frame first, if any did.
#[derive(Default)]
struct Closing {
    begun: CancellationToken,
    by: OnceLock<Side>,
}

/// One side of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

impl Closing {
    fn begin(&self, by: Side) {
        let _ = self.by.set(by);
        self.begun.cancel();
    }

    fn is_clients(&self) -> bool {
        self.by.get() == Some(&Side::Client)
    }
}

/// When a socket that is to end has not.
async fn late(closing: &Closing, manner: &Manner, key_ended: &CancellationToken) -> Ended {
    let unanswered = async {
        closing.begun.cancelled().await;
        tokio::time::sleep(CLOSING).await;
        Ended::Client
    };
    let uncut = async {
        let refusal = manner.interrupted(key_ended).await;
        tokio::time::sleep(CUT).await;
        Ended::Cut(refusal.word())
    };
    tokio::select! { ended = unanswered => ended, ended = uncut => ended }
}

/// With compression a few bytes may say much: they are looked at in smaller pieces.
fn piece_size(compresses: Option<Forgets>) -> usize {
    if compresses.is_some() { COMPRESSED_PIECE } else { usize::MAX }
}

async fn read_out(mut from: impl AsyncRead + Unpin) {
    let mut unwanted = [0; 4096];
    while from.read(&mut unwanted).await.is_ok_and(|length| length > 0) {}
}

/// Where bytes are read to: small while little comes, so that a quiet socket costs little.
struct Buffer(Vec<u8>);

impl Buffer {
    const SMALL: usize = 1 << 10;
    const LARGE: usize = 64 << 10;

    fn new() -> Self {
        Self(vec![0; Self::SMALL])
    }

    /// Reads what is there, and tells how much; nothing at the end.
    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<usize> {
        from.read(&mut self.0).await
    }

    /// The first bytes of what was read.
    fn first(&self, length: usize) -> &[u8] {
        self.0.get(..length).unwrap_or_default()
    }

    /// Grows after a read that filled it, and shrinks after one that did not half.
    fn adapt(&mut self, length: usize) {
        if length == self.0.len() && length < Self::LARGE {
            self.0 = vec![0; length * 4];
        } else if length < self.0.len() / 4 && self.0.len() > Self::SMALL {
            self.0 = vec![0; Self::SMALL];
        }
    }
}
