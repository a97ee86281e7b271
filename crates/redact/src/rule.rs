//! What is looked for: rules, how sure each is, and what is allowed all the same.

mod allowed;
pub(crate) mod file;
mod shape;
mod words;

use std::hash::Hasher;
use std::sync::{Arc, LazyLock};

use regex::bytes::Regex;

use self::allowed::Allowance;
pub(crate) use self::file::{Anchor, Rule};
pub(crate) use self::words::Words;
use crate::scan::anchors::Texts;
use crate::scan::prefix::Prefixes;

/// How sure a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// A word nearby and a value that looks random.
    Possible,
    /// A known shape with a random value, or a value that is given to an unmistakable name.
    Likely,
    /// A checksum, or a shape that nothing else has.
    Certain,
}

impl Tier {
    /// The word for it in settings, records and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }

    /// The tier of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Possible, Self::Likely, Self::Certain].into_iter().find(|tier| tier.as_str() == word)
    }
}

/// Which rule of its [`Rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(crate) u16);

/// A rule of the installation's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRule {
    /// Its name, in kebab case: also the label of masks.
    pub id: String,
    /// A regular expression of linear time; its first group, if it has one, is the secret.
    pub pattern: String,
    /// How sure it is.
    pub tier: Tier,
    /// A text in which it must find something.
    pub example: String,
}

/// What is not a finding though it looks like one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Regular expressions that match a value whole.
    pub patterns: Vec<String>,
    /// Globs of file paths; the caller asks [`Rules::allows_path`].
    pub paths: Vec<String>,
    /// Keyed hashes of values; the caller compares them.
    pub fingerprints: Vec<String>,
}

/// A rule of the installation, compiled.
#[derive(Debug)]
pub(crate) struct Custom {
    pub(crate) rule: RuleId,
    pub(crate) pattern: Regex,
}

/// The rules in force, compiled.
#[derive(Debug)]
pub struct Rules {
    list: Vec<Arc<Rule>>,
    pub(crate) prefixes: Arc<Prefixes>,
    pub(crate) words: Arc<Words>,
    pub(crate) texts: Arc<Texts>,
    pub(crate) custom: Vec<Custom>,
    anchors: Vec<(Anchor, RuleId)>,
    allowance: Allowance,
    version: u64,
}

/// What all installations share, read once.
struct Builtin {
    list: Vec<Arc<Rule>>,
    prefixes: Arc<Prefixes>,
    words: Arc<Words>,
    texts: Arc<Texts>,
    anchors: Vec<(Anchor, RuleId)>,
    version: u64,
}

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| {
    let list: Vec<Arc<Rule>> = file::builtin().into_iter().map(Arc::new).collect();
    let prefixes = Arc::new(Prefixes::new(&list));
    let words = Arc::new(Words::new(&list));
    let texts = Arc::new(Texts::new(&list));
    let ids = (0..u16::MAX).map(RuleId);
    let anchors = list.iter().zip(ids).filter_map(|(rule, id)| Some((rule.anchor?, id))).collect();
    Builtin { prefixes, words, texts, anchors, version: file::version(), list }
});

impl Rules {
    /// The rules that the product brings, and nothing allowed.
    pub fn builtin() -> Self {
        let base = &*BUILTIN;
        Self {
            list: base.list.clone(),
            prefixes: Arc::clone(&base.prefixes),
            words: Arc::clone(&base.words),
            texts: Arc::clone(&base.texts),
            custom: Vec::new(),
            anchors: base.anchors.clone(),
            allowance: Allowance::default(),
            version: base.version,
        }
    }

    /// Those, an installation's own, and what it allows; or every problem, a sentence each.
    pub fn new(custom: &[CustomRule], allowed: &Allowed) -> Result<Self, Vec<String>> {
        let mut rules = Self::builtin();
        let mut problems = Vec::new();
        let mut hash = fnv::Fnv(rules.version);
        for one in custom {
            match rules.compile(one) {
                Ok(pattern) => rules.add(one, pattern),
                Err(problem) => problems.push(problem),
            }
            for part in [&one.id, one.tier.as_str(), &one.pattern] {
                hash.write(part.as_bytes());
                hash.write_u8(0);
            }
        }
        match Allowance::new(allowed) {
            Ok(allowance) => rules.allowance = allowance,
            Err(more) => problems.extend(more),
        }
        let lists = [&allowed.patterns, &allowed.paths, &allowed.fingerprints];
        for (list, part) in
            (1..).zip(lists).flat_map(|(list, parts)| parts.iter().map(move |p| (list, p)))
        {
            hash.write(part.as_bytes());
            hash.write_u8(list);
        }
        rules.version = hash.finish();
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    fn compile(&self, one: &CustomRule) -> Result<Regex, String> {
        let CustomRule { id, pattern, example, .. } = one;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.is_empty() || !id.chars().all(plain) {
            return Err(format!("rule `{id}`: an id is lower-case letters, digits and `-`"));
        }
        if self.find_name(id).is_some() {
            return Err(format!("rule `{id}`: there is a rule of this name already"));
        }
        if self.list.len() >= usize::from(u16::MAX) {
            return Err(format!("rule `{id}`: there are too many rules"));
        }
        let compiled = regex::bytes::RegexBuilder::new(pattern).size_limit(1 << 20).build();
        let compiled = compiled.map_err(|error| format!("rule `{id}`: {error}"))?;
        if compiled.is_match(b"") {
            return Err(format!("rule `{id}`: its pattern matches an empty text"));
        }
        if !compiled.is_match(example.as_bytes()) {
            return Err(format!("rule `{id}`: its pattern does not match its example"));
        }
        Ok(compiled)
    }

    fn add(&mut self, one: &CustomRule, pattern: Regex) {
        let rule = RuleId(u16::try_from(self.list.len()).unwrap_or(u16::MAX));
        self.list.push(Arc::new(Rule::custom(&one.id, one.tier)));
        self.custom.push(Custom { rule, pattern });
    }

    /// Changes when any rule, tier, custom rule or allowance does.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A rule's name: `github-pat`.
    pub fn name(&self, id: RuleId) -> &str {
        self.rule(id).map_or("", |rule| &rule.id)
    }

    /// What a rule finds, for messages to people: `GitHub personal access token`.
    pub fn about(&self, id: RuleId) -> &str {
        self.rule(id).map_or("", |rule| &rule.about)
    }

    /// The page that documents what a rule finds; empty for a rule of the installation's own.
    pub fn source(&self, id: RuleId) -> &str {
        self.rule(id).map_or("", |rule| &rule.source)
    }

    /// How sure a rule is.
    pub fn tier(&self, id: RuleId) -> Tier {
        self.rule(id).map_or(Tier::Possible, |rule| rule.tier)
    }

    /// All rules, in their order.
    pub fn iter(&self) -> impl Iterator<Item = RuleId> {
        (0..u16::try_from(self.list.len()).unwrap_or(u16::MAX)).map(RuleId)
    }

    /// The rule of this name.
    pub fn find_name(&self, name: &str) -> Option<RuleId> {
        self.iter().find(|id| self.name(*id) == name)
    }

    /// Whether what stands in a file of this path is left alone.
    pub fn allows_path(&self, path: &str) -> bool {
        self.allowance.path(path)
    }

    pub(crate) fn allows(&self, value: &[u8]) -> bool {
        self.allowance.value(value)
    }

    pub(crate) fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.list.get(usize::from(id.0)).map(AsRef::as_ref)
    }

    /// The rule that the product's code for this anchor finds things for.
    pub(crate) fn anchored(&self, anchor: Anchor) -> Option<RuleId> {
        self.anchors.iter().find(|(known, _)| *known == anchor).map(|(_, rule)| *rule)
    }
}

/// A hash that is the same on every machine and in every build.
pub(crate) mod fnv {
    use std::hash::Hasher;

    /// FNV-1a with 64 bits.
    #[derive(Default)]
    pub(crate) struct Fnv(pub(crate) u64);

    impl Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
}
