//! The shape of a token: which characters follow its prefix, and how many.
//!
//! Nearly every shape is a row of character classes with counts; those are walked directly, in
//! one pass. The others are regular expressions, compiled when they are first needed.

use std::ops::Range;
use std::sync::OnceLock;

use regex::bytes::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

/// What a text must look like, from its first byte on.
#[derive(Debug)]
pub(crate) struct Shape {
    pattern: String,
    steps: Option<Vec<Step>>,
    regex: OnceLock<Option<Regex>>,
    /// The same, not bound to the first byte.
    anywhere: OnceLock<Option<Regex>>,
}

/// Bytes of one class, as many as there are, within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    class: Set,
    least: usize,
    most: usize,
}

/// A set of ASCII characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Set(u128);

impl Set {
    fn has(self, byte: u8) -> bool {
        byte < 128 && self.0 >> byte & 1 == 1
    }

    fn with(self, byte: u8) -> Self {
        Self(self.0 | 1 << byte)
    }
}

impl Shape {
    /// The shape of this pattern; an error says what is wrong with it.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
        let hir = parser.parse(pattern).map_err(|error| error.to_string())?;
        Ok(Self {
            pattern: pattern.to_owned(),
            steps: steps(&hir),
            regex: OnceLock::new(),
            anywhere: OnceLock::new(),
        })
    }

    /// How many bytes at the start of the text have this shape: as many as can.
    pub(crate) fn length(&self, text: &[u8]) -> Option<usize> {
        match &self.steps {
            Some(steps) => walk(steps, text),
            None => Some(self.regex()?.find(text)?.end()),
        }
    }

    /// Whether what has this shape may have digits.
    pub(crate) fn has_digits(&self) -> bool {
        self.pattern.contains("0-9")
    }

    /// What has this shape in the text and goes over this place.
    pub(crate) fn around(&self, text: &[u8], place: usize) -> Option<Range<usize>> {
        let compiled =
            || regex::bytes::RegexBuilder::new(&self.pattern).unicode(false).build().ok();
        let regex = self.anywhere.get_or_init(compiled).as_ref()?;
        let found = regex.find_iter(text).find(|found| found.end() > place)?;
        (found.start() <= place).then(|| found.range())
    }

    fn regex(&self) -> Option<&Regex> {
        let anchored = || {
            let pattern = format!("^(?:{})", self.pattern);
            regex::bytes::RegexBuilder::new(&pattern).unicode(false).build().ok()
        };
        self.regex.get_or_init(anchored).as_ref()
    }
}

fn walk(steps: &[Step], text: &[u8]) -> Option<usize> {
    let mut rest = text;
    for step in steps {
        let count = rest.iter().take(step.most).take_while(|byte| step.class.has(**byte)).count();
        if count < step.least {
            return None;
        }
        rest = rest.get(count..)?;
    }
    Some(text.len() - rest.len())
}

/// The pattern as steps, where taking as much as possible at each is right: where what may
/// follow a step of several lengths cannot be taken for part of it.
fn steps(hir: &Hir) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    push(hir, &mut steps)?;
    let clear = |pair: &[Step]| match pair {
        [one, next] => one.least == one.most || (next.least > 0 && one.class.0 & next.class.0 == 0),
        _ => true,
    };
    steps.windows(2).all(clear).then_some(steps)
}

fn push(hir: &Hir, steps: &mut Vec<Step>) -> Option<()> {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| push(part, steps)),
        HirKind::Capture(group) => push(&group.sub, steps),
        HirKind::Literal(literal) => {
            for byte in literal.0.iter().filter(|byte| byte.is_ascii()) {
                steps.push(Step { class: Set::default().with(*byte), least: 1, most: 1 });
            }
            literal.0.is_ascii().then_some(())
        }
        HirKind::Class(class) => {
            steps.push(Step { class: set(class)?, least: 1, most: 1 });
            Some(())
        }
        HirKind::Repetition(repetition) => {
            let class = match repetition.sub.kind() {
                HirKind::Class(class) => set(class)?,
                HirKind::Literal(literal) if literal.0.len() == 1 => {
                    let byte = literal.0.first().copied().filter(u8::is_ascii)?;
                    Set::default().with(byte)
                }
                _ => return None,
            };
            let least = usize::try_from(repetition.min).ok()?;
            let most = repetition.max.and_then(|max| usize::try_from(max).ok());
            repetition.greedy.then_some(())?;
            steps.push(Step { class, least, most: most.unwrap_or(usize::MAX) });
            Some(())
        }
        HirKind::Empty => Some(()),
        HirKind::Look(_) | HirKind::Alternation(_) => None,
    }
}

fn set(class: &Class) -> Option<Set> {
    let mut set = Set::default();
    let mut add = |from: u32, to: u32| {
        let fits = to < 128;
        (from..=to.min(127)).filter_map(|c| u8::try_from(c).ok()).for_each(|c| set = set.with(c));
        fits
    };
    let ascii = match class {
        Class::Unicode(class) => {
            class.iter().all(|range| add(u32::from(range.start()), u32::from(range.end())))
        }
        Class::Bytes(class) => {
            class.iter().all(|range| add(u32::from(range.start()), u32::from(range.end())))
        }
    };
    ascii.then_some(set)
}

#[cfg(test)]
mod tests {
    use super::Shape;

    /// What a shape takes of a text, by walking and by the regular expression.
    fn both(pattern: &str, text: &str) -> [Option<usize>; 2] {
        let shape = Shape::new(pattern).unwrap();
        assert!(shape.steps.is_some(), "{pattern} is a row of classes");
        [
            shape.length(text.as_bytes()),
            shape.regex().unwrap().find(text.as_bytes()).map(|m| m.end()),
        ]
    }

    #[test]
    fn a_row_of_classes_is_walked_as_the_expression_says() {
        assert_eq!(both("[0-9a-f]{4}", "12afg"), [Some(4); 2]);
        assert_eq!(both("[0-9a-f]{4,6}-x", "12af9-x"), [Some(7); 2]);
        assert_eq!(both("[0-9a-f]{4}", "12a"), [None; 2]);
        assert_eq!(both(r"[a-z]{2,}\.[0-9]+", "abc.12 "), [Some(6); 2]);
    }

    #[test]
    fn what_cannot_be_walked_is_left_to_the_expression() {
        for (pattern, text) in [("[a-z]{1,3}c", "abc"), ("(?:ab|c)+d", "abcd")] {
            let shape = Shape::new(pattern).unwrap();
            assert_eq!(
                (shape.steps.is_some(), shape.length(text.as_bytes())),
                (false, Some(text.len()))
            );
        }
    }
}
