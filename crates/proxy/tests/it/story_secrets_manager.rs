//! Keys that AWS Secrets Manager keeps.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::amazon::{Amazon, pairs};
use crate::harness::client::{ask, metric, post};
use crate::harness::gateway::run_with;
use crate::harness::memory::find;
use crate::harness::recording::whole;
use crate::harness::strict::{KEY, Launch, Strict, Twin};
use crate::harness::{Gateway, ORGANISATION_KEY, Recording, simulator, url};

const ASKED: &str = r#"{"model":"gpt-5.5","input":"hello"}"#;

/// One with these secrets, each a name and a text; and how it is reached.
fn amazon(secrets: &[(&str, &str)]) -> Amazon {
    let mut amazon = Amazon::start();
    for (name, text) in secrets {
        let make = "name, text = json.loads(sys.argv[2])\n\
                    service.create_secret(Name=name, SecretString=text)";
        amazon.boto("secretsmanager", make, &json!([name, text]).to_string());
    }
    let endpoint = ("AWS_ENDPOINT_URL_SECRETS_MANAGER".to_owned(), amazon.endpoint());
    let region = ("AWS_REGION".to_owned(), "eu-central-1".to_owned());
    amazon.told.extend([endpoint, region]);
    amazon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_its_key_from_there_and_a_new_one_when_it_is_turned() {
    let upstream = simulator().await;
    let secret = json!({ "key": "sk-of-before" }).to_string();
    let amazon = amazon(&[("prod/openai", &secret)]);
    let mut told = pairs(&amazon.told);
    told.push(("CODEX_PROXY_UPSTREAM_KEY", "secretsmanager:prod/openai#key"));
    told.push(("CODEX_PROXY_SECRETS_REFRESH", "1s"));
    let gateway = Gateway::start_with(&url(&upstream), &told);
    let key = gateway.key("ada@example.com").value;
    let answer = post(gateway.address, "/v1/responses", &key, ASKED).await;
    assert_eq!(answer.status, 401, "the upstream does not know the key: {}", answer.text());

    let turn = "service.put_secret_value(SecretId='prod/openai', SecretString=sys.argv[2])";
    let turned = json!({ "key": ORGANISATION_KEY }).to_string();
    amazon.boto("secretsmanager", turn, &turned);
    let mut statuses = Vec::new();
    while statuses.last() != Some(&200) {
        assert!(statuses.len() < 200, "the new key is not taken: {statuses:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        statuses.push(post(gateway.address, "/v1/responses", &key, ASKED).await.status);
    }

    // It does as well without the service, as long as nothing needs to be known anew.
    drop(amazon);
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(post(gateway.address, "/v1/responses", &key, ASKED).await.status, 200);
    // And what else is changed meanwhile is taken.
    let taken = "codex_proxy_reloads_total{what=\"configuration\",outcome=\"taken\"}";
    metric(gateway.address, &format!("{taken} 1")).await;
    gateway.hang_up();
    metric(gateway.address, &format!("{taken} 2")).await;
    assert_eq!(post(gateway.address, "/v1/responses", &key, ASKED).await.status, 200);
    let (_folder, well, said) = gateway.stop();
    assert!(well && said.contains("the secret in use stays: "), "{said}");
    assert!(said.contains("the secret in use stays: upstream.key: "), "{said}");
    assert!(!said.contains(ORGANISATION_KEY) && !said.contains("sk-of-before"), "{said}");
    upstream.stop().await;
}

#[test]
fn what_it_refuses_is_said_with_what_to_do() {
    let amazon = amazon(&[("plain", "sk-plain"), ("object", r#"{"key":7}"#)]);
    let check = |name: &str, expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut told = pairs(&amazon.told);
        let reference = format!("secretsmanager:{name}");
        told.push(("CODEX_PROXY_UPSTREAM_KEY", &reference));
        let ran = run_with(folder.path(), &["config", "check", "--resolve"], &told);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains("sk-plain"), "{said}");
    };
    check(
        "absent",
        "AWS Secrets Manager does not give the secret absent in eu-central-1: status 404: \
         ResourceNotFoundException: Secrets Manager can't find the specified secret.: write the name \
         or ARN of a secret of this account and region",
    );
    check("plain#key", "the secret secretsmanager:plain is no JSON object");
    check("object#key", "the secret secretsmanager:object has no text under `key`");
    check("object#other", "the secret secretsmanager:object has no text under `other`");
    let ran = run_with(
        Path::new("/"),
        &["config", "check", "--resolve", "--data", "/nowhere"],
        &[
            ("CODEX_PROXY_UPSTREAM_KEY", "secretsmanager:plain"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9"),
            ("AWS_ACCESS_KEY_ID", "an-access-key"),
            ("AWS_SECRET_ACCESS_KEY", "its-secret"),
            ("AWS_REGION", "eu-central-1"),
        ],
    );
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_mode_takes_its_key_from_there_and_keeps_nothing_of_how() {
    let amazon = amazon(&[("prod/openai", KEY)]);
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let launch = Launch { environment: amazon.told.clone(), ..Launch::default() };
    let more = ["--key", "secretsmanager:prod/openai", "--require-hardening"];
    let proxy = Strict::launch(Twin::Ours, &upstream.url(), &more, &launch);
    let answer = ask(proxy.address, "POST", "/v1/responses", &[], "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let forwarded = String::from_utf8_lossy(&upstream.requests()[0]).into_owned();
    assert!(forwarded.contains(&format!("authorization: Bearer {KEY}\r\n")), "{forwarded}");

    let secrets = [KEY, "its-secret", "an-access-key"];
    let found = secrets.map(|secret| find(proxy.pid(), secret.as_bytes()).len());
    assert_eq!(found, [1, 0, 0], "the key, and what it was fetched with");
}

#[tokio::test]
async fn strict_mode_takes_its_key_from_a_file() {
    let upstream = Recording::start(vec![whole("application/json", "{}")]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-of-the-file\n").unwrap();
    let reference = format!("--key=file:{}", file.display());
    let proxy = Strict::start(Twin::Named, &upstream.url(), &[&reference]);
    ask(proxy.address, "POST", "/v1/responses", &[], "{}").await;
    let forwarded = String::from_utf8_lossy(&upstream.requests()[0]).into_owned();
    assert!(forwarded.contains("authorization: Bearer sk-of-the-file\r\n"), "{forwarded}");
}

#[test]
fn strict_mode_says_what_is_wrong_with_a_key_that_is_named() {
    let check = |reference: &str, code: i32, expected: &str| {
        let failed = Twin::Ours.fails(b"", &["--key", reference]);
        assert!(failed.0 == Some(code) && failed.1.contains(expected), "{reference}: {failed:?}");
    };
    check("file:/nowhere", 1, "opening the key in /nowhere");
    check("secretsmanager:a", 2, "the key secretsmanager:a could not be fetched");
    check("secretsmanager:a", 2, "set AWS_REGION");
    let literal = Twin::Ours.fails(b"", &["--key", KEY]);
    assert!(!literal.1.contains(KEY) && literal.0 == Some(2), "{literal:?}");
    // Of two sources one must be wrong.
    let both = Command::new(env!("CARGO_BIN_EXE_codex-proxy"))
        .args(["strict", "--key", "file:a", "--github-oidc"])
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}
