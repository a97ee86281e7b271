//! Whether an upstream answers, and takes our credentials.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use jiff::Timestamp;

use super::{Part, State};
use crate::admin::https::client;
use crate::config::Config;
use crate::config::reference::SecretRef;
use crate::config::target::{AuthHeader, HeaderText, Target};

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// One credential at one upstream, asked for its models.
pub(super) struct Asked {
    name: String,
    status: Result<StatusCode>,
    /// How far its clock is from ours.
    pub(super) clock: Option<Duration>,
}

impl Asked {
    pub(super) fn part(&self) -> Part {
        let name = format!("upstream {}", self.name);
        let (state, detail) = match &self.status {
            Err(error) => (State::Wrong, format!("{error:#}")),
            Ok(status) if status.is_success() => (State::Ok, "answers, and takes the key".into()),
            Ok(status) if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(status) => {
                (State::Wrong, format!("does not take the key: it answers {status}"))
            }
            // Not every upstream lists models; that it answers is seen.
            Ok(status) => (State::Unknown, format!("answers {status} when asked for its models")),
        };
        Part::new(&name, state, detail)
    }
}

/// Asks every upstream with each of its credentials.
pub(super) async fn ask_all(config: &Config, now: fn() -> Timestamp) -> Vec<Asked> {
    let mut asked = Vec::new();
    for target in config.targets() {
        for (index, key) in target.keys.iter().enumerate() {
            let name = match target.keys.len() {
                1 => target.name.clone(),
                _ => format!("{}/{}", target.name, index + 1),
            };
            let late = || format!("it does not answer within {} s", PATIENCE.as_secs());
            let answer = tokio::time::timeout(PATIENCE, ask(target, key)).await.with_context(late);
            asked.push(match answer.and_then(|answer| answer) {
                Ok(answer) => {
                    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
                    let clock = date.and_then(|date| apart(date, now()));
                    Asked { name, status: Ok(answer.status()), clock }
                }
                Err(error) => Asked { name, status: Err(error), clock: None },
            });
        }
    }
    asked
}

async fn ask<'a>(
    target: &'a Target,
    key: &'a SecretRef,
) -> Result<Response<hyper::body::Incoming>> {
    let key = key.resolve()?;
    let mut request = Request::get(models(&target.url)?);
    request = match target.auth {
        AuthHeader::Bearer => request.header(AUTHORIZATION, format!("Bearer {}", key.expose())),
        AuthHeader::ApiKey => request.header("api-key", key.expose().as_str()),
    };
    for (name, value) in &target.headers {
        request = match value {
            HeaderText::Plain(value) => request.header(name, value),
            HeaderText::Secret(reference) => request.header(name, reference.resolve()?.expose()),
        };
    }
    let request = request.body(Empty::<Bytes>::new()).context("the key is no header")?;
    let client = client(target.url.scheme_str())?;
    client.request(request).await.with_context(|| format!("asking {}", target.url))
}

/// The address that lists models.
fn models(base: &Uri) -> Result<Uri> {
    let path = format!("{}/models", base.path().trim_end_matches('/'));
    let path = base.query().map_or(path.clone(), |query| format!("{path}?{query}"));
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// How far the clock of whoever answers is from ours, as its header `date` tells.
fn apart(date: &str, now: Timestamp) -> Option<Duration> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(now.duration_since(date).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{apart, models};

    #[test]
    fn clocks_are_compared_by_the_date_of_an_answer() {
        let now = "2026-11-22T11:35:55Z".parse().unwrap();
        let cases = [
            ("Sun, 22 Nov 2026 11:35:55 GMT", Some(0)),
            ("Sun, 22 Nov 2026 11:34:00 GMT", Some(115)),
            ("Sun, 22 Nov 2026 12:35:55 GMT", Some(3_600)),
            ("yesterday", None),
        ];
        for (date, seconds) in cases {
            assert_eq!(apart(date, now), seconds.map(Duration::from_secs), "{date}");
        }
    }

    #[test]
    fn models_are_asked_below_the_base_address() {
        let asked = |base: &str| models(&base.parse().unwrap()).unwrap().to_string();
        assert_eq!(asked("https://api.openai.com/v1"), "https://api.openai.com/v1/models");
        let azure = "https://acme.openai.azure.com/openai/v1/?api-version=preview";
        let expected = "https://acme.openai.azure.com/openai/v1/models?api-version=preview";
        assert_eq!(asked(azure), expected);
    }
}
