//! One process takes over from another: the listening sockets, the lock of the data folder and the
//! counters pass over a local socket, and whoever came in before is served to the end.
//!
//! What is said, a line each: the successor asks; the predecessor offers its sockets, with their
//! descriptors; the successor serves on them and says so; the predecessor lets nobody in any more
//! and tells its counters; when its last connection has ended it tells what they have grown by.

use std::fs::{File, Permissions};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};

use super::doors::{Inherited, Meant};
use crate::metrics::totals::{Totals, since};

/// The local socket, in the data folder.
const FILE: &str = "serve.sock";
/// What is said here, and how.
const VERSION: u32 = 1;
/// For the other side to say what it can say at once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// For a successor to come up: it may have much to recover.
const COMING_UP: Duration = Duration::from_mins(5);
/// More descriptors the kernel does not pass at once (`SCM_MAX_FD`).
const MOST: usize = 253;
/// The longest line.
const LINE: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Ask {
    takeover: u32,
    process: u32,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    process: u32,
    sockets: Vec<Meant>,
}

#[derive(Serialize, Deserialize)]
struct Ready {
    ready: bool,
}

/// The local socket of a running gateway.
pub struct Local {
    listener: UnixListener,
    file: PathBuf,
}

/// Whoever has taken over, and what was counted then.
pub struct Successor {
    stream: BufReader<UnixStream>,
    told: Totals,
    /// Its number.
    pub process: u32,
}

/// Whoever is to be taken over from.
pub struct Predecessor {
    stream: BufReader<UnixStream>,
    /// Its number.
    pub process: u32,
}

/// What a predecessor gives.
pub struct Estate {
    /// The lock of the data folder, held.
    pub lock: File,
    /// Its listening sockets.
    pub sockets: Vec<Inherited>,
}

impl Local {
    /// Opens the local socket of a data folder, in place of that of a predecessor. Whoever calls
    /// this holds the lock of the folder.
    pub fn open(data: &Path) -> std::io::Result<Self> {
        let (file, fresh) = (data.join(FILE), data.join(format!("{FILE}.new")));
        let _ = std::fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, &file)?;
        Ok(Self { listener, file })
    }

    /// Waits until somebody has taken over these sockets and this lock. As soon as they serve, this
    /// one is to let nobody in any more, and to give what it has counted.
    pub async fn taken(
        &self,
        sockets: &[Inherited],
        lock: &File,
        let_go: impl AsyncFn() -> Totals,
    ) -> Successor {
        loop {
            let talk = async {
                let (stream, _) = self.listener.accept().await?;
                hand_over(stream, sockets, lock, &let_go).await
            };
            match talk.await {
                Ok(successor) => return successor,
                Err(error) => {
                    tracing::warn!("nobody has taken over, this one serves on: {error:#}");
                    // Out of descriptors, perhaps.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Removes the file: nobody stands there any more.
    pub fn close(self) {
        // Left behind, it is replaced at the next start.
        let _ = std::fs::remove_file(self.file);
    }
}

async fn hand_over(
    stream: UnixStream,
    sockets: &[Inherited],
    lock: &File,
    let_go: impl AsyncFn() -> Totals,
) -> Result<Successor> {
    let mut stream = BufReader::new(stream);
    let Ask { takeover, process } = hear(&mut stream, AT_ONCE).await?;
    ensure!(takeover == VERSION, "process {process} takes over in another way than this one");
    tracing::info!("process {process} is coming up to take over");
    let meant = sockets.iter().map(|one| one.meant.clone()).collect();
    let offer = Offer { process: std::process::id(), sockets: meant };
    let lock = [lock.as_fd()].into_iter();
    let descriptors: Vec<_> = lock.chain(sockets.iter().map(|one| one.socket.as_fd())).collect();
    send(stream.get_ref(), &offer, &descriptors).await?;
    let Ready { ready } = hear(&mut stream, COMING_UP).await?;
    ensure!(ready, "process {process} gave up");
    let told = let_go().await;
    if let Err(error) = say(&mut stream, &told).await {
        tracing::warn!("process {process} serves, but does not hear what was counted: {error:#}");
    }
    Ok(Successor { stream, told, process })
}

impl Successor {
    /// Tells what has been counted since.
    pub async fn tell(mut self, now: &Totals) -> Result<()> {
        say(&mut self.stream, &since(now, &self.told)).await
    }
}

impl Predecessor {
    /// Asks the running gateway of a data folder, if there is one, for what it has.
    pub async fn ask(data: &Path) -> Result<Option<(Self, Estate)>> {
        let Ok(stream) = UnixStream::connect(data.join(FILE)).await else { return Ok(None) };
        let mut stream = BufReader::new(stream);
        say(&mut stream, &Ask { takeover: VERSION, process: std::process::id() }).await?;
        let received = tokio::time::timeout(AT_ONCE, receive(&mut stream)).await;
        let (offer, descriptors) = received.context("the running gateway does not answer")??;
        let Offer { process, sockets } = offer;
        let mut descriptors = descriptors.into_iter();
        let lock = descriptors.next().context("the running gateway gave no lock")?.into();
        ensure!(descriptors.len() == sockets.len(), "the running gateway kept a socket back");
        let sockets = sockets.into_iter().zip(descriptors);
        let sockets = sockets.map(|(meant, socket)| Inherited { meant, socket }).collect();
        Ok(Some((Self { stream, process }, Estate { lock, sockets })))
    }

    /// Says that this process serves; what the other has counted until now.
    pub async fn ready(&mut self) -> Result<Totals> {
        say(&mut self.stream, &Ready { ready: true }).await?;
        hear(&mut self.stream, AT_ONCE).await
    }

    /// Waits for the other's end; what it has counted since.
    pub async fn ended(mut self) -> Result<Totals> {
        hear(&mut self.stream, Duration::MAX).await
    }
}

async fn say(stream: &mut BufReader<UnixStream>, what: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(what)? + "\n";
    let written = tokio::time::timeout(AT_ONCE, stream.write_all(line.as_bytes())).await;
    Ok(written.context("the other process does not listen")??)
}

async fn hear<T: DeserializeOwned>(
    stream: &mut BufReader<UnixStream>,
    patience: Duration,
) -> Result<T> {
    let mut line = String::new();
    let mut bounded = stream.take(LINE);
    let read = tokio::time::timeout(patience, bounded.read_line(&mut line)).await;
    let length = read.context("the other process says nothing")??;
    ensure!(length > 0, "the other process has gone");
    serde_json::from_str(&line).context("the other process speaks another language")
}

/// Sends a line with descriptors.
async fn send(
    stream: &UnixStream,
    what: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<()> {
    ensure!(descriptors.len() <= MOST, "more than {MOST} descriptors cannot be handed over");
    let line = serde_json::to_string(what)? + "\n";
    let sending = || {
        let message = SendAncillaryMessage::ScmRights(descriptors);
        let mut space = vec![MaybeUninit::uninit(); message.size()];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(message);
        let pieces = [IoSlice::new(line.as_bytes())];
        Ok(sendmsg(stream, &pieces, &mut ancillary, SendFlags::empty())?)
    };
    let sent = stream.async_io(Interest::WRITABLE, sending).await?;
    ensure!(sent == line.len(), "the list of sockets is too long to be handed over");
    Ok(())
}

/// Receives a line with descriptors.
async fn receive(stream: &mut BufReader<UnixStream>) -> Result<(Offer, Vec<OwnedFd>)> {
    let (mut descriptors, mut text) = (Vec::new(), vec![0; 64 << 10]);
    let inner = stream.get_ref();
    let receiving = || {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut text)];
        let length = recvmsg(inner, &mut pieces, &mut ancillary, RecvFlags::empty())?.bytes;
        for message in ancillary.drain() {
            let RecvAncillaryMessage::ScmRights(rights) = message else { continue };
            for descriptor in rights {
                // Not with the message: macOS does not know that.
                fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
                descriptors.push(descriptor);
            }
        }
        Ok(length)
    };
    let length = inner.async_io(Interest::READABLE, receiving).await?;
    text.truncate(length);
    let mut line = String::from_utf8(text)?;
    if !line.ends_with('\n') {
        stream.take(LINE).read_line(&mut line).await?;
    }
    let Ok(offer) = serde_json::from_str(&line) else {
        bail!("the running gateway does not hand over; see what it says itself")
    };
    Ok((offer, descriptors))
}
