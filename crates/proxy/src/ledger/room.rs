//! How much room the spool's quota leaves.

use std::sync::atomic::{AtomicU8, Ordering};

/// Of the quota, in percent: from here on operators are warned.
const LOW: u64 = 80;
/// Below this it is well again: a spool that goes up and down is not said each time.
const WELL: u64 = 70;

/// The quota, and whether it is used up.
pub struct Room {
    quota: u64,
    level: AtomicU8,
}

/// How far the quota is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ample = 0,
    Low = 1,
    None = 2,
}

impl Room {
    /// All of it, in bytes.
    pub fn new(quota: u64) -> Self {
        Self { quota, level: AtomicU8::new(Level::Ample as u8) }
    }

    /// Whether a record may be opened.
    pub fn is_left(&self) -> bool {
        self.level() != Level::None
    }

    /// Notes how much waits in the spool, and says so when that has another meaning than before.
    pub(crate) fn note(&self, bytes: u64) {
        let before = self.level();
        let now = before.after(bytes.saturating_mul(100) / self.quota.max(1));
        if now == before {
            return;
        }
        self.level.store(now as u8, Ordering::Relaxed);
        let quota = self.quota;
        match now {
            Level::Ample => tracing::info!(bytes, quota, "the spool has room again"),
            Level::Low => tracing::warn!(
                bytes,
                quota,
                "the spool is filling up: the archive does not take what waits, see archive.spool_quota"
            ),
            Level::None => tracing::error!(
                bytes,
                quota,
                "the spool's quota is used up: archive.when_full says what happens to exchanges"
            ),
        }
    }

    fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Ample,
            1 => Level::Low,
            _ => Level::None,
        }
    }
}

impl Level {
    fn after(self, percent: u64) -> Self {
        match percent {
            100.. => Self::None,
            LOW..100 => Self::Low,
            WELL..LOW if self != Self::Ample => Self::Low,
            _ => Self::Ample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Room};

    #[test]
    fn a_quota_is_well_until_it_is_low_and_open_until_it_is_used_up() {
        let room = Room::new(1_000);
        let steps = [
            (0, Level::Ample),
            (799, Level::Ample),
            (800, Level::Low),
            (999, Level::Low),
            (1_000, Level::None),
            (u64::MAX, Level::None),
            (950, Level::Low),
            (700, Level::Low),
            (699, Level::Ample),
            (750, Level::Ample),
        ];
        for (bytes, level) in steps {
            room.note(bytes);
            assert_eq!((room.level(), room.is_left()), (level, level != Level::None), "{bytes}");
        }
    }
}
