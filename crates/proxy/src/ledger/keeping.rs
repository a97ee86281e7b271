//! Where entries go: to the spool, or nowhere.

use std::sync::Arc;

use archive::journal::{Draft, Entry};
use archive::record::Record;
use archive::spool::desk::{Desk, Receipt};
use archive::spool::{Spool, State, Unwritable};
use bytes::Bytes;

/// Takes entries.
#[derive(Clone)]
pub(crate) enum Keeping {
    /// To the spool.
    Spool {
        /// Where they are appended.
        desk: Arc<Desk>,
        /// How it does.
        state: State,
    },
    /// Nothing is kept, and so nothing is missing.
    Nothing,
}

impl Keeping {
    pub(crate) fn new(spool: Option<&Spool>) -> Self {
        spool.map_or(Self::Nothing, |spool| Self::Spool {
            desk: spool.desk().clone(),
            state: spool.state().clone(),
        })
    }

    /// Appends what is written into a draft, all of it or nothing.
    pub(crate) fn append(&self, write: impl FnOnce(&mut Draft)) -> Receipt {
        let Self::Spool { desk, .. } = self else { return Receipt::unneeded() };
        let mut draft = Draft::default();
        write(&mut draft);
        desk.append(&draft)
    }

    /// Appends a piece of a body at once.
    pub(crate) fn append_now(&self, entry: &Entry<'_>, piece: Bytes) -> Result<(), Unwritable> {
        let Self::Spool { desk, .. } = self else { return Ok(()) };
        let mut draft = Draft::default();
        draft.push(entry, piece);
        desk.append_now(&draft)
    }

    /// Keeps the end of an exchange that could not be written as it was, until it can be.
    pub(crate) fn append_failed(&self, record: &Record) {
        if let Self::Spool { desk, .. } = self {
            desk.append_later(Draft::failed(record.clone()));
        }
    }

    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self, Self::Spool { .. })
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.spool().is_none_or(State::is_writable)
    }

    pub(crate) fn spool(&self) -> Option<&State> {
        match self {
            Self::Spool { state, .. } => Some(state),
            Self::Nothing => None,
        }
    }
}
