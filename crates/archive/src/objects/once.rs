//! What is put stays as it was put: nothing in the archive is ever overwritten.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UpdateVersion, WriteMultipart,
};

use crate::publish::BREATH;

/// Parts of an upload that are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// An object store in which a put never takes the place of an object.
///
/// An object that is there with the same bytes counts as put: whoever put it crashed before it
/// knew. One with other bytes is an error. To replace one on purpose is [`PutMode::Update`], which
/// takes the place of just the version that it names.
#[derive(Debug)]
pub struct Once<S> {
    inner: S,
    parts: Option<Parts>,
}

/// How large objects are cut.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// What is larger, in bytes, goes in parts.
    pub above: usize,
    /// So large, in bytes; Amazon asks for 5 MiB at least.
    pub size: usize,
}

impl<S: ObjectStore> Once<S> {
    /// Puts every object at once.
    pub fn whole(inner: S) -> Self {
        Self { inner, parts: None }
    }

    /// Puts large objects in parts.
    pub fn in_parts(inner: S, parts: Parts) -> Self {
        Self { inner, parts: Some(parts) }
    }

    /// Puts an object in parts, unless it is there. Whether it is there is asked before: the
    /// library cannot put a condition on the completion. Two writers of one name would have to be
    /// at it in the same seconds, and a name has one writer.
    async fn put_parts(
        &self,
        location: &Path,
        payload: PutPayload,
        size: usize,
    ) -> Result<PutResult> {
        match self.inner.head(location).await {
            Ok(_) => return same(&self.inner, location, &payload).await,
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let upload = self.inner.put_multipart(location).await?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, size);
        for mut rest in payload {
            while !rest.is_empty() {
                if let Err(error) = parts.wait_for_capacity(PARTS_AT_ONCE).await {
                    // That it cannot be taken back either is a matter of the bucket's lifecycle.
                    let _ = parts.abort().await;
                    return Err(error);
                }
                parts.put(rest.split_to(rest.len().min(size)));
            }
        }
        // Where that fails, it takes back the parts that arrived.
        parts.finish().await
    }

    /// Replaces a version of an object. A folder knows no condition on that: there it is looked
    /// beforehand, and of two who do it in the same moment the later one wins.
    async fn update(
        &self,
        location: &Path,
        payload: PutPayload,
        (options, version): (PutOptions, UpdateVersion),
    ) -> Result<PutResult> {
        match self.inner.put_opts(location, payload.clone(), options.clone()).await {
            Err(Error::NotImplemented { .. }) => {}
            put => return put,
        }
        if self.inner.head(location).await?.e_tag != version.e_tag {
            let source = "it is another one by now".into();
            return Err(Error::Precondition { path: location.to_string(), source });
        }
        let options = PutOptions { mode: PutMode::Overwrite, ..options };
        self.inner.put_opts(location, payload, options).await
    }
}

/// The same bytes in pieces, each of which a folder writes on its own: a system that does not interrupt
/// its own calls would keep whoever serves waiting for all of them.
fn in_pieces(payload: PutPayload) -> PutPayload {
    let pieces = |mut rest: Bytes| {
        std::iter::from_fn(move || {
            let piece = rest.split_to(rest.len().min(BREATH));
            (!piece.is_empty()).then_some(piece)
        })
    };
    payload.into_iter().flat_map(pieces).collect()
}

/// That an object is there already is fine where it holds these bytes.
pub(crate) async fn same(
    objects: &impl ObjectStore,
    location: &Path,
    payload: &PutPayload,
) -> Result<PutResult> {
    let there = objects.get(location).await?;
    let found = PutResult {
        e_tag: there.meta.e_tag.clone(),
        version: there.meta.version.clone(),
        extensions: there.extensions.clone(),
    };
    let is_same = there.meta.size == payload.content_length() as u64
        && equals(there.into_stream(), payload).await?;
    if is_same { Ok(found) } else { Err(taken(location)) }
}

/// Whether a stream has the bytes of a payload.
async fn equals(mut stream: BoxStream<'_, Result<Bytes>>, payload: &PutPayload) -> Result<bool> {
    let mut expected = payload.iter().flat_map(|piece| piece.iter());
    while let Some(piece) = stream.try_next().await? {
        if !piece.iter().all(|byte| expected.next() == Some(byte)) {
            return Ok(false);
        }
    }
    Ok(expected.next().is_none())
}

fn taken(location: &Path) -> Error {
    let what = "it is there with other bytes, and nothing is overwritten: \
                do two installations write to one place, or was a spool copied?";
    Error::AlreadyExists { path: location.to_string(), source: what.into() }
}

impl<S: ObjectStore> fmt::Display for Once<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait::async_trait]
impl<S: ObjectStore> ObjectStore for Once<S> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match options.mode.clone() {
            PutMode::Overwrite => {}
            PutMode::Update(version) => {
                return self.update(location, payload, (options, version)).await;
            }
            PutMode::Create => return self.inner.put_opts(location, payload, options).await,
        }
        if let Some(parts) = self.parts.filter(|parts| payload.content_length() > parts.above) {
            return self.put_parts(location, payload, parts.size).await;
        }
        let payload = if self.parts.is_none() { in_pieces(payload) } else { payload };
        let options = PutOptions { mode: PutMode::Create, ..options };
        match self.inner.put_opts(location, payload.clone(), options).await {
            Err(Error::AlreadyExists { .. }) => same(&self.inner, location, &payload).await,
            put => put,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
