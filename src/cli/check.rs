//! `closegate check`: what a configuration comes to, for people and for scripts; its secrets are read, and not shown.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use super::{Output, refuse};
use crate::app::Secrets;
use crate::config::{Config, CredentialKind, Finding, Key, KeySecret, Loaded, Place, Route, SecretRef, Setting};
use crate::config::{Credential, settings};
use crate::vault::Warning;

/// Validates the configuration, and prints routes, keys and where each setting came from.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Also call `GET /api/v1/me/` with every credential.
    #[arg(long)]
    pub live: bool,
}

/// What `check` says of a configuration without a fault; `Display` is for people, `Serialize` for `--output json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    file: Option<String>,
    credentials: Vec<CredentialRow>,
    routes: Vec<RouteRow>,
    keys: Vec<KeyRow>,
    settings: Vec<Setting>,
    warnings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    live: Vec<LiveRow>,
}

/// Prints the report, or what is wrong with the secrets; with `--live` every credential is tried at Close as well.
pub(super) fn run(args: &Args, loaded: &Loaded, output: Output) -> ExitCode {
    let secrets = match Secrets::check(&loaded.config) {
        Ok(secrets) => secrets,
        Err(faults) => {
            let findings = faults.into_iter().map(|fault| {
                let place = loaded.place(&fault.key);
                fault.at(place)
            });
            return refuse(&findings.collect(), output);
        }
    };
    let mut report = report(loaded);
    report.warnings.extend(secrets.warnings.into_iter().map(|warning| {
        let Warning { key, what, hint } = warning;
        Finding { place: loaded.place(&key), key, what: what.into(), hint: hint.into() }
    }));
    if args.live {
        match super::live::rows(&loaded.config, &secrets.vault) {
            Ok(rows) => report.append_live(rows),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    match output {
        Output::Text => println!("{report}"),
        Output::Json => println!("{}", report.to_json()),
    }
    if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Debug, Clone, Serialize)]
struct CredentialRow {
    name: String,
    kind: &'static str,
    secrets: Vec<String>,
    source: Place,
}

#[derive(Debug, Clone, Serialize)]
struct RouteRow {
    name: String,
    prefix: String,
    credential: String,
    upstream: String,
    allow: usize,
    deny: usize,
    access: &'static str,
    source: Place,
}

#[derive(Debug, Clone, Serialize)]
struct KeyRow {
    name: String,
    recognised_by: String,
    routes: Vec<String>,
    allow: usize,
    deny: usize,
    expires: Option<String>,
    source: Place,
}

#[derive(Debug, Clone, Serialize)]
struct LiveRow {
    credential: String,
    outcome: String,
    ok: bool,
}

/// What a loaded configuration comes to.
pub fn report(loaded: &Loaded) -> Report {
    let Config { credentials, routes, keys, .. } = &loaded.config;
    Report {
        file: loaded.file.as_ref().map(|path| path.display().to_string()),
        credentials: credentials.iter().map(|(name, one)| CredentialRow::of(loaded, name.as_str(), one)).collect(),
        routes: routes.iter().map(|(name, one)| RouteRow::of(loaded, name.as_str(), one)).collect(),
        keys: keys.iter().map(|(name, one)| KeyRow::of(loaded, name.as_str(), one)).collect(),
        settings: settings(loaded),
        warnings: loaded.warnings.clone(),
        live: Vec::new(),
    }
}

impl Report {
    /// Adds what asking Close with each credential came to: its name, the outcome in words, whether it works.
    pub fn append_live(&mut self, rows: impl IntoIterator<Item = (String, String, bool)>) {
        self.live.extend(rows.into_iter().map(|(credential, outcome, ok)| LiveRow { credential, outcome, ok }));
    }

    /// Whether every credential that was tried works.
    pub fn is_ok(&self) -> bool {
        self.live.iter().all(|row| row.ok)
    }

    /// The report for `--output json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

impl CredentialRow {
    fn of(loaded: &Loaded, name: &str, credential: &Credential) -> Self {
        let (kind, secrets) = match &credential.kind {
            CredentialKind::ApiKey { current, next } => {
                ("api_key", std::iter::once(current).chain(next).map(reference).collect())
            }
            CredentialKind::Basic { password, .. } => ("basic", vec![reference(password)]),
            CredentialKind::Bearer(token) => ("bearer", vec![reference(token)]),
        };
        Self { name: name.to_owned(), kind, secrets, source: loaded.place(&format!("credentials.{name}")) }
    }
}

impl RouteRow {
    fn of(loaded: &Loaded, name: &str, route: &Route) -> Self {
        Self {
            name: name.to_owned(),
            prefix: route.prefix.as_str().to_owned(),
            credential: route.credential.to_string(),
            upstream: route.upstream.to_string(),
            allow: route.rules.allow.len(),
            deny: route.rules.deny.len(),
            access: access(&loaded.config, route),
            source: loaded.place(&format!("routes.{name}")),
        }
    }
}

impl KeyRow {
    fn of(loaded: &Loaded, name: &str, key: &Key) -> Self {
        let recognised_by = match &key.secret {
            KeySecret::Digest(_) => "hash".to_owned(),
            KeySecret::Reference(secret) => reference(secret),
        };
        Self {
            name: name.to_owned(),
            recognised_by,
            routes: key.routes.iter().map(ToString::to_string).collect(),
            allow: key.rules.allow.len(),
            deny: key.rules.deny.len(),
            expires: key.expires.map(|expires| expires.to_string()),
            source: loaded.place(&format!("keys.{name}")),
        }
    }
}

/// Who may use a route (contract.md 3, "Who may call").
fn access(config: &Config, route: &Route) -> &'static str {
    let loopback = !config.all_listeners().any(|named| named.listener.address.is_wide());
    match (config.keys.is_empty(), loopback) {
        _ if route.anonymous && (loopback || route.danger_anonymous) => "open",
        (false, _) => "needs a key",
        (true, true) => "open: no key is defined",
        (true, false) => "closed: no key is defined",
    }
}

/// Where a secret is; of a command its program alone, since arguments may say more than they should.
fn reference(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Env(name) => format!("env {name}"),
        SecretRef::File(path) => format!("file {}", path.display()),
        SecretRef::Systemd { name, .. } => format!("systemd {name}"),
        SecretRef::Command { argv, .. } => format!("command {}", argv.first().map_or("", String::as_str)),
    }
}

fn rules(allow: usize, deny: usize) -> String {
    match (allow, deny) {
        (0, 0) => "no rules".to_owned(),
        (allow, deny) => format!("{allow} allow, {deny} deny"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "configuration: {}", self.file.as_deref().unwrap_or("no file"))?;
        table(
            f,
            "credentials",
            self.credentials
                .iter()
                .map(|row| vec![row.name.clone(), row.kind.to_owned(), row.secrets.join(", "), row.source.to_string()]),
        )?;
        table(
            f,
            "routes (prefix -> credential -> upstream)",
            self.routes.iter().map(|row| {
                let way = format!("{} -> {} -> {}", row.prefix, row.credential, row.upstream);
                vec![row.name.clone(), way, rules(row.allow, row.deny), row.access.to_owned(), row.source.to_string()]
            }),
        )?;
        table(
            f,
            "keys",
            self.keys.iter().map(|row| {
                let expires =
                    row.expires.as_ref().map_or_else(|| "never expires".to_owned(), |at| format!("expires {at}"));
                let (routes, rules) = (row.routes.join(", "), rules(row.allow, row.deny));
                vec![row.name.clone(), routes, rules, expires, row.recognised_by.clone(), row.source.to_string()]
            }),
        )?;
        table(
            f,
            "settings",
            self.settings.iter().map(|row| vec![row.key.clone(), row.value.clone(), row.source.to_string()]),
        )?;
        table(
            f,
            "live: GET /api/v1/me/",
            self.live.iter().map(|row| {
                let mark = if row.ok { "ok" } else { "failed" };
                vec![row.credential.clone(), mark.to_owned(), row.outcome.clone()]
            }),
        )?;
        self.warnings.iter().try_for_each(|warning| write!(f, "\n{}\n", warning.labelled("warning")))
    }
}

/// A title and rows in columns; nothing at all without rows.
fn table(f: &mut fmt::Formatter<'_>, title: &str, rows: impl Iterator<Item = Vec<String>>) -> fmt::Result {
    let rows: Vec<Vec<String>> = rows.collect();
    let Some(columns) = rows.iter().map(Vec::len).max() else { return Ok(()) };
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    writeln!(f, "\n{title}")?;
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
