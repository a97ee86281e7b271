//! Files without what one person has in them. Everything else keeps its bytes and its place.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Error, Result};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::ERASED;
use crate::frame::{item_id, read_lines, split_frame};
use crate::publish::{LEVEL, RECORDS_LEVEL};
use crate::record::Record;

/// Begins a frame that holds nothing (RFC 8878 §3.1.2); behind it stands its length.
pub(super) const SKIPPABLE: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();

/// A file anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    /// How many exchanges or records are erased that were not before.
    pub(super) erased: u64,
}

/// The line in place of an exchange's.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "erased")]
struct Tombstone {
    /// BLAKE3 of the line, hexadecimal: what the exchange behind it names as its link.
    was: String,
}

/// What an exchange's line, or that in place of it, says of whose it is.
#[derive(Deserialize)]
struct Whose {
    kind: String,
    user: Option<String>,
    /// Where it is masked: what its hash was.
    was: Option<String>,
}

/// Where a record's frame begins.
#[derive(Deserialize)]
pub(super) struct Index {
    pub(super) frame: (u64, u64),
}

/// A segment without what this person has in it, and where frames begin of which only a hash is
/// left.
pub(super) fn segment(bytes: &[u8], user: &str) -> Result<(Rewritten, BTreeSet<u64>)> {
    let mut rewritten = Rewritten { bytes: Vec::with_capacity(bytes.len()), erased: 0 };
    let (mut rest, mut graves) = (bytes, BTreeSet::new());
    while !rest.is_empty() {
        let (frame, behind) = split_frame(rest)?;
        let offset = rewritten.bytes.len() as u64;
        match whose(frame)? {
            Some((whose, line)) if whose.user.as_deref() == Some(user) => {
                rewritten.bytes.extend(grave(whose.was, &line, frame.len())?);
                rewritten.erased += 1;
                graves.insert(offset);
            }
            Some((whose, _)) => {
                graves.extend((whose.kind == "erased").then_some(offset));
                rewritten.bytes.extend_from_slice(frame);
            }
            None => rewritten.bytes.extend_from_slice(frame),
        }
        rest = behind;
    }
    Ok((rewritten, graves))
}

/// Whose exchange a frame is, and its line; none of a frame that holds nothing.
fn whose(frame: &[u8]) -> Result<Option<(Whose, Vec<u8>)>> {
    let mut last = Vec::new();
    read_lines(frame, &mut |line| {
        if item_id(line).is_none() {
            last = line.to_vec();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if last.is_empty() {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&last)?, last)))
}

/// What takes the place of a frame, exactly as long, so that those behind it stay where they are.
fn grave(was: Option<String>, line: &[u8], length: usize) -> Result<Vec<u8>> {
    let was = was.unwrap_or_else(|| blake3::hash(line).to_hex().to_string());
    let mut text = serde_json::to_vec(&Tombstone { was })?;
    text.push(b'\n');
    let mut press = zstd::bulk::Compressor::new(LEVEL)?;
    press.include_checksum(true)?;
    let frame = padded(press.compress(&text)?, length);
    frame.ok_or_else(|| Error::other("an exchange in it is too short to be erased"))
}

/// A frame, and one that holds nothing, so that both are exactly so long; none where that cannot be.
pub(super) fn padded(mut frame: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    let rest = length.checked_sub(frame.len()).filter(|rest| *rest == 0 || *rest >= 8)?;
    if rest > 0 {
        let nothing = u32::try_from(rest - 8).ok()?;
        frame.extend(SKIPPABLE);
        frame.extend(nothing.to_le_bytes());
        frame.resize(length, 0);
    }
    Some(frame)
}

/// Records of which those that are this person's, and those whose frames are gone, name nobody.
pub(super) fn records(bytes: &[u8], user: &str, graves: &BTreeSet<u64>) -> Result<Rewritten> {
    let mut text = BufReader::new(zstd::Decoder::with_buffer(bytes)?);
    let (mut lines, mut line, mut erased) = (Vec::new(), Vec::new(), 0);
    while text.read_until(b'\n', &mut line)? > 0 {
        let record: Record = serde_json::from_slice(&line)?;
        let Index { frame } = serde_json::from_slice(&line)?;
        let is_theirs = record.user == user || graves.contains(&frame.0);
        if is_theirs && record.user != ERASED {
            lines.extend(unnamed(record).line(frame)?);
            erased += 1;
        } else {
            lines.extend_from_slice(&line);
        }
        line.clear();
    }
    if erased == 0 {
        return Ok(Rewritten { bytes: bytes.to_vec(), erased });
    }
    Ok(Rewritten { bytes: zstd::bulk::compress(&lines, RECORDS_LEVEL)?, erased })
}

/// A record that names nobody. What is counted and paid stays, so that sums do; whatever is not in
/// this list goes.
fn unnamed(record: Record) -> Record {
    // Of `GET /v1/responses/resp_1` the end would name an answer.
    let endpoint = record.endpoint.split('/').take(3).collect::<Vec<_>>().join("/");
    Record {
        key_id: ERASED.to_owned(),
        user: ERASED.to_owned(),
        team: record.team,
        endpoint,
        transport: record.transport,
        request_kind: record.request_kind,
        model: record.model,
        upstream_model: record.upstream_model,
        service_tier: record.service_tier,
        status: record.status,
        outcome: record.outcome,
        source: record.source,
        refusal: record.refusal,
        altered: record.altered,
        input_tokens: record.input_tokens,
        cached_input_tokens: record.cached_input_tokens,
        cache_write_tokens: record.cache_write_tokens,
        output_tokens: record.output_tokens,
        reasoning_tokens: record.reasoning_tokens,
        total_tokens: record.total_tokens,
        usage: record.usage,
        cost_usd: record.cost_usd,
        priced: record.priced,
        took_ms: record.took_ms,
        first_byte_ms: record.first_byte_ms,
        request_bytes: record.request_bytes,
        response_bytes: record.response_bytes,
        content_encoding: record.content_encoding,
        findings: record.findings,
        ..Record::blank(record.id, record.time, &record.node)
    }
}

#[cfg(test)]
mod tests;
