//! What is looked for.

use std::sync::Arc;

use archive::record::Record;
use redact::rule::{RuleId, Rules, Tier};
use redact::scan::Finding;

use super::tally::Tally;
use crate::config::screen::Screen;
use crate::secret::screen::ScreenKeys;

/// Looks through texts.
pub struct Look {
    /// By these rules.
    pub rules: Arc<Rules>,
    /// What of it counts.
    pub wanted: Wanted,
    /// Fingerprints of values that are no secrets.
    pub allowed: Vec<String>,
    /// What fingerprints are made with; not needed where none is allowed.
    pub keys: Option<ScreenKeys>,
}

/// Which findings are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How sure at least.
    pub least: Tier,
    /// Of these rules; none: of all.
    pub only: Vec<RuleId>,
}

impl Look {
    /// By the rules of a configuration.
    pub fn new(screen: &Screen, keys: ScreenKeys, wanted: Wanted) -> Self {
        let allowed = screen.allowed_fingerprints.clone();
        Self { rules: screen.rules.clone(), wanted, allowed, keys: Some(keys) }
    }

    /// What counts in a text.
    pub fn find(&self, text: &[u8]) -> Vec<Finding> {
        let mut findings = self.rules.scan(text);
        findings.retain(|finding| {
            let value = text.get(finding.span.clone()).unwrap_or_default();
            self.wanted.takes(finding) && !self.allows(value)
        });
        findings
    }

    /// Counts it.
    pub(super) fn count(&self, record: &Record, text: &[u8], tally: &mut Tally) {
        for finding in self.find(text) {
            tally.note(record, (self.rules.name(finding.rule), finding.tier.as_str()));
        }
    }

    fn allows(&self, value: &[u8]) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.is_among(value, &self.allowed))
    }
}

impl Wanted {
    /// What is sure enough, and of rules of these names. Who names a rule wants to see it, however
    /// sure it is.
    pub fn new(rules: &Rules, least: Option<Tier>, names: &[String]) -> Result<Self, String> {
        let by_default = if names.is_empty() { Tier::Likely } else { Tier::Possible };
        let id = |name: &String| {
            let none =
                || format!("no rule is called {name}; `codex-proxy audit scan --rules` lists all");
            rules.find_name(name).ok_or_else(none)
        };
        let only = names.iter().map(id).collect::<Result<_, _>>()?;
        Ok(Self { least: least.unwrap_or(by_default), only })
    }

    /// Whether a finding is one of them.
    pub fn takes(&self, finding: &Finding) -> bool {
        finding.tier >= self.least && self.lists(finding.rule)
    }

    /// Whether a rule is one of those that count.
    pub fn lists(&self, rule: RuleId) -> bool {
        self.only.is_empty() || self.only.contains(&rule)
    }
}
