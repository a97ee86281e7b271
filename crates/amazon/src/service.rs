//! Signed questions to those of the services that take one JSON object a `POST`: the AWS JSON protocol,
//! with Signature Version 4 over it.

use std::time::Duration;

use bytes::Bytes;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

/// For a connection to stand, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked, where it is busy.
const TRIES: u32 = 3;
/// How long to wait before it is asked again; twice as long each time.
const PAUSE: Duration = Duration::from_millis(200);

/// One of the services.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// What people call it.
    pub title: &'static str,
    /// Its name in signatures, in addresses and in ARNs.
    pub name: &'static str,
    /// What stands before the action in `x-amz-target`.
    pub target: &'static str,
}

/// A service, as it is reached from here.
#[derive(Debug)]
pub struct Service {
    kind: Kind,
    region: String,
    /// Where it answers that is not Amazon's.
    endpoint: Option<String>,
    credentials: AwsCredentialProvider,
    client: Client,
}

/// Why a service cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// No region is told.
    #[error("which region {0} is asked in is not known: set AWS_REGION, or write an ARN")]
    NoRegion(&'static str),
    /// The settings of the environment are no good.
    #[error("preparing to ask Amazon: {0}")]
    Settings(#[from] object_store::Error),
    /// There is no TLS, for example.
    #[error("preparing to ask Amazon: {0}")]
    Client(#[from] reqwest::Error),
}

/// What a service says instead of an answer, or that it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refused {
    /// All that is known of it, for people.
    pub what: String,
    /// The error's code, as `AccessDeniedException`; empty where nobody answered.
    pub code: String,
    /// It may be asked again.
    busy: bool,
}

impl Service {
    /// Prepares to ask, and asks nothing yet. Credentials are found as Amazon's own tools find them:
    /// in the environment, or by the role of the machine, container or pod. The region is that of
    /// `arn`, else the one given, else the environment's.
    pub fn open(
        kind: Kind,
        arn: &str,
        region: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<Self, Unreachable> {
        // The program's TLS provider; that it is installed already is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(PATIENCE);
        // A bucket's builder knows where credentials are; no bucket is asked.
        let builder =
            AmazonS3Builder::from_env().with_bucket_name("none").with_client_options(options);
        let region = kind.region_of(arn).or(region).map(str::to_owned);
        let region = region.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Region));
        let region = region.ok_or(Unreachable::NoRegion(kind.title))?;
        let credentials = builder.with_region(&region).build()?.credentials().clone();
        let client = Client::builder().connect_timeout(CONNECT).timeout(PATIENCE).build()?;
        Ok(Self { kind, region, endpoint: endpoint.map(str::to_owned), credentials, client })
    }

    /// The region in which something is asked for: its own, if it is named by an ARN.
    pub fn region_for<'a>(&'a self, arn: &'a str) -> &'a str {
        self.kind.region_of(arn).unwrap_or(&self.region)
    }

    /// Asks for an action in a region, again where the service is busy. The answer is wiped when it
    /// is dropped: there may be a secret in it.
    pub async fn ask(
        &self,
        action: &str,
        region: &str,
        question: &Value,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.try_to(action, region, question).await {
                Err(Refused { busy: true, .. }) => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause *= 2;
        }
        self.try_to(action, region, question).await
    }

    async fn try_to(
        &self,
        action: &str,
        region: &str,
        question: &Value,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let credential = self.credentials.get_credential().await.map_err(Refused::lasting)?;
        let url = self.endpoint.clone().unwrap_or_else(|| self.kind.host_in(region));
        let url = format!("{}/", url.trim_end_matches('/'));
        let body = Bytes::from(question.to_string());
        let mut request = HttpRequest::new(body.clone().into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(Refused::lasting)?;
        let target = HeaderValue::from_str(&format!("{}.{action}", self.kind.target));
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", target.map_err(Refused::lasting)?);
        let authorizer = AwsAuthorizer::new(&credential, self.kind.name, region);
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

impl Kind {
    /// The region in `arn:PARTITION:SERVICE:REGION:ACCOUNT:…`.
    fn region_of<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let mut parts = arn.strip_prefix("arn:")?.split(':').skip(1);
        (parts.next() == Some(self.name)).then(|| parts.next())?.filter(|region| !region.is_empty())
    }

    /// Behind which name a region's services answer.
    fn host_in(&self, region: &str) -> String {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://{}.{region}.{domain}", self.name)
    }
}

impl Refused {
    fn lasting(error: impl std::fmt::Display) -> Self {
        Self { what: error.to_string(), code: String::new(), busy: false }
    }

    fn passing(error: &reqwest::Error) -> Self {
        let mut what = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            what = format!("{what}: {cause}");
            source = cause.source();
        }
        Self { what, code: String::new(), busy: true }
    }

    /// `{"__type":"…#CODE","message":"…"}`
    fn answered(status: StatusCode, text: &[u8]) -> Self {
        let said: Value = serde_json::from_slice(text).unwrap_or_default();
        let member = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
        let code = member("__type").rsplit('#').next().unwrap_or_default();
        let message = ["message", "Message"].map(member).concat();
        let busy = status.is_server_error() || code.starts_with("Throttling");
        let what = [&format!("status {}", status.as_u16()), code, &message];
        let what = what.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
        Self { what: what.join(": "), code: code.to_owned(), busy }
    }

    /// What to do about credentials that are no good.
    pub fn renew(&self) -> Option<&'static str> {
        let stale =
            ["UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"];
        stale.contains(&self.code.as_str()).then_some("renew the credentials")
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::{Kind, Refused};

    const KMS: Kind = Kind { title: "KMS", name: "kms", target: "TrentService" };

    #[test]
    fn an_arn_says_its_region() {
        let cases = [
            ("arn:aws:kms:eu-central-1:1:key/x", Some("eu-central-1")),
            ("arn:aws-cn:kms:cn-north-1:1:alias/x", Some("cn-north-1")),
            ("arn:aws:s3:eu-central-1:1:x", None),
            ("arn:aws:kms::1:x", None),
            ("alias/x", None),
        ];
        for (key, region) in cases {
            assert_eq!(KMS.region_of(key), region, "{key}");
        }
        assert_eq!(KMS.host_in("cn-north-1"), "https://kms.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn a_refusal_says_its_code_and_whether_to_ask_again() {
        let said = |status: u16, text: &str| {
            let refused = Refused::answered(StatusCode::from_u16(status).unwrap(), text.as_bytes());
            (refused.busy, refused.code.clone(), refused.to_string())
        };
        let check = |status, text: &str, busy: bool, code: &str, what: &str| {
            assert_eq!(said(status, text), (busy, code.to_owned(), what.to_owned()), "{text}");
        };
        let disabled = r#"{"__type":"com.amazonaws.kms#DisabledException","message":"no"}"#;
        check(400, disabled, false, "DisabledException", "status 400: DisabledException: no");
        let busy = r#"{"__type":"ThrottlingException"}"#;
        check(400, busy, true, "ThrottlingException", "status 400: ThrottlingException");
        check(503, "<html>", true, "", "status 503");
    }
}
