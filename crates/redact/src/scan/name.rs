//! Names: whether what a name is given is a secret, as its words say.

/// What a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What people think up and type.
    Password,
    /// What a machine has made.
    Secret,
}

/// Words that may follow the one that counts: `DB_PASSWORD_PROD`, `api_key_2`.
fn is_after(word: &[u8]) -> bool {
    matches!(
        word,
        b"old"
            | b"new"
            | b"prod"
            | b"production"
            | b"dev"
            | b"development"
            | b"staging"
            | b"stage"
            | b"test"
            | b"testing"
            | b"live"
            | b"sandbox"
            | b"default"
            | b"env"
            | b"str"
            | b"string"
            | b"text"
            | b"txt"
            | b"plain"
            | b"plaintext"
            | b"value"
            | b"val"
            | b"raw"
            | b"base64"
            | b"b64"
            | b"master"
            | b"admin"
            | b"root"
            | b"local"
            | b"confirm"
            | b"confirmation"
            | b"backup"
            | b"base"
            | b"current"
    )
}

fn is_password(word: &[u8]) -> bool {
    matches!(
        word,
        b"password"
            | b"passwd"
            | b"pwd"
            | b"pass"
            | b"passphrase"
            | b"passcode"
            | b"pw"
            | b"psw"
            | b"passwort"
            | b"pswd"
    )
}

fn is_secret(word: &[u8]) -> bool {
    matches!(
        word,
        b"secret"
            | b"secrets"
            | b"token"
            | b"credential"
            | b"credentials"
            | b"authorization"
            | b"auth"
            | b"bearer"
    )
}

/// What makes a key one that must not be seen.
fn makes_key_secret(word: &[u8]) -> bool {
    matches!(
        word,
        b"api"
            | b"access"
            | b"secret"
            | b"private"
            | b"auth"
            | b"encryption"
            | b"encrypt"
            | b"signing"
            | b"account"
            | b"master"
            | b"app"
            | b"application"
            | b"admin"
            | b"consumer"
            | b"client"
            | b"service"
            | b"storage"
            | b"shared"
            | b"subscription"
            | b"session"
            | b"crypt"
            | b"cipher"
            | b"aes"
            | b"hmac"
            | b"jwt"
            | b"deploy"
            | b"server"
            | b"write"
            | b"ingest"
            | b"license"
            | b"webhook"
            | b"integration"
            | b"rest"
            | b"security"
            | b"platform"
    )
}

/// Endings of names that are written in one: `dbpassword`, `apikey`.
const ENDINGS: [(&str, Kind); 20] = [
    ("password", Kind::Password),
    ("passwd", Kind::Password),
    ("passphrase", Kind::Password),
    ("pwd", Kind::Password),
    ("dbpass", Kind::Password),
    ("requirepass", Kind::Password),
    ("userpass", Kind::Password),
    ("mypass", Kind::Password),
    ("secret", Kind::Secret),
    ("apikey", Kind::Secret),
    ("accesskey", Kind::Secret),
    ("secretkey", Kind::Secret),
    ("accountkey", Kind::Secret),
    ("authkey", Kind::Secret),
    ("privatekey", Kind::Secret),
    ("authtoken", Kind::Secret),
    ("accesstoken", Kind::Secret),
    ("apitoken", Kind::Secret),
    ("bottoken", Kind::Secret),
    ("refreshtoken", Kind::Secret),
];

/// What makes a token one of a parser, of a page of results, or of a model.
fn is_harmless(word: &[u8]) -> bool {
    matches!(
        word,
        b"next"
            | b"page"
            | b"continuation"
            | b"sync"
            | b"cancellation"
            | b"cancel"
            | b"pad"
            | b"eos"
            | b"bos"
            | b"unk"
            | b"start"
            | b"end"
            | b"stop"
            | b"mask"
            | b"sep"
            | b"cls"
            | b"prev"
            | b"previous"
            | b"last"
            | b"first"
            | b"public"
            | b"cursor"
            | b"resume"
            | b"pagination"
            | b"peek"
            | b"idempotency"
            | b"special"
            | b"syntax"
            | b"lex"
            | b"input"
            | b"output"
            | b"cached"
            | b"image"
            | b"publishable"
    )
}

/// Most words of a name that are looked at, from its end.
const WORDS: usize = 8;
const LONGEST: usize = 24;

/// A name's words in lower case, the last first.
#[derive(Default)]
struct Split {
    letters: [[u8; LONGEST]; WORDS],
    lengths: [usize; WORDS],
    count: usize,
}

impl Split {
    fn of(name: &[u8]) -> Self {
        let mut split = Self::default();
        let mut end = name.len();
        for at in (0..name.len()).rev() {
            let Some(rest) = name.get(at..) else { break };
            let [one, ..] = rest else { break };
            if !one.is_ascii_alphanumeric() {
                split.push(name.get(at + 1..end));
                end = at;
            } else if begins_word(at.checked_sub(1).and_then(|i| name.get(i)), rest) {
                split.push(name.get(at..end));
                end = at;
            }
        }
        split.push(name.get(..end));
        split
    }

    fn push(&mut self, word: Option<&[u8]>) {
        let word = word.unwrap_or_default();
        if word.is_empty() {
            return;
        }
        let place = self.letters.get_mut(self.count).zip(self.lengths.get_mut(self.count));
        let Some((letters, length)) = place else { return };
        let kept = word.get(word.len().saturating_sub(LONGEST)..).unwrap_or_default();
        letters.iter_mut().zip(kept).for_each(|(to, from)| *to = from.to_ascii_lowercase());
        *length = kept.len();
        self.count += 1;
    }

    fn word(&self, at: usize) -> &[u8] {
        let letters = self.letters.get(at).zip(self.lengths.get(at));
        letters.and_then(|(letters, length)| letters.get(..*length)).unwrap_or_default()
    }
}

/// A capital after a small letter, or before one: `apiKey`, `APIKey`.
fn begins_word(before: Option<&u8>, rest: &[u8]) -> bool {
    let [one, ..] = rest else { return false };
    let small_before = before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let big_before = before.is_some_and(u8::is_ascii_uppercase);
    let small_after = rest.get(1).is_some_and(u8::is_ascii_lowercase);
    one.is_ascii_uppercase() && (small_before || big_before && small_after)
}

/// What this name promises, if it is one for secrets.
pub(super) fn kind(name: &[u8]) -> Option<Kind> {
    let split = Split::of(name);
    let says_more = |at: &usize| {
        let word = split.word(*at);
        is_after(word) || word.iter().all(u8::is_ascii_digit)
    };
    let at = (0..split.count).find(|at| !says_more(at))?;
    let word = split.word(at);
    let trimmed = word.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
    let word = word.get(..trimmed)?;
    let earlier = split.word(at + 1);
    if is_password(word) {
        return Some(Kind::Password);
    }
    if is_secret(word) {
        return (!is_harmless(earlier)).then_some(Kind::Secret);
    }
    if matches!(word, b"key" | b"keys") {
        let known = (at + 1..split.count).any(|at| makes_key_secret(split.word(at)));
        let public = (at + 1..split.count)
            .any(|at| matches!(split.word(at), b"public" | b"publishable" | b"cache"));
        return (known && !public).then_some(Kind::Secret);
    }
    let ending = ENDINGS.iter().find(|(ending, _)| word.ends_with(ending.as_bytes()));
    ending.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::{Kind, kind};

    #[test]
    fn the_last_word_says_what_a_name_is_for() {
        for name in [
            "password",
            "DB_PASSWORD",
            "dbPassword2",
            "PGPASSWORD",
            "user.pwd",
            "smtp-pass",
            "DB_PASSWORD_PROD",
        ] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Password), "{name}");
        }
        for name in [
            "api_key",
            "APIKey",
            "x-api-key",
            "client_secret",
            "SECRET_KEY",
            "authToken",
            "accessKey",
            "AccountKey",
            "apikey",
        ] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Secret), "{name}");
        }
    }

    #[test]
    fn what_is_about_a_secret_is_none() {
        for name in [
            "password_hash",
            "passwordField",
            "token_type",
            "next_page_token",
            "key",
            "public_key",
            "api_key_id",
            "prompt_cache_key",
            "bypass",
            "compass",
            "author",
            "secret_name",
            "keyboard",
            "max_output_tokens",
        ] {
            assert_eq!(kind(name.as_bytes()), None, "{name}");
        }
    }
}
