//! Who may use the admin API: the tokens of the configuration, or the one that is made at the first start; and where
//! their sessions are kept.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::secrets::Fault;
use crate::admin::model::Role;
use crate::admin::{self, Answer, Refusal, Session, SessionId, Sessions, Token};
use crate::config::{Admin, Config, SecretRef, TokenRole};
use crate::store::{Passing, Purpose, StoreError};
use crate::task;
use crate::vault::{self, Archive, KeyText, Supply, Warning};

/// A setting of a token, and where its text is.
pub type TokenPlace = (String, SecretRef);

/// The token that the command line presents to the gateway of a configuration: the first that may change something, or the
/// one that was made. None where all that there are change nothing.
pub fn own_token(config: &Config) -> Option<TokenPlace> {
    let Admin { tokens, .. } = &config.admin;
    if tokens.is_empty() {
        return Some((MADE.to_owned(), SecretRef::File(made(&config.data_dir))));
    }
    let (name, token) = tokens.iter().find(|(_, token)| token.role == TokenRole::Admin)?;
    Some((setting(name.as_str()), token.secret.clone()))
}

/// The tokens of the configuration; everything that is wrong with them is said.
pub(super) async fn configured(config: &Config, supply: &Supply) -> Result<(Vec<Token>, Vec<Warning>), Vec<Fault>> {
    let (mut tokens, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (name, token) in &config.admin.tokens {
        let role = match token.role {
            TokenRole::Admin => Role::Admin,
            TokenRole::Viewer => Role::Viewer,
        };
        match vault::token_digest(&setting(name.as_str()), &token.secret, supply).await {
            Ok((digest, warning)) => {
                warnings.extend(warning);
                tokens.push(Token { name: name.to_string(), role, digest });
            }
            Err(fault) => faults.push(Fault::from(fault)),
        }
    }
    faults.extend(alike(&tokens));
    if faults.is_empty() { Ok((tokens, warnings)) } else { Err(faults) }
}

/// The tokens of a gateway that starts. Where the configuration has none, `admin` is made, in `data_dir`; where that
/// cannot be written to nobody has it but who follows the link of a first run, and it is said.
pub(super) async fn tokens(config: &Config, supply: &Supply) -> Result<(Vec<Token>, Vec<Warning>), Vec<Fault>> {
    if !config.admin.tokens.is_empty() {
        return configured(config, supply).await;
    }
    let folder = config.data_dir.clone();
    let path = match task::blocking(move || make(&folder)).await {
        Some(Ok(path)) => path,
        Some(Err(error)) => {
            let folder = config.data_dir.display();
            tracing::warn!(
                "nobody has a token of the admin API: none is configured, and none can be kept in `{folder}` ({error}); \
                 hint: add `[admin.tokens.NAME]`, or set `data_dir` to a folder to write to"
            );
            return Ok((Token::of_nobody("admin").into_iter().collect(), Vec::new()));
        }
        None => return Ok((Vec::new(), Vec::new())),
    };
    let (digest, warning) =
        vault::token_digest(MADE, &SecretRef::File(path), supply).await.map_err(|fault| vec![fault.into()])?;
    let token = Token { name: "admin".to_owned(), role: Role::Admin, digest };
    Ok((vec![token], warning.into_iter().collect()))
}

/// What is both a token and a gateway key: either would let its holder in where the other should.
pub(super) fn shared(tokens: &[Token], keys: &[KeyText]) -> Vec<Fault> {
    let is_key = |token: &&Token| keys.iter().any(|key| key.digest == Some(token.digest));
    let fault = |token: &Token| Fault {
        key: setting(&token.name),
        what: "the same text as a gateway key".to_owned(),
        hint: "give the admin API a token of its own",
    };
    tokens.iter().filter(is_key).map(fault).collect()
}

/// Two tokens with one text: nobody could say who has it.
fn alike(tokens: &[Token]) -> Vec<Fault> {
    let mut known = BTreeMap::new();
    let mut faults = Vec::new();
    for token in tokens {
        if let Some(other) = known.insert(token.digest, &token.name) {
            let what = format!("the same text as `{}`", setting(other));
            faults.push(Fault { key: setting(&token.name), what, hint: "give everybody a token of their own" });
        }
    }
    faults
}

fn setting(name: &str) -> String {
    format!("admin.tokens.{name}.secret")
}

fn made(folder: &Path) -> PathBuf {
    folder.join("admin.token")
}

/// Makes the token, unless there is one: whole or not at all, for its owner alone.
fn make(folder: &Path) -> io::Result<PathBuf> {
    let path = made(folder);
    if path.try_exists()? {
        return Ok(path);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let text = admin::draw_token().ok_or(ErrorKind::Other)?;
    let new = folder.join(format!(".admin.token.{}", std::process::id()));
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // Unlike a rename it takes the place of no token that another process has made meanwhile.
        std::fs::hard_link(&new, &path)
    };
    let outcome = written();
    // It may not be there.
    let _ = std::fs::remove_file(&new);
    match outcome {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        Ok(()) => {
            tracing::info!("a token of the admin API was made; it lies in `{}`", path.display());
            Ok(path)
        }
        Err(_) => Ok(path),
    }
}

/// Sessions in the store: also those that another replica has begun.
pub(super) struct StoredSessions(pub(super) Arc<Archive>);

impl Sessions for StoredSessions {
    fn keep(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, ()> {
        Box::pin(async move {
            let body = serde_json::to_value(&session).map_err(|_| Refusal::internal())?;
            let passing = Passing { body, sealed: None, expires_at: until };
            self.0.store().remember(Purpose::Session, id, &passing).await.map_err(lost)
        })
    }

    fn prolong(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, bool> {
        Box::pin(async move {
            let body = serde_json::to_value(&session).map_err(|_| Refusal::internal())?;
            self.0.store().renew(Purpose::Session, id, &body, until).await.map_err(lost)
        })
    }

    fn find(&self, id: SessionId) -> Answer<'_, Option<Session>> {
        Box::pin(async move {
            let found = self.0.store().recall(Purpose::Session, id).await.map_err(lost)?;
            // What another version has written is no session of this one.
            Ok(found.and_then(|passing| serde_json::from_value(passing.body).ok()))
        })
    }

    fn forget(&self, id: SessionId) -> Answer<'_, ()> {
        Box::pin(async move { self.0.store().forget(Purpose::Session, id).await.map_err(lost) })
    }
}

fn lost(fault: StoreError) -> Refusal {
    Refusal::store_unavailable(fault)
}

/// What messages call the token that was made.
const MADE: &str = "admin.token";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("deep/data");
        let path = make(&data).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&data)), (0o600, 0o700));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("cga_") && text.trim_end().len() > 40, "its length is {}", text.len());
        assert_eq!(make(&data).unwrap(), path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the same as before");
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1, "nothing lies about");
    }

    #[tokio::test]
    async fn a_text_that_two_could_have_is_a_fault() {
        let token = |name: &str, byte| Token { name: name.to_owned(), role: Role::Admin, digest: [byte; 32] };
        let faults = alike(&[token("ops", 1), token("ci", 2), token("wall", 1)]);
        assert!(faults.len() == 1 && faults[0].key == "admin.tokens.wall.secret", "{faults:?}");
        let key = KeyText { digest: Some([2; 32]), fingerprint: None };
        let faults = shared(&[token("ops", 1), token("ci", 2)], &[key]);
        assert!(faults.len() == 1 && faults[0].key == "admin.tokens.ci.secret", "{faults:?}");
    }
}
