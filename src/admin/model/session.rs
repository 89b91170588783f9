//! Who asks: a token's name and role, and the way it was presented.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who does something, as events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of a token, or of a user of the command line.
    pub name: String,
    /// The way.
    pub way: Way,
    /// From where.
    pub from: Option<IpAddr>,
}

/// The way in which somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A bearer token in the request.
    Token,
    /// A cookie that was got with a token.
    Session,
    /// The command line, on the store itself.
    CommandLine,
    /// The gateway itself.
    Gateway,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// See everything, change nothing.
    Viewer,
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// The token's name.
    #[schema(example = "admin")]
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The way it was presented.
    pub way: Way,
    /// What state-changing requests of a session must repeat in `closegate-csrf`; nothing for a token.
    pub csrf: Option<String>,
}

impl Actor {
    /// The name as events tell it: `admin`, `cli:alice`, `gateway`.
    pub fn label(&self) -> String {
        match self.way {
            Way::Token | Way::Session => self.name.clone(),
            Way::CommandLine => format!("cli:{}", self.name),
            Way::Gateway => "gateway".to_owned(),
        }
    }
}
