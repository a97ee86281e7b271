//! What was found, by person and rule.

use std::collections::BTreeMap;

use archive::record::Record;
use archive::segment::day_of;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// What one rule has found of one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Who sent it.
    pub user: String,
    /// Which rule.
    pub rule: String,
    /// How sure it is.
    pub tier: String,
    /// In how many places.
    pub count: u64,
    /// Of how many exchanges: those that brought it into their conversations.
    pub exchanges: u64,
    /// When the first of them began (UTC).
    pub first_day: Date,
    /// And the last.
    pub last_day: Date,
    /// The first of them.
    pub first_exchange: String,
}

/// Counts what is found.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    rows: BTreeMap<(String, String), Counted>,
}

#[derive(Debug, Clone)]
struct Counted {
    row: Row,
    /// The exchange that was counted last: all that is found of one comes together.
    last: String,
}

impl Tally {
    /// Counts something that a rule of this tier has found in an exchange.
    pub fn note(&mut self, record: &Record, (rule, tier): (&str, &str)) {
        let day = day_of(record.time);
        let place = self.rows.entry((record.user.clone(), rule.to_owned()));
        let counted = place.or_insert_with(|| Counted {
            row: Row {
                user: record.user.clone(),
                rule: rule.to_owned(),
                tier: tier.to_owned(),
                count: 0,
                exchanges: 0,
                first_day: day,
                last_day: day,
                first_exchange: record.id.clone(),
            },
            last: String::new(),
        });
        counted.row.count += 1;
        if counted.last != record.id {
            counted.row.exchanges += 1;
            counted.last.clone_from(&record.id);
        }
        counted.row.spread(day, day, &record.id);
    }

    /// Adds what was found in other exchanges.
    pub fn add(&mut self, other: Self) {
        other.into_rows().for_each(|row| self.add_row(row));
    }

    /// Adds one row of it.
    pub fn add_row(&mut self, other: Row) {
        let key = (other.user.clone(), other.rule.clone());
        let Some(Counted { row, .. }) = self.rows.get_mut(&key) else {
            self.rows.insert(key, Counted { row: other, last: String::new() });
            return;
        };
        row.count += other.count;
        row.exchanges += other.exchanges;
        row.spread(other.first_day, other.last_day, &other.first_exchange);
    }

    /// Everything, by person and rule.
    pub fn into_rows(self) -> impl Iterator<Item = Row> {
        self.rows.into_values().map(|counted| counted.row)
    }

    /// In how many places something was found.
    pub fn count(&self) -> u64 {
        self.rows.values().map(|counted| counted.row.count).sum()
    }
}

impl Row {
    /// Also in exchanges of these days. Ids are `UUIDv7`: the least is the first.
    fn spread(&mut self, first: Date, last: Date, exchange: &str) {
        self.first_day = self.first_day.min(first);
        self.last_day = self.last_day.max(last);
        if *exchange < *self.first_exchange {
            exchange.clone_into(&mut self.first_exchange);
        }
    }
}

#[cfg(test)]
mod tests {
    use archive::record::Record;
    use jiff::civil::date;

    use super::{Row, Tally};

    fn record(id: &str, day: &str, user: &str) -> Record {
        let time = format!("{day}T10:00:00Z").parse().unwrap();
        Record { user: user.to_owned(), ..Record::blank(id.to_owned(), time, "n") }
    }

    fn row(user: &str, count: u64, exchanges: u64, days: (i8, i8), first: &str) -> Row {
        Row {
            user: user.to_owned(),
            rule: "github-pat".to_owned(),
            tier: "certain".to_owned(),
            count,
            exchanges,
            first_day: date(2026, 11, days.0),
            last_day: date(2026, 11, days.1),
            first_exchange: first.to_owned(),
        }
    }

    #[test]
    fn what_a_rule_finds_of_a_person_is_one_row() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        let found = ("github-pat", "certain");
        one.note(&record("2", "2026-11-03", "ada"), found);
        one.note(&record("2", "2026-11-03", "ada"), found);
        one.note(&record("3", "2026-11-04", "ada"), found);
        one.note(&record("4", "2026-11-04", "bob"), found);
        other.note(&record("1", "2026-11-02", "ada"), found);
        one.add(other);
        assert_eq!(one.count(), 5);
        let rows: Vec<Row> = one.into_rows().collect();
        assert_eq!(rows, [row("ada", 4, 3, (2, 4), "1"), row("bob", 1, 1, (4, 4), "4")]);
    }
}
