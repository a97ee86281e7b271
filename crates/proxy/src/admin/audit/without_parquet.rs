//! Stands for Parquet in a program that was built without it.

use std::convert::Infallible;
use std::io::Write;
use std::marker::PhantomData;

use anyhow::{Result, bail};
use archive::record::Record;

/// A file that cannot be.
pub struct Table<W>(Infallible, PhantomData<W>);

impl<W: Write + Send> Table<W> {
    /// Fails: says what to do.
    pub fn begin(_out: W) -> Result<Self> {
        bail!(
            "this program was built without Parquet: build it with `--features parquet`, or \
             export jsonl, which DuckDB and others turn into Parquet"
        )
    }

    /// Cannot be called.
    pub fn push(&mut self, _record: Record) -> Result<()> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn end(self) -> Result<W> {
        match self.0 {}
    }
}
