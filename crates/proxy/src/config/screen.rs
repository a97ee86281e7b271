//! What is done about secrets in requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use redact::rule::{Allowed, CustomRule, Rules, Tier};

use super::entry::{Members, Table};
use super::layer::{Layers, Problem};
use super::setting::{Kind, setting};
use super::value::Value;

/// Hexadecimal digits of a fingerprint.
pub const FINGERPRINT: usize = 16;

/// How sure rules may be.
pub const TIERS: [Tier; 3] = [Tier::Certain, Tier::Likely, Tier::Possible];

/// What is done about a secret; the later is the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Nothing.
    Off,
    /// It passes, and is told.
    Alert,
    /// A mask goes in its place.
    Mask,
    /// The request is refused.
    Block,
}

impl Action {
    /// The words for them.
    pub const WORDS: &[&str] = &["off", "alert", "mask", "block"];

    /// As it stands in records, settings and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Alert => "alert",
            Self::Mask => "mask",
            Self::Block => "block",
        }
    }

    /// The action of this name.
    pub fn named(word: &str) -> Option<Self> {
        let all = [Self::Off, Self::Alert, Self::Mask, Self::Block];
        all.into_iter().find(|action| action.as_str() == word)
    }
}

/// What becomes of a body that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is refused.
    Refuse,
    /// It passes, and its record says so.
    Pass,
}

/// Whether what is stored is looked through by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// Once a day.
    Daily,
    /// It is not.
    Off,
}

/// What is done about which secrets. What is not said here is as it is for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// In general.
    pub action: Option<Action>,
    /// By tier.
    pub tiers: BTreeMap<Tier, Action>,
    /// By rule.
    pub rules: BTreeMap<String, Action>,
}

/// What is said of some teams, people or keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Of these teams.
    pub teams: Vec<String>,
    /// Of these people.
    pub users: Vec<String>,
    /// Of these keys, by their ids.
    pub keys: Vec<String>,
    /// What.
    pub said: Said,
}

/// The settings of the screen.
#[derive(Debug, Clone)]
pub struct Screen {
    /// For everybody.
    pub said: Said,
    /// For some; the first that fits counts.
    pub exceptions: Vec<Exception>,
    /// What becomes of a body that cannot be read.
    pub unreadable: Unreadable,
    /// Whether what is stored is looked through by itself.
    pub scan: Scan,
    /// What finds secrets: the rules of this program and of this installation.
    pub rules: Arc<Rules>,
    /// Whether there are files whose contents are no findings.
    pub allows_paths: bool,
    /// Keyed fingerprints of values that are no findings.
    pub allowed_fingerprints: Vec<String>,
}

/// `[[screen.custom]]`
#[rustfmt::skip] // A table reads best as one.
pub static CUSTOM: Table = Table {
    path: "screen.custom",
    an_entry: "a rule",
    members: &[
        setting("id", Kind::Text, "", "what findings and masks call it: small letters, digits, hyphens"),
        setting("pattern", Kind::Text, "", "a regular expression without look-around; its first group, if it has one, is the secret"),
        setting("tier", Kind::Choice(&["certain", "likely", "possible"]), "certain", "how sure it is"),
        setting("example", Kind::Text, "", "a text in which it must find something"),
    ],
    needed: &["id", "pattern", "example"],
    unique: Some("id"),
};

/// `[[screen.exceptions]]`
pub static EXCEPTIONS: Table = Table {
    path: "screen.exceptions",
    an_entry: "an exception",
    members: &[
        setting("teams", Kind::Texts, "", "for these teams"),
        setting("users", Kind::Texts, "", "for these people"),
        setting("keys", Kind::Texts, "", "for these keys, by their ids"),
        setting("action", Kind::Choice(Action::WORDS), "", "what is done in general"),
        setting("tiers", Kind::Actions, "", "what is done by tier"),
        setting("rules", Kind::Actions, "", "what is done by rule"),
    ],
    needed: &[],
    unique: None,
};

impl Screen {
    pub(super) fn build(layers: &Layers) -> Self {
        let tier = |tier: Tier| {
            let path = format!("screen.tiers.{}", tier.as_str());
            Some((tier, Action::named(&layers.text(&path))?))
        };
        let allowed = allowed(layers);
        Self {
            said: Said {
                action: Action::named(&layers.text("screen.action")),
                tiers: TIERS.into_iter().filter_map(tier).collect(),
                rules: layers.actions("screen.rules").into_iter().collect(),
            },
            exceptions: layers.entries(&EXCEPTIONS).iter().map(exception).collect(),
            unreadable: match layers.text("screen.unreadable").as_str() {
                "pass" => Unreadable::Pass,
                _ => Unreadable::Refuse,
            },
            scan: match layers.text("screen.scan").as_str() {
                "off" => Scan::Off,
                _ => Scan::Daily,
            },
            // What is wrong with them is told by `contradictions`.
            rules: Arc::new(rules(layers).unwrap_or_else(|_| Rules::builtin())),
            allows_paths: !allowed.paths.is_empty(),
            allowed_fingerprints: allowed.fingerprints,
        }
    }

    /// What is wrong with rules, and rules that are named and do not exist.
    pub(super) fn contradictions(&self, layers: &Layers) -> Vec<Problem> {
        let problem = |path: &str, what: String| Problem { place: layers.place(path), what };
        let wrong = rules(layers).err().unwrap_or_default();
        let mut problems: Vec<Problem> =
            wrong.into_iter().map(|what| problem(CUSTOM.path, what)).collect();
        for name in self.unknown(&self.said) {
            problems.push(problem("screen.rules", format!("screen.rules: {name}")));
        }
        let tiers = layers.entries(&EXCEPTIONS);
        let tiers = tiers.iter().flat_map(|members| actions(members, "tiers"));
        for (name, _) in tiers.filter(|(name, _)| Tier::parse(name).is_none()) {
            let what = format!(
                "screen.exceptions.tiers: `{name}` is not one of certain, likely, possible"
            );
            problems.push(problem(EXCEPTIONS.path, what));
        }
        for text in self.allowed_fingerprints.iter().filter(|text| !is_fingerprint(text)) {
            let what = format!(
                "screen.allow.fingerprints: `{text}` is no fingerprint: it has {FINGERPRINT} digits of 0-9 and a-f"
            );
            problems.push(problem("screen.allow.fingerprints", what));
        }
        for exception in &self.exceptions {
            for name in self.unknown(&exception.said) {
                problems.push(problem(EXCEPTIONS.path, format!("screen.exceptions.rules: {name}")));
            }
            let Exception { teams, users, keys, .. } = exception;
            if teams.is_empty() && users.is_empty() && keys.is_empty() {
                let what = "an entry of screen.exceptions needs teams, users or keys".to_owned();
                problems.push(problem(EXCEPTIONS.path, what));
            }
        }
        problems
    }

    fn unknown(&self, said: &Said) -> impl Iterator<Item = String> {
        let unknown = said.rules.keys().filter(|name| self.rules.find_name(name).is_none());
        unknown.map(|name| {
            format!("no rule is called {name}; `codex-proxy audit scan --rules` lists all")
        })
    }
}

fn rules(layers: &Layers) -> Result<Rules, Vec<String>> {
    let custom: Vec<CustomRule> = layers.entries(&CUSTOM).iter().map(custom).collect();
    Rules::new(&custom, &allowed(layers))
}

fn allowed(layers: &Layers) -> Allowed {
    Allowed {
        patterns: layers.texts("screen.allow.patterns"),
        paths: layers.texts("screen.allow.paths"),
        fingerprints: layers.texts("screen.allow.fingerprints"),
    }
}

fn custom(members: &Members) -> CustomRule {
    CustomRule {
        id: members.text("id"),
        pattern: members.text("pattern"),
        tier: Tier::parse(&members.text("tier")).unwrap_or(Tier::Certain),
        example: members.text("example"),
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == FINGERPRINT && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn actions(members: &Members, name: &str) -> Vec<(String, Action)> {
    match members.value(name) {
        Some(Value::Actions(actions)) => actions.clone(),
        _ => Vec::new(),
    }
}

fn exception(members: &Members) -> Exception {
    let tiers = actions(members, "tiers").into_iter();
    let tiers = tiers.filter_map(|(name, action)| Some((Tier::parse(&name)?, action)));
    Exception {
        teams: members.texts("teams"),
        users: members.texts("users"),
        keys: members.texts("keys"),
        said: Said {
            action: Action::named(&members.text("action")),
            tiers: tiers.collect(),
            rules: actions(members, "rules").into_iter().collect(),
        },
    }
}
