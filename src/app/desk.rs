//! What the admin API of a running gateway works with: tokens, sessions in the store, the link of the first run.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::manage::by_store;
use super::secrets::Fault;
use crate::admin::model::{Entrance, Place, Role};
use crate::admin::{Answer, House, Session, SessionId, Sessions, Token, Tokens};
use crate::config::{Config, SecretRef, TokenRole};
use crate::edge::Local;
use crate::store::{Passing, Purpose, Store};
use crate::vault::{self, Supply, Warning, Withheld};

/// Reads the tokens of the configuration; with none there makes one, `admin`, and keeps it in `data_dir`.
pub(super) async fn tokens(config: &Config) -> Result<(Tokens, Vec<Warning>), Vec<Fault>> {
    let supply = Supply::new(Withheld::of(config), None);
    let (mut tokens, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (name, token) in &config.admin.tokens {
        let role = match token.role {
            TokenRole::Admin => Role::Admin,
            TokenRole::Viewer => Role::Viewer,
        };
        match read(&format!("admin.tokens.{name}.secret"), &token.secret, &supply).await {
            Ok((digest, warning)) => {
                warnings.extend(warning);
                tokens.push(Token { name: name.to_string(), role, digest });
            }
            Err(fault) => faults.push(fault),
        }
    }
    if config.admin.tokens.is_empty() {
        let file = config.data_dir.join(FILE);
        match made(&file) {
            Ok(()) => match read("admin.tokens", &SecretRef::File(file), &supply).await {
                Ok((digest, warning)) => {
                    warnings.extend(warning);
                    tokens.push(Token { name: NAME.to_owned(), role: Role::Admin, digest });
                }
                Err(fault) => faults.push(fault),
            },
            Err(error) => warnings.push(Warning {
                key: "admin.tokens".to_owned(),
                what: format!("no token can be kept in `{}` ({}): nobody can sign in", file.display(), error.kind()),
                hint: "let this user write to `data_dir`, or set `[admin.tokens.NAME] secret`",
            }),
        }
    }
    if faults.is_empty() { Ok((Tokens::new(tokens), warnings)) } else { Err(faults) }
}

async fn read(key: &str, secret: &SecretRef, supply: &Supply) -> Result<([u8; 32], Option<Warning>), Fault> {
    let (text, warning) = vault::digest(key, secret, supply).await?;
    let digest = text.digest.ok_or_else(|| Fault {
        key: key.to_owned(),
        what: "holds no token".to_owned(),
        hint: "16 or more visible ASCII characters",
    })?;
    Ok((digest, warning))
}

/// Makes the file of the token `admin`, which only this user can read, unless it is there.
fn made(file: &Path) -> io::Result<()> {
    if file.exists() {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| io::Error::other("no random numbers"))?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut new) => new.write_all(text.as_bytes()).and_then(|()| new.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sessions in the store: of all replicas.
pub(super) struct Stored(pub(super) Store);

impl Sessions for Stored {
    fn keep(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, ()> {
        Box::pin(async move {
            let passing = Passing { body: serde_json::json!(session), sealed: None, expires_at: until };
            self.0.remember(Purpose::Session, id, &passing).await.map_err(|fault| by_store(&fault))
        })
    }

    fn find(&self, id: SessionId) -> Answer<'_, Option<Session>> {
        Box::pin(async move {
            let found = self.0.recall(Purpose::Session, id).await.map_err(|fault| by_store(&fault))?;
            Ok(found.and_then(|passing| serde_json::from_value(passing.body).ok()))
        })
    }

    fn forget(&self, id: SessionId) -> Answer<'_, ()> {
        Box::pin(async move { self.0.forget(Purpose::Session, id).await.map_err(|fault| by_store(&fault)) })
    }
}

/// The names of the admin listener.
pub(super) fn house(config: &Config) -> House {
    House {
        public_url: config.admin.public_url.clone(),
        hosts: config.admin.hosts.clone(),
        address: Some(config.admin.address.ip()),
    }
}

/// Where tools reach the gateway: each socket under the label of its listener.
pub(super) fn place(config: &Config, sockets: &[(String, Local)]) -> Place {
    let entrance = |(label, local): &(String, Local)| {
        let named = config.all_listeners().find(|named| named.label == label)?;
        let address = match local {
            Local::Tcp(address) => address.to_string(),
            Local::Unix(path) => format!("unix:{}", path.as_ref()?.display()),
        };
        let (tls, hosts) = (named.listener.tls.is_some(), named.listener.hosts.clone());
        Some(Entrance {
            name: label.clone(),
            address,
            tls,
            hosts: hosts.into_iter().map(|host| host.to_string()).collect(),
        })
    };
    Place {
        public_url: config.admin.public_url.as_ref().map(ToString::to_string),
        listeners: sockets.iter().filter_map(entrance).collect(),
        ..Place::default()
    }
}

/// The address of the page, as a browser on this machine or outside reaches it.
pub(super) fn page(config: &Config, listening: std::net::SocketAddr) -> String {
    if let Some(url) = &config.admin.public_url {
        return format!("{url}/");
    }
    let scheme = if config.admin.tls.is_some() { "https" } else { "http" };
    let admin = crate::config::Admin { address: listening, ..config.admin.clone() };
    format!("{scheme}://{}/", crate::admin::reachable(&admin))
}

/// The token that is made where the configuration has none.
const NAME: &str = "admin";
/// Its file in `data_dir`.
const FILE: &str = "admin.token";
