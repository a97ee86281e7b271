//! Puts an exchange together: its own frame, and the frames of its items.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use object_store::ObjectStoreExt;

use super::{Exchange, Reader};
use crate::Error;
use crate::frame::{Body, Half, Line, Part, Place, StoredExchange, read_lines};
use crate::segment::object_path;

/// Items by their names.
type Items = HashMap<String, Vec<u8>>;

impl Reader {
    /// Reads the exchange of this id, whose frame lies there.
    pub(super) async fn frame(&self, id: &str, place: &Place) -> Result<Exchange, Error> {
        let range = place.offset..place.offset + place.length;
        let frame = self.objects.get_range(&object_path(&place.segment), range).await?;
        let mut items = Items::new();
        let mut line = Vec::new();
        let read = read_lines(&frame, &mut |next| {
            match Line::read(next)? {
                Line::Item(item) => drop(items.insert(item.id.clone(), item.bytes()?.into_owned())),
                Line::Exchange(_) => line = next.to_vec(),
            }
            Ok(ControlFlow::Continue(()))
        });
        let damaged = |what: String| Error::Damaged(place.segment.clone(), what);
        read.map_err(|error| damaged(error.to_string()))?;
        let stored: StoredExchange<'_> =
            serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        if stored.id != id {
            return Err(damaged(format!("here is {}, and not {id}", stored.id)));
        }
        self.fetch(&stored, &mut items).await?;
        put_together(stored, &items).map_err(|what| damaged(format!("exchange {id}: {what}")))
    }

    /// Adds items that other frames hold.
    async fn fetch(&self, stored: &StoredExchange<'_>, items: &mut Items) -> Result<(), Error> {
        let mut missing = missing(stored, items);
        for needs in &stored.needs {
            let ranges: Vec<_> =
                needs.frames.iter().map(|(offset, length)| *offset..offset + length).collect();
            let frames = self.objects.get_ranges(&object_path(&needs.segment), &ranges).await?;
            for frame in frames {
                let damaged = |error: std::io::Error| {
                    Error::Damaged(needs.segment.clone(), error.to_string())
                };
                find_items(&frame, &mut missing, items).map_err(damaged)?;
            }
        }
        Ok(())
    }
}

/// The names of items that are not there yet.
fn missing(stored: &StoredExchange<'_>, items: &Items) -> HashSet<String> {
    let answered = stored.response.iter().flat_map(|half| half.body.parts.iter());
    let parts = stored.request.body.parts.iter().chain(answered);
    let named = parts.filter_map(|part| match part {
        Part::Item(id) => Some(id),
        Part::Text(_) | Part::Base64(_) => None,
    });
    named.filter(|id| !items.contains_key(*id)).cloned().collect()
}

/// Takes what is missing out of a frame; its items stand before all else.
fn find_items(
    frame: &[u8],
    missing: &mut HashSet<String>,
    items: &mut Items,
) -> std::io::Result<()> {
    read_lines(frame, &mut |line| {
        let Some(id) = Line::item_id(line) else { return Ok(ControlFlow::Break(())) };
        if missing.remove(id)
            && let Line::Item(item) = Line::read(line)?
        {
            items.insert(item.id.clone(), item.bytes()?.into_owned());
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn put_together(stored: StoredExchange<'_>, items: &Items) -> Result<Exchange, String> {
    let Half { head: request, body } = stored.request;
    let request_body = joined(&body, items)?;
    let Some(Half { head: response, body }) = stored.response else {
        return Ok(Exchange { request, request_body, ..Exchange::default() });
    };
    let response_body = joined(&body, items)?;
    Ok(Exchange { request, request_body, response, response_body })
}

/// The body, if it is what its hash says.
fn joined(body: &Body<'_>, items: &Items) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(usize::try_from(body.bytes).unwrap_or_default());
    for part in &body.parts {
        match part {
            Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Part::Base64(text) => {
                bytes.extend(BASE64.decode(text).map_err(|error| error.to_string())?);
            }
            Part::Item(id) => {
                let item = items.get(id).ok_or_else(|| format!("item {id} is missing"))?;
                bytes.extend_from_slice(item);
            }
        }
    }
    if *blake3::hash(&bytes).to_hex() != *body.blake3 {
        return Err("a body is not what was stored: its hash does not agree".to_owned());
    }
    Ok(bytes)
}
