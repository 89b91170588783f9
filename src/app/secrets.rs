//! Every secret of a configuration, read once: credentials into the vault, gateway keys as digests.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, CredentialKind, KeySecret, SecretRef};
use crate::id::CredentialName;
use crate::keys::{self, DuplicateKey};
use crate::net::{self, Connector, NetFault};
use crate::telemetry::{Access, Options, Telemetry};
use crate::vault::{self, KeyText, SecretFault, Vault, Warning, Withheld};

/// One reason why a gateway does not start; it holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, such as `credentials.sales.api_key`.
    pub key: String,
    /// What is wrong, for people.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, what, hint } = self;
        write!(f, "error: {key}: {what}\n  hint: {hint}")
    }
}

/// The secrets, in what needs them.
pub struct Secrets {
    /// The credentials.
    pub vault: Arc<Vault>,
    /// One digest a gateway key, in the order of their names.
    pub key_texts: Vec<KeyText>,
    /// What works and deserves a look.
    pub warnings: Vec<Warning>,
}

impl Secrets {
    /// Reads them all, and says everything that is wrong with them.
    pub fn read(config: &Config, telemetry: &Telemetry) -> Result<Self, Vec<Fault>> {
        match (open(config, telemetry), key_texts(config)) {
            (Ok((vault, mut warnings)), Ok((key_texts, others))) => {
                warnings.extend(others);
                Ok(Self { vault, key_texts, warnings })
            }
            (vault, texts) => Err([vault.err(), texts.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// Reads them for nobody: whether they could be used.
    pub fn check(config: &Config) -> Result<Self, Vec<Fault>> {
        let options = Options { max_key_series: config.metrics.max_key_series, access: Access::Off };
        Self::read(config, &Telemetry::new(options, std::io::sink()))
    }

    /// What is wrong with the secrets of a configuration that is not whole.
    ///
    /// No command is run: a table that is missing may have named the variables that it must not see (security.md 45).
    pub fn faults_of_part(part: &Config) -> Vec<Fault> {
        let mut part = part.clone();
        part.credentials.retain(|_, credential| !runs_command(&credential.kind));
        part.keys.retain(|_, key| !matches!(&key.secret, KeySecret::Reference(reference) if is_command(reference)));
        Self::check(&part).err().unwrap_or_default()
    }
}

/// How connections out are made.
pub(super) fn connector(config: &Config) -> Result<Connector, NetFault> {
    connector_with(config.upstream.ca.clone(), config)
}

fn connector_with(ca: Option<PathBuf>, config: &Config) -> Result<Connector, NetFault> {
    let upstream = &config.upstream;
    Connector::new(net::Options {
        ca,
        place: upstream.address.clone().map(|address| (upstream.url.clone(), address)),
        proxy: upstream.proxy.clone(),
        connect_timeout: upstream.connect_timeout,
        tls_timeout: upstream.tls_timeout,
    })
}

/// A fault of the roots as one of the setting that names them.
pub(super) fn no_connector(fault: &NetFault) -> Fault {
    let hint = "a PEM file of certificates that this user may read";
    Fault { key: "upstream.ca".to_owned(), what: fault.to_string(), hint }
}

fn open(config: &Config, telemetry: &Telemetry) -> Result<(Arc<Vault>, Vec<Warning>), Vec<Fault>> {
    let mut faults = Vec::new();
    // Without its roots nothing will be connected to; what else is wrong is told all the same.
    let connector = connector(config).or_else(|fault| {
        faults.push(no_connector(&fault));
        connector_with(None, config)
    });
    let connector = connector.map_err(|fault| vec![no_connector(&fault)])?;
    let meters = |name: &CredentialName| telemetry.credential_meters(telemetry.credential(name.as_str()));
    let withheld = Arc::new(Withheld::of(&config.credentials, &config.keys));
    match blocking(Vault::open(&config.credentials, withheld, meters, Arc::new(connector)))? {
        Ok(opened) if faults.is_empty() => Ok(opened),
        opened => {
            faults.extend(opened.err().into_iter().flatten().map(Fault::from));
            Err(faults)
        }
    }
}

/// The digest of every gateway key, or what is wrong with each; those that can be read are compared in any case.
fn key_texts(config: &Config) -> Result<(Vec<KeyText>, Vec<Warning>), Vec<Fault>> {
    let withheld = Withheld::of(&config.credentials, &config.keys);
    let (mut known, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (name, key) in &config.keys {
        match &key.secret {
            KeySecret::Digest(digest) => known.push((name, KeyText { digest: *digest, opaque_length: None })),
            KeySecret::Reference(reference) => {
                match blocking(vault::digest(&format!("keys.{name}.secret"), reference, &withheld))? {
                    Ok((text, warning)) => {
                        warnings.extend(warning);
                        known.push((name, text));
                    }
                    Err(fault) => faults.push(fault.into()),
                }
            }
        }
    }
    let duplicates = keys::duplicates(known.iter().map(|(name, text)| (*name, &text.digest)));
    faults.extend(duplicates.iter().map(Fault::from));
    let texts = known.into_iter().map(|(_, text)| text).collect();
    if faults.is_empty() { Ok((texts, warnings)) } else { Err(faults) }
}

impl From<SecretFault> for Fault {
    fn from(fault: SecretFault) -> Self {
        let SecretFault { key, what, hint } = fault;
        Self { key, what, hint }
    }
}

impl From<&DuplicateKey> for Fault {
    fn from(duplicate: &DuplicateKey) -> Self {
        let others: Vec<String> = duplicate.others.iter().map(|name| format!("`keys.{name}`")).collect();
        let what = format!("the same key as {}", others.join(", "));
        Self { key: format!("keys.{}", duplicate.first), what, hint: "give each tool a key of its own" }
    }
}

fn runs_command(kind: &CredentialKind) -> bool {
    match kind {
        CredentialKind::ApiKey { current, next } => is_command(current) || next.as_ref().is_some_and(is_command),
        CredentialKind::Basic { password: only, .. } | CredentialKind::Bearer(only) => is_command(only),
    }
}

fn is_command(reference: &SecretRef) -> bool {
    matches!(reference, SecretRef::Command { .. })
}

/// Runs a future to its end on this thread.
fn blocking<F: Future>(future: F) -> Result<F::Output, Vec<Fault>> {
    let failed = |error| {
        let hint = "does the system still have files and memory for this process?";
        vec![Fault { key: "secrets".to_owned(), what: format!("cannot be read: {error}"), hint }]
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    Ok(runtime.block_on(future))
}
