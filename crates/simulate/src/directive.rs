//! The words that steer the simulated model, as written.

use std::{str::FromStr, time::Duration};

use http::StatusCode;

use crate::problem::Problem;

/// `WORD` or `WORD=VALUE`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    /// What to do.
    pub(crate) word: String,
    value: String,
}

/// No single wait is longer.
pub(crate) const LONGEST: Duration = Duration::from_hours(1);
/// No text is longer.
const LARGEST: u64 = 64 << 20;

impl Directive {
    /// The value as text.
    pub(crate) fn text(&self) -> String {
        self.value.clone()
    }

    /// The value as a number.
    pub(crate) fn number<N: FromStr>(&self) -> Result<N, Problem> {
        self.value.parse().map_err(|_| self.unfit("a number"))
    }

    /// The value as a time: `500ms` or `2s`, an hour at most.
    pub(crate) fn duration(&self) -> Result<Duration, Problem> {
        let (digits, unit_ms) = match self.value.strip_suffix("ms") {
            Some(digits) => (digits, 1),
            None => (self.value.strip_suffix('s').unwrap_or_default(), 1000),
        };
        let number: u64 = digits.parse().map_err(|_| self.unfit("a time such as 500ms or 2s"))?;
        let duration = Duration::from_millis(number.saturating_mul(unit_ms));
        if duration > LONGEST { Err(self.unfit("an hour at most")) } else { Ok(duration) }
    }

    /// The value as a size: `1000`, `64KiB` or `10MiB`, 64 MiB at most.
    pub(crate) fn size(&self) -> Result<usize, Problem> {
        let (digits, unit) = match (self.value.strip_suffix("KiB"), self.value.strip_suffix("MiB"))
        {
            (Some(digits), _) => (digits, 1 << 10),
            (_, Some(digits)) => (digits, 1 << 20),
            (None, None) => (self.value.as_str(), 1),
        };
        let number: u64 = digits.parse().map_err(|_| self.unfit("a size such as 64KiB"))?;
        let bytes = number.saturating_mul(unit);
        if bytes > LARGEST {
            return Err(self.unfit("64MiB at most"));
        }
        usize::try_from(bytes).map_err(|_| self.unfit("a smaller size"))
    }

    /// Says that the directive cannot be followed: a typo in a test must not pass silently.
    pub(crate) fn unfit(&self, wanted: &str) -> Problem {
        let message =
            format!("simulate: {}={:?} is not understood: wanted {wanted}", self.word, self.value);
        Problem::new(StatusCode::BAD_REQUEST, message).code("simulate_directive")
    }
}

/// Directives in a header: `status=429 plain`, with or without `sim:`.
pub(crate) fn in_header(text: &str) -> Vec<Directive> {
    collect(text, |token| Some(token.strip_prefix("sim:").unwrap_or(token)))
}

/// Directives in running text: `please sim:status=429`.
pub(crate) fn in_prompt(text: &str) -> Vec<Directive> {
    collect(text, |token| token.strip_prefix("sim:"))
}

fn collect(text: &str, opens: impl Fn(&str) -> Option<&str>) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = match opens(rest) {
            Some(opened) => {
                let (directive, rest) = directive(opened);
                directives.push(directive);
                rest
            }
            None => rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest),
        }
        .trim_start();
    }
    directives
}

/// Reads one directive; what stands after it up to the next blank is skipped.
fn directive(text: &str) -> (Directive, &str) {
    let end = text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let (value, rest) = match rest.strip_prefix('=') {
        Some(rest) => value(rest),
        None => (String::new(), rest),
    };
    (Directive { word: word.to_owned(), value }, rest)
}

fn value(text: &str) -> (String, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        return unquote(quoted);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    (value.to_owned(), rest)
}

/// Reads up to the closing quote. Only `\"` and `\\` are escapes, so that JSON keeps its `\n`.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '"' => break,
            '\\' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(directives: &[Directive]) -> Vec<(&str, &str)> {
        directives.iter().map(|d| (d.word.as_str(), d.value.as_str())).collect()
    }

    #[test]
    fn directives_stand_anywhere_in_a_prompt() {
        let text =
            "hello sim:status=429 world\nsim:plain sim:say=\"a \\\"b\\\" \\n c\" end xsim:no";
        let found = in_prompt(text);
        let wanted = vec![("status", "429"), ("plain", ""), ("say", "a \"b\" \\n c")];
        assert_eq!(plain(&found), wanted);
    }

    #[test]
    fn a_header_needs_no_prefix() {
        let found = in_header("status=500 sim:delay=2s say=\"open");
        assert_eq!(plain(&found), vec![("status", "500"), ("delay", "2s"), ("say", "open")]);
    }

    #[test]
    fn values_have_units_and_bounds() {
        let of = |value: &str| Directive { word: "x".into(), value: value.into() };
        assert_eq!(of("500ms").duration().unwrap(), Duration::from_millis(500));
        assert_eq!(of("2s").duration().unwrap(), Duration::from_secs(2));
        assert!(of("2h").duration().is_err());
        assert!(of("18446744073709551615s").duration().is_err());
        assert_eq!(of("64KiB").size().unwrap(), 65536);
        assert_eq!(of("7").size().unwrap(), 7);
        assert!(of("99999999MiB").size().is_err());
    }
}
