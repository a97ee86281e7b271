//! For a browser: one page without script or anything from elsewhere. Everything that passed is
//! escaped; the policy in its head is for whoever doubts it.

use std::fmt::Write;

use super::{Shown, about, has_threads, is_harmless, shown, sums, thread_heading, turn_heading};
use crate::admin::transcript::{Transcript, Turn};

const STYLE: &str = include_str!("transcript.css");

/// Writes a transcript.
pub(super) fn write(transcript: &Transcript) -> String {
    let title = Escaped(&transcript.session);
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" ");
    out.push_str("content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    let _ =
        write!(out, "<title>Session {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n");
    let about = about(transcript);
    let _ = writeln!(out, "<h1>Session {title}</h1>");
    let _ = writeln!(out, "<p>{}<br>{}</p>", Escaped(&about), sums(&transcript.sums));
    for thread in &transcript.threads {
        out.push_str("<section>\n");
        if has_threads(transcript) {
            let heading = thread_heading(thread);
            let _ = writeln!(out, "<h2>{}</h2>\n<p>{}</p>", Escaped(&heading), sums(&thread.sums));
        }
        for (index, turn) in thread.turns.iter().enumerate() {
            push_turn(&mut out, index + 1, turn);
        }
        out.push_str("</section>\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn push_turn(out: &mut String, number: usize, turn: &Turn) {
    let heading = turn_heading(number, turn);
    let _ = writeln!(out, "<article>\n<h3>{}</h3>\n<p>{}</p>", Escaped(&heading), sums(&turn.sums));
    for step in &turn.steps {
        push(out, &shown(&step.what), &step.exchange);
    }
    out.push_str("</article>\n");
}

fn push(out: &mut String, step: &Shown<'_>, exchange: &str) {
    let (label, body) = (Escaped(&step.label), Escaped(&step.body));
    let (kind, exchange) = (step.kind, Escaped(exchange));
    let _ = write!(out, "<div class=\"{kind}\" title=\"{exchange}\">");
    let _ = if step.is_aside() {
        let bytes = step.body.len();
        writeln!(
            out,
            "<details><summary>{label}, {bytes} bytes</summary><pre>{body}</pre></details>"
        )
    } else {
        writeln!(out, "<h4>{label}</h4><pre>{body}</pre>")
    };
    if let Some(output) = step.output {
        let _ = writeln!(out, "<pre class=\"output\">{}</pre>", Escaped(output));
    }
    out.push_str("</div>\n");
}

/// A text in which no letter means anything to HTML, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\r' => {}
                _ if is_harmless(letter) => f.write_char(letter)?,
                _ => f.write_char('\u{FFFD}')?,
            }
        }
        Ok(())
    }
}
