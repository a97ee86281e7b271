//! What an installation allows: values by pattern, files by path.

use regex::bytes::RegexSet;

use super::Allowed;

/// Compiled allowances.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    values: Option<RegexSet>,
    paths: Option<RegexSet>,
}

impl Allowance {
    /// These allowances, or every problem.
    pub(super) fn new(allowed: &Allowed) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let values = allowed.patterns.iter().map(|pattern| format!("^(?:{pattern})$"));
        let values = compile(values.collect(), &allowed.patterns, &mut problems);
        let paths = compile(
            allowed.paths.iter().map(|glob| expression(glob)).collect(),
            &allowed.paths,
            &mut problems,
        );
        if problems.is_empty() { Ok(Self { values, paths }) } else { Err(problems) }
    }

    pub(super) fn value(&self, value: &[u8]) -> bool {
        self.values.as_ref().is_some_and(|set| set.is_match(value))
    }

    pub(super) fn path(&self, path: &str) -> bool {
        self.paths.as_ref().is_some_and(|set| set.is_match(path.as_bytes()))
    }
}

fn compile(patterns: Vec<String>, said: &[String], problems: &mut Vec<String>) -> Option<RegexSet> {
    if patterns.is_empty() {
        return None;
    }
    for (pattern, said) in patterns.iter().zip(said) {
        if let Err(error) = regex::bytes::Regex::new(pattern) {
            problems.push(format!("allowed `{said}`: {error}"));
        }
    }
    if !problems.is_empty() {
        return None;
    }
    RegexSet::new(patterns).map_err(|error| problems.push(format!("allowed: {error}"))).ok()
}

/// A glob as an expression: `*` within a folder, `**` across folders, `?` one character. A glob
/// without a `/` is of a name in any folder.
fn expression(glob: &str) -> String {
    let mut expression = String::from(if glob.contains('/') { "^" } else { "^(?:.*/)?" });
    let mut rest = glob;
    while let Some(first) = rest.chars().next() {
        let (taken, meant) = if rest.starts_with("**/") {
            (3, "(?:.*/)?".to_owned())
        } else if rest.starts_with("**") {
            (2, ".*".to_owned())
        } else {
            let meant = match first {
                '*' => "[^/]*".to_owned(),
                '?' => "[^/]".to_owned(),
                other => regex::escape(other.encode_utf8(&mut [0; 4])),
            };
            (first.len_utf8(), meant)
        };
        expression.push_str(&meant);
        rest = rest.get(taken..).unwrap_or_default();
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Allowed};

    #[test]
    fn values_are_matched_whole_and_paths_by_glob() {
        let allowed = Allowed {
            patterns: vec!["test-[0-9]+".to_owned()],
            paths: vec!["**/fixtures/*".to_owned(), "*.lock".to_owned(), "a?/**".to_owned()],
            fingerprints: Vec::new(),
        };
        let allowance = Allowance::new(&allowed).unwrap();
        let value = |text: &str| allowance.value(text.as_bytes());
        assert_eq!(["test-1", "a test-1", "test-1x"].map(value), [true, false, false]);
        let paths =
            ["fixtures/a", "x/y/fixtures/a", "fixtures/a/b", "x/Cargo.lock", "ab/c/d", "b/c"];
        let seen = paths.map(|path| allowance.path(path));
        assert_eq!(seen, [true, true, false, true, true, false]);
    }

    #[test]
    fn every_problem_is_told() {
        let patterns = vec!["(".to_owned(), "[".to_owned()];
        let allowed = Allowed { patterns, ..Allowed::default() };
        assert_eq!(Allowance::new(&allowed).unwrap_err().len(), 2);
    }
}
