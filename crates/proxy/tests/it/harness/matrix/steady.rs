//! What a program printed, without what differs from run to run.

use std::path::Path;

/// Puts names in the place of addresses, folders, ids and times.
pub(crate) fn steady(printed: &str, home: &Path, address: &str) -> String {
    let home = home.display().to_string();
    let text = printed.replace(address, "ADDRESS").replace(&home, "HOME");
    let lines = text.lines().filter(|line| !passing(line)).map(line);
    lines.collect::<Vec<_>>().join("\n")
}

/// Lines of the program about itself: its own diagnostics have the time, and come when they come.
fn passing(line: &str) -> bool {
    let diagnostic = [" ERROR codex", " WARN codex", " INFO codex"];
    let dated = line.len() > 20 && line.as_bytes()[10] == b'T' && line.starts_with("20");
    dated && diagnostic.iter().any(|word| line.contains(word)) || line.contains("PATH aliases")
}

fn line(line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(word).collect();
    words.join(" ")
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let named = if is_uuid(bare) {
        "UUID"
    } else if is_id(bare) {
        "ID"
    } else if is_time(bare) {
        "TIME"
    } else {
        return word.to_owned();
    };
    word.replace(bare, named)
}

fn is_uuid(word: &str) -> bool {
    let parts: Vec<usize> = word.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// `req_…`, or the six hexadecimal digits by which Codex names a piece of output.
fn is_id(word: &str) -> bool {
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    word.starts_with("req_") || word.len() == 6 && hex(word) && word.contains(char::is_numeric)
}

/// `12ms`, `1.25s` or the seconds that a command took.
fn is_time(word: &str) -> bool {
    let digits = word.trim_end_matches('s').trim_end_matches('m');
    let has_unit = digits.len() < word.len();
    let seconds = digits.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 4);
    let number = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    number && !digits.is_empty() && (has_unit || seconds)
}

#[test]
fn what_differs_from_run_to_run_is_named() {
    let printed = "session id: 01a2023e-4053-7f21-a5ba-2e95d22c479b\nChunk ID: 33a330\n \
                   succeeded in 12ms:\nWall time: 0.0510 seconds\nurl: http://127.0.0.1:9/v1, \
                   request id: req_0a\nin /tmp/x/lighthouse 8,892 429 Too Many";
    let expected = "session id: UUID\nChunk ID: ID\n succeeded in TIME:\nWall time: TIME seconds\n\
                    url: http://ADDRESS/v1, request id: ID\nin HOME/lighthouse 8,892 429 Too Many";
    assert_eq!(steady(printed, Path::new("/tmp/x"), "127.0.0.1:9"), expected);
}
