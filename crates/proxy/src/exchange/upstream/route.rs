//! Which way a request goes: by its model, then by its conversation, among those that work.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use http::HeaderMap;
use ring::digest;
use wire::ask::Ask;

use super::credential::Way;
use crate::config::Config;
use crate::config::secrets::Secrets;
use crate::exchange::auth::{Credential, Principal};
use crate::exchange::conversation;
use crate::exchange::endpoint::Surface;
use crate::exchange::refusal::{Refusal, Word};

/// All ways there are.
pub struct Routes {
    /// With the organisation's credentials.
    organisations: Vec<Arc<Way>>,
    /// With the caller's own, to the API.
    callers: Arc<Way>,
    /// With the caller's own, to the backend of ChatGPT.
    chatgpt: Arc<Way>,
}

/// What decides on the way of a request.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'r> {
    surface: Surface,
    credential: Credential,
    model: Option<&'r str>,
    /// What belongs together: an upstream's cache, and reasoning that only it can read.
    conversation: &'r str,
}

impl<'r> Wanted<'r> {
    /// Reads it from a request; of a handshake there is no [`Ask`] yet.
    pub fn new(
        principal: &'r Principal,
        surface: Surface,
        headers: &'r HeaderMap,
        ask: Option<&'r Ask>,
    ) -> Self {
        let conversation = conversation::of(principal, headers, ask);
        let model = ask.and_then(|ask| ask.model.as_deref());
        Self { surface, credential: principal.credential, model, conversation }
    }
}

/// The ways that were tried for one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried(u64);

impl Routes {
    /// Reads them from a configuration, with the secrets it refers to.
    pub fn new(config: &Config, secrets: &Secrets) -> Result<Self> {
        let mut organisations = Vec::new();
        for target in config.targets() {
            organisations.extend(Way::all(target, secrets)?.into_iter().map(Arc::new));
        }
        let main = &config.upstream.main;
        Ok(Self {
            organisations,
            callers: Arc::new(Way::callers(&main.name, &main.url)?),
            chatgpt: Arc::new(Way::callers("chatgpt", &config.upstream.chatgpt_url)?),
        })
    }

    /// Whether there is anything to choose among.
    pub fn are_several(&self) -> bool {
        self.organisations.len() > 1
    }

    /// Whether the way cannot be told without the model.
    pub fn need_model(&self, wanted: &Wanted<'_>) -> bool {
        let ours = wanted.credential == Credential::Organisation && wanted.surface == Surface::Api;
        ours && self.organisations.iter().any(|way| !way.site.models.is_empty())
    }

    /// Tries no other credential at an upstream that cannot be reached.
    pub fn skip_site(&self, unreachable: &Way, tried: &mut Tried) {
        for (index, way) in self.organisations.iter().enumerate() {
            if Arc::ptr_eq(&way.site, &unreachable.site) {
                tried.first(index);
            }
        }
    }

    /// The best way that was not tried yet; none: all were.
    pub fn best(
        &self,
        wanted: &Wanted<'_>,
        tried: &mut Tried,
        now: Instant,
    ) -> Result<Option<Arc<Way>>, Refusal> {
        if wanted.surface == Surface::ChatGpt && wanted.credential == Credential::Organisation {
            return Err(needs_own_credential());
        }
        if wanted.credential == Credential::Callers {
            let only = match wanted.surface {
                Surface::Api => &self.callers,
                Surface::ChatGpt => &self.chatgpt,
            };
            return Ok(tried.first(0).then(|| only.clone()));
        }
        match self.organisations.as_slice() {
            [only] => Ok(tried.first(0).then(|| only.clone())),
            _ => Ok(self.best_of_ours(wanted, tried, now)),
        }
    }

    fn best_of_ours(
        &self,
        wanted: &Wanted<'_>,
        tried: &mut Tried,
        now: Instant,
    ) -> Option<Arc<Way>> {
        let is_for_it = |way: &Way| {
            let model = wanted.model.unwrap_or_default();
            way.site.models.iter().any(|glob| glob.matches(model))
        };
        let routed = self.organisations.iter().any(|way| is_for_it(way));
        loop {
            let open = self.organisations.iter().enumerate().filter(|(index, way)| {
                let fits = if routed { is_for_it(way) } else { way.site.models.is_empty() };
                fits && !tried.has(*index)
            });
            // Whoever is set aside is asked last, but is asked: nobody is refused for it.
            let (index, way) = open.min_by_key(|(_, way)| {
                let weight = std::cmp::Reverse(weight(way, wanted.conversation));
                (!way.is_open(now), way.site.priority, weight)
            })?;
            // Lost to another request that finds out whether it works again: then it is closed,
            // and the next is better.
            if !way.is_open(now) || way.take_try(now) {
                tried.first(index);
                return Some(way.clone());
            }
        }
    }
}

impl Tried {
    /// Notes that one is tried; whether that is the first time.
    fn first(&mut self, index: usize) -> bool {
        let first = !self.has(index);
        self.0 |= 1 << index;
        first
    }

    fn has(self, index: usize) -> bool {
        self.0 & 1 << index != 0
    }
}

/// Rendezvous hashing: every node gives a conversation the same way, and when one is set aside
/// only its own conversations move.
fn weight(way: &Way, conversation: &str) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(way.identity.as_bytes());
    context.update(&[0]);
    context.update(conversation.as_bytes());
    let hash = context.finish();
    hash.as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn needs_own_credential() -> Refusal {
    let message = "What is below /backend-api belongs to a person's own ChatGPT login: put the key of this proxy into x-codex-proxy-key, and leave Authorization to your client.";
    Refusal::new(Word::NotAllowed, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use http::StatusCode;

    use super::{Routes, Tried, Wanted};
    use crate::config::Config;
    use crate::config::secrets::Secrets;
    use crate::exchange::auth::Credential;
    use crate::exchange::endpoint::Surface;

    /// Routes over `[upstream]` with two keys and these further upstreams.
    fn routes(upstreams: &str) -> Routes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "sk").unwrap();
        let key = format!("file:{}", path.display());
        let upstreams = upstreams.replace("KEY", &key);
        let flags = vec![
            ("upstream.key", format!("{key},file:{}/./key", folder.path().display())),
            ("upstreams", upstreams),
        ];
        let config = Config::only(&flags).unwrap();
        Routes::new(&config, &Secrets::fetch(&config, None).unwrap()).unwrap()
    }

    fn wanted<'r>(model: &'r str, conversation: &'r str) -> Wanted<'r> {
        let credential = Credential::Organisation;
        Wanted { surface: Surface::Api, credential, model: Some(model), conversation }
    }

    /// The names of all ways in the order in which they would be tried.
    fn order(routes: &Routes, model: &str, conversation: &str, now: Instant) -> Vec<String> {
        let (wanted, mut tried) = (wanted(model, conversation), Tried::default());
        let next = || routes.best(&wanted, &mut tried, now).ok().flatten();
        std::iter::from_fn(next).map(|way| way.name.clone()).collect()
    }

    const SOME: &str = r#"[
        {"name":"azure","url":"http://a","key":"KEY","models":["gpt-4*"]},
        {"name":"spare","url":"http://b","key":"KEY","priority":2}]"#;

    #[test]
    fn a_model_has_its_upstream_and_others_go_to_those_for_all() {
        let (routes, now) = (routes(SOME), Instant::now());
        assert_eq!(order(&routes, "gpt-4.1", "t", now), ["azure"]);
        let mut others = order(&routes, "gpt-5.5", "t", now);
        assert_eq!(others.pop().as_deref(), Some("spare"));
        others.sort();
        assert_eq!(others, ["default/1", "default/2"]);
    }

    #[test]
    fn a_conversation_keeps_its_way_and_all_ways_have_some() {
        let (routes, now) = (routes(SOME), Instant::now());
        let mut counts = BTreeMap::new();
        for number in 0..1000 {
            let conversation = format!("thread-{number}");
            let first = order(&routes, "gpt-5.5", &conversation, now).remove(0);
            assert_eq!(order(&routes, "gpt-5.5", &conversation, now)[0], first);
            *counts.entry(first).or_insert(0) += 1;
        }
        let counts: Vec<(String, i32)> = counts.into_iter().collect();
        assert!(
            counts.len() == 2 && counts.iter().all(|(_, n)| (400..600).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn what_is_set_aside_is_asked_last_and_tried_again_by_one() {
        let (routes, now) = (routes(SOME), Instant::now());
        let wanted = wanted("gpt-5.5", "t");
        let first = routes.best(&wanted, &mut Tried::default(), now).ok().flatten().unwrap();
        first.answered(StatusCode::UNAUTHORIZED, now);
        let after = order(&routes, "gpt-5.5", "t", now);
        assert_eq!((after.len(), after.last()), (3, Some(&first.name)));

        // Later one request finds out, and the others stay away until it has.
        let later = now + Duration::from_secs(15);
        assert_eq!(order(&routes, "gpt-5.5", "t", later)[0], first.name);
        assert_eq!(order(&routes, "gpt-5.5", "t", later).last(), Some(&first.name));
        first.answered(StatusCode::OK, later);
        assert_eq!(order(&routes, "gpt-5.5", "t", later)[0], first.name);
    }

    #[test]
    fn only_an_error_of_the_credential_sets_it_aside() {
        let (routes, now) = (routes("[]"), Instant::now());
        let wanted = wanted("gpt-5.5", "t");
        let first = routes.best(&wanted, &mut Tried::default(), now).ok().flatten().unwrap();
        assert!(first.answered(StatusCode::TOO_MANY_REQUESTS, now));
        first.refused("rate_limit_exceeded", now);
        assert!(first.is_open(now) && !first.answered(StatusCode::INTERNAL_SERVER_ERROR, now));
        first.refused("insufficient_quota", now);
        assert!(!first.is_open(now));
    }

    #[test]
    fn an_upstream_that_cannot_be_reached_is_left_with_all_its_keys() {
        let (routes, now) = (routes(SOME), Instant::now());
        let (wanted, mut tried) = (wanted("gpt-5.5", "t"), Tried::default());
        let first = routes.best(&wanted, &mut tried, now).ok().flatten().unwrap();
        first.unreachable(now);
        routes.skip_site(&first, &mut tried);
        let next = routes.best(&wanted, &mut tried, now).ok().flatten().unwrap();
        assert_eq!(next.name, "spare");
        assert!(routes.best(&wanted, &mut tried, now).ok().flatten().is_none());
        assert_eq!(order(&routes, "gpt-5.5", "t", now)[0], "spare");
    }
}
