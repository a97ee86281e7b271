//! Which items today's segments hold already, and where.
//!
//! An item is known within its conversation, on its day, to the node that wrote it: so a day's
//! folder is complete in itself, and nodes need not agree. Whatever is forgotten here is merely
//! stored once more, so that all of this is bounded, and a file that was saved a while ago will do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::frame::Part;
use crate::{Error, segment};

/// The file in the spool's folder.
const NAME: &str = "known";
/// How many items are known at most: some 80 bytes each.
const MOST: usize = 200_000;

/// The hash of an item, by which it is found again.
pub(crate) type Id = [u8; blake3::OUT_LEN];

/// The items of one day.
pub(crate) struct Known {
    /// Which object store holds them: in another they are not.
    archive: String,
    day: Date,
    sessions: HashMap<String, Session>,
    items: usize,
    /// How many there were when they were saved.
    saved: usize,
    /// Counts up; tells which conversation was touched last.
    touches: u64,
}

/// The items of one conversation.
#[derive(Default)]
struct Session {
    touched: u64,
    items: HashMap<Id, Item>,
    /// How its last request began; not saved.
    beginning: Option<Arc<Beginning>>,
}

/// How a request began, up to the end of the last group of its run. The next request of the
/// conversation mostly begins the same: then nothing of that need be cut and looked up again.
pub(crate) struct Beginning {
    /// In bytes.
    pub(crate) length: usize,
    /// The hash of these bytes.
    pub(crate) digest: blake3::Hash,
    /// What they were cut into.
    pub(crate) parts: Vec<Part<'static>>,
    /// The frames in which lie the items of that.
    pub(crate) lies: Others,
    /// How many bytes stand between these.
    pub(crate) texts: usize,
}

/// Where to find what a request begins with.
pub(crate) type Begun = Option<Arc<Beginning>>;

/// An item that is stored.
pub(crate) struct Item {
    /// The frame that has its line.
    home: Arc<Frame>,
    /// Which of the items of that segment it is.
    number: u32,
    /// The frames that hold it: its own, and those of the items that it is made of.
    pub(crate) lies: Lies,
}

/// An item of a frame that is being made.
#[derive(Clone)]
pub(crate) struct New {
    /// Which of the items of its segment it is.
    pub(crate) number: u32,
    /// The other frames in which lies what it is made of.
    pub(crate) others: Others,
}

/// Frames that hold an item.
pub(crate) type Lies = Arc<[Arc<Frame>]>;

/// Frames other than an item's own.
pub(crate) type Others = BTreeSet<Arc<Frame>>;

/// Where a frame lies. In order of the offsets first: numbers are compared sooner than names.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) segment: Arc<str>,
}

/// As it is saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    archive: String,
    day: Date,
    segments: Vec<String>,
    sessions: HashMap<String, SavedSession>,
}

#[derive(Serialize, Deserialize)]
struct SavedSession {
    /// Segment by its number, offset, length.
    frames: Vec<(usize, u64, u64)>,
    items: Vec<SavedItems>,
}

/// Items that lie in the same frames.
#[derive(Serialize, Deserialize)]
struct SavedItems {
    /// The frame that has their lines, by its number.
    home: usize,
    /// All frames, by their numbers.
    lies: Vec<usize>,
    /// Which items of the segment they are, and their hashes.
    items: Vec<(u32, String)>,
}

/// Items of a frame that is being made.
pub(crate) type Own = HashMap<Id, New>;

/// How its request begins, and whether it holds items of that itself.
pub(crate) type Begins = Option<(Beginning, bool)>;

/// Items of a segment that is being made: they are known for good when it is in the object store.
#[derive(Default)]
pub(crate) struct Fresh {
    sessions: HashMap<String, Session>,
}

impl Known {
    /// Knows nothing.
    pub(crate) fn nothing(archive: String) -> Self {
        let (day, sessions) = (Date::ZERO, HashMap::new());
        Self { archive, day, sessions, items: 0, saved: 0, touches: 0 }
    }

    /// Reads what was saved; what cannot be read is not known.
    pub(crate) fn load(spool: &Path, archive: String) -> Self {
        let mut known = Self::nothing(archive);
        let read = std::fs::read(spool.join(NAME)).and_then(|bytes| zstd::decode_all(&*bytes));
        let saved = read.ok().and_then(|text| serde_json::from_slice::<Saved>(&text).ok());
        if let Some(saved) = saved.filter(|saved| saved.archive == known.archive) {
            known.day = saved.day;
            let segments: Vec<Arc<str>> = saved.segments.into_iter().map(Arc::from).collect();
            for (name, session) in saved.sessions {
                let Some(session) = session.read(&segments) else { continue };
                known.items += session.items.len();
                known.sessions.insert(name, session);
            }
            known.saved = known.items;
        }
        known
    }

    /// Which day's they are.
    pub(crate) fn day(&self) -> Date {
        self.day
    }

    /// Forgets other days.
    pub(crate) fn turn_to(&mut self, day: Date) {
        if self.day != day {
            self.day = day;
            (self.items, self.saved) = (0, 0);
            self.sessions.clear();
        }
    }

    /// The segments that items lie in.
    pub(crate) fn segments(&self) -> Vec<Arc<str>> {
        let frames = self.sessions.values().flat_map(Session::frames);
        let segments: BTreeSet<_> = frames.map(|frame| frame.segment.clone()).collect();
        segments.into_iter().collect()
    }

    /// Forgets all conversations with items in a segment that is gone.
    pub(crate) fn forget_segment(&mut self, segment: &str) {
        let holds = |session: &Session| session.frames().any(|frame| &*frame.segment == segment);
        self.sessions.retain(|_, session| !holds(session));
        self.items = self.sessions.values().map(|session| session.items.len()).sum();
    }

    /// Where an item lies.
    pub(crate) fn find(&self, session: &str, id: &Id) -> Option<&Item> {
        self.sessions.get(session)?.items.get(id)
    }

    /// How the last request of a conversation began.
    pub(crate) fn beginning(&self, session: &str) -> Begun {
        self.sessions.get(session)?.beginning.clone()
    }

    /// Knows the items of a segment that is in the object store now.
    pub(crate) fn learn(&mut self, fresh: Fresh) {
        for (name, new) in fresh.sessions {
            self.touches += 1;
            let session = self.sessions.entry(name).or_default();
            let before = session.items.len();
            session.touched = self.touches;
            session.items.extend(new.items);
            session.beginning = new.beginning.or(session.beginning.take());
            self.items += session.items.len() - before;
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        if self.items <= MOST {
            return;
        }
        let mut by_age: Vec<_> =
            self.sessions.iter().map(|(name, session)| (session.touched, name.clone())).collect();
        by_age.sort_unstable();
        for (_, name) in by_age {
            // Some room, so that this is not done each time.
            if self.items <= MOST - MOST / 8 {
                break;
            }
            let gone = self.sessions.remove(&name);
            self.items -= gone.map_or(0, |session| session.items.len());
        }
    }

    /// Saves what is known, if that is an eighth more than when it was last saved.
    pub(crate) fn save_if_grown(&mut self, spool: &Path) -> Result<(), Error> {
        if self.items.abs_diff(self.saved) > self.saved / 8 { self.save(spool) } else { Ok(()) }
    }

    /// Saves what is known, if that is other than what was saved.
    pub(crate) fn save(&mut self, spool: &Path) -> Result<(), Error> {
        if self.items == self.saved {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.as_saved());
        let bytes = text.map_err(Into::into).and_then(|text| zstd::bulk::compress(&text, 1));
        let bytes = bytes.map_err(Error::disk("saving which items are stored"))?;
        crate::replace(&spool.join(NAME), &bytes)?;
        self.saved = self.items;
        Ok(())
    }

    fn as_saved(&self) -> Saved {
        let segments = self.segments();
        let number = |segment: &Arc<str>| segments.binary_search(segment).unwrap_or_default();
        let sessions =
            self.sessions.iter().map(|(name, session)| (name.clone(), session.as_saved(&number)));
        Saved {
            archive: self.archive.clone(),
            day: self.day,
            sessions: sessions.collect(),
            segments: segments.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Item {
    /// What it is called in the archive.
    pub(crate) fn name(&self) -> String {
        name(&self.home.segment, self.number)
    }
}

/// The name of an item, by its segment and which of the items of that it is. What its segment's name
/// has of chance, and its number, are enough within a conversation and a day. Whoever has read the
/// name once reads little more of the next: hashes would be most of what a request adds.
pub(crate) fn name(home: &str, number: u32) -> String {
    let start = home.rsplit('-').nth(1).unwrap_or_default();
    let chance = start.get(start.len().saturating_sub(8)..).unwrap_or_default();
    format!("{chance}-{}-{number}", segment::number(home).unwrap_or_default())
}

impl Session {
    fn frames(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.items.values().flat_map(|item| item.lies.iter())
    }

    fn as_saved(&self, number: &impl Fn(&Arc<str>) -> usize) -> SavedSession {
        let frames: Vec<_> = self.frames().collect::<BTreeSet<_>>().into_iter().collect();
        let place = |frame: &Arc<Frame>| frames.binary_search(&frame).unwrap_or_default();
        let mut by_place: BTreeMap<_, Vec<(u32, String)>> = BTreeMap::new();
        for (id, item) in &self.items {
            let hash = blake3::Hash::from_bytes(*id).to_hex().to_string();
            by_place.entry((&item.home, &item.lies)).or_default().push((item.number, hash));
        }
        let saved_items = |((home, lies), items): ((_, &Lies), _)| SavedItems {
            home: place(home),
            lies: lies.iter().map(place).collect(),
            items,
        };
        let items = by_place.into_iter().map(saved_items).collect();
        let saved = |frame: &&Arc<Frame>| (number(&frame.segment), frame.offset, frame.length);
        SavedSession { frames: frames.iter().map(saved).collect(), items }
    }
}

impl SavedSession {
    /// What it says; nothing where it contradicts itself.
    fn read(self, segments: &[Arc<str>]) -> Option<Session> {
        let mut session = Session::default();
        let frame = |(number, offset, length): (usize, u64, u64)| {
            Some(Arc::new(Frame { segment: segments.get(number)?.clone(), offset, length }))
        };
        let frames: Vec<_> = self.frames.into_iter().map(frame).collect::<Option<_>>()?;
        for SavedItems { home, lies, items } in self.items {
            let home = frames.get(home)?;
            let lies = lies.into_iter().map(|number| frames.get(number).cloned());
            let lies: Lies = lies.collect::<Option<Vec<_>>>()?.into();
            for (number, hash) in items {
                let id = blake3::Hash::from_hex(hash).ok()?;
                let item = Item { home: home.clone(), number, lies: lies.clone() };
                session.items.insert(*id.as_bytes(), item);
            }
        }
        Some(session)
    }
}

impl Fresh {
    /// Where an item lies.
    pub(crate) fn find(&self, session: &str, id: &Id) -> Option<&Item> {
        self.sessions.get(session)?.items.get(id)
    }

    /// How the last request of a conversation began.
    pub(crate) fn beginning(&self, session: &str) -> Begun {
        self.sessions.get(session)?.beginning.clone()
    }

    /// Notes a frame, the items that it holds, and how its request begins, if that is new.
    pub(crate) fn add(&mut self, session: &str, frame: &Arc<Frame>, drawn: (Own, Begins)) {
        let (items, begins) = drawn;
        let alone: Lies = [frame.clone()].into();
        let session = self.sessions.entry(session.to_owned()).or_default();
        if let Some((mut beginning, here)) = begins {
            beginning.lies.extend(here.then(|| frame.clone()));
            session.beginning = Some(Arc::new(beginning));
        }
        for (id, New { number, others }) in items {
            let made = || others.iter().chain([frame]).cloned().collect();
            let lies = if others.is_empty() { alone.clone() } else { made() };
            session.items.insert(id, Item { home: frame.clone(), number, lies });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use jiff::civil::date;

    use super::{Frame, Fresh, Known, MOST, New, Others, name};

    /// Items of a conversation that lie in a frame of this segment.
    fn fresh(session: &str, segment: &str, items: std::ops::Range<usize>) -> Fresh {
        let mut fresh = Fresh::default();
        let frame = Arc::new(Frame { offset: 7, length: 9, segment: segment.into() });
        let new = |item| New { number: u32::try_from(item).unwrap(), others: Others::new() };
        let items: HashMap<_, _> = items.map(|item| (id(item), new(item))).collect();
        fresh.add(session, &frame, (items, None));
        fresh
    }

    fn id(item: usize) -> super::Id {
        *blake3::hash(&item.to_le_bytes()).as_bytes()
    }

    fn known() -> Known {
        let mut known = Known::nothing("an archive".to_owned());
        known.turn_to(date(2026, 11, 22));
        known
    }

    fn segment_of(known: &Known, session: &str, item: usize) -> Option<String> {
        let found = known.find(session, &id(item))?;
        let lies = &found.lies;
        assert_eq!((lies.len(), lies[0].offset, lies[0].length), (1, 7, 9));
        assert_eq!(found.name(), name(&lies[0].segment, u32::try_from(item).unwrap()));
        Some(lies[0].segment.to_string())
    }

    #[test]
    fn what_was_saved_is_known_to_the_next_process_of_the_same_archive() {
        let spool = tempfile::tempdir().unwrap();
        let mut first = known();
        first.learn(fresh("one", "a", 0..3));
        first.learn(fresh("two", "b", 2..5));
        first.save(spool.path()).unwrap();

        let next = Known::load(spool.path(), "an archive".to_owned());
        assert_eq!(next.day(), date(2026, 11, 22));
        assert_eq!(segment_of(&next, "one", 2).as_deref(), Some("a"));
        assert_eq!(segment_of(&next, "two", 2).as_deref(), Some("b"));
        assert_eq!(segment_of(&next, "one", 4), None, "another conversation's");
        let other = Known::load(spool.path(), "another archive".to_owned());
        assert_eq!(segment_of(&other, "one", 2), None);
        std::fs::write(spool.path().join("known"), "no such thing").unwrap();
        let damaged = Known::load(spool.path(), "an archive".to_owned());
        assert_eq!(segment_of(&damaged, "one", 2), None);
    }

    #[test]
    fn a_name_is_short_and_of_one_segment() {
        assert_eq!(name("4be1c0d2w0-20261122T0521127019f3ac07b-000012", 7), "9f3ac07b-12-7");
        assert_eq!(name("4be1c0d2w0-20261122T0521127019f3ac07b-000000", 0), "9f3ac07b-0-0");
    }

    #[test]
    fn another_day_and_a_segment_that_is_gone_are_forgotten() {
        let mut known = known();
        known.learn(fresh("one", "a", 0..3));
        known.learn(fresh("two", "b", 0..3));
        known.forget_segment("a");
        assert_eq!(segment_of(&known, "one", 0), None);
        assert_eq!(segment_of(&known, "two", 0).as_deref(), Some("b"));
        known.turn_to(date(2026, 11, 23));
        assert_eq!(segment_of(&known, "two", 0), None);
    }

    #[test]
    fn of_too_many_items_those_of_the_oldest_conversations_are_forgotten() {
        let mut known = known();
        let each = MOST / 4;
        for number in 0..5 {
            known.learn(fresh(&number.to_string(), "a", 0..each));
        }
        assert_eq!(segment_of(&known, "0", 0), None);
        assert_eq!(segment_of(&known, "4", 0).as_deref(), Some("a"));
        assert!(known.items <= MOST);
    }
}
