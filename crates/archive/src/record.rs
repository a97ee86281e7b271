//! The one line an exchange leaves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The answer passed whole, and it was no error.
    Complete,
    /// We answered instead of the upstream.
    Refused,
    /// The upstream answered an error, or the answer broke.
    Failed,
    /// The client left before the end.
    Cancelled,
}

impl Outcome {
    /// As it stands in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who brought the end about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The developer's side.
    Client,
    /// The `OpenAI` side.
    Upstream,
    /// This program.
    Proxy,
}

impl Source {
    /// As it stands in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

/// Whether what the client and the upstream saw of the bodies differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Altered {
    /// Both saw the same bytes.
    #[default]
    None,
    /// Secrets were replaced by masks.
    Masked,
    /// One API was translated to the other, or more was asked for than the client asked.
    Translated,
}

impl Altered {
    /// As it stands in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Masked => "masked",
            Self::Translated => "translated",
        }
    }
}

/// Where the token counts come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageKind {
    /// The upstream said them.
    Exact,
    /// The upstream did not come to say them; counted from the bytes.
    Estimated,
    /// Nothing was counted.
    #[default]
    None,
}

impl UsageKind {
    /// As it stands in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

/// How the answer travelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// One body.
    #[default]
    Http,
    /// Server-sent events.
    Sse,
    /// WebSocket messages.
    Ws,
}

impl Transport {
    /// As it stands in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Ws => "ws",
        }
    }
}

/// A secret found in an exchange: which rule, never what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that found it.
    pub rule: String,
    /// How sure the rule is.
    pub tier: String,
    /// What was done.
    pub action: String,
    /// How often.
    pub count: u64,
}

/// The record of one exchange, as listings and files show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// UUIDv7 of the exchange; the client saw it as `x-codex-proxy-id`.
    pub id: String,
    /// When the request arrived.
    #[serde(serialize_with = "to_the_millisecond")]
    pub time: Timestamp,
    /// Which key asked.
    pub key_id: String,
    /// Whose key it was.
    pub user: String,
    /// The team it was counted for.
    pub team: Option<String>,
    /// Method and path asked, without the query.
    pub endpoint: String,
    /// How the answer travelled.
    pub transport: Transport,
    /// `turn`, `prewarm`, `compaction` or `other`.
    pub request_kind: String,
    /// The model asked.
    pub model: Option<String>,
    /// The model that answered.
    pub upstream_model: Option<String>,
    /// The tier that answered, else the one asked.
    pub service_tier: Option<String>,
    /// HTTP status the client saw; absent where none was sent.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Who brought the end about.
    pub source: Source,
    /// The refusal's word, where it was refused.
    pub refusal: Option<String>,
    /// Whether the two sides saw the same bodies.
    pub altered: Altered,
    /// Input, with cached and cache-write tokens.
    pub input_tokens: u64,
    /// Input read from the provider's cache.
    pub cached_input_tokens: u64,
    /// Input written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Output, with reasoning.
    pub output_tokens: u64,
    /// Reasoning.
    pub reasoning_tokens: u64,
    /// Input and output.
    pub total_tokens: u64,
    /// Where the counts come from.
    pub usage: UsageKind,
    /// Decimal US dollars; absent where unpriced.
    pub cost_usd: Option<String>,
    /// Whether the price table knew what this costs.
    pub priced: bool,
    /// From arrival to end, milliseconds.
    pub took_ms: u64,
    /// From arrival to the answer's first byte, milliseconds.
    pub first_byte_ms: Option<u64>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// The answer's content coding.
    pub content_encoding: Option<String>,
    /// Codex session.
    pub session_id: Option<String>,
    /// Codex thread: the conversation.
    pub thread_id: Option<String>,
    /// Codex turn.
    pub turn_id: Option<String>,
    /// The thread that started this one.
    pub parent_thread_id: Option<String>,
    /// The upstream's id of the answer.
    pub response_id: Option<String>,
    /// The answer this request goes on from.
    pub previous_response_id: Option<String>,
    /// The connection's id, where several exchanges share one.
    pub connection_id: Option<String>,
    /// Which kind of sub-agent asked.
    pub subagent: Option<String>,
    /// The repository's name.
    pub repo: Option<String>,
    /// The repository's commit.
    pub commit: Option<String>,
    /// The program that asked.
    pub client: Option<String>,
    /// Its version.
    pub client_version: Option<String>,
    /// What the client's configuration tagged it with.
    pub tags: BTreeMap<String, String>,
    /// Secrets found.
    pub findings: Vec<Finding>,
    /// Which node served it.
    pub node: String,
}

impl Record {
    /// A record of which only its name, time and node are known: it reads as if we had broken off now.
    pub fn blank(id: String, time: Timestamp, node: &str) -> Self {
        Self {
            id,
            time,
            key_id: String::new(),
            user: String::new(),
            team: None,
            endpoint: String::new(),
            transport: Transport::Http,
            request_kind: String::new(),
            model: None,
            upstream_model: None,
            service_tier: None,
            status: None,
            outcome: Outcome::Failed,
            source: Source::Proxy,
            refusal: None,
            altered: Altered::None,
            input_tokens: 0,
            cached_input_tokens: 0,
            cache_write_tokens: 0,
            output_tokens: 0,
            reasoning_tokens: 0,
            total_tokens: 0,
            usage: UsageKind::None,
            cost_usd: None,
            priced: false,
            took_ms: 0,
            first_byte_ms: None,
            request_bytes: 0,
            response_bytes: 0,
            content_encoding: None,
            session_id: None,
            thread_id: None,
            turn_id: None,
            parent_thread_id: None,
            response_id: None,
            previous_response_id: None,
            connection_id: None,
            subagent: None,
            repo: None,
            commit: None,
            client: None,
            client_version: None,
            tags: BTreeMap::new(),
            findings: Vec::new(),
            node: node.to_owned(),
        }
    }

    /// From now on it says that it failed, by our doing.
    pub fn fail(&mut self) {
        (self.outcome, self.source) = (Outcome::Failed, Source::Proxy);
    }

    /// Its line in `records/`: its own JSON, and where its frame lies in the segment of the same
    /// name, offset and length in bytes.
    pub(crate) fn line(&self, (offset, length): (u64, u64)) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.truncate(line.len() - b"}".len());
        line.extend(format!(",\"frame\":[{offset},{length}]}}\n").bytes());
        Ok(line)
    }
}

/// Writes RFC 3339 with always three decimals, so that texts sort as times do.
pub fn to_the_millisecond<S: serde::Serializer>(
    time: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}
