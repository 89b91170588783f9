//! Credentials of Close, as people see and give them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::checked;
use super::source::{Source, Version};
use crate::vault::SecretText;

/// A credential without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialView {
    /// Its name.
    #[schema(example = "sales")]
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// How it authenticates.
    pub method: CredentialMethod,
    /// Whether it can be used.
    pub state: CredentialState,
    /// Why it is in that state, where there is more to say.
    pub reason: Option<String>,
    /// Whether Close has ever accepted it.
    pub standing: Standing,
    /// The organization it acts in, as Close told at the last verification.
    pub organization: Option<Organization>,
    /// The user it acts as, as Close told at the last verification.
    pub user: Option<User>,
    /// The public part of an API key: what stands before the dot, as Close shows it.
    pub key_id: Option<String>,
    /// The client id of an OAuth app.
    pub client_id: Option<String>,
    /// Where Close sends a browser back to; to be entered in the OAuth app.
    pub redirect_uri: Option<String>,
    /// The routes that send with it.
    pub routes: Vec<String>,
    /// Where it was declared.
    pub source: Source,
    /// When it was added; unknown for what the configuration declares.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// When a request was last sent with it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// When the access token of OAuth 2.0 expires; it is refreshed before that.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The version for `If-Match`.
    pub version: Version,
}

/// How a credential authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialMethod {
    /// An API key of Close.
    ApiKey,
    /// OAuth 2.0: a grant that the gateway keeps fresh.
    Oauth2,
    /// A token made elsewhere.
    Bearer,
    /// A user name and a password.
    Basic,
}

/// Whether a credential can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    /// In use.
    Ready,
    /// In use; Close answered 401 to a request, and it is being looked into.
    Suspect,
    /// Not in use: Close refuses it.
    Rejected,
    /// Not in use: its secret cannot be read.
    Unavailable,
    /// A new access token is being fetched.
    Refreshing,
    /// Not in use: somebody has to authorize it at Close.
    NeedsAuthorization,
    /// Not in use: its grant is over.
    Dead,
    /// Not in use: somebody switched it off.
    Disabled,
}

/// Whether Close has ever accepted a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Close has accepted it.
    Verified,
    /// Close could not be asked yet.
    Unverified,
}

/// An organization of Close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Organization {
    /// Close's id.
    #[schema(example = "orga_example")]
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

/// A user of Close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Close's id.
    #[schema(example = "user_example")]
    pub id: Option<String>,
    /// First and last name.
    pub name: Option<String>,
    /// The mail address.
    pub email: Option<String>,
}

/// A credential to add. It is verified at Close; a credential that Close refuses is not added.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// Its name: `[a-z0-9][a-z0-9-]{0,62}`.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$", example = "sales")]
    pub name: String,
    /// For people.
    #[serde(default, deserialize_with = "checked::text")]
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// How it authenticates, and with which secret.
    pub method: CredentialSecret,
}

/// How a new credential authenticates, and with which secret: exactly one of these.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialSecret {
    /// An API key of Close.
    ApiKey(SecretText),
    /// An OAuth app of Close.
    #[serde(deserialize_with = "checked::object")]
    Oauth2(NewOAuth2),
    /// A token made elsewhere.
    Bearer(SecretText),
    /// A user name and a password.
    #[serde(deserialize_with = "checked::object")]
    Basic(NewBasic),
}

/// An OAuth app, as Close shows it where it was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOAuth2 {
    /// The client id.
    #[serde(deserialize_with = "checked::word")]
    #[schema(example = "oa2client_example", min_length = 1, max_length = 500)]
    pub client_id: String,
    /// The client secret.
    pub client_secret: SecretText,
    /// Where Close sends a browser back to; by default `/oauth/callback` at `[admin] public_url`.
    #[serde(default)]
    pub redirect_uri: Option<String>,
    /// Where a browser authorizes; by default Close's.
    #[serde(default)]
    pub authorization_url: Option<String>,
    /// Where tokens are fetched; by default Close's.
    #[serde(default)]
    pub token_url: Option<String>,
    /// Where a grant is revoked; by default Close's.
    #[serde(default)]
    pub revocation_url: Option<String>,
}

/// A user name and a password.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBasic {
    /// The user name.
    #[serde(deserialize_with = "checked::word")]
    #[schema(min_length = 1, max_length = 500)]
    pub username: String,
    /// The password.
    pub password: SecretText,
}

/// What may be changed of a managed credential without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatedCredential {
    /// For people; nothing removes it.
    #[serde(default, deserialize_with = "checked::text")]
    #[schema(max_length = 500)]
    pub description: Option<String>,
}

/// A secret that takes the place of the one there is, once Close has accepted it: the API key, the token, the password or
/// the client secret, after the credential's method.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The new secret.
    pub secret: SecretText,
}

/// A credential that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removal {
    /// Its name.
    pub removed: String,
    /// What is left of it at Close, for people: the grant of an OAuth credential, where Close could not be told.
    pub left: Option<String>,
}

impl Removal {
    /// Nothing of it is left.
    pub fn whole(name: &impl fmt::Display) -> Self {
        Self { removed: name.to_string(), left: None }
    }

    /// Its grant is left at Close.
    pub fn with_grant_left(name: &impl fmt::Display, why: &str) -> Self {
        let left = format!("its grant could not be ended at Close: {why}");
        Self { left: Some(left), ..Self::whole(name) }
    }
}

/// What Close said of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// What it came to.
    pub verdict: Verdict,
    /// More, for people.
    pub detail: Option<String>,
    /// The credential as it is now.
    pub credential: CredentialView,
}

/// What a verification came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Close accepts it.
    Accepted,
    /// Close answered 401.
    Rejected,
    /// Close could not be asked, or answered something else.
    Undecided,
}

/// How an OAuth credential gets its grant: exactly one of these. Without a body, `start`.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Authorization {
    /// Gives the URL where a browser authorizes: the one that asks this, which gets a cookie.
    Start {},
    /// Gives a link besides, which begins it in the browser that opens it: once.
    Link {},
    /// The address that the browser was sent back to, with `code` and `state`, where it could not reach the gateway.
    RedirectUrl(String),
    /// Takes over a grant that somebody else has used until now.
    RefreshToken(SecretText),
}

/// An authorization that a person has to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Started {
    /// What to open in a browser.
    pub authorization_url: String,
    /// Where Close sends the browser back to.
    pub redirect_uri: String,
    /// The `state` in the URL: single-use.
    pub state: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// What to open instead, in whatever browser: it leads to the same page and back to the gateway. None where Close does not
    /// send browsers back to this listener. Whoever has it can authorize the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What a browser came back with from Close. A code is of no use without the secrets of the one who started it.
pub struct Returned {
    query: Zeroizing<String>,
    state: String,
    consent: Consent,
}

/// What the person said, or Close for them.
#[derive(Debug)]
pub enum Consent {
    /// Agreed: what is exchanged for tokens.
    Given(SecretText),
    /// Declined: the error code of RFC 6749 4.1.2.1, such as `access_denied`.
    Refused(String),
}

impl Returned {
    /// Reads the query of the address that Close sent a browser back to, or the whole address; nothing if a part is
    /// missing or stands there twice.
    pub fn parse(address: &str) -> Option<Self> {
        let query = address.split_once('?').map_or(address, |(_, query)| query);
        let query = query.split_once('#').map_or(query, |(query, _)| query).trim();
        let one = |name: &str| {
            let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
            let value = values.next().map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty());
            value.filter(|_| values.next().is_none())
        };
        let consent = match (one("code"), one("error")) {
            (Some(code), None) => Consent::Given(SecretText::new(Zeroizing::new(code))),
            (None, Some(error)) => Consent::Refused(error),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let query = Zeroizing::new(query.to_owned());
        Some(Self { query, state: one("state")?, consent })
    }

    /// The `state` of the URL that was opened.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// What the person said.
    pub fn consent(self) -> Consent {
        self.consent
    }

    /// The query as it came, to be handed on.
    pub fn query(&self) -> &str {
        &self.query
    }
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned").field("consent", &self.consent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_came_back_with_is_read_from_the_address_and_from_its_query() {
        for address in
            ["https://localhost/oauth/callback?code=a%2Fb&state=s#top", "state=s&code=a%2Fb", " ?code=x&state=s "]
        {
            let returned = Returned::parse(address).unwrap();
            assert_eq!(returned.state(), "s");
            assert!(matches!(returned.consent(), Consent::Given(_)), "{address}");
        }
        let declined = Returned::parse("https://localhost/?error=access_denied&state=s").unwrap();
        assert!(matches!(declined.consent(), Consent::Refused(error) if error == "access_denied"));
        for address in [
            "",
            "code=a",
            "state=s",
            "code=a&code=b&state=s",
            "code=a&state=s&state=t",
            "code=&state=s",
            "code=a&error=b&state=s",
        ] {
            assert!(Returned::parse(address).is_none(), "{address}");
        }
        assert!(!format!("{:?}", Returned::parse("code=planted&state=s")).contains("planted"));
    }
}
