//! A developer's machine with the real Codex CLI on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::sdk::{Finished, finish_within, installed};

/// The name of the repository that the developer works in.
pub(crate) const REPOSITORY: &str = "lighthouse";

/// How long one run may take.
const CAP: Duration = Duration::from_mins(1);

/// The developer's home folder, with Codex configured and a repository beside it.
pub(crate) struct Codex {
    home: TempDir,
}

impl Codex {
    /// Sets up a machine of its own.
    pub(crate) fn new() -> Self {
        let codex = Self { home: tempfile::tempdir().unwrap() };
        let repository = codex.repository();
        std::fs::create_dir_all(codex.home.path().join("codex")).unwrap();
        std::fs::create_dir_all(&repository).unwrap();
        codex.git(&["init", "--quiet"]);
        codex.git(&["remote", "add", "origin", "https://git.example.com/team/lighthouse.git"]);
        codex.git(&["commit", "--quiet", "--allow-empty", "--message", "Begin"]);
        codex
    }

    /// Where the developer works.
    pub(crate) fn repository(&self) -> PathBuf {
        self.home.path().join(REPOSITORY)
    }

    /// The repository's latest commit.
    pub(crate) fn commit(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// The developer's home folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The files that the developer has made.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.repository()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Writes Codex's configuration, and its login file if there is one.
    pub(crate) fn configure(&self, configuration: &str, login: Option<&str>) {
        let folder = self.home.path().join("codex");
        std::fs::write(folder.join("config.toml"), configuration).unwrap();
        login.inspect(|login| std::fs::write(folder.join("auth.json"), login).unwrap());
    }

    /// Runs a version of Codex as it is configured; nothing if it takes too long.
    pub(crate) async fn run_version(
        &self,
        program: &Path,
        key: &str,
        arguments: &[String],
        cap: Duration,
    ) -> Option<Finished> {
        let mut command = self.clean(program);
        let folder = self.home.path().join("codex");
        command.args(arguments).env("CODEX_HOME", &folder).env("CODEX_PROXY_KEY", key);
        // The built-in provider's key; it would go before a login.
        if !folder.join("auth.json").exists() {
            command.env("CODEX_API_KEY", key);
        }
        // Codex looks for updates and skills on the net; nobody answers there.
        command.env("HTTPS_PROXY", "http://127.0.0.1:9");
        finish_within(command, cap).await
    }

    /// Runs `codex exec` against a base address, with a key.
    pub(crate) async fn exec(&self, url: &str, key: &str, arguments: &[&str]) -> Finished {
        let settings = format!("base_url = \"{url}\"\nenv_key = \"CODEX_PROXY_KEY\"");
        self.configure(&configuration("", &settings), None);
        self.pinned(key, arguments).await
    }

    /// The same over a WebSocket.
    pub(crate) async fn exec_in_socket(
        &self,
        url: &str,
        key: &str,
        arguments: &[&str],
    ) -> Finished {
        let settings = format!(
            "base_url = \"{url}\"\nenv_key = \"CODEX_PROXY_KEY\"\nsupports_websockets = true"
        );
        self.configure(&configuration("", &settings), None);
        self.pinned(key, arguments).await
    }

    /// Runs `codex exec` as a person who is logged in with ChatGPT: the login is what goes to the
    /// base address, with the key beside it. Other calls of the login go to `backend`.
    pub(crate) async fn exec_logged_in(
        &self,
        url: &str,
        key: &str,
        backend: &str,
        arguments: &[&str],
    ) -> Finished {
        let login = serde_json::json!({
            "auth_mode": "chatgpt", "OPENAI_API_KEY": null, "last_refresh": "2026-11-01T00:00:00Z",
            "tokens": { "id_token": LOGIN, "access_token": LOGIN, "refresh_token": "refresh-1",
                "account_id": ACCOUNT },
        });
        let settings = format!(
            "base_url = \"{url}\"\nrequires_openai_auth = true\n\
             env_http_headers = {{ \"x-codex-proxy-key\" = \"CODEX_PROXY_KEY\" }}"
        );
        let elsewhere = format!("chatgpt_base_url = \"{backend}\"");
        self.configure(&configuration(&elsewhere, &settings), Some(&login.to_string()));
        self.pinned(key, arguments).await
    }

    /// Runs the pinned version as it is configured.
    async fn pinned(&self, key: &str, arguments: &[&str]) -> Finished {
        let program = installed("node_modules/.bin/codex");
        let arguments: Vec<String> =
            ["exec"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        self.run_version(&program, key, &arguments, CAP).await.expect("Codex ends in time")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = self.clean(Path::new("git"));
        let author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
        let output = command.args(author).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", env!("PATH")).env("HOME", self.home.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").current_dir(self.repository());
        command
    }
}

impl Finished {
    /// The session that Codex said it began.
    pub(crate) fn session(&self) -> &str {
        self.stderr.lines().find_map(|line| line.strip_prefix("session id: ")).unwrap()
    }

    /// The errors that Codex printed, without the names that differ from run to run.
    pub(crate) fn errors(&self) -> Vec<String> {
        let steady = |word: &str| match word {
            word if word.starts_with("http://127.0.0.1:") => "URL".to_owned(),
            word if word.starts_with("req_") => "ID".to_owned(),
            word => word.to_owned(),
        };
        let errors = self.stderr.lines().filter(|line| line.starts_with("ERROR: "));
        errors.map(|line| line.split(' ').map(steady).collect::<Vec<_>>().join(" ")).collect()
    }
}

/// The workspace of the person who is logged in.
pub(crate) const ACCOUNT: &str = "11111111-2222-3333-4444-555555555555";

/// What a login shows: a JWT without a signature, with these claims, until the year 2100:
/// `{"https://api.openai.com/auth":{"chatgpt_account_id":ACCOUNT,"chatgpt_plan_type":"plus",
/// "chatgpt_user_id":"user-1"},"email":"ada@example.com","exp":4102444800}`.
pub(crate) const LOGIN: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiMTExMTExMTEtMjIyMi0zMzMzLTQ0NDQtNTU1NTU1NTU1NTU1IiwiY2hhdGdwdF9wbGFuX3R5cGUiOiJwbHVzIiwiY2hhdGdwdF91c2VyX2lkIjoidXNlci0xIn0sImVtYWlsIjoiYWRhQGV4YW1wbGUuY29tIiwiZXhwIjo0MTAyNDQ0ODAwfQ.c2ln";

/// Codex's configuration. Few retries, so that errors are told soon; and no sandbox, because
/// where these tests run there may be none.
fn configuration(top: &str, provider: &str) -> String {
    format!(
        r#"model = "gpt-5.5"
model_provider = "codexproxy"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
{top}

[analytics]
enabled = false

[otel]
metrics_exporter = "none"

[model_providers.codexproxy]
name = "codex-proxy"
{provider}
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1
"#
    )
}
