//! Words for what is only so on a WebSocket.

use std::time::Duration;

use tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};

use crate::{directive::Directive, problem::Problem};

/// Of a connection `deflate`, `ping`, `limit`; of an answer `close`, `reason`, `fragment`,
/// `binary`.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    /// How messages may be compressed.
    pub(crate) deflate: Deflate,
    /// The time between pings of an open connection.
    pub(crate) ping: Option<Duration>,
    /// After so many requests the connection has been open for too long.
    pub(crate) limit: Option<u64>,
    /// An event goes in frames of so many bytes.
    pub(crate) fragment: Option<usize>,
    /// Whether events go as text, as they should.
    pub(crate) form: Form,
    close: Option<u16>,
    reason: String,
}

/// Compression of messages, RFC 7692.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Deflate {
    /// If offered, with contexts that last.
    #[default]
    Lasting,
    /// If offered, with a new context for each message in either direction.
    Fresh,
    /// Not even if offered.
    Off,
}

/// What kind of message an event is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text.
    #[default]
    Text,
    /// The same bytes in a binary message.
    Binary,
}

impl Socket {
    /// Takes a word if it is one of these.
    pub(crate) fn take(&mut self, directive: &Directive) -> Result<bool, Problem> {
        match directive.word.as_str() {
            "deflate" => self.deflate = deflate(directive)?,
            "ping" => self.ping = Some(at_least_a_millisecond(directive)?),
            "limit" => self.limit = Some(directive.number()?),
            "fragment" => self.fragment = Some(directive.size()?.max(1)),
            "binary" => self.form = Form::Binary,
            "close" => self.close = Some(close(directive)?),
            "reason" => self.reason = reason(directive)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How the server closes the connection, if the script says so.
    pub(crate) fn close(&self) -> Option<CloseFrame> {
        let code = CloseCode::from(self.close?);
        Some(CloseFrame { code, reason: self.reason.as_str().into() })
    }
}

fn deflate(directive: &Directive) -> Result<Deflate, Problem> {
    match directive.text().as_str() {
        "on" => Ok(Deflate::Lasting),
        "fresh" => Ok(Deflate::Fresh),
        "off" => Ok(Deflate::Off),
        _ => Err(directive.unfit("on, fresh or off")),
    }
}

fn at_least_a_millisecond(directive: &Directive) -> Result<Duration, Problem> {
    Ok(directive.duration()?.max(Duration::from_millis(1)))
}

/// A code that may stand in a frame, RFC 6455 section 7.4.
fn close(directive: &Directive) -> Result<u16, Problem> {
    let code = directive.number()?;
    if CloseCode::from(code).is_allowed() {
        return Ok(code);
    }
    Err(directive.unfit("a close code such as 1000 or 4000"))
}

/// A control frame has room for 123 bytes of it.
fn reason(directive: &Directive) -> Result<String, Problem> {
    let text = directive.text();
    if text.len() > 123 { Err(directive.unfit("123 bytes at most")) } else { Ok(text) }
}
