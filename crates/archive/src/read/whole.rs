//! Puts an exchange together: its own frame, and the frames of its items.

use std::collections::HashMap;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use object_store::ObjectStoreExt;

use super::{Exchange, Left, Reader};
use crate::Error;
use crate::frame::{
    Body, Half, Needs, Part, Place, StoredExchange, StoredItem, is_erased, item_id, read_lines,
};
use crate::segment::object_path;

/// How deep items may be made of others: three levels are written.
const DEPTH: usize = 8;

/// Whether bytes are as they were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum As {
    Stored,
    /// Something in them was masked later.
    Masked,
}

/// The lines of items, by name.
#[derive(Default)]
struct Items {
    lines: HashMap<String, Vec<u8>>,
}

impl Reader {
    /// Reads the exchange of this id, whose frame lies there; one that was erased is empty, and so is
    /// one whose segment has gone.
    pub(super) async fn frame(&self, id: &str, place: &Place) -> Result<Exchange, Error> {
        let range = place.offset..place.offset + place.length;
        let frame = match self.objects.get_range(&object_path(&place.segment), range).await {
            Err(object_store::Error::NotFound { .. }) => {
                return Ok(Exchange { left: Left::Gone, ..Exchange::default() });
            }
            frame => frame?,
        };
        let damaged = |what: String| Error::Damaged(place.segment.clone(), what);
        let mut items = Items::default();
        let line = items.take(&frame).map_err(|error| damaged(error.to_string()))?;
        if is_erased(&line) {
            return Ok(Exchange { left: Left::Erased, ..Exchange::default() });
        }
        let stored: StoredExchange<'_> =
            serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        if stored.id != id {
            return Err(damaged(format!("here is {}, and not {id}", stored.id)));
        }
        for needs in &stored.needs {
            self.fetch(needs, &mut items).await?;
        }
        put_together(stored, &items).map_err(|what| damaged(format!("exchange {id}: {what}")))
    }

    /// Adds the items that other frames hold.
    async fn fetch(&self, needs: &Needs, items: &mut Items) -> Result<(), Error> {
        let ranges: Vec<_> =
            needs.frames.iter().map(|(offset, length)| *offset..offset + length).collect();
        let frames = self.objects.get_ranges(&object_path(&needs.segment), &ranges).await?;
        for frame in frames {
            let taken = items.take(&frame);
            taken.map_err(|error| Error::Damaged(needs.segment.clone(), error.to_string()))?;
        }
        Ok(())
    }
}

impl Items {
    /// Takes the items of a frame; they stand before the line that is given back.
    fn take(&mut self, frame: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut last = Vec::new();
        read_lines(frame, &mut |line| {
            let Some(id) = item_id(line) else {
                last = line.to_vec();
                return Ok(ControlFlow::Break(()));
            };
            self.lines.insert(id.to_owned(), line.to_vec());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(last)
    }

    /// Appends an item to a body.
    fn append(&self, id: &str, depth: usize, body: &mut Vec<u8>) -> Result<As, String> {
        let line = self.lines.get(id).ok_or_else(|| format!("item {id} is missing"))?;
        let item: StoredItem<'_> =
            serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut passed = if item.masked { As::Masked } else { As::Stored };
        if let Some(parts) = &item.parts {
            passed = passed.max(self.append_all(parts, depth, body)?);
        }
        body.extend_from_slice(item.text.as_deref().unwrap_or_default().as_bytes());
        body.extend(decoded(item.base64.as_deref().unwrap_or_default())?);
        Ok(passed)
    }

    fn append_all(
        &self,
        parts: &[Part<'_>],
        depth: usize,
        body: &mut Vec<u8>,
    ) -> Result<As, String> {
        let mut passed = As::Stored;
        if depth == DEPTH {
            return Err("items are made of themselves".to_owned());
        }
        for part in parts {
            match part {
                Part::Text(text) => body.extend_from_slice(text.as_bytes()),
                Part::Base64(text) => body.extend(decoded(text)?),
                Part::Item(id) => passed = passed.max(self.append(id, depth + 1, body)?),
            }
        }
        Ok(passed)
    }

    /// The body, if it is what its hash says. One in which something was masked has no hash; the
    /// signed statement about its file vouches for it.
    fn body(&self, stored: &Body<'_>) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let passed = self.append_all(&stored.parts, 0, &mut bytes)?;
        if !stored.masked
            && passed == As::Stored
            && *blake3::hash(&bytes).to_hex() != *stored.blake3
        {
            return Err("a body is not what was stored: its hash does not agree".to_owned());
        }
        Ok(bytes)
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| error.to_string())
}

fn put_together(stored: StoredExchange<'_>, items: &Items) -> Result<Exchange, String> {
    let Half { head: request, body } = stored.request;
    let request_body = items.body(&body)?;
    let Some(Half { head: response, body }) = stored.response else {
        return Ok(Exchange { request, request_body, ..Exchange::default() });
    };
    let response_body = items.body(&body)?;
    Ok(Exchange { request, request_body, response, response_body, left: Left::All })
}
