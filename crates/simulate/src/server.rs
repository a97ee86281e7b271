//! Connections.

use std::{sync::Arc, time::Duration};

use hyper::{rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{answer::answer, state::State};

/// Tasks that end when the simulator stops, and that it awaits.
#[derive(Clone)]
pub(crate) struct Tasks {
    pub(crate) tracker: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

impl Tasks {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { tracker: TaskTracker::new(), stopping: CancellationToken::new() }
    }

    /// Starts one. Whatever it does, it is dropped at the end.
    pub(crate) fn start(&self, task: impl Future<Output: Send> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tracker.spawn(stopping.run_until_cancelled_owned(task));
    }
}

/// HTTP/2 serves each of its streams in a task.
impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.start(task);
    }
}

/// Accepts connections until the simulator stops.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => tasks.start(connection(stream, Arc::clone(&state), tasks.clone())),
            // Out of file handles: a moment later there may be some.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2 with prior knowledge. How it ends is the client's
/// business: scripts break connections on purpose.
async fn connection(stream: TcpStream, state: Arc<State>, tasks: Tasks) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let tasks_of_service = tasks.clone();
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        let tasks = tasks_of_service.clone();
        async move { answer(state, &tasks, request).await }
    });
    // Answers are a function of the requests: no clock, so no date.
    let mut builder = Builder::new(tasks);
    builder.http1().timer(TokioTimer::new()).auto_date_header(false);
    builder.http2().timer(TokioTimer::new()).auto_date_header(false);
    let _ended = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}
