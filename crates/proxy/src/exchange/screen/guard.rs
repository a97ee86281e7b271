//! What the screen knows of secrets: the rules, what is ordered, and the keys of masks.

use std::sync::Arc;

use archive::record;
use http::header;
use http::request::Parts;
use redact::mask::{MaskKey, Masks};
use redact::scan::Finding;

use super::known::{Memory, Remembered};
use super::policy::{Orders, Policy};
use super::screening::{Screening, Verdict};
use super::search::Search;
use crate::config::screen::{Screen, Unreadable};
use crate::exchange::auth::Principal;
use crate::exchange::refusal::Refusal;
use crate::secret::screen::ScreenKeys;

/// Finds secrets, and decides.
pub struct Guard {
    pub(super) search: Search,
    pub(super) policy: Policy,
    /// What becomes of a body that cannot be read.
    pub(super) unreadable: Unreadable,
    allows_paths: bool,
    allowed: Vec<String>,
    remembered: Arc<Remembered>,
    keys: Arc<ScreenKeys>,
}

impl Guard {
    /// As configured; every key comes from this one.
    pub fn new(screen: &Screen, key: &[u8; 32]) -> Self {
        let items = blake3::derive_key("codex-proxy 1 items", key);
        Self {
            search: Search::new(screen.rules.clone(), items),
            policy: Policy::new(screen),
            unreadable: screen.unreadable,
            allows_paths: screen.allows_paths,
            allowed: screen.allowed_fingerprints.clone(),
            remembered: Arc::default(),
            keys: Arc::new(ScreenKeys::new(key)),
        }
    }

    /// Under other settings, with what is known by now.
    #[must_use]
    pub fn with(&self, screen: &Screen) -> Self {
        Self {
            search: self.search.with(screen.rules.clone()),
            policy: Policy::new(screen),
            unreadable: screen.unreadable,
            allows_paths: screen.allows_paths,
            allowed: screen.allowed_fingerprints.clone(),
            remembered: self.remembered.clone(),
            keys: self.keys.clone(),
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<redact::rule::Rules> {
        &self.search.rules
    }

    /// Fingerprints of values that are no secrets.
    pub fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// What masks of one conversation of a person are made with: the same on every node, and after
    /// every restart. And what that conversation remembers.
    pub(super) fn conversation(
        &self,
        principal: &Principal,
        conversation: &str,
    ) -> (MaskKey, Memory<'_>) {
        let (key, name) = self.keys.of(&principal.key.user, conversation);
        let memory = self.remembered.of(&key, name.first_chunk().copied().unwrap_or_default());
        (key, memory)
    }

    /// Looks through the head of a request whose body is not.
    pub(super) fn head(&self, orders: &Orders, head: &mut Parts) -> Verdict {
        let masks = Masks::new(self.keys.of_nobody());
        let mut screening = Screening::new(self, orders, masks, None);
        screening.head(&mut head.headers, &mut head.uri);
        screening.verdict().0
    }

    /// Looks through a handshake. Where messages may be masked they must be readable: then no
    /// compression is offered.
    pub fn handshake(
        &self,
        principal: &Principal,
        head: &mut Parts,
    ) -> Result<Vec<record::Finding>, Refusal> {
        let orders = self.policy.orders(principal);
        if orders.are_off {
            return Ok(Vec::new());
        }
        if orders.may_mask {
            head.headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
        }
        let verdict = self.head(orders, head);
        verdict.refusal.map_or(Ok(verdict.findings), Err)
    }

    /// Whether a value is no secret here; `file` tells where it stands.
    pub(super) fn allows(&self, value: &[u8], file: &dyn Fn() -> Option<String>) -> bool {
        self.keys.is_among(value, &self.allowed)
            || (self.allows_paths
                && file().is_some_and(|file| self.search.rules.allows_path(&file)))
    }

    /// What a value is known by without being told.
    pub fn fingerprint(&self, value: &[u8]) -> String {
        self.keys.fingerprint(value)
    }

    /// A finding in words.
    pub(super) fn described(&self, finding: &Finding, value: &[u8], place: &str) -> String {
        let rules = &self.search.rules;
        format!(
            "{} (rule {}, fingerprint {}) in {place}",
            rules.about(finding.rule),
            rules.name(finding.rule),
            self.fingerprint(value)
        )
    }
}
