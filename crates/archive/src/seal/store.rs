//! An object store that seals what is put into it, and opens what is read.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::format::{HEADER, Layout, Opener, chunks_of, key_id, seal, stored};
use super::opening::{Stored, open};
use super::ring::Ring;
use super::{Closed, ENDING, Keys};
use crate::objects::once::same;

/// Where objects are sealed.
const FOLDERS: [&str; 2] = ["bodies/", "records/"];

/// Wraps an object store. Names and lengths are those of the texts: that an object is sealed is
/// seen only below. An object is there under one of its two names; it is new only where both are
/// free.
#[derive(Debug)]
pub(crate) struct Sealing {
    inner: Arc<dyn ObjectStore>,
    ring: Ring,
}

/// The name under which an object is sealed; none where it never is.
pub(super) fn sealed_name(location: &Path) -> Result<Option<Path>> {
    if !FOLDERS.iter().any(|folder| location.as_ref().starts_with(folder)) {
        return Ok(None);
    }
    Ok(Some(Path::parse(format!("{location}{ENDING}"))?))
}

/// The name of an object, from the one under which it is stored; none where it is not sealed.
pub(super) fn plain_name(stored: &Path) -> Option<Path> {
    let is_sealed = FOLDERS.iter().any(|folder| stored.as_ref().starts_with(folder));
    let name = stored.as_ref().strip_suffix(ENDING).filter(|_| is_sealed)?;
    Path::parse(name).ok()
}

/// An object as it is without its seal.
fn plain(mut stored: ObjectMeta) -> ObjectMeta {
    if let Some(name) = plain_name(&stored.location) {
        stored.location = name;
        stored.size = Layout::of(stored.size).map_or(0, Layout::plain);
    }
    stored
}

pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "sealed", source: Box::new(error) }
}

impl Sealing {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, keys: Keys) -> Self {
        Self { ring: Ring::new(keys, inner.clone()), inner }
    }

    /// What opens the object of this header, which is cut like that.
    async fn opener(&self, location: &Path, header: &[u8], layout: Layout) -> Result<Opener> {
        let key = self.ring.find(location, key_id(location, header)?).await?;
        Ok(Opener::new(location, header, &key, layout)?)
    }

    async fn is_there(&self, location: &Path) -> Result<bool> {
        match self.inner.head(location).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts a text in the place of a version: sealed where that was, and with a key.
    async fn update(
        &self,
        location: &Path,
        sealed: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if !self.is_there(sealed).await? {
            return self.inner.put_opts(location, payload, options).await;
        }
        let Some(key) = self.ring.current().await? else {
            let source = "it is sealed, and what takes its place must be: \
                          set archive.encryption_key";
            return Err(Error::NotSupported { source: source.into() });
        };
        let bytes = seal(&key, &Bytes::from(payload)).map_err(failed)?;
        self.inner.put_opts(sealed, bytes.into(), options).await
    }

    /// Reads what is stored under the name of sealed objects.
    async fn get_sealed(
        &self,
        location: &Path,
        sealed: &Path,
        options: GetOptions,
    ) -> Result<GetResult> {
        let Some(range) = options.range.clone().filter(|_| !options.head) else {
            return self.get_whole(location, sealed, options).await;
        };
        let header = GetOptions { range: Some((0..HEADER as u64).into()), ..options.clone() };
        let header = self.inner.get_opts(sealed, header);
        let chunks = |wanted: &Range<u64>| {
            let range = Some(stored(&chunks_of(wanted)).into());
            self.inner.get_opts(sealed, GetOptions { range, ..options.clone() })
        };
        // Both at once: a bucket takes its time for each.
        let (mut got, ahead) = match &range {
            GetRange::Bounded(wanted) if !wanted.is_empty() => {
                let (header, chunks) = tokio::join!(header, chunks(wanted));
                (header?, Some(chunks))
            }
            GetRange::Bounded(_) | GetRange::Offset(_) | GetRange::Suffix(_) => {
                (header.await?, None)
            }
        };
        let layout = layout(location, &got.meta)?;
        let wanted = range.as_range(layout.plain()).map_err(failed)?;
        let header = Stored::new(take_stream(&mut got)).take(HEADER).await?;
        got.meta = plain(got.meta);
        let opener = self.opener(location, &header, layout).await?;
        got.range = wanted.clone();
        if wanted.is_empty() {
            return Ok(got);
        }
        let body = match ahead {
            Some(body) => body?,
            None => chunks(&wanted).await?,
        };
        let body = Stored::new(body.into_stream());
        let text = open(body, (opener, layout), chunks_of(&wanted), wanted);
        Ok(GetResult { payload: GetResultPayload::Stream(text), ..got })
    }

    /// Reads all of it with one request, or only asks for it.
    async fn get_whole(
        &self,
        location: &Path,
        sealed: &Path,
        options: GetOptions,
    ) -> Result<GetResult> {
        let only_head = options.head;
        let mut got = self.inner.get_opts(sealed, GetOptions { range: None, ..options }).await?;
        let layout = layout(location, &got.meta)?;
        let mut body = Stored::new(take_stream(&mut got));
        got.meta = plain(got.meta);
        got.range = 0..layout.plain();
        if only_head {
            return Ok(got);
        }
        let header = body.take(HEADER).await?;
        let opener = self.opener(location, &header, layout).await?;
        let text = open(body, (opener, layout), 0..layout.chunks(), got.range.clone());
        Ok(GetResult { payload: GetResultPayload::Stream(text), ..got })
    }

    /// What `one` gives, and where nothing is there, what `other` gives.
    async fn first_of(
        one: impl Future<Output = Result<GetResult>>,
        other: impl Future<Output = Result<GetResult>>,
    ) -> Result<GetResult> {
        match one.await {
            Err(Error::NotFound { .. }) => other.await,
            got => got,
        }
    }
}

fn layout(location: &Path, stored: &ObjectMeta) -> Result<Layout> {
    let no_such = || Closed::broken(location, "no sealed object has its length: it is cut off");
    Ok(Layout::of(stored.size).ok_or_else(no_such)?)
}

/// The bytes of an answer; none are left in it. Its range says which they are, and is still that.
fn take_stream(got: &mut GetResult) -> BoxStream<'static, Result<Bytes>> {
    let nothing = GetResultPayload::Stream(stream::empty().boxed());
    let payload = std::mem::replace(&mut got.payload, nothing);
    let (meta, range) = (got.meta.clone(), got.range.clone());
    let (attributes, extensions) = (got.attributes.clone(), got.extensions.clone());
    GetResult { payload, meta, range, attributes, extensions }.into_stream()
}

/// That an object is there, under its own name.
fn named(error: Error, location: &Path) -> Error {
    match error {
        Error::AlreadyExists { source, .. } => {
            Error::AlreadyExists { path: location.to_string(), source }
        }
        other => other,
    }
}

impl fmt::Display for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Sealing {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let Some(sealed) = sealed_name(location)? else {
            return self.inner.put_opts(location, payload, options).await;
        };
        if let PutMode::Update(_) = options.mode {
            return self.update(location, &sealed, payload, options).await;
        }
        let (name, other, stored) = match self.ring.current().await? {
            Some(key) => {
                let bytes = seal(&key, &Bytes::from(payload.clone())).map_err(failed)?;
                (&sealed, location, PutPayload::from(bytes))
            }
            None => (location, &sealed, payload.clone()),
        };
        let is_new = options.mode == PutMode::Overwrite;
        // An earlier try may have been made with other settings.
        if is_new && self.is_there(other).await? {
            return same(self, location, &payload).await;
        }
        match self.inner.put_opts(name, stored, options).await {
            // The same text is never sealed to the same bytes.
            Err(Error::AlreadyExists { .. }) if is_new => same(self, location, &payload).await,
            put => put.map_err(|error| named(error, location)),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.ring.seals() && sealed_name(location)?.is_some() {
            let source = "a sealed object is put in one piece".into();
            return Err(Error::NotSupported { source });
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(sealed) = sealed_name(location)? else {
            return self.inner.get_opts(location, options).await;
        };
        let opened = self.get_sealed(location, &sealed, options.clone());
        let as_is = self.inner.get_opts(location, options);
        if self.ring.seals() {
            return Self::first_of(opened, as_is).await;
        }
        Self::first_of(as_is, opened).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if sealed_name(location)?.is_none() {
            return self.inner.get_ranges(location, ranges).await;
        }
        let near = object_store::OBJECT_STORE_COALESCE_DEFAULT;
        object_store::coalesce_ranges(ranges, |range| self.get_range(location, range), near).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let inner = self.inner.clone();
        let delete = move |location: Result<Path>| {
            let inner = inner.clone();
            async move {
                let location = location?;
                // In a bucket with versions a name that was never there would get a marker.
                let sealed = match sealed_name(&location)? {
                    Some(sealed) => inner.head(&sealed).await.map(|_| sealed),
                    None => return inner.delete(&location).await.map(|()| location),
                };
                match sealed {
                    Ok(sealed) => inner.delete(&sealed).await?,
                    Err(Error::NotFound { .. }) => {
                        return inner.delete(&location).await.map(|()| location);
                    }
                    Err(error) => return Err(error),
                }
                // It may be there under both names, where somebody who sealed it broke off.
                match inner.head(&location).await {
                    Ok(_) => inner.delete(&location).await?,
                    Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
                Ok(location)
            }
        };
        locations.map(delete).buffered(10).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).map_ok(plain).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        // A sealed object's name is behind the offset that is its own.
        let behind = offset.clone();
        let listed = self.inner.list_with_offset(prefix, offset).map_ok(plain);
        listed.try_filter(move |object| std::future::ready(object.location > behind)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(plain).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match (sealed_name(from)?, sealed_name(to)?) {
            (None, None) => self.inner.copy_opts(from, to, options).await,
            (Some(sealed_from), Some(sealed_to)) => {
                match self.inner.copy_opts(&sealed_from, &sealed_to, options.clone()).await {
                    Err(Error::NotFound { .. }) => self.inner.copy_opts(from, to, options).await,
                    copied => copied,
                }
            }
            (Some(_), None) | (None, Some(_)) => {
                let source = "a sealed object is copied only to where objects are sealed".into();
                Err(Error::NotSupported { source })
            }
        }
    }
}
