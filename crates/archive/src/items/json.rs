//! Walks over JSON by its brackets and quotes, without reading values.

use std::ops::Range;

use memchr::memchr;

use super::{Cut, LONG_TEXT, SHORTEST};

/// Notes what the request repeats that begins here; tells where it ends, if it does.
pub(super) fn request(text: &[u8], at: usize, found: &mut Vec<Cut>) -> Option<usize> {
    members(text, skip_space(text, at + 1), found)
}

/// The same from behind an element of its run.
pub(super) fn behind_element(text: &[u8], at: usize, found: &mut Vec<Cut>) -> Option<usize> {
    let end = run(text, next(text, at)?, found)?;
    members(text, next(text, end)?, found)
}

fn members(text: &[u8], mut at: usize, found: &mut Vec<Cut>) -> Option<usize> {
    while text.get(at)? != &b'}' {
        let key_end = string_end(text, at)?;
        let key = text.get(at..key_end)?;
        at = skip_space(text, key_end);
        at = skip_space(text, expect(text, at, b':')?);
        at = match (key, text.get(at)?) {
            (b"\"instructions\"" | b"\"tools\"", _) => {
                let end = value_end(text, at)?;
                note(at..end, SHORTEST, found);
                end
            }
            (b"\"input\"" | b"\"messages\"", b'[') => run(text, skip_space(text, at + 1), found)?,
            _ => value_end(text, at)?,
        };
        at = next(text, at)?;
    }
    Some(at + 1)
}

/// Notes the elements of an array, of which the first begins here.
fn run(text: &[u8], at: usize, found: &mut Vec<Cut>) -> Option<usize> {
    let mut run = Vec::new();
    let end = elements(text, at, &mut run);
    found.extend((!run.is_empty()).then_some(Cut::Run(run)));
    end
}

fn elements(text: &[u8], mut at: usize, run: &mut Vec<Range<usize>>) -> Option<usize> {
    while text.get(at)? != &b']' {
        let end = value_end(text, at)?;
        run.push(at..end);
        at = next(text, end)?;
    }
    Some(at + 1)
}

/// Notes the long texts of the value that begins here with its bracket, and its `tools`; tells where
/// it ends, if it does.
pub(super) fn answer(text: &[u8], at: usize, found: &mut Vec<Cut>) -> Option<usize> {
    container(text, at, |at, end| {
        note(at..end, LONG_TEXT, found);
        if text.get(at..end)? == b"\"tools\"" { tools(text, end, found) } else { Some(end) }
    })
}

/// Notes an array behind its key.
fn tools(text: &[u8], key_end: usize, found: &mut Vec<Cut>) -> Option<usize> {
    let at = skip_space(text, key_end);
    let Some(value) = expect(text, at, b':').map(|at| skip_space(text, at)) else {
        return Some(key_end);
    };
    if text.get(value)? != &b'[' {
        return Some(value);
    }
    let end = value_end(text, value)?;
    note(value..end, SHORTEST, found);
    Some(end)
}

fn note(range: Range<usize>, shortest: usize, found: &mut Vec<Cut>) {
    if range.len() >= shortest {
        found.push(Cut::Item(range));
    }
}

/// Goes over a comma to what follows it; else to what ends the container.
fn next(text: &[u8], at: usize) -> Option<usize> {
    let at = skip_space(text, at);
    match text.get(at)? {
        b',' => Some(skip_space(text, at + 1)),
        b'}' | b']' => Some(at),
        _ => None,
    }
}

fn expect(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (text.get(at)? == &byte).then_some(at + 1)
}

/// Where the white space ends that may stand here.
pub(super) fn skip_space(text: &[u8], at: usize) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| is_space(byte)).count()
}

/// Where the value ends that begins here.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => container(text, at, |_, end| Some(end)),
        b',' | b':' | b'}' | b']' => None,
        _ => {
            let ends =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            Some(at + text.get(at..)?.iter().position(ends)?)
        }
    }
}

/// Where the value ends that begins here with its bracket. `string` is told where each string in it
/// begins and ends, and tells where to go on.
fn container(
    text: &[u8],
    mut at: usize,
    mut string: impl FnMut(usize, usize) -> Option<usize>,
) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at = string(at, string_end(text, at)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Where the string ends that begins here with its quote.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = expect(text, at, b'"')?;
    loop {
        let quote = at + memchr(b'"', text.get(at..)?)?;
        let before = text.get(at..quote)?.iter().rev();
        // From quote to quote, since texts have more other escapes than escaped quotes.
        let escaped = before.take_while(|byte| **byte == b'\\').count() % 2 == 1;
        at = quote + 1;
        if !escaped {
            return Some(at);
        }
    }
}
