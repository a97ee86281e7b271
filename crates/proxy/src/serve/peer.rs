//! Who is at the other end of a connection, past load balancers as far as they are trusted.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The longest PROXY header that is taken: addresses, and what a load balancer adds to them.
const LONGEST: usize = 2048;
/// How long a load balancer may take for its header; it sends it at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a header is looked at that has not come whole.
const LOOK: Duration = Duration::from_millis(20);
/// So many refused strangers are named in each period; the others are counted.
const NAMED: u32 = 10;
/// How long a period is.
const PERIOD: Duration = Duration::from_mins(1);

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A machine of the network.
    Network(IpAddr),
    /// A program of this machine, over a socket file.
    Machine,
}

impl Peer {
    /// Who asks: the peer or, where it is a trusted proxy, whom it names in `x-forwarded-for`.
    /// Each proxy adds who asked it at the end, so that the last name from one that is not trusted
    /// is the last that can be believed.
    #[must_use]
    pub fn client(self, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        if !self.is_in(trusted) {
            return self;
        }
        let mut client = self;
        let lines = headers.get_all("x-forwarded-for").into_iter();
        let names: Vec<&str> =
            lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).collect();
        for name in names.into_iter().rev() {
            let Some(address) = address(name.trim()) else { break };
            client = Self::Network(address);
            if !client.is_in(trusted) {
                break;
            }
        }
        client
    }

    /// Whether it is a machine of one of these networks.
    pub fn is_in(self, networks: &[IpNet]) -> bool {
        match self {
            Self::Network(address) => networks.iter().any(|network| network.contains(&address)),
            Self::Machine => false,
        }
    }
}

impl From<SocketAddr> for Peer {
    /// An IPv4 address that came in through a socket for IPv6 is written as what it is.
    fn from(address: SocketAddr) -> Self {
        Self::Network(address.ip().to_canonical())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Machine => f.write_str("this machine"),
        }
    }
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn address(name: &str) -> Option<IpAddr> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let alone = bare.parse().ok();
    let address = alone.or_else(|| name.parse().ok().map(|socket: SocketAddr| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// Takes the PROXY header that a connection begins with; the peer that it names, if any: a load
/// balancer that looks whether we are alive names none.
pub async fn announced(stream: &mut TcpStream) -> Result<Option<Peer>> {
    let header = async {
        let mut first = vec![0; LONGEST];
        loop {
            let seen = stream.peek(&mut first).await?;
            if seen == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let seen = first.get(..seen).unwrap_or_default();
            match ProxyHeader::parse(seen, ParseConfig::default()) {
                Ok((header, length)) => {
                    let peer = header.proxied_address().map(|named| Peer::from(named.source));
                    return Ok((peer, length));
                }
                // What was looked at stays, so that there is nothing to wait on for the rest.
                Err(proxy_header::Error::BufferTooShort) if seen.len() < LONGEST => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(_) => return Err(Error::new(ErrorKind::InvalidData, "no PROXY header")),
            }
        }
    };
    let header = tokio::time::timeout(PATIENCE, header).await;
    let (peer, length) = header.unwrap_or(Err(ErrorKind::TimedOut.into()))?;
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(peer)
}

/// Tells operators where strangers come from, in bounds: a stranger must not fill the diagnostics.
#[derive(Default)]
pub struct Strangers {
    period: Mutex<Option<Period>>,
}

struct Period {
    began: Instant,
    named: u32,
    unnamed: u64,
}

impl Strangers {
    /// Tells of one, and how many were left out before.
    pub fn tell(&self, peer: Peer, refusal: &str) {
        if let Some(unnamed) = self.turn(Instant::now()) {
            tracing::warn!(client = %peer, refusal, unnamed, "somebody was refused");
        }
    }

    /// Whether one may be named now: then how many were not since the last period.
    fn turn(&self, now: Instant) -> Option<u64> {
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *period {
            Some(Period { began, named, unnamed }) if now.duration_since(*began) < PERIOD => {
                let room = *named < NAMED;
                *named += u32::from(room);
                *unnamed += u64::from(!room);
                room.then_some(0)
            }
            over => {
                let unnamed = over.as_ref().map_or(0, |period| period.unnamed);
                *over = Some(Period { began: now, named: 1, unnamed: 0 });
                Some(unnamed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use http::HeaderMap;
    use ipnet::IpNet;

    use super::{Peer, Strangers};

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut all = HeaderMap::new();
        for line in forwarded {
            all.append("x-forwarded-for", line.parse().unwrap());
        }
        Peer::Network(peer.parse().unwrap()).client(&all, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["192.0.2.1", "10.0.0.2"]), "192.0.2.1");
        assert_eq!(client("fd00::1", &["[2001:db8::5]:4711, 10.2.3.4:80"]), "2001:db8::5");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn strangers_are_named_in_bounds_and_counted_beyond() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let named = (0..25).filter_map(|_| strangers.turn(start)).count();
        assert_eq!(named, 10);
        assert_eq!(strangers.turn(start + Duration::from_mins(1)), Some(15));
    }
}
