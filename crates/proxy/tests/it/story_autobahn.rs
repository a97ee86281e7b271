//! The Autobahn test-suite as client and as server, with the gateway between: each case must end
//! as it does without it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::Gateway;
use crate::harness::autobahn::{Bend, Suite, Verdict, Verdicts, bent, unbent};

/// One or two of each kind.
const SAMPLE: [&str; 25] = [
    "1.1.1", "1.1.7", "1.2.6", "2.4", "2.10", "3.2", "3.4", "3.7", "4.1.3", "4.2.1", "5.3", "5.6",
    "5.15", "5.19", "6.2.3", "6.4.1", "6.6.3", "7.1.1", "7.1.5", "7.3.2", "7.5.1", "7.7.1",
    "7.9.2", "12.1.1", "13.1.1",
];
/// A gateway before this address, and wires that let the suite pass.
struct Between {
    _gateway: Gateway,
    near: Bend,
    _far: Bend,
}

impl Between {
    async fn start(upstream: SocketAddr) -> Self {
        let far = Bend::start(upstream, move |head| unbent(head, upstream)).await;
        // Where messages may be masked no compression is offered, and those that might be questions
        // must be UTF-8: that is judged elsewhere.
        let off = [("CODEX_PROXY_SCREEN_ACTION", "off")];
        let gateway = Gateway::start_with(&format!("http://{}/v1", far.address), &off);
        let key = gateway.key("ada@example.com").value;
        let near = Bend::start(gateway.address, move |head| bent(head, &key)).await;
        Self { _gateway: gateway, near, _far: far }
    }
}

/// A server judged without and with the gateway before it.
async fn servers(suite: impl Fn() -> Suite) -> [Verdicts; 2] {
    let (alone, behind) = (suite(), suite());
    let echo = alone.echo().await;
    let between = Between::start(echo.address).await;
    let verdicts =
        tokio::join!(alone.judge_server(echo.address), behind.judge_server(between.near.address));
    verdicts.into()
}

/// A client judged without and with the gateway before the judge.
async fn clients(suite: impl Fn() -> Suite) -> [Verdicts; 2] {
    let (alone, behind) = (suite(), suite());
    let (judge, judge_behind) = (alone.judge().await, behind.judge().await);
    let between = Between::start(judge_behind.address).await;
    let verdicts = tokio::join!(alone.client(judge.address), behind.client(between.near.address));
    verdicts.into()
}

/// Whether two verdicts say the same. What the suite calls not strict is whether an echo came
/// before the end, which the standard leaves open, as it does the time of that end.
fn alike(one: &Verdict, other: &Verdict) -> bool {
    let passes = |verdict: &Verdict| ["OK", "NON-STRICT"].contains(&verdict.behavior.as_str());
    let behavior = one.behavior == other.behavior || passes(one) && passes(other);
    behavior && (&one.close, one.code) == (&other.close, other.code)
}

/// Says which cases ended differently.
fn same([alone, behind]: [Verdicts; 2]) {
    assert!(!alone.is_empty());
    let different: Vec<String> = alone
        .iter()
        .filter(|(case, verdict)| !behind.get(*case).is_some_and(|other| alike(verdict, other)))
        .map(|(case, verdict)| format!("{case}: {verdict:?}, behind {:?}", behind.get(case)))
        .collect();
    assert!(different.is_empty(), "{} cases:\n{}", different.len(), different.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Autobahn, and so a Python 2.7: run by `make test` where that is"]
async fn a_server_behind_the_gateway_is_judged_as_without_it() {
    same(servers(|| Suite::find(&SAMPLE, &[], Duration::from_mins(3))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Autobahn, and so a Python 2.7: run by `make test` where that is"]
async fn a_client_of_the_gateway_is_judged_as_without_it() {
    same(clients(|| Suite::find(&SAMPLE, &[], Duration::from_mins(3))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of an hour: run by `make matrix`"]
async fn the_whole_suite_judges_servers_alike() {
    same(servers(|| Suite::find(&["*"], &[], Duration::from_hours(1))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of an hour: run by `make matrix`"]
async fn the_whole_suite_judges_clients_alike() {
    same(clients(|| Suite::find(&["*"], &[], Duration::from_hours(1))).await);
}
