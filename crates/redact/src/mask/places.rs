//! What stands at places of a body, and what is to stand there instead.

use std::ops::Range;
use std::sync::Arc;

use crate::depth::Depth;
use crate::depth::escape::{is_awkward, unescape};

/// A place of a body, with the mask that takes its place.
pub(super) struct Place {
    pub(super) span: Range<usize>,
    pub(super) mask: Arc<[u8]>,
}

/// Names what stands at each span, decoded. Left out is what stands outside of strings, as numbers do,
/// since the body would not be JSON any more.
pub(super) fn name(
    body: &[u8],
    spans: &[Range<usize>],
    name: &mut dyn FnMut(&[u8]) -> Arc<[u8]>,
) -> Vec<Place> {
    let raw = |span: &Range<usize>| body.get(span.clone()).unwrap_or_default();
    if !spans.iter().any(|span| depends_on_depth(raw(span))) {
        let named = spans.iter().map(|span| Place { mask: name(raw(span)), span: span.clone() });
        return named.collect();
    }
    let (mut depth, mut at, mut places) = (Depth::new(), 0, Vec::new());
    for span in spans {
        depth.feed(raw(&(at..span.start)));
        at = span.end;
        let mut behind = depth.clone();
        behind.feed(raw(span));
        // What reaches out of the string that it begins in is no value, though it reads like one.
        if depth.in_structure() || behind.depth() < depth.depth() {
            depth = behind;
            continue;
        }
        let mask = name(&unescape(raw(span), depth.depth()));
        // Whoever puts the value back has seen the mask here, and must come to the same depth.
        depth.feed(&mask);
        places.push(Place { span: span.clone(), mask });
    }
    places
}

/// The body with the masks in it.
pub(super) fn rewrite(body: &[u8], places: &[Place]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(body.len()), 0);
    for Place { span, mask } in places {
        out.extend_from_slice(body.get(at..span.start).unwrap_or_default());
        out.extend_from_slice(mask);
        at = span.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out
}

fn depends_on_depth(raw: &[u8]) -> bool {
    let of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    is_awkward(raw) || raw.iter().all(of_number)
}

/// Spans in order, without those that are empty, beyond the end, or cut a mask in two or are in one.
pub(super) fn usable(
    length: usize,
    spans: &[Range<usize>],
    masks: &[Range<usize>],
) -> Vec<Range<usize>> {
    let mut spans: Vec<_> = spans.to_vec();
    spans.retain(|span| span.start < span.end && span.end <= length);
    let spans = joined(spans);
    let harmless = |span: &Range<usize>| {
        let first = masks.partition_point(|mask| mask.end <= span.start);
        let last = masks.partition_point(|mask| mask.start < span.end);
        let touched = masks.get(first..last).unwrap_or_default();
        touched.iter().all(|mask| is_inside(mask, span) && mask != span)
    };
    spans.into_iter().filter(harmless).collect()
}

fn is_inside(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Spans in order; those that overlap become one.
pub(super) fn joined(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}
