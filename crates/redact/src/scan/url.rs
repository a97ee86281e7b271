//! Passwords and tokens in URLs.

use std::ops::Range;

use super::{Scan, byte, is_token, strength, value};
use crate::rule::Anchor;

/// How long what stands before the host may be.
const LONGEST: usize = 256;

/// What documentation writes for a password.
const WORDS: [&[u8]; 26] = [
    b"password",
    b"passwd",
    b"pass",
    b"pwd",
    b"pw",
    b"secret",
    b"user",
    b"username",
    b"guest",
    b"admin",
    b"root",
    b"test",
    b"token",
    b"key",
    b"foo",
    b"bar",
    b"baz",
    b"postgres",
    b"mysql",
    b"redis",
    b"mypassword",
    b"p",
    b"x",
    b"pswd",
    b"userpass",
    b"basic",
];

/// Hosts that documentation and tests use.
const HOSTS: [&[u8]; 4] = [b"example.", b"localhost", b"host", b"server"];

impl Scan<'_> {
    /// Looks at what follows the scheme of a URL.
    pub(super) fn url(&mut self, start: usize) {
        self.url_prefixed(start);
        let Some((userinfo, host)) = self.userinfo(start) else { return };
        let Some(text) = self.bytes.get(userinfo.clone()) else { return };
        if !(byte(self.bytes, host).is_ascii_alphanumeric()
            || b"[${<_".contains(&byte(self.bytes, host)))
        {
            return;
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else {
            return self.url_token(userinfo);
        };
        let (user, password) = text.split_at_checked(colon).unwrap_or_default();
        let password = password.get(1..).unwrap_or_default();
        if user.contains(&b'@') {
            return;
        }
        if matches!(password, b"x-oauth-basic" | b"x-token-auth" | b"") {
            return self.url_token(userinfo.start..userinfo.start + colon);
        }
        if is_password(user, password) {
            let shown = is_simple(password) && self.is_shown(host);
            let anchor = if shown { Anchor::WeakPassword } else { Anchor::UrlPassword };
            self.push_anchor(anchor, userinfo.start + colon + 1..userinfo.end);
        }
    }

    /// What stands before the last `@` before the path; and where the host begins.
    fn userinfo(&self, start: usize) -> Option<(Range<usize>, usize)> {
        let rest = self.bytes.get(start..)?;
        let ends =
            |byte: &u8| matches!(byte, 0..=b' ' | b'"' | b'\'' | b'`' | b'\\' | b'<' | b'/' | 0x7f);
        let length = rest.iter().take(LONGEST).position(ends).unwrap_or(rest.len().min(LONGEST));
        let authority = rest.get(..length)?;
        let at = memchr::memrchr(b'@', authority)?;
        (at > 0).then_some((start..start + at, start + at + 1))
    }

    /// Whether this is a host that documentation and tests use.
    fn is_shown(&self, host: usize) -> bool {
        let rest = self.bytes.get(host..).unwrap_or_default();
        let length = rest.iter().take(80).take_while(|b| is_token(**b) || **b == b'.').count();
        let host = rest.get(..length).unwrap_or_default();
        host.len() < 4 || host.starts_with(b"127.") || HOSTS.iter().any(|one| super::has(host, one))
    }

    fn url_token(&mut self, span: Range<usize>) {
        let Some(token) = self.bytes.get(span.clone()) else { return };
        let scheme = self.bytes.get(..span.start).unwrap_or_default();
        let web = scheme.ends_with(b"http://") || scheme.ends_with(b"https://");
        let random = web
            && token.len() >= 20
            && token.iter().any(u8::is_ascii_digit)
            && strength::entropy(token) >= 3.0
            && strength::surprise(token) >= 28;
        if random && !value::stands_for(token) {
            self.push_anchor(Anchor::UrlToken, span);
        }
    }

    /// Tokens whose prefix is an address: `https://hooks.slack.com/services/`.
    fn url_prefixed(&mut self, start: usize) {
        let prefixes = &self.rules.prefixes;
        for (entry, rest) in prefixes.urls(self.bytes.get(start..).unwrap_or_default()) {
            self.token(entry, start + rest, start - entry.scheme(self.bytes, start));
        }
    }
}

/// Short, or of words.
fn is_simple(password: &[u8]) -> bool {
    let plain = password.iter().all(|byte| is_token(*byte) || *byte == b'%');
    let short = password.len() < 8 || !password.is_ascii();
    password.len() < 14 && (short || plain && strength::surprise(password) < 30)
}

fn is_password(user: &[u8], password: &[u8]) -> bool {
    let digits = password.iter().all(u8::is_ascii_digit);
    password.len() >= if digits { 6 } else { 3 }
        && user != password
        && !WORDS.iter().any(|word| password.eq_ignore_ascii_case(word))
        && !value::stands_for(password)
        && !password.iter().any(|byte| b"{}|,".contains(byte))
        && !value::is_covered(password)
        && !(user == b"Aladdin" && password == b"opensesame")
}
