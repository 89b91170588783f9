//! Mail and messages that are judged by what their body says: sent to somebody, or written down (contract.md 4 "Decision").
//!
//! Only a body that leaves no doubt counts as written down. JSON of which two readers could make two things, and whatever is
//! compressed, cut, too long or no JSON at all, counts as sent. What is judged are the very bytes that go upstream.

use std::collections::BTreeSet;
use std::fmt;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;

use super::door::Door;
use super::error::ProxyError;
use super::inbound::Inbound;
use super::upload::UploadFault;
use crate::edge::{Ahead, BodyFault, RequestBody};
use crate::scope::Scope;

/// A request whose body has yet to be read before it is known whether it may be sent.
pub(super) struct Letter {
    pub(super) inbound: Inbound,
    pub(super) body: RequestBody,
    /// The place of the listener that it came by.
    pub(super) listener: usize,
    /// The user at the other end of a Unix socket.
    pub(super) uid: Option<u32>,
}

impl Letter {
    /// Reads as much of the body as the decision needs, and says which scope it takes.
    pub(super) async fn read(&mut self, door: &Door) -> Result<Scope, ProxyError> {
        let declared = hyper::body::Body::size_hint(&self.body).lower();
        if declared > door.max_body {
            return Err(ProxyError::BodyTooLarge);
        }
        // What cannot be judged need not be waited for.
        if declared > MOST as u64 || !is_plain_json(&self.inbound.headers) {
            return Ok(Scope::Send);
        }
        // A client that sends a byte now and then keeps nothing of the gateway for long.
        let reading = tokio::time::timeout(door.body_timeout, self.body.read_ahead(MOST)).await;
        let ahead = reading.map_err(|_| ProxyError::Body(BodyFault::Timeout))?.map_err(UploadFault::from)?;
        Ok(match ahead {
            Ahead::Whole(text) => scope_of(&text),
            Ahead::More => Scope::Send,
        })
    }
}

/// The scope that a whole body takes.
fn scope_of(text: &[u8]) -> Scope {
    let read = std::str::from_utf8(text).ok().and_then(|text| serde_json::from_str(text).ok());
    read.map_or(Scope::Send, |Said { scope }| scope)
}

/// Whether it says of itself that it is JSON in UTF-8, and not compressed.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let mut parts = only.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"));
    let utf8 = [&b"charset=utf-8"[..], b"charset=\"utf-8\""];
    json && parts.all(|parameter| utf8.iter().any(|known| parameter.eq_ignore_ascii_case(known)))
        && headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// What an object says about being sent.
struct Said {
    scope: Scope,
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Said, A::Error> {
        let mut scope = Scope::Write;
        let mut seen = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "status" if sends(&members.next_value()?) => scope = Scope::Send,
                "status" => {}
                // Close reads parameters from there (close-api.md 5.8); which wins is not known.
                "_params" => return Err(ambiguous()),
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
            if !seen.insert(name) {
                return Err(ambiguous());
            }
        }
        Ok(Said { scope })
    }
}

fn ambiguous<E: de::Error>() -> E {
    Error::custom("two readers could make two things of it")
}

/// Whether a status has mail or a message sent, now or later; what is no text is taken to.
fn sends(status: &Value) -> bool {
    match status {
        Value::Null => false,
        Value::String(text) => SENDING.iter().any(|word| text.trim().eq_ignore_ascii_case(word)),
        _ => true,
    }
}

const SENDING: [&str; 2] = ["outbox", "scheduled"];
/// Most bytes of a body that are read for a decision.
const MOST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_is_only_written_down_is_a_write() {
        for text in [
            "{}",
            " {\"status\": \"draft\"} ",
            r#"{"status":"inbox","subject":"outbox","nested":{"status":"outbox"}}"#,
            r#"{"status":"sent"}"#,
            r#"{"status":null,"a":[1,2,{"status":"scheduled"}]}"#,
            "\n{\"subject\":\"\u{e9}\"}",
        ] {
            assert_eq!(scope_of(text.as_bytes()), Scope::Write, "{text}");
        }
    }

    #[test]
    fn what_sends_or_leaves_doubt_sends() {
        for text in [
            r#"{"status":"outbox"}"#,
            r#"{"status":"scheduled","date_scheduled":"2027-01-01"}"#,
            r#"{"status":"\u006futbox"}"#,
            r#"{"st\u0061tus":"outbox"}"#,
            r#"{"status":" Outbox "}"#,
            // Two members of one name, whichever wins.
            r#"{"status":"outbox","status":"draft"}"#,
            r#"{"status":"draft","status":"outbox"}"#,
            r#"{"status":"draft","st\u0061tus":"draft"}"#,
            r#"{"a":1,"a":1,"status":"draft"}"#,
            r#"{"status":"draft","_params":{}}"#,
            r#"{"status":["outbox"]}"#,
            r#"{"status":{"a":1}}"#,
            r#"{"status":1}"#,
            r#"{"status":true}"#,
            // No JSON, or more than one.
            "",
            "null",
            "[]",
            r#"[{"status":"draft"}]"#,
            r#""draft""#,
            "status=draft",
            r#"{"status":"draft""#,
            r#"{"status":"draft"}{"status":"outbox"}"#,
            r#"{"status":"draft"} x"#,
            r#"{"status":"draft",}"#,
            r#"{status:"draft"}"#,
            r#"{"status":"draft","a":NaN}"#,
            "\u{feff}{\"status\":\"draft\"}",
            "{\"status\":\"draft\"}\0",
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(scope_of(text.as_bytes()), Scope::Send, "{text}");
        }
        assert_eq!(scope_of(b"{\"a\":\"\xff\"}"), Scope::Send);
        assert_eq!(
            scope_of(&"{\"status\":\"draft\"}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            Scope::Send
        );
        let deep = format!("{{\"status\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(scope_of(deep.as_bytes()), Scope::Send, "and no overflow of the stack");
    }

    #[test]
    fn only_plain_json_is_read() {
        let plain = |lines: &[(&'static str, &'static str)]| {
            let lines =
                lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            is_plain_json(&headers)
        };
        for lines in [
            &[("content-type", "application/json")][..],
            &[("content-type", "Application/JSON; charset=UTF-8")],
            &[("content-type", "application/json;charset=\"utf-8\""), ("content-encoding", "identity")],
        ] {
            assert!(plain(lines), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[("content-type", "application/json; charset=utf-16")],
            &[("content-type", "application/json"), ("content-type", "text/plain")],
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
            &[("content-type", "application/json"), ("content-encoding", "identity, br")],
        ] {
            assert!(!plain(lines), "{lines:?}");
        }
    }
}
