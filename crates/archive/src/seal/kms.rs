//! Amazon's key service: AWS KMS API Reference, `GenerateDataKey` and `Decrypt`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::service::{Kept, KeyService, Made};
use crate::Error;
use crate::objects::{Access, remote};

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked, where it is busy.
const TRIES: u32 = 3;
/// How long to wait before it is asked again; twice as long each time.
const PAUSE: Duration = Duration::from_millis(200);

/// A key there.
#[derive(Debug)]
struct Kms {
    /// As it is configured: an id, an alias, or the ARN of either.
    key: String,
    region: String,
    /// Where it answers that is not Amazon's.
    endpoint: Option<String>,
    credentials: AwsCredentialProvider,
    client: Client,
}

/// The service that keeps this key; asks nothing yet.
pub(super) fn open(key: &str, access: &Access) -> Result<Arc<dyn KeyService>, Error> {
    let options = remote::client();
    // Credentials and the region are found just as for S3; no bucket is asked.
    let mut builder =
        AmazonS3Builder::from_env().with_bucket_name("none").with_client_options(options);
    let given = || access.region.clone();
    let named = || builder.get_config_value(&AmazonS3ConfigKey::Region);
    let region = region_of(key).map(str::to_owned).or_else(given).or_else(named);
    let region = region.ok_or_else(|| Error::NoRegion(key.to_owned()))?;
    builder = builder.with_region(&region);
    let credentials = builder.build()?.credentials().clone();
    let client = Client::builder().timeout(PATIENCE).build();
    let preparing =
        |error: reqwest::Error| Error::disk("preparing to ask KMS")(std::io::Error::other(error));
    let (key, endpoint) = (key.to_owned(), access.kms_endpoint.clone());
    let client = client.map_err(preparing)?;
    Ok(Arc::new(Kms { key, region, endpoint, credentials, client }))
}

/// The region in `arn:PARTITION:kms:REGION:ACCOUNT:…`.
fn region_of(key: &str) -> Option<&str> {
    let mut parts = key.strip_prefix("arn:")?.split(':').skip(1);
    (parts.next() == Some("kms")).then(|| parts.next())?.filter(|region| !region.is_empty())
}

/// Behind which name a region's services answer.
fn host_of(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://kms.{region}.{domain}")
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

/// What an answer says that is none.
struct Refused {
    what: String,
    /// It may be asked again.
    busy: bool,
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
        let answer = self.ask("GenerateDataKey", &self.region, &self.key, &question).await?;
        let Generated { ciphertext_blob, plaintext, key_id } = read(&answer)?;
        Ok(Made { key: decoded(&plaintext)?, kms: key_id, encrypted: ciphertext_blob })
    }

    async fn open(&self, kept: &Kept) -> Result<Zeroizing<Vec<u8>>, String> {
        let question = json!({
            "KeyId": kept.kms, "CiphertextBlob": kept.encrypted, "EncryptionContext": context(),
        });
        let region = region_of(&kept.kms).unwrap_or(&self.region);
        let answer = self.ask("Decrypt", region, &kept.kms, &question).await?;
        decoded(&read::<Decrypted<'_>>(&answer)?.plaintext)
    }
}

impl Kms {
    async fn ask(
        &self,
        action: &str,
        region: &str,
        key: &str,
        question: &Value,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.try_to(action, region, question).await {
                Err(Refused { busy: true, .. }) => tokio::time::sleep(pause).await,
                done => return done.map_err(|refused| refused.of(action, key, region)),
            }
            pause *= 2;
        }
        let done = self.try_to(action, region, question).await;
        done.map_err(|refused| refused.of(action, key, region))
    }

    async fn try_to(
        &self,
        action: &str,
        region: &str,
        question: &Value,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let credential = self.credentials.get_credential().await.map_err(Refused::lasting)?;
        let url = self.endpoint.clone().unwrap_or_else(|| host_of(region)) + "/";
        let body = Bytes::from(question.to_string());
        let mut request = HttpRequest::new(body.clone().into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(Refused::lasting)?;
        let target = HeaderValue::from_str(&format!("TrentService.{action}"));
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", target.map_err(Refused::lasting)?);
        let authorizer = AwsAuthorizer::new(&credential, "kms", region);
        authorizer.try_authorize(&mut request, None).map_err(Refused::lasting)?;
        let sent = self.client.post(url).headers(request.headers().clone()).body(body).send();
        let answer = sent.await.map_err(|error| Refused::passing(&error))?;
        let status = answer.status();
        let text = Zeroizing::new(
            answer.bytes().await.map_err(|error| Refused::passing(&error))?.to_vec(),
        );
        if status.is_success() { Ok(text) } else { Err(Refused::answered(status, &text)) }
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

impl Refused {
    fn lasting(error: impl std::fmt::Display) -> Self {
        Self { what: error.to_string(), busy: false }
    }

    fn passing(error: &reqwest::Error) -> Self {
        let mut what = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            what = format!("{what}: {cause}");
            source = cause.source();
        }
        Self { what, busy: true }
    }

    /// `{"__type":"…#CODE","message":"…"}`
    fn answered(status: StatusCode, text: &[u8]) -> Self {
        let said: Value = serde_json::from_slice(text).unwrap_or_default();
        let member = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
        let code = member("__type").rsplit('#').next().unwrap_or_default();
        let message = ["message", "Message"].map(member).concat();
        let busy = status.is_server_error() || code.starts_with("Throttling");
        let what = [&format!("status {}", status.as_u16()), code, &message];
        let mut what = what.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
        what.extend(hint(code));
        Self { what: what.join(": "), busy }
    }

    fn of(self, action: &str, key: &str, region: &str) -> String {
        format!("KMS does not do {action} with the key {key} in {region}: {}", self.what)
    }
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
        "UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException" => {
            "renew the credentials"
        }
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            "the file below keys/ was edited, or is of another archive"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::{Refused, host_of, region_of};

    #[test]
    fn an_arn_says_its_region() {
        let cases = [
            ("arn:aws:kms:eu-central-1:1:key/x", Some("eu-central-1")),
            ("arn:aws-cn:kms:cn-north-1:1:alias/x", Some("cn-north-1")),
            ("arn:aws:s3:eu-central-1:1:x", None),
            ("alias/x", None),
        ];
        for (key, region) in cases {
            assert_eq!(region_of(key), region, "{key}");
        }
        assert_eq!(host_of("cn-north-1"), "https://kms.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let said = |status: u16, text: &str| {
            let refused = Refused::answered(StatusCode::from_u16(status).unwrap(), text.as_bytes());
            (refused.busy, refused.of("Decrypt", "alias/x", "eu-central-1"))
        };
        let begin = "KMS does not do Decrypt with the key alias/x in eu-central-1: ";
        let disabled = r#"{"__type":"com.amazonaws.kms#DisabledException","message":"no"}"#;
        let expected = format!("{begin}status 400: DisabledException: no: enable the key");
        assert_eq!(said(400, disabled), (false, expected));
        let busy = r#"{"__type":"ThrottlingException"}"#;
        assert_eq!(said(400, busy), (true, format!("{begin}status 400: ThrottlingException")));
        assert_eq!(said(503, "<html>"), (true, format!("{begin}status 503")));
    }
}
