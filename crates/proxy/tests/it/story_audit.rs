//! Finding exchanges: what an operator asks, and which records that shows.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::client::{ask, post};
use crate::harness::gateway::{PROGRAM, run_with};
use crate::harness::sdk::duckdb;
use crate::harness::{Gateway, Simulator, simulator, url};

/// Two people, who asked this and that.
struct Office {
    simulator: Simulator,
    gateway: Gateway,
}

impl Office {
    async fn new() -> Self {
        let simulator = simulator().await;
        let gateway = Gateway::start(&url(&simulator));
        let ada = gateway.key_with("ada@example.com", &["--team", "blue"]);
        let grace = gateway.key_with("grace@example.com", &["--models", "gpt-4.1*"]);
        let at = gateway.address;
        let asking =
            |model: &str, words: &str| json!({ "model": model, "input": words }).to_string();

        post(at, "/v1/responses", &ada.value, &asking("gpt-5.5", "sim:say=one")).await;
        post(at, "/v1/responses", &ada.value, &asking("gpt-4.1", "sim:status=429")).await;
        let bearer = format!("Bearer {}", grace.value);
        let turn = json!({ "session_id": "session-7", "thread_id": "thread-8",
            "workspaces": { "/home/grace/lighthouse": {} } })
        .to_string();
        let headers = [("authorization", bearer.as_str()), ("x-codex-turn-metadata", &turn)];
        ask(at, "POST", "/v1/responses", &headers, &asking("gpt-4.1", "sim:say=three")).await;
        post(at, "/v1/responses", &grace.value, &asking("gpt-5.5", "four")).await;
        assert_eq!(gateway.records().len(), 4);
        Self { simulator, gateway }
    }

    /// The models asked by what is listed, newest first, each with its outcome.
    fn listed(&self, arguments: &[&str]) -> Vec<String> {
        let listed = self.gateway.ok(&[&["audit", "list", "--format", "json"], arguments].concat());
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let word = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
        listed.iter().map(|r| word(r, "model") + " " + &word(r, "outcome")).collect()
    }
}

#[tokio::test]
async fn records_are_listed_by_what_is_known_of_them() {
    let office = Office::new().await;
    let (one, two) = ("gpt-5.5 complete", "gpt-4.1 failed");
    let (three, four) = ("gpt-4.1 complete", "gpt-5.5 refused");

    let cases: &[(&[&str], &[&str])] = &[
        (&[], &[four, three, two, one]),
        (&["--limit", "0"], &[four, three, two, one]),
        (&["--limit", "2"], &[four, three]),
        (&["--user", "Ada@example.com"], &[two, one]),
        (&["--team", "blue", "--outcome", "complete"], &[one]),
        (&["--model", "gpt-4.1"], &[three, two]),
        (&["--model", "gpt-4*"], &[three, two]),
        (&["--status", "429"], &[two]),
        (&["--session", "session-7"], &[three]),
        (&["--session", "thread-8"], &[three]),
        (&["--repo", "lighthouse"], &[three]),
        (&["--refusal", "model_not_allowed"], &[four]),
        (&["--refusal", "may not ask the model gpt-5.5"], &[four]),
        (&["--refusal", "key_disabled"], &[]),
        (&["--finding", "*"], &[]),
        (&["--from", "2100-01-01"], &[]),
        (&["--to", "2020-01-01"], &[]),
        (&["--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01"], &[four, three, two, one]),
    ];
    for (arguments, expected) in cases {
        assert_eq!(office.listed(arguments), *expected, "{arguments:?}");
    }
    office.simulator.stop().await;
}

#[tokio::test]
async fn a_list_is_the_same_in_all_forms() {
    let office = Office::new().await;

    let as_json: Vec<Value> =
        serde_json::from_str(&office.gateway.ok(&["audit", "list", "--format", "json"])).unwrap();
    let as_csv = office.gateway.ok(&["audit", "list", "--format", "csv"]);
    let as_table = office.gateway.ok(&["audit", "list"]);

    let fields: Vec<&str> = as_json[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut lines = as_csv.lines();
    assert_eq!(lines.next().unwrap(), fields.join(","));
    for (record, (line, row)) in as_json.iter().zip(lines.zip(as_table.lines().skip(1))) {
        let id = record["id"].as_str().unwrap();
        assert!(line.starts_with(id) && row.starts_with(id), "{id}: {line}: {row}");
    }
    assert_eq!(as_table.lines().count(), 5);
    let nothing = ["audit", "list", "--user", "nobody@example.com", "--format"];
    assert_eq!(office.gateway.ok(&[&nothing[..], &["json"]].concat()), "[]\n");
    let head = office.gateway.ok(&[&nothing[..], &["csv"]].concat());
    assert_eq!(head.trim_end(), fields.join(","));
    office.simulator.stop().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_told() {
    let office = Office::new().await;

    for (arguments, told) in [
        (&["audit", "list", "--from", "yesterday"][..], "write a day as 2026-11-22 or a time as"),
        (&["audit", "show", "0199"], "no exchange has the id 0199: see `codex-proxy audit list`"),
        (&["audit", "session", "session-9"], "no conversation has the id session-9"),
    ] {
        let output = office.gateway.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(told), "{arguments:?}: {errors}");
    }
    office.simulator.stop().await;
}

#[tokio::test]
async fn an_error_is_traced_to_who_said_it() {
    let office = Office::new().await;
    let origin = |text: &str| -> Value {
        let told = office.gateway.ok(&["audit", "origin", text, "--format", "json"]);
        serde_json::from_str(&told).unwrap()
    };
    let records = office.gateway.records();
    let answer = |number: usize, origin: &str| json!([{ "id": records[number]["id"], "origin": origin, "status": records[number]["status"] }]);
    let traced = |text: &str| {
        let mut told = origin(text);
        for answer in told["answers"].as_array_mut().unwrap() {
            for name in ["time", "user", "outcome", "excerpt"] {
                answer.as_object_mut().unwrap().remove(name);
            }
        }
        told
    };

    let ours =
        json!({ "origin": "proxy", "upstream": 0, "proxy": 1, "answers": answer(3, "proxy") });
    assert_eq!(traced("may not ask the model"), ours);
    let theirs = json!({ "origin": "upstream", "upstream": 1, "proxy": 0, "answers": answer(1, "upstream") });
    assert_eq!(traced("rate_limit"), theirs);
    // What only a good answer says is the upstream's too; what a request says is nobody's answer.
    assert_eq!(traced("three")["answers"], answer(2, "upstream"));
    assert_eq!(origin("sim:status")["origin"], Value::Null);
    let told = office.gateway.ok(&["audit", "origin", "may not ask the model"]);
    assert!(told.starts_with("Ours: this proxy said it in 1 of its refusals.\n"), "{told}");
    office.simulator.stop().await;
}

#[tokio::test]
async fn what_a_client_is_told_instead_of_an_answer_is_kept() {
    let office = Office::new().await;
    let refused = office.gateway.records().remove(3);
    let id = refused["id"].as_str().unwrap();

    let told: Value = serde_json::from_slice(&office.gateway.raw(id, "response")).unwrap();
    let meta: Value = serde_json::from_slice(&office.gateway.raw(id, "meta")).unwrap();

    assert_eq!(told["error"]["code"], "invalid_prompt");
    assert_eq!(meta["response"]["status"], 400);
    assert_eq!((&refused["response_bytes"], &refused["cost_usd"]), (&json!(0), &json!("0.0000")));
    office.simulator.stop().await;
}

#[tokio::test]
async fn records_are_asked_in_sql() {
    let office = Office::new().await;
    let ask = |query: &str, more: &[&str]| -> Value {
        let words = ["audit", "sql", query, "--format", "json"];
        serde_json::from_str(&office.gateway.ok(&[&words[..], more].concat())).unwrap()
    };

    let counts =
        ask("select user, count(*) n, sum(outcome = 'complete') good from records group by 1", &[]);
    assert_eq!(
        counts,
        json!([{ "user": "ada@example.com", "n": 2, "good": 1 },
            { "user": "grace@example.com", "n": 2, "good": 1 }])
    );
    assert_eq!(ask("select count(*) n from records", &["--team", "blue"]), json!([{ "n": 2 }]));
    assert_eq!(ask("select id from records", &["--to", "2020-01-01"]), json!([]));

    // The columns are the fields of a record, the day before them and exact money beside the cost.
    let records = office.gateway.records();
    let rows = ask("select *, usd(cost_nanos) usd from records order by id", &[]);
    for (row, record) in rows.as_array().unwrap().iter().zip(&records) {
        let mut expected = record.as_object().unwrap().clone();
        let text = |name: &str| json!(record[name].to_string());
        let changes = json!({ "priced": u8::from(record["priced"] == true), "tags": text("tags"),
            "findings": text("findings"), "usd": record["cost_usd"], "cost_usd": row["cost_usd"],
            "cost_nanos": row["cost_nanos"], "day": &record["time"].as_str().unwrap()[..10] });
        expected.extend(changes.as_object().unwrap().clone());
        assert_eq!(*row, Value::Object(expected));
    }
    let cost: f64 = records[0]["cost_usd"].as_str().unwrap().parse().unwrap();
    assert_eq!((&rows[0]["cost_usd"], cost > 0.0), (&json!(cost), true));

    let refused = office.gateway.run(&["audit", "sql", "delete from records"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("not authorized"), "{told}");
    office.simulator.stop().await;
}

#[tokio::test]
async fn exchanges_are_exported_whole() {
    let office = Office::new().await;
    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let file = office.gateway.folder.path().join("out.jsonl");
    let path = file.to_str().unwrap();

    let records = lines(&office.gateway.ok(&["audit", "export"]));
    assert_eq!(office.gateway.ok(&["audit", "export", "--bodies", "--output", path]), "");
    let whole = lines(&std::fs::read_to_string(&file).unwrap());

    assert_eq!(records, office.gateway.records());
    assert_eq!(whole.len(), 4);
    for (whole, record) in whole.iter().zip(&records) {
        let id = record["id"].as_str().unwrap();
        let meta: Value = serde_json::from_slice(&office.gateway.raw(id, "meta")).unwrap();
        let body = |part: &str| String::from_utf8(office.gateway.raw(id, part)).unwrap();
        let mut expected = meta.clone();
        expected["request"]["body"] = body("request").into();
        expected["response"]["body"] = body("response").into();
        assert_eq!(*whole, expected);
    }
    let table = ["audit", "export", "--format", "parquet", "--output", "out.parquet"];
    assert_eq!(office.gateway.ok(&table), "");
    let sql = "select id, \"user\", cost_nanos from 'out.parquet'";
    let rows = duckdb(office.gateway.folder.path(), &[sql]).await;
    let nanos = |usd: &Value| json!(usd.as_str().map(wire::price::nanos));
    let expected =
        records.iter().map(|r| vec![r["id"].clone(), r["user"].clone(), nanos(&r["cost_usd"])]);
    assert_eq!(rows, expected.collect::<Vec<_>>());
    let wrong = ["audit", "export", "--bodies", "--format", "parquet"];
    assert_eq!(office.gateway.run(&wrong).status.code(), Some(2));
    let hers = lines(&office.gateway.ok(&["audit", "export", "--user", "ada@example.com"]));
    assert_eq!(hers, records[..2]);
    office.simulator.stop().await;
}

#[tokio::test]
async fn bodies_that_are_kept_no_longer_leave_their_records() {
    let office = Office::new().await;
    let records = office.gateway.records();
    let (folder, ..) = office.gateway.stop();
    let run = |arguments: &[&str]| run_with(folder.path(), arguments, &[]);
    let ok = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    // As the daily pruning leaves it.
    std::fs::remove_dir_all(folder.path().join("data/archive/bodies")).unwrap();

    let id = records[0]["id"].as_str().unwrap();
    let why = "its bodies are kept no longer: its record is left";
    assert!(ok(&["audit", "show", id, "--part", "meta"]).contains(id));
    assert!(ok(&["audit", "show", id]).contains(&format!("--- request: {why}\n")));
    for part in ["request", "response"] {
        let output = run(&["audit", "show", id, "--part", part, "--raw"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(why)), (Some(1), true), "{said}");
    }
    let whole = ok(&["audit", "export", "--bodies"]);
    let whole: Vec<Value> = whole.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(whole, records);
    assert!(ok(&["audit", "session", "session-7"]).contains("session-7"));
    assert_eq!(ok(&["audit", "list", "--refusal", "may not ask", "--format", "json"]), "[]\n");
    assert!(ok(&["audit", "origin", "nowhere", "--format", "json"]).contains("null"));
    assert_eq!(ok(&["audit", "search", "one", "--format", "json"]), "[]\n");
    office.simulator.stop().await;
}

#[tokio::test]
async fn bodies_that_were_never_stored_are_not_shown_as_empty_ones() {
    let simulator = simulator().await;
    let none = [("CODEX_PROXY_ARCHIVE_BODIES", "none")];
    let gateway = Gateway::start_with(&url(&simulator), &none);
    let key = gateway.key("ada@example.com");
    let body = json!({ "model": "gpt-5.5", "input": "sim:say=one" }).to_string();
    assert_eq!(post(gateway.address, "/v1/responses", &key.value, &body).await.status, 200);

    let records = gateway.records();
    let id = records[0]["id"].as_str().unwrap();
    for (part, what) in [("request", "its request"), ("response", "its answer")] {
        let output = gateway.run(&["audit", "show", id, "--part", part, "--raw"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("the body of {what} was not stored")), "{said}");
    }
    let whole: Value = serde_json::from_str(&gateway.ok(&["audit", "export", "--bodies"])).unwrap();
    assert_eq!(whole["request"]["method"], "POST");
    assert_eq!(
        (&whole["request"]["body"], &whole["response"]["body"]),
        (&Value::Null, &Value::Null)
    );
    simulator.stop().await;
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_and_a_closed_pipe_none() {
    let office = Office::new().await;
    let records = office.gateway.records();
    let id = records[0]["id"].as_str().unwrap();
    let shell = |line: &str| {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("set -o pipefail; {line}")]).env("PROGRAM", PROGRAM);
        shell.env("CODEX_PROXY_DATA", office.gateway.folder.path().join("data"));
        shell.output().unwrap()
    };
    for part in ["request", "response"] {
        let full = shell(&format!("$PROGRAM audit show {id} --part {part} --raw > /dev/full"));
        assert_eq!(full.status.code(), Some(1), "{full:?}");
    }
    for command in
        ["export", "list --format csv", "list --format json", "sql 'select 1' --format csv"]
    {
        let closed = shell(&format!("$PROGRAM audit {command} | true"));
        assert_eq!(
            (closed.status.code(), closed.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{command}"
        );
    }
    office.simulator.stop().await;
}

#[tokio::test]
async fn a_text_is_found_where_it_stands() {
    let office = Office::new().await;
    let ids: Vec<Value> = office.gateway.records().iter().map(|r| r["id"].clone()).collect();
    let places = |text: &str| -> Vec<(Value, Value)> {
        let found = office.gateway.ok(&["audit", "search", text, "--format", "json"]);
        let found: Vec<Value> = serde_json::from_str(&found).unwrap();
        found.iter().map(|hit| (hit["id"].clone(), hit["side"].clone())).collect()
    };
    let (asked, answered) = (json!("request"), json!("response"));

    assert_eq!(places("sim:say=three"), [(ids[2].clone(), asked.clone())]);
    assert_eq!(places("\"text\":\"three\""), [(ids[2].clone(), answered)]);
    assert_eq!(places("/say=t[a-z]+/"), [(ids[2].clone(), asked)]);
    assert_eq!(places("nobody said this"), []);
    let wrong = office.gateway.run(&["audit", "search", "/(/"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("reading the regular expression"));
    office.simulator.stop().await;
}
