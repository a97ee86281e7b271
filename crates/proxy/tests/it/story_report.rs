//! Reports: from sums that are kept, equal to those of all records; compared, filtered, charged.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::client::post;
use crate::harness::{Gateway, simulator, until, url};

fn report(gateway: &Gateway, more: &[&str]) -> Value {
    let arguments = [&["report"], more, &["--format", "json"]].concat();
    serde_json::from_str(&gateway.ok(&arguments)).unwrap()
}

/// The files of records of an archive.
fn files(gateway: &Gateway) -> Vec<PathBuf> {
    let mut folders = vec![gateway.folder.path().join("data/archive/records")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            // While it is written a file has another name.
            let is_whole = path.extension().is_some_and(|ending| ending == "zst");
            if path.is_dir() {
                folders.push(path);
            } else if is_whole {
                files.push(path);
            }
        }
    }
    files
}

async fn ask_some(gateway: &Gateway) {
    for (user, team, model) in
        [("ada", "blue", "gpt-5.5"), ("bob", "blue", "gpt-6-luna"), ("cleo", "red", "gpt-5.5")]
    {
        let key = gateway.key_with(&format!("{user}@example.com"), &["--team", team]);
        for number in 0..3 {
            let body = json!({ "model": model, "input": format!("sim:input_tokens={number}000 sim:output_tokens=10") });
            let answer =
                post(gateway.address, "/v1/responses", &key.value, &body.to_string()).await;
            assert_eq!(answer.status, 200);
        }
    }
}

#[tokio::test]
async fn sums_are_those_of_the_records_before_and_after_they_are_published() {
    let simulator = simulator().await;
    let settings = [("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "1s")];
    let gateway = Gateway::start_with(&url(&simulator), &settings);
    ask_some(&gateway).await;
    let before = report(&gateway, &["--by", "model"]);
    assert_eq!(before.as_array().unwrap().len(), 2);
    until("all is published", || !files(&gateway).is_empty()).await;
    until("the spool is empty", || {
        let told = gateway.run(&["doctor", "--format", "json"]).stdout;
        String::from_utf8(told).unwrap().contains("\"0 B of")
    })
    .await;
    assert_eq!(report(&gateway, &["--by", "model"]), before, "added up from the archive");
    assert_eq!(report(&gateway, &["--by", "model"]), before, "from what is kept");
    let proven = gateway.ok(&["report", "--verify"]);
    assert!(proven.ends_with("are those of all 9 records\n"), "{proven}");

    // What somebody changed behind our back is found.
    let kept = gateway.folder.path().join("data/rollups.db");
    let connection = rusqlite::Connection::open(&kept).unwrap();
    assert!(connection.execute("UPDATE sums SET cost = cost + 1", []).unwrap() > 0);
    drop(connection);
    let output = gateway.run(&["report", "--verify"]);
    assert_eq!(output.status.code(), Some(3));
    // It is a copy: without it everything is added up again.
    std::fs::remove_file(&kept).unwrap();
    for rest in ["data/rollups.db-wal", "data/rollups.db-shm"] {
        let _ = std::fs::remove_file(gateway.folder.path().join(rest));
    }
    assert_eq!(report(&gateway, &["--by", "model"]), before);
    simulator.stop().await;
}

#[tokio::test]
async fn a_report_is_filtered_compared_and_charged() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    ask_some(&gateway).await;
    let blue = report(&gateway, &["--team", "blue"]);
    let users: Vec<_> = blue.as_array().unwrap().iter().map(|row| &row["user"]).collect();
    assert_eq!(users, ["ada@example.com", "bob@example.com"]);
    let luna = report(&gateway, &["--model", "*luna", "--by", "hour"]);
    assert_eq!((luna.as_array().unwrap().len(), &luna[0]["requests"]), (1, &json!(3)));
    assert!(luna[0]["hour"].as_str().unwrap().ends_with(":00:00Z"));

    let compared = report(&gateway, &["--by", "team", "--compare"]);
    let row = &compared[0];
    assert_eq!((&row["previous_requests"], &row["cost_change_percent"]), (&json!(0), &Value::Null));

    let charged = gateway.folder.path().join("charged.csv");
    gateway.ok(&["report", "--chargeback", charged.to_str().unwrap()]);
    let charged = std::fs::read_to_string(charged).unwrap();
    let mut reader = csv::Reader::from_reader(charged.as_bytes());
    let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let centers: Vec<_> = lines.iter().map(|line| (&line[2], &line[3], &line[4])).collect();
    let expected = [
        ("blue", "ada@example.com", "gpt-5.5"),
        ("blue", "bob@example.com", "gpt-6-luna"),
        ("red", "cleo@example.com", "gpt-5.5"),
    ];
    assert_eq!(centers, expected);
    let cost = |text: &str| (text.parse::<f64>().unwrap() * 1e9).round();
    let total: f64 = lines.iter().map(|line| cost(&line[11])).sum();
    let users = report(&gateway, &[]);
    let users = users.as_array().unwrap().iter();
    assert!(
        (users.map(|row| cost(row["cost_usd"].as_str().unwrap())).sum::<f64>() - total).abs() < 0.5
    );
    simulator.stop().await;
}

/// A month of records made of one: an hour, person, model and session each.
fn make_month(gateway: &Gateway, records: u64) -> u64 {
    let files = files(gateway);
    let template = zstd::decode_all(std::fs::File::open(&files[0]).unwrap()).unwrap();
    let template = String::from_utf8(template).unwrap();
    let mut line: Value = serde_json::from_str(template.lines().next().unwrap()).unwrap();
    let name = files[0].file_name().unwrap().to_str().unwrap().to_owned();
    let root = gateway.folder.path().join("data/archive/records/year=2026/month=10");
    let mut input = 0;
    for day in 1..=31 {
        let folder = root.join(format!("day={day:02}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut file = new_file(&folder.join(&name));
        for number in 0..records / 31 {
            let hour = number % 24;
            line["id"] = json!(format!("0192{day:04}-0000-7000-8000-{number:012}"));
            line["time"] = json!(format!("2026-10-{day:02}T{hour:02}:00:00.000Z"));
            line["user"] = json!(format!("user{}@example.com", number % 50));
            line["session_id"] = json!(format!("session-{day}-{}", number / 40));
            line["input_tokens"] = json!(number);
            input += number;
            writeln!(file, "{line}").unwrap();
        }
        file.finish().unwrap();
    }
    input
}

fn new_file(path: &Path) -> zstd::Encoder<'static, std::fs::File> {
    zstd::Encoder::new(std::fs::File::create(path).unwrap(), 1).unwrap()
}

#[tokio::test]
async fn a_month_of_many_records_is_added_up_once() {
    let simulator = simulator().await;
    let gateway =
        Gateway::start_with(&url(&simulator), &[("CODEX_PROXY_ARCHIVE_SEAL_AFTER", "1s")]);
    let key = gateway.key("ada@example.com");
    post(gateway.address, "/v1/responses", &key.value, r#"{"model":"gpt-5.5","input":"hi"}"#).await;
    until("it is published", || !files(&gateway).is_empty()).await;
    let input = make_month(&gateway, 62_000);

    let month = ["2026-10-01", "2026-10-31", "--by", "user"];
    let first = report(&gateway, &month);
    let sum = |name: &str| {
        first.as_array().unwrap().iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((sum("requests"), sum("input_tokens")), (62_000, input));
    // The second time the files are not read: they could not be.
    let october = gateway.folder.path().join("data/archive/records/year=2026/month=10/day=07");
    let file = std::fs::read_dir(&october).unwrap().next().unwrap().unwrap().path();
    let changed = file.metadata().unwrap().modified().unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut rubbish = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    rubbish.write_all(&vec![0; length]).unwrap();
    rubbish.set_modified(changed).unwrap();
    assert_eq!(report(&gateway, &month), first);
    // A day whose records are gone is not in the report any more.
    std::fs::remove_file(&file).unwrap();
    let rest = report(&gateway, &month);
    let requests: u64 =
        rest.as_array().unwrap().iter().map(|row| row["requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, 60_000);
    simulator.stop().await;
}
