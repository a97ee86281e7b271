//! An archive that is encrypted with keys that Amazon's key service keeps.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::amazon::{Amazon, pairs};
use crate::harness::client::post;
use crate::harness::gateway::{run, run_with};
use crate::harness::sdk::installed;
use crate::harness::{Gateway, Simulator, simulator, url};

/// The page that says how a sealed file is opened.
const PAGE: &str = include_str!("../../../../docs/archive-format.md");

/// What only the prompt and the answer have in them.
const WORDS: &str = "the lighthouse of Westerhever";

/// Keys of the emulator's.
struct Kms(Amazon);

impl Kms {
    fn start() -> Self {
        let mut amazon = Amazon::start();
        let endpoint = amazon.endpoint();
        amazon.told.push(("CODEX_PROXY_ARCHIVE_KMS_ENDPOINT".to_owned(), endpoint));
        Self(amazon)
    }

    /// The ARN of a new key.
    fn key(&self) -> String {
        self.0.boto("kms", "print(service.create_key()['KeyMetadata']['Arn'])", "")
    }

    /// What a process must be told to seal with this key, and read what others have sealed.
    fn sealing(&self, current: &str, old: &str) -> Vec<(String, String)> {
        let mut told = self.0.told.clone();
        let named = [("ENCRYPTION_KEY", current), ("ENCRYPTION_KEYS_OLD", old)];
        for (name, key) in named.iter().filter(|(_, key)| !key.is_empty()) {
            told.push((format!("CODEX_PROXY_ARCHIVE_{name}"), format!("kms:{key}")));
        }
        told
    }
}

/// Serves one exchange, to the end; its id.
async fn exchange(
    folder: TempDir,
    simulator: &Simulator,
    settings: &[(&str, &str)],
) -> (TempDir, String) {
    let gateway = Gateway::start_in(folder, &url(simulator), settings);
    let key = gateway.key("ada@example.com");
    let asked = json!({ "model": "gpt-5.5", "input": format!("sim:say={WORDS:?}") }).to_string();
    let answer = post(gateway.address, "/v1/responses", &key.value, &asked).await;
    assert!(String::from_utf8_lossy(&answer.body).contains(WORDS));
    let id = answer.header("x-codex-proxy-id").unwrap().to_owned();
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    (folder, id)
}

/// The files below a folder of the archive.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let below = folder.join("data/archive").join(kind);
    let found = Command::new("find").arg(below).args(["-type", "f"]).output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    found.lines().map(PathBuf::from).collect()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    (output.status.code(), format!("{out}{err}"))
}

// The upstream answers while commands are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_with_keys_of_kms_is_read_by_whoever_may_ask_it() {
    let (simulator, kms) = (simulator().await, Kms::start());
    let (one, two) = (kms.key(), kms.key());
    // Before there was a key, with the first.
    let folder = TempDir::new().unwrap();
    let (folder, before) = exchange(folder, &simulator, &[]).await;
    let told = kms.sealing(&one, "");
    let (folder, id) = exchange(folder, &simulator, &pairs(&told)).await;
    let at = folder.path();
    let keys = files(at, "keys");
    assert_eq!(keys.len(), 1, "one key for all files of a process");
    let kept: Value = serde_json::from_slice(&std::fs::read(&keys[0]).unwrap()).unwrap();
    assert_eq!((&kept["kind"], &kept["kms"]), (&json!("key"), &json!(one)));
    let reads = |told: &[(String, String)]| {
        let commands: [(&[&str], &str); 4] = [
            (&["audit", "list"], "ada@example.com"),
            (&["audit", "show", &id, "--part", "response", "--raw"], WORDS),
            (&["audit", "show", &before, "--part", "response", "--raw"], WORDS),
            (&["audit", "verify"], "complete and unchanged: 2 exchanges, 4 files"),
        ];
        for (command, expected) in commands {
            let (code, text) = said(&run_with(at, command, &pairs(told)));
            assert!(code == Some(0) && text.contains(expected), "{command:?}: {text}");
        }
    };
    reads(&told);
    let (code, text) = said(&run(at, &["audit", "list"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("write kms:{one} in archive.encryption_key or")), "{text}");

    // By hand, as the page says.
    let decrypt = "kept = json.load(open(sys.argv[2]))\n\
                   print(service.decrypt(CiphertextBlob=base64.b64decode(kept['encrypted']), \
                   EncryptionContext={'codex-proxy': 'archive'})['Plaintext'].hex())";
    std::fs::write(at.join("key"), kms.0.boto("kms", decrypt, &keys[0].display().to_string()))
        .unwrap();
    let script = PAGE.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(at.join("unseal.py"), script).unwrap();
    let sealed = files(at, "bodies").into_iter().find(|file| file.extension().unwrap() == "sealed");
    let mut python = Command::new(installed("python/bin/python"));
    let opened = python.arg("unseal.py").arg("key").arg(sealed.unwrap()).current_dir(at).output();
    let opened = opened.unwrap();
    assert!(opened.status.success(), "{opened:?}");
    let text = String::from_utf8(zstd::decode_all(&*opened.stdout).unwrap()).unwrap();
    assert!(text.contains(WORDS), "{text}");

    // Another key, and what was not sealed yet.
    let told = kms.sealing(&two, &one);
    let (code, text) = said(&run_with(at, &["audit", "reseal"], &pairs(&told)));
    let counts = "2 files brought to the current key; 0 have it already; 2 encrypted that were not";
    assert!(code == Some(0) && text.contains(counts), "{text}");
    reads(&kms.sealing(&two, ""));
    let told = kms.sealing(&two, "");
    let (code, text) = said(&run_with(at, &["audit", "reseal", "--dry-run"], &pairs(&told)));
    assert!(code == Some(0) && text.contains("; 4 have it already; 0 would"), "{text}");
    simulator.stop().await;
}

#[test]
fn what_kms_refuses_is_said_with_what_to_do() {
    let (kms, folder) = (Kms::start(), TempDir::new().unwrap());
    let of = |key: &str, more: &[(&str, &str)]| {
        let told = kms.sealing(key, "");
        said(&run_with(folder.path(), &["audit", "reseal"], &[&pairs(&told), more].concat()))
    };
    let region = [("CODEX_PROXY_ARCHIVE_REGION", "eu-central-1")];
    let (code, text) = of("alias/absent", &region);
    let expected = "KMS does not do GenerateDataKey with the key alias/absent in eu-central-1: \
                    status 400: NotFoundException";
    assert!(code == Some(1) && text.contains(expected), "{text}");
    assert!(text.contains("write the id, alias/NAME or ARN of a key"), "{text}");
    let (code, text) = of("alias/absent", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("lies: write its ARN, or set archive.region or AWS_REGION"), "{text}");
    let nowhere = [region[0], ("CODEX_PROXY_ARCHIVE_KMS_ENDPOINT", "http://127.0.0.1:9")];
    let (code, text) = of("alias/absent", &nowhere);
    assert!(code == Some(1) && text.contains("Connection refused"), "{text}");
}
