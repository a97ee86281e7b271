//! Hands out every text of a segment once: what a conversation repeats is stored once, with the
//! exchange that brought it.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::civil::Date;
use object_store::ObjectStoreExt;
use serde::Deserialize;

use crate::Error;
use crate::frame::{Part, StoredExchange, StoredItem, is_erased, item_id, split_frame};
use crate::read::View;
use crate::record::Record;
use crate::segment::{day_folder, name_of, object_path};

/// A text, and the exchange that brought it into its conversation on that day.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The exchange.
    pub record: &'a Record,
    /// The conversation.
    pub session: &'a str,
    /// A piece of a body, decoded; a header's value; or the address.
    pub bytes: &'a [u8],
}

/// Takes texts.
pub type Each<'a> = &'a mut dyn FnMut(Text<'_>);

/// Of an exchange's line, whose items it has.
#[derive(Deserialize)]
struct InSession {
    session: String,
}

impl View<'_> {
    /// The names of a day's segments, in order.
    pub async fn segments(&self, day: Date) -> Result<Vec<String>, Error> {
        let listed = self.objects().list(Some(&day_folder("bodies", day)));
        let paths: Vec<_> = listed.map_ok(|object| object.location).try_collect().await?;
        let mut names: Vec<String> = paths.iter().filter_map(name_of).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// The bytes of a segment; none where it is kept no longer.
    pub async fn segment(&self, name: &str) -> Result<Option<Bytes>, Error> {
        match self.objects().get(&object_path(name)).await {
            Ok(got) => Ok(Some(got.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Hands out the texts of a segment, exchange by exchange; returns how many bytes they have.
pub fn each_text(name: &str, segment: &[u8], each: Each<'_>) -> Result<u64, Error> {
    let damaged = |error: std::io::Error| Error::Damaged(name.to_owned(), error.to_string());
    let (mut rest, mut lines, mut looked) = (segment, Vec::new(), 0);
    while !rest.is_empty() {
        let (frame, behind) = split_frame(rest).map_err(damaged)?;
        lines.clear();
        let decoder = zstd::Decoder::with_buffer(frame).map_err(damaged)?;
        decoder.single_frame().read_to_end(&mut lines).map_err(damaged)?;
        let mut count = |text: Text<'_>| {
            looked += text.bytes.len() as u64;
            each(text);
        };
        of_frame(&lines, &mut count).map_err(|error| damaged(error.into()))?;
        rest = behind;
    }
    Ok(looked)
}

/// The texts of one exchange. Its line is behind those of its items, and says whose they are.
fn of_frame(lines: &[u8], each: Each<'_>) -> serde_json::Result<()> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (items, own): (Vec<_>, Vec<_>) = lines.partition(|line| item_id(line).is_some());
    let Some(line) = own.into_iter().find(|line| !is_erased(line)) else { return Ok(()) };
    let record: Record = serde_json::from_slice(line)?;
    let InSession { session } = serde_json::from_slice(line)?;
    let mut give = |bytes: &[u8]| each(Text { record: &record, session: &session, bytes });
    let exchange: StoredExchange<'_> = serde_json::from_slice(line)?;
    if let Some(head) = &exchange.request.head {
        give(head.target.as_bytes());
        head.headers.iter().for_each(|(_, value)| give(value.as_bytes()));
    }
    for line in items {
        let item: StoredItem<'_> = serde_json::from_slice(line)?;
        if let Some(text) = &item.text {
            give(text.as_bytes());
        }
        if let Some(bytes) = item.base64.as_deref().and_then(|text| BASE64.decode(text).ok()) {
            give(&bytes);
        }
        of_parts(item.parts.as_deref().unwrap_or_default(), &mut give);
    }
    of_parts(&exchange.request.body.parts, &mut give);
    if let Some(response) = &exchange.response {
        if let Some(head) = &response.head {
            head.headers.iter().for_each(|(_, value)| give(value.as_bytes()));
        }
        of_parts(&response.body.parts, &mut give);
    }
    Ok(())
}

fn of_parts(parts: &[Part<'_>], give: &mut dyn FnMut(&[u8])) {
    for part in parts {
        match part {
            Part::Text(text) => give(text.as_bytes()),
            Part::Base64(text) => {
                if let Ok(bytes) = BASE64.decode(text) {
                    give(&bytes);
                }
            }
            Part::Item(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
