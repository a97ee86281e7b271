//! Items that were looked through before, and what was found in them: places, never values. And what
//! conversations remember of their secrets: traces, never values.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redact::mask::{MaskKey, Masked, Masks};
use redact::recollection::Recollection;
use redact::scan::Finding;

use super::recent::Recent;

/// Of an item, its keyed hash: with what it was looked for, and for whom.
pub type Name = [u8; 16];

/// About a hundred bytes of memory an item.
const ITEMS: usize = 1 << 16;
/// About three kilobytes a conversation.
const CONVERSATIONS: usize = 1 << 11;

/// What is known, of the newest items. What is forgotten is only looked through once more.
pub struct Known(Mutex<Recent<Name, Arc<[Finding]>>>);

impl Known {
    /// What was found in these items, where they are known: places counted from each one's begin.
    pub fn look(&self, names: &[Name]) -> Vec<Option<Arc<[Finding]>>> {
        let mut recent = lock(&self.0);
        names.iter().map(|name| recent.look(name)).collect()
    }

    /// Remembers what was found.
    pub fn note(&self, found: Vec<(Name, Arc<[Finding]>)>) {
        let mut recent = lock(&self.0);
        for (name, findings) in found {
            recent.put(name, findings);
        }
    }
}

impl Default for Known {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(ITEMS)))
    }
}

/// What conversations remember. A client that makes its history short may drop the place by which a
/// secret was told, and send it bare from then on.
pub struct Remembered(Mutex<Recent<Name, Traces>>);

/// What one conversation remembers.
type Traces = Arc<Mutex<Recollection>>;

/// A conversation, and what it remembers.
pub struct Memory<'r> {
    all: &'r Remembered,
    key: MaskKey,
    name: Name,
    traces: Option<Traces>,
}

impl Remembered {
    /// What the conversation of these masks remembers.
    pub fn of(&self, key: &MaskKey, name: Name) -> Memory<'_> {
        Memory { all: self, key: key.clone(), name, traces: lock(&self.0).look(&name) }
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(CONVERSATIONS)))
    }
}

impl Memory<'_> {
    /// Where values stand that were masked before, in order.
    pub fn find(&self, bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
        // A copy of some traces is searched with, so that others of the conversation do not wait.
        let traces = self.traces.as_ref().map(|traces| lock(traces).clone());
        traces.map(|traces| traces.find(bytes)).unwrap_or_default()
    }

    /// Remembers what was masked.
    pub fn note(&mut self, masks: &Masks, masked: &Masked) {
        let traces = self.traces.get_or_insert_with(|| {
            let mut all = lock(&self.all.0);
            // Another request of the conversation may have come first.
            all.look(&self.name).unwrap_or_else(|| {
                let traces = Arc::new(Mutex::new(Recollection::new(&self.key)));
                all.put(self.name, traces.clone());
                traces
            })
        });
        lock(traces).remember(masks, masked);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
