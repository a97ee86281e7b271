//! Flags of GitHub's workload identity: all of them, or none.

use anyhow::{Result, bail, ensure};
use http::Uri;

use crate::harden::key::{Key, Unusable};
use crate::serve::identity::Identity;

/// Where requests go unless somebody says otherwise; with a workload identity only there.
pub const RESPONSES: &str = "https://api.openai.com/v1/responses";

/// The longest token that is read from stdin.
const TOKEN: usize = 16 << 10;

/// What a workload identity is made of.
#[derive(Debug, clap::Args)]
pub struct Workload {
    /// Fetch short-lived credentials with a workload identity of GitHub Actions; stdin has the
    /// token for GitHub then, no key
    #[arg(long, requires_all = ["oidc_audience", "identity_provider_id", "service_account_id", "github_oidc_request_url"])]
    github_oidc: bool,
    /// Audience of the workload identity provider at OpenAI
    #[arg(long, value_name = "AUDIENCE", requires = "github_oidc")]
    oidc_audience: Option<String>,
    /// The workload identity provider at OpenAI
    #[arg(long, value_name = "ID", requires = "github_oidc")]
    identity_provider_id: Option<String>,
    /// The service account at OpenAI
    #[arg(long, value_name = "ID", requires = "github_oidc")]
    service_account_id: Option<String>,
    /// Where GitHub gives out tokens: `ACTIONS_ID_TOKEN_REQUEST_URL` of the runner, and nothing else
    #[arg(long, value_name = "URL", requires = "github_oidc")]
    github_oidc_request_url: Option<String>,
}

impl Workload {
    /// The identity, where one is asked for; reads its token from stdin.
    pub fn identity(&self, upstream: &str, missing: &mut Vec<String>) -> Result<Option<Identity>> {
        if !self.github_oidc {
            return Ok(None);
        }
        ensure!(
            upstream == RESPONSES,
            "workload identity requires the default OpenAI Responses endpoint"
        );
        let audience = told(self.oidc_audience.as_ref(), "--oidc-audience")?;
        let provider = told(self.identity_provider_id.as_ref(), "--identity-provider-id")?;
        let account = told(self.service_account_id.as_ref(), "--service-account-id")?;
        let url = told(self.github_oidc_request_url.as_ref(), "--github-oidc-request-url")?;
        let url = with_audience(&url, &audience)?;
        let visible = |byte: &u8| byte.is_ascii_graphic();
        let (token, unprotected) = Key::read(std::io::stdin(), TOKEN, visible).map_err(unusable)?;
        missing.extend(unprotected);
        Ok(Some(Identity::new(url, token, provider, account)?))
    }
}

fn told(value: Option<&String>, flag: &str) -> Result<String> {
    match value.filter(|value| !value.trim().is_empty()) {
        Some(value) => Ok(value.clone()),
        None => bail!("workload identity requires a nonempty {flag}"),
    }
}

fn unusable(why: Unusable) -> anyhow::Error {
    anyhow::Error::msg(match why {
        Unusable::TooLong => "GitHub OIDC request credential too large",
        Unusable::Missing | Unusable::Characters => "invalid workload identity bearer credential",
        Unusable::Failed(_) => "could not read GitHub OIDC request credential from stdin",
    })
}

/// GitHub's address with the audience as one more part of its query.
fn with_audience(url: &str, audience: &str) -> Result<Uri> {
    let wrong = "GitHub OIDC request URL must be HTTPS without user info or fragment";
    let Ok(parsed) = url.parse::<Uri>() else { bail!("invalid GitHub OIDC request URL") };
    let is_right = parsed.scheme_str() == Some("https")
        && parsed.host().is_some_and(|host| !host.is_empty())
        && parsed.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && !url.contains('#');
    ensure!(is_right, wrong);
    let join = if parsed.query().is_some() { '&' } else { '?' };
    let encoded: String = audience.bytes().map(encoded).collect();
    let path = parsed.path();
    let path =
        if path == "/" && parsed.query().is_none() && !url.ends_with('/') { "/" } else { "" };
    Ok(format!("{url}{path}{join}audience={encoded}").parse()?)
}

/// RFC 3986 §2.1: all but unreserved characters.
fn encoded(byte: u8) -> String {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::with_audience;

    #[test]
    fn the_audience_joins_the_query() {
        let check = |url, expected: &str| {
            assert_eq!(with_audience(url, "https://a b/").unwrap().to_string(), expected);
        };
        let audience = "audience=https%3A%2F%2Fa%20b%2F";
        check("https://g.test/t?v=2", &format!("https://g.test/t?v=2&{audience}"));
        check("https://g.test/t", &format!("https://g.test/t?{audience}"));
        check("https://g.test", &format!("https://g.test/?{audience}"));
        for wrong in ["http://g.test/", "https://a@g.test/", "https://g.test/#x", "g.test"] {
            assert!(with_audience(wrong, "a").is_err(), "{wrong}");
        }
    }
}
