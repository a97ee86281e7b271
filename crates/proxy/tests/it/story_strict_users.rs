//! Stories of two users, as `openai/codex-action` has them: root holds the key and starts the proxy,
//! somebody without rights runs Codex and stops the proxy. They take root.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::sdk::{bill, finish_within};
use crate::harness::strict::{KEY, Strict, Twin, codex, open_to_all};

/// Somebody without any rights, as whom nothing else runs.
const SOMEBODY: &str = "61235";

/// No run takes longer.
const CAP: Duration = Duration::from_mins(2);

/// A program that is run by somebody without rights.
fn as_somebody(program: &Path, home: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={SOMEBODY}"), &format!("--regid={SOMEBODY}")]);
    command.args(["--clear-groups", "--no-new-privs"]).arg(program).current_dir(home);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_runs_codex_with_a_key_that_only_root_holds() {
    let options = simulate::Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        key: Some(KEY.to_owned()),
        pace: Duration::ZERO,
    };
    let simulator = simulate::Simulator::start(options).await.unwrap();
    let upstream = format!("http://{}/v1/responses", simulator.address());
    let mut proxy = Strict::start(Twin::Named, &upstream, &["--require-hardening"]);
    let home = tempfile::tempdir().unwrap();
    open_to_all(home.path());

    // The file that tells where it is can be read by whoever looks for it.
    let mut read = as_somebody(Path::new("cat"), home.path());
    let info = read.arg(proxy.folder.path().join("info.json")).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    let url = format!("http://127.0.0.1:{}", info["port"]);

    let provider = format!(
        "model_providers.openai-proxy={{ name = 'OpenAI Proxy', base_url = '{url}/v1', wire_api = 'responses' }}"
    );
    let mut run = as_somebody(&codex(), home.path());
    run.args(["exec", "--skip-git-repo-check", "--sandbox", "danger-full-access"]);
    run.args(["-c", &provider, "-c", "model_provider=openai-proxy", "-c", "model=gpt-5.5"]);
    run.args(["-c", "analytics.enabled=false", "Say the word."]);
    // Codex looks for updates and skills on the net; nobody answers there.
    run.env("HTTPS_PROXY", "http://127.0.0.1:9");
    let finished = finish_within(run, CAP).await.expect("Codex ends in time");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!bill(&simulator).is_empty());

    // They cannot end it otherwise.
    let mut kill = as_somebody(Path::new("kill"), home.path());
    assert!(!kill.args(["-TERM", &proxy.pid().to_string()]).status().unwrap().success());
    let mut stop = as_somebody(Path::new("curl"), home.path());
    stop.args(["--fail", "--silent", "--show-error", &format!("{url}/shutdown")]);
    assert!(stop.status().unwrap().success());
    assert_eq!(proxy.ended().0, Some(0));
}
