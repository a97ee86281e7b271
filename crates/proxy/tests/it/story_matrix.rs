//! The real Codex CLI, with and without the gateway: what it prints and how often the upstream is
//! asked must be the same.

use std::fmt::Write;
use std::path::Path;

use crate::harness::matrix::{
    Case, Cell, Outcome, Patience, Provider, Transport, Version, cases, run_all, table,
};

/// Two providers, either transport, the twelve cases and more that are marked in the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_list_is_the_same_through_the_gateway() {
    let short: Vec<Case> = cases().into_iter().filter(Case::is_short).collect();
    assert!(short.len() >= 12);
    let providers = [Provider::BuiltIn, Provider::EnvKey];
    let cells = cells(Version::Pinned, &providers, &short, Patience::Short);

    let outcomes = run_all(cells, 8).await;

    let different: Vec<String> =
        outcomes.iter().filter(|outcome| !outcome.same()).map(difference).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes: run by `make matrix`"]
async fn the_whole_matrix_of_the_pinned_version() {
    whole(Version::Pinned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes: run by `make matrix`"]
async fn the_whole_matrix_of_version_0_160() {
    whole(Version::Older("0.160.1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes: run by `make matrix`"]
async fn the_whole_matrix_of_version_0_150() {
    whole(Version::Older("0.150.1")).await;
}

/// Everything with one version, and its part of the page. What differs is run once more, alone: where
/// many run at once it is chance in which order the CLI starts two commands, and whether a connection
/// that is cut breaks before its head came, with the gateway and without it.
async fn whole(version: Version) {
    let mut outcomes = run_all(cells(version, &Provider::ALL, &cases(), Patience::Usual), 12).await;
    for outcome in outcomes.iter_mut().filter(|outcome| !outcome.same()) {
        eprintln!("once more: {}", difference(outcome));
        *outcome = run_all(vec![outcome.cell.clone()], 1).await.remove(0);
    }

    let different: Vec<String> =
        outcomes.iter().filter(|outcome| !outcome.same()).map(difference).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("matrix");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{}.md", version.name())), table(version, &outcomes))
        .unwrap();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn cells(
    version: Version,
    providers: &[Provider],
    cases: &[Case],
    patience: Patience,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for provider in providers.iter().copied() {
        for transport in [Transport::Http, Transport::WebSocket] {
            let of =
                |case: &Case| Cell { version, provider, transport, patience, case: case.clone() };
            cells.extend(cases.iter().map(of));
        }
    }
    cells
}

/// Both runs, for whoever looks into it.
fn difference(outcome: &Outcome) -> String {
    let cell = &outcome.cell;
    let mut text = String::new();
    let place = cell.provider.name(cell.transport);
    writeln!(text, "== {} {place}: {}", cell.version.name(), cell.case.name).unwrap();
    for (name, run) in [("without", &outcome.direct), ("through", &outcome.through)] {
        writeln!(text, "-- {name} the gateway: {:?} {:?} {:?}", run.code, run.requests, run.files)
            .unwrap();
        writeln!(text, "{}", run.printed).unwrap();
    }
    text
}
