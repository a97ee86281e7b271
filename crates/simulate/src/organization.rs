//! What an organisation's administrators ask: usage and costs, in buckets of a day.
//!
//! As <https://platform.openai.com/docs/api-reference/usage> has it: `usage/completions`,
//! `usage/embeddings` and `costs`, grouped and filtered by what the query names, page by page.

use std::collections::BTreeMap;

use http::StatusCode;

use crate::bill::Billed;
use crate::json::{Json, Object};
use crate::problem::Problem;
use crate::tariff::charges;

/// What administrators show begins so.
const ADMIN: &str = "sk-admin-";
/// The project of all keys.
const PROJECT: &str = "proj_simulated";
/// Seconds of a bucket.
const DAY: u64 = 24 * 60 * 60;

/// A look-up below `/organization/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Organization {
    /// `GET usage/completions`
    Completions,
    /// `GET usage/embeddings`
    Embeddings,
    /// `GET costs`
    Costs,
}

/// An exchange and when it was billed, seconds since 1970.
pub(crate) type Timed = (u64, Billed);

/// What one group of a bucket adds up to.
#[derive(Default)]
struct Sums {
    input: u64,
    cached: u64,
    output: u64,
    requests: u64,
    femtos: u128,
}

/// The values of what is grouped by; none: it is not.
type Names = [Option<String>; 4];

/// What is grouped by, in the order of [`Names`].
const GROUPS: [&str; 4] = ["project_id", "api_key_id", "model", "line_item"];

impl Organization {
    /// Reads the end of a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (_, below) = path.split_once("/organization/")?;
        match below {
            "usage/completions" => Some(Self::Completions),
            "usage/embeddings" => Some(Self::Embeddings),
            "costs" => Some(Self::Costs),
            _ => None,
        }
    }

    /// A page of it.
    pub(crate) fn answer(self, bearer: &str, query: &str, bill: &[Timed]) -> Result<Json, Problem> {
        if !bearer.starts_with(ADMIN) {
            return Err(Problem::unauthorized(bearer));
        }
        let query = Query(query);
        let from = query.number("start_time")?.ok_or(Problem::missing("start_time"))?;
        if query.one("bucket_width").is_some_and(|width| width != "1d") {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "Only buckets of 1d are simulated."));
        }
        let limit = query.number("limit")?.unwrap_or(7).clamp(1, self.most());
        let first = query.number("page")?.unwrap_or(from / DAY * DAY);
        let end = query.number("end_time")?.unwrap_or(u64::MAX);
        let last = bill.iter().map(|(time, _)| *time).max().unwrap_or(from);
        let beyond = end.min(last / DAY * DAY + DAY).max(first);
        let begins: Vec<u64> = (0..limit).map(|number| first + number * DAY).collect();
        let begins = begins.into_iter().filter(|begin| *begin < beyond);
        let buckets: Vec<Json> =
            begins.map(|begin| self.bucket(begin, (&query, from, end), bill)).collect();
        let next = first + limit * DAY;
        let has_more = next < beyond;
        Ok(Object::new()
            .with("object", "page")
            .json("data", &Json::list(buckets))
            .with("has_more", has_more)
            .with("next_page", has_more.then(|| next.to_string()))
            .done())
    }

    /// The most buckets of a page.
    fn most(self) -> u64 {
        match self {
            Self::Completions | Self::Embeddings => 31,
            Self::Costs => 180,
        }
    }

    fn bucket(
        self,
        begin: u64,
        (query, from, end): (&Query<'_>, u64, u64),
        bill: &[Timed],
    ) -> Json {
        let day = begin.max(from)..(begin + DAY).min(end);
        let mut groups: BTreeMap<Names, Sums> = BTreeMap::new();
        for (_, billed) in bill.iter().filter(|(time, _)| day.contains(time)) {
            let key = format!("key_{}", billed.bearer_suffix);
            let is_asked = query.allows("project_ids", PROJECT)
                && query.allows("api_key_ids", &key)
                && query.allows("models", &billed.model);
            if is_asked {
                self.count(billed, &key, query, &mut groups);
            }
        }
        let results = groups.into_iter().map(|(names, sums)| self.result(names, &sums));
        Object::new()
            .with("object", "bucket")
            .with("start_time", begin)
            .with("end_time", begin + DAY)
            .json("results", &Json::list(results))
            .done()
    }

    fn count(
        self,
        billed: &Billed,
        key: &str,
        query: &Query<'_>,
        groups: &mut BTreeMap<Names, Sums>,
    ) {
        let is_embedding = billed.endpoint == "embeddings";
        let value_of = |name: &str, value: &str| query.groups(name).then(|| value.to_owned());
        let names = |item: &str| {
            let values = [PROJECT, key, &billed.model, item];
            let mut all = Names::default();
            for ((name, group), value) in all.iter_mut().zip(GROUPS).zip(values) {
                *name = value_of(group, value);
            }
            all
        };
        if self == Self::Costs {
            for charge in charges(billed) {
                let item = format!("{}, {}", billed.model, charge.class);
                groups.entry(names(&item)).or_default().femtos += charge.femtos;
            }
        } else if is_embedding == (self == Self::Embeddings) && billed.status == 200 {
            let sums = groups.entry(names("")).or_default();
            sums.input += billed.input_tokens;
            sums.cached += billed.cached_input_tokens;
            sums.output += billed.output_tokens;
            sums.requests += 1;
        }
    }

    fn result(self, [project, key, model, item]: Names, sums: &Sums) -> Json {
        if self == Self::Costs {
            let amount = Object::new()
                .json("value", &Json::made(decimal(sums.femtos)))
                .with("currency", "usd")
                .done();
            return Object::new()
                .with("object", "organization.costs.result")
                .json("amount", &amount)
                .with("line_item", item)
                .with("project_id", project)
                .done();
        }
        let kind = if self == Self::Completions { "completions" } else { "embeddings" };
        let object = Object::new()
            .with("object", format!("organization.usage.{kind}.result"))
            .with("input_tokens", sums.input)
            .with("num_model_requests", sums.requests)
            .with("project_id", project)
            .with("user_id", None::<&str>)
            .with("api_key_id", key)
            .with("model", model);
        if self == Self::Embeddings {
            return object.done();
        }
        object
            .with("output_tokens", sums.output)
            .with("input_cached_tokens", sums.cached)
            .with("input_audio_tokens", 0)
            .with("output_audio_tokens", 0)
            .with("batch", None::<bool>)
            .with("service_tier", None::<&str>)
            .done()
    }
}

/// Dollars of millionths of nano-dollars, as a JSON number.
fn decimal(femtos: u128) -> String {
    const DOLLAR: u128 = 1_000_000_000_000_000;
    format!("{}.{:015}", femtos / DOLLAR, femtos % DOLLAR)
}

/// The query of an address; a name may stand in it several times, also as `NAME[]`.
struct Query<'q>(&'q str);

impl<'q> Query<'q> {
    fn all(&self, name: &'q str) -> impl Iterator<Item = &'q str> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter_map(move |(known, value)| {
            let known = known.trim_end_matches("[]").trim_end_matches("%5B%5D");
            (known == name).then_some(value)
        })
    }

    fn one(&self, name: &'q str) -> Option<&'q str> {
        self.all(name).last()
    }

    fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let number = self.one(name).map(str::parse).transpose();
        number.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, format!("'{name}' is no number.")))
    }

    /// Whether a value is among those that are asked for, if any are.
    fn allows(&self, name: &'q str, value: &str) -> bool {
        let mut wanted = self.all(name).flat_map(|values| values.split(',')).peekable();
        wanted.peek().is_none() || wanted.any(|one| one == value)
    }

    fn groups(&self, name: &str) -> bool {
        self.all("group_by").flat_map(|values| values.split(',')).any(|one| one == name)
    }
}
