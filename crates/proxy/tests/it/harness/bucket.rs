//! An S3 service on loopback, and a way to it that can be cut.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::client::Raw;
use super::sdk::{installed, script};

/// An emulator of S3, with its buckets. Killed when dropped, and the buckets with it.
pub(crate) struct Emulator {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Emulator {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        let mut command = Command::new(installed("python/bin/python"));
        command.arg(script("bucket.py")).arg("0").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let address = ([127, 0, 0, 1], port.trim().parse().unwrap()).into();
        Self { address, process }
    }

    /// Makes a bucket, with these headers.
    pub(crate) async fn make(&self, bucket: &str, headers: &[(&str, &str)]) {
        self.put(&format!("/{bucket}"), headers, "").await;
    }

    /// Puts something of a bucket, unsigned.
    pub(crate) async fn put(&self, path: &str, headers: &[(&str, &str)], body: &str) {
        let host = self.address.to_string();
        let length = body.len().to_string();
        let usual = [("Host", &*host), ("Content-Length", &*length)];
        let headers =
            usual.iter().chain(headers).map(|(name, value)| format!("{name}: {value}\r\n"));
        let headers = headers.collect::<Vec<_>>().concat();
        let mut raw = Raw::connect(self.address).await;
        raw.send(format!("PUT {path} HTTP/1.1\r\n{headers}\r\n{body}").as_bytes()).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a process must be told to keep its archive in a bucket that is reached here.
pub(crate) fn settings(url: &str, at: SocketAddr) -> Vec<(String, String)> {
    let endpoint = format!("http://{at}");
    let pairs = [
        ("CODEX_PROXY_ARCHIVE_URL", url),
        ("CODEX_PROXY_ARCHIVE_ENDPOINT", &endpoint),
        ("CODEX_PROXY_ARCHIVE_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "an-access-key"),
        ("AWS_SECRET_ACCESS_KEY", "its-secret"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// A way to a service that can be cut and opened again.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    to: SocketAddr,
    open: Option<JoinSet<()>>,
}

impl Gate {
    /// Opens one on a free port.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut gate = Self { address, to, open: None };
        gate.serve(listener);
        gate
    }

    /// From now on connections are refused, and those that stand are cut.
    pub(crate) async fn cut(&mut self) {
        self.open.take().unwrap().shutdown().await;
    }

    /// Opens it again, at the same place.
    pub(crate) async fn reopen(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let to = self.to;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(pass(near, to));
            }
        });
        self.open = Some(tasks);
    }
}

async fn pass(mut near: TcpStream, to: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(to).await {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
