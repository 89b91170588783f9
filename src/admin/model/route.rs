//! Routes: which prefix is sent with which credential.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::{Source, Version};

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteView {
    /// Its name.
    #[schema(example = "sales")]
    pub name: String,
    /// Stripped from the path.
    #[schema(example = "/sales")]
    pub prefix: String,
    /// As whom requests are sent.
    #[schema(example = "sales")]
    pub credential: String,
    /// Where they are sent.
    #[schema(example = "https://api.close.com")]
    pub upstream: String,
    /// Rules of what may be asked; with any, the rest is refused.
    #[schema(example = json!(["GET,HEAD /api/v1/**"]))]
    pub allow: Vec<String>,
    /// Rules of what may not be asked.
    pub deny: Vec<String>,
    /// Whether callers need no key on loopback and Unix sockets.
    pub anonymous: bool,
    /// Where it was declared.
    pub source: Source,
    /// When it was added; unknown for what the configuration declares.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// The version for `If-Match`.
    pub version: Version,
}

/// A route to add. What is left out has the default that it has in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// Its name: `[a-z0-9][a-z0-9-]{0,62}`.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$", example = "sales-read")]
    pub name: String,
    /// Stripped from the path; by default `/NAME`.
    #[serde(default)]
    #[schema(example = "/sales-read")]
    pub prefix: Option<String>,
    /// As whom requests are sent; by default the credential of the route's name.
    #[serde(default)]
    #[schema(example = "sales")]
    pub credential: Option<String>,
    /// Where they are sent; by default `[upstream] url`.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Rules of what may be asked: `METHOD[,METHOD] PATTERN`.
    #[serde(default)]
    #[schema(example = json!(["GET,HEAD /api/v1/**"]))]
    pub allow: Vec<String>,
    /// Rules of what may not be asked.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Whether callers need no key on loopback and Unix sockets.
    #[serde(default)]
    pub anonymous: bool,
}

/// A managed route as it is to be from now on: what is left out goes back to its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Stripped from the path; by default `/NAME`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// As whom requests are sent; by default the credential of the route's name.
    #[serde(default)]
    pub credential: Option<String>,
    /// Where they are sent; by default `[upstream] url`.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Rules of what may be asked.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Rules of what may not be asked.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Whether callers need no key on loopback and Unix sockets.
    #[serde(default)]
    pub anonymous: bool,
}

impl NewRoute {
    /// Its name, and the rest.
    pub fn into_parts(self) -> (String, RouteSettings) {
        let Self { name, prefix, credential, upstream, allow, deny, anonymous } = self;
        (name, RouteSettings { prefix, credential, upstream, allow, deny, anonymous })
    }
}
