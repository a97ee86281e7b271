//! What looking for secrets costs: megabytes a second on one core, and how long the start takes.
//!
//! `cargo bench -p redact -- FOLDER` takes the source files below a folder, makes requests as Codex
//! sends them of their texts, and scans those as they are (clean) and with a secret every few
//! lines (dense). Beside it stands the plain way: words found with Aho-Corasick, then a regular
//! expression around each.
//!
//! `cargo bench -p redact -- FOLDER --list` tells what is found in the files themselves: for
//! counting false alarms.
//!
//! `cargo bench -p redact -- FILE --size=1500` scans a file in parts of so many bytes, and tells what
//! each took: for counting instructions under `valgrind --tool=callgrind --toggle-collect=*Rules*scan*`,
//! which are the same whatever else the machine does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::format_push_string,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "in a measurement a panic is how a failure is told, and figures are round"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use redact::rule::{Rules, Tier};
use regex::bytes::Regex;

/// Text in a body.
const BODY: usize = 512 * 1024;
/// Text in all bodies.
const ALL: usize = 96 * 1024 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    let Some(folder) = arguments.iter().find(|one| !one.starts_with('-')) else {
        eprintln!("scan: name a folder with source files");
        return;
    };
    let begin = Instant::now();
    let rules = Rules::builtin();
    if let Some(size) = arguments.iter().find_map(|one| one.strip_prefix("--size=")) {
        return parts(&rules, Path::new(folder), size.parse().unwrap());
    }
    let started = begin.elapsed();
    if arguments.iter().any(|one| one == "--list") {
        return list(&rules, Path::new(folder));
    }
    println!("start      {:.2} ms for {} rules", started.as_secs_f64() * 1e3, rules.iter().count());
    let texts = texts(Path::new(folder));
    let clean = bodies(&texts, &[]);
    let secrets = secrets();
    let dense = bodies(&texts, &secrets);
    for (name, bodies) in [("clean", &clean), ("dense", &dense)] {
        let found: usize = bodies.iter().map(|body| count(&rules, body)).sum();
        let speed = speed(bodies, |body| count(&rules, body));
        let size: usize = bodies.iter().map(Vec::len).sum();
        println!("{name}      {speed:.0} MB/s, {found} found in {} MB", size / 1_000_000);
    }
    for size in [50, 200, 1_500] {
        let small: Vec<Vec<u8>> = clean[0].chunks(size).map(<[u8]>::to_vec).collect();
        println!("of {size:<8}{:.0} MB/s", speed(&small, |body| count(&rules, body)));
    }
    if let Some(to) = arguments.iter().find_map(|one| one.strip_prefix("--write=")) {
        let write = |name: &str, body: &[u8]| std::fs::write(Path::new(to).join(name), body);
        write("clean.json", &clean[clean.len() / 2]).unwrap();
        write("dense.json", &dense[dense.len() / 2]).unwrap();
    }
    if arguments.iter().any(|one| one == "--no-peer") {
        return;
    }
    let peer = Peer::new();
    for (name, bodies) in [("clean", &clean), ("dense", &dense)] {
        let some = &bodies[..bodies.len().min(16)];
        println!("peer {name} {:.0} MB/s", speed(some, |body| peer.count(body)));
    }
    hostile(&rules);
}

/// A file, in parts of so many bytes.
fn parts(rules: &Rules, file: &Path, size: usize) {
    let text = std::fs::read(file).unwrap();
    // What is made ready on first use is not counted.
    std::hint::black_box(rules.label(&text));
    let parts: Vec<Vec<u8>> = text.chunks(size).map(<[u8]>::to_vec).collect();
    let found: usize = parts.iter().map(|part| count(rules, part)).sum();
    println!("{found} found in {} parts of {size}, {} bytes", parts.len(), text.len());
}

fn count(rules: &Rules, body: &[u8]) -> usize {
    rules.scan(body).iter().filter(|one| one.tier >= Tier::Likely).count()
}

/// Megabytes a second, the best of three.
fn speed(bodies: &[Vec<u8>], scan: impl Fn(&[u8]) -> usize) -> f64 {
    let size: usize = bodies.iter().map(Vec::len).sum();
    // The system tells of time spent in steps: what is small is scanned often.
    let rounds = 32_000_000 / size.max(1) + 1;
    let once = |_| {
        let begin = spent();
        for body in bodies.iter().cycle().take(rounds * bodies.len()) {
            std::hint::black_box(scan(body));
        }
        (spent() - begin) / rounds as f64
    };
    size as f64 / 1e6 / (0..3).map(once).fold(f64::INFINITY, f64::min)
}

/// Seconds of processor time of this thread: others use the machine too.
fn spent() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Texts made to be slow.
fn hostile(rules: &Rules) {
    let pieces = [
        "key=",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA",
        "://a:b",
        "password=\\\"",
        "eyJhbGciOiJIUzI1NiJ9.",
        "a",
        "\\",
        "\\u002d",
        "token:token:",
        "sig=",
        " -u a:",
        ":5432:",
        "Basic YTpi",
        "Bearer aaaaaaaa1",
        "secret: \"",
        "_key_key",
        "api_key, \"",
        "password (",
        "\\\\\\\\\"key",
        "key\"\"\"",
        "Basic aaaa:",
        "https://hooks.slack.com/services/",
        "aaaaaaaaaaaaaaa1 ",
        "=aaaaaaaaaaaaaaa1",
        "password=a",
    ];
    for piece in pieces {
        let text = piece.repeat((1 << 20) / piece.len());
        let mb = speed(&[text.into_bytes()], |body| count(rules, body));
        println!("hostile    {mb:.0} MB/s of {piece:?}");
    }
}

/// What is found in each file, and how much in a megabyte.
fn list(rules: &Rules, folder: &Path) {
    let mut size = 0;
    let mut counts = [0; 3];
    for path in files(folder) {
        let Ok(text) = std::fs::read(&path) else { continue };
        size += text.len();
        for one in rules.scan(&text) {
            counts[one.tier as usize] += 1;
            let from =
                text[..one.span.start].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let from = from.max(one.span.start.saturating_sub(60));
            let to = (one.span.end + 10).min(text.len()).min(one.span.start + 120);
            let line = String::from_utf8_lossy(&text[from..to.max(from)]).replace('\n', "⏎");
            let name = rules.name(one.rule);
            println!("{}\t{name}\t{}\t{line}", one.tier.as_str(), path.display());
        }
    }
    let mb = size as f64 / 1e6;
    let each = [2, 1, 0].map(|tier| f64::from(counts[tier]) / mb);
    eprintln!(
        "{mb:.1} MB: a MB {:.3} certain, {:.3} likely, {:.3} possible",
        each[0], each[1], each[2]
    );
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.metadata().unwrap().len() < 4 << 20 {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn texts(folder: &Path) -> Vec<String> {
    let endings = ["rs", "toml", "md", "py", "js", "ts", "c", "h", "json", "lock", "txt"];
    let source = |path: &PathBuf| {
        path.extension().and_then(|e| e.to_str()).is_some_and(|ending| endings.contains(&ending))
    };
    let mut size = 0;
    let paths = files(folder).into_iter().filter(source);
    let texts = paths.filter_map(|path| std::fs::read_to_string(path).ok());
    texts
        .take_while(|text| {
            size += text.len();
            size < ALL
        })
        .collect()
}

/// Requests as Codex sends them: outputs of commands, and now and then a secret in a line.
fn bodies(texts: &[String], secrets: &[String]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut body = String::new();
    let mut next = 0;
    for text in texts {
        if body.is_empty() {
            body.push_str(
                "{\"model\":\"gpt-5-codex\",\"instructions\":\"You are Codex.\",\"input\":[",
            );
        }
        let mut output = String::new();
        for (number, line) in text.lines().enumerate() {
            output.push_str(line);
            output.push('\n');
            if !secrets.is_empty() && number % 5 == 4 {
                output.push_str(&secrets[next % secrets.len()]);
                output.push('\n');
                next += 1;
            }
        }
        let call = format!("call_{:024x}", text.len() * 7919);
        let blob = "gAAAAABo".to_owned() + &"Zk3-_q9XbT7".repeat(60);
        body.push_str(&format!(
            "{{\"type\":\"reasoning\",\"id\":\"rs_{call}\",\"summary\":[],\"encrypted_content\":\"{blob}\"}},\
             {{\"type\":\"function_call\",\"name\":\"shell\",\"arguments\":\"{}\",\"call_id\":\"{call}\"}},\
             {{\"type\":\"function_call_output\",\"call_id\":\"{call}\",\"output\":\"{}\"}},",
            escaped("{\"command\":[\"bash\",\"-lc\",\"cat src/main.rs\"]}"),
            escaped(&output)
        ));
        if body.len() >= BODY {
            body.push_str(
                "],\"stream\":true,\"prompt_cache_key\":\"0199a213-81c0-7800-8aa1-bbab2a035a53\"}",
            );
            bodies.push(std::mem::take(&mut body).into_bytes());
        }
    }
    bodies
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            other if other < ' ' => escaped.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Lines with secrets of several kinds.
fn secrets() -> Vec<String> {
    let key = |seed: u8| {
        redact::own_key::build(std::array::from_fn(|at| (at as u8).wrapping_mul(seed) % 62))
    };
    (1..60)
        .step_by(2)
        .flat_map(|seed| {
            let key = key(seed);
            let random = &key[4..36];
            [
                format!("export CODEX_KEY={key}"),
                format!("api_key = \"{random}\""),
                format!("DATABASE_URL=postgres://app:{}@db/app", &random[..14]),
                format!("Authorization: Bearer {random}"),
                format!("  password: \"{}!7\"", &random[..10]),
            ]
        })
        .collect()
}

/// The plain way, with what the rules of the same files say.
struct Peer {
    words: aho_corasick::AhoCorasick,
    patterns: Vec<Regex>,
}

impl Peer {
    fn new() -> Self {
        let mut words = Vec::new();
        let mut patterns = Vec::new();
        for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules")) {
            let text = std::fs::read_to_string(path).unwrap();
            let document = toml_edit::Document::parse(text.as_str()).unwrap();
            for table in document["rule"].as_array_of_tables().unwrap() {
                let Some(shape) = table.get("shape").and_then(|shape| shape.as_str()) else {
                    continue;
                };
                let texts = |key: &str| -> Vec<String> {
                    let array = table.get(key).and_then(|list| list.as_array());
                    array
                        .into_iter()
                        .flatten()
                        .map(|one| one.as_str().unwrap().to_owned())
                        .collect()
                };
                for prefix in texts("prefixes") {
                    let pattern = format!(r"\b{}(?:{shape})\b", regex::escape(&prefix));
                    patterns.push(Regex::new(&pattern).unwrap());
                    words.push(prefix);
                }
                for word in texts("words") {
                    let pattern =
                        format!(r#"(?i:{})[^\n]{{0,40}}[=:"' ]({shape})\b"#, regex::escape(&word));
                    patterns.push(Regex::new(&pattern).unwrap());
                    words.push(word);
                }
            }
        }
        for word in ["password", "passwd", "secret", "token", "api_key", "apikey"] {
            words.push(word.to_owned());
            let pattern = format!(r#"(?i:{word})["']?\s*[=:]\s*["']?([^\s"']{{8,100}})"#);
            patterns.push(Regex::new(&pattern).unwrap());
        }
        let words =
            aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(words).unwrap();
        Self { words, patterns }
    }

    fn count(&self, body: &[u8]) -> usize {
        let hits = self.words.find_overlapping_iter(body).filter(|hit| {
            let window = &body[hit.start().saturating_sub(8)..(hit.end() + 256).min(body.len())];
            self.patterns[hit.pattern().as_usize()].is_match(window)
        });
        hits.count()
    }
}
