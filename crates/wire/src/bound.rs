//! What a request may use and cost at most, before it is asked: what a budget reserves.
//!
//! A token has at least one byte, so that a body of so many bytes has no more tokens than that. What
//! the body only names may fill the context window.

use jiff::civil::Date;
use memchr::memmem;

use crate::ask::Ask;
use crate::price::PriceTable;

/// The most that a request may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Input tokens, of whatever class.
    pub input_tokens: u64,
    /// Output tokens, with reasoning.
    pub output_tokens: u64,
    /// Nano-dollars, with every token in its dearest class; nothing where that has no price.
    pub nanos: Option<u64>,
}

/// What is known of a request besides what it asks.
#[derive(Debug, Clone, Copy)]
pub struct Given<'g> {
    /// Its body without content coding; nothing: it streams by, and anything may be in it.
    pub body: Option<&'g [u8]>,
    /// What is known of the response that it continues.
    pub before: Before,
    /// So much output is never written, as experience says.
    pub writes: Option<u64>,
}

/// What is known of the response that a request continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It continues none.
    Nothing,
    /// All tokens of that response.
    Tokens(u64),
    /// Nothing is known of it.
    Unknown,
}

/// A picture's tokens at most. Of the models that take pictures the one that counts them highest is
/// gpt-4o-mini: 2,833 and 5,667 for each tile of 512 pixels, of which there are eight at most
/// (<https://platform.openai.com/docs/guides/images-vision>, "Calculating costs").
const PICTURE_TOKENS_MINI: u64 = 2_833 + 8 * 5_667;
/// Of all others: the largest count of patches, 10,000 at the detail "original", by the largest
/// multiplier of a family, 2.46.
const PICTURE_TOKENS: u64 = 24_600;

/// Where the price table does not know a model's window: the largest there is.
const WINDOW_TOKENS: u64 = 1_050_000;
/// Where it does not know how much a model writes: as much as current ones do.
const OUTPUT_TOKENS: u64 = 128_000;

/// What the body only names: it is not in the body. Quotes inside of texts are escaped, so that these
/// stand outside of texts.
///
/// Tools that the upstream runs itself bring input too, and Codex offers a search with each request.
/// What they bring is not foreseen: each exchange would reserve a whole window for it. Where it comes
/// to more than the bound, that is counted and told.
const BROUGHT: [&str; 4] = ["\"file_id\"", "\"file_url\"", "\"file_data\"", "\"item_reference\""];

/// What a body holds besides text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    pictures: u64,
    /// Of the pictures that stand in the body.
    picture_bytes: u64,
    brings_more: bool,
}

impl PriceTable {
    /// What a request may use and cost at most.
    pub fn bound(&self, ask: &Ask, given: &Given<'_>, day: Date) -> Bound {
        let Given { body, before, writes: seen } = *given;
        let row = ask.model.as_deref().and_then(|model| self.row(model, day));
        let window = row.and_then(|row| row.context_window).unwrap_or(WINDOW_TOKENS);
        let content = body.map(Content::read).unwrap_or_default();
        let picture = match ask.model.as_deref() {
            Some(model) if !model.contains("gpt-4o-mini") => PICTURE_TOKENS,
            _ => PICTURE_TOKENS_MINI,
        };
        let named = ask.names_kept || content.brings_more;
        let whole = body.is_none() || named || before == Before::Unknown;
        let input_tokens = if whole {
            window
        } else {
            let bytes = body.map_or(0, |body| body.len() as u64);
            let text = bytes.saturating_sub(content.picture_bytes);
            let pictures = content.pictures.saturating_mul(picture);
            let earlier = if let Before::Tokens(tokens) = before { tokens } else { 0 };
            text.saturating_add(pictures).saturating_add(earlier).min(window)
        };
        let writes = row.map_or(Some(OUTPUT_TOKENS), |row| match row.max_output_tokens {
            // Embeddings have no output, and nothing to pay for it.
            None if row.standard.output_picos == 0 => Some(0),
            most => most.or(row.context_window),
        });
        let output = ask.max_output_tokens.or(writes).unwrap_or(OUTPUT_TOKENS);
        let output = output.min(seen.unwrap_or(u64::MAX));
        let output_tokens = output.saturating_mul(ask.choices.unwrap_or(1).max(1));
        let nanos = row
            .and_then(|row| row.dearest(ask.service_tier.as_deref(), input_tokens, output_tokens));
        Bound { input_tokens, output_tokens, nanos: nanos.map(|cost| cost.nanos) }
    }
}

impl Content {
    fn read(body: &[u8]) -> Self {
        let mut content = Self { brings_more: brings_more(body), ..Self::default() };
        let count = |name: &str| memmem::find_iter(body, name.as_bytes()).count() as u64;
        // An address of a picture stands in one of these, or in both.
        content.pictures = count("\"image_url\"").max(count("\"input_image\""));
        let begins = memmem::find_iter(body, b"\"data:image/");
        let addresses = begins.filter(|begin| is_address(body.get(..*begin).unwrap_or_default()));
        content.picture_bytes = addresses.map(|begin| string_length(body, begin)).sum();
        content
    }
}

fn brings_more(body: &[u8]) -> bool {
    BROUGHT.iter().any(|name| memmem::find(body, name.as_bytes()).is_some())
}

/// Whether what comes behind is the address of a picture, by its key: what is said of a text that only
/// begins as one is counted as text.
fn is_address(before: &[u8]) -> bool {
    let key = before.trim_ascii_end().strip_suffix(b":").unwrap_or_default().trim_ascii_end();
    key.ends_with(b"\"image_url\"") || key.ends_with(b"\"url\"")
}

/// How long the string is that begins here with its quote. Data has no quotes to escape.
fn string_length(body: &[u8], begin: usize) -> u64 {
    let inside = body.get(begin + 1..).unwrap_or_default();
    memchr::memchr(b'"', inside).unwrap_or(inside.len()) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::usage::Usage;

    fn day() -> Date {
        jiff::civil::date(2026, 11, 26)
    }

    fn bound(body: &str, before: Before) -> Bound {
        let ask = Ask::read(body.as_bytes()).unwrap();
        let given = Given { body: Some(body.as_bytes()), before, writes: None };
        PriceTable::builtin().bound(&ask, &given, day())
    }

    #[test]
    fn a_text_has_no_more_tokens_than_bytes() {
        let body = r#"{"model":"gpt-6-luna","input":"hi","max_output_tokens":100}"#;
        let bound = bound(body, Before::Nothing);
        assert_eq!((bound.input_tokens, bound.output_tokens), (body.len() as u64, 100));
        // 0.125 dollars a million for what is written to the cache, 0.5 for output.
        let picos = body.len() as u64 * 125_000 + 100 * 500_000;
        assert_eq!(bound.nanos, Some(picos.div_ceil(1000)));
    }

    #[test]
    fn what_is_not_said_is_the_most_that_the_model_can() {
        let bound = bound(r#"{"model":"gpt-5.2-chat-latest","input":"hi"}"#, Before::Unknown);
        assert_eq!((bound.input_tokens, bound.output_tokens), (128_000, 16_384));
    }

    #[test]
    fn experience_lowers_what_is_written() {
        let ask = Ask { model: Some("gpt-5".to_owned()), ..Ask::default() };
        let given = Given { body: Some(b"{}"), before: Before::Nothing, writes: Some(700) };
        let bound = PriceTable::builtin().bound(&ask, &given, day());
        assert_eq!((bound.input_tokens, bound.output_tokens), (2, 700));
    }

    #[test]
    fn what_is_only_named_may_fill_the_window() {
        let check = |rest: &str, brings: bool| {
            let body = format!(r#"{{"model":"gpt-5","input":[],{rest}}}"#);
            let tokens = bound(&body, Before::Nothing).input_tokens;
            assert_eq!(tokens == 272_000, brings, "{rest}: {tokens}");
        };
        check(r#""conversation":"conv_1""#, true);
        check(r#""conversation":null"#, false);
        check(r#""prompt":{"id":"pmpt_1"}"#, true);
        check(r#""tools":[{"type":"web_search"}]"#, false);
        check(r#""metadata":{"a":"\"file_id\""}"#, false);
        check(r#""content":[{"type":"input_file","file_id":"f"}]"#, true);
    }

    #[test]
    fn a_picture_counts_by_rule_and_not_by_its_bytes() {
        let picture = "A".repeat(500_000);
        let body = format!(
            r#"{{"model":"gpt-6-luna","input":[{{"type":"input_image","image_url":"data:image/png;base64,{picture}"}}]}}"#
        );
        let tokens = bound(&body, Before::Nothing).input_tokens;
        assert!((PICTURE_TOKENS..PICTURE_TOKENS + 200).contains(&tokens), "{tokens}");
    }

    #[test]
    fn a_text_that_begins_as_a_picture_counts_as_text() {
        let text = "data:image/ ".repeat(1000);
        let body = format!(r#"{{"model":"gpt-6-luna","input":"{text}"}}"#);
        assert_eq!(bound(&body, Before::Nothing).input_tokens, body.len() as u64);
    }

    #[test]
    fn what_came_before_and_how_many_answers_count() {
        let body = r#"{"model":"gpt-5","input":[],"n":3,"max_tokens":10}"#;
        let bound = bound(body, Before::Tokens(5000));
        assert_eq!((bound.input_tokens, bound.output_tokens), (5000 + body.len() as u64, 30));
    }

    #[test]
    fn what_has_no_price_has_no_bound_in_money() {
        assert_eq!(bound(r#"{"model":"x"}"#, Before::Nothing).nanos, None);
        let tier = r#"{"model":"gpt-5.1-codex","service_tier":"priority"}"#;
        assert_eq!(bound(tier, Before::Nothing).nanos, None);
    }

    proptest! {
        #[test]
        fn nothing_within_the_bound_costs_more(
            model in prop::sample::select(vec!["gpt-6.1-sol", "gpt-5.5", "gpt-4o", "o3-mini"]),
            tier in prop::sample::select(vec![None, Some("flex"), Some("priority"), Some("auto")]),
            most in (0u64..900_000, 0u64..200_000),
            shares in (0.0f64..=1.0, 0.0f64..=1.0, 0.0f64..=1.0, 0.0f64..=1.0),
        ) {
            let table = PriceTable::builtin();
            let row = table.row(model, day()).unwrap();
            let dearest = row.dearest(tier, most.0, most.1);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a count")]
            let part = |of: u64, share: f64| (of as f64 * share) as u64;
            let input_tokens = part(most.0, shares.0);
            let cached_input_tokens = part(input_tokens, shares.1);
            let cache_write_tokens = part(input_tokens - cached_input_tokens, shares.2);
            let output_tokens = part(most.1, shares.3);
            let usage = Usage {
                input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,
                ..Usage::default()
            };
            let cost = table.cost(model, tier, day(), &usage);
            prop_assert_eq!(cost.is_some(), dearest.is_some());
            prop_assert!(cost <= dearest, "{:?} {:?}", cost, dearest);
        }
    }
}
