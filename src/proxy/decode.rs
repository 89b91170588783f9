//! Undoes the content codings of an answer as it streams, so that what they hide can be looked into (security.md 25).
//!
//! Known are gzip (RFC 1952, several members too), deflate (RFC 1950, and raw RFC 1951, which some send), br (RFC 7932)
//! and zstd (RFC 8878), and two of them on top of each other. All that can be decoded of what came is given at once,
//! in pieces; nothing is decoded before it is asked for. What is no such coding, ends inside it, goes on behind its end
//! or grows out of all proportion is a fault, never an end.

use std::io;

use bytes::{Buf, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};

/// The codings of an answer, the last that was applied first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Codings(Vec<Coding>);

/// Not a coding that can be undone, or too many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// What is decoded of one answer.
pub(super) struct Decoder {
    /// The first takes what comes from the upstream, the last gives what goes to the client.
    layers: Vec<Layer>,
    room: Box<[u8]>,
    /// Bytes that came.
    came: u64,
}

/// What a decoder has to give.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// The next bytes, at least one.
    Piece(Bytes),
    /// Nothing before more is fed.
    Hungry,
    /// Nothing yet, after much work: others should have their turn.
    Busy,
}

/// Why an answer cannot be decoded any further.
#[derive(Debug, thiserror::Error)]
pub enum CodingFault {
    /// The bytes are not what `Content-Encoding` says.
    #[error("the upstream's answer is not in the content coding that it names")]
    Corrupt(#[source] io::Error),
    /// The body was over before the coding was.
    #[error("the upstream's answer ended inside its content coding")]
    Truncated,
    /// The coding was over before the body was.
    #[error("the upstream's answer goes on behind the end of its content coding")]
    Trailing,
    /// So little became so much that it can only be meant to do harm.
    #[error("the upstream's answer grows out of all proportion when it is decoded")]
    Bomb,
}

impl Codings {
    /// Reads `Content-Encoding` (RFC 9110 8.4).
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Unknown> {
        let lines = headers.get_all(CONTENT_ENCODING).iter();
        let names = lines.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let mut codings = names.map(Coding::named).collect::<Result<Vec<_>, _>>()?;
        if codings.len() > MOST_LAYERS {
            return Err(Unknown);
        }
        codings.reverse();
        Ok(Self(codings))
    }

    /// Whether the body stands as it is.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What undoes them.
    pub(super) fn decoder(&self) -> Decoder {
        let layers = self.0.iter().copied().map(Layer::of).collect();
        Decoder { layers, room: vec![0; PIECE].into_boxed_slice(), came: 0 }
    }
}

impl Coding {
    fn named(name: &[u8]) -> Result<Self, Unknown> {
        match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"deflate" => Ok(Self::Deflate),
            b"br" => Ok(Self::Brotli),
            b"zstd" => Ok(Self::Zstd),
            _ => Err(Unknown),
        }
    }

    /// What decodes a body that begins with this byte.
    fn codec(self, first: u8) -> Box<dyn DecodeV2> {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            Self::Deflate if is_zlib(first) => Box::new(ZlibDecoder::new()),
            Self::Deflate => Box::new(DeflateDecoder::new()),
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)])),
        }
    }

    /// Whether a body may be several streams, one behind the other.
    fn has_members(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }
}

/// Whether a stream has a header of zlib. One without would begin with a stored block whose padding is not zero, which
/// nobody writes.
fn is_zlib(first: u8) -> bool {
    first & 0x8f == 0x08
}

impl Decoder {
    /// Takes what came; everything before it was pulled.
    pub(super) fn feed(&mut self, piece: Bytes) {
        self.came += piece.len() as u64;
        self.layers[0].input = piece;
    }

    /// Gives what can be decoded of what was fed.
    pub(super) fn pull(&mut self) -> Result<Pulled, CodingFault> {
        let last = self.layers.len() - 1;
        let mut at = last;
        for _ in 0..MOST_STEPS {
            let layer = &mut self.layers[at];
            let decoded = layer.step(&mut self.room)?;
            if layer.gave > FREE + self.came.saturating_mul(RATIO) {
                return Err(CodingFault::Bomb);
            }
            let piece = &self.room[..decoded];
            match (piece.is_empty(), at) {
                (true, 0) => return Ok(Pulled::Hungry),
                (true, _) => at -= 1,
                (false, _) if at == last => return Ok(Pulled::Piece(Bytes::copy_from_slice(piece))),
                (false, _) => {
                    at += 1;
                    self.layers[at].input = Bytes::copy_from_slice(piece);
                }
            }
        }
        Ok(Pulled::Busy)
    }

    /// Whether the codings are over where the body is, once all was pulled.
    pub(super) fn finish(&mut self) -> Result<(), CodingFault> {
        let Self { layers, room, .. } = self;
        layers.iter_mut().try_for_each(|layer| layer.finish(room))
    }
}

/// One coding.
struct Layer {
    coding: Coding,
    /// There once a byte has come: a body of none is empty in every coding.
    codec: Option<Box<dyn DecodeV2>>,
    input: Bytes,
    /// The room was used up, and more may wait inside the codec.
    full: bool,
    /// A stream is over and nothing came behind it.
    ended: bool,
    /// Bytes that it gave.
    gave: u64,
}

impl Layer {
    fn of(coding: Coding) -> Self {
        Self { coding, codec: None, input: Bytes::new(), full: false, ended: false, gave: 0 }
    }

    /// Decodes into the room; how much of it was used: nothing when all input is.
    fn step(&mut self, room: &mut [u8]) -> Result<usize, CodingFault> {
        let mut output = WriteBuffer::new_initialized(room);
        if self.full && !self.ended {
            self.drain(&mut output)?;
        }
        while !self.input.is_empty() && !output.has_no_spare_space() {
            self.advance(&mut output)?;
        }
        self.full = output.has_no_spare_space();
        let decoded = output.written_len();
        self.gave += decoded as u64;
        Ok(decoded)
    }

    /// Takes some of the input.
    fn advance(&mut self, output: &mut WriteBuffer<'_>) -> Result<(), CodingFault> {
        let first = self.input[0];
        let codec = self.codec.get_or_insert_with(|| self.coding.codec(first));
        if self.ended {
            if !self.coding.has_members() {
                return Err(CodingFault::Trailing);
            }
            codec.reinit().map_err(CodingFault::Corrupt)?;
        }
        let before = output.written_len();
        let mut input = PartialBuffer::new(&self.input[..]);
        self.ended = codec.decode(&mut input, output).map_err(CodingFault::Corrupt)?;
        let taken = input.written_len();
        if taken == 0 && output.written_len() == before && !self.ended {
            return Err(CodingFault::Corrupt(io::ErrorKind::InvalidData.into()));
        }
        self.input.advance(taken);
        Ok(())
    }

    /// Has the codec give what it could not before, for want of room.
    fn drain(&mut self, output: &mut WriteBuffer<'_>) -> Result<(), CodingFault> {
        let Some(codec) = &mut self.codec else { return Ok(()) };
        let drained = match self.coding {
            // Its `flush` forgets that a frame ended.
            Coding::Zstd => codec.decode(&mut PartialBuffer::new(&[][..]), output).map(|ended| self.ended = ended),
            // Their `decode` calls it an error when there was nothing.
            Coding::Gzip | Coding::Deflate | Coding::Brotli => codec.flush(output).map(drop),
        };
        drained.map_err(CodingFault::Corrupt)
    }

    fn finish(&mut self, room: &mut [u8]) -> Result<(), CodingFault> {
        let Some(codec) = self.codec.as_mut().filter(|_| !self.ended) else { return Ok(()) };
        let mut output = WriteBuffer::new_initialized(room);
        match codec.finish(&mut output) {
            Ok(true) if output.written_len() == 0 => Ok(()),
            _ => Err(CodingFault::Truncated),
        }
    }
}

/// How many codings may lie on top of each other.
const MOST_LAYERS: usize = 2;

/// Most bytes that are decoded at once.
const PIECE: usize = 16 * 1024;

/// How many pieces are decoded without anything to show for it before others have their turn.
const MOST_STEPS: usize = 64;

/// What an answer may become whatever it came as; what it costs is the client's to read.
const FREE: u64 = 8 * 1024 * 1024;

/// Beyond that, most bytes that one byte of the body may become. Lists of records come to a tenth of it.
const RATIO: u64 = 200;

/// 8 MiB, the most that a server may ask for (RFC 9659 3).
const ZSTD_WINDOW_LOG: u32 = 23;

#[cfg(test)]
mod tests;
