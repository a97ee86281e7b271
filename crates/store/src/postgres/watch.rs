//! Listens for changes.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    seq: AtomicU64,
    heard: Mutex<Instant>,
    stopped: AtomicBool,
    stop: Notify,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    /// Watches from now on.
    pub(super) fn start(config: Config, tls: Tls, seq: u64) -> Arc<Self> {
        let watch = Arc::new(Self {
            seq: AtomicU64::new(seq),
            heard: Mutex::new(Instant::now()),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            task: Mutex::new(None),
        });
        let watching = watch.clone();
        // It ends with the store, which aborts it.
        let task = tokio::runtime::Handle::current().spawn(async move {
            tokio::select! {
                () = watching.run(&config, &tls) => {}
                () = watching.stop.notified() => {}
            }
        });
        *watch.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        watch
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.stop.notify_one();
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    /// The number of the last change that was heard of.
    pub(super) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    /// How long nothing was heard of the database.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The database has answered, with this number.
    pub(super) fn heard(&self, seq: u64) {
        self.seq.fetch_max(seq, Ordering::Relaxed);
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn run(&self, config: &Config, tls: &Tls) {
        let mut failures = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            let before = self.seq();
            // What failed is said by whoever asks something of the store.
            let _ = self.listen(config, tls).await;
            failures = if self.seq() == before { failures + 1 } else { 0 };
            let pause = PAUSES.get(failures).or(PAUSES.last()).copied();
            tokio::time::sleep(pause.unwrap_or(POLL)).await;
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
