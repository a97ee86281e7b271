//! Amazon's key service: AWS KMS API Reference, `GenerateDataKey` and `Decrypt`.

use std::borrow::Cow;
use std::sync::Arc;

use amazon::service::{Kind, Refused, Service, Unreachable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::service::{Kept, KeyService, Made};
use crate::Error;
use crate::objects::Access;

const KMS: Kind = Kind { title: "KMS", name: "kms", target: "TrentService" };

/// A key there.
#[derive(Debug)]
struct Kms {
    /// As it is configured: an id, an alias, or the ARN of either.
    key: String,
    service: Service,
}

/// The service that keeps this key; asks nothing yet.
pub(super) fn open(key: &str, access: &Access) -> Result<Arc<dyn KeyService>, Error> {
    let (region, endpoint) = (access.region.as_deref(), access.kms_endpoint.as_deref());
    let service = Service::open(KMS, key, region, endpoint).map_err(|error| match error {
        Unreachable::NoRegion(_) => Error::NoRegion(key.to_owned()),
        other => Error::disk("preparing to ask KMS")(std::io::Error::other(other)),
    })?;
    Ok(Arc::new(Kms { key: key.to_owned(), service }))
}

/// What is bound to each key, so that a policy can allow just this use (`kms:EncryptionContext`).
fn context() -> Value {
    json!({ "codex-proxy": "archive" })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Generated<'a> {
    ciphertext_blob: String,
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

#[async_trait::async_trait]
impl KeyService for Kms {
    fn name(&self) -> &str {
        &self.key
    }

    async fn make(&self) -> Result<Made, String> {
        let question = json!({
            "KeyId": self.key, "KeySpec": "AES_256", "EncryptionContext": context(),
        });
        let answer = self.ask("GenerateDataKey", &self.key, &question).await?;
        let Generated { ciphertext_blob, plaintext, key_id } = read(&answer)?;
        Ok(Made { key: decoded(&plaintext)?, kms: key_id, encrypted: ciphertext_blob })
    }

    async fn open(&self, kept: &Kept) -> Result<Zeroizing<Vec<u8>>, String> {
        let question = json!({
            "KeyId": kept.kms, "CiphertextBlob": kept.encrypted, "EncryptionContext": context(),
        });
        let answer = self.ask("Decrypt", &kept.kms, &question).await?;
        decoded(&read::<Decrypted<'_>>(&answer)?.plaintext)
    }
}

impl Kms {
    async fn ask(
        &self,
        action: &str,
        key: &str,
        question: &Value,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let region = self.service.region_for(key);
        let answer = self.service.ask(action, region, question).await;
        answer.map_err(|refused| said(&refused, action, key, region))
    }
}

fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, String> {
    // What it says is not repeated: there may be a key in it.
    serde_json::from_slice(answer).map_err(|_| "KMS gave an answer that is none".to_owned())
}

fn decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = BASE64.decode(text).map(Zeroizing::new);
    bytes.map_err(|_| "KMS gave a key that is no base64".to_owned())
}

fn said(refused: &Refused, action: &str, key: &str, region: &str) -> String {
    let hint = refused.renew().or_else(|| hint(&refused.code));
    let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
    format!("KMS does not do {action} with the key {key} in {region}: {refused}{hint}")
}

/// What to do.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDeniedException" => {
            "allow kms:GenerateDataKey and kms:Decrypt with this key to the role of this machine"
        }
        "DisabledException" => "enable the key",
        "KMSInvalidStateException" => "cancel the key's deletion, or wait until it is ready",
        "NotFoundException" => {
            "write the id, alias/NAME or ARN of a key of this account and region"
        }
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            "the file below keys/ was edited, or is of another archive"
        }
        _ => return None,
    })
}
