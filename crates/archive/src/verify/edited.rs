//! What was done to a file, as far as its lines tell.

use std::io::BufRead;

use crate::frame::item_id;
use crate::manifest::Filed;

/// What is other than it was in a file with other bytes than were put.
pub(super) fn edited(bytes: &[u8], file: &Filed) -> String {
    let Some(end) = &file.link else { return "it was edited".to_owned() };
    let Ok(text) = zstd::Decoder::with_buffer(bytes) else {
        return "it was edited, and is no zstd file any more".to_owned();
    };
    let mut last: Option<(String, String)> = None;
    for line in std::io::BufReader::new(text).lines() {
        let Ok(line) = line else { return after("it was edited, or cut off", last.as_ref()) };
        if item_id(line.as_bytes()).is_some() {
            continue;
        }
        let Ok(next) = serde_json::from_str::<Linked>(&line) else {
            return after("it was edited: a line is no exchange", last.as_ref());
        };
        last = Some(match next {
            Linked::Erased { was } => ("that was erased".to_owned(), was),
            Linked::Exchange { link: before, .. }
                if before != last.as_ref().map(|(_, hash)| hash.clone()) =>
            {
                return after("it was edited: lines do not follow each other", last.as_ref());
            }
            Linked::Exchange { id, was, .. } => {
                let hash = || blake3::hash(line.as_bytes()).to_hex().to_string();
                (id, was.unwrap_or_else(hash))
            }
        });
    }
    match &last {
        Some((_, hash)) if hash == end => "an item in it was edited".to_owned(),
        _ => after("it was edited, or its end is missing", last.as_ref()),
    }
}

/// The members that link exchanges.
#[derive(serde::Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Linked {
    Exchange { id: String, link: Option<String>, was: Option<String> },
    Erased { was: String },
}

fn after(what: &str, last: Option<&(String, String)>) -> String {
    match last {
        Some((id, _)) => format!("{what}, at or right behind exchange {id}"),
        None => format!("{what}, at its first exchange"),
    }
}
