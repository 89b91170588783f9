//! The beginning of a body, kept while it passes so that it can be sent again: 64 KiB of it, or nothing.

use std::collections::VecDeque;

use bytes::Bytes;

/// The pieces of a body that have passed, all of them.
#[derive(Default)]
pub(super) struct Kept {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Kept {
    /// With another piece; none when that is too much, for a body without its end is of no use.
    pub(super) fn with(mut self, piece: &Bytes) -> Option<Self> {
        self.bytes += piece.len();
        if self.bytes > MOST {
            return None;
        }
        match self.pieces.last_mut() {
            // Pieces of a byte would cost more than the bytes: small ones are joined, large ones shared.
            Some(last) if last.len() + piece.len() <= SMALL => *last = [&last[..], piece].concat().into(),
            _ => self.pieces.push(piece.clone()),
        }
        Some(self)
    }

    /// All of them, in their order.
    pub(super) fn pieces(&self) -> VecDeque<Bytes> {
        self.pieces.iter().cloned().collect()
    }
}

/// Most bytes that are kept of a body (contract.md 4 "Retries").
const MOST: usize = 64 * 1024;
/// Up to so many bytes pieces are joined.
const SMALL: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[usize]) -> Option<Kept> {
        pieces.iter().try_fold(Kept::default(), |kept, length| kept.with(&vec![b'x'; *length].into()))
    }

    #[test]
    fn a_body_is_kept_up_to_its_bound_and_not_beyond() {
        assert_eq!(kept(&[MOST]).unwrap().pieces()[0].len(), MOST);
        assert!(kept(&[MOST, 1]).is_none());
        assert!(kept(&[MOST + 1]).is_none());
    }

    #[test]
    fn small_pieces_are_joined_in_their_order() {
        let whole: Vec<u8> = (0..10_000_u32).map(|at| (at % 251) as u8).collect();
        let kept = whole.iter().try_fold(Kept::default(), |kept, byte| kept.with(&vec![*byte].into())).unwrap();
        let pieces = kept.pieces();
        assert!(pieces.len() <= 10_000 / SMALL + 1, "{}", pieces.len());
        assert_eq!(pieces.into_iter().flatten().collect::<Vec<u8>>(), whole);
    }

    #[test]
    fn large_pieces_are_shared() {
        let piece = Bytes::from(vec![b'x'; 5000]);
        let kept = Kept::default().with(&piece).unwrap().with(&piece).unwrap();
        let pieces = kept.pieces();
        assert_eq!((pieces.len(), pieces[1].as_ptr()), (2, piece.as_ptr()));
    }
}
