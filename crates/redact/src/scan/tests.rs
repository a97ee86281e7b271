#![expect(clippy::string_slice, reason = "in a test a panic is how a failure is told")]

use std::ops::Range;

use proptest::prelude::*;
use toml_edit::{Document, Item};

use super::{Escapes, Finding, Scan};
use crate::own_key;
use crate::rule::file::FILES;
use crate::rule::{Allowed, CustomRule, Rule, RuleId, Rules, Tier};

/// Random numbers that are the same at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % sides as u64).unwrap()
    }

    fn characters(&mut self, alphabet: &str, count: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..count).map(|_| char::from(alphabet[self.roll(alphabet.len())])).collect()
    }
}

const DIGITS: &str = "0123456789";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn alphabet(kind: &str) -> Option<String> {
    Some(match kind {
        "digits" => DIGITS.to_owned(),
        "lower" => LOWER.to_owned(),
        "upper" => UPPER.to_owned(),
        "hex" => format!("{DIGITS}abcdef"),
        "HEX" => format!("{DIGITS}ABCDEF"),
        "alnum" => format!("{DIGITS}{LOWER}{UPPER}"),
        "base64" => format!("{DIGITS}{LOWER}{UPPER}+/"),
        "base64url" => format!("{DIGITS}{LOWER}{UPPER}-_"),
        "lownum" => format!("{DIGITS}{LOWER}"),
        "upnum" => format!("{DIGITS}{UPPER}"),
        _ => return None,
    })
}

/// A template with its braces filled in. A base64 text of our making begins and ends with letters,
/// so that an example means the same in every roll.
fn fill(rule: &Rule, template: &str, dice: &mut Dice) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((inside, next)) = after.split_once('}') else {
            text.push('{');
            rest = after;
            continue;
        };
        let (kind, count) = inside.split_once(':').unwrap_or((inside, ""));
        match (alphabet(kind), count.parse::<usize>()) {
            (Some(alphabet), Ok(count)) if kind.starts_with("base64") => {
                let ends = dice.characters(LOWER, 2);
                let middle = dice.characters(&alphabet, count.saturating_sub(2));
                text.extend([&ends[..1], &middle, &ends[1..]]);
            }
            (Some(alphabet), Ok(count)) => text.push_str(&dice.characters(&alphabet, count)),
            _ if matches!(kind, "checksum" | "crc32-base62") => {
                let starts =
                    rule.prefixes.iter().filter_map(|p| Some((text.rfind(p.as_str())?, p)));
                let (at, prefix) = starts.max().unwrap();
                let sum = rule.checksum.unwrap().of(prefix, &text[at + prefix.len()..]);
                text.push_str(&sum);
            }
            _ => {
                text.push('{');
                rest = after;
                continue;
            }
        }
        rest = next;
    }
    text + rest
}

/// A text in which a secret stands.
#[derive(Debug, Clone)]
struct Sample {
    before: String,
    secret: String,
    after: String,
}

impl Sample {
    fn new(text: &str) -> Self {
        let parts = text.split_once('«').and_then(|(before, rest)| {
            let (secret, after) = rest.split_once('»')?;
            Some((before, secret, after))
        });
        let (before, secret, after) = parts.unwrap_or(("", text, ""));
        Self { before: before.to_owned(), secret: secret.to_owned(), after: after.to_owned() }
    }

    fn map(&self, change: impl Fn(&str) -> String) -> Self {
        let Self { before, secret, after } = self;
        Self { before: change(before), secret: change(secret), after: change(after) }
    }

    fn within(&self, before: &str, after: &str) -> Self {
        Self {
            before: format!("{before}{}", self.before),
            secret: self.secret.clone(),
            after: format!("{}{after}", self.after),
        }
    }

    /// In a text of a JSON body.
    fn in_json(&self) -> Self {
        self.map(escaped).within("{\"type\":\"message\",\"output\":\"", "\"}")
    }

    fn text(&self) -> String {
        format!("{}{}{}", self.before, self.secret, self.after)
    }

    fn span(&self) -> Range<usize> {
        self.before.len()..self.before.len() + self.secret.len()
    }
}

fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\u{1b}' => "\\u001b".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(one).collect()
}

/// The same text as it may stand in a body.
fn views(sample: &Sample) -> Vec<(&'static str, Sample)> {
    let after_lines = sample.within("first line\n\tsecond\n", "\nlast line\n");
    let diff =
        sample.map(|part| part.replace('\n', "\n+")).within("@@ -1 +1 @@\n+", "\n context\n");
    let colour = sample.within("\u{1b}[1;31m", "\u{1b}[0m done");
    vec![
        ("plain", sample.clone()),
        ("after lines", after_lines.clone()),
        ("at depth 1", sample.in_json()),
        ("at depth 1 after lines", after_lines.in_json()),
        ("at depth 2 after lines", after_lines.in_json().in_json()),
        ("at depth 3", sample.in_json().in_json().in_json()),
        ("at depth 3 after lines", after_lines.in_json().in_json().in_json()),
        ("in a diff", diff.clone()),
        ("in a diff at depth 1", diff.in_json()),
        ("coloured", colour.clone()),
        ("coloured at depth 1", colour.in_json()),
        ("coloured at depth 2", colour.in_json().in_json()),
    ]
}

/// All rules with their examples and counters.
fn documented() -> Vec<(RuleId, Vec<String>, Vec<String>)> {
    let rules = Rules::builtin();
    let mut all = Vec::new();
    for (_, text) in FILES {
        let document = Document::parse(text).unwrap();
        for table in document.get("rule").and_then(Item::as_array_of_tables).unwrap() {
            let texts = |key: &str| -> Vec<String> {
                let array = table.get(key).and_then(Item::as_array);
                array.into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
            };
            let id = rules.find_name(table.get("id").unwrap().as_str().unwrap()).unwrap();
            all.push((id, texts("examples"), texts("counter")));
        }
    }
    all
}

const SEEDS: Range<u64> = 1..5;

#[test]
fn every_example_is_found_whole_wherever_it_stands() {
    let rules = Rules::builtin();
    let mut missed = Vec::new();
    for (id, examples, _) in documented() {
        let rule = rules.rule(id).unwrap();
        assert!(!examples.is_empty(), "{} has no example", rule.id);
        for (example, seed) in examples.iter().flat_map(|one| SEEDS.map(move |seed| (one, seed))) {
            let sample = Sample::new(&fill(rule, example, &mut Dice(seed)));
            let missing = views(&sample).into_iter().filter_map(|view| missing(&rules, id, &view));
            missed.extend(missing);
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

/// What is said of a sample that is not found whole.
fn missing(rules: &Rules, id: RuleId, (view, sample): &(&str, Sample)) -> Option<String> {
    let rule = rules.rule(id).unwrap();
    let text = sample.text();
    let found = rules.scan(text.as_bytes());
    // Two providers may have one shape: then either name will do.
    let known = |one: &Finding| one.rule == id || one.tier >= rule.tier;
    if found.iter().any(|one| known(one) && one.span == sample.span()) {
        return None;
    }
    let name = |one: &Finding| format!("{} `{}`", rules.name(one.rule), &text[one.span.clone()]);
    let instead: Vec<String> = found.iter().map(name).collect();
    Some(format!("{} {view}: {text}\n      instead {instead:?}", rule.id))
}

#[test]
fn no_counter_is_found() {
    let rules = Rules::builtin();
    let mut found = Vec::new();
    for (id, _, counters) in documented() {
        let rule = rules.rule(id).unwrap();
        for (counter, seed) in counters.iter().flat_map(|one| SEEDS.map(move |seed| (one, seed))) {
            let sample = Sample::new(&fill(rule, counter, &mut Dice(seed)));
            for (view, sample) in views(&sample) {
                if rules.scan(sample.text().as_bytes()).iter().any(|one| one.rule == id) {
                    found.push(format!("{} {view}: {}", rule.id, sample.text()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}

/// Lines as they stand in code, settings, commands and logs; `\\n` is a line break.
const LINES: &str = include_str!("../../testdata/lines.txt");

#[test]
fn what_names_and_structures_give_away_is_found_at_any_depth() {
    let rules = Rules::builtin();
    let mut missed = Vec::new();
    for line in LINES.lines() {
        let sample = Sample::new(&line.replace("\\n", "\n"));
        for (view, sample) in
            [("plain", sample.clone()), ("1", sample.in_json()), ("2", sample.in_json().in_json())]
        {
            let found = rules.scan(sample.text().as_bytes());
            let likely = |one: &Finding| one.tier >= Tier::Likely && one.span == sample.span();
            if !found.iter().any(likely) {
                let name = |one: &Finding| {
                    format!("{} `{}`", rules.name(one.rule), &sample.text()[one.span.clone()])
                };
                missed.push(format!(
                    "{view}: {line}\n      {:?}",
                    found.iter().map(name).collect::<Vec<_>>()
                ));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

/// Lines in which a value only stands for a secret, or is none.
const CLEAN: &str = include_str!("../../testdata/clean.txt");

#[test]
fn what_only_stands_for_a_secret_is_left_alone_at_any_depth() {
    let rules = Rules::builtin();
    let mut found = Vec::new();
    for line in CLEAN.lines() {
        let sample = Sample::new(&line.replace("\\n", "\n"));
        for sample in [sample.clone(), sample.in_json(), sample.in_json().in_json()] {
            let text = sample.text();
            let likely = rules.scan(text.as_bytes()).into_iter().filter(|f| f.tier >= Tier::Likely);
            found.extend(likely.map(|one| format!("{line}: {}", rules.name(one.rule))));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

/// What is found, by name.
fn names(text: &str) -> Vec<(String, String)> {
    let rules = Rules::builtin();
    let found = rules.scan(text.as_bytes());
    found
        .iter()
        .map(|one| (rules.name(one.rule).to_owned(), text[one.span.clone()].to_owned()))
        .collect()
}

fn own_key() -> String {
    own_key::build([7; own_key::RANDOM_CHARACTERS])
}

#[test]
fn masks_are_no_findings() {
    let masks = [
        "password=[secret:generic-password:0123456789ab]",
        "\"api_key\": \"[secret:value:0123456789ab]\"",
        "postgres://app:[secret:url-password:0123456789ab]@db/app",
        "Authorization: Bearer [secret:bearer-token:0123456789ab]",
        "token [secret:private-key:0123456789ab] secret",
    ];
    assert_eq!(masks.map(names), [const { Vec::new() }; 5]);
}

#[test]
fn what_is_escaped_without_need_is_found_in_its_place() {
    let key = own_key();
    let dashed = key.replacen('_', "\\u005f", 1);
    let text = format!("{{\"a\":\"x\\/y \\u003c{dashed}\\u003e\"}}");
    let expected = vec![("codex-proxy-key".to_owned(), dashed)];
    assert_eq!(names(&text), expected);
    let deeper = text.replace('\\', "\\\\");
    let expected = vec![("codex-proxy-key".to_owned(), key.replacen('_', "\\\\u005f", 1))];
    assert_eq!(names(&deeper), expected);
}

#[test]
fn the_surest_of_what_overlaps_stays() {
    let key = own_key();
    assert_eq!(names(&format!("token = \"{key}\"")), [("codex-proxy-key".to_owned(), key)]);
}

#[test]
fn a_key_that_is_cut_is_found_as_far_as_it_goes() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let key = format!("-----BEGIN PRIVATE KEY-----\n{line}\n{line}");
    let expected = vec![("private-key".to_owned(), key.clone())];
    assert_eq!(names(&format!("{key}\n[… 20 lines left out]\nand so on")), expected);
}

#[test]
fn rules_of_the_installation_find_and_allowances_hold() {
    let custom = CustomRule {
        id: "badge".to_owned(),
        pattern: "badge ([0-9]{4})".to_owned(),
        tier: Tier::Certain,
        example: "badge 1234".to_owned(),
    };
    let allowed = Allowed { patterns: vec!["99[0-9]+".to_owned()], ..Allowed::default() };
    let rules = Rules::new(std::slice::from_ref(&custom), &allowed).unwrap();
    let rule = rules.find_name("badge").unwrap();
    let found = rules.scan(b"badge 9912, badge 4711");
    assert_eq!(found, [Finding { rule, tier: Tier::Certain, span: 18..22 }]);
    assert_ne!(rules.version(), Rules::builtin().version());
    let wrong = |pattern: &str, example: &str| {
        let wrong =
            CustomRule { pattern: pattern.into(), example: example.into(), ..custom.clone() };
        Rules::new(&[wrong], &Allowed::default()).unwrap_err()
    };
    assert_eq!(wrong("a", "b"), ["rule `badge`: its pattern does not match its example"]);
    assert_eq!(wrong("a*", "a"), ["rule `badge`: its pattern matches an empty text"]);
}

#[test]
fn a_label_is_of_the_value_alone() {
    let rules = Rules::builtin();
    assert_eq!(rules.label(own_key().as_bytes()), "codex-proxy-key");
    assert_eq!(rules.label(b"hunter2hunter2"), "value");
}

/// Pieces of which texts are made that are hard to read.
fn hard() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("password=".to_owned()),
        Just("\"secret\": \"".to_owned()),
        Just("\\\"".to_owned()),
        Just("\\n".to_owned()),
        Just("\\u002d".to_owned()),
        Just("\\/".to_owned()),
        Just("://a:".to_owned()),
        Just("@host".to_owned()),
        Just("-----BEGIN PRIVATE KEY-----".to_owned()),
        Just("-----END PRIVATE KEY-----".to_owned()),
        Just("Bearer ".to_owned()),
        Just("cpk_".to_owned()),
        Just("eyJhbGciOiJIUzI1NiJ9.".to_owned()),
        Just(own_key()),
        Just("[secret:x:".to_owned()),
        "[a-zA-Z0-9+/=._-]{1,40}",
        "[\\\\\"'`:=,;<>(){} \t\n]{1,4}",
        "\\PC{1,4}",
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_found_is_sorted_disjoint_and_on_character_boundaries(text in hard()) {
        let found = Rules::builtin().scan(text.as_bytes());
        let mut last = 0;
        for one in &found {
            prop_assert!(last <= one.span.start && one.span.start < one.span.end);
            prop_assert!(text.get(one.span.clone()).is_some());
            last = one.span.end;
        }
    }

    #[test]
    fn any_bytes_are_scanned_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        Rules::builtin().scan(&bytes);
    }

    #[test]
    fn torn_texts_are_scanned_without_panic(text in hard(), from in 0usize..200, to in 0usize..400) {
        let bytes = text.as_bytes();
        let from = from.min(bytes.len());
        let rules = Rules::builtin();
        let part = &bytes[from..to.clamp(from, bytes.len())];
        for one in Scan::over(&rules, part, Escapes::Pass).0 {
            prop_assert!(one.span.end <= part.len());
        }
    }
}

/// How long a scan takes, in nanoseconds of the best of three.
fn took(rules: &Rules, text: &[u8]) -> u128 {
    let once = || {
        let begin = std::time::Instant::now();
        std::hint::black_box(rules.scan(text));
        begin.elapsed().as_nanos()
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn hostile_texts_take_time_in_proportion() {
    let rules = Rules::builtin();
    let hostile = [
        "password=a",
        "key=",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA",
        "://a:b",
        "password=\\\"",
        "eyJhbGciOiJIUzI1NiJ9.",
        "a",
        "\\",
        "\\u002d",
        "token:token:",
        "sig=",
        " -u a:",
        ":5432:",
        "Basic YTpi",
        "Bearer aaaaaaaa1",
        "secret: \"",
        "_key_key",
        "api_key, \"",
        "password (",
        "\\\\\\\\\"key",
    ];
    // What takes time by the square takes minutes of this much.
    for piece in hostile {
        let text = piece.repeat((1 << 15) / piece.len());
        let nanoseconds = took(&rules, text.as_bytes());
        assert!(nanoseconds < 4_000_000_000, "`{piece}`: {nanoseconds} ns");
    }
}

/// Secrets that rules know by their shape, in what may stand around them.
fn planted() -> impl Strategy<Value = Sample> {
    let before = prop_oneof![
        Just("password = \"".to_owned()),
        Just("export API_KEY=".to_owned()),
        Just("Authorization: Bearer ".to_owned()),
        Just("line\n\t- token: ".to_owned()),
        Just("+key = '".to_owned()),
        "[a-z ]{0,20}\n?[ \t]{0,3}",
        "[a-z]{1,9}[:=,(] ?",
    ];
    let after = prop_oneof![
        Just("\"\n".to_owned()),
        Just("'; next()".to_owned()),
        Just(" # why".to_owned()),
        Just(String::new()),
        "[\n\t ,;)][a-z \n]{0,20}",
    ];
    let secret = prop_oneof![
        "[0-9A-Za-z]{37}".prop_map(|random| own_key_of(&random)),
        "[0-9A-Z]{16}"
            .prop_map(|random| format!("AKIA{}", random.replace(['0', '1', '8', '9'], "Q"))),
        "[0-9a-zA-Z]{24}".prop_map(|random| format!("xq{random}Z9")),
        "[A-Z][a-z]{3}[0-9]{2}[!#%][a-z]{3}[0-9]",
        "[0-9a-f]{40}",
    ];
    (before, secret, after).prop_map(|(before, secret, after)| Sample { before, secret, after })
}

fn own_key_of(random: &str) -> String {
    let places = std::array::from_fn(|at| random.as_bytes()[at % random.len()] % 62);
    own_key::build(places)
}

/// What is found in a sample, by rule and by what of the sample's text it is.
fn found_in(sample: &Sample) -> Vec<(RuleId, String)> {
    let text = sample.text();
    let found = Rules::builtin().scan(text.as_bytes());
    found.into_iter().map(|one| (one.rule, text[one.span].to_owned())).collect()
}

proptest! {
    #[test]
    fn the_same_is_found_at_any_depth(sample in planted()) {
        let plain = found_in(&sample);
        let once = sample.in_json();
        prop_assert_eq!(found_in(&once), plain.clone());
        prop_assert_eq!(found_in(&once.in_json()), plain.clone());
        prop_assert_eq!(found_in(&once.in_json().in_json()), plain);
    }
}

#[test]
fn rules_and_findings_pass_between_threads() {
    fn pass<T: Send + Sync + 'static>() {}
    pass::<Rules>();
    pass::<Finding>();
}
