//! The texts the simulated model writes.

use std::borrow::Cow;

use crate::{
    ask::Ask,
    quote::quoted,
    script::content::{Content, Speech},
    seed::Seed,
};

const FILLER: &str = "lorem ipsum dolor sit amet consectetur adipiscing elit ";
const WORDS: [&str; 16] = [
    "the", "model", "answers", "with", "words", "that", "mean", "little", "and", "come", "in",
    "order", "as", "they", "were", "asked",
];
const HUGE_DELTA: usize = 16 << 10;

/// The answer, in deltas.
pub(crate) fn deltas(ask: &Ask<'_>, content: &Content) -> Vec<String> {
    // Of the prompt alone: a client puts ids and times of its own into each request.
    let seed = Seed::of(ask.prompt.as_bytes());
    match &content.speech {
        // What is repeated comes in pieces that no word bounds, as tokens do.
        Some(Speech::Say(text)) => match quoted(ask, text) {
            Cow::Borrowed(text) => few_words(text),
            Cow::Owned(text) => fragments(&text),
        },
        Some(Speech::Words(count)) => few_words(&words(*count, seed)),
        Some(Speech::Huge(size)) => pieces(*size),
        Some(Speech::Event(size)) => vec![filler(*size)],
        None => few_words(&usual(ask, seed)),
    }
}

/// Splits a text after every third word.
pub(crate) fn few_words(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    words.chunks(3).map(<[&str]>::concat).collect()
}

/// Splits a tool's input after every twelfth character, as it comes: in the middle of words.
pub(crate) fn fragments(input: &str) -> Vec<String> {
    let characters: Vec<char> = input.chars().collect();
    characters.chunks(12).map(|piece| piece.iter().collect()).collect()
}

fn words(count: usize, mut seed: Seed) -> String {
    let words: Vec<&str> = (0..count).map(|_| seed.pick(&WORDS)).collect();
    words.join(" ")
}

fn filler(size: usize) -> String {
    let mut text = FILLER.repeat(size / FILLER.len() + 1);
    text.truncate(size);
    text
}

fn pieces(size: usize) -> Vec<String> {
    let whole = std::iter::repeat_with(|| filler(HUGE_DELTA)).take(size / HUGE_DELTA);
    let rest = size % HUGE_DELTA;
    whole.chain((rest > 0).then(|| filler(rest))).collect()
}

/// A pleasant answer that shows what was understood.
fn usual(ask: &Ask<'_>, mut seed: Seed) -> String {
    let opening = seed.pick(&["Happy to help.", "Of course.", "Gladly.", "Here you are."]);
    match &ask.tool_output {
        Some(output) => format!("{opening} The tool answered: {}", excerpt(output)),
        None => format!(
            "{opening} You wrote: {} This is the simulated model, and all is well.",
            excerpt(&ask.prompt)
        ),
    }
}

fn excerpt(text: &str) -> String {
    text.trim().chars().take(400).collect()
}
