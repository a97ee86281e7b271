//! Listening sockets that systemd opened and passed on (its "socket activation").

use anyhow::{Context, Result};
use listenfd::ListenFd;

use super::doors::{Given, Inherited, Meant, Whom};
use crate::config::{Wrong, passed_socket_names};

/// The sockets that were passed to this process, if any. Changes the environment, so that no
/// program started from here takes them for its own: to be called while there is one thread.
pub fn sockets() -> Result<Vec<Inherited>, Wrong> {
    let mut passed = ListenFd::from_env();
    let names = passed_socket_names();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let name = names.get(index).map_or("", String::as_str);
        let socket = take(&mut passed, index);
        let socket = socket.map_err(|error| Wrong(format!("LISTEN_FDS: {error:#}")))?;
        let meant = Meant {
            at: format!("systemd:{name}:{index}"),
            whom: whom(name),
            given: Given::Systemd,
        };
        sockets.push(Inherited { meant, socket });
    }
    Ok(sockets)
}

/// `FileDescriptorName=` of the socket's unit tells for whom it is.
fn whom(name: &str) -> Whom {
    if name == "admin" { Whom::Operators } else { Whom::Clients }
}

fn take(passed: &mut ListenFd, index: usize) -> Result<std::os::fd::OwnedFd> {
    let hint = "it must be a listening stream socket of the network or of a file";
    if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
        return Ok(listener.into());
    }
    let listener = passed.take_unix_listener(index);
    let listener = listener.with_context(|| format!("socket {index} cannot be used: {hint}"))?;
    listener.map(Into::into).with_context(|| format!("socket {index} is not there"))
}
