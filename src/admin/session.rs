//! Sessions of browsers: a cookie that was got with a token, known here by its digest only.
//!
//! A session ends after twelve hours, after one hour without a request, when somebody signs out, and when its token is
//! no more. Who asks by cookie repeats a value in a header that no other site can know (CSRF).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use http::header::{COOKIE, HeaderMap};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::management::Answer;
use super::refusal::Refusal;
use super::tokens::{Token, sha256};

/// The digest of a session's cookie.
pub type SessionId = [u8; 32];

/// A session, as it is kept; nothing in it lets anybody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The name of the token that it was got with.
    pub token: String,
    /// What tells that token from one of the same name: a digest of its digest.
    pub mark: String,
    /// When it began.
    pub opened: Timestamp,
    /// When it was last used, to the minute.
    pub seen: Timestamp,
}

/// Where sessions are kept.
pub trait Sessions: Send + Sync {
    /// Keeps a session until a moment, in place of one of the same id.
    fn keep(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, ()>;

    /// Keeps a session that is still there with what is new of it, until a moment: whether it was there. One that somebody has
    /// ended meanwhile stays ended.
    fn prolong(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, bool>;

    /// The session of an id, unless its time is over.
    fn find(&self, id: SessionId) -> Answer<'_, Option<Session>>;

    /// Ends a session; one that is not there is no fault.
    fn forget(&self, id: SessionId) -> Answer<'_, ()>;
}

/// Sessions in memory: of one process, until it ends.
#[derive(Default)]
pub struct InMemory(Mutex<HashMap<SessionId, (Session, Timestamp)>>);

impl Sessions for InMemory {
    fn keep(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, ()> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        sessions.retain(|_, (_, until)| *until > now);
        sessions.insert(id, (session, until));
        Box::pin(async { Ok(()) })
    }

    fn prolong(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, bool> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sessions.get_mut(&id).filter(|(_, until)| *until > Timestamp::now());
        let there = known.map(|known| *known = (session, until)).is_some();
        Box::pin(async move { Ok(there) })
    }

    fn find(&self, id: SessionId) -> Answer<'_, Option<Session>> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = sessions.get(&id).filter(|(_, until)| *until > Timestamp::now());
        let found = found.map(|(session, _)| session.clone());
        Box::pin(async { Ok(found) })
    }

    fn forget(&self, id: SessionId) -> Answer<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Box::pin(async { Ok(()) })
    }
}

/// The text of a session's cookie.
pub(super) struct Pass(Zeroizing<String>);

impl Pass {
    /// Draws one of 256 random bits.
    pub(super) fn draw() -> Result<Self, Refusal> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| Refusal::internal())?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()))))
    }

    /// The one that a request carries: in exactly one cookie of the name that goes with its scheme.
    pub(super) fn of(headers: &HeaderMap, scheme: CookieScheme) -> Option<Self> {
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let cookies = lines.flat_map(|line| Cookie::split_parse(line.to_owned()).filter_map(Result::ok));
        let mut passes = cookies.filter(|cookie| cookie.name() == scheme.session());
        let pass = passes.next()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let shaped = pass.value().len() == 43 && pass.value().bytes().all(plain);
        (shaped && passes.next().is_none()).then(|| Self(Zeroizing::new(pass.value().to_owned())))
    }

    /// What it is known by.
    pub(super) fn id(&self) -> SessionId {
        sha256(self.0.as_bytes())
    }

    /// What a state-changing request must repeat in `closegate-csrf`.
    pub(super) fn csrf(&self) -> String {
        let marked = Zeroizing::new(format!("closegate-csrf:{}", *self.0));
        URL_SAFE_NO_PAD.encode(sha256(marked.as_bytes()))
    }

    /// Whether a request repeats it.
    pub(super) fn is_confirmed_by(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(CSRF).iter();
        let (one, more) = (given.next(), given.next());
        one.is_some_and(|one| verify_slices_are_equal(one.as_bytes(), self.csrf().as_bytes()).is_ok()) && more.is_none()
    }

    /// `Set-Cookie` of a session that begins.
    pub(super) fn cookie(&self, scheme: CookieScheme) -> String {
        let cookie = scheme.cookie(scheme.session(), self.0.as_str().to_owned(), SameSite::Strict);
        cookie.max_age(cookie::time::Duration::hours(12)).build().to_string()
    }
}

impl Session {
    /// A session that begins with a token.
    pub(super) fn begin(token: &Token) -> Self {
        let now = Timestamp::now();
        Self { token: token.name.clone(), mark: mark(token), opened: now, seen: now }
    }

    /// Until when it lasts if nobody asks again.
    pub(super) fn until(&self) -> Timestamp {
        let after = |from: Timestamp, span| from.checked_add(span).unwrap_or(Timestamp::MAX);
        after(self.opened, LONGEST).min(after(self.seen, IDLE))
    }

    /// Whether it was got with this token, and not with one of the same name.
    pub(super) fn is_of(&self, token: &Token) -> bool {
        verify_slices_are_equal(self.mark.as_bytes(), mark(token).as_bytes()).is_ok()
    }

    /// The same, used now; nothing if that is known to the minute.
    pub(super) fn touched(&self) -> Option<Self> {
        let now = Timestamp::now();
        (now.duration_since(self.seen) >= MINUTE).then(|| Self { seen: now, ..self.clone() })
    }
}

fn mark(token: &Token) -> String {
    URL_SAFE_NO_PAD.encode(sha256(&token.digest))
}

/// Whether cookies are bound to `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieScheme {
    /// They are, and to this host: `__Host-` (RFC 6265bis 4.1.3.2).
    Https,
    /// On loopback.
    Http,
}

impl CookieScheme {
    /// The name of a session's cookie.
    pub(super) fn session(self) -> &'static str {
        match self {
            Self::Https => "__Host-closegate-session",
            Self::Http => "closegate-session",
        }
    }

    /// The name of the cookie that binds an authorization to a browser.
    pub(super) fn authorization(self) -> &'static str {
        match self {
            Self::Https => "__Host-closegate-oauth",
            Self::Http => "closegate-oauth",
        }
    }

    /// A cookie that no script reads.
    pub(super) fn cookie<'c>(self, name: &'c str, value: String, same_site: SameSite) -> cookie::CookieBuilder<'c> {
        Cookie::build((name, value)).path("/").http_only(true).same_site(same_site).secure(self == Self::Https)
    }

    /// `Set-Cookie` that takes one away.
    pub(super) fn without(self, name: &str, same_site: SameSite) -> String {
        self.cookie(name, String::new(), same_site).max_age(cookie::time::Duration::ZERO).build().to_string()
    }
}

/// The header in which state-changing requests by cookie repeat what `GET /api/v1/session` told them.
pub(super) const CSRF: &str = "closegate-csrf";
const LONGEST: SignedDuration = SignedDuration::from_hours(12);
const IDLE: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::super::model::Role;
    use super::*;

    fn token(digest: u8) -> Token {
        Token { name: "ops".to_owned(), role: Role::Admin, digest: [digest; 32] }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| (http::HeaderName::from_static(name), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_pass_is_one_cookie_of_the_right_name() {
        let pass = Pass::draw().unwrap();
        let (text, https) = (pass.0.as_str(), CookieScheme::Https);
        let found = |line: &str| Pass::of(&headers(&[("cookie", line)]), https).map(|pass| pass.id());
        assert_eq!(found(&format!("a=b; __Host-closegate-session={text}; c=d")), Some(pass.id()));
        for wrong in [
            format!("closegate-session={text}"),
            format!("__Host-closegate-session={text}; __Host-closegate-session={text}"),
            "__Host-closegate-session=short".to_owned(),
            String::new(),
        ] {
            assert_eq!(found(&wrong), None, "{wrong}");
        }
        let cookie = pass.cookie(https);
        for part in ["__Host-closegate-session=", "HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("Domain") && !pass.cookie(CookieScheme::Http).contains("Secure"), "{cookie}");
    }

    #[test]
    fn a_request_by_cookie_is_confirmed_by_what_only_the_page_knows() {
        let (pass, other) = (Pass::draw().unwrap(), Pass::draw().unwrap());
        assert!(pass.is_confirmed_by(&headers(&[(CSRF, &pass.csrf())])));
        for wrong in [vec![], vec![(CSRF, "")], vec![(CSRF, other.0.as_str())], vec![(CSRF, pass.0.as_str())]] {
            assert!(!pass.is_confirmed_by(&headers(&wrong)));
        }
        let csrf = pass.csrf();
        assert!(!pass.is_confirmed_by(&headers(&[(CSRF, &csrf), (CSRF, &csrf)])));
    }

    #[test]
    fn a_session_ends_by_idleness_by_age_and_with_its_token() {
        let fresh = Session::begin(&token(1));
        assert!(fresh.is_of(&token(1)) && !fresh.is_of(&token(2)));
        assert_eq!(fresh.until(), fresh.opened + IDLE);
        assert_eq!(fresh.touched(), None, "known to the minute");
        let old = Session { opened: fresh.opened - LONGEST + MINUTE, ..fresh };
        assert_eq!(old.until(), old.opened + LONGEST);
        let idle = Session { seen: old.seen - MINUTE, ..old };
        assert!(idle.touched().is_some_and(|touched| touched.seen > idle.seen));
    }

    #[tokio::test]
    async fn sessions_in_memory_are_forgotten_when_their_time_is_over() {
        let (sessions, session) = (InMemory::default(), Session::begin(&token(1)));
        let now = Timestamp::now();
        sessions.keep([1; 32], session.clone(), now + MINUTE).await.unwrap();
        sessions.keep([2; 32], session.clone(), now - MINUTE).await.unwrap();
        assert_eq!(sessions.find([1; 32]).await.unwrap(), Some(session.clone()));
        assert_eq!(sessions.find([2; 32]).await.unwrap(), None);
        let again = Session { seen: now + MINUTE, ..session.clone() };
        assert!(sessions.prolong([1; 32], again.clone(), now + MINUTE).await.unwrap());
        assert_eq!(sessions.find([1; 32]).await.unwrap(), Some(again.clone()));
        assert!(!sessions.prolong([2; 32], again.clone(), now + MINUTE).await.unwrap(), "its time was over");
        sessions.forget([1; 32]).await.unwrap();
        assert!(!sessions.prolong([1; 32], again, now + MINUTE).await.unwrap(), "it was ended");
        assert_eq!(sessions.find([1; 32]).await.unwrap(), None);
    }
}
