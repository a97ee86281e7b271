//! What an exchange costs, exactly: rates in pico-dollars a token, costs in nano-dollars.

mod parse;
mod rates;
#[cfg(test)]
mod tests;

use jiff::civil::Date;
use wildmatch::WildMatch;

use crate::usage::Usage;

pub use rates::Rates;

/// What is wrong with a price table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the price table is wrong: {}", problems.join("; "))]
pub struct PriceError {
    /// Every problem, with its line.
    pub problems: Vec<String>,
}

/// The prices in force, by model and day.
#[derive(Debug, Clone)]
pub struct PriceTable {
    rows: Vec<Row>,
    discounts: Vec<Discount>,
}

/// Something off all prices of some models, from a day on.
#[derive(Debug, Clone)]
pub struct Discount {
    /// Pattern of the models.
    pub models: String,
    /// Its first day.
    pub from: Date,
    /// How much, in millionths.
    pub millionths: u32,
    pattern: WildMatch,
}

/// Whose a row is; an operator's own goes before one that comes with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// It comes with the program.
    Builtin,
    /// The operator's own.
    Own,
}

/// The prices of one model from a day on.
#[derive(Debug, Clone)]
pub struct Row {
    /// The model's name, or a pattern with `*` and `?`.
    pub model: String,
    /// The first day of these prices.
    pub from: Date,
    /// Where the figures were read.
    pub source: String,
    /// When they were read.
    pub read: Option<Date>,
    /// The standard tier.
    pub standard: Rates,
    /// The standard tier above 272,000 input tokens.
    pub long: Option<Rates>,
    /// The flex tier.
    pub flex: Option<Rates>,
    /// The priority tier.
    pub priority: Option<Rates>,
    /// The batch tier.
    pub batch: Option<Rates>,
    /// A search of the web by the upstream, pico-dollars.
    pub web_search_picos: Option<u64>,
    /// A second of sound, pico-dollars, where that is what is charged.
    pub audio_second_picos: Option<u64>,
    /// Whose the row is.
    pub origin: Origin,
    /// The most input tokens the model takes.
    pub context_window: Option<u64>,
    /// The most output tokens it gives.
    pub max_output_tokens: Option<u64>,
    pattern: Option<WildMatch>,
}

/// What an exchange costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Nano-dollars: a thousand millionth of a US dollar.
    pub nanos: u64,
}

/// How closely a row's name fits a model; the closer wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// By a pattern of so many bytes.
    Pattern(usize),
    /// As the name of which the model is a dated snapshot.
    Snapshot,
    Exact,
}

/// Above so many input tokens the whole request is at the long rates.
const LONG_ABOVE_TOKENS: u64 = 272_000;

impl PriceTable {
    /// The table that comes with the program.
    #[expect(clippy::missing_panics_doc, reason = "a test parses the built-in table")]
    pub fn builtin() -> Self {
        let read = parse::table(include_str!("prices.toml"), Origin::Builtin);
        read.expect("the built-in table parses: a test does so").table
    }

    /// Reads an operator's table from TOML: one `[[price]]` a row, rates as strings in USD per
    /// million tokens. It lies over the built-in one, unless it says `builtin = false`.
    pub fn parse(toml: &str) -> Result<Self, PriceError> {
        let read = parse::table(toml, Origin::Own)?;
        let mut table = read.table;
        if read.over == parse::Over::Builtin {
            table.rows.extend(Self::builtin().rows);
        }
        Ok(table)
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row in force for a model on a day: the operator's own first, of those the one with the
    /// closest name, and of that the newest.
    pub fn row(&self, model: &str, day: Date) -> Option<&Row> {
        let name = snapshot_of(model);
        let fitting = self.rows.iter().filter_map(|row| Some((row.fit(model, name)?, row)));
        let fitting = fitting.filter(|(_, row)| row.from <= day);
        fitting.max_by_key(|(fit, row)| (row.origin, *fit, row.from)).map(|(_, row)| row)
    }

    /// What an exchange costs; nothing if the model or the tier has no price, which is not zero.
    pub fn cost(&self, model: &str, tier: Option<&str>, day: Date, usage: &Usage) -> Option<Cost> {
        let row = self.row(model, day)?;
        let off = self.discount(model, day);
        let tokens = row.rates(tier, usage.input_tokens)?.less(off).picos(usage);
        let units = row.units(usage, off)?;
        Some(Cost { nanos: to_nanos(tokens.saturating_add(units)) })
    }

    /// How much is off a model's prices on a day, in millionths: by the longest pattern that fits,
    /// and of that the newest.
    pub fn discount(&self, model: &str, day: Date) -> u32 {
        let fitting =
            self.discounts.iter().filter(|one| one.from <= day && one.pattern.matches(model));
        let closest = fitting.max_by_key(|one| (one.models.len(), one.from));
        closest.map_or(0, |one| one.millionths)
    }
}

impl Row {
    /// How closely it fits a model, and the name of which that is a dated snapshot.
    fn fit(&self, model: &str, name: Option<&str>) -> Option<Fit> {
        if self.model == model {
            return Some(Fit::Exact);
        }
        if name == Some(self.model.as_str()) {
            return Some(Fit::Snapshot);
        }
        let pattern = self.pattern.as_ref()?;
        pattern.matches(model).then_some(Fit::Pattern(self.model.len()))
    }

    /// What is charged by other units than tokens; nothing where such a unit has no price.
    fn units(&self, usage: &Usage, off: u32) -> Option<u128> {
        let charge = |count: u64, price: Option<u64>| match (count, price) {
            (0, _) => Some(0),
            (count, price) => Some(u128::from(count) * u128::from(rates::less(price?, off))),
        };
        let searches = charge(usage.other.web_searches, self.web_search_picos)?;
        let sound = charge(usage.other.audio_ms, self.audio_second_picos)? / 1000;
        Some(searches.saturating_add(sound))
    }

    /// What so many tokens cost at most, each in its dearest class, and fewer of them too; nothing if
    /// the tier has no price.
    pub(crate) fn dearest(&self, tier: Option<&str>, input: u64, output: u64) -> Option<Cost> {
        // Long rates may be lower than short ones: then fewer tokens cost more.
        let counts = [input, input.min(LONG_ABOVE_TOKENS)];
        let costs = counts.map(|input| Some(self.rates(tier, input)?.dearest_picos(input, output)));
        let picos = costs.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()?;
        Some(Cost { nanos: to_nanos(picos.saturating_add(499)) })
    }

    /// The rates of a request with so many input tokens in a tier, if the tier has a price.
    fn rates(&self, tier: Option<&str>, input_tokens: u64) -> Option<Rates> {
        let tier = match tier {
            None | Some("auto" | "default" | "standard") => &self.standard,
            Some("flex") => self.flex.as_ref()?,
            Some("priority") => self.priority.as_ref()?,
            Some("batch") => self.batch.as_ref()?,
            Some(_) => return None,
        };
        let tier = tier.completed(&self.standard);
        match &self.long {
            Some(long) if input_tokens > LONG_ABOVE_TOKENS => {
                Some(tier.raised(&self.standard, long))
            }
            _ => Some(tier),
        }
    }
}

/// The name of which a model is a dated snapshot: `gpt-5.5` of `gpt-5.5-2026-04-23`.
fn snapshot_of(model: &str) -> Option<&str> {
    const SHAPE: &str = "-0000-00-00";
    let (name, date) = model.split_at_checked(model.len().checked_sub(SHAPE.len())?)?;
    let fits = |(letter, shape): (u8, u8)| match shape {
        b'0' => letter.is_ascii_digit(),
        _ => letter == shape,
    };
    (!name.is_empty() && date.bytes().zip(SHAPE.bytes()).all(fits)).then_some(name)
}

/// Rounds half up; the one place where a cost is rounded.
fn to_nanos(picos: u128) -> u64 {
    u64::try_from(picos.saturating_add(500) / 1000).unwrap_or(u64::MAX)
}

/// Pico-dollars a token as a decimal number of US dollars per million tokens.
pub fn per_million(picos: u64) -> String {
    let text = format!("{}.{:06}", picos / 1_000_000, picos % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Nano-dollars as a decimal number of US dollars: exact, with four to nine decimals.
pub fn usd(nanos: u64) -> String {
    let (dollars, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let mut text = format!("{dollars}.{nanos:09}");
    let least = text.len() - 5;
    text.truncate(text.trim_end_matches('0').len().max(least));
    text
}

/// Nano-dollars of a decimal text as records hold it.
pub fn nanos(usd: &str) -> u64 {
    let (whole, fraction) = usd.split_once('.').unwrap_or((usd, ""));
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    number(whole).saturating_mul(1_000_000_000).saturating_add(number(&fraction))
}
