//! Command lines that are told a password.

use std::ops::Range;

use super::Scan;
use super::name::Kind;
use super::value::{self, Form};
use crate::rule::Anchor;

/// How far a command is looked for to the left, and its arguments to the right.
const LINE: usize = 200;
/// Arguments that are looked at, at most.
const ARGUMENTS: usize = 8;

impl Scan<'_> {
    /// Looks at `-u user:password`.
    pub(super) fn user_flag(&mut self, start: usize) {
        let start = self.after_blanks(start + usize::from(self.at(start) == b'='));
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'\\' | b'"' | b'\'');
        let open = rest.iter().take(8).take_while(|byte| ends(byte)).count();
        let text = rest.get(open..).unwrap_or_default();
        let user = text.iter().take(80).take_while(|byte| !ends(byte) && **byte != b':').count();
        let asks = |scan: &Self| scan.line_has(start, &[b"curl", b"wget", b"http", b"login"]);
        if user > 0 && text.get(user) == Some(&b':') && asks(self) {
            self.password_at(start + open + user + 1);
        }
    }

    /// Looks at what follows `curl` for flags of one letter each that end with that of the user:
    /// `curl -su user:password`.
    pub(super) fn curl(&mut self, start: usize) {
        let rest = self.bytes.get(start..(start + LINE).min(self.bytes.len()));
        let Some(rest) = rest else { return };
        for dash in memchr::memmem::find_iter(rest, b" -").take(ARGUMENTS) {
            let letters = rest.get(dash + 2..).unwrap_or_default();
            let flags = letters.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            let joined = (2..8).contains(&flags) && letters.get(flags - 1) == Some(&b'u');
            if joined && letters.get(flags) == Some(&b' ') {
                self.user_flag(start + dash + 2 + flags);
            }
        }
    }

    /// Looks at `-p…`, where a command takes a password so.
    pub(super) fn password_flag(&mut self, start: usize) {
        let apart = self.at(start) == b' ' || self.at(start) == b'=';
        let putty = self.at(start) == b'w' && self.at(start + 1) == b' ';
        let (skipped, commands): (usize, &[&[u8]]) = if putty {
            (2, &[b"plink", b"pscp", b"psftp", b"putty"])
        } else if apart {
            (1, &[b"sshpass", b"docker login", b"mongo", b"az login"])
        } else {
            (0, &[b"mysql", b"mariadb", b"sshpass"])
        };
        if self.line_has(start, commands) {
            self.password_at(start + skipped);
        }
    }

    /// Looks at what follows a flag of one letter that some commands take a password with.
    pub(super) fn letter_flag(&mut self, letter: usize, start: usize) {
        let commands: &[&[u8]] = match self.at(letter) {
            b'a' => &[b"redis-cli", b"valkey-cli"],
            b'w' => &[b"ldapsearch", b"ldapadd", b"ldapmodify", b"ldapwhoami", b"ldapdelete"],
            b'P' => &[b"sqlcmd", b"bcp ", b"isql", b"osql"],
            _ => return,
        };
        if self.line_has(start, commands) {
            self.typed(self.after_blanks(start));
        }
    }

    /// Looks at `-U user%password`.
    pub(super) fn share_user(&mut self, start: usize) {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |byte: &&u8| !byte.is_ascii_whitespace() && **byte != b'%';
        let user = rest.iter().take(80).take_while(ends).count();
        if rest.get(user) == Some(&b'%') && self.line_has(start, &[b"smb", b"rpcclient", b"cifs"]) {
            self.typed(start + user + 1);
        }
    }

    /// Looks at the arguments of `net use` and `net user`: after the share, or after the user.
    pub(super) fn net(&mut self, start: usize) {
        let user = self.at(start) == b'r';
        let mut names = usize::from(user);
        let mut at = start + names;
        if self.at(at) != b' ' {
            return;
        }
        for _ in 0..ARGUMENTS {
            at = self.after_blanks(at);
            let rest = self.bytes.get(at..).unwrap_or_default();
            let is_part = |byte: &&u8| !byte.is_ascii_whitespace();
            let argument = rest.iter().take(LINE).take_while(is_part).count();
            let argument = rest.get(..argument).unwrap_or_default();
            let drive = argument.len() == 2 && argument.ends_with(b":") || argument == b"*";
            let share = argument.starts_with(b"\\\\") && argument.get(2) != Some(&b'"');
            match argument {
                [] => return,
                [b'/', ..] => {}
                _ if drive || share => {}
                _ if names > 0 => names -= 1,
                _ => return self.typed(at),
            }
            at += argument.len();
        }
    }

    /// Looks at what is written into a command that reads a password: `echo … | docker login`.
    pub(super) fn piped(&mut self, start: usize) {
        let line = self.line_before(start);
        let text = self.bytes.get(line.clone()).unwrap_or_default();
        let echo = memchr::memmem::rfind(text, b"echo ").map(|at| line.start + at + 5);
        let Some(at) = echo.map(|at| self.after_blanks(at)) else { return };
        let flag = self.bytes.get(at..).is_some_and(|rest| rest.starts_with(b"-n "));
        self.typed(self.after_blanks(if flag { at + 3 } else { at }));
    }

    /// Looks at what PowerShell makes a secure string of.
    pub(super) fn secure_string(&mut self, start: usize) {
        let mut at = self.after_blanks(start);
        if self.bytes.get(at..).is_some_and(|rest| rest.starts_with(b"-String ")) {
            at = self.after_blanks(at + b"-String ".len());
        }
        if matches!(self.at(at), b'\'' | b'"' | b'\\') {
            self.password_at(at);
        }
    }

    /// Looks at `jdbc:oracle:thin:user/password@host`.
    pub(super) fn oracle(&mut self, start: usize) {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |byte: &&u8| super::is_token(**byte) || **byte == b'.';
        let user = rest.iter().take(64).take_while(ends).count();
        let password = rest.get(user + 1..).unwrap_or_default();
        let is_part = |byte: &&u8| !byte.is_ascii_whitespace() && !b"@\"'\\/".contains(byte);
        let length = password.iter().take(64).take_while(is_part).count();
        if user > 0 && rest.get(user) == Some(&b'/') && password.get(length) == Some(&b'@') {
            let begin = start + user + 1;
            self.typed_span(begin..begin + length);
        }
    }

    /// Looks at the cookies of sessions in a header.
    pub(super) fn cookies(&mut self, start: usize) {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r' | b'"' | b'\'' | b'\\');
        let length = rest.iter().take(1024).position(ends).unwrap_or(rest.len().min(1024));
        let mut at = start;
        for cookie in rest.get(..length).unwrap_or_default().split(|byte| *byte == b';') {
            let sign = cookie.iter().position(|byte| *byte == b'=').unwrap_or(cookie.len());
            let (name, value) = cookie.split_at_checked(sign).unwrap_or_default();
            let session = [&b"sess"[..], b"sid", b"remember", b"login"]
                .iter()
                .any(|word| super::strength::contains(name, word));
            let value = value.get(1..).unwrap_or_default();
            let judged = value::judge(Kind::Secret, value, Form::Literal);
            if session && judged == Some(Anchor::Secret) {
                let begin = at + sign + 1;
                self.push_anchor(Anchor::WeakSecret, begin..begin + value.len());
            }
            at += cookie.len() + 1;
        }
    }

    /// A password that stands here; words are none.
    fn typed(&mut self, start: usize) {
        if let Some(span) = self.argument(start) {
            self.typed_span(span);
        }
    }

    fn typed_span(&mut self, span: Range<usize>) {
        let value = self.bytes.get(span.clone()).unwrap_or_default();
        if value::judge(Kind::Password, value, Form::Literal) == Some(Anchor::Password) {
            self.push_anchor(Anchor::Password, span);
        }
    }
}
