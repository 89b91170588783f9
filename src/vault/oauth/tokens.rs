//! The tokens of a grant: what the token endpoint gives, what is sent upstream, and what is sealed into the store.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::vault::credential::joined;
use crate::vault::secret::Secret;

/// An access token, the refresh token beside it, and of which app they are.
pub struct Tokens {
    pub(super) access: Secret,
    pub(super) refresh: Secret,
    pub(super) client_id: String,
    obtained: Timestamp,
    expires: Timestamp,
}

/// What the token endpoint gave.
pub(super) struct Given {
    pub(super) access: Secret,
    /// None: the one that was used is still good (RFC 6749 6).
    pub(super) refresh: Option<Secret>,
    pub(super) lifetime: Duration,
}

impl Tokens {
    /// Tokens given now, in place of those with that refresh token.
    pub(super) fn of(given: Given, used: &Secret, client_id: &str) -> Self {
        let obtained = Timestamp::now();
        let refresh = given.refresh.unwrap_or_else(|| copy(used));
        let expires = obtained.saturating_add(jiff::SignedDuration::try_from(given.lifetime).unwrap_or_default());
        let expires = expires.unwrap_or(Timestamp::MAX);
        Self { access: given.access, refresh, client_id: client_id.to_owned(), obtained, expires }
    }

    /// A copy.
    pub(super) fn again(&self) -> Self {
        Self { access: copy(&self.access), refresh: copy(&self.refresh), client_id: self.client_id.clone(), ..*self }
    }

    /// When the access token ends.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// How long the access token lives from now on; none once it has ended.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.expires.duration_since(Timestamp::now());
        Duration::try_from(left).ok().filter(|left| !left.is_zero())
    }

    /// How long ago they were given.
    pub(super) fn age(&self) -> Duration {
        Duration::try_from(Timestamp::now().duration_since(self.obtained)).unwrap_or_default()
    }

    /// How long the access token was to live.
    pub(super) fn lifetime(&self) -> Duration {
        Duration::try_from(self.expires.duration_since(self.obtained)).unwrap_or_default()
    }

    /// Whether both are the same tokens.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.refresh.expose() == other.refresh.expose() && self.access.expose() == other.access.expose()
    }

    /// What is sealed.
    pub(in crate::vault) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let text = |secret: &Secret| Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
        let (access, refresh) = (text(&self.access), text(&self.refresh));
        let record = Written {
            access: &access,
            refresh: &refresh,
            client_id: &self.client_id,
            obtained: self.obtained.as_second(),
            expires: self.expires.as_second(),
        };
        // Tokens are visible ASCII: what JSON escapes of it takes six bytes at most.
        let mut bytes =
            Zeroizing::new(Vec::with_capacity(256 + 6 * (access.len() + refresh.len() + self.client_id.len())));
        // Writing text and numbers into memory does not fail.
        let _ = serde_json::to_writer(&mut *bytes, &record);
        bytes
    }

    /// What was sealed; none when it is nothing of the kind.
    pub(in crate::vault) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let read: Read = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            access: read.access.secret(),
            refresh: read.refresh.secret(),
            client_id: read.client_id,
            obtained: Timestamp::from_second(read.obtained).ok()?,
            expires: Timestamp::from_second(read.expires).ok()?,
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Given {
    /// RFC 6749 5.1: none when it is no answer with tokens that can be used.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let bearer = answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access = Some(answer.access_token.secret()).filter(|token| usable(token) && bearer)?;
        let refresh = answer.refresh_token.map(Text::secret);
        if refresh.as_ref().is_some_and(|token| !usable(token)) {
            return None;
        }
        let seconds = answer.expires_in.as_ref().and_then(seconds).unwrap_or(USUAL_LIFETIME);
        Some(Self { access, refresh, lifetime: Duration::from_secs(seconds.clamp(1, LONGEST_LIFETIME)) })
    }
}

/// A number, or one that somebody wrote as a text.
fn seconds(value: &serde_json::Value) -> Option<u64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    // What is no number of seconds becomes the nearest.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast takes the nearest there is")]
    Some(number as u64)
}

fn usable(token: &Secret) -> bool {
    token.len() > 0 && token.len() <= LONGEST_TOKEN && token.is_visible()
}

pub(super) fn copy(secret: &Secret) -> Secret {
    Secret::new(joined(&[secret.expose()]))
}

#[derive(Serialize)]
struct Written<'a> {
    access: &'a str,
    refresh: &'a str,
    client_id: &'a str,
    obtained: i64,
    expires: i64,
}

#[derive(Deserialize)]
struct Read {
    access: Text,
    refresh: Text,
    client_id: String,
    obtained: i64,
    expires: i64,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Text,
    refresh_token: Option<Text>,
    expires_in: Option<serde_json::Value>,
    token_type: Option<String>,
}

/// A text that is a secret from where it is read.
struct Text(Secret);

impl Text {
    fn secret(self) -> Secret {
        self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
        if text.len() > LONGEST_TOKEN {
            return Err(E::custom("a token that is too long"));
        }
        Ok(Text(Secret::new(joined(&[text.as_bytes()]))))
    }
}

const USUAL_LIFETIME: u64 = 3600;
const LONGEST_LIFETIME: u64 = 365 * 86_400;
const LONGEST_TOKEN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(joined(&[text.as_bytes()]))
    }

    #[test]
    fn an_answer_is_read_as_servers_write_it() {
        let given = |body: &str| Given::parse(body.as_bytes());
        let full = given(r#"{"token_type":"Bearer","access_token":"a.b","expires_in":3600,"refresh_token":"r\/1","scope":"x","user_id":"u"}"#).unwrap();
        assert_eq!(
            (full.access.expose(), full.refresh.unwrap().expose(), full.lifetime.as_secs()),
            (&b"a.b"[..], &b"r/1"[..], 3600)
        );
        let least = given(r#"{"access_token":"a"}"#).unwrap();
        assert!(least.refresh.is_none() && least.lifetime.as_secs() == 3600);
        for (written, seconds) in
            [("\"60\"", 60), ("59.9", 59), ("0", 1), ("-5", 1), ("1e30", LONGEST_LIFETIME), ("null", 3600)]
        {
            let body = format!(r#"{{"access_token":"a","expires_in":{written}}}"#);
            assert_eq!(given(&body).unwrap().lifetime.as_secs(), seconds, "{written}");
        }
        for bad in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
            r#"{"access_token":"a","refresh_token":"r\nx"}"#,
            r#"{"access_token":1}"#,
        ] {
            assert!(given(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_sealed_is_what_was_given_and_prints_nothing() {
        let given = Given { access: secret("planted-a\"\\"), refresh: None, lifetime: Duration::from_secs(60) };
        let tokens = Tokens::of(given, &secret("planted-r"), "oa2client_1");
        let back = Tokens::from_bytes(&tokens.to_bytes()).unwrap();
        assert!(back.is_same(&tokens) && back.client_id == "oa2client_1");
        assert_eq!((back.lifetime(), back.refresh.expose()), (Duration::from_secs(60), &b"planted-r"[..]));
        assert!(back.left().unwrap() <= Duration::from_secs(60) && back.age() < Duration::from_secs(60));
        assert!(!format!("{tokens:?}").contains("planted"));
        assert!(Tokens::from_bytes(b"{}").is_none());
    }
}
