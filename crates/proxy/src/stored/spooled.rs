//! What waits for the archive: bodies are whole there, and repeat what was before.

use std::collections::HashSet;
use std::ops::Range;

use archive::read::Exchange;
use archive::record::Record;
use wire::ask::Ask;

use super::look::Look;
use super::tally::Tally;

/// A shorter item is looked through again.
const SHORT: usize = 64;

/// Items that were looked through, by hashes of them and of their conversation.
#[derive(Default)]
pub(super) struct Seen(HashSet<[u8; 32]>);

/// Counts what is found in an exchange, but for items that were seen in one before.
pub(super) fn count(
    look: &Look,
    record: &Record,
    exchange: &Exchange,
    (seen, tally): (&mut Seen, &mut Tally),
) {
    let body = exchange.request_body.as_slice();
    for range in seen.fresh(record, body) {
        look.count(record, body.get(range).unwrap_or_default(), tally);
    }
    look.count(record, &exchange.response_body, tally);
    let request = exchange.request.iter();
    request.clone().for_each(|head| look.count(record, head.target.as_bytes(), tally));
    let asked = request.flat_map(|head| &head.headers);
    let answered = exchange.response.iter().flat_map(|head| &head.headers);
    for (_, value) in asked.chain(answered) {
        look.count(record, value.as_bytes(), tally);
    }
}

impl Seen {
    /// The pieces of a body that are new: items, and all that is between items.
    fn fresh(&mut self, record: &Record, body: &[u8]) -> Vec<Range<usize>> {
        let items = Ask::read(body).map(|ask| ask.items).unwrap_or_default();
        let (mut fresh, mut at) = (Vec::new(), 0);
        for range in items.into_iter().map(|item| item.range) {
            if range.start < at || range.len() < SHORT {
                continue;
            }
            fresh.push(at..range.start);
            at = range.end;
            if self.0.insert(name(record, body.get(range.clone()).unwrap_or_default())) {
                fresh.push(range);
            }
        }
        fresh.push(at..body.len());
        fresh
    }
}

fn name(record: &Record, item: &[u8]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    let thread = record.thread_id.as_deref().or(record.session_id.as_deref());
    for text in [record.key_id.as_bytes(), thread.unwrap_or_default().as_bytes(), item] {
        hash.update(&(text.len() as u64).to_le_bytes()).update(text);
    }
    *hash.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use archive::record::Record;
    use serde_json::json;

    use super::Seen;

    #[test]
    fn of_a_conversation_that_goes_on_only_what_is_new_is_looked_through() {
        let record = Record::blank("1".to_owned(), jiff::Timestamp::UNIX_EPOCH, "n");
        let item = |n: u8| json!({"role": "user", "content": format!("words {n} ").repeat(20)});
        let body = |turns: u8| {
            json!({"model": "m", "input": (0..turns).map(item).collect::<Vec<_>>()}).to_string()
        };
        let mut seen = Seen::default();
        let mut fresh = |turns: u8| -> Vec<String> {
            let body = body(turns);
            let pieces = seen.fresh(&record, body.as_bytes()).into_iter();
            pieces
                .map(|range| body.get(range).unwrap().to_owned())
                .filter(|text| text.len() > 30)
                .collect()
        };
        assert_eq!(fresh(2), [item(0).to_string(), item(1).to_string()]);
        assert_eq!(fresh(3), [item(2).to_string()]);
        assert_eq!(fresh(3), Vec::<String>::new());
    }

    #[test]
    fn a_body_that_is_no_question_is_one_piece() {
        let record = Record::blank("1".to_owned(), jiff::Timestamp::UNIX_EPOCH, "n");
        assert_eq!(
            Seen::default().fresh(&record, b"hello"),
            [std::ops::Range { start: 0, end: 5 }]
        );
    }
}
