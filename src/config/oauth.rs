//! `oauth2 = { … }` of a credential: an app of Close, and the four places that its flow leads to.

use std::fmt;

use http::Uri;

use super::finding::Wrong;
use super::kinds;
use super::raw::Node;
use super::walk::{Section, Walk};
use super::{CredentialKind, SecretRef, secret};
use crate::origin::{Origin, OriginFault, Reach};

/// An OAuth 2.0 app (RFC 6749): who it is, and where its flow leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2 {
    /// Its public id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretRef,
    /// Where Close sends a person back to, as it was registered with the app.
    pub redirect_uri: Endpoint,
    /// Where a person consents.
    pub authorization_url: Endpoint,
    /// Where tokens are given.
    pub token_url: Endpoint,
    /// Where a grant is ended.
    pub revocation_url: Endpoint,
}

impl OAuth2 {
    /// An app of Close; the token endpoint's name may lead as far as `reach` says.
    pub fn of_close(client_id: String, client_secret: SecretRef, redirect_uri: Endpoint, reach: Reach) -> Self {
        Self {
            client_id,
            client_secret,
            redirect_uri,
            authorization_url: Endpoint::known("https://app.close.com", "/oauth2/authorize/"),
            token_url: Endpoint::known("https://api.close.com", "/oauth2/token/").reaching(reach),
            revocation_url: Endpoint::known("https://api.close.com", "/oauth2/revoke/").reaching(reach),
        }
    }

    /// The four places, each with the setting that says it.
    pub(super) fn places(&self) -> [(&'static str, &Endpoint); 4] {
        [
            ("redirect_uri", &self.redirect_uri),
            ("authorization_url", &self.authorization_url),
            ("token_url", &self.token_url),
            ("revocation_url", &self.revocation_url),
        ]
    }
}

/// One URL, to the last byte: unlike that of an upstream its path may end in a slash, and it may have a query.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: Origin,
    target: String,
}

impl Endpoint {
    /// Takes `https://host[:port]/path[?query]` apart.
    pub fn parse(url: &str) -> Result<Self, OriginFault> {
        if url.contains('#') {
            return Err(OriginFault::Query);
        }
        let uri: Uri = url.parse().map_err(|_| OriginFault::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(OriginFault::Malformed);
        };
        let origin = Origin::parse(&format!("{scheme}://{authority}"))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { origin, target })
    }

    /// Where Close sends people back to when nothing else was said: a page that is not there, whose URL they paste.
    pub fn pasted_back() -> Self {
        Self::known("https://localhost", CALLBACK)
    }

    /// The callback below a URL that people reach the admin listener by.
    pub fn callback_of(public: &Origin) -> Self {
        Self { origin: public.clone().without_base(), target: format!("{}{CALLBACK}", public.base()) }
    }

    fn known(origin: &str, target: &str) -> Self {
        let origin = Origin::parse(origin).unwrap_or_else(|_| Origin::close());
        Self { origin, target: target.to_owned() }
    }

    fn reaching(self, reach: Reach) -> Self {
        Self { origin: self.origin.reaching(reach), ..self }
    }

    /// Scheme, host and port, and how far the name may lead.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Reads the table; `redirect` is where people come back to when it does not say.
pub(super) fn read(
    walk: &mut Walk,
    path: String,
    node: &Node,
    redirect: &Endpoint,
    reach: Reach,
) -> Option<CredentialKind> {
    let mut at = Section::of(walk, path, node);
    if !at.is_table() {
        return None;
    }
    let client_id = at.optional(walk, "client_id", client_id);
    if at.count(&["client_id"]) == 0 {
        let hint = "`oauth2 = { client_id = \"oa2client_…\", client_secret = { file = \"PATH\" } }`";
        walk.fault(at.key("client_id"), at.place().clone(), Wrong::new("missing", hint));
    }
    let client_secret = secret::required(walk, &mut at, "client_secret");
    let redirect_uri = at.or(walk, "redirect_uri", redirect.clone(), endpoint);
    let authorization_url = at.optional(walk, "authorization_url", endpoint);
    let token_url = at.optional(walk, "token_url", endpoint);
    let revocation_url = at.optional(walk, "revocation_url", endpoint);
    at.close(walk);
    let known = OAuth2::of_close(client_id?, client_secret?, redirect_uri, reach);
    Some(CredentialKind::OAuth2(Box::new(OAuth2 {
        authorization_url: authorization_url.unwrap_or(known.authorization_url),
        token_url: token_url.map_or(known.token_url, |url| url.reaching(reach)),
        revocation_url: revocation_url.map_or(known.revocation_url, |url| url.reaching(reach)),
        ..known
    })))
}

/// RFC 6749 A.1, without blanks, and nothing that must not be printed.
fn client_id(node: &Node) -> Result<String, Wrong> {
    let id = kinds::text(node)?;
    let key = ["api_", "cgk_"].iter().any(|mark| id.starts_with(mark));
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) || key {
        let hint = "the public id that Close shows beside the app, such as `\"oa2client_…\"`; the secret belongs into `client_secret`";
        return Err(Wrong::new("expected the id of an OAuth app", hint));
    }
    Ok(id)
}

fn endpoint(node: &Node) -> Result<Endpoint, Wrong> {
    Endpoint::parse(&kinds::text(node)?).map_err(|fault| {
        let what = match fault {
            OriginFault::Userinfo => "this URL carries no user name and no password",
            OriginFault::Query => "this URL has no fragment",
            OriginFault::Malformed | OriginFault::Scheme => "expected a URL of `https`",
        };
        Wrong::new(what, "such as `\"https://api.close.com/oauth2/token/\"`")
    })
}

const CALLBACK: &str = "/oauth/callback";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_keeps_its_path_to_the_last_byte() {
        for url in ["https://api.close.com/oauth2/token/", "http://127.0.0.1:9/x?y=z", "https://h/"] {
            assert_eq!(Endpoint::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(Endpoint::parse("https://h").unwrap().target(), "/");
        for bad in ["", "/x", "h/x", "https://u:p@h/x", "ftp://h/x", "https://h/#x", "https://"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn people_come_back_below_the_public_url_or_paste() {
        let public = Origin::parse("https://gate.example.com/close/").unwrap();
        assert_eq!(Endpoint::callback_of(&public).to_string(), "https://gate.example.com/close/oauth/callback");
        assert_eq!(Endpoint::pasted_back().to_string(), "https://localhost/oauth/callback");
        let app =
            OAuth2::of_close("id".to_owned(), SecretRef::Env("S".to_owned()), Endpoint::pasted_back(), Reach::Public);
        let places = app.places().map(|(_, place)| place.to_string());
        assert_eq!(
            places[1..],
            [
                "https://app.close.com/oauth2/authorize/",
                "https://api.close.com/oauth2/token/",
                "https://api.close.com/oauth2/revoke/"
            ]
        );
    }
}
