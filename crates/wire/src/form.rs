//! Fields of a multipart form (RFC 7578), as far as they say what is asked.

use std::ops::Range;

use memchr::memmem::Finder;

/// Names and values that matter are far shorter.
const TEXT_LIMIT: usize = 1024;
/// RFC 2046 §5.1.1.
const BOUNDARY_LIMIT: usize = 70;

/// A form that is there whole.
pub struct Form<'b> {
    boundary: String,
    body: &'b [u8],
}

/// A part's head and what it holds.
struct Part<'b> {
    head: &'b [u8],
    value: &'b [u8],
}

impl<'b> Form<'b> {
    /// A form, if this content type says it is one.
    pub fn new(content_type: &str, body: &'b [u8]) -> Option<Self> {
        let (kind, parameters) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, "boundary")?;
        let fits = !boundary.is_empty() && boundary.len() <= BOUNDARY_LIMIT;
        fits.then_some(Self { boundary, body })
    }

    /// The text of a field; nothing where there is none, or where two readers might read two:
    /// it stands there twice, or a name is written in an unusual way.
    pub fn text(&self, name: &str) -> Option<String> {
        let mut found = None;
        for part in self.parts()? {
            if part_name(part.head)? != name {
                continue;
            }
            let fits = found.is_none() && part.value.len() <= TEXT_LIMIT;
            found = Some(fits.then(|| std::str::from_utf8(part.value).ok()).flatten()?);
        }
        found.map(str::to_owned)
    }

    /// Where in the body texts stand, in order: the values of fields that are neither files nor of
    /// another kind than text or JSON; and whether all parts are. Nothing where it is no form that
    /// comes to its end.
    pub fn texts(&self) -> Option<(Vec<Range<usize>>, bool)> {
        let place = |part: &Part<'b>| {
            let begin = (part.value.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize)?;
            Some(begin..begin + part.value.len())
        };
        let parts = self.parts()?;
        let texts = parts.iter().filter(|part| is_text(part.head));
        let texts: Vec<_> = texts.map(place).collect::<Option<_>>()?;
        let are_all = texts.len() == parts.len();
        Some((texts, are_all))
    }

    /// All parts of a form that comes to its end.
    fn parts(&self) -> Option<Vec<Part<'b>>> {
        let delimiter = format!("\r\n--{}", self.boundary);
        let finder = Finder::new(&delimiter);
        let first = delimiter.get(2..)?;
        let mut rest = match self.body.strip_prefix(first.as_bytes()) {
            Some(rest) => rest,
            None => self.body.get(finder.find(self.body)? + delimiter.len()..)?,
        };
        let mut parts = Vec::new();
        while !rest.starts_with(b"--") {
            let begin = rest.strip_prefix(b"\r\n")?;
            let end = finder.find(begin)?;
            let (part, after) = begin.split_at_checked(end)?;
            // A part without headers begins with its blank line.
            let blank = memchr::memmem::find(part, b"\r\n\r\n")?;
            let (head, value) = part.split_at_checked(blank)?;
            parts.push(Part { head, value: value.get(4..)? });
            rest = after.get(delimiter.len()..)?;
        }
        Some(parts)
    }
}

/// Whether a part is to be read by people or as JSON: a file says of what type it is.
fn is_text(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    match lines.find(|(name, _)| name.trim() == "content-type") {
        Some((_, kind)) => {
            let kind = kind.trim();
            kind.starts_with("text/") || kind.contains("json") || kind.contains("xml")
        }
        None => !head.contains("filename"),
    }
}

/// What a part is called, in the one usual way to write it.
fn part_name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) =
        lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let (_, parameters) = value.split_once(';')?;
    parameter(parameters, "name")
}

/// The value of a parameter, with or without quotes (RFC 9110 §5.6.6). Nothing where the list has
/// one of its extended forms (RFC 8187) or an escape: readers differ on them.
fn parameter(list: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    let mut rest = list;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', '\t', ';']);
        let quoted = after.trim_start().strip_prefix('"');
        let (value, behind) = match quoted {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(';').unwrap_or((after, "")),
        };
        rest = behind;
        let value = if quoted.is_some() { value } else { value.trim() };
        let is_wanted = name.eq_ignore_ascii_case(wanted);
        let is_odd = name.to_ascii_lowercase().starts_with(&format!("{wanted}*"))
            || (is_wanted && (found.is_some() || value.contains('\\')));
        if is_odd {
            return None;
        }
        if is_wanted {
            found = Some(value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Form;

    const TYPE: &str = "multipart/form-data; boundary=x";

    fn part(head: &str, value: &str) -> String {
        format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    }

    fn check(content_type: &str, body: &str, expected: Option<&str>) {
        let form = Form::new(content_type, body.as_bytes());
        let model = form.and_then(|form| form.text("model"));
        assert_eq!(model.as_deref(), expected, "{body}");
    }

    #[test]
    fn a_field_is_found_wherever_it_stands() {
        let file = part("name=\"file\"; filename=\"a;name=model\"", "\r\n--y\r\nmodel\r\n");
        let model = part("name=\"model\"", "whisper-1");
        for body in [format!("{file}{model}--x--"), format!("{model}{file}--x--\r\n")] {
            check(TYPE, &body, Some("whisper-1"));
            check("Multipart/Form-Data; charset=utf-8; boundary=\"x\"", &body, Some("whisper-1"));
        }
        check(TYPE, &format!("preamble\r\n{}--x--", part("name=model", "m")), Some("m"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let model = part("name=\"model\"", "m");
        check(TYPE, &format!("{model}{model}--x--"), None);
        check(TYPE, &format!("{model}{}--x--", part("name*=utf-8''model", "n")), None);
        check(TYPE, &format!("{model}{}--x--", part("name=\"mod\\el\"", "n")), None);
        check(TYPE, &model, None);
        check(TYPE, "--x--", None);
        check("multipart/form-data", &format!("{model}--x--"), None);
        check("application/json; boundary=x", &format!("{model}--x--"), None);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(body in "(--x|\r\n|name|=|\"|;|:|content-disposition|-| |é){0,40}") {
            let _ = Form::new(TYPE, body.as_bytes()).and_then(|form| form.text("model"));
        }
    }
}
