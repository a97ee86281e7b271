//! What an archive of sessions costs: bytes, processor time, and how long one takes to read back.
//!
//! `cargo bench -p archive -- FOLDER`, with sessions of `scripts/sessions.py` in the folder.

#[path = "../tests/sessions/play.rs"]
mod play;

use std::time::{Duration, Instant};

use play::{House, midnight, recorded};

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let Some(folder) = folder else {
        eprintln!("sessions: name a folder with sessions of scripts/sessions.py");
        return;
    };
    let mut exchanges = recorded(folder.as_ref());
    let raw: usize = exchanges.iter().map(|one| one.request.len() + one.response.len()).sum();
    let home = tempfile::tempdir().unwrap();
    let house = House { folder: home.path().to_owned() };

    // A restart after half of it, midnight after three quarters.
    let (half, quarter) = (exchanges.len() / 2, exchanges.len() / 4);
    let before = processor_time();
    let (first, rest) = exchanges.split_at_mut(half);
    house.live(first);
    let (second, third) = rest.split_at_mut(quarter);
    house.live(second);
    midnight();
    house.live(third);
    let spent = processor_time() - before;

    let stored = house.bytes();
    println!("exchanges  {}, {raw} bytes raw", exchanges.len());
    println!("stored     {stored} bytes, 1/{:.1}", raw as f64 / stored as f64);
    for part in ["archive/bodies", "archive/records", "archive/manifests", "spool"] {
        println!("           {part} {}", play::bytes(&home.path().join(part)));
    }
    println!(
        "written    {:.3} ms of processor time an exchange",
        ms(spent) / exchanges.len() as f64
    );
    let mut took = read_all(&house, &exchanges);
    took.sort();
    println!(
        "read back  {:.2} ms at the median, {:.2} at most",
        ms(took[took.len() / 2]),
        ms(*took.last().unwrap())
    );
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

/// Of all threads.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
