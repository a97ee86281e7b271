//! Opens an object while its bytes come.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::Result;

use super::format::{CHUNK, Layout, Opener};

/// Stored bytes as they come.
pub(super) struct Stored {
    pieces: BoxStream<'static, Result<Bytes>>,
    held: BytesMut,
}

impl Stored {
    pub(super) fn new(pieces: BoxStream<'static, Result<Bytes>>) -> Self {
        Self { pieces, held: BytesMut::new() }
    }

    /// The next so many bytes; fewer at the end.
    pub(super) async fn take(&mut self, length: usize) -> Result<BytesMut> {
        while self.held.len() < length {
            let Some(piece) = self.pieces.try_next().await? else { break };
            self.held.extend_from_slice(&piece);
        }
        Ok(self.held.split_to(length.min(self.held.len())))
    }
}

/// An object that is being opened.
struct Opening {
    stored: Stored,
    opener: Opener,
    layout: Layout,
    chunks: Range<u64>,
    /// What is left of the wanted bytes of the text.
    wanted: Range<u64>,
}

/// These bytes of the text, from stored bytes that begin with the first of these chunks.
pub(super) fn open(
    stored: Stored,
    (opener, layout): (Opener, Layout),
    chunks: Range<u64>,
    wanted: Range<u64>,
) -> BoxStream<'static, Result<Bytes>> {
    let opening = Opening { stored, opener, layout, chunks, wanted };
    let next = |mut opening: Opening| async move {
        Ok(opening.next().await?.map(|bytes| (bytes, opening)))
    };
    stream::try_unfold(opening, next).boxed()
}

impl Opening {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(number) = self.chunks.next() else { return Ok(None) };
        let length = usize::try_from(self.layout.length(number)).unwrap_or(usize::MAX);
        let mut chunk = self.stored.take(length).await?;
        if chunk.len() < length {
            return Err(self.opener.cut_off().into());
        }
        let plain = self.opener.open(number, &mut chunk)?;
        let begin = number * CHUNK as u64;
        let within =
            |at: u64| usize::try_from(at.saturating_sub(begin)).map_or(plain, |at| at.min(plain));
        chunk.truncate(within(self.wanted.end));
        let skipped = within(self.wanted.start).min(chunk.len());
        Ok(Some(chunk.split_off(skipped).freeze()))
    }
}
