//! Stories of what strict mode keeps to itself. They take root, who alone can look into it.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::authority::Authority;
use crate::harness::client::{Raw, ask, request};
use crate::harness::memory::{Place, find};
use crate::harness::names::Names;
use crate::harness::recording::{Recording, Step, chunk, stream_head, whole};
use crate::harness::strict::{KEY, Launch, Strict, Twin};

/// Somebody without any rights, as which nothing else runs.
const NOBODY: &str = "61234";

/// The key stands in one place, which is locked, and of which no dump and no child gets a copy.
fn check_key(proxy: &Strict) {
    let once = |bytes: &str| -> Place {
        let found = find(proxy.pid(), bytes.as_bytes());
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    let place = once(KEY);
    for flag in ["lo", "dd", "dc"] {
        assert!(place.flags.iter().any(|has| has == flag), "{flag} is not in {place:?}");
    }
    // Nor is there a piece of it elsewhere.
    let pieces = [KEY.get(10..26).unwrap(), KEY.get(KEY.len() - 16..).unwrap()];
    assert!(pieces.map(once).iter().all(|piece| piece.address > place.address));
    assert_eq!(find(proxy.pid(), b"ENVIRONMENT-SECRET"), []);
}

/// Many requests over some connections: large and small, answered whole and in pieces.
async fn ask_a_hundred(proxy: &Strict) {
    let large = format!("{{\"input\":\"{}\"}}", "x".repeat(300_000));
    for _ in 0..10 {
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(Raw::connect(proxy.address).await);
        }
        for body in ["{\"stream\":true}", &large] {
            let request = request("POST", "/v1/responses", &[("x-trace", "1")], body);
            for client in &mut clients {
                client.send(request.as_bytes()).await;
            }
            for client in &mut clients {
                assert_eq!(client.answer().await.status, 200);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_stands_in_one_place_whatever_was_asked() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let authority = Authority::new();
    let pair = authority.sign("upstream");
    let front = pair.stand_before(upstream.address, "127.0.0.1:0".parse().unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let environment = [
        ("SSL_CERT_FILE", trusted.to_str().unwrap()),
        ("OPENAI_API_KEY", KEY),
        ("OTHER", "ENVIRONMENT-SECRET"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let urls = [upstream.url(), format!("https://{}/v1/responses", front.address)];
    let proxies = urls.map(|url| {
        let launch = Launch { environment: environment.to_vec(), ..Launch::default() };
        Strict::launch(Twin::Ours, &url, &["--require-hardening"], &launch)
    });
    for proxy in &proxies {
        check_key(proxy);
        ask_a_hundred(proxy).await;
    }
    // What the system does late, as giving memory back, is done by then.
    tokio::time::sleep(Duration::from_secs(6)).await;
    proxies.iter().for_each(check_key);
    assert_eq!(upstream.requests().len(), 200);
    let shown = format!("Authorization: Bearer {KEY}\r\n").to_lowercase();
    for request in upstream.requests() {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        assert_eq!(text.matches(&shown).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_upstream_is_found_though_no_file_can_be_opened() {
    let upstream = Recording::start(vec![stream_head(), chunk("data: 1\n\n"), chunk("")]).await;
    let authority = Authority::new();
    let pair = authority.sign_for(&["api.strict.test"], "upstream");
    let names = Names::start(1).await;
    let front = pair.stand_before(upstream.address, (names.address, 0).into()).await;
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let environment = vec![("SSL_CERT_FILE".to_owned(), trusted.display().to_string())];
    let launch = Launch { below: names.asked_here(folder.path()), environment };
    let url = format!("https://api.strict.test:{}/v1/responses", front.address.port());
    let proxy = Strict::launch(Twin::Ours, &url, &["--require-hardening"], &launch);
    for _ in 0..3 {
        let answer = ask(proxy.address, "POST", "/v1/responses", &[], "{\"stream\":true}").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "data: 1\n\n"));
    }
    check_key(&proxy);
}

#[tokio::test]
async fn nobody_of_the_same_user_can_trace_it_or_read_its_memory() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let below = || {
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        let words = ["setpriv".to_owned(), "--clear-groups".to_owned()];
        words.into_iter().chain(ids).collect::<Vec<String>>()
    };
    // What is tried succeeds with the program that this stands in for: so it is a trial.
    for (twin, expected) in [(Twin::Original, [true; 3]), (Twin::Ours, [false; 3])] {
        let launch = Launch { below: below(), ..Launch::default() };
        let more: &[&str] = if twin == Twin::Ours { &["--require-hardening"] } else { &[] };
        let proxy = Strict::launch(twin, &upstream.url(), more, &launch);
        let pid = proxy.pid();
        // Attach, and see whether that was permitted.
        let attach = format!("exit(syscall({}, 16, {pid}, 0, 0) != 0)", libc::SYS_ptrace);
        let read = |file: &str| format!("open(F, '<', '/proc/{pid}/{file}') || exit 1; exit !<F>");
        let tried = [attach, read("environ"), read("maps")].map(|script| {
            let mut words = below();
            words.extend(["perl".to_owned(), "-e".to_owned(), script]);
            Command::new(&words[0]).args(&words[1..]).status().unwrap().success()
        });
        assert_eq!(tried, expected, "{twin:?}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let is = |text: &str, line: &str| {
            let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            text.lines().any(|known| words(known).starts_with(&words(line)))
        };
        let ours = twin == Twin::Ours;
        assert_eq!(is(&status, "NoNewPrivs: 1"), ours);
        assert_eq!(is(&status, "Seccomp: 2"), ours);
        assert_eq!(is(&limits, "Max core file size 0 0"), ours);
    }
}

#[tokio::test]
async fn a_key_in_the_making_is_no_key_of_a_program_that_is_traced() {
    let upstream = Recording::start(vec![Step::Close]).await;
    let launch = |below: &[&str]| Launch {
        below: below.iter().map(|word| (*word).to_owned()).collect(),
        environment: vec![("LD_PRELOAD".to_owned(), "/nowhere.so".to_owned())],
    };
    let proxy = Strict::launch(Twin::Ours, &upstream.url(), &[], &launch(&[]));
    let environment = std::fs::read(format!("/proc/{}/environ", proxy.pid())).unwrap();
    let names: Vec<String> = environment
        .split(|byte| *byte == 0)
        .filter_map(|pair| pair.split(|byte| *byte == b'=').next())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.iter().all(|name| ["PATH", "HOME"].contains(&name.as_str())), "{names:?}");
}

/// What GitHub and `OpenAI` answer: each exchange gives another credential, for two seconds.
fn identity_answers(request: &str, given: &AtomicUsize) -> Vec<Step> {
    let line = request.lines().next().unwrap_or_default();
    let answer = match line {
        "GET /token?v=2&audience=https%3A%2F%2Faudience HTTP/1.1" => {
            json!({"value": "header.claims.signature"})
        }
        "POST /oauth/token HTTP/1.1" => json!({
            "access_token": format!("credential{}", "-again".repeat(given.fetch_add(1, Relaxed))),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer", "expires_in": 2,
        }),
        _ => json!({}),
    };
    vec![whole("application/json", &answer.to_string())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_identity_has_a_credential_that_is_renewed() {
    let given = AtomicUsize::new(0);
    let upstream = Recording::answering(move |request| identity_answers(request, &given)).await;
    let authority = Authority::new();
    let hosts = ["github.test", "auth.openai.com", "api.openai.com"];
    let names = Names::start(2).await;
    let pair = authority.sign_for(&hosts, "everybody");
    let _front = pair.stand_before(upstream.address, (names.address, 443).into()).await;
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let environment = vec![("SSL_CERT_FILE".to_owned(), trusted.display().to_string())];
    let launch = Launch { below: names.asked_here(folder.path()), environment };
    let identity = [
        "--require-hardening",
        "--github-oidc",
        "--oidc-audience",
        "https://audience",
        "--identity-provider-id",
        "idp_1",
        "--service-account-id",
        "svc_1",
        "--github-oidc-request-url",
        "https://github.test/token?v=2",
    ];
    let url = "https://api.openai.com/v1/responses";
    let proxy = Strict::launch(Twin::Ours, url, &identity, &launch);
    let credential = async || {
        ask(proxy.address, "POST", "/v1/responses", &[], "{}").await;
        let all = upstream.requests();
        let mut texts = all.iter().map(|one| std::str::from_utf8(one).unwrap());
        let last = texts.rfind(|text| text.starts_with("POST /v1/responses ")).unwrap();
        let shown = last.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        shown.unwrap().to_owned()
    };
    assert_eq!(credential().await, "credential");
    let asked = upstream.requests().into_iter().map(|one| String::from_utf8(one).unwrap());
    let asked: Vec<String> = asked.take(2).collect();
    assert!(asked[0].contains(&format!("authorization: Bearer {KEY}\r\n")), "{}", asked[0]);
    let exchange: Value = serde_json::from_str(asked[1].split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let expected = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": "header.claims.signature",
        "identity_provider_id": "idp_1", "service_account_id": "svc_1",
    });
    assert_eq!(exchange, expected);
    // What was read from stdin is as much a secret here.
    check_key(&proxy);
    let renewed = async {
        while credential().await != "credential-again" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), renewed).await.expect("it is renewed");
}
