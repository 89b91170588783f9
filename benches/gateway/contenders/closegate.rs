//! closegate itself, with some of its features or all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{CREDENTIAL, GATEWAY_KEY, Place, free_port};
use crate::Result;

/// `upstream.http`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// By load.
    Auto,
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// What can be left out; each stands on those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// Who has no gateway key is refused.
    Key,
    /// Scopes, and rules that allow and deny.
    Policy,
    /// A rate, a concurrency and a day's quota, none of which is reached.
    Limits,
    /// Bodies are searched for the credential.
    Redaction,
    /// A line of JSON a request.
    Records,
}

impl Feature {
    /// In the order in which they are added.
    pub(crate) const ALL: [Self; 5] = [Self::Key, Self::Policy, Self::Limits, Self::Redaction, Self::Records];
    /// With it all are there.
    pub(crate) const LAST: Self = Self::Records;

    /// As the table names closegate with it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Key => "+ key",
            Self::Policy => "+ policy",
            Self::Limits => "+ limits",
            Self::Redaction => "+ redaction",
            Self::Records => "+ records",
        }
    }
}

/// closegate with all its features, and with more tables behind those of its configuration.
pub(crate) fn command_with(place: &Place<'_>, port: u16, more: &str) -> Result<Command> {
    command_of(place, &(configuration(place, port, Http::Auto, Some(Feature::LAST))? + more))
}

/// closegate with its features up to this one.
pub(super) fn command(place: &Place<'_>, port: u16, http: Http, last: Option<Feature>) -> Result<Command> {
    command_of(place, &configuration(place, port, http, last)?)
}

/// closegate with this configuration, which goes into the file `closegate.toml`.
fn command_of(place: &Place<'_>, configuration: &str) -> Result<Command> {
    let file = place.folder.join("closegate.toml");
    fs::write(&file, configuration)?;
    let mut command = Command::new(place.program);
    command.env_clear().arg("--config").arg(file).arg("serve");
    Ok(command)
}

fn configuration(place: &Place<'_>, port: u16, http: Http, last: Option<Feature>) -> Result<String> {
    let has = |feature| Some(feature) <= last;
    let folder = place.folder.display();
    secret(&place.folder.join("credential"), CREDENTIAL)?;
    secret(&place.folder.join("key"), GATEWAY_KEY)?;
    let http = match http {
        Http::Auto => "auto",
        Http::H1 => "h1",
        Http::H2 => "h2",
    };
    let redact = if has(Feature::Redaction) { "plain" } else { "off" };
    let access = if has(Feature::Records) { "json" } else { "off" };
    let mut configuration = format!(
        r#"data_dir = "{folder}/data"
[listen]
address = "127.0.0.1:{port}"
workers = 1
[admin]
address = "127.0.0.1:{}"
[store]
url = "memory:"
[upstream]
url = "https://localhost"
address = "127.0.0.1:{}"
ca = "{folder}/ca.pem"
http = "{http}"
redact = "{redact}"
[log]
access = "{access}"
[credentials.bench]
api_key = {{ file = "{folder}/credential" }}
[routes.bench]
prefix = "/"
credential = "bench"
"#,
        free_port()?,
        place.origin
    );
    if has(Feature::Policy) {
        configuration.push_str("allow = [\"* /api/v1/**\"]\ndeny = [\"* /api/v1/export/**\"]\n");
    }
    if has(Feature::Key) {
        configuration.push_str("[keys.bench]\nroutes = [\"bench\"]\n");
        configuration.push_str(&format!("secret = {{ file = \"{folder}/key\" }}\n"));
    }
    if has(Feature::Policy) {
        configuration.push_str("scopes = [\"read\", \"write\"]\nallow = [\"GET,POST /api/v1/lead\"]\n");
        configuration.push_str("deny = [\"* /api/v1/lead/merge\"]\n");
    }
    if has(Feature::Limits) {
        configuration.push_str("rate = \"1000000/s\"\nconcurrency = 10000\ndaily_quota = 1000000000\n");
    }
    Ok(configuration)
}

/// A file that this user alone may read.
pub(crate) fn secret(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
