//! A conversation, from all its exchanges.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context, Result, bail};
use archive::read::{Found, Reader};
use archive::record::Record;
use archive::segment::day_of;

use super::filter::Filter;
use super::{Tell, days, each_of_day, of_day};
use crate::admin::transcript::Transcript;
use crate::admin::transcript::builder::{Builder, Passed};

/// So many letters of an id name a conversation, at least.
const PREFIX: usize = 8;

/// The conversation with this session's, thread's or connection's id, or the beginning of it, or
/// in which the exchange with this id passed. Only what passes the filter is in it.
pub async fn session(
    reader: &Reader,
    id: &str,
    filter: &Filter,
    tell: Tell<'_>,
) -> Result<Transcript> {
    let (name, mut all) = match reader.find(id).await? {
        Some(found) => match conversation(&found.record) {
            Some(name) => named(reader, name, filter, tell).await?,
            None => (id.to_owned(), chain(reader, found, filter, tell).await?),
        },
        None => named(reader, id, filter, tell).await?,
    };
    all.sort_by(|one, other| {
        (one.record.time, &one.record.id).cmp(&(other.record.time, &other.record.id))
    });
    let mut builder = Builder::new(name);
    for (number, found) in all.iter().enumerate() {
        tell(&format_args!("reading exchange {} of {}", number + 1, all.len()));
        let exchange = reader.exchange(found).await;
        let exchange = exchange.with_context(|| format!("reading exchange {}", found.record.id))?;
        builder.add(Passed {
            record: &found.record,
            request: &exchange.request_body,
            response: &exchange.response_body,
        });
    }
    builder.end().with_context(|| none(id))
}

/// The exchanges that name a conversation, and its whole name.
async fn named(
    reader: &Reader,
    asked: &str,
    filter: &Filter,
    tell: Tell<'_>,
) -> Result<(String, Vec<Found>)> {
    let mut passed = Collected::new(asked);
    let view = reader.view()?;
    for day in days(&view, filter).await? {
        each_of_day(reader, &view, (day, filter), &mut |found| passed.take(found)).await?;
        tell(&format_args!("{day}: {} exchanges found", passed.found.len()));
    }
    Ok((passed.name()?, passed.found))
}

/// The exchanges of a conversation that has no name, by the answers that they go on from.
async fn chain(
    reader: &Reader,
    found: Found,
    filter: &Filter,
    tell: Tell<'_>,
) -> Result<Vec<Found>> {
    let view = reader.view()?;
    let days = days(&view, filter).await?;
    let (day, key) = (day_of(found.record.time), found.record.key_id.clone());
    let mut before = found.record.previous_response_id.clone();
    let mut answers: HashSet<String> = found.record.response_id.clone().into_iter().collect();
    let mut all = vec![found];
    for day in days.iter().filter(|earlier| **earlier <= day) {
        if before.is_none() {
            break;
        }
        tell(&format_args!("{day}: {} exchanges found", all.len()));
        for found in of_day(reader, &view, (*day, filter), usize::MAX).await? {
            if before.is_some() && found.record.response_id == before && found.record.key_id == key
            {
                before.clone_from(&found.record.previous_response_id);
                all.push(found);
            }
        }
    }
    for day in days.iter().rev().filter(|later| **later >= day) {
        tell(&format_args!("{day}: {} exchanges found", all.len()));
        for found in of_day(reader, &view, (*day, filter), usize::MAX).await?.into_iter().rev() {
            let record = &found.record;
            let goes_on =
                record.previous_response_id.as_ref().is_some_and(|id| answers.contains(id));
            if goes_on && record.key_id == key {
                answers.extend(record.response_id.clone());
                all.push(found);
            }
        }
    }
    Ok(all)
}

/// What a conversation is called by the exchanges of it.
fn conversation(record: &Record) -> Option<&str> {
    let names = [&record.session_id, &record.thread_id, &record.connection_id];
    names.into_iter().find_map(Option::as_deref)
}

fn none(id: &str) -> String {
    format!(
        "no conversation has the id {id}: `codex-proxy audit list --format json` has session_id \
         and thread_id of each exchange"
    )
}

/// What was found of a conversation.
struct Collected<'a> {
    asked: &'a str,
    /// The whole ids that what was asked may mean.
    names: BTreeSet<String>,
    found: Vec<Found>,
}

impl<'a> Collected<'a> {
    fn new(asked: &'a str) -> Self {
        Self { asked, names: BTreeSet::new(), found: Vec::new() }
    }

    fn take(&mut self, found: Found) {
        let record = &found.record;
        let ids = [
            &record.session_id,
            &record.thread_id,
            &record.parent_thread_id,
            &record.connection_id,
        ];
        let named = ids.into_iter().flatten().find(|id| self.means(id));
        let alone = (record.id == self.asked).then_some(&record.id);
        if let Some(name) = named.or(alone) {
            self.names.insert(name.clone());
            self.found.push(found);
        }
    }

    fn means(&self, id: &str) -> bool {
        id == self.asked || self.asked.len() >= PREFIX && id.starts_with(self.asked)
    }

    /// The one conversation that is meant.
    fn name(&self) -> Result<String> {
        let asked = self.asked;
        if self.names.contains(asked) {
            return Ok(asked.to_owned());
        }
        match self.names.iter().next() {
            Some(name) if self.names.len() == 1 => Ok(name.clone()),
            Some(_) => {
                let some: Vec<&str> = self.names.iter().take(5).map(String::as_str).collect();
                let many = self.names.len();
                bail!(
                    "{many} conversations begin with {asked}: {}: write more of it",
                    some.join(", ")
                )
            }
            None => bail!(none(asked)),
        }
    }
}
