//! The chunked framing of a body (RFC 9112 7.1), read strictly: on the way in beside the codec, on the way back by us.
//!
//! Sizes are hexadecimal digits and nothing else, lines end in CRLF, extensions and trailers are bounded.

/// What is wrong with the chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkFault(pub &'static str);

/// A step through the chunks: so many bytes of framing, then so many of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of sizes, extensions, line ends, trailers.
    pub framing: usize,
    /// Bytes of data after them.
    pub data: usize,
    /// Whether the body is over.
    pub ended: bool,
}

/// Where in the chunks the reader is.
#[derive(Debug, Clone, Copy)]
pub struct Chunks {
    state: State,
    /// Bytes left of the chunk.
    left: u64,
    /// Digits of the size so far.
    digits: u8,
    /// Bytes of extensions so far, over the whole message.
    extensions: u16,
    /// Bytes of trailers so far.
    trailers: u16,
    /// Lines of trailers so far.
    lines: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Chunks {
    /// Before the first chunk.
    pub fn begin() -> Self {
        Self { state: State::Size, left: 0, digits: 0, extensions: 0, trailers: 0, lines: 0 }
    }

    /// Reads on to the next run of data, to the end of the body, or to the end of the bytes.
    ///
    /// A fault comes with its offset.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, (usize, ChunkFault)> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.state == State::Data {
                let rest = bytes.len() - at;
                let data = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= data as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece { framing: at, data, ended: false });
            }
            let over = self.state == State::EndLf;
            self.step(*byte).map_err(|fault| (at, fault))?;
            if over {
                return Ok(Piece { framing: at + 1, data: 0, ended: true });
            }
        }
        Ok(Piece { framing: bytes.len(), data: 0, ended: false })
    }

    /// Follows the bytes: how many belong to the body, and whether it ended with the last of them.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, ChunkFault)> {
        let mut at = 0;
        while at < bytes.len() {
            let piece = self.next(&bytes[at..]).map_err(|(offset, fault)| (at + offset, fault))?;
            at += piece.framing + piece.data;
            if piece.ended {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    fn step(&mut self, byte: u8) -> Result<(), ChunkFault> {
        self.state = match (self.state, byte) {
            (State::Size, b';') if self.digits > 0 => State::Extension,
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, _) => self.size(byte)?,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) => self.extension(byte)?,
            (State::SizeLf, b'\n') if self.left == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.digits = 0;
                State::Size
            }
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, _) => self.trailer_name(byte)?,
            (State::Trailer, _) => self.trailer(byte)?,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Size,
            _ => return Err(ChunkFault("a chunk does not end where its size says")),
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<State, ChunkFault> {
        let digit = char::from(byte).to_digit(16).ok_or(ChunkFault("a chunk's size is not a hexadecimal number"))?;
        self.digits += 1;
        if self.digits > 15 {
            return Err(ChunkFault("a chunk's size is too large"));
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn extension(&mut self, byte: u8) -> Result<State, ChunkFault> {
        self.extensions += 1;
        let text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        match (text, self.extensions) {
            (true, ..=MAX_EXTENSIONS) => Ok(State::Extension),
            (true, _) => Err(ChunkFault("the chunk extensions are too long")),
            (false, _) => Err(ChunkFault("a chunk extension holds a control character")),
        }
    }

    /// Trailers are dropped, but the codec ends the body in an error of its own when it cannot read them.
    fn trailer_name(&mut self, byte: u8) -> Result<State, ChunkFault> {
        self.trailers += 1;
        if self.state == State::TrailerStart {
            self.lines += 1;
        }
        match byte {
            _ if self.trailers > MAX_TRAILERS || self.lines > MAX_TRAILER_LINES => {
                Err(ChunkFault("the trailers are too long"))
            }
            b':' if self.state == State::TrailerName => Ok(State::Trailer),
            _ if is_token(byte) => Ok(State::TrailerName),
            _ => Err(ChunkFault("a trailer's name holds a character that no name may hold")),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkFault> {
        self.trailers += 1;
        let text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        match (byte, text, self.trailers) {
            (b'\r', ..) => Ok(State::TrailerLf),
            (_, true, ..=MAX_TRAILERS) => Ok(State::Trailer),
            (_, true, _) => Err(ChunkFault("the trailers are too long")),
            (_, false, _) => Err(ChunkFault("a trailer holds a control character")),
        }
    }
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const MAX_EXTENSIONS: u16 = 1024;
const MAX_TRAILERS: u16 = 4096;
const MAX_TRAILER_LINES: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(bytes: &[u8]) -> Result<(usize, bool), (usize, ChunkFault)> {
        let whole = Chunks::begin().follow(bytes);
        let mut piecewise = Chunks::begin();
        let mut at = 0;
        for byte in bytes {
            match piecewise.follow(&[*byte]) {
                Ok((_, true)) => {
                    assert_eq!(whole, Ok((at + 1, true)));
                    return whole;
                }
                Ok(_) => at += 1,
                Err((_, fault)) => {
                    assert_eq!(whole, Err((at, fault)));
                    return whole;
                }
            }
        }
        assert_eq!(whole, Ok((at, false)));
        whole
    }

    #[test]
    fn a_body_ends_after_its_trailers() {
        assert_eq!(follow(b"5\r\nhello\r\n0\r\n\r\nGET"), Ok((15, true)));
        assert_eq!(follow(b"A;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\n"), Ok((32, true)));
        assert_eq!(follow(b"5\r\nhel"), Ok((6, false)));
    }

    #[test]
    fn odd_sizes_and_line_ends_are_faults() {
        for bad in [
            &b"\r\n"[..],
            b"0x5\r\n",
            b"+5\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5\n",
            b"-1\r\n",
            b";a\r\n",
            b"g\r\n",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\rX",
            b"0\r\n\n",
            b"0\r\nA: b\n",
            b"0\r\n\rX",
            b"0\r\nno colon\r\n",
            b"0\r\nA\r\n",
            b"0\r\nA : b\r\n",
            b"0\r\n: b\r\n",
            b"0\r\nA: b\r\n c\r\n",
            b"1234567890abcdef0\r\n",
            b"5;\x01\r\n",
            b"5\rX",
        ] {
            assert!(follow(bad).is_err(), "{bad:?}");
        }
        let long = [b"5;".as_slice(), &[b'x'; 1025], b"\r\n"].concat();
        assert!(follow(&long).is_err());
        let trailers = [b"0\r\nX: ".as_slice(), &[b'x'; 5000], b"\r\n\r\n"].concat();
        assert!(follow(&trailers).is_err());
        let lines = |count| [b"0\r\n".as_slice(), &b"X:\r\n".repeat(count), b"\r\n"].concat();
        assert!(follow(&lines(64)).is_ok());
        assert!(follow(&lines(65)).is_err());
    }
}
