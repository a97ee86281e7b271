//! What the simulated model is told to do, from a header or from the prompt.

pub(crate) mod content;
pub(crate) mod counts;
pub(crate) mod delivery;
pub(crate) mod refusal;

use http::{HeaderMap, StatusCode};

use crate::{
    directive::{self, Directive},
    problem::Problem,
    script::delivery::Quirk,
};

/// A whole script: four groups of words.
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
}

impl Script {
    /// Reads the header `x-simulate` if there is one, else the prompt.
    pub(crate) fn read(headers: &HeaderMap, prompt: &str) -> Result<Self, Problem> {
        let header = headers.get("x-simulate").and_then(|value| value.to_str().ok());
        let directives = match header {
            Some(text) => directive::in_header(text),
            None => directive::in_prompt(prompt),
        };
        let mut script = Self::default();
        for directive in &directives {
            script.take(directive)?;
        }
        Ok(script)
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
        let known = self.refusal.take(directive)?
            || self.content.take(directive)?
            || self.counts.take(directive)?
            || self.delivery.take(directive)?;
        if known {
            return Ok(());
        }
        let message = format!("simulate: the word {:?} is not known", directive.word);
        Err(Problem::new(StatusCode::BAD_REQUEST, message).code("simulate_directive"))
    }
}
