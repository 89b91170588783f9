//! What upstreams compress: the encoders of the content codings, in one shot or piece by piece.

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};

/// Compresses a body as it comes.
pub(crate) struct Encoder(Box<dyn EncodeV2>);

/// Each content coding that is known, with its name in `Content-Encoding`.
pub(crate) const CODINGS: [Coding; 5] =
    [Coding::Gzip, Coding::Deflate, Coding::RawDeflate, Coding::Brotli, Coding::Zstd];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    /// Sent by some in place of deflate, which is wrapped by zlib.
    RawDeflate,
    Brotli,
    Zstd,
}

impl Coding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate | Self::RawDeflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn encoder(self) -> Encoder {
        let level = Level::Default;
        Encoder(match self {
            Self::Gzip => Box::new(GzipEncoder::new(level.into())),
            Self::Deflate => Box::new(ZlibEncoder::new(level.into())),
            Self::RawDeflate => Box::new(DeflateEncoder::new(level.into())),
            Self::Brotli => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Fastest))),
            Self::Zstd => Box::new(ZstdEncoder::new(3)),
        })
    }

    /// The whole of a body.
    pub(crate) fn encode(self, body: impl AsRef<[u8]>) -> Vec<u8> {
        let mut encoder = self.encoder();
        let mut coded = encoder.write(body.as_ref());
        coded.extend(encoder.finish());
        coded
    }
}

impl Encoder {
    /// Takes more of the body; gives all that stands for what was taken so far.
    pub(crate) fn write(&mut self, body: &[u8]) -> Vec<u8> {
        let mut input = PartialBuffer::new(body);
        let mut coded = gather(|output| {
            if !input.unwritten().is_empty() {
                self.0.encode(&mut input, output).unwrap();
            }
            input.unwritten().is_empty() && !output.has_no_spare_space()
        });
        coded.extend(gather(|output| self.0.flush(output).unwrap()));
        coded
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        gather(|output| self.0.finish(output).unwrap())
    }
}

/// What one call after another writes, until it is done.
fn gather(mut write: impl FnMut(&mut WriteBuffer<'_>) -> bool) -> Vec<u8> {
    let mut all = Vec::new();
    let mut room = vec![0; 64 * 1024];
    loop {
        let mut output = WriteBuffer::new_initialized(&mut room);
        let done = write(&mut output);
        all.extend_from_slice(output.written());
        if done {
            return all;
        }
    }
}
