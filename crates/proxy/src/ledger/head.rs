//! What is kept of a request's head, and of an answer's: no credentials, no secrets.

use archive::record::Altered;
use http::HeaderMap;
use redact::headers::storable;
use redact::own_key;
use redact::rule::Rules;

use super::account::Account;
use crate::exchange::screen::{Extra, Looked, Screened, Verdict};

impl Account {
    /// Notes what was found in the request; and its head, where that was changed.
    pub(crate) fn inspected(&mut self, verdict: &Verdict, screened: Option<&Screened>) {
        self.inspected = Some(verdict.body);
        self.record.findings.clone_from(&verdict.findings);
        if verdict.is_masked {
            self.record.altered = Altered::Masked;
        } else if screened.is_some_and(|screened| screened.extra == Extra::Usage) {
            self.record.altered = Altered::Translated;
        }
        if let Some(Screened { head, .. }) = screened.filter(|_| verdict.head_changed) {
            self.request.target = target(&head.uri);
            self.request.headers = stored_headers(&head.headers);
        }
    }

    /// Sees to it that nothing secret is kept of a head that nobody came to inspect.
    pub(crate) fn scrub(&mut self, rules: &Rules) {
        if self.inspected.is_some() {
            return;
        }
        self.inspected = Some(Looked::Through);
        let values = self.request.headers.iter_mut().map(|(_, value)| value);
        for text in values.chain([&mut self.request.target]) {
            let mut bytes = std::mem::take(text).into_bytes();
            for found in rules.scan(&bytes).into_iter().rev() {
                bytes.splice(found.span, *b"***");
            }
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

/// Headers as they may be stored: no credentials, no cookies.
pub(super) fn stored_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut stored = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if let Some(value) = storable(name.as_str(), &value) {
            stored.push((name.as_str().to_owned(), value.into_owned()));
        }
    }
    stored
}

pub(super) fn target(uri: &http::Uri) -> String {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    own_key::mask(target).into_owned()
}
