//! How many tokens an exchange used.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::pick::{Member, Picker, inside, text};

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
    /// What of it is no text, and what is no token.
    pub other: Other,
}

/// What is charged apart from text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Input tokens that are pictures.
    pub image_input_tokens: u64,
    /// Input tokens that are sound.
    pub audio_input_tokens: u64,
    /// Output tokens that are pictures.
    pub image_output_tokens: u64,
    /// Output tokens that are sound.
    pub audio_output_tokens: u64,
    /// Milliseconds of sound, where that is what is charged.
    pub audio_ms: u64,
    /// Searches of the web that the upstream made.
    pub web_searches: u64,
}

impl Usage {
    /// Input and output together.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Reads the `usage` object of either API; nothing if it counts neither input nor output.
    ///
    /// Responses, images: `input_tokens`, `output_tokens`; Chat Completions, embeddings:
    /// `prompt_tokens`, `completion_tokens`; each with its `…_details`. Transcriptions may have
    /// `seconds` instead.
    pub fn read(json: &[u8]) -> Option<Self> {
        let mut counts = Counts::default();
        let mut picker = Picker::new(USAGE);
        picker.feed(json, &mut |place, value| {
            counts.take(place, value.raw);
            ControlFlow::Continue(())
        });
        picker.read_whole_object().then_some(())?;
        let input = counts.get(Place::Input);
        let output = counts.get(Place::Output);
        let audio_ms = counts.get(Place::Seconds);
        if input.is_none() && output.is_none() && audio_ms.is_none() {
            return None;
        }
        Some(Self {
            input_tokens: input.unwrap_or(0),
            cached_input_tokens: counts.get(Place::Cached).unwrap_or(0),
            cache_write_tokens: counts.get(Place::CacheWrite).unwrap_or(0),
            output_tokens: output.unwrap_or(0),
            reasoning_tokens: counts.get(Place::Reasoning).unwrap_or(0),
            other: Other {
                image_input_tokens: counts.get(Place::ImageInput).unwrap_or(0),
                audio_input_tokens: counts.get(Place::AudioInput).unwrap_or(0),
                image_output_tokens: counts.get(Place::ImageOutput).unwrap_or(0),
                audio_output_tokens: counts.get(Place::AudioOutput).unwrap_or(0),
                audio_ms: audio_ms.unwrap_or(0),
                web_searches: 0,
            },
        })
    }
}

/// A count, under whichever of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Input,
    Cached,
    CacheWrite,
    Output,
    Reasoning,
    ImageInput,
    AudioInput,
    ImageOutput,
    AudioOutput,
    Seconds,
}

/// A count is far shorter.
const COUNT_LIMIT: usize = 64;

const OF_INPUT: &[Member<Place>] = &[
    text(Place::Cached, "cached_tokens", COUNT_LIMIT),
    text(Place::CacheWrite, "cache_write_tokens", COUNT_LIMIT),
    text(Place::ImageInput, "image_tokens", COUNT_LIMIT),
    text(Place::AudioInput, "audio_tokens", COUNT_LIMIT),
];
const OF_OUTPUT: &[Member<Place>] = &[
    text(Place::Reasoning, "reasoning_tokens", COUNT_LIMIT),
    text(Place::ImageOutput, "image_tokens", COUNT_LIMIT),
    text(Place::AudioOutput, "audio_tokens", COUNT_LIMIT),
];

const USAGE: &[Member<Place>] = &[
    text(Place::Input, "input_tokens", COUNT_LIMIT),
    text(Place::Input, "prompt_tokens", COUNT_LIMIT),
    text(Place::Output, "output_tokens", COUNT_LIMIT),
    text(Place::Output, "completion_tokens", COUNT_LIMIT),
    text(Place::Seconds, "seconds", COUNT_LIMIT),
    inside("input_tokens_details", OF_INPUT),
    inside("input_token_details", OF_INPUT),
    inside("prompt_tokens_details", OF_INPUT),
    inside("output_tokens_details", OF_OUTPUT),
    inside("completion_tokens_details", OF_OUTPUT),
];

/// The counts that a `usage` object names; what is no count is left out.
#[derive(Default)]
struct Counts([Option<u64>; 10]);

impl Counts {
    fn take(&mut self, place: Place, raw: &[u8]) {
        let text = std::str::from_utf8(raw).unwrap_or_default();
        let count = if place == Place::Seconds { millis(text) } else { text.parse().ok() };
        if let (Some(slot), Some(_)) = (self.0.get_mut(place as usize), count) {
            *slot = count;
        }
    }

    fn get(&self, place: Place) -> Option<u64> {
        self.0.get(place as usize).copied().flatten()
    }
}

/// Milliseconds of a number of seconds.
fn millis(seconds: &str) -> Option<u64> {
    let duration = std::time::Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    u64::try_from(duration.as_millis()).ok()
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
            other: Other::default(),
        });
        assert_eq!(Usage::read(json.as_bytes()), usage, "{json}");
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
    fn what_is_no_text_is_told_apart() {
        let read = |json: &str| Usage::read(json.as_bytes()).unwrap().other;
        let images = r#"{"input_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40},
            "output_tokens":9,"output_tokens_details":{"image_tokens":8,"text_tokens":1}}"#;
        let expected = Other { image_input_tokens: 40, image_output_tokens: 8, ..Other::default() };
        assert_eq!(read(images), expected);
        let chat = r#"{"prompt_tokens":9,"prompt_tokens_details":{"audio_tokens":5},
            "completion_tokens":7,"completion_tokens_details":{"audio_tokens":6}}"#;
        let expected = Other { audio_input_tokens: 5, audio_output_tokens: 6, ..Other::default() };
        assert_eq!(read(chat), expected);
        let seconds = read(r#"{"type":"duration","seconds":12.5}"#);
        assert_eq!(seconds, Other { audio_ms: 12_500, ..Other::default() });
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
}
