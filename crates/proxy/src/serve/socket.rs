//! Sockets of both kinds as one: those that listen, and the connections on them.

use std::io::{ErrorKind, IoSlice, Result};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, getsockname, recv, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::config::listen::Listen;

/// A client that is silent for so long is asked by the system whether it is still there …
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// … so often …
const KEEPALIVE_PROBES: u32 = 4;
/// … with this pause, before its connection counts as broken.
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(15);

/// A socket that listens.
pub enum Listener {
    /// At an address of the network.
    Tcp(TcpListener),
    /// At a path of this machine.
    Unix(UnixListener),
}

/// A connection from a client.
pub enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// Over the network, encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// On this machine.
    Unix(UnixStream),
}

impl Listener {
    /// Binds a socket; `mode` says who may connect to one that is a file.
    pub async fn bind(at: &Listen, mode: u32) -> Result<Self> {
        match at {
            Listen::Tcp(address) => Self::tcp(TcpListener::bind(address).await?),
            Listen::Unix(path) => Ok(Self::Unix(bind_file(path, mode).await?)),
        }
    }

    /// A listening socket of the network. What is set on it holds for the connections it accepts.
    fn tcp(listener: TcpListener) -> Result<Self> {
        let socket = listener.as_fd();
        sockopt::set_tcp_nodelay(socket, true)?;
        // Half-open clients: whose machine is gone never says so.
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(socket, KEEPALIVE_PAUSE)?;
        sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
        Ok(Self::Tcp(listener))
    }

    /// A socket that another process opened.
    pub fn take(socket: OwnedFd) -> Result<Self> {
        // Whether a call on it waits is a property of the socket, not of who holds it.
        rustix::io::ioctl_fionbio(&socket, true)?;
        if getsockname(&socket)?.address_family() == AddressFamily::UNIX {
            return Ok(Self::Unix(UnixListener::from_std(socket.into())?));
        }
        Self::tcp(TcpListener::from_std(socket.into())?)
    }

    /// The same socket once more.
    pub fn duplicate(&self) -> Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Self::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or(ErrorKind::InvalidInput)?;
                Ok(Listen::Unix(path.to_owned()))
            }
        }
    }

    /// The next connection, and from where it comes if from the network.
    pub async fn accept(&self) -> Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }
}

/// Binds a socket file. One that a dead process left is replaced; one that answers is not.
async fn bind_file(path: &Path, mode: u32) -> Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        let answer = UnixStream::connect(path).await;
        if answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            std::fs::remove_file(path)?;
        }
    }
    // Until its mode is set nobody but the owner gets in: the process masks the others' rights.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

impl Stream {
    /// Looks at what came first, without taking it; what is encrypted cannot be looked at.
    pub async fn peek(&self, first: &mut [u8]) -> Result<usize> {
        match self {
            Self::Tls(_) => Err(ErrorKind::Unsupported.into()),
            Self::Tcp(stream) => stream.peek(first).await,
            Self::Unix(stream) => {
                let mut look = || Ok(recv(stream, &mut *first, RecvFlags::PEEK)?.0);
                stream.async_io(Interest::READABLE, &mut look).await
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
