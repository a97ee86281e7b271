//! A conversation, from all its exchanges.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use archive::read::{Found, Reader};
use archive::record::Record;

use super::filter::Filter;
use super::{Tell, days, each_of_day};
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
    let asked = match reader.find(id).await? {
        Some(found) => conversation(&found.record).unwrap_or(id).to_owned(),
        None => id.to_owned(),
    };
    let mut passed = Collected::new(&asked);
    let view = reader.view()?;
    for day in days(&view, filter).await? {
        each_of_day(reader, &view, (day, filter), &mut |found| passed.take(found)).await?;
        tell(&format_args!("{day}: {} exchanges found", passed.found.len()));
    }
    let session = passed.name()?;
    let mut all = passed.found;
    all.sort_by(|one, other| {
        (one.record.time, &one.record.id).cmp(&(other.record.time, &other.record.id))
    });
    let mut builder = Builder::new(session);
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
