//! Places that a short text marks: part of a name, a structure, what stands within a token, an
//! escape that may be needless.

use std::ops::Range;
use std::sync::Arc;

use super::prefix::Bits;
use super::runs::Nibbles;
use crate::rule::{Rule, RuleId};

/// What a marked place may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Part of a name that may be given a secret.
    Name,
    /// A PEM block begins.
    Pem,
    /// After a URL's scheme.
    Url,
    /// After `Bearer`.
    Bearer,
    /// After `Basic`.
    Basic,
    /// After `IDENTIFIED BY`.
    Identified,
    /// After `sig=`.
    Signature,
    /// After a flag that takes user and password.
    User,
    /// After a flag that takes a password, with some commands.
    Flag,
    /// After the port in a line of a password file of PostgreSQL.
    PasswordFile,
    /// After a flag of one letter that takes a password, with some commands.
    Letter,
    /// After a flag that takes `user%password`.
    ShareUser,
    /// After `curl`.
    Curl,
    /// After `net use`.
    Net,
    /// After `--password-stdin`.
    Piped,
    /// After `ConvertTo-SecureString`.
    SecureString,
    /// After `jdbc:oracle:thin:`.
    Oracle,
    /// After `Cookie:`.
    Cookies,
    /// Within a token of this rule.
    Inner(RuleId),
    /// An escape that may be needless.
    Escape,
}

const MARKS: [(&str, Mark); 45] = [
    ("\\u00", Mark::Escape),
    ("\\/", Mark::Escape),
    ("key", Mark::Name),
    ("Key", Mark::Name),
    ("KEY", Mark::Name),
    ("ecret", Mark::Name),
    ("ECRET", Mark::Name),
    ("oken", Mark::Name),
    ("OKEN", Mark::Name),
    ("pass", Mark::Name),
    ("Pass", Mark::Name),
    ("PASS", Mark::Name),
    ("pwd", Mark::Name),
    ("Pwd", Mark::Name),
    ("PWD", Mark::Name),
    ("psw", Mark::Name),
    ("PSW", Mark::Name),
    ("redential", Mark::Name),
    ("REDENTIAL", Mark::Name),
    ("auth", Mark::Name),
    ("Auth", Mark::Name),
    ("AUTH", Mark::Name),
    ("_pw", Mark::Name),
    ("_PW", Mark::Name),
    ("-----BEGIN ", Mark::Pem),
    ("://", Mark::Url),
    ("earer ", Mark::Bearer),
    ("asic ", Mark::Basic),
    ("ified by ", Mark::Identified),
    ("IFIED BY ", Mark::Identified),
    ("sig=", Mark::Signature),
    (" -u", Mark::User),
    ("--user", Mark::User),
    (" -p", Mark::Flag),
    (" -a ", Mark::Letter),
    (" -w ", Mark::Letter),
    (" -P ", Mark::Letter),
    (" -U ", Mark::ShareUser),
    ("curl ", Mark::Curl),
    ("net use", Mark::Net),
    ("word-stdin", Mark::Piped),
    ("ConvertTo-SecureString", Mark::SecureString),
    (":oracle:thin:", Mark::Oracle),
    ("ookie: ", Mark::Cookies),
    (":5432:", Mark::PasswordFile),
];

/// A text, and three of its bytes by which it is looked for: those that stand most rarely in a row.
#[derive(Debug)]
struct Text {
    bytes: Box<[u8]>,
    mark: Mark,
    /// Where the three begin.
    offset: usize,
    /// The three as a number, and the bits of it that matter: a byte may be left open.
    three: u32,
    care: u32,
    /// How often they stand somewhere, roughly.
    weight: u32,
}

/// The texts of the engine and of all rules.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(super) nibbles: Nibbles,
    /// Which three bytes the texts are looked for by: nine places of ten that the nibbles name have
    /// others.
    threes: Bits,
    /// The texts of each group.
    groups: [Vec<Text>; 16],
}

impl Texts {
    pub(crate) fn new(list: &[Arc<Rule>]) -> Self {
        let rules = list.iter().zip((0..u16::MAX).map(RuleId));
        let of_rule = |(rule, id): (&Arc<Rule>, RuleId)| -> Vec<Text> {
            rule.inner.iter().map(|text| Text::new(text, Mark::Inner(id))).collect()
        };
        let marks = MARKS.iter().map(|(text, mark)| Text::new(text, *mark));
        let mut all: Vec<Text> = marks.chain(rules.flat_map(of_rule)).collect();
        // What stands most often first, while groups are empty.
        all.sort_by_key(|text| std::cmp::Reverse(text.weight));
        let mut groups: [Group; 16] = std::array::from_fn(|_| Group::default());
        for text in all {
            let cost = |group: &&mut Group| group.weight_with(&text) - group.weight();
            if let Some(best) = groups.iter_mut().min_by_key(cost) {
                best.add(text);
            }
        }
        let mut threes = Bits::default();
        for text in groups.iter().flat_map(|group| &group.texts) {
            let three = text.three();
            let known = three.iter().map_while(|byte| *byte).collect::<Vec<u8>>();
            threes.add_all(&known);
        }
        let of_group = |(at, group): (usize, &Group)| -> Vec<(usize, [Option<u8>; 3])> {
            group.texts.iter().map(|text| (at, text.three())).collect()
        };
        let nibbles = Nibbles::new(groups.iter().enumerate().flat_map(of_group));
        Self { nibbles, threes, groups: groups.map(|group| group.texts) }
    }

    /// Tells of every text of which the three bytes begin here.
    pub(super) fn at(&self, bytes: &[u8], at: usize, mut tell: impl FnMut(Mark, Range<usize>)) {
        let rest = bytes.get(at..).unwrap_or_default();
        let three = rest.first_chunk().copied();
        let three = three.unwrap_or_else(|| [0, 1, 2].map(|next| super::byte(rest, next)));
        if !self.threes.may_have(three) {
            return;
        }
        let mut groups = self.nibbles.groups(three);
        let three = number(three);
        while groups != 0 {
            let texts = self.groups.get(groups.trailing_zeros() as usize);
            groups &= groups - 1;
            let is_one = |text: &&Text| three & text.care == text.three;
            for text in texts.into_iter().flatten().filter(is_one) {
                let Some(start) = at.checked_sub(text.offset) else { continue };
                if bytes.get(start..).is_some_and(|rest| rest.starts_with(&text.bytes)) {
                    tell(text.mark, start..start + text.bytes.len());
                }
            }
        }
    }
}

impl Text {
    fn new(text: &str, mark: Mark) -> Self {
        let bytes: Box<[u8]> = text.as_bytes().into();
        let place = |offset: &usize| -> u32 {
            let three = [0, 1, 2].map(|next| bytes.get(offset + next).copied());
            three.iter().map(|byte| byte.map_or(ANY, weigh_byte)).product()
        };
        let offset = (0..bytes.len().saturating_sub(2).max(1)).min_by_key(place).unwrap_or(0);
        let own = [0, 1, 2].map(|next| bytes.get(offset + next).copied());
        let care = number(own.map(|byte| byte.map_or(0, |_| u8::MAX)));
        let three = number(own.map(Option::unwrap_or_default));
        Self { weight: place(&offset), bytes, mark, offset, three, care }
    }

    /// The bytes by which it is looked for; a text of two leaves the third open.
    fn three(&self) -> [Option<u8>; 3] {
        [0, 1, 2].map(|next| self.bytes.get(self.offset + next).copied())
    }
}

fn number([a, b, c]: [u8; 3]) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}

/// Texts that are looked for together.
#[derive(Debug, Default)]
struct Group {
    texts: Vec<Text>,
    /// Which low and high four bits each of the three bytes may have.
    nibbles: [[u16; 2]; 3],
}

impl Group {
    fn nibbles_with(&self, text: &Text) -> [[u16; 2]; 3] {
        let mut nibbles = self.nibbles;
        for ([low, high], byte) in nibbles.iter_mut().zip(text.three()) {
            *low |= byte.map_or(u16::MAX, |byte| 1 << (byte & 15));
            *high |= byte.map_or(u16::MAX, |byte| 1 << (byte >> 4));
        }
        nibbles
    }

    fn add(&mut self, text: Text) {
        self.nibbles = self.nibbles_with(&text);
        self.texts.push(text);
    }

    fn weight(&self) -> u32 {
        weigh(self.nibbles)
    }

    fn weight_with(&self, text: &Text) -> u32 {
        weigh(self.nibbles_with(text))
    }
}

/// How often three bytes stand in a row that have such low and high four bits.
fn weigh(nibbles: [[u16; 2]; 3]) -> u32 {
    let of_byte = |[low, high]: [u16; 2]| -> u32 {
        let is_one = |byte: &u8| low >> (byte & 15) & 1 == 1 && high >> (byte >> 4) & 1 == 1;
        (0..128).filter(is_one).map(weigh_byte).sum()
    };
    nibbles.map(of_byte).iter().product()
}

/// What all bytes weigh together, about.
const ANY: u32 = 200;

/// How often a byte stands in code and prose, roughly: of 200.
fn weigh_byte(byte: u8) -> u32 {
    match byte {
        b' ' => 40,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 9,
        b'a'..=b'z' | b'\\' | b'"' => 3,
        b'.' | b',' | b'_' | b'-' | b'(' | b')' | b'=' | b':' | b'/' | b'0'..=b'9' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{MARKS, Texts};

    #[test]
    fn every_text_is_told_of_where_it_stands() {
        let texts = Texts::new(&[]);
        for (text, mark) in MARKS {
            let around = format!("..{text}..");
            let mut told = Vec::new();
            for at in 0..around.len() {
                texts.at(around.as_bytes(), at, |mark, place| told.push((mark, place)));
            }
            assert!(told.contains(&(mark, 2..2 + text.len())), "{text}: {told:?}");
        }
    }
}
