//! Reads a secret from where its reference points: a variable, a file, what systemd hands over, the output of a command.
//!
//! No fault repeats what was read, not even a part of it; a command's stderr is discarded, and its environment lacks
//! everything of the gateway's own and every variable that holds a secret (security.md 45).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::archive::{Archive, ArchiveFault};
use super::master::NoMasterKey;
use super::oauth::{Grants, MemoryGrants};
use super::secret::Secret;
use crate::config::{Config, KeySecret, SecretRef};
use crate::fingerprint::Fingerprint;
use crate::id::CredentialName;
use crate::keyshape::begins_like_key;
use crate::task;

/// Why a secret that the configuration refers to cannot be had. It names the setting and the place, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {what}")]
pub struct SecretFault {
    /// The setting, such as `credentials.sales.api_key`.
    pub key: String,
    /// What is wrong, for people.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// What works and deserves a look. It names the setting and the place, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The setting, such as `credentials.sales.api_key`.
    pub key: String,
    /// What was seen, for people.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// The environment variables that no command may see, beside all of the gateway's own.
#[derive(Debug, Default)]
pub struct Withheld(BTreeSet<String>);

impl Withheld {
    /// Every variable that a reference of the configuration names.
    pub fn of(config: &Config) -> Self {
        let credentials = config.credentials.values().flat_map(|credential| credential.kind.references());
        let keys = config.keys.values().filter_map(|key| match &key.secret {
            KeySecret::Reference(reference) => Some(reference),
            KeySecret::Digest(_) | KeySecret::Peer => None,
        });
        let tokens = config.admin.tokens.values().map(|token| &token.secret);
        let references = credentials.chain(keys).chain(tokens).chain(&config.store.master_key);
        Self(references.filter_map(variable).cloned().collect())
    }

    /// What is left of an environment for a command.
    fn spare<E>(&self, environment: E) -> impl Iterator<Item = (OsString, OsString)>
    where
        E: Iterator<Item = (OsString, OsString)>,
    {
        environment.filter(|(name, _)| !self.holds(name))
    }

    fn holds(&self, name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        OWN.iter().any(|prefix| name.starts_with(prefix)) || self.0.contains(name.as_ref())
    }
}

/// What secrets are read with.
#[derive(Debug, Default)]
pub struct Supply {
    withheld: Withheld,
    archive: Option<Arc<Archive>>,
}

impl Supply {
    /// What the secrets of a configuration are read with; without an archive nothing of the store can be.
    pub fn new(withheld: Withheld, archive: Option<Arc<Archive>>) -> Self {
        Self { withheld, archive }
    }

    /// Where the tokens of OAuth credentials lie; without an archive there are none.
    pub(super) fn grants(&self) -> Arc<dyn Grants> {
        match &self.archive {
            Some(archive) => Arc::clone(archive) as Arc<dyn Grants>,
            None => Arc::new(MemoryGrants::default()),
        }
    }
}

/// What may be known of a gateway key's text outside of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyText {
    /// The SHA-256 of it.
    pub digest: Option<[u8; 32]>,
    /// By what it is found in other texts, where it does not have the shape of a gateway key.
    pub fingerprint: Option<Fingerprint>,
}

/// Digests a gateway key's text, which must be at least 16 visible ASCII characters; the text goes no further.
pub async fn digest(
    key: &str,
    reference: &SecretRef,
    supply: &Supply,
) -> Result<(KeyText, Option<Warning>), SecretFault> {
    let found = read(reference, supply).await.map_err(|unread| unread.at(key))?;
    if found.secret.len() < SHORTEST_KEY || !found.secret.is_visible() {
        return Err(Unread::new(reference, "holds no gateway key", KEY_HINT).at(key));
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, found.secret.expose());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    let text = found.secret.expose();
    let fingerprint = if begins_like_key(text) { None } else { Fingerprint::of(text) };
    Ok((KeyText { digest: Some(bytes), fingerprint }, found.exposure(key, reference)))
}

/// Digests a token of the admin API, which must be at least 16 visible ASCII characters; the text goes no further.
pub async fn token_digest(
    key: &str,
    reference: &SecretRef,
    supply: &Supply,
) -> Result<([u8; 32], Option<Warning>), SecretFault> {
    let found = read(reference, supply).await.map_err(|unread| unread.at(key))?;
    if found.secret.len() < SHORTEST_KEY || !found.secret.is_visible() {
        let hint = "a token is at least 16 visible ASCII characters on one line";
        return Err(Unread::new(reference, "holds no token", hint).at(key));
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, found.secret.expose()).as_ref());
    Ok((digest, found.exposure(key, reference)))
}

/// A secret, and whether its file lets others in.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) secret: Secret,
    readable_by_others: bool,
}

impl Found {
    /// The warning about a file that others can read.
    pub(super) fn exposure(&self, key: &str, reference: &SecretRef) -> Option<Warning> {
        self.readable_by_others.then(|| Warning {
            key: key.to_owned(),
            what: format!("{} can be read by others than its owner", place(reference)),
            hint: "`chmod 600` it, or keep it on a tmpfs",
        })
    }
}

/// Why a reference gave no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) what: String,
    hint: &'static str,
}

impl Unread {
    /// `what` follows the name of the place, as in "file `x` is empty".
    pub(super) fn new(reference: &SecretRef, what: &str, hint: &'static str) -> Self {
        Self { what: format!("{} {what}", place(reference)), hint }
    }

    /// The fault of the setting `key`.
    pub(super) fn at(self, key: &str) -> SecretFault {
        SecretFault { key: key.to_owned(), what: self.what, hint: self.hint }
    }

    /// The fault of the master key.
    pub(super) fn of_master_key(self) -> NoMasterKey {
        NoMasterKey { what: self.what, hint: self.hint }
    }

    /// The same as a warning, for what is tried again.
    pub(super) fn warn(self, key: &str) -> Warning {
        Warning { key: key.to_owned(), what: self.what, hint: self.hint }
    }
}

/// Reads the secret: not empty, no control characters, at most 64 KiB.
pub(super) async fn read(reference: &SecretRef, supply: &Supply) -> Result<Found, Unread> {
    if let SecretRef::Stored { credential, version } = reference {
        let secret = stored(reference, credential, *version, supply.archive.as_deref()).await?;
        return Ok(Found { secret, readable_by_others: false });
    }
    let (bytes, readable_by_others) = bytes(reference, &supply.withheld).await?;
    let bytes = if variable(reference).is_some() { bytes } else { one_line(&bytes) };
    let wrong = |what, hint| Err(Unread::new(reference, what, hint));
    if bytes.is_empty() {
        return wrong("is empty", "put the secret there, and nothing else");
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return wrong("holds a line break or another control character", "a secret is one line of text");
    }
    Ok(Found { secret: Secret::new(bytes), readable_by_others })
}

/// Everything that lies outside of the store at that place, at most 64 KiB, and whether its file lets others in.
pub(super) async fn bytes(reference: &SecretRef, withheld: &Withheld) -> Result<(Zeroizing<Vec<u8>>, bool), Unread> {
    let (bytes, readable_by_others) = match reference {
        SecretRef::Env(name) => (variable_value(reference, name)?, false),
        SecretRef::File(path) => file(reference, path.clone()).await?,
        SecretRef::Systemd { path, .. } => (file(reference, path.clone()).await?.0, false),
        SecretRef::Command { argv, .. } => (command(reference, argv, withheld).await?, false),
        SecretRef::Stored { .. } => return Err(Unread::new(reference, "is sealed", "it is read from the store")),
    };
    if bytes.len() > LONGEST {
        return Err(Unread::new(reference, "gives more than 64 KiB", "a secret is one line of text"));
    }
    Ok((bytes, readable_by_others))
}

/// A secret of the store, which is tried again when its database does not answer.
async fn stored(
    reference: &SecretRef,
    credential: &CredentialName,
    version: u64,
    archive: Option<&Archive>,
) -> Result<Secret, Unread> {
    let Some(archive) = archive else {
        return Err(Unread::new(reference, "is not open", "start the gateway, or ask the one that runs"));
    };
    let unread = |fault: ArchiveFault| Unread { what: format!("{}: {fault}", place(reference)), hint: fault.hint() };
    // Boxed: few secrets are the store's, and what it takes would stand in the future of each.
    Box::pin(archive.secret(credential, version)).await.map_err(unread)
}

fn variable_value(reference: &SecretRef, name: &str) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let value = std::env::var_os(name).ok_or_else(|| Unread::new(reference, "is not set", ENV_HINT))?;
    Ok(Zeroizing::new(value.into_vec()))
}

/// A file may lie on a network or be a pipe: it is read where it may block.
async fn file(reference: &SecretRef, path: PathBuf) -> Result<(Zeroizing<Vec<u8>>, bool), Unread> {
    let hint = match reference {
        SecretRef::Systemd { .. } => "does the unit still have a `LoadCredential=` of that name?",
        _ => "is the path right, and may this user read it?",
    };
    let unread = |what: &str| Unread::new(reference, what, hint);
    // Whoever writes into pipes may do so in another order: none waits for another.
    let is_pipe = task::is_alone() && !path.is_file();
    let reading = move || read_file(&path);
    match if is_pipe { task::aside(reading).await } else { task::blocking(reading).await } {
        Some(Ok(read)) => Ok(read),
        Some(Err(error)) => Err(unread(&format!("cannot be read: {}", error.kind()))),
        None => Err(unread("was not read to its end")),
    }
}

fn read_file(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
    let mut file = File::open(path)?;
    let others_may_read = file.metadata()?.permissions().mode() & 0o044 != 0;
    let in_memory = rustix::fs::fstatfs(&file).is_ok_and(|on| lies_in_memory(on.f_type));
    let mut bytes = roomy();
    file.by_ref().take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, others_may_read && !in_memory))
}

/// Whether a file system of that kind keeps nothing on a disk.
fn lies_in_memory(kind: rustix::fs::FsWord) -> bool {
    matches!(kind, TMPFS_MAGIC | RAMFS_MAGIC)
}

async fn command(reference: &SecretRef, argv: &[String], withheld: &Withheld) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let unread = |what: &str| Unread::new(reference, what, "run it by hand; it must print the secret within 10 s");
    let Some((program, arguments)) = argv.split_first() else { return Err(unread("has no program")) };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(withheld.spare(std::env::vars_os()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| unread(&format!("cannot be started: {}", error.kind())))?;
    match tokio::time::timeout(COMMAND_LIMIT, output(child)).await {
        Err(_) => Err(unread("took longer than 10 s")),
        Ok(Err(error)) => Err(unread(&format!("cannot be read: {}", error.kind()))),
        Ok(Ok((bytes, None))) => Ok(bytes),
        Ok(Ok((bytes, Some(status)))) if status.success() => Ok(bytes),
        Ok(Ok((_, Some(status)))) => Err(unread(&format!("failed: {status}"))),
    }
}

/// What the child prints, and how it ends; one that prints too much is not waited for, and has no status.
async fn output(mut child: Child) -> io::Result<(Zeroizing<Vec<u8>>, Option<ExitStatus>)> {
    let mut bytes = roomy();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST as u64 + 1).read_to_end(&mut bytes).await?;
    }
    let status = if bytes.len() > LONGEST { None } else { Some(child.wait().await?) };
    Ok((bytes, status))
}

/// Room for the longest secret and more, so that reading never moves the vector and leaves a copy behind.
fn roomy() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(LONGEST + 1024))
}

/// A copy of the right size without the one trailing newline.
fn one_line(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let line = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    Zeroizing::new(line.to_vec())
}

fn variable(reference: &SecretRef) -> Option<&String> {
    match reference {
        SecretRef::Env(name) => Some(name),
        SecretRef::File(_) | SecretRef::Systemd { .. } | SecretRef::Command { .. } | SecretRef::Stored { .. } => None,
    }
}

/// What messages call a reference; of a command the program alone, since its arguments may tell too much.
pub(super) fn place(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("environment variable `{name}`"),
        SecretRef::File(path) => format!("file `{}`", path.display()),
        SecretRef::Systemd { name, .. } => format!("systemd credential `{name}`"),
        SecretRef::Command { argv, .. } => format!("command `{}`", argv.first().map_or("", String::as_str)),
        SecretRef::Stored { credential, .. } => format!("the secret of `{credential}` in the store"),
    }
}

const OWN: [&str; 6] = ["CLOSEGATE_", "CLOSE_API_KEY", "CREDENTIALS_DIRECTORY", "LISTEN_", "NOTIFY_SOCKET", "PGPASS"];
const LONGEST: usize = 64 * 1024;
const SHORTEST_KEY: usize = 16;
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// `TMPFS_MAGIC` of statfs(2).
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
/// `RAMFS_MAGIC` of statfs(2): older systemds keep credentials there.
const RAMFS_MAGIC: rustix::fs::FsWord = 0x8584_58f6;
const ENV_HINT: &str = "set it where the gateway is started, or refer to a file with `{ file = \"PATH\" }`";
const KEY_HINT: &str = "a gateway key is at least 16 visible ASCII characters on one line";

#[cfg(test)]
mod tests;
