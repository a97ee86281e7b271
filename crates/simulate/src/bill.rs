//! What the simulated API counts and bills, by rules of its own.
//!
//! Tokens are bytes of text divided by four. Nothing here is shared with the proxy: two that count
//! with the same code agree also where both are wrong.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use crate::script::counts::Counts;

/// Everything that was billed, in order.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// One entry an exchange that reached the model, refused by script or not.
    pub exchanges: Vec<Billed>,
}

impl Bill {
    /// Adds everything up.
    pub(crate) fn sum(&self) -> Usage {
        self.exchanges.iter().fold(Usage::default(), |sum, billed| Usage {
            input_tokens: sum.input_tokens.saturating_add(billed.input_tokens),
            cached_input_tokens: sum.cached_input_tokens.saturating_add(billed.cached_input_tokens),
            cache_write_tokens: sum.cache_write_tokens.saturating_add(billed.cache_write_tokens),
            output_tokens: sum.output_tokens.saturating_add(billed.output_tokens),
            reasoning_tokens: sum.reasoning_tokens.saturating_add(billed.reasoning_tokens),
            total_tokens: sum.total_tokens.saturating_add(billed.total_tokens),
        })
    }
}

/// What one exchange was billed.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize)]
pub struct Billed {
    /// The id of the response or completion; of a refusal the id it would have had.
    pub response_id: String,
    /// `responses`, `chat/completions` or `embeddings`.
    pub endpoint: String,
    /// The model that answered.
    pub model: String,
    /// The tier that answered.
    pub service_tier: String,
    /// All tokens read, cached ones too.
    pub input_tokens: u64,
    /// Those of them that were read from the cache.
    pub cached_input_tokens: u64,
    /// Those of them that were written to the cache at a price.
    pub cache_write_tokens: u64,
    /// All tokens written, reasoning too.
    pub output_tokens: u64,
    /// Those of them that were reasoning.
    pub reasoning_tokens: u64,
    /// Input and output together.
    pub total_tokens: u64,
    /// The status answered; 0 if the connection was dropped instead.
    pub status: u16,
    /// The last four characters of the bearer.
    pub bearer_suffix: String,
}

/// The tokens of one exchange, or a sum of them.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the unit stands in the name, as on the bill")]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) cached_input_tokens: u64,
    pub(crate) cache_write_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) reasoning_tokens: u64,
    pub(crate) total_tokens: u64,
}

impl Usage {
    /// Counts an exchange; what the script says wins.
    pub(crate) fn count(asked: &Asked, cached: u64, written: &Written, counts: &Counts) -> Self {
        let input_tokens = counts.input_tokens.unwrap_or(asked.input_tokens());
        let reasoned = tokens(written.text_bytes).saturating_add(written.reasoning_tokens);
        let output_tokens = counts.output_tokens.unwrap_or(reasoned);
        Self {
            input_tokens,
            cached_input_tokens: counts.cached.unwrap_or(cached.min(input_tokens) / 128 * 128),
            cache_write_tokens: counts.cache_write.unwrap_or(0),
            output_tokens,
            reasoning_tokens: written.reasoning_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
        }
    }
}

impl Usage {
    /// A bill's entry with these tokens, else empty.
    pub(crate) fn billed(&self) -> Billed {
        Billed {
            input_tokens: self.input_tokens,
            cached_input_tokens: self.cached_input_tokens,
            cache_write_tokens: self.cache_write_tokens,
            output_tokens: self.output_tokens,
            reasoning_tokens: self.reasoning_tokens,
            total_tokens: self.total_tokens,
            ..Billed::default()
        }
    }
}

/// What the model read.
pub(crate) struct Asked {
    /// Bytes of all text in input, instructions and tools.
    pub(crate) text_bytes: u64,
    /// Those of them in the input, which a later request may follow.
    pub(crate) input_bytes: u64,
    /// Requests with the same key share a prompt cache.
    pub(crate) cache_key: u64,
}

impl Asked {
    /// Tokens of the text and of the frame around it.
    pub(crate) fn input_tokens(&self) -> u64 {
        tokens(self.text_bytes).saturating_add(7)
    }
}

/// What the model wrote.
pub(crate) struct Written {
    /// Bytes of texts, arguments and tool inputs.
    pub(crate) text_bytes: u64,
    /// Tokens it thought.
    pub(crate) reasoning_tokens: u64,
}

/// Four bytes a token, rounded up.
fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

/// Bytes of every string below a value. A data URL counts as a fixed 3072: an image is not read
/// by the letter.
pub(crate) fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) if text.starts_with("data:") => 3072,
        Value::String(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.values().map(text_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// How many tokens of each conversation the prompt cache holds.
#[derive(Default)]
pub(crate) struct Cache(HashMap<u64, u64>);

/// More conversations than a test has; a benchmark starts afresh.
const CONVERSATIONS: usize = 100_000;

impl Cache {
    /// What the previous request with this key left; remembers this one.
    pub(crate) fn exchange(&mut self, asked: &Asked) -> u64 {
        if self.0.len() > CONVERSATIONS {
            self.0.clear();
        }
        self.0.insert(asked.cache_key, asked.input_tokens()).unwrap_or(0)
    }
}
