//! Reads a price table, and finds everything that is wrong with it.

use std::ops::Range;

use jiff::civil::Date;
use toml_edit::{Document, Item, TableLike};
use wildmatch::WildMatch;

use super::rates::MILLION;
use super::{Discount, Origin, PriceError, PriceTable, Rates, Row};

/// A million dollars per million tokens; keeps every sum within its integer.
const HIGHEST_DOLLARS: u64 = 1_000_000;
const RATES: &[&str] = &[
    "input",
    "cached_input",
    "cache_write",
    "output",
    "image_input",
    "audio_input",
    "image_output",
    "audio_output",
];
const OTHERS: &[&str] = &[
    "model",
    "from",
    "source",
    "read",
    "long",
    "flex",
    "priority",
    "batch",
    "context_window",
    "max_output_tokens",
    "web_search",
    "audio_second",
];
const OF_DISCOUNT: &[&str] = &["models", "from", "percent"];
/// Pico-dollars of a dollar, beyond the millionths that rates are written in.
const UNIT: u64 = 1_000_000;

/// What lies below a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The built-in one.
    Builtin,
    /// Nothing.
    Nothing,
}

/// A table as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) table: PriceTable,
    pub(super) over: Over,
}

/// Reads a table.
pub(super) fn table(toml: &str, origin: Origin) -> Result<Read, PriceError> {
    let mut reader = Reader { toml, origin, problems: Vec::new() };
    let read = reader.table(toml);
    if reader.problems.is_empty() {
        return Ok(read);
    }
    Err(PriceError { problems: reader.problems })
}

struct Reader<'a> {
    toml: &'a str,
    origin: Origin,
    problems: Vec<String>,
}

/// A table of the file, with its place for what is missing in it.
#[derive(Clone, Copy)]
struct Entry<'a> {
    table: &'a dyn TableLike,
    line: usize,
}

impl Reader<'_> {
    fn table(&mut self, toml: &str) -> Read {
        let table = PriceTable { rows: Vec::new(), discounts: Vec::new() };
        let mut read = Read { table, over: Over::Builtin };
        let document = match Document::parse(toml) {
            Ok(document) => document,
            Err(error) => {
                let line = self.line(error.span());
                self.problem(line, error.message().trim());
                return read;
            }
        };
        for (key, item) in document.iter() {
            match (key, item.as_array_of_tables(), item.as_bool()) {
                ("price", Some(prices), _) => {
                    for price in prices {
                        let entry = Entry { table: price, line: self.line(price.span()) };
                        self.add_row(entry, &mut read.table.rows);
                    }
                }
                ("discount", Some(discounts), _) => {
                    for discount in discounts {
                        let entry = Entry { table: discount, line: self.line(discount.span()) };
                        read.table.discounts.extend(self.discount(entry));
                    }
                }
                ("builtin", _, Some(true)) => read.over = Over::Builtin,
                ("builtin", _, Some(false)) => read.over = Over::Nothing,
                _ => {
                    let line = self.line(item.span());
                    let what = "is unknown: rows are [[price]] and [[discount]], and `builtin` is true or false";
                    self.problem(line, &format!("`{key}` {what}"));
                }
            }
        }
        read
    }

    fn discount(&mut self, entry: Entry<'_>) -> Option<Discount> {
        self.refuse_unknown(entry, &[OF_DISCOUNT]);
        let models = self.text(entry, "models");
        let from = self.date(entry, "from");
        let percent = self.required(entry, "percent").and_then(|item| {
            // A percent is ten thousand millionths; `picos` counts in millionths.
            let percent = item.as_str().and_then(picos).filter(|one| *one <= 100_000_000);
            self.wanted(percent, item, "percent", "is no share such as \"12.5\", in quotes")
        });
        let millionths = u32::try_from(percent? / 100).unwrap_or(MILLION);
        let models = models?;
        Some(Discount { pattern: WildMatch::new(&models), models, from: from?, millionths })
    }

    fn add_row(&mut self, entry: Entry<'_>, rows: &mut Vec<Row>) {
        let Some(row) = self.row(entry) else { return };
        if rows.iter().any(|known| known.model == row.model && known.from == row.from) {
            let (model, from) = (&row.model, row.from);
            self.problem(entry.line, &format!("`{model}` has a row from {from} already"));
        }
        rows.push(row);
    }

    fn row(&mut self, entry: Entry<'_>) -> Option<Row> {
        self.refuse_unknown(entry, &[RATES, OTHERS]);
        let model = self.text(entry, "model");
        let from = self.date(entry, "from");
        let source = self.text(entry, "source");
        let standard = self.rates(entry);
        let row = Row {
            read: entry.table.get("read").and_then(|_| self.date(entry, "read")),
            long: self.tier(entry, "long"),
            flex: self.tier(entry, "flex"),
            priority: self.tier(entry, "priority"),
            batch: self.tier(entry, "batch"),
            web_search_picos: self.unit(entry, "web_search"),
            audio_second_picos: self.unit(entry, "audio_second"),
            origin: self.origin,
            context_window: self.count(entry, "context_window"),
            max_output_tokens: self.count(entry, "max_output_tokens"),
            pattern: pattern(model.as_deref().unwrap_or_default()),
            model: model?,
            from: from?,
            source: source?,
            standard: standard?,
        };
        Some(row)
    }

    fn refuse_unknown(&mut self, entry: Entry<'_>, known: &[&[&str]]) {
        for (key, item) in entry.table.iter() {
            if !known.iter().any(|keys| keys.contains(&key)) {
                let line = self.line(item.span());
                self.problem(line, &format!("`{key}` is unknown"));
            }
        }
    }

    fn tier(&mut self, entry: Entry<'_>, key: &str) -> Option<Rates> {
        let item = entry.table.get(key)?;
        let line = self.line(item.span());
        let Some(table) = item.as_table_like() else {
            self.problem(line, &format!("`{key}` is no table of rates"));
            return None;
        };
        let tier = Entry { table, line };
        self.refuse_unknown(tier, &[RATES]);
        self.rates(tier)
    }

    fn rates(&mut self, entry: Entry<'_>) -> Option<Rates> {
        let input = self.required(entry, "input").and_then(|item| self.rate(item, "input"));
        let output = self.required(entry, "output").and_then(|item| self.rate(item, "output"));
        let optional = |reader: &mut Self, key| reader.rate(entry.table.get(key)?, key);
        let cached_input_picos = optional(self, "cached_input");
        let cache_write_picos = optional(self, "cache_write");
        let image_input_picos = optional(self, "image_input");
        let audio_input_picos = optional(self, "audio_input");
        let image_output_picos = optional(self, "image_output");
        let audio_output_picos = optional(self, "audio_output");
        Some(Rates {
            input_picos: input?,
            cached_input_picos,
            cache_write_picos,
            output_picos: output?,
            image_input_picos,
            audio_input_picos,
            image_output_picos,
            audio_output_picos,
        })
    }

    /// What one of something costs, US dollars.
    fn unit(&mut self, entry: Entry<'_>, key: &str) -> Option<u64> {
        let item = entry.table.get(key)?;
        let price = item.as_str().and_then(picos).map(|millionths| millionths.saturating_mul(UNIT));
        self.wanted(price, item, key, "is no price such as \"0.01\": USD each, in quotes")
    }

    fn rate(&mut self, item: &Item, key: &str) -> Option<u64> {
        let rate = item.as_str().and_then(picos);
        self.wanted(
            rate,
            item,
            key,
            "is no rate such as \"2.5\": USD per million tokens, in quotes",
        )
    }

    fn text(&mut self, entry: Entry<'_>, key: &str) -> Option<String> {
        let item = self.required(entry, key)?;
        let text = item.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.wanted(text, item, key, "is no text")
    }

    fn date(&mut self, entry: Entry<'_>, key: &str) -> Option<Date> {
        let item = self.required(entry, key)?;
        let date = item.as_str().and_then(|text| text.parse().ok());
        self.wanted(date, item, key, "is no date such as \"2026-01-31\", in quotes")
    }

    fn count(&mut self, entry: Entry<'_>, key: &str) -> Option<u64> {
        let item = entry.table.get(key)?;
        let count = item.as_integer().and_then(|count| u64::try_from(count).ok());
        self.wanted(count, item, key, "is no number of tokens")
    }

    fn required<'a>(&mut self, entry: Entry<'a>, key: &str) -> Option<&'a Item> {
        let item = entry.table.get(key);
        if item.is_none() {
            self.problem(entry.line, &format!("`{key}` is missing"));
        }
        item
    }

    fn wanted<T>(
        &mut self,
        found: Option<T>,
        item: &Item,
        key: &str,
        complaint: &str,
    ) -> Option<T> {
        if found.is_none() {
            let line = self.line(item.span());
            self.problem(line, &format!("`{key}` {complaint}"));
        }
        found
    }

    fn problem(&mut self, line: usize, what: &str) {
        self.problems.push(format!("line {line}: {what}"));
    }

    fn line(&self, span: Option<Range<usize>>) -> usize {
        let before = self.toml.get(..span.map_or(0, |span| span.start)).unwrap_or(self.toml);
        before.matches('\n').count() + 1
    }
}

fn pattern(model: &str) -> Option<WildMatch> {
    model.contains(['*', '?']).then(|| WildMatch::new(model))
}

/// Dollars per million tokens, exactly, as pico-dollars a token.
fn picos(decimal: &str) -> Option<u64> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let whole = whole.parse().ok().filter(|dollars: &u64| *dollars <= HIGHEST_DOLLARS)?;
    let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
    Some(whole * 1_000_000 + fraction)
}
