//! Credentials: each with the upstream it is for, and what goes there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use wildmatch::WildMatch;

use super::headers::{Shown, outgoing};
use super::health::Health;
use super::transport::Origin;
use crate::config::reference::SecretRef;
use crate::config::secrets::Secrets;
use crate::config::target::{AuthHeader, Covers, HeaderText, Target};
use crate::exchange::refusal::{Refusal, Word};

/// How long an upstream is left alone that could not be reached.
const UNREACHABLE: Duration = Duration::from_secs(1);
/// How long a credential is left alone that was not accepted: whoever tries it gets the error.
const UNACCEPTED: Duration = Duration::from_secs(15);

/// One credential at one upstream: what is chosen among.
pub struct Way {
    /// What metrics, diagnostics and records call it.
    pub name: String,
    /// Where it leads.
    pub site: Arc<Site>,
    /// What is shown there; nothing where the caller's own credential passes.
    shown: Option<Shown>,
    /// What it is told apart by when a conversation is given its way: the same on every node.
    pub identity: String,
    health: Health,
}

/// An upstream.
pub struct Site {
    /// Whose server it is.
    pub origin: Arc<Origin>,
    base_path: String,
    base_query: Option<String>,
    /// Whether the address is the one that is asked, or what it stands below.
    covers: Covers,
    /// The models it is for; none: those that no other is for.
    pub models: Vec<WildMatch>,
    /// The lowest is asked first.
    pub priority: usize,
    health: Health,
}

impl Site {
    /// The upstream at a base address, for any model.
    pub fn new(url: &Uri) -> Result<Self> {
        Ok(Self {
            origin: Origin::of(url)?,
            base_path: url.path().to_owned(),
            base_query: url.query().map(str::to_owned),
            covers: Covers::Below,
            models: Vec::new(),
            priority: 1,
            health: Health::new(UNREACHABLE, Instant::now()),
        })
    }

    /// The base address's path with ours behind it, and both queries: the form that goes to an
    /// origin's server (RFC 9112 §3.2.1).
    fn uri(&self, path: &str, query: Option<&str>) -> Result<Uri, Refusal> {
        let mut target = match self.covers {
            Covers::Below => [self.base_path.trim_end_matches('/'), path].concat(),
            Covers::Whole => self.base_path.clone(),
        };
        let queries = [self.base_query.as_deref(), query];
        for (index, query) in queries.into_iter().flatten().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(query);
        }
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target));
        target.map(Uri::from).map_err(|_| {
            Refusal::new(Word::UnreadableBody, "The request's address cannot be passed on.")
        })
    }
}

impl Way {
    /// All credentials of a configured upstream.
    pub fn all(target: &Target, secrets: &Secrets) -> Result<Vec<Self>> {
        let site = Site {
            models: target.models.iter().map(|glob| WildMatch::new(glob)).collect(),
            priority: target.priority,
            covers: target.covers,
            ..Site::new(&target.url)?
        };
        let (site, more) = (Arc::new(site), more(target, secrets)?);
        let ways = target.keys.iter().enumerate().map(|(index, key)| {
            let shown =
                Shown { credential: credential(target.auth, key, secrets)?, more: more.clone() };
            let name = match target.keys.len() {
                1 => target.name.clone(),
                _ => format!("{}/{}", target.name, index + 1),
            };
            let identity = format!("{} {key}", target.name);
            Ok(Self::new(name, site.clone(), Some(shown), identity))
        });
        ways.collect()
    }

    /// The way of callers who bring their own credential.
    pub fn callers(name: &str, url: &Uri) -> Result<Self> {
        Ok(Self::new(name.to_owned(), Arc::new(Site::new(url)?), None, String::new()))
    }

    fn new(name: String, site: Arc<Site>, shown: Option<Shown>, identity: String) -> Self {
        Self { name, site, shown, identity, health: Health::new(UNACCEPTED, Instant::now()) }
    }

    /// Where a request goes, and with which headers: those of the client in their order, but for
    /// what must change. For requests and for handshakes.
    pub fn head(
        &self,
        path: &str,
        query: Option<&str>,
        client: &HeaderMap,
    ) -> Result<(Uri, HeaderMap), Refusal> {
        let headers = outgoing(client, self.site.origin.host(), self.shown.as_ref());
        Ok((self.site.uri(path, query)?, headers))
    }

    /// Whether it may be asked.
    pub fn is_open(&self, now: Instant) -> bool {
        self.health.is_open(now) && self.site.health.is_open(now)
    }

    /// Takes a try; false: it is set aside, and another request finds out whether it works again.
    pub fn take_try(&self, now: Instant) -> bool {
        self.is_open(now) && self.health.take_try(now) && self.site.health.take_try(now)
    }

    /// No connection came about.
    pub fn unreachable(&self, now: Instant) {
        if self.shown.is_some() && self.site.health.failed(now) {
            tracing::warn!(upstream = self.name, "the upstream cannot be reached: it is set aside");
        }
    }

    /// What an answer tells about it; true: only its error's code can tell, see [`Self::refused`].
    pub fn answered(&self, status: StatusCode, now: Instant) -> bool {
        if self.site.health.works(now) {
            tracing::info!(upstream = self.name, "the upstream can be reached again");
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                self.unaccepted(status.as_str(), now);
                false
            }
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => true,
            _ => {
                if self.health.works(now) {
                    tracing::info!(upstream = self.name, "the credential is accepted again");
                }
                false
            }
        }
    }

    /// The code of an error with a status that may have to do with the credential.
    pub fn refused(&self, code: &str, now: Instant) {
        const CREDENTIALS: [&str; 4] =
            ["invalid_api_key", "account_deactivated", "insufficient_quota", "billing_not_active"];
        if CREDENTIALS.contains(&code) {
            self.unaccepted(code, now);
        }
    }

    /// The caller's own credential is the caller's own business.
    fn unaccepted(&self, why: &str, now: Instant) {
        if self.shown.is_some() && self.health.failed(now) {
            tracing::warn!(upstream = self.name, why, "a credential is not accepted: set aside");
        }
    }
}

fn credential(
    auth: AuthHeader,
    key: &SecretRef,
    secrets: &Secrets,
) -> Result<(HeaderName, HeaderValue)> {
    let secret = secrets.get(key).context("the key was not fetched")?;
    let (name, text) = match auth {
        AuthHeader::Bearer => (header::AUTHORIZATION, format!("Bearer {}", secret.expose())),
        AuthHeader::ApiKey => (HeaderName::from_static("api-key"), secret.expose().clone()),
    };
    let mut value = HeaderValue::try_from(text)
        .with_context(|| format!("the upstream's key {key} cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn more(target: &Target, secrets: &Secrets) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let value = |(name, text): &(HeaderName, HeaderText)| {
        let value = match text {
            HeaderText::Plain(value) => value.clone(),
            HeaderText::Secret(reference) => {
                let secret = secrets.get(reference).context("the header was not fetched")?;
                let mut value = HeaderValue::try_from(secret.expose())
                    .with_context(|| format!("{reference} cannot stand in the header {name}"))?;
                value.set_sensitive(true);
                value
            }
        };
        Ok((name.clone(), value))
    };
    target.headers.iter().map(value).collect()
}
