//! Overwrites a secret that an upstream gives back, in headers and in a streamed body (security.md 25).
//!
//! Nothing changes its length, so that a `Content-Length` stays true. A piece without a match goes through as it is,
//! uncopied; held back is only a tail that begins a form of the secret, so that streams stay live.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use memchr::memmem::Finder;

use super::needle::Form;

/// The forms to look for, with a search prepared for each.
#[derive(Default)]
pub(super) struct Needles {
    /// The shortest form first.
    finders: Box<[Finder<'static>]>,
}

impl Needles {
    /// Prepares the search for every form.
    pub(super) fn of<'a>(forms: impl IntoIterator<Item = &'a Form>) -> Self {
        let mut finders: Vec<_> = forms.into_iter().map(|form| Finder::new(form.as_slice()).into_owned()).collect();
        finders.sort_by_key(|finder| finder.needle().len());
        Self { finders: finders.into() }
    }

    /// Where forms begin before `limit`, overlapping ones too.
    fn spans(&self, text: &[u8], limit: usize) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        // Most headers are shorter than any form.
        for finder in self.finders.iter().take_while(|finder| finder.needle().len() <= text.len()) {
            let mut from = 0;
            while let Some(at) = finder.find(&text[from..]).map(|at| from + at).filter(|at| *at < limit) {
                spans.push(at..at + finder.needle().len());
                from = at + 1;
            }
        }
        spans
    }

    /// The length of the longest tail that begins a form and is not all of it.
    fn open_tail(&self, text: &[u8]) -> usize {
        self.finders.iter().map(|finder| open_tail(text, finder.needle())).max().unwrap_or(0)
    }
}

fn open_tail(text: &[u8], needle: &[u8]) -> usize {
    let Some(first) = needle.first() else { return 0 };
    let tail = &text[text.len().saturating_sub(needle.len() - 1)..];
    let begins = |at: &usize| needle.starts_with(&tail[*at..]);
    memchr::memchr_iter(*first, tail).find(begins).map_or(0, |at| tail.len() - at)
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} forms of a secret]", self.finders.len())
    }
}

/// What one answer is scrubbed with: it knows every form of the secret that its request carried.
pub struct Redactor {
    needles: Arc<Needles>,
    /// The tail that is held back, as it came.
    held: Vec<u8>,
    /// How many of the held bytes belong to a match that begins before them.
    covered: usize,
    redactions: u32,
}

impl Redactor {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { needles, held: Vec::new(), covered: 0, redactions: 0 }
    }

    /// Overwrites the secret in every header's value.
    pub fn scrub_headers(&mut self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let spans = self.needles.spans(value.as_bytes(), value.len());
            if !spans.is_empty() {
                *value = overwritten(value, &spans);
                self.count(spans.len());
            }
        }
    }

    /// Takes a piece of the body and gives back what may go out: the piece itself when no secret can be in it. What
    /// comes back may be empty, while a tail is held.
    pub fn scrub(&mut self, chunk: Bytes) -> Bytes {
        if self.needles.finders.is_empty() || chunk.is_empty() {
            return chunk;
        }
        let text = self.after_held(chunk);
        let held = self.needles.open_tail(&text);
        self.release(text, held)
    }

    /// What is still held when the body ends.
    pub fn finish(&mut self) -> Option<Bytes> {
        let held = Bytes::from(std::mem::take(&mut self.held));
        (!held.is_empty()).then(|| self.release(held, 0))
    }

    /// How many times a form of the secret was overwritten.
    pub fn redactions(&self) -> u32 {
        self.redactions
    }

    /// Whether a tail is held that `finish` would give.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    fn after_held(&self, chunk: Bytes) -> Bytes {
        if self.held.is_empty() {
            return chunk;
        }
        let mut text = BytesMut::with_capacity(self.held.len() + chunk.len());
        text.extend_from_slice(&self.held);
        text.extend_from_slice(&chunk);
        text.freeze()
    }

    /// Holds back the last `hold` bytes as they came, and overwrites in the rest what a match covers. A match counts
    /// once: when its first byte is released.
    fn release(&mut self, mut text: Bytes, hold: usize) -> Bytes {
        let released = text.len() - hold;
        let spans = self.needles.spans(&text, released);
        let covered = self.covered;
        let reach = spans.iter().map(|span| span.end).max().unwrap_or(0).max(covered);
        self.covered = reach.saturating_sub(released);
        self.held.clear();
        self.held.extend_from_slice(&text[released..]);
        self.count(spans.len());
        text.truncate(released);
        if reach == 0 {
            return text;
        }
        let mut text = text.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        overwrite(&mut text, std::iter::once(0..covered).chain(spans));
        text.freeze()
    }

    fn count(&mut self, matches: usize) {
        self.redactions = self.redactions.saturating_add(u32::try_from(matches).unwrap_or(u32::MAX));
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("needles", &self.needles).field("redactions", &self.redactions).finish()
    }
}

fn overwrite(text: &mut [u8], spans: impl Iterator<Item = Range<usize>>) {
    let end = text.len();
    for span in spans {
        text[span.start.min(end)..span.end.min(end)].fill(b'*');
    }
}

/// A value of stars and what it held beside the secret, as sensitive as it was; empty if that could be no value.
fn overwritten(value: &HeaderValue, spans: &[Range<usize>]) -> HeaderValue {
    let mut text = value.as_bytes().to_vec();
    overwrite(&mut text, spans.iter().cloned());
    let mut clean = HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    clean.set_sensitive(value.is_sensitive());
    clean
}

#[cfg(test)]
mod tests;
