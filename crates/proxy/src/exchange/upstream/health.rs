//! Whether something upstream works: what failed is set aside for a while, longer each time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Beyond this no back-off grows any more.
const MOST_DOUBLINGS: u32 = 6;

/// How something upstream does.
#[derive(Debug)]
pub struct Health {
    /// How long it is set aside for the first failure.
    first: Duration,
    /// It was set aside and is not known to work again: else nobody takes the lock.
    troubled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// How often in a row it was set aside; 0: it works.
    times: u32,
    /// From then on it may be tried.
    until: Instant,
}

impl Health {
    /// Set aside for so long at its first failure, twice that at the next, up to 64 times.
    pub fn new(first: Duration, now: Instant) -> Self {
        let state = Mutex::new(State { times: 0, until: now });
        Self { first, troubled: AtomicBool::new(false), state }
    }

    /// Whether it may be asked.
    pub fn is_open(&self, now: Instant) -> bool {
        !self.is_troubled() || now >= self.state().until
    }

    /// Takes a try: of what was set aside only one request at a time finds out whether it works
    /// again. False: another was quicker.
    pub fn take_try(&self, now: Instant) -> bool {
        if !self.is_troubled() {
            return true;
        }
        let mut state = self.state();
        if now < state.until {
            return false;
        }
        if state.times > 0 {
            self.set_aside(&mut state, now);
        }
        true
    }

    /// It failed; true: that is news.
    pub fn failed(&self, now: Instant) -> bool {
        let mut state = self.state();
        let news = now >= state.until;
        if news {
            self.set_aside(&mut state, now);
        }
        news
    }

    /// It works; true: that is news.
    pub fn works(&self, now: Instant) -> bool {
        if !self.is_troubled() {
            return false;
        }
        let mut state = self.state();
        let news = state.times > 0;
        self.troubled.store(false, Ordering::Release);
        *state = State { times: 0, until: now };
        news
    }

    fn set_aside(&self, state: &mut State, now: Instant) {
        let doublings = state.times.min(MOST_DOUBLINGS);
        state.times = state.times.saturating_add(1);
        state.until = now + self.first * (1 << doublings);
        self.troubled.store(true, Ordering::Release);
    }

    fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    /// Two numbers that are right even if a thread panicked beside them.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Health;

    #[test]
    fn what_fails_is_set_aside_and_tried_by_one() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let health = Health::new(Duration::from_secs(10), start);
        assert!(health.is_open(at(0)) && health.take_try(at(0)) && health.take_try(at(0)));

        // Failures at once count once.
        assert!(health.failed(at(1)));
        assert!(!health.failed(at(1)));
        assert!(!health.is_open(at(10)) && !health.take_try(at(10)));

        // One finds out, the others go elsewhere; it stays aside for longer.
        assert!(health.is_open(at(11)) && health.take_try(at(11)));
        assert!(!health.is_open(at(11)) && !health.take_try(at(30)));
        assert!(!health.failed(at(12)));
        assert!(health.take_try(at(31)));

        // It works again: all may ask.
        assert!(health.works(at(32)) && !health.works(at(32)));
        assert!(health.take_try(at(32)) && health.take_try(at(32)));
    }

    #[test]
    fn nothing_is_set_aside_for_ever() {
        let start = Instant::now();
        let health = Health::new(Duration::from_secs(1), start);
        let mut now = start;
        for _ in 0..50 {
            health.failed(now);
            now += Duration::from_secs(64);
        }
        assert!(health.is_open(now));
    }
}
