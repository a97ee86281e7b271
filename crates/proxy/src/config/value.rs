//! From the text of a setting to its value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;

use super::reference::SecretRef;
use super::setting::Kind;

/// A proven value.
#[derive(Debug, Clone)]
pub enum Value {
    /// For [`Kind::Text`], [`Kind::Choice`] and [`Kind::Engine`].
    Text(String),
    /// For [`Kind::Texts`] and [`Kind::Endpoints`].
    Texts(Vec<String>),
    /// For [`Kind::Addresses`].
    Addresses(Vec<SocketAddr>),
    /// For [`Kind::Url`].
    Url(Uri),
    /// For [`Kind::Bytes`] and [`Kind::Count`].
    Number(u64),
    /// For [`Kind::Duration`].
    Duration(Duration),
    /// For [`Kind::Path`].
    Path(PathBuf),
    /// For [`Kind::Reference`].
    Reference(SecretRef),
}

/// Reads a value; the error says what is allowed. Relative paths are taken from `base`.
pub fn parse(kind: Kind, texts: &[String], base: &Path) -> Result<Value, String> {
    if let Kind::Texts = kind {
        return Ok(Value::Texts(texts.to_vec()));
    }
    if let Kind::Endpoints = kind {
        let checked = texts.iter().map(|text| endpoint(text)).collect::<Result<_, _>>();
        return checked.map(Value::Texts);
    }
    if let Kind::Addresses = kind {
        return texts
            .iter()
            .map(|text| address(text))
            .collect::<Result<_, _>>()
            .map(Value::Addresses);
    }
    let [text] = texts else { return Err("takes one value, not a list".to_owned()) };
    match kind {
        Kind::Text | Kind::Texts | Kind::Addresses | Kind::Endpoints => {
            Ok(Value::Text(text.clone()))
        }
        Kind::Url => url(text).map(Value::Url),
        Kind::Bytes => bytes(text).map(Value::Number),
        Kind::Duration => duration(text).map(Value::Duration),
        Kind::Count => count(text).map(Value::Number),
        Kind::Path => Ok(Value::Path(base.join(text))),
        Kind::Reference => reference(text, base).map(Value::Reference),
        Kind::Engine(forms) => engine(text, forms, base).map(Value::Text),
        Kind::Choice(words) if words.contains(&text.as_str()) => Ok(Value::Text(text.clone())),
        Kind::Choice(words) => Err(format!("`{text}` is not one of {}", words.join(", "))),
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_method && path.trim().starts_with(['/', '*']) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no endpoint: write POST /v1/responses, /v1/models* or *"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.replace("localhost:", "127.0.0.1:")
    };
    text.parse().map_err(|_| format!("`{text}` is no address: write HOST:PORT, as 127.0.0.1:8080"))
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

fn reference(text: &str, base: &Path) -> Result<SecretRef, String> {
    // The text may be the secret itself: it is not repeated.
    SecretRef::parse(text, base).ok_or_else(|| {
        "is a reference to a secret, never the secret: write env:NAME, file:PATH or stdin"
            .to_owned()
    })
}

fn engine(text: &str, forms: &[&str], base: &Path) -> Result<String, String> {
    let unknown = || format!("`{}` is unknown: write {}", scheme(text), forms.join(" or "));
    let (name, path) = text.split_once(':').ok_or_else(unknown)?;
    let known =
        forms.iter().any(|form| form.split_once(':').is_some_and(|(scheme, _)| scheme == name));
    if !known || path.is_empty() {
        return Err(unknown());
    }
    Ok(format!("{name}:{}", base.join(path).display()))
}

/// Only the scheme of an address is shown: what follows may hold a password.
fn scheme(text: &str) -> String {
    text.split_once(':').map_or_else(|| text.to_owned(), |(scheme, _)| format!("{scheme}:…"))
}
