//! What the records of the store hold, beside what is sealed: typed, so that a record which cannot be read is found out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::admin::model::{CredentialMethod, KeySettings, Mode, Organization, RouteSettings, User};
use crate::config::{Addition, Kind, SecretRef};
use crate::id::CredentialName;
use crate::vault::Introduction;

/// A credential; its secret is sealed beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct CredentialBody {
    pub(super) description: Option<String>,
    pub(super) method: Method,
    /// Which of its successive secrets is sealed with it; the vault asks for that one.
    pub(in crate::app) secret: u64,
    pub(super) created_at: Timestamp,
    /// When Close accepted the secret; none while it could not be asked.
    pub(super) verified_at: Option<Timestamp>,
    pub(super) organization: Option<Organization>,
    pub(super) user: Option<User>,
    /// What Close shows of an API key.
    pub(super) key_id: Option<String>,
}

/// How a credential authenticates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    ApiKey,
    Bearer,
    Basic {
        username: String,
    },
    Oauth2 {
        client_id: String,
        redirect_uri: Option<String>,
        authorization_url: Option<String>,
        token_url: Option<String>,
        revocation_url: Option<String>,
    },
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct RouteBody {
    pub(super) settings: RouteSettings,
    pub(super) created_at: Timestamp,
}

/// A gateway key; of its texts the digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct KeyBody {
    pub(super) settings: KeySettings,
    /// The part of its text that is no secret.
    pub(super) id: String,
    /// `sha256:` and the digest of its text.
    pub(super) hash: String,
    /// The text that it had before, while that goes on.
    pub(super) former: Option<FormerText>,
    pub(super) created_at: Timestamp,
    pub(super) revoked_at: Option<Timestamp>,
}

/// A text that a key had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FormerText {
    pub(super) hash: String,
    pub(super) until: Timestamp,
}

impl CredentialBody {
    /// Takes over what Close says of it.
    pub(super) fn introduce(&mut self, at: Timestamp, introduction: Option<Introduction>) {
        self.verified_at = Some(at);
        if let Some(introduction) = introduction {
            (self.organization, self.user) = told(introduction);
        }
    }

    /// The table that the configuration has for it.
    pub(in crate::app) fn addition(&self, name: &CredentialName) -> Addition {
        let reference = SecretRef::Stored { credential: name.clone(), version: self.secret };
        let mut settings = Map::new();
        settings.insert("description".to_owned(), json!(self.description));
        let setting = match &self.method {
            Method::ApiKey => "api_key",
            Method::Bearer => "bearer",
            Method::Basic { username } => {
                settings.insert("basic".to_owned(), json!({ "username": username }));
                "basic.password"
            }
            Method::Oauth2 { client_id, redirect_uri, authorization_url, token_url, revocation_url } => {
                let app = json!({
                    "client_id": client_id,
                    "redirect_uri": redirect_uri,
                    "authorization_url": authorization_url,
                    "token_url": token_url,
                    "revocation_url": revocation_url,
                });
                settings.insert("oauth2".to_owned(), app);
                "oauth2.client_secret"
            }
        };
        Addition::new(Kind::Credential, name.as_str(), settings).with_secret(setting, reference)
    }
}

impl Method {
    pub(super) fn shown(&self) -> CredentialMethod {
        match self {
            Self::ApiKey => CredentialMethod::ApiKey,
            Self::Bearer => CredentialMethod::Bearer,
            Self::Basic { .. } => CredentialMethod::Basic,
            Self::Oauth2 { .. } => CredentialMethod::Oauth2,
        }
    }
}

impl RouteBody {
    /// The table that the configuration has for it.
    pub(in crate::app) fn addition(&self, name: &str) -> Addition {
        let RouteSettings { prefix, credential, upstream, allow, deny, anonymous } = &self.settings;
        let settings = json!({
            "prefix": prefix,
            "credential": credential,
            "upstream": upstream,
            "allow": allow,
            "deny": deny,
            "anonymous": anonymous,
        });
        Addition::new(Kind::Route, name, entries(settings))
    }
}

impl KeyBody {
    /// The table that the configuration has for it; none once it is revoked.
    pub(in crate::app) fn addition(&self, name: &str) -> Option<Addition> {
        if self.revoked_at.is_some() {
            return None;
        }
        let KeySettings {
            description,
            routes,
            scopes,
            allow,
            deny,
            rate,
            burst,
            concurrency,
            daily_quota,
            expires_at,
            mode,
        } = &self.settings;
        let former = self.former.as_ref().map(|former| json!({ "hash": former.hash, "until": former.until }));
        let settings = json!({
            "description": description,
            "hash": self.hash,
            "former": former,
            "created": self.created_at,
            "routes": routes,
            "scopes": scopes,
            "allow": allow,
            "deny": deny,
            "rate": rate,
            "burst": burst,
            "concurrency": concurrency,
            "daily_quota": daily_quota,
            "expires": expires_at,
            "mode": (*mode == Mode::Observe).then_some("observe"),
        });
        Some(Addition::new(Kind::Key, name, entries(settings)))
    }
}

/// What Close said, as it is shown.
pub(super) fn told(introduction: Introduction) -> (Option<Organization>, Option<User>) {
    let Introduction { organization, user } = introduction;
    (
        organization.map(|one| Organization { id: one.id, name: one.name }),
        user.map(|one| User { id: one.id, name: one.name, email: one.email }),
    )
}

/// How a digest stands in a record, as in the file.
pub(super) fn hash(digest: [u8; 32]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn entries(settings: Value) -> Map<String, Value> {
    match settings {
        Value::Object(entries) => entries,
        _ => Map::new(),
    }
}
