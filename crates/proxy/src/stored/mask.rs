//! Masks in what is stored what is found there.
//!
//! First everything is looked through, so that of each conversation all values are known: one that
//! was found once is masked wherever it stands in its conversation, also where no rule finds it.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Context, Result};
use archive::erase::mask::{Done, Masker};
use archive::erase::masked::{Masked, Room, STORED};
use archive::read::Reader;
use archive::record::Finding;
use archive::survey::{Text, each_text};
use memchr::memmem;
use redact::mask::Masks;
use redact::rule::Tier;
use redact::scan::Finding as Found;

use super::deltas;
use super::look::Look;
use super::spooled::{self, Seen};
use super::tally::Tally;
use super::{Among, Tell, days};
use crate::secret::screen::ScreenKeys;

/// What takes a secret's place where its mask has no room.
const SHORT: &[u8] = b"***";

/// What was found, and what became of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was found in the archive.
    pub tally: Tally,
    /// What was masked.
    pub done: Done,
    /// What was found in the spool, where nothing is masked.
    pub waiting: Tally,
}

/// All conversations in which something was found.
struct Conversations<'a> {
    look: &'a Look,
    keys: &'a ScreenKeys,
    /// By person and name.
    known: HashMap<(String, String), Masks>,
}

/// Masks what is found in the archive.
pub async fn mask(
    (reader, masker): (&Reader, &Masker<'_>),
    (look, keys): (&Look, &ScreenKeys),
    among: &Among,
    tell: Tell<'_>,
) -> Result<Outcome> {
    let view = reader.view().context("reading the spool")?;
    let mut outcome = Outcome::default();
    let mut all = Conversations { look, keys, known: HashMap::new() };
    let days = days(&view).await?.into_iter().filter(|day| among.takes_folder(*day));
    let mut segments = Vec::new();
    for day in days {
        for name in view.segments(day).await? {
            let Some(bytes) = view.segment(&name).await? else { continue };
            each_text(&name, &bytes, &mut |text| {
                if among.takes(text.record) {
                    all.learn(text, &mut outcome.tally);
                }
            })?;
            segments.push(name);
        }
        tell(&format_args!("{day}: {} secrets found", outcome.tally.count()));
    }
    for name in segments {
        let Some(bytes) = view.segment(&name).await? else { continue };
        let mut has = false;
        each_text(&name, &bytes, &mut |text| has |= among.takes(text.record) && all.has(text))?;
        if !has {
            continue;
        }
        let mut mask = |text: Text<'_>, room: Room| {
            if among.takes(text.record) { all.masked(text, room) } else { None }
        };
        masker.segment(&name, &mut mask, &mut outcome.done).await;
        tell(&format_args!("masked in {} exchanges", outcome.done.exchanges));
    }
    let mut seen = Seen::default();
    for found in view.unpublished().iter().filter(|found| among.takes(&found.record)) {
        let exchange = reader.exchange(found).await.context("reading the spool")?;
        spooled::count(look, &found.record, &exchange, (&mut seen, &mut outcome.waiting));
    }
    Ok(outcome)
}

impl Conversations<'_> {
    /// Remembers what is found in a text.
    fn learn(&mut self, text: Text<'_>, tally: &mut Tally) {
        let findings = self.look.find(text.bytes);
        if findings.is_empty() {
            return;
        }
        let rules = &self.look.rules;
        for finding in &findings {
            tally.note(text.record, (rules.name(finding.rule), finding.tier.as_str()));
        }
        let name = (text.record.user.clone(), text.session.to_owned());
        let fresh = || Masks::new(self.keys.of(&text.record.user, text.session).0);
        let masks = self.known.entry(name).or_insert_with(fresh);
        for piece in pieces(text.bytes) {
            masks.mask(&|value| rules.label(value).to_owned(), piece, &spans(self.look, piece));
        }
    }

    fn of(&mut self, text: Text<'_>) -> Option<&mut Masks> {
        self.known.get_mut(&(text.record.user.clone(), text.session.to_owned()))
    }

    /// Whether something is to be masked in a text.
    fn has(&mut self, text: Text<'_>) -> bool {
        let is_found = !self.look.find(text.bytes).is_empty();
        self.of(text).is_some_and(|masks| {
            is_found
                || !masks.find(text.bytes).is_empty()
                || deltas::joined(masks, text.bytes).is_some()
        })
    }

    /// A text with masks; none where nothing is to be masked.
    fn masked(&mut self, text: Text<'_>, room: Room) -> Option<Masked> {
        let look = self.look;
        let masks = self.of(text)?;
        let joined = deltas::joined(masks, text.bytes);
        let (mut made, mut any) = (Masked::default(), joined.is_some());
        for piece in pieces(joined.as_deref().unwrap_or(text.bytes)) {
            let label = |value: &[u8]| look.rules.label(value).to_owned();
            let found = look.find(piece);
            let spans: Vec<_> = found.iter().map(|one| one.span.clone()).collect();
            let Some(masked) = masks.mask(&label, piece, &spans) else {
                made.bytes.extend_from_slice(piece);
                continue;
            };
            any = true;
            let finding = |span| finding(look, piece, (span, &found));
            made.findings.extend(masked.spans.iter().map(finding));
            match room {
                Room::Enough => made.bytes.extend(masked.body),
                Room::Short | Room::Least => made.bytes.extend(shortened(piece, &masked.spans)),
            }
        }
        any.then_some(made)
    }
}

/// A text in pieces of which each is read for itself: events of a stream have a body each, so that
/// what is escaped in one is no deeper in the next. And what stands between the items of a body begins
/// with what follows an item.
fn pieces(text: &[u8]) -> Vec<&[u8]> {
    let is_stream = [&b"data:"[..], b"event:"].iter().any(|begin| text.starts_with(begin));
    let pieces: Vec<&[u8]> = if is_stream || memmem::find(text, b"\ndata:").is_some() {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let field = |line: &[u8]| if line.starts_with(b"data:") { b"data:".len() } else { 0 };
        lines.flat_map(|line| <[_; 2]>::from(line.split_at(field(line)))).collect()
    } else {
        let is_between = |byte: &u8| b", \t\r\n]}".contains(byte);
        let between = text.iter().take_while(|byte| is_between(byte)).count();
        <[_; 2]>::from(text.split_at(between)).to_vec()
    };
    pieces.into_iter().filter(|piece| !piece.is_empty()).collect()
}

fn spans(look: &Look, piece: &[u8]) -> Vec<Range<usize>> {
    look.find(piece).into_iter().map(|finding| finding.span).collect()
}

/// What is masked as a record has it: by the rule that found it there, else by that which knows the
/// value by itself.
fn finding(look: &Look, piece: &[u8], (span, found): (&Range<usize>, &[Found])) -> Finding {
    let rules = &look.rules;
    let is_there = |one: &&Found| span.start <= one.span.start && one.span.end <= span.end;
    let by_itself = || {
        let rule = rules.label(piece.get(span.clone()).unwrap_or_default());
        (rule, rules.find_name(rule).map_or(Tier::Likely, |id| rules.tier(id)))
    };
    let there = found.iter().find(is_there).map(|one| (rules.name(one.rule), one.tier));
    let (rule, tier) = there.unwrap_or_else(by_itself);
    let (rule, tier) = (rule.to_owned(), tier.as_str().to_owned());
    Finding { rule, tier, action: STORED.to_owned(), count: 1 }
}

/// The bytes with the shortest of masks at these spans.
fn shortened(bytes: &[u8], spans: &[Range<usize>]) -> Vec<u8> {
    let (mut short, mut at) = (Vec::new(), 0);
    for span in spans {
        short.extend_from_slice(bytes.get(at..span.start).unwrap_or_default());
        short.extend_from_slice(SHORT);
        at = span.end;
    }
    short.extend_from_slice(bytes.get(at..).unwrap_or_default());
    short
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use archive::erase::masked::Room;
    use archive::record::Record;
    use archive::survey::Text;
    use redact::rule::{Allowed, CustomRule, Rules, Tier};

    use super::{Conversations, Tally, pieces, shortened};
    use crate::secret::screen::ScreenKeys;
    use crate::stored::look::{Look, Wanted};

    #[test]
    fn a_value_has_one_mask_wherever_it_stands_and_however_it_is_escaped() {
        let custom = CustomRule {
            id: "word".to_owned(),
            pattern: r#"vault word: ([a-z]+-"[a-z]+"-[0-9]+)"#.to_owned(),
            tier: Tier::Likely,
            example: r#"vault word: oak-"tree"-12"#.to_owned(),
        };
        let rules = Arc::new(Rules::new(&[custom], &Allowed::default()).unwrap());
        let wanted = Wanted { least: Tier::Likely, only: Vec::new() };
        let look = Look { rules, wanted, allowed: Vec::new(), keys: None };
        let keys = ScreenKeys::new(&[7; 32]);
        let mut all = Conversations { look: &look, keys: &keys, known: HashMap::new() };
        let record = Record::blank("1".to_owned(), jiff::Timestamp::UNIX_EPOCH, "n");
        let asked = br#"{"role":"user","content":"vault word: amber-\"house\"-77 it is"}"#;
        all.learn(Text { record: &record, session: "s", bytes: asked }, &mut Tally::default());
        let mut masked = |bytes: &[u8]| {
            let text = Text { record: &record, session: "s", bytes };
            let masked = all.masked(text, Room::Enough).unwrap();
            String::from_utf8(masked.bytes).unwrap()
        };
        let asked = masked(asked);
        let mask = asked.split(' ').nth(2).unwrap().to_owned();
        assert!(mask.starts_with("[secret:value:"), "{asked}");
        let cut =
            b"event: a.delta\ndata: {\"type\":\"a.delta\",\"delta\":\"say amber-\\\"ho\"}\n\n\
                    event: a.delta\ndata: {\"type\":\"a.delta\",\"delta\":\"use\\\"-77!\"}\n\n\
                    data: {\"type\":\"a.done\",\"text\":\"say amber-\\\"house\\\"-77!\"}\n\n";
        let expected = format!(
            "event: a.delta\ndata: {{\"type\":\"a.delta\",\"delta\":\"say {mask}\"}}\n\n\
             event: a.delta\ndata: {{\"type\":\"a.delta\",\"delta\":\"!\"}}\n\n\
             data: {{\"type\":\"a.done\",\"text\":\"say {mask}!\"}}\n\n"
        );
        assert_eq!(masked(cut), expected);
    }

    #[test]
    fn each_event_of_a_stream_is_a_piece() {
        let text = b"event: a\ndata: {\"b\":1}\n\ndata:c";
        let expected: [&[u8]; 6] =
            [b"event: a\n", b"data:", b" {\"b\":1}\n", b"\n", b"data:", b"c"];
        assert_eq!(pieces(text), expected);
        assert_eq!(pieces(b"{\n\"data:\"}"), [b"{\n\"data:\"}"]);
        let expected: [&[u8]; 2] = [b", ", b"{\"a\":1}]}"];
        assert_eq!(pieces(b", {\"a\":1}]}"), expected);
    }

    #[test]
    fn where_there_is_no_room_stars_take_the_places() {
        let short = shortened(b"a secret and another one", &[2..8, 13..20]);
        assert_eq!(String::from_utf8_lossy(&short), "a *** and *** one");
    }
}
