//! For a terminal: what is said is indented below who says it.

use std::fmt::Write;

use super::{Shown, about, harmless, has_threads, shown, sums, thread_heading, turn_heading};
use crate::admin::transcript::Transcript;

/// Of what is the same in each conversation so many characters are shown.
const ASIDE: usize = 60;

/// Writes a transcript.
pub(super) fn write(transcript: &Transcript) -> String {
    let mut out = String::new();
    heading(&mut out, &format!("Session {}", transcript.session));
    let _ = writeln!(out, "{}\n{}", about(transcript), sums(&transcript.sums));
    for thread in &transcript.threads {
        if has_threads(transcript) {
            out.push('\n');
            heading(&mut out, &format!("=== {}", thread_heading(thread)));
            let _ = writeln!(out, "{}", sums(&thread.sums));
        }
        for (index, turn) in thread.turns.iter().enumerate() {
            out.push('\n');
            heading(&mut out, &format!("--- {}", turn_heading(index + 1, turn)));
            let _ = writeln!(out, "{}", sums(&turn.sums));
            turn.steps.iter().for_each(|step| push(&mut out, &shown(&step.what)));
        }
    }
    out
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "{}", harmless(text).replace('\n', " "));
}

fn push(out: &mut String, step: &Shown<'_>) {
    let label = harmless(&step.label).replace('\n', " ");
    if step.is_aside() {
        let line = step.body.trim_start().lines().next().unwrap_or_default();
        let begin: String = harmless(line).chars().take(ASIDE).collect();
        let _ = writeln!(out, "\n{label}, {} bytes: {begin} ...", step.body.len());
        return;
    }
    let _ = writeln!(out, "\n{label}:");
    indented(out, &step.body, "  ");
    if let Some(output) = step.output {
        indented(out, output, "  | ");
    }
}

fn indented(out: &mut String, text: &str, indent: &str) {
    for line in harmless(text).lines() {
        let _ = writeln!(out, "{}", format!("{indent}{line}").trim_end());
    }
}
