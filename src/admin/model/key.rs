//! Gateway keys: who may call, what, how often and until when.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::checked;
use super::source::{Source, Version};

/// A gateway key without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Its name.
    #[schema(example = "reporting")]
    pub name: String,
    /// The part of its text that is no secret: `cgk_<id>_…`; unknown of a key that the configuration declares.
    #[schema(example = "7k2m9q0x")]
    pub id: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The routes it may use; a call without a prefix goes to the first.
    #[schema(example = json!(["sales"]))]
    pub routes: Vec<String>,
    /// What it may do. Nothing for a key of the configuration file that has none: it may do what its routes allow.
    #[schema(example = json!(["read"]))]
    pub scopes: Option<Vec<Scope>>,
    /// Rules of what it may ask; with any, the rest is refused.
    pub allow: Vec<String>,
    /// Rules of what it may not ask.
    pub deny: Vec<String>,
    /// How many requests, such as `20/s`.
    #[schema(example = "20/s")]
    pub rate: Option<String>,
    /// How many requests at one moment before `rate` holds.
    pub burst: Option<u32>,
    /// How many requests in flight at once.
    pub concurrency: Option<u32>,
    /// How many requests a day; a day begins at 00:00 UTC.
    pub daily_quota: Option<u32>,
    /// From when on it is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether scopes and rules are enforced.
    pub mode: Mode,
    /// The user whose processes need no secret on a Unix socket.
    pub peer_uid: Option<u32>,
    /// Whether it can be used.
    pub state: KeyState,
    /// Where it was declared.
    pub source: Source,
    /// When it was made; unknown for what the configuration declares.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// When it was last used.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// The version for `If-Match`.
    pub version: Version,
}

/// What a key may do; scopes do not include one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Make and change.
    Write,
    /// Delete.
    Delete,
    /// Send mail, text messages and the like.
    Send,
    /// Export.
    Export,
    /// Members, roles, webhooks, and whatever is not documented.
    Admin,
    /// All of them.
    #[serde(rename = "*")]
    All,
}

/// Whether a key's scopes and rules are enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// What they do not allow is refused.
    #[default]
    Enforce,
    /// What they do not allow is recorded, and passes.
    Observe,
}

/// Whether a key can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It can.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Its name: `[a-z0-9][a-z0-9-]{0,62}`.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$", example = "reporting")]
    pub name: String,
    /// For people.
    #[serde(default, deserialize_with = "checked::text")]
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// The routes it may use, at least one.
    #[serde(deserialize_with = "checked::some")]
    #[schema(min_items = 1, example = json!(["sales"]))]
    pub routes: Vec<String>,
    /// What it may do, at least one.
    #[serde(deserialize_with = "checked::some")]
    #[schema(min_items = 1, example = json!(["read"]))]
    pub scopes: Vec<Scope>,
    /// Rules of what it may ask: `METHOD[,METHOD] PATTERN`.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Rules of what it may not ask.
    #[serde(default)]
    pub deny: Vec<String>,
    /// How many requests: `20/s`, `600/m`, `1000/h`.
    #[serde(default)]
    #[schema(example = "20/s")]
    pub rate: Option<String>,
    /// How many requests at one moment before `rate` holds.
    #[serde(default, deserialize_with = "checked::count")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    pub burst: Option<u32>,
    /// How many requests in flight at once.
    #[serde(default, deserialize_with = "checked::count")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    pub concurrency: Option<u32>,
    /// How many requests a day.
    #[serde(default, deserialize_with = "checked::count")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    pub daily_quota: Option<u32>,
    /// From when on it is refused.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether scopes and rules are enforced; by default they are.
    #[serde(default)]
    pub mode: Mode,
}

/// A managed key as it is to be from now on, under the same text: what is left out goes back to its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// For people.
    #[serde(default, deserialize_with = "checked::text")]
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// The routes it may use, at least one.
    #[serde(deserialize_with = "checked::some")]
    #[schema(min_items = 1, example = json!(["sales"]))]
    pub routes: Vec<String>,
    /// What it may do, at least one.
    #[serde(deserialize_with = "checked::some")]
    #[schema(min_items = 1, example = json!(["read"]))]
    pub scopes: Vec<Scope>,
    /// Rules of what it may ask.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Rules of what it may not ask.
    #[serde(default)]
    pub deny: Vec<String>,
    /// How many requests: `20/s`, `600/m`, `1000/h`.
    #[serde(default)]
    pub rate: Option<String>,
    /// How many requests at one moment before `rate` holds.
    #[serde(default, deserialize_with = "checked::count")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    pub burst: Option<u32>,
    /// How many requests in flight at once.
    #[serde(default, deserialize_with = "checked::count")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    pub concurrency: Option<u32>,
    /// How many requests a day.
    #[serde(default, deserialize_with = "checked::count")]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    pub daily_quota: Option<u32>,
    /// From when on it is refused.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether scopes and rules are enforced.
    #[serde(default)]
    pub mode: Mode,
}

/// How a key is given another text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// How long the text before goes on, so that tools can be changed one by one: `0s` to 90 days, by default `24h`.
    #[serde(default)]
    #[schema(example = "24h", pattern = "^[0-9]{1,6}(ms|s|m|h|d)$")]
    pub overlap: Option<String>,
}

/// A key that was just made, with its text: shown this once, kept nowhere.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key.
    pub key: KeyView,
    /// Its text.
    #[schema(value_type = String, example = "cgk_7k2m9q0x_0123456789abcdefghjkmnpqrstvwxyz")]
    pub text: KeyText,
    /// What this changed for others: the routes that were open while no key was defined, and need one now.
    pub closed_routes: Vec<String>,
}

/// The text of a gateway key on its way to the one who asked for it; `Debug` does not show it.
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// Takes a text over.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Serialize for KeyText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl NewKey {
    /// Its name, and the rest.
    pub fn into_parts(self) -> (String, KeySettings) {
        let Self {
            name,
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
        } = self;
        let settings = KeySettings {
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
        };
        (name, settings)
    }
}
