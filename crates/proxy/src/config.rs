//! Configuration: what the program is told, proven once, never wrong afterwards.
//!
//! This is the only file that reads the environment.

pub mod archive;
pub mod attribution;
pub mod budgets;
pub mod entry;
pub mod header;
pub mod layer;
pub mod listen;
pub mod preset;
pub mod reconcile;
pub mod reference;
pub mod screen;
pub mod secrets;
pub mod setting;
pub mod store;
pub mod target;
pub mod tls;
pub mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;

use archive::Archive;
use budgets::Budgets;
use layer::{Layers, Problem};
use listen::Listen;
use preset::{Callers, Keeps, Opens};
use reference::SecretRef;
use screen::Screen;
use target::{AuthHeader, Covers, DEFAULT, MOST, Target};
use tls::Tls;

/// All settings, proven.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of everything this installation owns.
    pub data: PathBuf,
    /// Where the gateway listens.
    pub listen: Vec<Listen>,
    /// Where health and metrics are served; with none, on `listen`.
    pub admin_listen: Vec<Listen>,
    /// Who may connect to a Unix socket, as a file's mode.
    pub socket_mode: u32,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// Whose `x-forwarded-for` names the client.
    pub trusted_proxies: Vec<IpNet>,
    /// Whom refusals tell a developer to ask.
    pub contact: Option<String>,
    /// Endpoints that are open: `METHOD PATH` or `PATH`, with `*`.
    pub endpoints: Vec<String>,
    /// Origins that browsers may ask from.
    pub cors_origins: Vec<String>,
    /// Whether WebSocket is spoken.
    pub websocket: WebSocket,
    /// Whether the usage of chat streams is asked for.
    pub chat_usage: ChatUsage,
    /// Largest request body or message, bytes.
    pub max_body: u64,
    /// All request bodies in memory together, bytes.
    pub max_buffered: u64,
    /// How long open exchanges may go on after the order to stop.
    pub drain_timeout: Duration,
    /// How often services are asked again for the secrets of upstreams that they keep.
    pub secrets_refresh: Duration,
    /// What every derived key comes from.
    pub secret: SecretRef,
    /// TLS towards clients, where it is spoken.
    pub tls: Option<Tls>,
    /// What we wait for from clients.
    pub client: Client,
    /// The `OpenAI` side.
    pub upstream: Upstream,
    /// Further upstreams.
    pub upstreams: Vec<Target>,
    /// How much at once.
    pub limits: Limits,
    /// How budgets are reserved from.
    pub budgets: Budgets,
    /// Where keys and budgets live.
    pub store: store::Store,
    /// The archive and its spool.
    pub archive: Archive,
    /// Where the provider's own counts are asked.
    pub reconcile: reconcile::Reconcile,
    /// The operator's own price table.
    pub prices: Option<PathBuf>,
    /// What records say about whom an exchange was for.
    pub attribution: Arc<attribution::Attribution>,
    /// What is done about secrets in requests.
    pub screen: Screen,
    /// Who may ask.
    pub callers: Callers,
    /// What stands behind the addresses.
    pub opens: Opens,
    /// Whether exchanges leave records.
    pub keeps: Keeps,
    /// The folder in which each exchange is written down for people.
    pub dumps: Option<PathBuf>,
}

/// Whether WebSocket is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebSocket {
    /// It is.
    On,
    /// An upgrade is refused, with the status on which Codex falls back silently.
    Off,
}

/// Whether the usage of a chat stream is asked for where its client did not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatUsage {
    /// It is not: usage is estimated.
    Off,
    /// It is, and kept from the client.
    Inject,
}

/// How long clients may take.
#[derive(Debug, Clone)]
pub struct Client {
    /// For a request's head, and between requests of a connection.
    pub head_timeout: Duration,
    /// Between two pieces of a request's body.
    pub body_timeout: Duration,
    /// Until what was sent is read.
    pub read_timeout: Duration,
}

/// Where exchanges go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The one that takes what no other is for.
    pub main: Target,
    /// Where `/backend-api` goes.
    pub chatgpt_url: Uri,
    /// For a connection to stand, TLS included.
    pub connect_timeout: Duration,
    /// From the request to the answer's head.
    pub first_byte_timeout: Duration,
    /// Between two pieces of an answer.
    pub idle_timeout: Duration,
}

/// How much at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Exchanges under way.
    pub exchanges: usize,
    /// Of them, by one key.
    pub exchanges_per_key: usize,
    /// Connections from clients.
    pub connections: usize,
}

/// Whether bodies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Whole.
    Full,
    /// Only records.
    None,
}

/// What happens to an exchange whose record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused, or cut off before its end.
    Refuse,
    /// It goes on, and is counted.
    Proceed,
}

/// Where configuration comes from. Read again, it may say something else.
#[derive(Debug, Clone)]
pub struct Origin {
    file: Option<PathBuf>,
    flags: Flags,
}

impl Origin {
    /// The file that a flag names, if any, and the other flags.
    pub fn new(file: Option<PathBuf>, flags: Flags) -> Self {
        Self { file, flags }
    }

    /// Reads file, environment and flags; lists every problem.
    pub fn load(&self) -> Result<(Config, Layers), Vec<Problem>> {
        Config::load(self.file.as_deref(), &self.flags)
    }

    /// The file that is read, if it is there.
    pub fn file(&self) -> PathBuf {
        let named = || environment(layer::CONFIG_VARIABLE).map(PathBuf::from);
        let file = self.file.clone().or_else(named);
        file.unwrap_or_else(|| PathBuf::from(layer::DEFAULT_FILE))
    }
}

/// What is wrong with how the program was called or configured; its exit code is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

/// The operator's own price table in the data folder.
const OWN_PRICES: &str = "prices.toml";

/// Settings from the command line, over all others.
pub type Flags = Vec<(&'static str, String)>;

impl Config {
    /// Reads file, environment and flags; lists every problem.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<(Self, Layers), Vec<Problem>> {
        Self::prove(Layers::read(file, &variables(), flags))
    }

    fn prove(mut layers: Layers) -> Result<(Self, Layers), Vec<Problem>> {
        let config = Self::build(&layers);
        layers.problems.extend(config.contradictions(&layers));
        if layers.problems.is_empty() { Ok((config, layers)) } else { Err(layers.problems) }
    }

    /// Values that are right alone and wrong together.
    fn contradictions(&self, layers: &Layers) -> Vec<Problem> {
        let size = |bytes| bytesize::ByteSize::b(bytes).display().iec();
        let mut problems = Vec::new();
        if self.max_body > self.max_buffered {
            let (one, all) = (size(self.max_body), size(self.max_buffered));
            let what = format!("max_body, {one}, is more than max_buffered, {all}, for all bodies");
            problems.push(Problem { place: layers.place("max_body"), what });
        }
        let twice = |address: &&Listen| address.is_one_place() && self.listen.contains(address);
        if let Some(address) = self.admin_listen.iter().find(twice) {
            let what = format!("admin_listen, {address}, is among the addresses of listen");
            problems.push(Problem { place: layers.place("admin_listen"), what });
        }
        let secrets = self.targets().flat_map(Target::references).map(|(_, secret)| secret);
        let from_stdin = secrets.chain([&self.secret]).filter(|one| **one == SecretRef::Stdin);
        if from_stdin.count() > 1 {
            let what = "stdin is named for more than one secret, and holds one".to_owned();
            problems.push(Problem { place: layers.place("upstream.key"), what });
        }
        let keys = self.targets().map(|target| target.keys.len()).sum::<usize>();
        if keys > MOST {
            let what = format!("there are {keys} keys for upstreams; {MOST} at most can be used");
            problems.push(Problem { place: layers.place("upstreams"), what });
        }
        if self.upstreams.iter().any(|target| target.name == DEFAULT) {
            let what = format!("upstreams name `{DEFAULT}` is that of [upstream]: choose another");
            problems.push(Problem { place: layers.place("upstreams"), what });
        }
        problems.extend(tls::half(layers));
        problems.extend(self.archive.contradictions(layers));
        problems.extend(self.screen.contradictions(layers));
        problems
    }

    /// The operator's own price table where none is configured.
    pub fn own_prices(&self) -> PathBuf {
        self.data.join(OWN_PRICES)
    }

    /// All upstreams, that of `[upstream]` first.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        [&self.upstream.main].into_iter().chain(&self.upstreams)
    }

    /// Settings of these flags alone, over the defaults: for a program that must not depend on the
    /// machine it runs on.
    pub fn only(flags: &Flags) -> anyhow::Result<Self> {
        let mut layers = Layers::defaults();
        layers.read_flags(flags);
        anyhow::ensure!(layers.problems.is_empty(), "wrong settings: {:?}", layers.problems);
        Ok(Self::build(&layers))
    }

    fn build(layers: &Layers) -> Self {
        let data = layers.path("data");
        let inside = |name: &str| data.join(name);
        Self {
            listen: layers.addresses("listen"),
            admin_listen: layers.addresses("admin_listen"),
            socket_mode: layers.mode("socket_mode"),
            proxy_protocol: layers.networks("proxy_protocol"),
            trusted_proxies: layers.networks("trusted_proxies"),
            contact: layers.optional_text("contact"),
            endpoints: layers.texts("endpoints"),
            cors_origins: layers.texts("cors_origins"),
            websocket: match layers.text("websocket").as_str() {
                "off" => WebSocket::Off,
                _ => WebSocket::On,
            },
            chat_usage: match layers.text("chat_usage").as_str() {
                "inject" => ChatUsage::Inject,
                _ => ChatUsage::Off,
            },
            max_body: layers.bytes("max_body"),
            max_buffered: layers.bytes("max_buffered"),
            drain_timeout: layers.duration("drain_timeout"),
            secrets_refresh: layers.duration("secrets_refresh"),
            secret: layers
                .reference("secret")
                .unwrap_or_else(|| SecretRef::File(inside("secret.key"))),
            tls: tls::build(layers),
            client: Client {
                head_timeout: layers.duration("client.head_timeout"),
                body_timeout: layers.duration("client.body_timeout"),
                read_timeout: layers.duration("client.read_timeout"),
            },
            upstream: upstream(layers),
            upstreams: layers.entries(&target::TABLE).iter().map(Target::of).collect(),
            limits: Limits {
                exchanges: layers.count("limits.exchanges"),
                exchanges_per_key: layers.count("limits.exchanges_per_key"),
                connections: layers.count("limits.connections"),
            },
            budgets: Budgets::build(layers),
            store: store::Store::build(layers, &data),
            archive: Archive::build(layers, &data),
            prices: layers
                .optional_path("prices")
                .or_else(|| Some(inside(OWN_PRICES)).filter(|path| path.exists())),
            reconcile: reconcile::Reconcile::build(layers),
            attribution: Arc::new(attribution::Attribution::build(layers)),
            screen: Screen::build(layers),
            callers: Callers::Keys,
            opens: Opens::Site,
            keeps: Keeps::Records,
            dumps: None,
            data,
        }
    }
}

fn upstream(layers: &Layers) -> Upstream {
    Upstream {
        main: Target {
            name: DEFAULT.to_owned(),
            url: layers.url("upstream.url"),
            covers: Covers::Below,
            keys: layers.references("upstream.key"),
            auth: AuthHeader::named(&layers.text("upstream.auth")),
            headers: layers.headers("upstream.headers"),
            models: Vec::new(),
            priority: 1,
        },
        chatgpt_url: layers.url("upstream.chatgpt_url"),
        connect_timeout: layers.duration("upstream.connect_timeout"),
        first_byte_timeout: layers.duration("upstream.first_byte_timeout"),
        idle_timeout: layers.duration("upstream.idle_timeout"),
    }
}

/// All variables of the environment that can be read.
fn variables() -> Vec<(String, String)> {
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    std::env::vars().collect()
}

/// All of them, also those that are no text.
fn all_variables() -> Vec<(OsString, OsString)> {
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    std::env::vars_os().collect()
}

/// The names of sockets that were passed to this process, in their order (`sd_listen_fds(3)`).
pub fn passed_socket_names() -> Vec<String> {
    let names = environment("LISTEN_FDNAMES").unwrap_or_default();
    names.split(':').map(str::to_owned).collect()
}

/// The value of an environment variable that a secret reference names.
fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    std::env::var(name).ok()
}
