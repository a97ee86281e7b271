//! The rule files: data beside the code, embedded and read once.
//!
//! A file that cannot be read is a mistake of ours, which a test finds; what can be read of it
//! is in force all the same.

use std::hash::Hasher;

use toml_edit::{Document, Item, TableLike};

use super::Tier;
use super::fnv::Fnv;
use super::shape::Shape;
use crate::scan::checksum::Checksum;

/// Every rule file. The order breaks ties: of two rules that are equally sure of one value the
/// earlier names it.
pub(crate) const FILES: [(&str, &str); 14] = [
    ("source-hosting", include_str!("../rules/source-hosting.toml")),
    ("cloud", include_str!("../rules/cloud.toml")),
    ("ai", include_str!("../rules/ai.toml")),
    ("chat", include_str!("../rules/chat.toml")),
    ("payment", include_str!("../rules/payment.toml")),
    ("mail", include_str!("../rules/mail.toml")),
    ("database", include_str!("../rules/database.toml")),
    ("registry", include_str!("../rules/registry.toml")),
    ("ci", include_str!("../rules/ci.toml")),
    ("monitoring", include_str!("../rules/monitoring.toml")),
    ("identity", include_str!("../rules/identity.toml")),
    ("network", include_str!("../rules/network.toml")),
    ("apps", include_str!("../rules/apps.toml")),
    ("generic", include_str!("../rules/generic.toml")),
];

/// Goes into the version: raise it when the engine finds other things with the same rules.
const ENGINE: u64 = 2;

/// Code of the engine that a rule gives a name and a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// A private key between its BEGIN and END.
    Pem,
    /// The password in a URL.
    UrlPassword,
    /// A token alone where a URL has user and password.
    UrlToken,
    /// A JSON web token.
    Jwt,
    /// `Authorization: Basic`.
    Basic,
    /// `Authorization: Bearer`.
    Bearer,
    /// The signature of a shared access URL.
    SharedAccess,
    /// A password that a name is given, strong.
    Password,
    /// The same, weaker.
    WeakPassword,
    /// A secret, key or token that a name is given, strong.
    Secret,
    /// The same, weaker.
    WeakSecret,
}

impl Anchor {
    const ALL: [(&str, Self); 11] = [
        ("pem", Self::Pem),
        ("url-password", Self::UrlPassword),
        ("url-token", Self::UrlToken),
        ("jwt", Self::Jwt),
        ("basic", Self::Basic),
        ("bearer", Self::Bearer),
        ("shared-access", Self::SharedAccess),
        ("password", Self::Password),
        ("weak-password", Self::WeakPassword),
        ("secret", Self::Secret),
        ("weak-secret", Self::WeakSecret),
    ];
}

/// One rule as it is written.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) source: String,
    pub(crate) tier: Tier,
    pub(crate) prefixes: Vec<String>,
    pub(crate) words: Vec<String>,
    /// Texts that stand within the token, for tokens that begin like anything.
    pub(crate) inner: Vec<String>,
    pub(crate) shape: Option<Shape>,
    /// Values that documentation shows everybody: never found.
    pub(crate) except: Vec<String>,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) entropy: f32,
    /// Whether a token byte may follow.
    pub(crate) open: bool,
    pub(crate) anchor: Option<Anchor>,
}

impl Rule {
    /// A rule whose pattern stands elsewhere.
    pub(crate) fn custom(id: &str, tier: Tier) -> Self {
        Self {
            id: id.to_owned(),
            about: id.to_owned(),
            source: String::new(),
            tier,
            prefixes: Vec::new(),
            words: Vec::new(),
            inner: Vec::new(),
            shape: None,
            except: Vec::new(),
            checksum: None,
            entropy: 0.0,
            open: false,
            anchor: None,
        }
    }

    /// Whether this is a value that documentation shows everybody.
    pub(crate) fn excepts(&self, value: &[u8]) -> bool {
        self.except.iter().any(|one| one.as_bytes() == value)
    }

    fn read(table: &dyn TableLike) -> Result<Self, String> {
        let id = text(table, "id").ok_or("a rule without an id")?;
        let problem = |what: &str| format!("rule `{id}`: {what}");
        let tier = text(table, "tier").as_deref().and_then(Tier::parse);
        let shape = text(table, "shape").map(|shape| Shape::new(&shape)).transpose();
        let checksum = text(table, "checksum")
            .map(|name| Checksum::parse(&name).ok_or_else(|| problem("unknown checksum")));
        let anchor = text(table, "anchor").map(|name| {
            let known = Anchor::ALL.iter().find(|(word, _)| *word == name);
            known.map(|(_, anchor)| *anchor).ok_or_else(|| problem("unknown anchor"))
        });
        Ok(Self {
            about: text(table, "about").ok_or_else(|| problem("has no `about`"))?,
            source: text(table, "source").unwrap_or_default(),
            tier: tier.ok_or_else(|| problem("has no tier"))?,
            prefixes: texts(table, "prefixes"),
            words: texts(table, "words"),
            inner: texts(table, "inner"),
            shape: shape.map_err(|error| problem(&error))?,
            except: texts(table, "except"),
            checksum: checksum.transpose()?,
            entropy: number(table, "entropy"),
            open: table.get("open").and_then(Item::as_bool).unwrap_or_default(),
            anchor: anchor.transpose()?,
            id,
        })
    }
}

/// All rules that the product brings.
pub(crate) fn builtin() -> Vec<Rule> {
    FILES.iter().flat_map(|(_, text)| read(text)).filter_map(Result::ok).collect()
}

/// What stands for these files and this engine.
pub(crate) fn version() -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325 ^ ENGINE);
    for (_, text) in FILES {
        hash.write(text.as_bytes());
    }
    hash.finish()
}

/// The rules of one file, or what is wrong with each.
fn read(text: &str) -> Vec<Result<Rule, String>> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return vec![Err(error.to_string())],
    };
    let tables = document.get("rule").and_then(Item::as_array_of_tables);
    tables.into_iter().flatten().map(|table| Rule::read(table)).collect()
}

fn text(table: &dyn TableLike, key: &str) -> Option<String> {
    table.get(key)?.as_str().map(ToOwned::to_owned)
}

fn texts(table: &dyn TableLike, key: &str) -> Vec<String> {
    let array = table.get(key).and_then(Item::as_array);
    let values = array.into_iter().flatten();
    values.filter_map(|value| value.as_str().map(ToOwned::to_owned)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a bound like 3.5 needs no more")]
fn number(table: &dyn TableLike, key: &str) -> f32 {
    table.get(key).and_then(Item::as_float).unwrap_or_default() as f32
}

#[cfg(test)]
mod tests {
    use super::{FILES, read};
    use crate::rule::words;

    #[test]
    fn every_rule_can_be_read_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for (file, text) in FILES {
            for rule in read(text) {
                let rule = rule.unwrap_or_else(|error| panic!("{file}: {error}"));
                let lists = [&rule.prefixes, &rule.words, &rule.inner].map(|list| !list.is_empty());
                let ways = [&lists[..], &[rule.anchor.is_some()]].concat();
                assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{}: {ways:?}", rule.id);
                let words = rule.words.iter().map(|word| words::fold(word.as_bytes()));
                assert!(words.into_iter().all(|word| word.len() >= 3), "{}: short word", rule.id);
                assert!(rule.anchor.is_some() || rule.shape.is_some(), "{} has a shape", rule.id);
                names.push(rule.id);
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
