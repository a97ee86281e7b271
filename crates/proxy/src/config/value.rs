//! From the text of a setting to its value.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, Uri};
use ipnet::IpNet;

use super::entry::Members;
use super::header;
use super::listen::{self, Listen};
use super::reference::SecretRef;
use super::screen::Action;
use super::setting::Kind;
use super::target::HeaderText;

/// A proven value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For [`Kind::Text`], [`Kind::Choice`] and [`Kind::Engine`].
    Text(String),
    /// For lists of texts.
    Texts(Vec<String>),
    /// For [`Kind::Addresses`] and [`Kind::Listen`].
    Addresses(Vec<Listen>),
    /// For [`Kind::Networks`].
    Networks(Vec<IpNet>),
    /// For [`Kind::Url`].
    Url(Uri),
    /// For [`Kind::Bytes`], [`Kind::Count`] and [`Kind::Mode`].
    Number(u64),
    /// For [`Kind::Duration`].
    Duration(Duration),
    /// For [`Kind::Path`].
    Path(PathBuf),
    /// For [`Kind::Reference`].
    Reference(SecretRef),
    /// For [`Kind::References`].
    References(Vec<SecretRef>),
    /// For [`Kind::Headers`].
    Headers(Vec<(HeaderName, HeaderText)>),
    /// For [`Kind::Actions`].
    Actions(Vec<(String, Action)>),
    /// For [`Kind::Tables`].
    Entries(Vec<Members>),
}

/// Reads a value; each error says what is allowed. Relative paths are taken from `base`.
pub fn parse(kind: Kind, texts: &[String], base: &Path) -> Result<Value, Vec<String>> {
    match kind {
        Kind::Texts => Ok(Value::Texts(each(texts, plain)?)),
        Kind::Origins => Ok(Value::Texts(each(texts, origin)?)),
        Kind::Endpoints => some(texts).and_then(|()| each(texts, endpoint)).map(Value::Texts),
        Kind::Listen => some(texts)
            .and_then(|()| each(texts, |text| listen::parse(text, base)))
            .map(Value::Addresses),
        Kind::Addresses => each(texts, |text| listen::parse(text, base)).map(Value::Addresses),
        Kind::Networks => each(texts, network).map(Value::Networks),
        Kind::References => some(texts)
            .and_then(|()| each(texts, |text| reference(text, base)))
            .map(Value::References),
        Kind::Keys => {
            some(texts).and_then(|()| each(texts, |text| key(text, base))).map(Value::References)
        }
        Kind::Headers => each(texts, |text| header::read(text, base)).map(Value::Headers),
        Kind::Actions => each(texts, action).map(Value::Actions),
        _ => match texts {
            [text] => one(kind, text, base).map_err(|what| vec![what]),
            _ => Err(vec!["takes one value, not a list".to_owned()]),
        },
    }
}

fn one(kind: Kind, text: &str, base: &Path) -> Result<Value, String> {
    match kind {
        Kind::Url => url(text).map(Value::Url),
        Kind::Bytes => bytes(text).map(Value::Number),
        Kind::Duration => duration(text).map(Value::Duration),
        Kind::Count => count(text).map(Value::Number),
        Kind::Mode => mode(text).map(Value::Number),
        Kind::Path if text.trim().is_empty() => Err("is empty: write a path".to_owned()),
        Kind::Path => Ok(Value::Path(base.join(text))),
        Kind::Reference => reference(text, base).map(Value::Reference),
        Kind::Key => key(text, base).map(Value::Reference),
        Kind::Engine(forms) => engine(text, forms, base).map(Value::Text),
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Choice(words) => Err(format!("`{text}` is not one of {}", words.join(", "))),
        Kind::Text
        | Kind::Texts
        | Kind::Origins
        | Kind::Endpoints
        | Kind::Listen
        | Kind::References
        | Kind::Keys
        | Kind::Headers
        | Kind::Actions
        | Kind::Tables(_)
        | Kind::Networks
        | Kind::Addresses => plain(text).map(Value::Text),
    }
}

/// Reads every element, or tells what is wrong with each that is.
fn each<T>(
    texts: &[String],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Vec<String>> {
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    for text in texts {
        match read(text) {
            Ok(value) => values.push(value),
            Err(what) => problems.push(what),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn some(texts: &[String]) -> Result<(), Vec<String>> {
    if texts.is_empty() { Err(vec!["is empty: write at least one".to_owned()]) } else { Ok(()) }
}

fn plain(text: &str) -> Result<String, String> {
    let bad = text.contains(char::is_control);
    if bad { Err("has a control character in it".to_owned()) } else { Ok(text.to_owned()) }
}

/// As browsers send it: scheme, host, perhaps a port, and nothing behind (RFC 6454 §6.2).
fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").map(|(_, host)| host);
    let is_origin =
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '?', '#']));
    if text == "*" || is_origin {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no origin: write https://app.example.com or *"))
}

fn endpoint(text: &str) -> Result<String, String> {
    let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_method && path.trim().starts_with(['/', '*']) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no endpoint: write POST /v1/responses, /v1/models* or *"))
}

fn action(text: &str) -> Result<(String, Action), String> {
    let (name, action) = text.split_once('=').unwrap_or((text, ""));
    let (name, action) = (name.trim(), action.trim());
    match Action::named(action) {
        Some(action) => Ok((name.to_owned(), action)),
        None => Err(format!("{name}: `{action}` is not one of {}", Action::WORDS.join(", "))),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("`{text}` is no network: write 10.0.0.0/8, or an address"))
}

fn url(text: &str) -> Result<Uri, String> {
    let allowed = || format!("`{text}` is no address: write http://HOST/PATH or https://HOST/PATH");
    let uri: Uri = text.parse().map_err(|_| allowed())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let user_info = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !known || user_info || uri.host().is_none_or(str::is_empty) {
        Err(allowed())
    } else {
        Ok(uri)
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let size: Option<bytesize::ByteSize> = text.parse().ok();
    size.map(|size| size.as_u64())
        .filter(|size| *size > 0)
        .ok_or_else(|| format!("`{text}` is no size: write a number with a unit, as 64MiB"))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("`{text}` is no length of time: write a number with a unit, as 20s"))
}

fn count(text: &str) -> Result<u64, String> {
    // Semaphores of tokio hold at most usize::MAX / 8.
    text.parse()
        .ok()
        .filter(|count| (1..=1 << 32).contains(count))
        .ok_or_else(|| format!("`{text}` is no count: write a whole number from 1 on"))
}

fn mode(text: &str) -> Result<u64, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u64::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| format!("`{text}` is no mode: write octal digits, as 0600 or 0660"))
}

fn reference(text: &str, base: &Path) -> Result<SecretRef, String> {
    // The text may be the secret itself: it is not repeated.
    SecretRef::parse(text, base).ok_or_else(|| {
        "is a reference to a secret, never the secret: write env:NAME, file:PATH, \
         secretsmanager:NAME or stdin"
            .to_owned()
    })
}

fn key(text: &str, base: &Path) -> Result<SecretRef, String> {
    match text.strip_prefix("kms:").filter(|key| !key.is_empty()) {
        Some(key) => Ok(SecretRef::Kms(key.to_owned())),
        None => reference(text, base),
    }
}

fn engine(text: &str, forms: &[&str], base: &Path) -> Result<String, String> {
    let unknown = || format!("`{}` is unknown: write {}", scheme(text), forms.join(" or "));
    let (name, path) = text.split_once(':').ok_or_else(unknown)?;
    let known =
        forms.iter().any(|form| form.split_once(':').is_some_and(|(scheme, _)| scheme == name));
    if !known || path.is_empty() {
        return Err(unknown());
    }
    let remote = format!("{name}://");
    if forms.iter().any(|form| form.starts_with(&remote)) {
        let is_whole = path.strip_prefix("//").is_some_and(|rest| !rest.starts_with(['/', '?']));
        return if is_whole { Ok(text.to_owned()) } else { Err(unknown()) };
    }
    Ok(format!("{name}:{}", base.join(path).display()))
}

/// Only the scheme of an address is shown: what follows may hold a password.
fn scheme(text: &str) -> String {
    text.split_once(':').map_or_else(|| text.to_owned(), |(scheme, _)| format!("{scheme}:…"))
}
