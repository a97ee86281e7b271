//! A workload identity: a short-lived credential is fetched for it, and again before it ends.
//!
//! GitHub gives out a token that says which workflow runs, `OpenAI` takes it for one of its own: see
//! <https://developers.openai.com/api/reference/workload-identity-federation>.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use redact::secret::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroize;

use crate::exchange::sent::RequestBody;
use crate::exchange::upstream::BoxError;
use crate::exchange::upstream::dial::Dialer;
use crate::exchange::upstream::splice::Splice;
use crate::exchange::upstream::transport::{Origin, Transport};
use crate::harden::key::Key;
use crate::secret::{hex, random};

/// Where `OpenAI` exchanges tokens.
const EXCHANGE: &str = "https://auth.openai.com/oauth/token";

/// The type of token that may be used as a credential (RFC 8693 §3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// For a connection, and for an answer.
const CONNECTING: Duration = Duration::from_secs(10);
const ANSWERING: Duration = Duration::from_secs(30);
/// Until a failed renewal is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// More than this no answer has.
const MOST: usize = 64 << 10;

/// Who this is, and what proves it.
pub struct Identity {
    github: Place,
    exchange: Place,
    provider: String,
    account: String,
    /// On its way to GitHub the request token joins.
    stand_in: Secret<String>,
    to_github: Transport,
    to_exchange: Transport,
    lifetime: Mutex<Duration>,
}

/// Where a token is fetched.
struct Place {
    url: Uri,
    origin: Arc<Origin>,
}

impl Place {
    fn at(url: Uri) -> Result<Self> {
        Ok(Self { origin: Origin::of(&url)?, url })
    }

    /// The address as it goes to the origin's server.
    fn path(&self) -> &str {
        self.url.path_and_query().map_or("/", PathAndQuery::as_str)
    }
}

/// An identity, and where its credential is used.
pub struct Renewal {
    identity: Identity,
    splice: Arc<Splice>,
}

#[derive(Deserialize)]
struct Given {
    value: String,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    issued_token_type: Option<String>,
    token_type: String,
    expires_in: u64,
}

impl Identity {
    /// GitHub's address with its audience, the token for it, and who this is at `OpenAI`.
    pub fn new(github: Uri, token: Key, provider: String, account: String) -> Result<Self> {
        let dialer = Dialer::new(CONNECTING, &Scheme::HTTPS)?;
        let splice = Arc::new(Splice::new(hex(&random::<32>()?), token));
        Ok(Self {
            github: Place::at(github)?,
            exchange: Place::at(Uri::from_static(EXCHANGE))?,
            provider,
            account,
            stand_in: splice.stand_in(),
            to_github: Transport::new(dialer.clone(), Some(splice)),
            to_exchange: Transport::new(dialer, None),
            lifetime: Mutex::default(),
        })
    }

    /// Fetches a credential. It is needed seldom: no connection is kept.
    pub async fn token(&self) -> Result<Key> {
        let ask = Request::get(self.github.path())
            .header(AUTHORIZATION, format!("Bearer {}", self.stand_in.expose()))
            .header(CONNECTION, "close")
            .header(ACCEPT, "application/json");
        let given: Given = answer(&self.to_github, &self.github, ask.body(body(Bytes::new()))?)
            .await
            .context("GitHub OIDC token request failed")?;
        let subject = Secret::new(given.value);
        let is_token = !subject.expose().is_empty() && is_visible(subject.expose());
        ensure!(is_token, "workload identity source returned an invalid subject token");
        let question = serde_json::json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": subject.expose(),
            "identity_provider_id": self.provider,
            "service_account_id": self.account,
        });
        let question = question.to_string();
        let ask = Request::post(self.exchange.path())
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .header(ACCEPT, "application/json")
            .header(CONTENT_LENGTH, question.len());
        let exchanged: Exchanged =
            answer(&self.to_exchange, &self.exchange, ask.body(body(question.into()))?)
                .await
                .context("OpenAI workload identity token exchange failed")?;
        self.take(exchanged)
    }

    fn take(&self, exchanged: Exchanged) -> Result<Key> {
        let Exchanged { mut access_token, issued_token_type, token_type, expires_in } = exchanged;
        let is_bearer = token_type.eq_ignore_ascii_case("bearer");
        if !is_bearer || issued_token_type.is_some_and(|issued| issued != ACCESS_TOKEN) {
            bail!("OpenAI returned an unsupported workload identity token type");
        }
        ensure!(expires_in > 0, "OpenAI returned an expired workload identity token");
        ensure!(
            !access_token.is_empty() && is_visible(&access_token),
            "invalid workload identity bearer credential"
        );
        let mut bytes = std::mem::take(&mut access_token).into_bytes();
        let (key, _) = Key::take(&mut bytes).context("workload identity credential")?;
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner) =
            Duration::from_secs(expires_in);
        Ok(key)
    }

    /// How long the last credential may be used before another is fetched.
    fn good_for(&self) -> Duration {
        *self.lifetime.lock().unwrap_or_else(PoisonError::into_inner) * 4 / 5
    }
}

impl Renewal {
    /// What this identity fetches is spliced in there.
    pub fn new(identity: Identity, splice: Arc<Splice>) -> Self {
        Self { identity, splice }
    }

    /// Where it connects to.
    pub fn addresses(&self) -> [&Uri; 2] {
        [&self.identity.github.url, &self.identity.exchange.url]
    }

    /// Fetches another credential each time before the last one ends.
    pub async fn run(self) {
        let mut wait = self.identity.good_for();
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.identity.token().await {
                Ok(key) => {
                    self.splice.renew(key);
                    self.identity.good_for()
                }
                Err(error) => {
                    tracing::warn!("the workload identity's credential is not renewed: {error:#}");
                    AGAIN
                }
            };
        }
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn body(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(BoxError::from).boxed_unsync()
}

/// Sends a request and reads its answer, which is JSON. Nothing of it is repeated in errors.
async fn answer<T: DeserializeOwned>(
    transport: &Transport,
    place: &Place,
    request: Request<RequestBody>,
) -> Result<T> {
    let exchange = async {
        let (head, body) = transport.send(request, &place.origin).await?.into_parts();
        ensure!(head.status == StatusCode::OK, "the answer's status is {}", head.status);
        let read = Limited::new(body, MOST).collect().await;
        let read = read.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?;
        let mut bytes = Vec::from(read.to_bytes());
        let parsed = serde_json::from_slice(&bytes);
        bytes.zeroize();
        parsed.map_err(|_| anyhow::anyhow!("the answer is not what was expected"))
    };
    tokio::time::timeout(ANSWERING, exchange).await.context("no answer in time")?
}
