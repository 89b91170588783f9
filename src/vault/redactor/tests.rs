//! The redactor against a plain account of what it must do, over pieces of every size.

use proptest::collection::vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

fn redactor(needles: &[&[u8]]) -> Redactor {
    let forms: Vec<Form> = needles.iter().map(|needle| Zeroizing::new(needle.to_vec())).collect();
    Redactor::new(Arc::new(Needles::of(&forms)))
}

/// One whose search could not be prepared.
fn unprepared(needles: &[&[u8]]) -> Redactor {
    let forms: Vec<Form> = needles.iter().map(|needle| Zeroizing::new(needle.to_vec())).collect();
    Redactor::new(Arc::new(Needles { search: None, ..Needles::of(&forms) }))
}

/// Every byte that lies in any occurrence of any needle is a star; how many occurrences there are.
fn plainly(text: &[u8], needles: &[Vec<u8>]) -> (Vec<u8>, u32) {
    let (mut clean, mut count) = (text.to_vec(), 0);
    for needle in needles {
        for at in 0..text.len() {
            if text[at..].starts_with(needle) {
                clean[at..at + needle.len()].fill(b'*');
                count += 1;
            }
        }
    }
    (clean, count)
}

fn stream(redactor: &mut Redactor, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&redactor.scrub(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&redactor.finish().unwrap_or_default());
    out
}

/// Texts over two letters, so that needles match, overlap and begin at borders all the time.
fn letters(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(b"ab".as_slice()), lengths)
}

fn case() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Vec<u8>>)> {
    let needles = vec(letters(1..12), 1..4).prop_map(|mut needles| {
        needles.sort();
        needles.dedup();
        needles
    });
    (needles, vec(letters(0..9), 0..12))
}

proptest! {
    #[test]
    fn pieces_give_what_the_whole_gives((needles, pieces) in case()) {
        let borrowed: Vec<&[u8]> = needles.iter().map(Vec::as_slice).collect();
        let (clean, count) = plainly(&pieces.concat(), &needles);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        for mut redactor in [redactor(&borrowed), unprepared(&borrowed)] {
            let out = stream(&mut redactor, &pieces);
            prop_assert_eq!(&out, &clean);
            prop_assert_eq!(redactor.redactions(), count);
            prop_assert_eq!(plainly(&out, &needles).1, 0);
            prop_assert!(!redactor.is_holding());
        }
    }

    #[test]
    fn what_is_held_is_the_shortest_tail_that_may_be_a_secret((needles, pieces) in case()) {
        let borrowed: Vec<&[u8]> = needles.iter().map(Vec::as_slice).collect();
        let mut redactor = redactor(&borrowed);
        let (mut seen, mut out) = (Vec::new(), 0);
        for piece in pieces {
            seen.extend_from_slice(&piece);
            out += redactor.scrub(Bytes::from(piece)).len();
            let begins = |tail: &[u8]| needles.iter().any(|needle| needle.len() > tail.len() && needle.starts_with(tail));
            let open = (0..seen.len()).find(|at| begins(&seen[*at..])).map_or(0, |at| seen.len() - at);
            prop_assert_eq!(seen.len() - out, open);
        }
    }
}

#[test]
fn a_piece_without_a_match_is_not_copied() {
    let mut redactor = redactor(&[b"api_planted.planted", b"YXBpX3BsYW50ZWQucGxhbnRlZDo"]);
    let piece = Bytes::from_static(b"{\"data\": [], \"has_more\": false}");
    let out = redactor.scrub(piece.clone());
    assert_eq!((out.as_ptr(), out.len()), (piece.as_ptr(), piece.len()));
    let piece = Bytes::from_static(b"{\"data\": [\"api");
    let out = redactor.scrub(piece.clone());
    assert_eq!((out.as_ptr(), out.len()), (piece.as_ptr(), piece.len() - 3));
    assert!(redactor.is_holding());
    assert_eq!(redactor.scrub(Bytes::from_static(b"ary\"]}")), "apiary\"]}");
    assert_eq!((redactor.redactions(), redactor.finish()), (0, None));
}

#[test]
fn a_secret_byte_by_byte_is_overwritten() {
    let mut redactor = redactor(&[b"api_planted.planted"]);
    let text = b"x api_planted.planted y";
    let pieces: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(stream(&mut redactor, &pieces), b"x ******************* y");
    assert_eq!(redactor.redactions(), 1);
}

#[test]
fn a_piece_that_others_hold_is_not_changed_for_them() {
    let mut redactor = redactor(&[b"api_planted.planted"]);
    let shared = Bytes::from(b"<api_planted.planted>".to_vec());
    let out = redactor.scrub(shared.clone());
    assert_eq!(out, "<*******************>");
    assert_eq!(shared, "<api_planted.planted>");
}

#[test]
fn every_value_of_every_header_is_scrubbed() {
    let mut redactor = redactor(&[b"api_planted.planted"]);
    let mut headers = HeaderMap::new();
    let mut sensitive = HeaderValue::from_static("a api_planted.planted b");
    sensitive.set_sensitive(true);
    headers.append("x-echo", HeaderValue::from_static("api_planted.plante"));
    headers.append("x-echo", sensitive);
    headers.append("location", HeaderValue::from_static("/?k=api_planted.planted&l=api_planted.planted"));
    redactor.scrub_headers(&mut headers);
    let values: Vec<_> = headers.get_all("x-echo").iter().collect();
    assert_eq!(values, ["api_planted.plante", "a ******************* b"]);
    assert_eq!((values[0].is_sensitive(), values[1].is_sensitive()), (false, true));
    assert_eq!(headers["location"], "/?k=*******************&l=*******************");
    assert_eq!(redactor.redactions(), 3);
}

#[test]
fn nothing_of_a_secret_is_printed() {
    let mut redactor = redactor(&[b"api_planted.planted"]);
    redactor.scrub(Bytes::from_static(b"api_plan"));
    assert_eq!(format!("{redactor:?}"), "Redactor { needles: [1 forms of a secret], redactions: 0 }");
}
