//! An upstream that keeps every byte it gets and answers with bytes it was given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::client::contains;

/// What a recording upstream does next on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits until the test says so.
    Wait,
    /// Closes the connection.
    Close,
}

/// What a request is answered with.
type Answers = Arc<dyn Fn(&str) -> Vec<Step> + Send + Sync>;

/// An upstream that answers every request with the same steps.
pub(crate) struct Recording {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(crate) go_on: Arc<Notify>,
    /// Says so when a connection was closed by the other side.
    pub(crate) left: mpsc::UnboundedReceiver<()>,
    _tasks: JoinSet<()>,
}

impl Recording {
    /// Answers each whole request (by its content length) with these steps.
    pub(crate) async fn start(steps: Vec<Step>) -> Self {
        Self::answering(move |_| steps.clone()).await
    }

    /// Answers each whole request with steps of its own.
    pub(crate) async fn answering(
        answers: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let answers: Answers = Arc::new(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let go_on = Arc::new(Notify::new());
        let (gone, left) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let (all, notify) = (seen.clone(), go_on.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (all, notify, gone) = (all.clone(), notify.clone(), gone.clone());
                connections.spawn(serve(stream, answers.clone(), all, notify, gone));
            }
        });
        Self { address, seen, go_on, left, _tasks: tasks }
    }

    /// The base address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests so far, each whole.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().clone()
    }
}

/// One HTTP answer of this content type, with its length.
pub(crate) fn whole(content_type: &str, body: &str) -> Step {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nX-Request-Id: req_1\r\n\r\n"
    );
    Step::Send((head + body).into_bytes())
}

/// The head of a streamed answer.
pub(crate) fn stream_head() -> Step {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    Step::Send(head.as_bytes().to_vec())
}

/// One chunk of a streamed answer; an empty one ends it.
pub(crate) fn chunk(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

async fn serve(
    mut stream: TcpStream,
    answers: Answers,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    go_on: Arc<Notify>,
    gone: mpsc::UnboundedSender<()>,
) {
    let mut read = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut read).await {
        let steps = answers(&String::from_utf8_lossy(&request));
        seen.lock().unwrap().push(request);
        for step in &steps {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(bytes).await.is_err() {
                        let _ = gone.send(());
                        return;
                    }
                }
                Step::Wait => {
                    let mut probe = [0; 1];
                    tokio::select! {
                        () = go_on.notified() => {}
                        // Nothing more is expected: this is the end of the connection.
                        _ = stream.peek(&mut probe) => {
                            let _ = gone.send(());
                            return;
                        }
                    }
                }
                Step::Close => return,
            }
        }
    }
    let _ = gone.send(());
}

async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65536];
    loop {
        if let Some(length) = whole_length(read) {
            return Some(read.drain(..length).collect());
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend(&buffer[..length]),
        }
    }
}

/// The length of the first request in these bytes, once it is whole.
fn whole_length(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        let rest = &read[head..];
        let end =
            contains(rest, b"0\r\n\r\n").then(|| rest.windows(5).position(|w| w == b"0\r\n\r\n"));
        return end.flatten().map(|at| head + at + 5);
    }
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let whole = head + length.unwrap_or(0);
    (read.len() >= whole).then_some(whole)
}

/// A wire between a client and a gateway, tapped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    passed: Arc<Mutex<Vec<Passed>>>,
    _tasks: JoinSet<()>,
}

/// What passed on one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passed {
    pub(crate) sent: Vec<u8>,
    pub(crate) received: Vec<u8>,
}

impl Relay {
    /// Joins each connection to one of its own towards this address.
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let all = passed.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(to).await.unwrap();
                all.lock().unwrap().push(Passed::default());
                let index = all.lock().unwrap().len() - 1;
                connections.spawn(join(near, far, all.clone(), index));
            }
        });
        Self { address, passed, _tasks: tasks }
    }

    /// What passed so far, by connection.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.passed.lock().unwrap().clone()
    }
}

async fn join(near: TcpStream, far: TcpStream, all: Arc<Mutex<Vec<Passed>>>, index: usize) {
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let sent = |bytes: &[u8]| all.lock().unwrap()[index].sent.extend(bytes);
    let received = |bytes: &[u8]| all.lock().unwrap()[index].received.extend(bytes);
    tokio::join!(copy(near_in, far_out, sent), copy(far_in, near_out, received));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, note: impl Fn(&[u8])) {
    let mut buffer = vec![0; 65536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        note(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// A request without what a gateway must replace: its other lines in order, and its body.
pub(crate) fn lasting(request: &[u8]) -> (Vec<String>, Vec<u8>) {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(request[..end].to_vec()).unwrap();
    let replaced = ["host", "authorization", "connection"];
    let lasts = |line: &&str| {
        !replaced.contains(&line.split(':').next().unwrap().to_ascii_lowercase().as_str())
    };
    (head.split("\r\n").filter(lasts).map(str::to_owned).collect(), request[end + 4..].to_vec())
}

/// The body of a chunked answer.
pub(crate) fn unchunked(answer: &[u8]) -> String {
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let (_, mut rest) = text.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&after[..length]);
        // A client that has seen the last event need not wait for the last chunk's end.
        rest = after.get(length + 2..).unwrap_or_default();
    }
    body
}
