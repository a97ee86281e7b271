//! Listening sockets: bound, opened, closed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Host;
use super::route::{Door, Site};
use super::socket::Listener;
use crate::config::Config;
use crate::config::listen::Listen;

/// Connections of operators at once: their door must stay open when the clients' is full.
const OPERATORS: usize = 64;

/// Sockets that are bound, before anybody is let in.
pub struct Doors {
    listeners: Vec<(Listener, Door)>,
    files: SocketFiles,
}

/// Sockets that are open.
pub struct Listening {
    /// Where it listens for clients.
    pub clients: Vec<Listen>,
    /// Where it listens for operators, if elsewhere.
    pub operators: Vec<Listen>,
    files: SocketFiles,
    connections: TaskTracker,
    /// Fires first: nothing new, and what is open ends when its exchange does.
    closing: CancellationToken,
    /// Fires last: what is still open is cut.
    cut: CancellationToken,
}

impl Doors {
    /// Binds the addresses for clients and, where there are any, for operators.
    pub async fn bind(config: &Config) -> Result<Self> {
        let (mut listeners, mut files) = (Vec::new(), SocketFiles::default());
        for (at, door) in places(config) {
            let listener = Listener::bind(at, config.socket_mode).await;
            let hint = "is another program there? choose another with --listen";
            let listener = listener.with_context(|| format!("listening on {at} ({hint})"))?;
            files.0.extend(at.file());
            listeners.push((listener, door));
        }
        Ok(Self { listeners, files })
    }

    /// Lets clients in.
    pub fn open(self, site: &Arc<Site>, config: &Config) -> Listening {
        let connections = site.connections.clone();
        let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
        let rooms =
            [config.limits.connections, OPERATORS].map(|room| Arc::new(Semaphore::new(room)));
        let [clients_room, operators_room] = rooms;
        let (mut clients, mut operators) = (Vec::new(), Vec::new());
        for (listener, door) in self.listeners {
            let (addresses, room) = match door {
                Door::Operators => (&mut operators, &operators_room),
                Door::Everyone | Door::Clients => (&mut clients, &clients_room),
            };
            addresses.extend(listener.address());
            let host = Host {
                site: site.clone(),
                door,
                room: room.clone(),
                connections: connections.clone(),
                closing: closing.clone(),
                cut: cut.clone(),
            };
            connections.spawn(host.welcome(listener));
        }
        Listening { clients, operators, files: self.files, connections, closing, cut }
    }
}

/// Where to listen, and for whom.
fn places(config: &Config) -> impl Iterator<Item = (&Listen, Door)> {
    let everyone = if config.admin_listen.is_empty() { Door::Everyone } else { Door::Clients };
    let clients = config.listen.iter().map(move |at| (at, everyone));
    clients.chain(config.admin_listen.iter().map(|at| (at, Door::Operators)))
}

/// Socket files of ours, which go when nobody listens there any more.
#[derive(Default)]
struct SocketFiles(Vec<PathBuf>);

impl Drop for SocketFiles {
    fn drop(&mut self) {
        for file in &self.0 {
            // Left behind, it is replaced by whoever listens there next.
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Listening {
    /// Closes the sockets, gives connections so long to end by themselves, then cuts them.
    pub async fn close(self, patience: Duration, before_cut: impl FnOnce()) {
        self.closing.cancel();
        drop(self.files);
        self.connections.close();
        if tokio::time::timeout(patience, self.connections.wait()).await.is_err() {
            before_cut();
            self.cut.cancel();
            self.connections.wait().await;
        }
    }
}
