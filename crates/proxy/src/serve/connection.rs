//! Listening sockets, and the connections that come in on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::route::{Door, Site};
use crate::config::Config;

/// Sockets that are bound, before anybody is let in.
pub struct Doors {
    listeners: Vec<(TcpListener, Door)>,
}

/// Sockets that are open.
pub struct Listening {
    /// Where it listens for clients.
    pub clients: Vec<SocketAddr>,
    /// Where it listens for operators, if elsewhere.
    pub operators: Vec<SocketAddr>,
    connections: TaskTracker,
    /// Fires first: nothing new, and what is open ends when its exchange does.
    closing: CancellationToken,
    /// Fires last: what is still open is cut.
    cut: CancellationToken,
}

impl Doors {
    /// Binds the addresses for clients and, where there are any, for operators.
    pub async fn bind(clients: &[SocketAddr], operators: &[SocketAddr]) -> Result<Self> {
        let everyone = if operators.is_empty() { Door::Everyone } else { Door::Clients };
        let clients = clients.iter().map(|address| (*address, everyone));
        let operators = operators.iter().map(|address| (*address, Door::Operators));
        let mut listeners = Vec::new();
        for (address, door) in clients.chain(operators) {
            let listener = TcpListener::bind(address).await;
            let hint = "is another program there? choose another with --listen";
            let listener = listener.with_context(|| format!("listening on {address} ({hint})"))?;
            listeners.push((listener, door));
        }
        Ok(Self { listeners })
    }

    /// Lets clients in.
    pub fn open(self, site: &Arc<Site>, config: &Config) -> Listening {
        let connections = TaskTracker::new();
        let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
        let room = Arc::new(Semaphore::new(config.limits.connections));
        let (mut clients, mut operators) = (Vec::new(), Vec::new());
        for (listener, door) in self.listeners {
            let addresses = if door == Door::Operators { &mut operators } else { &mut clients };
            addresses.extend(listener.local_addr());
            let host = Host {
                site: site.clone(),
                door,
                http: http(config),
                room: room.clone(),
                connections: connections.clone(),
                closing: closing.clone(),
                cut: cut.clone(),
            };
            connections.spawn(host.welcome(listener));
        }
        Listening { clients, operators, connections, closing, cut }
    }
}

impl Listening {
    /// Closes the sockets, waits up to `drain` for open exchanges, then cuts the rest.
    pub async fn close(self, drain: Duration, before_cut: impl FnOnce()) {
        self.closing.cancel();
        self.connections.close();
        if tokio::time::timeout(drain, self.connections.wait()).await.is_err() {
            tracing::warn!("exchanges are cut off: they did not end within the drain timeout");
            before_cut();
            self.cut.cancel();
            self.connections.wait().await;
        }
    }
}

/// Stands at one socket.
struct Host {
    site: Arc<Site>,
    door: Door,
    http: auto::Builder<TokioExecutor>,
    room: Arc<Semaphore>,
    connections: TaskTracker,
    closing: CancellationToken,
    cut: CancellationToken,
}

impl Host {
    async fn welcome(self, listener: TcpListener) {
        let host = Arc::new(self);
        loop {
            // No room: new connections wait in the kernel's queue, which is bounded too.
            let Some(Ok(room)) =
                host.closing.run_until_cancelled(host.room.clone().acquire_owned()).await
            else {
                return;
            };
            match host.closing.run_until_cancelled(listener.accept()).await {
                None => return,
                Some(Ok((stream, _))) => {
                    let _ = stream.set_nodelay(true);
                    host.connections.spawn(host.clone().attend(stream, room));
                }
                Some(Err(error)) => {
                    // Out of descriptors, most likely: give others time to close theirs.
                    tracing::error!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn attend(self: Arc<Self>, stream: TcpStream, _room: OwnedSemaphorePermit) {
        let metrics = self.site.metrics.clone();
        metrics.connected();
        let service = service_fn(|request| self.site.clone().answer(self.door, request));
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                self.cut.run_until_cancelled(connection).await
            }
        };
        if let Some(Err(error)) = ended {
            // Clients that leave in the middle are no news; clients that send rubbish are counted.
            if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
                metrics.bad_connection();
            }
            tracing::debug!(%error, "a connection ended early");
        }
        metrics.disconnected();
    }
}

fn http(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.client.head_timeout)
        .preserve_header_case(true)
        .auto_date_header(false);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(config.client.head_timeout)
        .max_concurrent_streams(256)
        .auto_date_header(false);
    http
}
