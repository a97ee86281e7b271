//! What the model repeats from what it was given: `<<START...END>>` in its texts.

use std::borrow::Cow;

use crate::ask::Ask;

/// A text with each `<<START...END>>` replaced by the first piece of the conversation that begins and
/// ends so; as it is where there is none.
pub(crate) fn quoted<'t>(ask: &Ask<'_>, text: &'t str) -> Cow<'t, str> {
    let Some((before, rest)) = text.split_once("<<") else { return Cow::Borrowed(text) };
    let Some((asked, after)) = rest.split_once(">>") else { return Cow::Borrowed(text) };
    let Some((start, end)) = asked.split_once("...") else { return Cow::Borrowed(text) };
    let given = ["input", "messages"].map(|name| ask.fields.raw(name));
    let mut given = given.iter().flatten().map(|raw| raw.get());
    let piece = given.find_map(|given| first(given, start, end)).unwrap_or(asked);
    Cow::Owned(format!("{before}{piece}{}", quoted(ask, after)))
}

/// The first piece that begins and ends so. The words that ask for it do not count.
fn first<'g>(given: &'g str, start: &str, end: &str) -> Option<&'g str> {
    let begins = given.match_indices(start).filter_map(|(at, _)| given.get(at..));
    let mut pieces = begins.filter_map(|rest| {
        let inside = rest.get(start.len()..)?;
        rest.get(..start.len() + inside.find(end)? + end.len())
    });
    pieces.find(|piece| !piece.contains("..."))
}

#[cfg(test)]
mod tests {
    use super::quoted;
    use crate::ask::{Ask, Dialect};

    #[test]
    fn a_piece_of_the_conversation_is_repeated() {
        let body = br#"{"model":"m","input":[{"role":"user","content":"say <<[a:...]>>"},
            {"type":"function_call_output","call_id":"c","output":"x [a:1] [a:2]"}]}"#;
        let ask = Ask::read(body, Dialect::Responses).unwrap();
        let check = |text: &str, expected: &str| assert_eq!(quoted(&ask, text), expected);
        check("it is <<[a:...]>>, <<[a:2...]>>.", "it is [a:1], [a:2].");
        check("nothing << here", "nothing << here");
        check("<<[b:...]>>", "[b:...]");
    }
}
