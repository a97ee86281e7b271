//! Words for how the bytes travel.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{directive::Directive, problem::Problem};

/// `drop`, `delay`, `first`, `pace`, `cut`, `cutbytes`, `eof`, `stall`, `comment`, `crlf`,
/// `noevent`, `trailing`, `nolength`, `notype`, `header`.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// Before the first byte.
    pub(crate) delay: Duration,
    /// Between the head and the first event.
    pub(crate) first: Duration,
    /// Between events; `None` for the simulator's own pace.
    pub(crate) pace: Option<Duration>,
    /// Where the stream stops, if not at its end.
    pub(crate) stop: Option<Stop>,
    /// After so many bytes of the body the connection is gone.
    pub(crate) cut_bytes: Option<usize>,
    /// Departures from the usual form.
    pub(crate) quirks: Vec<Quirk>,
    /// Further headers.
    pub(crate) headers: HeaderMap,
}

/// How a stream stops after so many events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// In the middle of the next event, with the connection.
    Cut(usize),
    /// Cleanly.
    Eof(usize),
    /// Not at all: nothing more comes.
    Stall(usize),
}

/// A departure from the usual form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// The connection is closed instead of an answer.
    Drop,
    /// `: ping` before each event.
    Comment,
    /// Lines end in CR LF.
    Crlf,
    /// No `event:` lines.
    NoEvent,
    /// A comment after the last event.
    Trailing,
    /// A JSON body without content-length.
    NoLength,
    /// No content-type.
    NoType,
}

impl Delivery {
    /// Takes a word if it is one of these.
    pub(crate) fn take(&mut self, directive: &Directive) -> Result<bool, Problem> {
        match directive.word.as_str() {
            "delay" => self.delay = directive.duration()?,
            "first" => self.first = directive.duration()?,
            "pace" => self.pace = Some(directive.duration()?),
            "cut" => self.stop = Some(Stop::Cut(directive.number()?)),
            "eof" => self.stop = Some(Stop::Eof(directive.number()?)),
            "stall" => self.stop = Some(Stop::Stall(directive.number()?)),
            "cutbytes" => self.cut_bytes = Some(directive.size()?),
            "header" => {
                let (name, value) = header(directive)?;
                self.headers.append(name, value);
            }
            word => return Ok(self.take_quirk(word)),
        }
        Ok(true)
    }

    fn take_quirk(&mut self, word: &str) -> bool {
        let quirk = match word {
            "drop" => Quirk::Drop,
            "comment" => Quirk::Comment,
            "crlf" => Quirk::Crlf,
            "noevent" => Quirk::NoEvent,
            "trailing" => Quirk::Trailing,
            "nolength" => Quirk::NoLength,
            "notype" => Quirk::NoType,
            _ => return false,
        };
        self.quirks.push(quirk);
        true
    }

    /// Whether the script asks for this departure.
    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

fn header(directive: &Directive) -> Result<(HeaderName, HeaderValue), Problem> {
    let text = directive.text();
    let parsed = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::try_from(name.trim()).ok()?;
        Some((name, HeaderValue::try_from(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| directive.unfit("\"name: value\""))
}
