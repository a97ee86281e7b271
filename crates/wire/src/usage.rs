//! How many tokens an exchange used.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The tokens of one exchange, as the upstream counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All input tokens, cached and cache-write ones among them.
    pub input_tokens: u64,
    /// Input tokens that came from the upstream's cache.
    pub cached_input_tokens: u64,
    /// Input tokens that were written to the upstream's cache.
    pub cache_write_tokens: u64,
    /// All output tokens, reasoning ones among them.
    pub output_tokens: u64,
    /// Output tokens spent on reasoning.
    pub reasoning_tokens: u64,
}

/// A rule of thumb for English text and code with current tokenizers.
const BYTES_PER_TOKEN: u64 = 4;

impl Usage {
    /// Input and output together.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Reads the `usage` object of either API; nothing if it counts neither input nor output.
    ///
    /// Responses, images: `input_tokens`, `output_tokens`; Chat Completions, embeddings:
    /// `prompt_tokens`, `completion_tokens`; each with its `…_details`.
    pub fn read(json: &str) -> Option<Self> {
        let usage: Map<String, Value> = serde_json::from_str(json).ok()?;
        let input = count(&usage, ["input_tokens", "prompt_tokens"]);
        let output = count(&usage, ["output_tokens", "completion_tokens"]);
        if input.is_none() && output.is_none() {
            return None;
        }
        let of_input = details(&usage, ["input_tokens_details", "prompt_tokens_details"]);
        let of_output = details(&usage, ["output_tokens_details", "completion_tokens_details"]);
        Some(Self {
            input_tokens: input.unwrap_or(0),
            cached_input_tokens: of_input("cached_tokens"),
            cache_write_tokens: of_input("cache_write_tokens"),
            output_tokens: output.unwrap_or(0),
            reasoning_tokens: of_output("reasoning_tokens"),
        })
    }

    /// Estimates what was used where the upstream did not get to say it: four bytes a token.
    pub fn estimate(request_bytes: u64, text_bytes: u64) -> Self {
        Self {
            input_tokens: request_bytes.div_ceil(BYTES_PER_TOKEN),
            output_tokens: text_bytes.div_ceil(BYTES_PER_TOKEN),
            ..Self::default()
        }
    }
}

fn count(usage: &Map<String, Value>, names: [&str; 2]) -> Option<u64> {
    names.iter().find_map(|name| usage.get(*name)?.as_u64())
}

/// Counts within details, which have one name in each API; what is not there is 0.
fn details<'a>(usage: &'a Map<String, Value>, names: [&str; 2]) -> impl Fn(&str) -> u64 + 'a {
    let details = names.iter().find_map(|name| usage.get(*name));
    move |kind| details.and_then(|details| details.get(kind)?.as_u64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<[u64; 5]>) {
        let usage = expected.map(|[input, cached, write, output, reasoning]| Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: write,
            output_tokens: output,
            reasoning_tokens: reasoning,
        });
        assert_eq!(Usage::read(json), usage, "{json}");
    }

    #[test]
    fn usage_of_responses_is_read() {
        check(
            r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":2},
                "output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":16}"#,
            Some([9, 4, 2, 7, 3]),
        );
    }

    #[test]
    fn usage_of_chat_is_read() {
        check(
            r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
                "completion_tokens":7,"completion_tokens_details":{"reasoning_tokens":3}}"#,
            Some([9, 4, 0, 7, 3]),
        );
    }

    #[test]
    fn usage_of_embeddings_has_no_output() {
        check(r#"{"prompt_tokens":8,"total_tokens":8}"#, Some([8, 0, 0, 0, 0]));
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        check(
            r#"{"input_tokens":5,"output_tokens":"many","input_tokens_details":null}"#,
            Some([5, 0, 0, 0, 0]),
        );
        check("null", None);
        check("[1]", None);
        check("{}", None);
        check(r#"{"input_tokens":-1}"#, None);
        check("{", None);
    }

    #[test]
    fn an_estimate_rounds_up() {
        let expected = Usage { input_tokens: 3, output_tokens: 1, ..Usage::default() };
        assert_eq!(Usage::estimate(9, 4), expected);
    }
}
