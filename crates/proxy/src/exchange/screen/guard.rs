//! What the screen knows of secrets: the rules, what is ordered, and the keys of masks.

use std::sync::Arc;

use http::header;
use http::request::Parts;
use redact::mask::{MaskKey, Masks};
use redact::scan::Finding;
use wire::coding::whole::Undecodable;

use super::known::{Memory, Remembered};
use super::policy::Policy;
use super::screening::{Screening, Verdict};
use super::search::Search;
use crate::config::screen::{Screen, Unreadable};
use crate::exchange::auth::Principal;
use crate::exchange::conversation;
use crate::exchange::headers::without;
use crate::exchange::refusal::{Refusal, Word};
use crate::secret::screen::ScreenKeys;

/// Finds secrets, and decides.
pub struct Guard {
    pub(super) search: Search,
    pub(super) policy: Policy,
    unreadable: Unreadable,
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

    /// Under other settings, with what is known of items by now. What was masked under those before
    /// is forgotten: it may be allowed now.
    #[must_use]
    pub fn with(&self, screen: &Screen) -> Self {
        Self {
            search: self.search.with(screen.rules.clone()),
            policy: Policy::new(screen),
            unreadable: screen.unreadable,
            allows_paths: screen.allows_paths,
            allowed: screen.allowed_fingerprints.clone(),
            remembered: Arc::default(),
            keys: self.keys.clone(),
        }
    }

    /// What becomes of a body that cannot be read, which might hold anything: it is refused, unless it
    /// is ordered otherwise.
    pub(super) fn unreadable(&self, why: Option<&Undecodable>) -> Result<(), Refusal> {
        if self.unreadable == Unreadable::Pass {
            return Ok(());
        }
        let why = why.map_or_else(
            || "it is no text in UTF-8".to_owned(),
            |why| format!("{why}; send it without content coding"),
        );
        let message = format!("The request cannot be looked through for secrets: {why}.");
        Err(Refusal::new(Word::UnreadableBody, message))
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
        let memory = self.remembered.of(&key, name);
        (key, memory)
    }

    /// Looks through the head of a request whose body is not.
    pub(super) fn head(&self, principal: &Principal, head: &mut Parts) -> Verdict {
        let orders = self.policy.orders(principal);
        if orders.are_off {
            return Verdict::default();
        }
        let conversation = conversation::of(principal, &head.headers, None).to_owned();
        let (key, memory) = self.conversation(principal, &conversation);
        let mut screening = Screening::new(self, orders, Masks::new(key), Some(memory));
        screening.head(&mut head.headers, &mut head.uri);
        screening.verdict().0
    }

    /// Looks through a handshake. Where messages may be masked they must be readable: then no
    /// compression is offered.
    pub fn handshake(&self, principal: &Principal, head: &mut Parts) -> Verdict {
        if self.policy.orders(principal).may_mask {
            head.headers = without(&head.headers, &[header::SEC_WEBSOCKET_EXTENSIONS]);
        }
        self.head(principal, head)
    }

    /// Whether nothing is looked for in what this one asks.
    pub fn is_off(&self, principal: &Principal) -> bool {
        self.policy.orders(principal).are_off
    }

    /// Whether a value is no secret here; `file` tells where it stands.
    pub(super) fn allows(&self, value: &[u8], file: &dyn Fn() -> Option<String>) -> bool {
        let by_path =
            || self.allows_paths && file().is_some_and(|file| self.search.rules.allows_path(&file));
        self.keys.is_among(value, &self.allowed) || by_path()
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
