//! Listens for changes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Config};

use super::{Tls, seq};
use crate::Error;

/// How often it is asked for changes, in case nobody tells.
const POLL: Duration = Duration::from_millis(250);
/// An answer that takes longer does not come.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two tries to connect.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1)];

/// What is known of changes.
pub(super) struct Watch {
    known: Arc<Known>,
    task: JoinHandle<()>,
}

/// What was heard last. Every exchange asks for it: nothing is locked.
struct Known {
    seq: AtomicU64,
    begun: Instant,
    /// Milliseconds after that.
    heard_ms: AtomicU64,
}

impl Watch {
    /// Watches from now on, as long as it is not dropped.
    pub(super) fn start(config: Config, tls: Tls, seq: u64) -> Self {
        let (seq, heard_ms) = (AtomicU64::new(seq), AtomicU64::new(0));
        let known = Arc::new(Known { seq, begun: Instant::now(), heard_ms });
        let watching = known.clone();
        let watch = async move { watching.run(&config, &tls).await };
        Self { known, task: tokio::runtime::Handle::current().spawn(watch) }
    }

    /// The number of the last change that was heard of.
    pub(super) fn seq(&self) -> u64 {
        self.known.seq.load(Ordering::Relaxed)
    }

    /// How long nothing was heard of the database.
    pub(super) fn silent_for(&self) -> Duration {
        let heard = Duration::from_millis(self.known.heard_ms.load(Ordering::Relaxed));
        self.known.begun.elapsed().saturating_sub(heard)
    }

    /// The database has answered, with this number.
    pub(super) fn heard(&self, seq: u64) {
        self.known.heard(seq);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Known {
    fn heard(&self, seq: u64) {
        self.seq.fetch_max(seq, Ordering::Relaxed);
        let heard = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.fetch_max(heard, Ordering::Relaxed);
    }

    async fn run(&self, config: &Config, tls: &Tls) {
        let mut failures = 0;
        loop {
            let before = self.heard_ms.load(Ordering::Relaxed);
            // What failed is said by whoever asks something of the store.
            let _ = self.listen(config, tls).await;
            let has_heard = self.heard_ms.load(Ordering::Relaxed) > before;
            failures = if has_heard { 0 } else { failures + 1 };
            let pause = PAUSES.get(failures).or(PAUSES.last());
            tokio::time::sleep(pause.copied().unwrap_or(POLL)).await;
        }
    }

    /// Listens on one connection until that fails.
    async fn listen(&self, config: &Config, tls: &Tls) -> Result<(), Error> {
        let connect = tokio::time::timeout(super::PATIENCE, config.connect(tls.clone()));
        let (client, mut connection) = connect.await.map_err(|_| silent())??;
        let told = Notify::new();
        let drive = async {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => told.notify_one(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Error::from(error),
                    None => return silent(),
                }
            }
        };
        let ask = async {
            client.batch_execute("LISTEN codex_proxy_change").await?;
            loop {
                let asked = tokio::time::timeout(ANSWER, seq(&client)).await;
                self.heard(asked.map_err(|_| silent())??);
                let _ = tokio::time::timeout(POLL, told.notified()).await;
            }
        };
        tokio::select! {
            error = drive => Err(error),
            ended = ask => ended,
        }
    }
}

fn silent() -> Error {
    Error::Engine("the database does not answer".into())
}
