//! The path of a request: canonical or refused, and never re-encoded (contract.md 4 "Path", security.md 22).
//!
//! A path that two readers could decode into two places is refused, so that a rule and the upstream always judge the
//! same bytes. What is accepted goes on byte for byte.

use std::borrow::Cow;

/// Why a path is not canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Does not begin with `/`.
    #[error("the path does not begin with a slash")]
    Relative,
    /// A segment `.` or `..`, in whatever encoding.
    #[error("the path holds a dot segment")]
    DotSegment,
    /// A character that has no place in a path: raw controls, blanks, non-ASCII, `\`, `;`, `"`, `<`, `>` and the like.
    #[error("the path holds a character that it may not hold")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a percent sign without two hexadecimal digits")]
    Escape,
    /// A percent-encoded slash, backslash, semicolon, control character, or unreserved character.
    #[error("the path encodes a character that must stand plain or not at all")]
    Encoded,
    /// An encoded percent sign before two hexadecimal digits.
    #[error("the path is percent-encoded twice")]
    Twice,
    /// Percent-encoded bytes that are not UTF-8.
    #[error("the path encodes bytes that are not UTF-8")]
    Utf8,
    /// A repeated slash before the end of a route's prefix.
    #[error("the path repeats a slash inside the prefix of a route")]
    RepeatedSlashInPrefix,
    /// A `%` in a route's prefix.
    #[error("the prefix of a route holds a percent-encoding")]
    EscapeInPrefix,
}

/// A query holds a character that must be percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query holds a character that must be percent-encoded")]
pub struct QueryFault;

/// A path that was found canonical; its bytes are those that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPath<'a>(&'a str);

impl<'a> RequestPath<'a> {
    /// Finds the path (without its query) canonical, or says why not.
    pub fn parse(path: &'a str) -> Result<Self, PathFault> {
        let bytes = path.as_bytes();
        if bytes.first() != Some(&b'/') {
            return Err(PathFault::Relative);
        }
        let (mut escapes, mut dots) = (false, false);
        for byte in bytes {
            dots |= *byte == b'.';
            match CLASS[usize::from(*byte)] & (PATH | ESCAPE) {
                0 => return Err(PathFault::Character),
                class => escapes |= class & ESCAPE != 0,
            }
        }
        if escapes {
            check_escapes(bytes)?;
        }
        // Encoded dots were refused with the other unreserved characters.
        if dots && path.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(PathFault::DotSegment);
        }
        Ok(Self(path))
    }

    /// The path as it came.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether a slash follows a slash somewhere.
    pub fn has_repeated_slashes(self) -> bool {
        self.0.contains("//")
    }
}

fn check_escapes(bytes: &[u8]) -> Result<(), PathFault> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            decoded.push(*first);
            rest = after;
            continue;
        }
        let byte = escaped(after).ok_or(PathFault::Escape)?;
        rest = &after[2..];
        if matches!(byte, b'/' | b'\\' | b';' | 0..=0x1f | 0x7f) || CLASS[usize::from(byte)] & UNRESERVED != 0 {
            return Err(if byte == b'.' { PathFault::DotSegment } else { PathFault::Encoded });
        }
        if byte == b'%' && escaped(rest).is_some() {
            return Err(PathFault::Twice);
        }
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).map_or(Err(PathFault::Utf8), |_| Ok(()))
}

/// The byte that two hexadecimal digits at the front stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (high, low) = (digits.first().and_then(digit)?, digits.get(1).and_then(digit)?);
    u8::try_from(high << 4 | low).ok()
}

/// Whether a query may go on byte for byte: RFC 3986 3.4, and the brackets, braces and bars that clients send raw.
pub fn check_query(query: &str) -> Result<(), QueryFault> {
    let fits = query.bytes().all(|byte| CLASS[usize::from(byte)] & QUERY != 0);
    if fits { Ok(()) } else { Err(QueryFault) }
}

/// A path as every decision reads it: repeated slashes are one, a trailing slash makes no difference, and nothing is
/// percent-encoded, since the upstream reads `%40`, `%2b` and `%2B` as `@`, `+` and `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionPath<'a>(Cow<'a, str>);

impl<'a> DecisionPath<'a> {
    /// The form for decisions of a canonical path, as the upstream sees it; borrowed where nothing changes.
    pub fn of(path: &'a str) -> Self {
        let mut previous = 0;
        for byte in path.bytes() {
            if byte == b'%' || (byte == b'/' && previous == b'/') {
                return Self(rewritten(path));
            }
            previous = byte;
        }
        Self(Cow::Borrowed(without_trailing_slash(path)))
    }

    /// Without a trailing slash (but `/` itself), without repeated ones, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, none for `/`.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1).filter(|segment| !segment.is_empty())
    }
}

/// The path with escapes undone and without needless slashes.
fn rewritten(path: &str) -> Cow<'_, str> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = if *first == b'%' { escaped(after) } else { None };
        rest = if escape.is_some() { &after[2..] } else { after };
        let byte = escape.unwrap_or(*first);
        if byte != b'/' || decoded.last() != Some(&b'/') {
            decoded.push(byte);
        }
    }
    if decoded.len() > 1 && decoded.last() == Some(&b'/') {
        decoded.pop();
    }
    // A canonical path decodes to UTF-8; anything else is compared as it stands.
    String::from_utf8(decoded).map_or(Cow::Borrowed(path), Cow::Owned)
}

fn without_trailing_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(shorter) => shorter,
    }
}

/// A route's prefix: `/`, or segments without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// Parses `/`, `/sales` or `/team/sales/`; the trailing slash is dropped.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        let path = RequestPath::parse(text)?;
        if path.has_repeated_slashes() {
            return Err(PathFault::RepeatedSlashInPrefix);
        }
        if text.contains('%') {
            return Err(PathFault::EscapeInPrefix);
        }
        Ok(Self(without_trailing_slash(text).to_owned()))
    }

    /// The prefix as text; `/` for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every path begins with it.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

const UNRESERVED: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;
const ESCAPE: u8 = 8;

/// RFC 3986: `pchar` and `/` in a path, without `;`, which starts parameters for some readers.
const CLASS: [u8; 256] = {
    let mut table = [0_u8; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~') {
            table[byte] |= UNRESERVED | PATH | QUERY;
        }
        if matches!(c, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' | b'/') {
            table[byte] |= PATH | QUERY;
        }
        if matches!(c, b';' | b'?' | b'%' | b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'`' | b'\\') {
            table[byte] |= QUERY;
        }
        if c == b'%' {
            table[byte] |= ESCAPE;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_are_canonical() {
        for good in
            ["/", "/api/v1/lead/", "/api/v1//lead/", "/a%20b/%C3%A9", "/a:b@c!$&'()*+,=~", "/100%25", "/a.b/..c/.d"]
        {
            assert_eq!(RequestPath::parse(good).map(RequestPath::as_str), Ok(good));
        }
    }

    #[test]
    fn what_decodes_to_another_path_is_refused() {
        for (bad, fault) in [
            ("", PathFault::Relative),
            ("api", PathFault::Relative),
            ("/a/../b", PathFault::DotSegment),
            ("/a/.", PathFault::DotSegment),
            ("/..", PathFault::DotSegment),
            ("/a/%2e%2e/b", PathFault::DotSegment),
            ("/a/.%2E/b", PathFault::DotSegment),
            ("/a%2fb", PathFault::Encoded),
            ("/a%5Cb", PathFault::Encoded),
            ("/a\\b", PathFault::Character),
            ("/a;b", PathFault::Character),
            ("/a%3bb", PathFault::Encoded),
            ("/a%00", PathFault::Encoded),
            ("/a%0d%0a", PathFault::Encoded),
            ("/a%7f", PathFault::Encoded),
            ("/%61pi_key", PathFault::Encoded),
            ("/api%5fkey", PathFault::Encoded),
            ("/a%252e", PathFault::Twice),
            ("/a%2", PathFault::Escape),
            ("/a%zz", PathFault::Escape),
            ("/a%", PathFault::Escape),
            ("/%c0%ae", PathFault::Utf8),
            ("/%ff", PathFault::Utf8),
            ("/a b", PathFault::Character),
            ("/é", PathFault::Character),
            ("/a\"b", PathFault::Character),
            ("/a{b}", PathFault::Character),
            ("/a|b", PathFault::Character),
        ] {
            assert_eq!(RequestPath::parse(bad), Err(fault), "{bad}");
        }
    }

    /// security.md 22, shape by shape.
    #[test]
    fn every_shape_of_traversal_is_refused() {
        for paths in [
            "/. /.. /a/./b /a/.. /a//../b /../etc/passwd /api/v1/lead/../api_key/",
            "/%2e /%2e%2e/a /.%2e/a /%2E./a /a/%2e%2E /%2e%2e%2fa /%252e%252e/ /%25%32%65 /%u002e /%%32e /%2525",
            "/a%2fb /..%2f..%2fa /%2f/a /a%5cb /..%5C.. /a\\b /..\\a %2Fapi",
            "/a;b /a;jsessionid=1/b /..;/a /..%3b/a /a%3Bb",
            "/a\0 /a\u{1} /a\u{7f} /a%00 /lead%00.json /%0d%0a /%1F /%7f /a%09",
            "/\u{e9} /\u{ff0e}\u{ff0e}/b /%c3\u{a9} /%c0%ae /%c0%ae%c0%ae/ /%c0%af /%e0%80%af /%f0%80%80%af /%c1%bf",
            "/%ed%a0%80 /%f4%90%80%80 /%f8%88%80%80%80 /%80 /%ff /%c3 /%c3a9 /%c3%28 /%e2%82 /%e2%82/%ac",
            "/%61pi_key /api%5Fkey /api%2Dkey /%41 /%30 /%7Euser",
            "/< /> /` /[ /] /^ /\" /a|b /{id} /a?b /a#b * ?x api",
        ] {
            for path in paths.split(' ') {
                assert!(RequestPath::parse(path).is_err(), "{path:?}");
            }
        }
        for path in ["/a b", "/a ", "/a\tb", "/a\r\nb", "/% 2e"] {
            assert!(RequestPath::parse(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn every_escape_is_judged_as_its_byte() {
        for byte in 0..=0x7f_u8 {
            let needed = matches!(byte, b' '..=b'~') && !byte.is_ascii_alphanumeric() && !b"-._~/\\;".contains(&byte);
            for path in [format!("/a%{byte:02x}"), format!("/a%{byte:02X}-b")] {
                assert_eq!(RequestPath::parse(&path).is_ok(), needed, "{path}");
            }
        }
    }

    /// security.md 23: what passes is what `http::Uri` keeps as it is, so nothing is refused or cut later on.
    #[test]
    fn a_query_passes_exactly_when_a_target_keeps_it() {
        for byte in 0..=0x7f_u8 {
            let query = format!("a{}b", char::from(byte));
            let target = format!("/?{query}");
            let kept = target.parse::<http::uri::PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == target);
            assert_eq!(check_query(&query).is_ok(), kept, "{byte:#x}");
        }
    }

    #[test]
    fn queries_may_hold_what_clients_send_raw() {
        assert_eq!(check_query("_fields=a,b&query=x>".trim_end_matches('>')), Ok(()));
        assert_eq!(check_query("a[]=1&b={c}|d^`\\&e=%zz&q=a?b/c"), Ok(()));
        for bad in ["a b", "a\"b", "a<b", "a>b", "a#b", "é", "a\u{7f}"] {
            assert_eq!(check_query(bad), Err(QueryFault), "{bad}");
        }
    }

    #[test]
    fn decisions_read_repeated_and_trailing_slashes_as_nothing() {
        for (path, decision) in
            [("/", "/"), ("//", "/"), ("/a/", "/a"), ("/a//b///", "/a/b"), ("//a", "/a"), ("/a/b", "/a/b")]
        {
            assert_eq!(DecisionPath::of(path).as_str(), decision, "{path}");
        }
        assert!(matches!(DecisionPath::of("/a/b/").0, Cow::Borrowed("/a/b")));
    }

    #[test]
    fn decisions_read_every_spelling_of_a_character_as_one() {
        for (paths, decision) in [
            ("/a+b@c /a%2bb%40c /a%2Bb@c/", "/a+b@c"),
            ("/caf%C3%A9 /caf%c3%a9/", "/caf\u{e9}"),
            ("/100%25//x", "/100%/x"),
            ("/%28%2A%29", "/(*)"),
        ] {
            for path in paths.split(' ') {
                assert!(RequestPath::parse(path).is_ok(), "{path}");
                assert_eq!(DecisionPath::of(path).as_str(), decision, "{path}");
            }
        }
    }

    #[test]
    fn prefixes_lose_their_trailing_slash() {
        assert_eq!(Prefix::parse("/sales/").unwrap().as_str(), "/sales");
        assert!(Prefix::parse("/").unwrap().is_root());
        assert!(Prefix::parse("//sales").is_err());
        assert!(Prefix::parse("sales").is_err());
        assert!(Prefix::parse("/a/../b").is_err());
        assert_eq!(Prefix::parse("/a%20b"), Err(PathFault::EscapeInPrefix));
    }

    proptest! {
        #[test]
        fn what_is_canonical_passes_through_the_uri_type_unchanged(path in "/[ -~]{0,20}", query in "[ -~]{0,20}") {
            if RequestPath::parse(&path).is_ok() && check_query(&query).is_ok() {
                let target = format!("{path}?{query}");
                let uri: http::Uri = target.parse().unwrap();
                prop_assert_eq!(uri.path_and_query().unwrap().as_str(), target);
            }
        }

        #[test]
        fn a_decision_path_is_its_own(path in "(/[a-c%2540.]{0,6}|/|%[2-7][0-9a-fA-F]|%C3%[89abAB][0-9a-f]){1,6}") {
            if RequestPath::parse(&path).is_ok() {
                let once = DecisionPath::of(&path);
                prop_assert_eq!(DecisionPath::of(once.as_str()), once.clone());
                prop_assert!(once.as_str() == "/" || !(once.as_str().contains("//") || once.as_str().ends_with('/')));
            }
        }

        #[test]
        fn no_text_upsets_the_parser(path in "\\PC*") {
            let _ = RequestPath::parse(&path);
            let _ = DecisionPath::of(&path);
        }
    }
}
