//! An open WebSocket: one request at a time, in the order in which they came.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use http::request::Parts;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf, split},
    time::{Instant, sleep_until, timeout},
};
use tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};

use crate::{
    answer::Call,
    body::Received,
    playback::Step,
    problem::Problem,
    script::Script,
    socket::{
        deflate::{Agreed, Deflater, Inflater},
        frame,
        plan::{self, After, Plan},
        reader::{Heard, Reader},
    },
    state::{Seen, State},
};

/// So many requests may wait for the one that is being answered.
const WAITING: usize = 16;
/// So long the client may take to close after the server has.
const CLOSING: Duration = Duration::from_secs(1);
/// As good as for ever.
const AGES: Duration = Duration::from_hours(24);

/// What an open WebSocket knows.
pub(crate) struct Session {
    state: Arc<State>,
    head: Parts,
    script: Script,
    agreed: Option<Agreed>,
}

/// The connection is at its end.
struct Gone;

/// A WebSocket and who is at its other end.
struct Line {
    reader: Reader<ReadHalf<TokioIo<Upgraded>>>,
    writer: WriteHalf<TokioIo<Upgraded>>,
    waiting: VecDeque<Message>,
    ping_every: Duration,
    next_ping: Instant,
}

/// A message of the client.
enum Message {
    Text(Bytes),
    Binary,
}

impl Session {
    /// Of a handshake.
    pub(crate) fn new(
        state: Arc<State>,
        head: Parts,
        script: Script,
        agreed: Option<Agreed>,
    ) -> Self {
        Self { state, head, script, agreed }
    }

    /// Serves until either side is done.
    pub(crate) async fn run(self, stream: Upgraded) {
        let (read, writer) = split(TokioIo::new(stream));
        let ping_every = self.script.socket.ping.unwrap_or(AGES);
        let mut line = Line {
            reader: Reader::new(read, self.agreed.map(Inflater::new)),
            writer,
            waiting: VecDeque::new(),
            ping_every,
            next_ping: Instant::now() + ping_every,
        };
        let Gone = self.serve(&mut line).await;
    }

    async fn serve(&self, line: &mut Line) -> Gone {
        let mut deflater = self.agreed.map(Deflater::new);
        let mut answered = 0;
        loop {
            let message = match line.next().await {
                Ok(message) => message,
                Err(gone) => return gone,
            };
            let plan = if self.script.socket.limit.is_some_and(|limit| answered >= limit) {
                let plan = plan::refuse(&Problem::socket_limit(), deflater.as_mut());
                Plan { after: After::Close(plan::normal()), ..plan }
            } else {
                self.plan(&message, deflater.as_mut())
            };
            answered += 1;
            if let Err(gone) = line.play(plan).await {
                return gone;
            }
        }
    }

    fn plan(&self, message: &Message, deflater: Option<&mut Deflater>) -> Plan {
        let bytes = match message {
            Message::Text(bytes) => bytes.clone(),
            Message::Binary => return plan::refuse(&Problem::no_event(), deflater),
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let body = Received { bytes, length };
        let seen = Seen::message(&self.head, &body, "WEBSOCKET");
        let ids = self.state.open(seen, &body.bytes);
        let call = Call { state: &self.state, head: &self.head, body: &body, ids };
        plan::plan(&call, deflater)
    }
}

impl Line {
    /// Waits for the next request.
    async fn next(&mut self) -> Result<Message, Gone> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            self.listen(Instant::now() + AGES).await?;
        }
    }

    /// Sends an answer; meanwhile pings are answered and further requests wait.
    async fn play(&mut self, plan: Plan) -> Result<(), Gone> {
        for step in plan.steps {
            match step {
                Step::Wait(Duration::ZERO) => {}
                Step::Wait(time) => {
                    let end = Instant::now() + time;
                    while Instant::now() < end {
                        self.listen(end).await?;
                    }
                }
                Step::Send(bytes) => self.send(&bytes).await?,
                Step::Break => return Err(Gone),
            }
        }
        match plan.after {
            After::Next => Ok(()),
            After::Close(close) => Err(self.close(close).await),
        }
    }

    /// Waits for one thing heard, for the time of a ping, or to the end.
    async fn listen(&mut self, end: Instant) -> Result<(), Gone> {
        tokio::select! {
            heard = self.reader.next() => self.hear(heard).await,
            () = sleep_until(self.next_ping.min(end)) => {
                if Instant::now() < self.next_ping {
                    return Ok(());
                }
                self.next_ping = Instant::now() + self.ping_every;
                self.send(&frame::ping("there?")).await
            }
        }
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), Gone> {
        let message = match heard {
            Heard::Text(text) => Message::Text(text),
            Heard::Binary => Message::Binary,
            Heard::Ping(payload) => return self.send(&frame::pong(payload)).await,
            Heard::Pong => return Ok(()),
            Heard::Close(code) => {
                let code = code.map_or(CloseCode::Normal, CloseCode::from);
                self.send(&frame::close(CloseFrame { code, reason: "".into() })).await?;
                return Err(Gone);
            }
            Heard::Wrong(code, why) => {
                let close = CloseFrame { code, reason: why.into() };
                return Err(self.close(close).await);
            }
            Heard::Gone => return Err(Gone),
        };
        if self.waiting.len() >= WAITING {
            let reason = "too many requests wait".into();
            return Err(self.close(CloseFrame { code: CloseCode::Policy, reason }).await);
        }
        self.waiting.push_back(message);
        Ok(())
    }

    /// Closes, and gives the client a moment to close as well: else what it has sent meanwhile
    /// would reset the connection before it has read the code.
    async fn close(&mut self, close: CloseFrame) -> Gone {
        if self.send(&frame::close(close)).await.is_err() {
            return Gone;
        }
        // Behind a breach of the protocol nothing can be read any more.
        let over =
            |heard: &Heard| matches!(heard, Heard::Close(_) | Heard::Wrong(..) | Heard::Gone);
        let closed = async { while !over(&self.reader.next().await) {} };
        let _late = timeout(CLOSING, closed).await;
        Gone
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.writer.write_all(bytes).await.map_err(|_| Gone)?;
        self.writer.flush().await.map_err(|_| Gone)
    }
}
