//! A simulated upstream API: deterministic, scripted by header or prompt, with a bill of its own.
//!
//! It imports nothing of the proxy. Ids, texts and counts are functions of the request and of how
//! many came before; times are counted from a fixed moment.
//!
//! What it does with a request is said in the header `x-simulate: WORD WORD=VALUE …`, or, where
//! there is none, by `sim:WORD` and `sim:WORD=VALUE` in the last user message. A value may stand
//! in double quotes, with `\"` for a quote. An unknown word is answered with 400. Times
//! have a unit (`ms`, `s`) and reach an hour; sizes may have one (`KiB`, `MiB`) and reach 64 MiB.
//!
//! | words | what they do |
//! |---|---|
//! | `status=429` `code=…` `type=…` `message="…"` `retry_after=2` `plain` `html` | an error |
//! | `say="text"` `words=2000` `huge=10MiB` `event=1MiB` | the text; its size; its size in one event |
//! | `shell="echo hi"` | a call of whatever shell the request offers |
//! | `tool="name"` `args="{…}"`, `custom="name"` `input="…"` | a tool call; several in a row |
//! | `reasoning=200` | reasoning, so many tokens |
//! | `fail=CODE` `message="…"`, `incomplete=max_output_tokens` | another end |
//! | `model="other"` `tier=flex` | another model or tier than asked for |
//! | `usage=none` `input_tokens=…` `cached=…` `cache_write=…` `output_tokens=…` | the counts |
//! | `delay=500ms` `first=…` `pace=20ms` | waits: before the head, the first event, each event |
//! | `cut=N` `eof=N` `stall=N` | after N events: broken in the next one, ended, silent |
//! | `cutbytes=N` `drop` | broken after N bytes of the body; before any |
//! | `comment` `crlf` `noevent` `trailing` | departures from the usual event stream |
//! | `nolength` `notype` `header="name: value"` | departures from the usual head |
//! | `close=1008` `reason="…"` `fragment=N` `binary` | how a WebSocket closes; how it frames events |
//! | `times=N` | all of it only for the first N requests with these words |
//!
//! Once a tool has answered, the model goes on with text; the other words hold for each request.
//!
//! `GET /v1/responses` opens a WebSocket. The words above hold for each message on it; an error is
//! an `error` frame, a comment a ping. The header `x-simulate-socket`, or where there is none what
//! was posted to `/simulate/socket`, has words for the connection: those for errors, `delay` and
//! `drop` refuse the upgrade; `deflate=on|fresh|off` `ping=20ms` `limit=N` hold once it is open.
//!
//! `GET /simulate/bill`, `GET /simulate/requests` and `POST /simulate/reset` observe it.

mod act;
mod answer;
mod ask;
mod backend;
mod bill;
mod body;
mod catalogue;
mod chat;
mod converse;
mod directive;
mod embed;
mod event;
mod fields;
mod json;
mod observe;
mod organization;
mod playback;
mod problem;
mod quote;
mod reply;
mod responses;
mod route;
mod script;
mod seed;
mod server;
mod shell;
mod socket;
mod speak;
mod state;
mod tariff;
mod turn;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

pub use crate::bill::{Bill, Billed};
use crate::{server::Tasks, state::State};

/// How to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 for any free one.
    pub listen: SocketAddr,
    /// If set, other bearers get the API's 401.
    pub key: Option<String>,
    /// The time between events of a stream, where the script does not say.
    pub pace: Duration,
}

/// A running simulator. Dropped, it stops without being awaited.
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    tasks: Tasks,
    _stopping: DropGuard,
}

impl Simulator {
    /// Binds and serves in the background on the current runtime.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let listen = options.listen;
        let bound = TcpListener::bind(listen).await;
        let listener = bound.with_context(|| format!("binding the simulator to {listen}"))?;
        let address = listener.local_addr().context("reading the simulator's address")?;
        let state = Arc::new(State::new(options.key, options.pace));
        let tasks = Tasks::new();
        tasks.start(server::serve(listener, Arc::clone(&state), tasks.clone()));
        let stopping = tasks.stopping.clone().drop_guard();
        Ok(Self { address, state, tasks, _stopping: stopping })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A copy of the bill so far.
    pub fn bill(&self) -> Bill {
        self.state.bill()
    }

    /// Stops accepting, ends open streams and awaits its tasks.
    pub async fn stop(self) {
        self.tasks.stopping.cancel();
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}
