//! Two lines of JSON: what is said, and the signature of that line.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::sign::{PublicKey, Signer};

/// The second line.
#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    kind: String,
    signature: String,
    key: String,
}

/// The two lines of something.
pub(crate) fn seal(said: &impl Serialize, signer: &Signer) -> Result<String, Error> {
    let failed = |error: serde_json::Error| Error::disk("writing what is signed")(error.into());
    let line = serde_json::to_string(said).map_err(failed)?;
    let seal = Seal::new(signer.sign(line.as_bytes()), &signer.public_key());
    Ok(format!("{line}\n{}\n", serde_json::to_string(&seal).map_err(failed)?))
}

impl Seal {
    fn new(signature: String, key: &PublicKey) -> Self {
        Self { kind: "signature".to_owned(), signature, key: key.to_string() }
    }
}

/// Reads what one of these keys has signed as something of this kind; else says why it is none.
pub(crate) fn unseal<T: DeserializeOwned>(
    kind: &str,
    text: &[u8],
    keys: &[PublicKey],
) -> Result<T, String> {
    let end = memchr::memchr(b'\n', text).ok_or("it has one line, where two belong")?;
    let (line, written) = text.split_at(end);
    let seal: Seal = serde_json::from_slice(written)
        .map_err(|error| format!("its signature cannot be read: {error}"))?;
    let Some(key) = keys.iter().find(|key| key.has_signed(line, &seal.signature)) else {
        return Err("it was edited, or is signed with another key".to_owned());
    };
    // The signature is of the first line: so the second is looked at to the byte.
    let seal = serde_json::to_string(&Seal::new(seal.signature, key)).unwrap_or_default();
    if written != format!("\n{seal}\n").as_bytes() {
        return Err("the line of its signature was edited".to_owned());
    }
    // Else one kind could be passed off as another, since their members may agree.
    if !line.starts_with(format!("{{\"kind\":\"{kind}\",").as_bytes()) {
        return Err(format!("it is no {kind}"));
    }
    serde_json::from_slice(line).map_err(|error| format!("it cannot be read: {error}"))
}
