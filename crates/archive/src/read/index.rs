//! Files of records, one by one: what was read of one needs never be read again.

use std::io::BufRead;

use futures_util::TryStreamExt;
use jiff::civil::Date;
use object_store::ObjectStoreExt;

use super::{Found, Reader, View};
use crate::Error;
use crate::segment::{day_folder, name_of};

/// A file of records of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Where it lies.
    pub name: String,
    /// Tells what is in it from what was in it before: nothing in the archive is overwritten, but by
    /// an erasure.
    pub mark: String,
    /// When it was put, in milliseconds since 1970 by the object store's clock.
    pub put_ms: i64,
}

impl Reader {
    /// The files of a day's records, in order.
    pub(super) async fn indexes(&self, day: Date) -> Result<Vec<Index>, Error> {
        let folder = day_folder("records", day);
        let mut objects: Vec<_> = self.objects.list(Some(&folder)).try_collect().await?;
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        // One is there under both names while it is sealed afterwards.
        objects.dedup_by(|one, other| one.location == other.location);
        let indexes = objects.into_iter().map(|object| {
            let tag = object.e_tag.unwrap_or_else(|| object.last_modified.to_string());
            Index {
                name: object.location.to_string(),
                mark: format!("{} {tag}", object.size),
                put_ms: object.last_modified.timestamp_millis(),
            }
        });
        Ok(indexes.collect())
    }

    /// Every record of a file.
    pub(super) async fn each_of(
        &self,
        index: &Index,
        each: &mut (dyn FnMut(Found) + Send),
    ) -> Result<(), Error> {
        let path = object_store::path::Path::from(index.name.as_str());
        let bytes = self.objects.get(&path).await?.bytes().await?;
        let damaged = |error: std::io::Error| Error::Damaged(index.name.clone(), error.to_string());
        let segment = name_of(&path).unwrap_or_default();
        let text = zstd::Decoder::with_buffer(&*bytes).map_err(damaged)?;
        for line in std::io::BufReader::new(text).lines() {
            each(super::index(segment, &line.map_err(damaged)?).map_err(damaged)?);
        }
        Ok(())
    }
}

impl View<'_> {
    /// The files of a day's records, in order.
    pub async fn indexes(&self, day: Date) -> Result<Vec<Index>, Error> {
        self.reader.indexes(day).await
    }

    /// Every record of a file, also such as had not been published at that moment.
    pub async fn each_of(
        &self,
        index: &Index,
        each: &mut (dyn FnMut(Found) + Send),
    ) -> Result<(), Error> {
        self.reader.each_of(index, each).await
    }
}
