//! How much at once, and which models: what a principal may do.

use std::sync::atomic::Ordering;

use wildmatch::WildMatch;
use wire::ask::Ask;

use super::auth::Principal;
use super::endpoint::Operation;
use super::refusal::{Refusal, Word};

/// Decides what is admitted.
pub struct Limits {
    per_key: usize,
}

/// A place among the exchanges of a key, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    principal: Principal,
}

/// The proof that an exchange was admitted; held by its answer until the end. Made only here.
#[derive(Debug)]
pub struct Permit {
    slot: Slot,
}

impl Permit {
    /// Who was admitted.
    pub fn principal(&self) -> &Principal {
        &self.slot.principal
    }
}

impl Limits {
    /// At most `per_key` exchanges of one key at once.
    pub fn new(per_key: usize) -> Self {
        Self { per_key }
    }

    /// Takes a place, before the body is read: a client that stalls still holds one.
    pub fn enter(&self, principal: &Principal) -> Result<Slot, Refusal> {
        let exchanges = &principal.live.exchanges;
        let room = |now: usize| (now < self.per_key).then_some(now + 1);
        if exchanges.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            let limit = self.per_key;
            let message = format!("This key has {limit} exchanges under way, which is its limit.");
            return Err(Refusal::new(Word::TooManyRequests, message).retry_after(1));
        }
        Ok(Slot { principal: principal.clone() })
    }

    /// Decides on what is asked. A key that may ask only some models may ask nothing whose model
    /// cannot be read.
    pub fn admit(
        &self,
        slot: Slot,
        operation: Operation,
        ask: Option<&Ask>,
    ) -> Result<Permit, Refusal> {
        let globs = &slot.principal.key.models;
        if globs.is_empty() || operation == Operation::Other {
            return Ok(Permit { slot });
        }
        let models = globs.join(", ");
        match ask.and_then(|ask| ask.model.as_deref()) {
            Some(model) if globs.iter().any(|glob| WildMatch::new(glob).matches(model)) => {
                Ok(Permit { slot })
            }
            Some(model) => {
                let message = format!("This key may not ask the model {model}, only {models}.");
                Err(Refusal::new(Word::ModelNotAllowed, message))
            }
            None => {
                let message = format!(
                    "This key may ask only {models}, and which model this request asks cannot be read."
                );
                Err(Refusal::new(Word::UnreadableBody, message))
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.principal.live.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}
