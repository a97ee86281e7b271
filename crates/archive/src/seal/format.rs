//! A sealed object: a header, and chunks. `docs/archive-format.md` describes it for others.

use std::ops::Range;

use object_store::path::Path;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{Closed, Key, KeyId, cipher};

/// Begins a header: the magic, and the version.
const BEGIN: &[u8; 9] = b"cpsealed\x01";
/// The beginning and the key's id: what the encrypted data key is bound to.
const BOUND: usize = BEGIN.len() + size_of::<KeyId>();
/// Behind each thing that is encrypted, AES-GCM puts so many bytes that tell whether it is whole.
const TAG: usize = 16;
/// A data key.
const DATA_KEY: usize = 32;
/// The whole header, in bytes.
pub(super) const HEADER: usize = BOUND + NONCE_LEN + DATA_KEY + TAG;
/// What is encrypted at once, in bytes: whoever wants a part reads little more.
pub(super) const CHUNK: usize = 64 << 10;
/// The same as it is stored.
const STORED_CHUNK: u64 = (CHUNK + TAG) as u64;

/// One, until it is not needed any more.
type DataKey = Zeroizing<[u8; DATA_KEY]>;

/// The random numbers of the operating system gave out.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub(super) struct NoRandom;

/// Seals a text.
pub(super) fn seal(key: &Key, plain: &[u8]) -> Result<Vec<u8>, NoRandom> {
    let data_key: DataKey = Zeroizing::new(random()?);
    let chunks = plain.len().div_ceil(CHUNK).max(1);
    let mut sealed = Vec::with_capacity(HEADER + plain.len() + chunks * TAG);
    sealed.extend(wrap(key, &data_key)?);
    let cipher = cipher(&*data_key);
    let mut rest = plain;
    for number in 0..chunks {
        let (chunk, behind) = rest.split_at(rest.len().min(CHUNK));
        let begin = sealed.len();
        sealed.extend_from_slice(chunk);
        let nonce = nonce(number as u64, chunks as u64);
        let (_, chunk) = sealed.split_at_mut(begin);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::empty(), chunk);
        sealed.extend_from_slice(tag.expect("a chunk is not too long").as_ref());
        rest = behind;
    }
    Ok(sealed)
}

fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// The header of an object with this data key.
fn wrap(key: &Key, data_key: &[u8; DATA_KEY]) -> Result<Vec<u8>, NoRandom> {
    let nonce: [u8; NONCE_LEN] = random()?;
    let bound = [BEGIN.as_slice(), &key.id.0].concat();
    let mut wrapped = data_key.to_vec();
    let nonce_of = Nonce::assume_unique_for_key(nonce);
    let done = key.cipher.seal_in_place_append_tag(nonce_of, Aad::from(&bound), &mut wrapped);
    done.expect("a data key is not too long");
    Ok([bound.as_slice(), &nonce, &wrapped].concat())
}

/// The key with which the object of this header was sealed.
pub(super) fn key_id(path: &Path, header: &[u8]) -> Result<KeyId, Closed> {
    let broken = |what: &str| Closed::broken(path, what);
    let (begin, rest) =
        header.split_first_chunk().ok_or_else(|| broken("it is cut off in its header"))?;
    if begin != BEGIN {
        return Err(broken("its header was edited, or is of a later version"));
    }
    let (id, _) = rest.split_first_chunk().ok_or_else(|| broken("it is cut off in its header"))?;
    Ok(KeyId(*id))
}

/// The data key in a header that names this key.
fn unwrap(path: &Path, header: &[u8], key: &Key) -> Result<DataKey, Closed> {
    let broken = || Closed::broken(path, "its header was edited or is cut off");
    let (bound, rest) = header.split_at_checked(BOUND).ok_or_else(broken)?;
    let (nonce, wrapped) = rest.split_first_chunk().ok_or_else(broken)?;
    let mut wrapped =
        Zeroizing::new(<[u8; DATA_KEY + TAG]>::try_from(wrapped).map_err(|_| broken())?);
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let data_key = key.cipher.open_in_place(nonce, Aad::from(bound), &mut *wrapped);
    let data_key = data_key.map_err(|_| broken())?;
    (&*data_key).try_into().map(Zeroizing::new).map_err(|_| broken())
}

/// The header with the same data key, encrypted with the current key.
pub(super) fn rewrap(
    path: &Path,
    header: &[u8],
    (old, current): (&Key, &Key),
) -> Result<Vec<u8>, object_store::Error> {
    let data_key = unwrap(path, header, old)?;
    let failed = |error| object_store::Error::Generic { store: "sealed", source: Box::new(error) };
    wrap(current, &data_key).map_err(failed)
}

/// What opens the chunks of one object.
pub(super) struct Opener {
    cipher: LessSafeKey,
    path: Path,
    chunks: u64,
}

impl Opener {
    /// Opens the header of an object that is cut like that, and sealed with this key.
    pub(super) fn new(
        path: &Path,
        header: &[u8],
        key: &Key,
        layout: Layout,
    ) -> Result<Self, Closed> {
        let cipher = cipher(&*unwrap(path, header, key)?);
        Ok(Self { cipher, path: path.clone(), chunks: layout.chunks() })
    }

    /// Opens a chunk in its place; returns the length of what was in it.
    pub(super) fn open(&self, number: u64, chunk: &mut [u8]) -> Result<usize, Closed> {
        let nonce = nonce(number, self.chunks);
        let opened = self.cipher.open_in_place(nonce, Aad::empty(), chunk);
        opened.map(|plain| plain.len()).map_err(|_| {
            let at = number * CHUNK as u64;
            let what = format!("it was edited or is cut off, at or behind byte {at} of its text");
            Closed::broken(&self.path, what)
        })
    }

    /// That bytes are missing which should be there.
    pub(super) fn cut_off(&self) -> Closed {
        Closed::broken(&self.path, "it is cut off")
    }
}

/// Of a chunk among so many: its number, and whether it is the last, so that nothing can be taken
/// away behind another. Unique within an object, and its data key is used for no other.
fn nonce(number: u64, chunks: u64) -> Nonce {
    let is_last = u8::from(number + 1 == chunks);
    let mut nonce = [0; NONCE_LEN];
    let (_, end) = nonce.split_at_mut(3);
    for (byte, value) in end.iter_mut().zip(number.to_be_bytes().into_iter().chain([is_last])) {
        *byte = value;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// How an object is cut, by the bytes that are stored behind its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout(u64);

impl Layout {
    /// Of an object with so many stored bytes; none: no object has this length.
    pub(super) fn of(stored: u64) -> Option<Self> {
        let body = stored.checked_sub(HEADER as u64)?;
        let (whole, rest) = (body / STORED_CHUNK, body % STORED_CHUNK);
        let is_one = match rest {
            0 => whole > 0,
            // Only an empty text has an empty chunk.
            _ if rest == TAG as u64 => whole == 0,
            _ => rest > TAG as u64,
        };
        is_one.then_some(Self(body))
    }

    pub(super) fn chunks(self) -> u64 {
        self.0.div_ceil(STORED_CHUNK)
    }

    /// The length of the text.
    pub(super) fn plain(self) -> u64 {
        self.0 - self.chunks() * TAG as u64
    }

    /// The stored length of a chunk.
    pub(super) fn length(self, number: u64) -> u64 {
        self.0.saturating_sub(number * STORED_CHUNK).min(STORED_CHUNK)
    }
}

/// The chunks in which bytes of the text lie; they are not none.
pub(super) fn chunks_of(plain: &Range<u64>) -> Range<u64> {
    plain.start / CHUNK as u64..(plain.end - 1) / CHUNK as u64 + 1
}

/// Where chunks are stored, were the last of them whole.
pub(super) fn stored(chunks: &Range<u64>) -> Range<u64> {
    let begin = |number: u64| HEADER as u64 + number * STORED_CHUNK;
    begin(chunks.start)..begin(chunks.end)
}
