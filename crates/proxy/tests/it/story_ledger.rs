//! The books close: many mixed exchanges with faults and disconnects, and in the end our sums are the
//! simulator's bill to the token and the nano-dollar, or each difference is marked as estimated.

use std::collections::HashMap;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::harness::gateway::Key;
use crate::harness::{Gateway, Raw, simulator, until, url};

/// What one exchange does: its address, its body, and whether its client leaves early.
struct Plan {
    path: &'static str,
    body: String,
    leaves: bool,
}

/// Models, and nano-dollars of a thousand tokens: uncached, cached, written to the cache, output.
const MODELS: [(&str, [u64; 4]); 3] = [
    ("gpt-6-luna", [100_000, 10_000, 125_000, 500_000]),
    ("gpt-5.5", [5_000_000, 500_000, 5_000_000, 30_000_000]),
    ("gpt-6.1-sol", [2_000_000, 100_000, 2_500_000, 10_000_000]),
];

/// The exchange with this number: what it is differs from its neighbours', and is the same each time.
fn plan(number: usize) -> Plan {
    let model = MODELS[number % MODELS.len()].0;
    let counts = format!(
        "sim:input_tokens={} sim:cached={} sim:cache_write={} sim:output_tokens={}",
        number % 5000 + 100,
        number % 90,
        number % 7,
        number % 300
    );
    let words = match number / 3 % 16 {
        0 => "sim:status=429 sim:code=rate_limit_exceeded",
        1 => "sim:status=500",
        2 => "sim:cut=3 sim:words=40",
        3 => "sim:eof=4 sim:words=40",
        4 => "sim:fail=server_error",
        5 => "sim:incomplete=max_output_tokens",
        6 => "sim:drop",
        7 => "sim:usage=none sim:words=30",
        8 => "sim:words=200 sim:pace=1ms",
        9 => "sim:tier=flex",
        _ => "sim:words=20",
    };
    let leaves = number / 3 % 16 == 8;
    let text = format!("{number} {words} {counts}");
    let stream = number % 4 != 1;
    if number % 5 == 2 {
        let messages = json!([{ "role": "user", "content": text }]);
        let options = json!({ "include_usage": true });
        let mut body = json!({ "model": model, "messages": messages, "stream": stream });
        if stream {
            body["stream_options"] = options;
        }
        return Plan { path: "/v1/chat/completions", body: body.to_string(), leaves };
    }
    let body = json!({ "model": model, "input": text, "stream": stream });
    Plan { path: "/v1/responses", body: body.to_string(), leaves: leaves && stream }
}

async fn carry_out(gateway: &Gateway, key: &Key, number: usize) {
    let Plan { path, body, leaves } = plan(number);
    let authorization = format!("Bearer {}", key.value);
    let headers = [("authorization", authorization.as_str())];
    let mut client = Raw::connect(gateway.address).await;
    let sent = crate::harness::client::request("POST", path, &headers, &body);
    client.send(sent.as_bytes()).await;
    if leaves {
        client.piece().await;
    } else {
        let _ = client.try_answer().await;
    }
}

/// What an exchange costs by its bill, nano-dollars.
fn cost(billed: &simulate::Billed) -> u64 {
    let (_, rates) = MODELS.iter().find(|(model, _)| *model == billed.model).unwrap();
    let (cached, written) = (billed.cached_input_tokens, billed.cache_write_tokens);
    let plain = billed.input_tokens - cached - written;
    let tokens = [plain, cached, written, billed.output_tokens];
    let nanos: u64 = tokens.iter().zip(rates).map(|(tokens, rate)| tokens * rate).sum();
    let times = if billed.service_tier == "flex" { 2 } else { 1 };
    (nanos / times + 500) / 1000
}

fn nanos(usd: &Value) -> u64 {
    let (whole, fraction) = usd.as_str().unwrap().split_once('.').unwrap();
    whole.parse::<u64>().unwrap() * 1_000_000_000
        + format!("{fraction:0<9}").parse::<u64>().unwrap()
}

/// Nothing was charged that is not in our books: what broke before it had an id is an estimate.
fn nothing_is_missing(bill: &HashMap<String, simulate::Billed>, records: &[Value]) {
    let ids: Vec<&str> = records.iter().filter_map(|one| one["response_id"].as_str()).collect();
    let ids: std::collections::HashSet<&str> = ids.into_iter().collect();
    let charged = bill.values().filter(|billed| billed.total_tokens > 0);
    let without_id = charged.filter(|billed| !ids.contains(billed.response_id.as_str())).count();
    let is_nameless = |one: &&Value| one["usage"] == "estimated" && one["response_id"].is_null();
    let nameless = records.iter().filter(is_nameless).count();
    assert!(without_id <= nameless, "{without_id} charged, {nameless} estimated without an id");
}

async fn the_books_close(exchanges: usize) {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let key = gateway.key_with("ada@example.com", &["--budget", "1000000usd/month"]);
    let all = futures_util::stream::iter(0..exchanges);
    all.for_each_concurrent(24, |number| carry_out(&gateway, &key, number)).await;
    until("every exchange is on record", || gateway.records().len() == exchanges).await;

    let bill: HashMap<String, simulate::Billed> =
        simulator.bill().exchanges.into_iter().map(|one| (one.response_id.clone(), one)).collect();
    let (mut exact, mut estimated, mut sum, mut ours) = (0, 0, 0, 0);
    let records = gateway.records();
    for record in &records {
        let billed = record["response_id"].as_str().and_then(|id| bill.get(id));
        ours += if record["cost_usd"].is_null() { 0 } else { nanos(&record["cost_usd"]) };
        match (record["usage"].as_str().unwrap(), billed) {
            ("exact", Some(billed)) => {
                let names =
                    ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"];
                let told = names.map(|name| record[name].as_u64().unwrap());
                let counted = [
                    billed.input_tokens,
                    billed.cached_input_tokens,
                    billed.cache_write_tokens,
                    billed.output_tokens,
                ];
                assert_eq!(told, counted, "{record}");
                assert_eq!(nanos(&record["cost_usd"]), cost(billed), "{record} {billed:?}");
                exact += 1;
                sum += cost(billed);
            }
            ("exact", None) => panic!("nobody billed {record}"),
            ("estimated", _) => {
                estimated += 1;
                sum += nanos(&record["cost_usd"]);
            }
            // It was refused or failed there: nothing is charged.
            ("none", billed) => {
                let charged = billed.filter(|billed| billed.total_tokens > 0);
                assert!(charged.is_none(), "charged, and not marked: {record} {charged:?}");
            }
            (other, _) => panic!("{other}"),
        }
    }
    assert_eq!(ours, sum);
    nothing_is_missing(&bill, &records);
    assert!(exact * 10 > exchanges * 4 && estimated > 0, "{exact} exact, {estimated} estimated");

    // And the report, and the budget, say the same.
    let report: Value = serde_json::from_str(&gateway.ok(&["report", "--format", "json"])).unwrap();
    assert_eq!(nanos(&report[0]["cost_usd"]), sum);
    until("the budget has all", || {
        let listed = gateway.ok(&["budget", "list", "--format", "json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let spent = format!("{}0000", listed[0]["spent"].as_str().unwrap());
        nanos(&json!(spent.get(..spent.find('.').unwrap() + 10).unwrap_or(&spent))) == sum
    })
    .await;
    gateway.ok(&["report", "--verify"]);
    println!("{exchanges} exchanges: {exact} exact, {estimated} estimated, {sum} nano-dollars");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_mixed_exchanges_add_up() {
    the_books_close(2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make ledger`"]
async fn a_hundred_thousand_mixed_exchanges_add_up() {
    the_books_close(100_000).await;
}
