//! Where to listen.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// At an address of the network.
    Tcp(SocketAddr),
    /// At a path of this machine.
    Unix(PathBuf),
}

/// Reads `HOST:PORT` or `unix:PATH`; relative paths are taken from `base`.
pub fn parse(text: &str, base: &Path) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let named = !path.trim().is_empty();
        return named
            .then(|| Listen::Unix(base.join(path)))
            .ok_or_else(|| format!("`{text}` names no socket: write unix:PATH"));
    }
    let text = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.replace("localhost:", "127.0.0.1:")
    };
    let allowed =
        || format!("`{text}` is no address: write HOST:PORT, as 127.0.0.1:8080, or unix:PATH");
    text.parse().map(Listen::Tcp).map_err(|_| allowed())
}

impl Listen {
    /// The address where it is one of the network.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path where it is one of this machine.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path.clone()),
        }
    }

    /// Whether it names one place: port 0 is another one each time.
    pub fn is_one_place(&self) -> bool {
        self.tcp().is_none_or(|address| address.port() != 0)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
