//! Compression of messages, RFC 7692.

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::{HeaderMap, HeaderValue, header};

use crate::script::socket::Deflate;

/// That messages are compressed, and whether the contexts last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    server: Context,
    client: Context,
}

/// Whether one message may refer to the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Lasting,
    Fresh,
}

/// What ends each message and is not sent, section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

impl Agreed {
    /// Takes the first offer that can be met, if the script allows any.
    pub(crate) fn on(headers: &HeaderMap, allowed: Deflate) -> Option<Self> {
        let least = match allowed {
            Deflate::Off => return None,
            Deflate::Lasting => Context::Lasting,
            Deflate::Fresh => Context::Fresh,
        };
        let values = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
        let mut offers = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        offers.find_map(|offer| Self::take(offer, least))
    }

    /// A smaller window for the server is not to be had of the library: such an offer is passed
    /// over, as the RFC allows. A client may use any window.
    fn take(offer: &str, least: Context) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        parts.next().filter(|name| *name == "permessage-deflate")?;
        let mut agreed = Self { server: least, client: least };
        for part in parts {
            match part.split_once('=').map_or(part, |(name, _)| name.trim()) {
                "server_no_context_takeover" => agreed.server = Context::Fresh,
                "client_no_context_takeover" => agreed.client = Context::Fresh,
                "client_max_window_bits" => {}
                _ => return None,
            }
        }
        Some(agreed)
    }

    /// The header that says so.
    pub(crate) fn told(self) -> HeaderValue {
        HeaderValue::from_static(match (self.server, self.client) {
            (Context::Lasting, Context::Lasting) => "permessage-deflate",
            (Context::Fresh, Context::Lasting) => "permessage-deflate; server_no_context_takeover",
            (Context::Lasting, Context::Fresh) => "permessage-deflate; client_no_context_takeover",
            (Context::Fresh, Context::Fresh) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
        })
    }
}

/// Compresses what the server sends.
pub(crate) struct Deflater {
    stream: Compress,
    context: Context,
}

impl Deflater {
    /// With an empty context.
    pub(crate) fn new(agreed: Agreed) -> Self {
        Self { stream: Compress::new(Compression::fast(), false), context: agreed.server }
    }

    /// A message's payload.
    pub(crate) fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        if self.context == Context::Fresh {
            self.stream.reset();
        }
        let begun = self.stream.total_in();
        let mut out = Vec::with_capacity(message.len() / 2 + 64);
        loop {
            let taken = usize::try_from(self.stream.total_in() - begun).unwrap_or(usize::MAX);
            let rest = message.get(taken..).unwrap_or_default();
            let status = self.stream.compress_vec(rest, &mut out, FlushCompress::Sync);
            status.expect("deflating bytes in memory cannot fail");
            if out.len() < out.capacity() {
                break;
            }
            out.reserve(out.len().max(64));
        }
        let length = out.len().saturating_sub(TAIL.len());
        out.truncate(length);
        out
    }
}

/// Inflates what the client sends.
pub(crate) struct Inflater {
    stream: Decompress,
    context: Context,
}

impl Inflater {
    /// With an empty context.
    pub(crate) fn new(agreed: Agreed) -> Self {
        Self { stream: Decompress::new(false), context: agreed.client }
    }

    /// A message; `None` if it is none, or longer than the limit.
    pub(crate) fn inflate(&mut self, payload: &[u8], limit: usize) -> Option<BytesMut> {
        if self.context == Context::Fresh {
            self.stream.reset(false);
        }
        let input = [payload, &TAIL].concat();
        let begun = self.stream.total_in();
        let mut out = Vec::with_capacity(input.len().saturating_mul(4).clamp(256, 1 << 20));
        loop {
            let taken = usize::try_from(self.stream.total_in() - begun).unwrap_or(usize::MAX);
            let rest = input.get(taken..).unwrap_or_default();
            let status = self.stream.decompress_vec(rest, &mut out, FlushDecompress::Sync).ok()?;
            if out.len() > limit {
                return None;
            }
            let taken = usize::try_from(self.stream.total_in() - begun).unwrap_or(usize::MAX);
            // What had no room before comes alone, however much is still to be read.
            let is_done = taken >= input.len() || status != Status::Ok;
            if is_done && out.len() < out.capacity() {
                // A last block makes the next message begin a new stream.
                if status == Status::StreamEnd {
                    self.stream.reset(false);
                }
                return Some(BytesMut::from(out.as_slice()));
            }
            if out.len() == out.capacity() {
                out.reserve(out.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Agreed, Context, Deflater, Inflater};

    /// Of parts of one text, so that a few bytes may say much more than there is room for at first.
    #[test]
    fn messages_of_one_context_come_whole_however_much_they_say() {
        let agreed = Agreed { server: Context::Lasting, client: Context::Lasting };
        let (mut client, mut server) = (Deflater::new(agreed), Inflater::new(agreed));
        let text: Vec<u8> = (0..60_000).flat_map(|number: u32| number.to_le_bytes()).collect();
        for number in 0..200 {
            let message = &text[number * 389..][..(number * 7_919) % 40_000];
            let came = server.inflate(&client.deflate(message), 1 << 20).unwrap();
            assert!(came == message, "{number}: {} of {} came", came.len(), message.len());
        }
    }
}
