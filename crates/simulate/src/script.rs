//! What the simulated model is told to do, from a header or from the prompt.

pub(crate) mod content;
pub(crate) mod counts;
pub(crate) mod delivery;
pub(crate) mod refusal;
pub(crate) mod socket;

use http::{HeaderMap, StatusCode};

use crate::{
    directive::{self, Directive},
    problem::Problem,
    script::delivery::Quirk,
    state::State,
};

/// A whole script: five groups of words.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// An error instead of an answer.
    pub(crate) refusal: refusal::Refusal,
    /// What the model says and does.
    pub(crate) content: content::Content,
    /// What is counted.
    pub(crate) counts: counts::Counts,
    /// How the bytes travel.
    pub(crate) delivery: delivery::Delivery,
    /// What is only so on a WebSocket.
    pub(crate) socket: socket::Socket,
    /// For how many requests it holds, if not for all.
    times: Option<u64>,
}

impl Script {
    /// Reads the header `x-simulate` if there is one, else the prompt. A script that holds for a
    /// number of requests is none for those after them.
    pub(crate) fn read(state: &State, headers: &HeaderMap, prompt: &str) -> Result<Self, Problem> {
        let header = headers.get("x-simulate").and_then(|value| value.to_str().ok());
        let script = match header {
            Some(text) => Self::of_words(text)?,
            None => Self::of(&directive::in_prompt(prompt))?,
        };
        Ok(script.while_it_holds(state, header.unwrap_or(prompt)))
    }

    /// Reads the words for a WebSocket: those of the header `x-simulate-socket` if there is one,
    /// else those that the simulator was told.
    pub(crate) fn of_socket(state: &State, headers: &HeaderMap) -> Result<Self, Problem> {
        let header = headers.get("x-simulate-socket").and_then(|value| value.to_str().ok());
        let text = header.map_or_else(|| state.told_sockets(), str::to_owned);
        Ok(Self::of_words(&text)?.while_it_holds(state, &text))
    }

    /// Reads words that stand alone.
    pub(crate) fn of_words(text: &str) -> Result<Self, Problem> {
        Self::of(&directive::in_header(text))
    }

    fn of(directives: &[Directive]) -> Result<Self, Problem> {
        let mut script = Self::default();
        for directive in directives {
            script.take(directive)?;
        }
        Ok(script)
    }

    fn while_it_holds(self, state: &State, text: &str) -> Self {
        let Some(times) = self.times else { return self };
        if state.scripted(text) < times { self } else { Self::default() }
    }

    /// Whether the client gets no answer of the model.
    pub(crate) fn refuses(&self) -> bool {
        self.status() != StatusCode::OK.as_u16()
    }

    /// The status the client gets; 0 if the connection is dropped instead.
    pub(crate) fn status(&self) -> u16 {
        if self.delivery.has(Quirk::Drop) {
            return 0;
        }
        self.refusal.status().unwrap_or(StatusCode::OK).as_u16()
    }

    fn take(&mut self, directive: &Directive) -> Result<(), Problem> {
        if directive.word == "times" {
            self.times = Some(directive.number()?);
            return Ok(());
        }
        let known = self.refusal.take(directive)?
            || self.content.take(directive)?
            || self.counts.take(directive)?
            || self.delivery.take(directive)?
            || self.socket.take(directive)?;
        if known {
            return Ok(());
        }
        let message = format!("simulate: the word {:?} is not known", directive.word);
        Err(Problem::new(StatusCode::BAD_REQUEST, message).code("simulate_directive"))
    }
}
