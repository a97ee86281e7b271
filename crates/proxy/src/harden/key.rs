//! The key of an upstream, in memory of its own from its first byte to its last.

use std::fmt;
use std::os::fd::AsFd;

use rustix::io::{Errno, read};
use zeroize::Zeroize;

use super::page::Page;

/// A credential that stands in one place of this process, and nowhere else.
pub struct Key {
    page: Page,
    length: usize,
}

/// Why what was read is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is nothing.
    #[error("nothing was given")]
    Missing,
    /// There is too much.
    #[error("it is too long")]
    TooLong,
    /// It has characters that it must not have.
    #[error("it has other characters than it may have")]
    Characters,
    /// It cannot be read, or there is no memory for it.
    #[error(transparent)]
    Failed(#[from] Errno),
}

impl Key {
    /// Reads the first line of a file or pipe, of `most` bytes at most and of these characters,
    /// without a copy on the way; and tells what of the memory's protection could not be had.
    pub fn read(
        from: impl AsFd,
        most: usize,
        may_hold: fn(&u8) -> bool,
    ) -> Result<(Self, Vec<String>), Unusable> {
        // One byte more: the line's end, or what is too much.
        let (page, missing) = Page::new(most + 1).map_err(|_| Errno::NOMEM)?;
        let mut key = Self { page, length: 0 };
        key.length = key.fill(from, most + 1)?;
        let bytes = key.expose();
        if bytes.is_empty() {
            return Err(Unusable::Missing);
        }
        if !bytes.iter().all(may_hold) {
            return Err(Unusable::Characters);
        }
        Ok((key, missing))
    }

    /// Takes over what stands in a buffer, and wipes that.
    pub fn take(from: &mut [u8]) -> Result<(Self, Vec<String>), Unusable> {
        let (mut page, missing) = Page::new(from.len()).map_err(|_| Errno::NOMEM)?;
        page.bytes_mut().iter_mut().zip(from.iter()).for_each(|(to, from)| *to = *from);
        let length = from.len();
        from.zeroize();
        Ok((Self { page, length }, missing))
    }

    /// The key, for what writes it to its upstream.
    pub fn expose(&self) -> &[u8] {
        self.page.bytes().get(..self.length).unwrap_or_default()
    }

    /// Reads up to the end of the first line; what came behind it is wiped. How long the line is.
    fn fill(&mut self, from: impl AsFd, room: usize) -> Result<usize, Unusable> {
        let mut filled = 0;
        let end = loop {
            let bytes = self.page.bytes_mut();
            let Some(free) = bytes.get_mut(filled..room).filter(|free| !free.is_empty()) else {
                return Err(Unusable::TooLong);
            };
            let got = match read(&from, &mut *free) {
                Err(Errno::INTR) => continue,
                got => got?,
            };
            let line = free.get(..got).unwrap_or_default();
            if let Some(at) = line.iter().position(|byte| *byte == b'\n') {
                break filled + at;
            }
            filled += got;
            if got == 0 {
                break filled;
            }
        };
        let bytes = self.page.bytes_mut();
        let line = bytes.get(..end).unwrap_or_default();
        let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        bytes.get_mut(end..).unwrap_or_default().zeroize();
        Ok(end)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::{Key, Unusable};

    fn check(given: &[u8], expected: Result<&[u8], Unusable>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(given).unwrap();
        file.rewind().unwrap();
        let key = Key::read(&file, 8, u8::is_ascii_alphanumeric);
        let key = key.map(|(key, _)| key);
        assert_eq!(key.as_ref().map(Key::expose).map_err(|e| *e), expected, "{given:?}");
    }

    #[test]
    fn a_key_is_one_line() {
        check(b"abc", Ok(b"abc"));
        check(b"abc\n", Ok(b"abc"));
        check(b"abc\r\nmore\n", Ok(b"abc"));
        check(b"12345678\n", Ok(b"12345678"));
        check(b"12345678", Ok(b"12345678"));
        check(b"", Err(Unusable::Missing));
        check(b"\nabc", Err(Unusable::Missing));
        check(b"a b", Err(Unusable::Characters));
        check(b"123456789", Err(Unusable::TooLong));
        check(b"123456789\n", Err(Unusable::TooLong));
    }

    #[test]
    fn what_is_taken_over_is_wiped_where_it_was() {
        let mut buffer = *b"token";
        let (key, _) = Key::take(&mut buffer).unwrap();
        assert_eq!((key.expose(), &buffer), (b"token".as_slice(), &[0; 5]));
        assert_eq!(format!("{key:?}"), "***");
    }
}
