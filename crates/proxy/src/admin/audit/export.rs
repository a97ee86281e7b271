//! Records, and bodies where they are wanted, for other programs.

use anyhow::{Context, Result};
use archive::frame::{RequestHead, ResponseHead, Side as Of};
use archive::read::{Exchange, Left, Reader};
use archive::record::Record;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::filter::Filter;
use super::{Tell, days, of_day};

/// How much of each exchange is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its record.
    Records,
    /// Its record, and heads and bodies of both sides.
    Bodies,
}

/// One exchange, as it is exported.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// Its record.
    #[serde(flatten)]
    pub record: Record,
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Side<RequestHead>>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Side<ResponseHead>>,
}

/// One side of an exchange.
#[derive(Debug, Serialize)]
pub struct Side<H> {
    /// Its head.
    #[serde(flatten)]
    pub head: Option<H>,
    /// Its body; none where that is not stored.
    #[serde(flatten)]
    pub body: Option<Body>,
}

/// The bytes of a body: as text where they are UTF-8.
#[derive(Debug, Serialize)]
pub enum Body {
    /// Exactly these characters.
    #[serde(rename = "body")]
    Text(String),
    /// Anything else.
    #[serde(rename = "body_base64")]
    Base64(String),
}

/// Hands over what passes the filter, oldest first. No more is held at a time than the records of
/// one day and the bodies of one exchange.
pub async fn export(
    reader: &Reader,
    filter: &Filter,
    depth: Depth,
    each: &mut dyn FnMut(Exported) -> Result<()>,
    tell: Tell<'_>,
) -> Result<()> {
    let view = reader.view()?;
    let mut count = 0u64;
    for day in days(&view, filter).await?.into_iter().rev() {
        let newest_first = of_day(reader, &view, (day, filter), usize::MAX).await?;
        for found in newest_first.into_iter().rev() {
            let exported = match depth {
                Depth::Records => Exported { record: found.record, request: None, response: None },
                Depth::Bodies => {
                    let exchange = reader.exchange(&found).await;
                    let reading = || format!("reading exchange {}", found.record.id);
                    whole(exchange.with_context(reading)?, found.record)
                }
            };
            each(exported)?;
            count += 1;
            tell(&format_args!("{day}: {count} exchanges exported"));
        }
    }
    Ok(())
}

fn whole(exchange: Exchange, record: Record) -> Exported {
    if exchange.left != Left::All {
        return Exported { record, request: None, response: None };
    }
    let stored = [Of::Request, Of::Response].map(|side| exchange.lacks(&record, side).is_none());
    let Exchange { request, request_body, response, response_body, .. } = exchange;
    let request = Side { head: request, body: stored[0].then(|| body(request_body)) };
    let response = Side { head: response, body: stored[1].then(|| body(response_body)) };
    Exported { record, request: Some(request), response: Some(response) }
}

fn body(bytes: Vec<u8>) -> Body {
    match String::from_utf8(bytes) {
        Ok(text) => Body::Text(text),
        Err(bytes) => Body::Base64(BASE64.encode(bytes.as_bytes())),
    }
}
