//! Listening sockets: bound, opened, closed.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Host;
use super::route::{Door, Site};
use super::socket::Listener;
use crate::config::Config;
use crate::config::listen::Listen;
use crate::config::preset::Opens;

/// Connections of operators at once: their door must stay open when the clients' is full.
const OPERATORS: usize = 64;

/// Sockets that are bound, before anybody is let in.
pub struct Doors {
    bound: Vec<(Listener, Meant)>,
    files: SocketFiles,
}

/// Sockets that are open.
pub struct Listening {
    /// Where it listens for clients.
    pub clients: Vec<Listen>,
    /// Where it listens for operators, if elsewhere.
    pub operators: Vec<Listen>,
    /// The same sockets once more, for whoever takes over.
    pub sockets: Vec<Inherited>,
    files: SocketFiles,
    /// Those who stand at the sockets.
    hosts: TaskTracker,
    connections: TaskTracker,
    stages: Stages,
}

/// What a listening socket is for, as processes tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    /// The place as it was configured: port 0 stays 0.
    pub at: String,
    /// Who is to come in.
    pub whom: Whom,
    /// Who opened it.
    pub given: Given,
}

/// Who is to come in through a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// Clients, and operators where they have no door of their own.
    Clients,
    /// Operators.
    Operators,
}

/// Who opened a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// One of us, because configuration says so.
    Configured,
    /// systemd: then it says where to listen, instead of configuration.
    Systemd,
}

/// A listening socket of another process.
pub struct Inherited {
    /// What it is for.
    pub meant: Meant,
    /// The socket.
    pub socket: OwnedFd,
}

impl Doors {
    /// Takes the sockets that were given, as far as they are wanted, and binds what is missing.
    pub async fn bind(config: &Config, given: Vec<Inherited>) -> Result<Self> {
        let from_systemd = |one: &Inherited| one.meant.given == Given::Systemd;
        let (passed, mut handed): (Vec<_>, Vec<_>) = given.into_iter().partition(from_systemd);
        let (mut bound, mut files) = (Vec::new(), SocketFiles::default());
        let places = if passed.is_empty() { places(config) } else { Vec::new() };
        for (at, whom) in places {
            let meant = Meant { at: at.to_string(), whom, given: Given::Configured };
            let same = handed.iter().position(|one| one.meant == meant);
            let listener = match same.map(|index| handed.swap_remove(index)) {
                Some(inherited) => Listener::take(inherited.socket),
                None => Listener::bind(at, config.socket_mode).await,
            };
            let hint = "is another program there? choose another with --listen";
            let listener = listener.with_context(|| format!("listening on {at} ({hint})"))?;
            files.0.extend(at.file());
            bound.push((listener, meant));
        }
        for Inherited { meant, socket } in passed {
            let listener = Listener::take(socket);
            let listener = listener.with_context(|| format!("listening on {}", meant.at))?;
            bound.push((listener, meant));
        }
        Ok(Self { bound, files })
    }

    /// Lets clients in.
    pub fn open(self, site: &Arc<Site>, config: &Config) -> Result<Listening> {
        let connections = site.connections.clone();
        let stages = Stages::default();
        let rooms =
            [config.limits.connections, OPERATORS].map(|room| Arc::new(Semaphore::new(room)));
        let apart = self.bound.iter().any(|(_, meant)| meant.whom == Whom::Operators);
        let mut listening = Listening {
            clients: Vec::new(),
            operators: Vec::new(),
            sockets: Vec::new(),
            files: self.files,
            hosts: TaskTracker::new(),
            connections: connections.clone(),
            stages: stages.clone(),
        };
        let [clients_room, operators_room] = rooms;
        for (listener, meant) in self.bound {
            let (door, addresses, room) = match meant.whom {
                Whom::Operators => (Door::Operators, &mut listening.operators, &operators_room),
                Whom::Clients if config.opens != Opens::Site => {
                    (Door::Api, &mut listening.clients, &clients_room)
                }
                Whom::Clients if apart => (Door::Clients, &mut listening.clients, &clients_room),
                Whom::Clients => (Door::Everyone, &mut listening.clients, &clients_room),
            };
            addresses.extend(listener.address());
            let socket = listener.duplicate().context("keeping a socket for a successor")?;
            listening.sockets.push(Inherited { meant, socket });
            let host = Host {
                site: site.clone(),
                door,
                room: room.clone(),
                connections: connections.clone(),
                stages: stages.clone(),
            };
            listening.hosts.spawn(host.welcome(listener));
        }
        Ok(listening)
    }
}

/// Where to listen, and for whom.
fn places(config: &Config) -> Vec<(&Listen, Whom)> {
    let clients = config.listen.iter().map(|at| (at, Whom::Clients));
    clients.chain(config.admin_listen.iter().map(|at| (at, Whom::Operators))).collect()
}

/// How far connections are from their end.
#[derive(Clone, Default)]
pub struct Stages {
    /// Fires first where another process takes over: no new connections, and those that are open
    /// end with their next answer.
    pub leaving: CancellationToken,
    /// Fires next: what is open ends when its exchange does.
    pub closing: CancellationToken,
    /// Fires last: what is still open is cut.
    pub cut: CancellationToken,
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
    /// Lets nobody in any more; nobody is let in when this ends. The sockets stay.
    pub async fn let_nobody_in(&self) {
        self.stages.leaving.cancel();
        self.hosts.close();
        self.hosts.wait().await;
    }

    /// The sockets belong to whoever took them over.
    pub fn give_away(&mut self) {
        self.files.0.clear();
        self.sockets.clear();
    }

    /// Waits so long for connections to end.
    pub async fn wait(&self, patience: Duration) {
        self.connections.close();
        // Whoever is still there is told by what follows.
        let _ = tokio::time::timeout(patience, self.connections.wait()).await;
    }

    /// Lets nobody in any more where the sockets outlive this process: who comes waits for the next.
    pub fn stop_accepting(&self) {
        if self.sockets.iter().any(|one| one.meant.given == Given::Systemd) {
            self.stages.leaving.cancel();
        }
    }

    /// Closes the sockets, gives connections so long to end by themselves, then cuts them.
    pub async fn close(self, patience: Duration, before_cut: impl FnOnce()) {
        drop((self.sockets, self.files));
        self.stages.leaving.cancel();
        self.stages.closing.cancel();
        self.hosts.close();
        self.hosts.wait().await;
        self.connections.close();
        if tokio::time::timeout(patience, self.connections.wait()).await.is_err() {
            before_cut();
            self.stages.cut.cancel();
            self.connections.wait().await;
        }
    }
}
