//! Where tools reach the gateway.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// Where browsers reach the admin listener from outside: `[admin] public_url`.
    #[schema(example = "https://gate.example.com")]
    pub public_url: Option<String>,
    /// Where it listens for tools.
    pub listeners: Vec<Entrance>,
}

/// A listener for tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entrance {
    /// What metrics and `route explain` call it.
    #[schema(example = "default")]
    pub name: String,
    /// Where it is bound: an address with its port, or `unix:PATH`.
    #[schema(example = "127.0.0.1:8080")]
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The names that it answers to, where they are listed.
    pub hosts: Vec<String>,
}

impl Default for Place {
    /// A gateway that does not say where it listens.
    fn default() -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), public_url: None, listeners: Vec::new() }
    }
}
