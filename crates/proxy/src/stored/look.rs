//! What is looked for.

use redact::rule::{RuleId, Rules, Tier};
use redact::scan::Finding;

/// Which findings are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How sure at least.
    pub least: Tier,
    /// Of these rules; none: of all.
    pub only: Vec<RuleId>,
}

impl Wanted {
    /// What is sure enough, and of rules of these names. Who names a rule wants to see it, however
    /// sure it is.
    pub fn new(rules: &Rules, least: Option<Tier>, names: &[String]) -> Result<Self, String> {
        let by_default = if names.is_empty() { Tier::Likely } else { Tier::Possible };
        let id = |name: &String| {
            let none = || {
                format!("no rule is called {name}; `codex-proxy audit scan --rules` lists all")
            };
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
