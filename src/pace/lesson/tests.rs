//! Every form of close-api.md 3.3 to 3.5, and what is none.

use proptest::prelude::*;

use super::*;

fn lesson(status: u16, lines: &[(&'static str, &str)]) -> Lesson {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Lesson::read(StatusCode::from_u16(status).unwrap(), &headers)
}

fn reading(limit: u32, remaining: u32, milliseconds: u64, exactness: Exactness) -> Option<Reading> {
    Some(Reading { limit, remaining, reset: Duration::from_millis(milliseconds), exactness })
}

#[test]
fn every_form_that_close_has_used_is_read() {
    use Exactness::{Fraction, Seconds};
    for (value, expected) in [
        ("limit=100, remaining=50, reset=5", reading(100, 50, 5_000, Seconds)),
        ("limit=100; remaining=100; reset=1", reading(100, 100, 1_000, Seconds)),
        ("limit=100,remaining=0,reset=0.595", reading(100, 0, 595, Fraction)),
        ("Reset=0.5;Limit=9;Remaining=3;window=8", reading(9, 3, 500, Fraction)),
    ] {
        assert_eq!(lesson(200, &[("ratelimit", value)]).told, [expected, None], "{value}");
    }
    let today = lesson(
        200,
        &[
            ("ratelimit", "limit=100; remaining=100; reset=1"),
            ("ratelimit-limit", "100"),
            ("ratelimit-remaining", "99"),
            ("ratelimit-reset", "1"),
        ],
    );
    assert_eq!(today.told, [reading(100, 100, 1_000, Seconds), reading(100, 99, 1_000, Seconds)]);
    let legacy = [("x-rate-limit-limit", "600"), ("x-rate-limit-remaining", "598"), ("x-rate-limit-reset", "0.595956")];
    let told = lesson(200, &legacy).told[1].unwrap();
    assert_eq!((told.limit, told.remaining, told.reset), (600, 598, Duration::from_micros(595_956)));
}

#[test]
fn the_tighter_of_two_is_the_one_with_less_left() {
    let (loose, tight) = (reading(100, 100, 1_000, Exactness::Seconds), reading(100, 99, 1_000, Exactness::Seconds));
    let (loose, tight) = (loose.unwrap(), tight.unwrap());
    assert_eq!((loose.tighter(tight), tight.tighter(loose)), (tight, tight));
    let longer = Reading { reset: Duration::from_secs(2), ..tight };
    assert_eq!((longer.tighter(tight), tight.tighter(longer)), (longer, longer));
}

#[test]
fn a_429_says_how_long_to_wait() {
    for (lines, wait) in [
        (&[("ratelimit", "limit=9, remaining=0, reset=0.25"), ("retry-after", "1")][..], Some(250)),
        (&[("ratelimit", "limit=9; remaining=0; reset=0"), ("retry-after", "1")], Some(1_000)),
        (&[("ratelimit-reset", "3"), ("retry-after", "4")], Some(3_000)),
        (&[("ratelimit", "reset=2.5")], Some(2_500)),
        (&[("retry-after", "7")], Some(7_000)),
        (&[("retry-after", "Fri, 27 Nov 2026 06:00:00 GMT")], None),
        (&[("retry-after", "99999999999")], Some(300_000)),
        (&[], None),
    ] {
        let said = lesson(429, lines).excess.unwrap();
        assert_eq!(said.wait, wait.map(Duration::from_millis), "{lines:?}");
    }
    assert_eq!(lesson(200, &[("retry-after", "7")]), Lesson::default());
}

#[test]
fn the_body_of_a_429_says_what_its_head_does_not() {
    let flat =
        r#"{"message":"API call count exceeded","rate_limit":320,"rate_limit_type":"key","rate_reset":"0.595956"}"#;
    let nested =
        r#"{"error":{"rate_reset":0.870663,"rate_limit":40,"rate_window":1,"rate_limit_type":"organization"}}"#;
    for (body, micros, limit, whose) in [
        (flat, Some(595_956), Some(320), Whose::Credential),
        (nested, Some(870_663), Some(40), Whose::Organization),
        ("{}", None, None, Whose::Unsaid),
        ("not JSON", None, None, Whose::Unsaid),
        (r#"{"rate_reset": -1, "rate_limit": "x"}"#, None, None, Whose::Unsaid),
    ] {
        let mut said = lesson(429, &[]);
        said.read_body(body.as_bytes());
        assert_eq!(said.excess, Some(Excess { wait: micros.map(Duration::from_micros), limit, whose }), "{body}");
    }
    let mut headed = lesson(429, &[("retry-after", "2")]);
    headed.read_body(nested.as_bytes());
    assert_eq!(headed.excess.unwrap().wait, Some(Duration::from_secs(2)), "a header wins");
}

#[test]
fn what_is_no_limit_teaches_nothing() {
    for value in
        ["", "limit", "limit=,remaining=1,reset=1", "limit=-1, remaining=1, reset=1", "limit=0, remaining=0, reset=1"]
    {
        assert_eq!(lesson(200, &[("ratelimit", value)]), Lesson::default(), "{value}");
    }
    for value in ["1.", ".5", "1.2.3", "1e3", "-1", "+1", "1 2", "0x1"] {
        assert_eq!(seconds(value.as_bytes()), None, "{value}");
    }
    assert_eq!(lesson(200, &[("ratelimit-limit", "100"), ("ratelimit-remaining", "5")]), Lesson::default());
}

proptest! {
    #[test]
    fn no_header_and_no_body_makes_it_panic(name in 0_usize..6, bytes in proptest::collection::vec(32_u8..127, 0..40)) {
        let name = ["ratelimit", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-rate-limit-reset", "retry-after"][name];
        let text = String::from_utf8(bytes).unwrap();
        let mut lesson = lesson(429, &[(name, &text)]);
        lesson.read_body(text.as_bytes());
        prop_assert!(lesson.excess.unwrap().wait.is_none_or(|wait| wait <= LONGEST));
    }
}
