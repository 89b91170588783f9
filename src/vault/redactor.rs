//! Overwrites a secret that an upstream gives back, in headers and in a streamed body (security.md 25).
//!
//! Nothing changes its length, so that a `Content-Length` stays true. A piece without a match goes through as it is,
//! uncopied; held back is only a tail that begins a form of the secret, so that streams stay live.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::Span;
use aho_corasick::packed::Searcher;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::needle::Form;

/// The forms to look for, found by what they begin with: all of them in one pass over a text.
pub(super) struct Needles {
    /// In the order of their bytes.
    forms: Box<[Form]>,
    /// Those that begin alike, and with what.
    heads: Box<[Head]>,
    /// The search for all heads, by their number.
    search: Option<Searcher>,
    /// The length of the shortest form.
    shortest: usize,
    /// Whether a byte may be the last of a tail that begins a head.
    ends: [bool; 256],
}

/// What some of the forms begin with.
struct Head {
    text: Form,
    forms: Range<usize>,
}

/// What a text holds.
#[derive(Default)]
struct Found {
    /// Where forms stand, overlapping ones too.
    spans: Vec<Range<usize>>,
    /// The length of the longest tail that begins a form and is not all of it.
    open_tail: usize,
}

impl Needles {
    /// Prepares the search for every form.
    pub(super) fn of<'a>(forms: impl IntoIterator<Item = &'a Form>) -> Self {
        let mut forms: Vec<_> = forms.into_iter().cloned().collect();
        forms.sort_unstable_by(|one, other| one.as_slice().cmp(other));
        forms.dedup();
        let shortest = forms.iter().map(|form| form.len()).min().unwrap_or(usize::MAX);
        let mut heads: Vec<Head> = Vec::new();
        let mut ends = [false; 256];
        for (number, form) in forms.iter().enumerate() {
            let text = &form[..shortest.min(HEAD)];
            text[..text.len() - 1].iter().for_each(|byte| ends[usize::from(*byte)] = true);
            match heads.last_mut().filter(|head| *head.text == text) {
                Some(head) => head.forms.end = number + 1,
                None => heads.push(Head { text: Zeroizing::new(text.to_vec()), forms: number..number + 1 }),
            }
        }
        // Of very many, and without vectors of bytes, none can be prepared: then it goes byte by byte.
        let search = Searcher::new(texts(&heads));
        Self { forms: forms.into(), heads: heads.into(), search, shortest, ends }
    }

    fn look(&self, text: &[u8]) -> Found {
        let mut found = Found::default();
        let mut from = 0;
        while let Some((at, head)) = self.next_head(text, from) {
            let rest = &text[at..];
            for form in &self.forms[head.forms.clone()] {
                if rest.starts_with(form) {
                    found.spans.push(at..at + form.len());
                } else if form.starts_with(rest) {
                    found.open_tail = found.open_tail.max(rest.len());
                }
            }
            from = at + 1;
        }
        found.open_tail = found.open_tail.max(self.open_head(text));
        found
    }

    /// The first head that begins at `from` or behind it.
    fn next_head(&self, text: &[u8], from: usize) -> Option<(usize, &Head)> {
        if let Some(search) = &self.search {
            let found = search.find_in(text, Span { start: from, end: text.len() })?;
            return Some((found.start(), &self.heads[found.pattern().as_usize()]));
        }
        let begins = |at: usize| self.heads.iter().find(|head| text[at..].starts_with(&head.text));
        (from..text.len()).find_map(|at| Some((at, begins(at)?)))
    }

    /// The length of the longest tail that begins a head and is not all of it.
    fn open_head(&self, text: &[u8]) -> usize {
        if !text.last().is_some_and(|byte| self.ends[usize::from(*byte)]) {
            return 0;
        }
        let begins = |length: &usize| texts(&self.heads).any(|head| text.ends_with(&head[..*length]));
        (1..self.shortest.min(HEAD)).rev().find(begins).unwrap_or(0)
    }
}

fn texts(heads: &[Head]) -> impl Iterator<Item = &[u8]> {
    heads.iter().map(|head| head.text.as_slice())
}

/// Nothing to look for.
impl Default for Needles {
    fn default() -> Self {
        Self::of([])
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} forms of a secret]", self.forms.len())
    }
}

/// How much of a form is looked for first.
const HEAD: usize = 8;

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
        // Most headers are shorter than any form.
        let shortest = self.needles.shortest;
        for value in headers.values_mut().filter(|value| value.len() >= shortest) {
            let spans = self.needles.look(value.as_bytes()).spans;
            if !spans.is_empty() {
                *value = overwritten(value, &spans);
                self.count(spans.len());
            }
        }
    }

    /// Takes a piece of the body and gives back what may go out: the piece itself when no secret can be in it. What
    /// comes back may be empty, while a tail is held.
    pub fn scrub(&mut self, chunk: Bytes) -> Bytes {
        if self.needles.forms.is_empty() || chunk.is_empty() {
            return chunk;
        }
        let text = self.after_held(chunk);
        let found = self.needles.look(&text);
        self.release(text, found)
    }

    /// What is still held when the body ends.
    pub fn finish(&mut self) -> Option<Bytes> {
        let held = Bytes::from(std::mem::take(&mut self.held));
        let found = Found { open_tail: 0, ..self.needles.look(&held) };
        (!held.is_empty()).then(|| self.release(held, found))
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

    /// Holds back the open tail as it came, and overwrites in the rest what a match covers. A match counts once: when its
    /// first byte is released.
    fn release(&mut self, mut text: Bytes, found: Found) -> Bytes {
        let Found { mut spans, open_tail } = found;
        let released = text.len() - open_tail;
        spans.retain(|span| span.start < released);
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
