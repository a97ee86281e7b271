//! Headers for an upstream, as they are configured: `NAME=VALUE`.

use std::path::Path;

use http::{HeaderName, HeaderValue, header};

use super::reference::SecretRef;
use super::target::HeaderText;

/// Reads one; a value that is written as a reference to a secret is one.
pub fn read(text: &str, base: &Path) -> Result<(HeaderName, HeaderText), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("has an entry without a value: write NAME=VALUE".to_owned());
    };
    let (name, value) = (name.trim(), value.trim());
    let header: HeaderName =
        name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
    if let Some(why) = is_not_for_here(&header) {
        return Err(format!("{header} cannot be set: {why}"));
    }
    match SecretRef::parse(value, base) {
        Some(SecretRef::Stdin | SecretRef::Kms(_)) | None if is_secret(header.as_str()) => {
            // The text may be the secret itself: it is not repeated.
            Err(format!("{header} holds a secret: write env:NAME or file:PATH as its value"))
        }
        Some(
            reference @ (SecretRef::Env(_) | SecretRef::File(_) | SecretRef::SecretsManager { .. }),
        ) => Ok((header, HeaderText::Secret(reference))),
        Some(SecretRef::Stdin | SecretRef::Kms(_)) | None => match HeaderValue::from_str(value) {
            Ok(value) if !value.is_empty() => Ok((header, HeaderText::Plain(value))),
            _ => Err(format!("{header} has no value that a header can have")),
        },
    }
}

/// Headers that are told otherwise, or that belong to one connection or one body.
fn is_not_for_here(name: &HeaderName) -> Option<&'static str> {
    const FRAMING: [HeaderName; 8] = [
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    if *name == header::AUTHORIZATION || name == "api-key" {
        return Some("the credential is told with `key` and `auth`");
    }
    let ours = name.as_str().starts_with("x-codex-proxy-");
    (FRAMING.contains(name) || ours).then_some("it says how one request travels")
}

/// Whether a header's name sounds like that of a secret.
fn is_secret(name: &str) -> bool {
    let words = ["auth", "cookie", "credential", "key", "pass", "secret", "signature", "token"];
    words.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::read;

    fn check(text: &str, expected: Result<&str, &str>) {
        let read = read(text, Path::new("/etc"));
        let read = read.map(|(name, value)| format!("{name} {value:?}"));
        assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn headers_are_read_and_secrets_only_by_reference() {
        check("OpenAI-Project = proj_1", Ok("openai-project Plain(\"proj_1\")"));
        check("x-a=b=c", Ok("x-a Plain(\"b=c\")"));
        check("X-Gate-Token=env:GATE", Ok("x-gate-token Secret(Env(\"GATE\"))"));
        check("x-gate=file:gate.txt", Ok("x-gate Secret(File(\"/etc/gate.txt\"))"));
        let secret = "x-gate-token holds a secret: write env:NAME or file:PATH as its value";
        check("X-Gate-Token=s3cr3t", Err(secret));
        check(
            "cookie=stdin",
            Err("cookie holds a secret: write env:NAME or file:PATH as its value"),
        );
    }

    #[test]
    fn what_is_no_header_is_told() {
        check("OpenAI-Project", Err("has an entry without a value: write NAME=VALUE"));
        check("a b=c", Err("`a b` is no name of a header"));
        check("x-a=", Err("x-a has no value that a header can have"));
        check("x-a=a\nb", Err("x-a has no value that a header can have"));
        let key = "cannot be set: the credential is told with `key` and `auth`";
        check("Authorization=env:A", Err(&format!("authorization {key}")));
        check("api-key=env:A", Err(&format!("api-key {key}")));
        check("Host=a", Err("host cannot be set: it says how one request travels"));
    }
}
