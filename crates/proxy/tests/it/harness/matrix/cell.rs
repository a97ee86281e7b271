//! One case of one version with one provider: run without the gateway, run with it, compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::client::{ask, post};
use super::super::codex::Codex;
use super::super::sdk::{Finished, script};
use super::super::{Gateway, ORGANISATION_KEY, simulator, url};
use super::case::{Case, Kind, Telling, Turn};
use super::provider::{Provider, Transport, Version};
use super::steady::steady;

/// How long Codex tries, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Codex's own settings.
    Usual,
    /// One more try of each kind, so that errors are told soon.
    Short,
}

/// A place in the matrix.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) version: Version,
    pub(crate) provider: Provider,
    pub(crate) transport: Transport,
    pub(crate) patience: Patience,
    pub(crate) case: Case,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
    /// How often the upstream was asked what.
    pub(crate) requests: BTreeMap<String, usize>,
    /// Files in the developer's folder.
    pub(crate) files: Vec<String>,
}

/// What came of both.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) cell: Cell,
    pub(crate) direct: Run,
    pub(crate) through: Run,
}

/// Which way Codex reaches the upstream.
#[derive(Debug, Clone, Copy)]
enum Way {
    Direct,
    Through,
}

impl Patience {
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Short => "request_max_retries = 1\nstream_max_retries = 1\n",
        }
    }

    fn cap(self) -> Duration {
        match self {
            Self::Usual => Duration::from_mins(5),
            Self::Short => Duration::from_mins(2),
        }
    }
}

impl Outcome {
    pub(crate) fn same(&self) -> bool {
        let (direct, through) = (&self.direct, &self.through);
        let printed = match self.cell.case.telling {
            Telling::Upstream => direct.printed == through.printed,
            Telling::Gateway => through.printed.contains("The upstream "),
        };
        let rest = |run: &Run| (run.code, run.requests.clone(), run.files.clone());
        printed && rest(direct) == rest(through)
    }

    /// How many requests the upstream saw, with the gateway, that asked a model.
    pub(crate) fn asked(&self) -> usize {
        let asks = |(request, _): &(&String, &usize)| !request.contains("/models");
        self.through.requests.iter().filter(asks).map(|(_, count)| count).sum()
    }
}

impl Cell {
    /// Whether the case can be had here: words for handshakes and frames need a WebSocket, and the
    /// built-in provider's patience with silence cannot be set.
    pub(crate) fn applies(&self) -> bool {
        let socket = self.transport == Transport::WebSocket || self.case.kind == Kind::Turn;
        socket && (self.provider != Provider::BuiltIn || self.case.turn != Turn::Idle)
    }

    /// Runs it without and with the gateway at the same time.
    async fn compare(self) -> Outcome {
        let (direct, through) = tokio::join!(self.run(Way::Direct), self.run(Way::Through));
        Outcome { cell: self, direct, through }
    }

    async fn run(&self, way: Way) -> Run {
        let upstream = simulator().await;
        self.tell(upstream.address()).await;
        let codex = Codex::new();
        let run = match way {
            Way::Direct => self.exec(&codex, upstream.address(), ORGANISATION_KEY).await,
            Way::Through => {
                let gateway = Gateway::start_with(&url(&upstream), &self.settings());
                let key = gateway.key("ada@example.com");
                self.exec(&codex, gateway.address, &key.value).await
            }
        };
        let requests = self.requests(upstream.address()).await;
        upstream.stop().await;
        Run { requests, ..run }
    }

    /// Tells the upstream how to meet handshakes.
    async fn tell(&self, upstream: SocketAddr) {
        let words = match (self.transport, self.case.kind) {
            (Transport::Http, _) => "status=426",
            (Transport::WebSocket, Kind::Upgrade) => self.case.words.as_str(),
            (Transport::WebSocket, Kind::Turn | Kind::Message) => return,
        };
        let answer = post(upstream, "/simulate/socket", ORGANISATION_KEY, words).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        match self.transport {
            Transport::Http => vec![("CODEX_PROXY_WEBSOCKET", "off")],
            Transport::WebSocket => Vec::new(),
        }
    }

    async fn exec(&self, codex: &Codex, address: SocketAddr, key: &str) -> Run {
        let url = format!("http://{address}/v1");
        codex.configure(&self.configuration(&url), self.provider.login(key).as_deref());
        let mut printed = String::new();
        let mut code = None;
        for arguments in self.arguments() {
            let program = self.version.program();
            let ended = codex.run_version(&program, key, &arguments, self.patience.cap()).await;
            let Some(Finished { stdout, stderr, code: ended }) = ended else {
                printed.push_str("did not end");
                break;
            };
            printed.push_str(&steady(&stdout, codex.home(), &address.to_string()));
            printed.push_str("\n----\n");
            printed.push_str(&steady(&stderr, codex.home(), &address.to_string()));
            code = ended;
        }
        Run { code, printed, requests: BTreeMap::new(), files: codex.files() }
    }

    fn configuration(&self, url: &str) -> String {
        let mut text = String::from(COMMON);
        if self.case.turn == Turn::Compact {
            text.push_str("model_auto_compact_token_limit = 100000\n");
        }
        text.push_str(&self.provider.configuration(self.transport, self.patience, url));
        if self.case.turn == Turn::Idle {
            text.push_str("stream_idle_timeout_ms = 700\n");
        }
        text
    }

    /// The command lines, one after the other.
    fn arguments(&self) -> Vec<Vec<String>> {
        let prompt = match self.case.kind {
            Kind::Turn | Kind::Message => format!("{} please", self.case.words),
            Kind::Upgrade => "sim:say=\"All is well.\" please".to_owned(),
        };
        let exec = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self.case.turn {
            Turn::Plain | Turn::Compact | Turn::Idle => vec![exec(&["exec", &prompt])],
            Turn::Image => {
                let image = format!("--image={}", script("pixel.png").display());
                vec![exec(&["exec", &image, &prompt])]
            }
            Turn::Resume => vec![
                exec(&["exec", &prompt]),
                exec(&["exec", "resume", "--last", "sim:say=\"And again.\" please"]),
            ],
        }
    }

    /// What the upstream was asked, and how often. The list of models is read in the background
    /// at times of Codex's own: there it counts whether, not how often.
    async fn requests(&self, upstream: SocketAddr) -> BTreeMap<String, usize> {
        let answer = ask(upstream, "GET", "/simulate/requests", &[], "").await;
        let seen: Vec<Value> = serde_json::from_value(answer.json()).unwrap();
        let mut requests = BTreeMap::new();
        for request in seen {
            let text = |name: &str| request[name].as_str().unwrap().to_owned();
            let (method, path) = (text("method"), text("path"));
            // With WebSockets off the gateway itself answers the handshake.
            let refused = self.transport == Transport::Http && method == "GET";
            if path.starts_with("/simulate") || refused && !path.contains("models") {
                continue;
            }
            let count = requests.entry(format!("{method} {path}")).or_default();
            *count = if path.contains("/models") { 1 } else { *count + 1 };
        }
        requests
    }
}

/// What every provider's configuration begins with. No sandbox, because where this runs there may
/// be none.
const COMMON: &str = "model = \"gpt-5.5\"\napproval_policy = \"never\"\n\
                      sandbox_mode = \"danger-full-access\"\n\
                      check_for_update_on_startup = false\n\
                      analytics.enabled = false\notel.metrics_exporter = \"none\"\n";

/// Runs cells, so many at a time; what came of them, in their order.
pub(crate) async fn run_all(cells: Vec<Cell>, at_once: usize) -> Vec<Outcome> {
    let places = Arc::new(Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for (index, cell) in cells.into_iter().filter(Cell::applies).enumerate() {
        let places = places.clone();
        running.spawn(async move {
            let _place = places.acquire().await.unwrap();
            (index, cell.compare().await)
        });
    }
    let mut outcomes = running.join_all().await;
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
