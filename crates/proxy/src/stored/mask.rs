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
use redact::mask::Masks;

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
        let spans: Vec<_> = findings.into_iter().map(|finding| finding.span).collect();
        let name = (text.record.user.clone(), text.session.to_owned());
        let fresh = || Masks::new(self.keys.of(&text.record.user, text.session).0);
        let masks = self.known.entry(name).or_insert_with(fresh);
        masks.mask(&|value| rules.label(value).to_owned(), text.bytes, &spans);
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
        let findings = self.look.find(text.bytes);
        let rules = self.look.rules.clone();
        let masks = self.of(text)?;
        // What is cut over events first: masks that are put in their places stay.
        let joined = deltas::joined(masks, text.bytes);
        let (bytes, spans) = match &joined {
            Some(joined) => (joined.as_slice(), self.spans(joined)),
            None => (text.bytes, findings.into_iter().map(|finding| finding.span).collect()),
        };
        let masks = self.of(text)?;
        let masked = masks.mask(&|value| rules.label(value).to_owned(), bytes, &spans);
        let Some(masked) = masked else {
            return joined.map(|bytes| Masked { bytes, findings: Vec::new() });
        };
        let value = |span: &Range<usize>| bytes.get(span.clone()).unwrap_or_default();
        let findings = masked.spans.iter().map(|span| self.finding(value(span))).collect();
        let bytes = match room {
            Room::Enough => masked.body,
            Room::Short | Room::Least => shortened(bytes, &masked.spans),
        };
        Some(Masked { bytes, findings })
    }

    fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        self.look.find(bytes).into_iter().map(|finding| finding.span).collect()
    }

    /// As a record has it; the rule is that which knows the value by itself.
    fn finding(&self, value: &[u8]) -> Finding {
        let rules = &self.look.rules;
        let rule = rules.label(value).to_owned();
        let tier = rules.find_name(&rule).map_or(redact::rule::Tier::Likely, |id| rules.tier(id));
        Finding { rule, tier: tier.as_str().to_owned(), action: STORED.to_owned(), count: 1 }
    }
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
    use super::shortened;

    #[test]
    fn where_there_is_no_room_stars_take_the_places() {
        let short = shortened(b"a secret and another one", &[2..8, 13..20]);
        assert_eq!(String::from_utf8_lossy(&short), "a *** and *** one");
    }
}
