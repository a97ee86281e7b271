//! The doctor looks at every part; what it says of a bucket is told with buckets.

use serde_json::Value;

use crate::harness::gateway::run_with;
use crate::harness::{ORGANISATION_KEY, simulator, url};

// The upstream answers while the doctor is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_looks_and_makes_nothing() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let upstream = url(&simulator);
    let settings = [("CODEX_PROXY_UPSTREAM_URL", &*upstream), ("OPENAI_API_KEY", ORGANISATION_KEY)];
    let output = run_with(folder.path(), &["doctor", "--format", "json"], &settings);
    let parts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{parts}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{parts}");
    simulator.stop().await;
}
