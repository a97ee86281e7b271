//! What the provider counts: `OpenAI`'s Usage and Costs APIs
//! (<https://platform.openai.com/docs/api-reference/usage>).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use archive::segment::day_of;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use redact::secret::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::admin::https::{Https, client};
use crate::config::reconcile::Reconcile;

/// For one page.
const PATIENCE: Duration = Duration::from_mins(1);
/// More than this no page has.
const MOST: usize = 64 << 20;
/// Pages of one question: more than ten years of days.
const PAGES: usize = 200;

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// UTC.
    pub day: Date,
    /// The model.
    pub model: String,
    /// The project, where it is told.
    pub project: Option<String>,
    /// The key's id, where it is told.
    pub key: Option<String>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests.
    pub requests: u64,
    /// Input tokens, with cached ones.
    pub input: u64,
    /// Of them, those from the cache.
    pub cached: u64,
    /// Output tokens.
    pub output: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            input: self.input + other.input,
            cached: self.cached + other.cached,
            output: self.output + other.output,
        }
    }
}

/// What the provider counts in some days.
#[derive(Debug, Default)]
pub struct Theirs {
    /// Tokens.
    pub usage: BTreeMap<Key, Usage>,
    /// Nano-dollars by day and model.
    pub costs: BTreeMap<(Date, String), u64>,
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<Bucket<T>>,
    #[serde(default)]
    has_more: bool,
    #[serde(rename = "next_page")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Bucket<T> {
    start_time: i64,
    #[serde(default = "Vec::new")]
    results: Vec<T>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    input_cached_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    num_model_requests: u64,
    project_id: Option<String>,
    api_key_id: Option<String>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Charged {
    amount: Amount,
    line_item: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    value: f64,
}

impl Theirs {
    /// Asks for these days, both inclusive.
    pub async fn fetch(
        config: &Reconcile,
        admin_key: &Secret<String>,
        (first, last): (Date, Date),
    ) -> Result<Self> {
        let begin = |day: Date| anyhow::Ok(day.to_zoned(TimeZone::UTC)?.timestamp().as_second());
        let next = last.checked_add(Span::new().days(1))?;
        let ask = Ask {
            client: client(config.url.scheme_str())?,
            config,
            admin_key,
            times: (begin(first)?, begin(next)?),
        };
        let mut theirs = Self { keys: config.keys.clone(), ..Self::default() };
        for path in ["usage/completions", "usage/embeddings"] {
            let groups = ["project_id", "api_key_id", "model"];
            for (day, counted) in ask.all::<Counted>(path, (31, &groups)).await? {
                theirs.count(day, counted);
            }
        }
        for (day, charged) in ask.all::<Charged>("costs", (180, &["line_item"])).await? {
            let nanos = nanos(charged.amount.value);
            // `gpt-5.5, cached input`; what is no model's stands by itself.
            let item = charged.line_item.unwrap_or_else(|| "not told".to_owned());
            let model = item.split(',').next().unwrap_or(&item).trim().to_owned();
            *theirs.costs.entry((day, model)).or_default() += nanos;
        }
        Ok(theirs)
    }

    /// Whether what is counted came with a key of this gateway.
    pub fn is_ours(&self, key: &Key) -> bool {
        let known = |id: &String| self.keys.contains(id);
        self.keys.is_empty() || key.key.as_ref().is_some_and(known)
    }

    fn count(&mut self, day: Date, counted: Counted) {
        let key = Key {
            day,
            model: counted.model.unwrap_or_else(|| "not told".to_owned()),
            project: counted.project_id,
            key: counted.api_key_id,
        };
        let usage = Usage {
            requests: counted.num_model_requests,
            input: counted.input_tokens,
            cached: counted.input_cached_tokens,
            output: counted.output_tokens,
        };
        let sum = self.usage.entry(key).or_default();
        *sum = sum.and(&usage);
    }
}

/// Nano-dollars of a number of dollars; what is refunded is none.
fn nanos(dollars: f64) -> u64 {
    let nanos = (dollars * 1e9).round().max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
    let nanos = nanos.min(9e18) as u64;
    nanos
}

/// A question about some days.
struct Ask<'a> {
    client: Https,
    config: &'a Reconcile,
    admin_key: &'a Secret<String>,
    /// Seconds since 1970, the second exclusive.
    times: (i64, i64),
}

impl Ask<'_> {
    /// All results, each with its day.
    async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        (limit, groups): (u32, &[&str]),
    ) -> Result<Vec<(Date, T)>> {
        let mut results = Vec::new();
        let mut next = None;
        for _ in 0..PAGES {
            let url = self.url(path, (limit, groups), next.as_deref())?;
            let page: Page<T> =
                self.page(url).await.with_context(|| format!("asking for {path}"))?;
            for bucket in page.data {
                let begins = Timestamp::from_second(bucket.start_time)?;
                let day = day_of(begins);
                results.extend(bucket.results.into_iter().map(|result| (day, result)));
            }
            next = page.next.filter(|_| page.has_more);
            if next.is_none() {
                return Ok(results);
            }
        }
        bail!("{path} does not end: it has more than {PAGES} pages")
    }

    fn url(&self, path: &str, (limit, groups): (u32, &[&str]), page: Option<&str>) -> Result<Uri> {
        let base = self.config.url.path().trim_end_matches('/');
        let (from, to) = self.times;
        let mut query = format!("start_time={from}&end_time={to}&bucket_width=1d&limit={limit}");
        let groups = groups.iter().map(|group| ("group_by", *group));
        let projects = self.config.projects.iter().map(|one| ("project_ids", one.as_str()));
        for (name, value) in groups.chain(projects).chain(page.map(|page| ("page", page))) {
            query.extend(["&", name, "=", value]);
        }
        let mut parts = self.config.url.clone().into_parts();
        parts.path_and_query = Some(format!("{base}/organization/{path}?{query}").parse()?);
        Ok(Uri::from_parts(parts)?)
    }

    async fn page<T: DeserializeOwned>(&self, url: Uri) -> Result<T> {
        let request = Request::get(url)
            .header(AUTHORIZATION, format!("Bearer {}", self.admin_key.expose()))
            .body(http_body_util::Empty::new())
            .context("the admin key is no header")?;
        let fetch = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MOST).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let late = || format!("no answer within {} s", PATIENCE.as_secs());
        let (status, body) = tokio::time::timeout(PATIENCE, fetch).await.with_context(late)??;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).context("reading what was answered"),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!(
                    "the key of reconcile.admin_key is not taken ({status}): it must be an administrator's"
                )
            }
            _ => bail!(
                "{status}: {}",
                String::from_utf8_lossy(&body).chars().take(300).collect::<String>()
            ),
        }
    }
}
