//! The matrix as a page.

use std::fmt::Write;

use super::cell::Outcome;
use super::provider::{Provider, Transport, Version};

/// The table of one version: cases down, providers across.
pub(crate) fn table(version: Version, outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    let columns: Vec<(Provider, Transport)> = Provider::ALL
        .iter()
        .flat_map(|provider| [(*provider, Transport::Http), (*provider, Transport::WebSocket)])
        .collect();
    let names: Vec<String> = columns.iter().map(|(p, t)| p.name(*t)).collect();
    let same = outcomes.iter().filter(|outcome| outcome.same()).count();
    let total = outcomes.len();
    writeln!(page, "\n## Codex CLI {}\n\n{same} of {total} the same.\n", version.name()).unwrap();
    writeln!(page, "| case | {} |", names.join(" | ")).unwrap();
    writeln!(page, "|---|{}", "---|".repeat(columns.len())).unwrap();
    let mut cases: Vec<&str> = Vec::new();
    for outcome in outcomes {
        if !cases.contains(&outcome.cell.case.name.as_str()) {
            cases.push(&outcome.cell.case.name);
        }
    }
    for case in cases {
        let ends = columns.iter().map(|(provider, transport)| {
            let found = outcomes.iter().find(|outcome| {
                let cell = &outcome.cell;
                (cell.provider, cell.transport) == (*provider, *transport) && cell.case.name == case
            });
            found.map_or("–".to_owned(), told)
        });
        writeln!(page, "| {case} | {} |", ends.collect::<Vec<_>>().join(" | ")).unwrap();
    }
    page
}

/// `= 6`: the same, with six requests.
fn told(outcome: &Outcome) -> String {
    let sign = if outcome.same() { "=" } else { "**≠**" };
    format!("{sign} {}", outcome.asked())
}
