//! The decoder against what encoders in use write, cut and stacked in every way, and against what they do not write.

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{
    BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder, core::util::WriteBuffer,
};
use http::HeaderValue;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NAMES: [&str; 5] = ["gzip", "deflate", "raw deflate", "br", "zstd"];

fn encoder(name: &str) -> Box<dyn EncodeV2> {
    match name {
        "gzip" => Box::new(GzipEncoder::new(Level::Default.into())),
        "deflate" => Box::new(ZlibEncoder::new(Level::Default.into())),
        "raw deflate" => Box::new(DeflateEncoder::new(Level::Default.into())),
        "br" => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Fastest))),
        "zstd" => Box::new(ZstdEncoder::new_with_params(3, &[CParameter::checksum_flag(true)])),
        other => panic!("{other}"),
    }
}

/// What one call after another writes, until it is done.
fn written(mut write: impl FnMut(&mut WriteBuffer<'_>) -> bool) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut room = [0; 4096];
        let mut output = WriteBuffer::new_initialized(&mut room);
        let done = write(&mut output);
        all.extend_from_slice(output.written());
        if done {
            return all;
        }
    }
}

fn encode(encoder: &mut dyn EncodeV2, text: &[u8]) -> Vec<u8> {
    let mut input = PartialBuffer::new(text);
    written(|output| {
        if !input.unwritten().is_empty() {
            encoder.encode(&mut input, output).unwrap();
        }
        input.unwritten().is_empty() && !output.has_no_spare_space()
    })
}

fn flush(encoder: &mut dyn EncodeV2) -> Vec<u8> {
    written(|output| encoder.flush(output).unwrap())
}

fn coded(name: &str, text: &[u8]) -> Vec<u8> {
    let mut encoder = encoder(name);
    let mut all = encode(&mut *encoder, text);
    all.extend(written(|output| encoder.finish(output).unwrap()));
    all
}

fn codings(value: &str) -> Result<Codings, Unknown> {
    let mut headers = HeaderMap::new();
    for line in value.split('|') {
        headers.append(CONTENT_ENCODING, HeaderValue::from_str(line).unwrap());
    }
    Codings::read(&headers)
}

fn decoder(value: &str) -> Decoder {
    codings(&value.replace("raw ", "")).unwrap().decoder()
}

/// Everything that the decoder has to give for now.
fn pulled(decoder: &mut Decoder) -> Result<Vec<u8>, CodingFault> {
    let mut all = Vec::new();
    loop {
        match decoder.pull()? {
            Pulled::Piece(piece) => {
                assert!((1..=PIECE).contains(&piece.len()));
                all.extend_from_slice(&piece);
            }
            Pulled::Hungry => return Ok(all),
            Pulled::Busy => {}
        }
    }
}

fn decoded(value: &str, body: &[u8], size: usize) -> Result<Vec<u8>, CodingFault> {
    let mut decoder = decoder(value);
    let mut all = Vec::new();
    for piece in body.chunks(size) {
        decoder.feed(Bytes::copy_from_slice(piece));
        all.extend(pulled(&mut decoder)?);
    }
    decoder.finish()?;
    Ok(all)
}

/// Records that are alike, as in an answer of an API.
fn text(length: usize) -> Vec<u8> {
    let records = (0_u32..).flat_map(|number| format!("{{\"id\": \"lead_{number}\", \"status\": null}},").into_bytes());
    records.take(length).collect()
}

#[test]
fn what_encoders_write_is_read_however_it_is_cut() {
    for name in NAMES {
        for length in [0, 1, 2, 1000, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 100_000] {
            let text = text(length);
            let body = coded(name, &text);
            for size in [1, 2, 3, 7, 100, 4096, body.len()] {
                assert!(decoded(name, &body, size).unwrap() == text, "{name} of {length} in pieces of {size}");
            }
        }
    }
}

#[test]
fn codings_may_lie_on_each_other() {
    let text = text(100_000);
    for inner in NAMES {
        for outer in NAMES {
            let body = coded(outer, &coded(inner, &text));
            for size in [1, 1000, body.len()] {
                let value = format!("{inner}, {outer}");
                assert!(decoded(&value, &body, size).unwrap() == text, "{value} in pieces of {size}");
            }
        }
    }
}

#[test]
fn what_was_flushed_is_there_at_once() {
    for inner in NAMES {
        let mut encoder = encoder(inner);
        let mut decoder = decoder(inner);
        for piece in ["data: one\n\n", "data: two\n\n", "data: two\n\n"] {
            let mut sent = encode(&mut *encoder, piece.as_bytes());
            sent.extend(flush(&mut *encoder));
            decoder.feed(sent.into());
            assert_eq!(String::from_utf8(pulled(&mut decoder).unwrap()).unwrap(), piece, "{inner}");
        }
    }
}

#[test]
fn a_body_that_ends_early_never_ends_cleanly() {
    let text = text(1000);
    for name in NAMES {
        let body = coded(name, &text);
        for end in 1..body.len() {
            for size in [1, end] {
                let fault = decoded(name, &body[..end], size).unwrap_err();
                assert!(matches!(fault, CodingFault::Truncated), "{name} cut at {end}: {fault}");
            }
        }
        assert_eq!(decoded(name, b"", 1).unwrap(), b"", "nothing holds nothing");
        let twice = coded("gzip", &body);
        decoded(&format!("{name}, gzip"), &coded("gzip", &body[..body.len() - 1]), 7).unwrap_err();
        decoded(&format!("{name}, gzip"), &twice[..twice.len() - 1], 7).unwrap_err();
    }
}

#[test]
fn a_body_that_was_changed_never_ends_cleanly() {
    let text = text(300);
    for name in ["gzip", "deflate", "zstd"] {
        let body = coded(name, &text);
        for at in 0..body.len() {
            for bit in 0..8 {
                let mut changed = body.clone();
                changed[at] ^= 1 << bit;
                // Some bits of a header say nothing about the text.
                let clean = decoded(name, &changed, 50);
                assert!(clean.is_err() || clean.unwrap() == text, "{name}: bit {bit} of byte {at}");
            }
        }
    }
}

proptest! {
    /// Whatever comes ends in an answer or a fault, and never beyond the bound.
    #[test]
    fn nothing_that_comes_does_harm(
        name in prop::sample::select(&NAMES[..]),
        keep in 0_usize..400,
        noise in vec(any::<u8>(), 0..400),
        size in 1_usize..500,
    ) {
        let mut body = coded(name, &text(1000));
        body.truncate(keep);
        body.extend(noise);
        if let Ok(clean) = decoded(name, &body, size) {
            prop_assert!(clean.len() as u64 <= FREE + RATIO * body.len() as u64);
        }
    }
}

#[test]
fn what_is_no_such_coding_is_found_at_once() {
    let text = b"{\"data\": []}";
    for (name, body) in [("gzip", &text[..]), ("zstd", text), ("deflate", &[0xff; 9]), ("deflate", b"\x78\x9d..")] {
        let fault = decoded(name, body, 1).unwrap_err();
        assert!(matches!(fault, CodingFault::Corrupt(_)), "{name}: {fault}");
    }
    // It could begin a raw stream.
    decoded("deflate", text, 1).unwrap_err();
    for (name, other) in [("gzip", "deflate"), ("zstd", "gzip"), ("gzip", "zstd"), ("br", "zstd")] {
        decoded(name, &coded(other, b"text"), 4).unwrap_err();
    }
}

#[test]
fn nothing_may_follow_but_another_member() {
    let text = text(PIECE);
    for name in NAMES {
        let body = coded(name, &text);
        let twice = [body.clone(), body.clone()].concat();
        for size in [1, 100, twice.len()] {
            let clean = decoded(name, &twice, size);
            if matches!(name, "gzip" | "zstd") {
                assert!(clean.unwrap() == text.repeat(2), "{name}");
            } else {
                assert!(matches!(clean.unwrap_err(), CodingFault::Trailing), "{name}");
            }
            for tail in [&b"\n"[..], b"\0\0\0\0", b"<!-- api_secret -->"] {
                decoded(name, &[&body, tail].concat(), size).unwrap_err();
            }
        }
    }
    // A frame that is to be skipped (RFC 8878 3.1.2) hides nothing from anybody.
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    let frame = coded("zstd", &text);
    let body = [skippable, &frame[..], skippable, &frame].concat();
    for size in [1, 10, body.len()] {
        assert!(decoded("zstd", &body, size).unwrap() == text.repeat(2));
    }
}

#[test]
fn a_bomb_is_defused() {
    let free = usize::try_from(FREE).unwrap();
    let (zeros, harmless) = (vec![0; free + 4_000_000], vec![0; free]);
    for name in NAMES {
        let bomb = coded(name, &zeros);
        let mut decoder = decoder(name);
        decoder.feed(bomb.clone().into());
        let mut given = 0;
        let fault = loop {
            match decoder.pull() {
                Ok(Pulled::Piece(piece)) => given += piece.len(),
                Ok(other) => panic!("{name}: {other:?} after {given}"),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(fault, CodingFault::Bomb), "{name}: {fault}");
        assert!(given <= free + 200 * bomb.len(), "{name}: {given} of {}", bomb.len());
        let stacked = coded("gzip", &bomb);
        let fault = decoded(&format!("{name}, gzip"), &stacked, stacked.len()).unwrap_err();
        assert!(matches!(fault, CodingFault::Bomb), "{name} in gzip: {fault}");
        assert!(decoded(name, &coded(name, &harmless), 1000).unwrap() == harmless, "{name}");
    }
}

#[test]
fn long_answers_that_shrink_as_answers_do_are_no_bombs() {
    let text = text(2 * usize::try_from(FREE).unwrap());
    for name in ["gzip", "zstd"] {
        let body = coded(name, &text);
        assert!(decoded(name, &body, 65_536).unwrap() == text, "{name}: {} of {}", body.len(), text.len());
    }
}

#[test]
fn much_work_without_a_result_lets_others_have_their_turn() {
    // A name of a file is no text: the inner layer takes all of it and gives nothing.
    let name = vec![b'n'; 2 * MOST_STEPS * PIECE];
    let member = [&b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"[..], &name, b"\0", &coded("gzip", b"text")[10..]].concat();
    let mut decoder = decoder("gzip, gzip");
    decoder.feed(coded("gzip", &member).into());
    assert_eq!(decoder.pull().unwrap(), Pulled::Busy);
    assert_eq!(pulled(&mut decoder).unwrap(), b"text");
    decoder.finish().unwrap();
}

#[test]
fn windows_beyond_the_standards_are_refused() {
    for (log, fine) in [(23, true), (24, false)] {
        let mut encoder = ZstdEncoder::new_with_params(3, &[CParameter::window_log(log)]);
        let mut body = encode(&mut encoder, b"text");
        body.extend(flush(&mut encoder));
        let mut decoder = decoder("zstd");
        decoder.feed(body.into());
        assert_eq!(pulled(&mut decoder).is_ok(), fine, "2^{log}");
    }
    // RFC 7932 reserves what brotli's own extension uses for windows of up to 1 GiB.
    let mut large = decoder("br");
    large.feed(Bytes::from_static(b"\x11\x1e\x0b\x00\x80text\x03"));
    assert!(matches!(pulled(&mut large), Err(CodingFault::Corrupt(_))));
}

#[test]
fn codings_are_read_as_they_lie() {
    use Coding::{Brotli, Deflate, Gzip, Zstd};
    for (value, read) in [
        ("gzip", &[Gzip][..]),
        ("X-GZip", &[Gzip]),
        ("deflate", &[Deflate]),
        ("br", &[Brotli]),
        ("zstd", &[Zstd]),
        ("", &[]),
        ("identity", &[]),
        ("identity, gzip", &[Gzip]),
        (" ,br ,, gzip", &[Gzip, Brotli]),
        ("gzip|br", &[Brotli, Gzip]),
    ] {
        assert_eq!(codings(value), Ok(Codings(read.to_vec())), "{value}");
    }
    for value in ["compress", "dcb", "none", "utf-8", "gzip;q=1", "gzip br", "\"gzip\"", "gzip, gzip, gzip", "gzip, x"]
    {
        assert_eq!(codings(value), Err(Unknown), "{value}");
    }
}
