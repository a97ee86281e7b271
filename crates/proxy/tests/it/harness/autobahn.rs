//! The Autobahn test-suite: what it says of a peer, and of a peer behind something.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::sdk::finish_within;
use super::until;

/// What the suite says of each case.
pub(crate) type Verdicts = BTreeMap<String, Verdict>;

/// How the peer behaved, how it closed, and with which code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) behavior: String,
    pub(crate) close: String,
    pub(crate) code: Option<u64>,
}

/// The suite, with a folder of its own.
pub(crate) struct Suite {
    program: PathBuf,
    folder: TempDir,
    cases: Vec<String>,
    left_out: Vec<String>,
    cap: Duration,
}

/// A part of the suite that runs beside the test. Killed when dropped.
pub(crate) struct Beside {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Suite {
    /// With these cases but those. It must be installed, for which a Python 2.7 is needed.
    pub(crate) fn find(cases: &[&str], left_out: &[&str], cap: Duration) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = target.with_file_name("autobahn").join("bin/wstest");
        let owned = |cases: &[&str]| cases.iter().map(|case| (*case).to_owned()).collect();
        let (cases, left_out) = (owned(cases), owned(left_out));
        let folder = tempfile::tempdir().unwrap();
        let hint = "Autobahn is not installed: run `sh crates/proxy/tests/matrix/autobahn.sh`";
        assert!(program.exists(), "{hint} (with the same CARGO_TARGET_DIR)");
        Self { program, folder, cases, left_out, cap }
    }

    /// The suite's server that sends everything back.
    pub(crate) async fn echo(&self) -> Beside {
        self.beside("testeeserver", &[]).await
    }

    /// Judges a server at this address.
    pub(crate) async fn judge_server(&self, address: SocketAddr) -> Verdicts {
        let server = json!({"agent": "peer", "url": format!("ws://{address}/v1/responses")});
        let spec = self.spec("client", &json!({"servers": [server]}));
        let mut command = self.command("fuzzingclient");
        command.arg("--spec").arg(&spec);
        self.finish(command).await;
        self.verdicts("client")
    }

    /// The suite's server that tests its clients.
    pub(crate) async fn judge(&self) -> Beside {
        let address = free();
        let spec = self.spec("server", &json!({"url": format!("ws://{address}")}));
        let spec = spec.display().to_string();
        self.beside_at(address, "fuzzingserver", &["--webport", "0", "--spec", &spec]).await
    }

    /// Has the suite's own client go through all cases at this address.
    pub(crate) async fn client(&self, address: SocketAddr) -> Verdicts {
        let mut command = self.command("testeeclient");
        command.args(["--wsuri", &format!("ws://{address}"), "--ident", "peer"]);
        self.finish(command).await;
        self.verdicts("server")
    }

    async fn beside(&self, mode: &str, arguments: &[&str]) -> Beside {
        let address = free();
        let uri = format!("ws://{address}");
        self.beside_at(address, mode, &[&["--wsuri", &uri], arguments].concat()).await
    }

    async fn beside_at(&self, address: SocketAddr, mode: &str, arguments: &[&str]) -> Beside {
        let mut command = self.command(mode);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        until("the suite listens", || std::net::TcpStream::connect(address).is_ok()).await;
        Beside { address, process }
    }

    fn command(&self, mode: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--mode", mode]).current_dir(self.folder.path());
        command.env_clear().env("PATH", env!("PATH")).env("HOME", self.folder.path());
        command
    }

    fn spec(&self, name: &str, more: &Value) -> PathBuf {
        let mut spec = json!({
            "outdir": self.folder.path().join(name), "cases": self.cases,
            "exclude-cases": self.left_out, "exclude-agent-cases": {},
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let path = self.folder.path().join(format!("{name}.json"));
        std::fs::write(&path, spec.to_string()).unwrap();
        path
    }

    async fn finish(&self, command: Command) {
        let finished = finish_within(command, self.cap).await.expect("the suite takes too long");
        assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    }

    fn verdicts(&self, name: &str) -> Verdicts {
        let path = self.folder.path().join(name).join("index.json");
        let index: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let agents = index.as_object().unwrap();
        let cases = agents.values().next().unwrap().as_object().unwrap();
        cases.iter().map(|(case, said)| (case.clone(), verdict(said))).collect()
    }
}

fn verdict(said: &Value) -> Verdict {
    let text = |name: &str| said[name].as_str().unwrap().to_owned();
    let (behavior, close) = (text("behavior"), text("behaviorClose"));
    Verdict { behavior, close, code: said["remoteCloseCode"].as_u64() }
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A wire that rewrites the head of each connection's request: the suite can neither show a key
/// nor stay on one path.
pub(crate) struct Bend {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Bend {
    /// Joins each connection to one of its own towards this address.
    pub(crate) async fn start(
        to: SocketAddr,
        rewrite: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let Some(head) = read_head(&mut near).await else { continue };
                let head = rewrite(&head);
                connections.spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    near.set_nodelay(true).unwrap();
                    far.set_nodelay(true).unwrap();
                    far.write_all(head.as_bytes()).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, _tasks: tasks }
    }
}

/// Byte for byte, so that nothing behind the head is taken.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// The path goes into the query, and the key into a header.
pub(crate) fn bent(head: &str, key: &str) -> String {
    let (line, rest) = head.split_once("\r\n").unwrap();
    let path = line.split(' ').nth(1).unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let name = path.trim_start_matches('/').replace('/', ".");
    format!("GET /v1/responses?at={name}&{query} HTTP/1.1\r\nAuthorization: Bearer {key}\r\n{rest}")
}

/// And out of it again. The suite's servers want their own address in `Host`.
pub(crate) fn unbent(head: &str, server: SocketAddr) -> String {
    let (line, rest) = head.split_once("\r\n").unwrap();
    let query = line.split(' ').nth(1).unwrap().split_once('?').map_or("", |(_, query)| query);
    let mut parts = query.split('&');
    let name = parts.next().unwrap().trim_start_matches("at=").replace('.', "/");
    let query: Vec<&str> = parts.collect();
    let is_host = |line: &&str| line.to_ascii_lowercase().starts_with("host:");
    let rest: Vec<&str> = rest.split("\r\n").filter(|line| !is_host(line)).collect();
    let target = format!("/{name}?{}", query.join("&"));
    format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n{}", rest.join("\r\n"))
}
