//! For a document: what passed stands in fences, so that nothing in it is taken for Markdown.

use std::fmt::Write;

use super::{Shown, about, harmless, has_threads, shown, sums, thread_heading, turn_heading};
use crate::admin::transcript::Transcript;

/// Writes a transcript.
pub(super) fn write(transcript: &Transcript) -> String {
    let mut out = format!("# Session {}\n\n", plain(&transcript.session));
    let _ = writeln!(out, "{}  \n{}", plain(&about(transcript)), sums(&transcript.sums));
    for thread in &transcript.threads {
        let level = if has_threads(transcript) {
            let heading = plain(&thread_heading(thread));
            let _ = writeln!(out, "\n## {heading}\n\n{}", sums(&thread.sums));
            "###"
        } else {
            "##"
        };
        for (index, turn) in thread.turns.iter().enumerate() {
            let heading = plain(&turn_heading(index + 1, turn));
            let _ = writeln!(out, "\n{level} {heading}\n\n{}", sums(&turn.sums));
            turn.steps.iter().for_each(|step| push(&mut out, &shown(&step.what)));
        }
    }
    out
}

fn push(out: &mut String, step: &Shown<'_>) {
    let label = plain(&step.label);
    let _ = if step.is_aside() {
        writeln!(out, "\n<details><summary>{label}, {} bytes</summary>", step.body.len())
    } else {
        writeln!(out, "\n**{label}**")
    };
    let language = match step.kind {
        "command" => "sh",
        "patch" => "diff",
        _ => "text",
    };
    fenced(out, &step.body, language);
    if step.is_aside() {
        let _ = writeln!(out, "\n</details>");
    }
    if let Some(output) = step.output {
        fenced(out, output, "text");
    }
}

/// A block whose fence is longer than any in it.
fn fenced(out: &mut String, text: &str, language: &str) {
    if text.is_empty() {
        return;
    }
    let text = harmless(text);
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(out, "\n{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'));
}

/// A text on one line in which no letter means anything to Markdown or HTML.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for letter in harmless(text).chars() {
        match letter {
            '\n' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '|' | '~' => {
                out.extend(['\\', letter]);
            }
            _ => out.push(letter),
        }
    }
    out
}
