//! What an archive of sessions costs: bytes, processor time, and how long one takes to read back.
//!
//! `cargo bench -p archive -- FOLDER`, with sessions of `scripts/sessions.py` in the folder.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unchecked_time_subtraction,
    clippy::cast_precision_loss,
    reason = "in a measurement a panic is how a failure is told, and figures are round"
)]

#[path = "../tests/sessions/play.rs"]
mod play;

use std::time::{Duration, Instant};

use archive::search::Seek;
use play::{House, recorded};

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let Some(folder) = folder else {
        eprintln!("sessions: name a folder with sessions of scripts/sessions.py");
        return;
    };
    let mut exchanges = recorded(folder.as_ref());
    let home = tempfile::tempdir().unwrap();
    let house = House { folder: home.path().to_owned() };
    let before = [of_all_threads(), of_this_thread()];
    house.live_through_all(&mut exchanges);
    let after = [of_all_threads(), of_this_thread()];
    let [written, appended] = [0, 1].map(|at| ms(after[at] - before[at]) / exchanges.len() as f64);

    let raw: usize = exchanges.iter().map(|one| one.request.len() + one.response.len()).sum();
    let stored = house.bytes();
    println!("exchanges  {}, {raw} bytes raw", exchanges.len());
    println!("stored     {stored} bytes, 1/{:.1}", raw as f64 / stored as f64);
    for part in ["archive/bodies", "archive/records", "archive/manifests", "spool"] {
        println!("           {} in {part}", play::bytes(&home.path().join(part)));
    }
    println!("written    {written:.3} ms of processor time an exchange, {appended:.3} to append");
    let mut took = read_all(&house, &exchanges);
    took.sort();
    let [median, most] = [took[took.len() / 2], took[took.len() - 1]].map(ms);
    println!("read back  {median:.2} ms at the median, {most:.2} at most");
    let [text, pattern] = [&["ownership"][..], &[]].map(|hints| searched(&house, hints));
    println!("searched   {text:.1} GB of bodies a second for a text, {pattern:.1} for a pattern");
}

/// How many gigabytes of bodies are looked through in a second, on one core; with hints as for a text,
/// without as for a regular expression.
fn searched(house: &House, hints: &[&str]) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pattern = regex::bytes::Regex::new("owner[s]hip").unwrap();
    let find = |text: &[u8]| pattern.find(text).map(|_| String::new());
    runtime.block_on(async {
        let reader = house.reader();
        let view = reader.view().unwrap();
        let begin = Instant::now();
        let mut bytes = 0;
        for day in view.days_of_bodies().await.unwrap() {
            bytes += view.search(day, &Seek::new(hints, &find), &mut |_| ()).await.unwrap();
        }
        bytes as f64 / begin.elapsed().as_secs_f64() / 1e9
    })
}

/// Reads every exchange back, compares its bodies, and tells how long each took.
fn read_all(house: &House, exchanges: &[play::Recorded]) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let reader = house.reader();
        let found = play::all(&reader).await;
        let mut took = Vec::new();
        for one in exchanges {
            let found = &found[&one.record.id];
            let begin = Instant::now();
            let exchange = reader.exchange(found).await.unwrap();
            took.push(begin.elapsed());
            assert!(exchange.request_body == one.request && exchange.response_body == one.response);
        }
        took
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Processor time so far, those that have ended included, in ticks of 10 ms (proc(5), `stat`). From
/// files, so that this runs under valgrind, which counts instructions when a machine is busy.
fn of_all_threads() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, behind_name) = stat.rsplit_once(") ").unwrap();
    let ticks = behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// The same of this thread, in nanoseconds (`schedstat`).
fn of_this_thread() -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(spent.split(' ').next().unwrap().parse().unwrap())
}
