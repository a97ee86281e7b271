//! Whom an exchange was for, as its client and the operator say.

use serde_json::json;

use crate::harness::client::ask;
use crate::harness::{Gateway, simulator, url};

const CONFIG: &str = r#"
[attribution]
headers = ["X-Cost-Center"]

[[attribution.tags]]
name = "region"
value = "emea"

[[attribution.tags]]
name = "region"
value = "apac"
teams = ["blue"]

[[attribution.tags]]
name = "pilot"
value = "yes"
users = ["cleo@example.com"]
"#;

#[tokio::test]
async fn records_have_what_client_and_operator_say() {
    let simulator = simulator().await;
    let check = async |paths: &str, team: &str, repo: &str, region: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("codex-proxy.toml"), CONFIG).unwrap();
        let settings = [("CODEX_PROXY_ATTRIBUTION_PATHS", paths)];
        let gateway = Gateway::start_in(folder, &url(&simulator), &settings);
        let key = gateway.key_with("ada@example.com", &["--team", team]);
        let metadata = json!({ "session_id": "s1", "request_kind": "turn", "subagent_kind": "review",
            "region": "client's word", "own": "tag",
            "workspaces": { "/home/ada/work/shop": { "latest_git_commit_hash": "abc123" } } });
        let headers = [
            ("authorization", &*format!("Bearer {}", key.value)),
            ("x-codex-turn-metadata", &metadata.to_string()),
            ("x-cost-center", "4711"),
            ("x-stainless-retry-count", "1"),
        ];
        let body = r#"{"model":"gpt-5.5","input":"hi"}"#;
        assert_eq!(ask(gateway.address, "POST", "/v1/responses", &headers, body).await.status, 200);
        let record = &gateway.records()[0];
        let said =
            [&record["repo"], &record["commit"], &record["subagent"], &record["request_kind"]];
        assert_eq!(said, [repo, "abc123", "review", "turn"]);
        let tags = json!({ "own": "tag", "region": region, "retry": "1",
            "x-cost-center": "4711" });
        assert_eq!(record["tags"], tags);
    };
    check("name", "red", "shop", "emea").await;
    check("full", "blue", "/home/ada/work/shop", "apac").await;
    simulator.stop().await;
}
