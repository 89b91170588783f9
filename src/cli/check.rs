//! `closegate check`: what a configuration comes to, for people and for scripts; its secrets are read, and not shown.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use super::{Output, print, refuse, route, table, told};
use crate::app::{Asking, Rehearsal, Secrets, Together, unusable};
use crate::config::{Config, CredentialKind, Finding, Key, KeySecret, Limits, Loaded, Mode, Place, Route};
use crate::config::{Credential, Setting, settings};
use crate::id::RouteName;
use crate::scope::Scopes;
use crate::vault::Warning;

/// Validates the configuration, and prints routes, keys and where each setting came from.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  closegate check
  closegate check --live --output json")]
pub struct Args {
    /// Also call `GET /api/v1/me/` with every credential
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
    let together = match Together::of(loaded) {
        Ok(together) => together,
        Err(faults) => return refuse(&told(loaded, faults), output),
    };
    let loaded = &together.loaded;
    let asking = if args.live { Asking::Close } else { Asking::Nobody };
    let checked = Secrets::check(&together, asking);
    let unusable = unusable(&loaded.config);
    let checked = match checked {
        checked if unusable.is_empty() => checked,
        checked => Err(checked.err().into_iter().flatten().chain(unusable).collect()),
    };
    let (secrets, rehearsal) = match checked.and_then(|secrets| Ok((secrets, Rehearsal::together(&together)?))) {
        Ok(checked) => checked,
        Err(faults) => return refuse(&told(loaded, faults), output),
    };
    let mut report = report(loaded, &rehearsal);
    report.warnings.extend(together.doubt.iter().cloned().chain(secrets.warnings).map(|warning| {
        let Warning { key, what, hint } = warning;
        Finding { place: loaded.place(&key), key, what: what.into(), hint: hint.into() }
    }));
    report.append_live(secrets.verdicts.into_iter().map(super::live::row));
    let code = if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match output {
        Output::Text => print::data(report, code),
        Output::Json => print::data(report.to_json(), code),
    }
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
    #[serde(skip)]
    rules: String,
}

#[derive(Debug, Clone, Serialize)]
struct KeyRow {
    name: String,
    recognised_by: String,
    routes: Vec<String>,
    /// `*`: all of them.
    scopes: Vec<&'static str>,
    allow: usize,
    deny: usize,
    /// Whether scopes and rules refuse nothing.
    observed: bool,
    limits: String,
    expires: Option<String>,
    source: Place,
    #[serde(skip)]
    rules: String,
}

#[derive(Debug, Clone, Serialize)]
struct LiveRow {
    credential: String,
    outcome: String,
    ok: bool,
}

/// What a loaded configuration comes to.
pub fn report(loaded: &Loaded, rehearsal: &Rehearsal) -> Report {
    let Config { credentials, routes, keys, .. } = &loaded.config;
    Report {
        file: loaded.file.as_ref().map(|path| path.display().to_string()),
        credentials: credentials.iter().map(|(name, one)| CredentialRow::of(loaded, name.as_str(), one)).collect(),
        routes: routes.iter().filter_map(|(name, one)| RouteRow::of(loaded, rehearsal, name, one)).collect(),
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
                ("api_key", std::iter::once(current).chain(next).map(ToString::to_string).collect())
            }
            CredentialKind::Basic { password, .. } => ("basic", vec![password.to_string()]),
            CredentialKind::Bearer(token) => ("bearer", vec![token.to_string()]),
            CredentialKind::OAuth2(app) => ("oauth2", vec![app.client_secret.to_string()]),
        };
        Self { name: name.to_owned(), kind, secrets, source: loaded.place(&format!("credentials.{name}")) }
    }
}

impl RouteRow {
    fn of(loaded: &Loaded, rehearsal: &Rehearsal, name: &RouteName, route: &Route) -> Option<Self> {
        Some(Self {
            name: name.to_string(),
            prefix: route.prefix.as_str().to_owned(),
            credential: route.credential.to_string(),
            upstream: route.upstream.to_string(),
            allow: route.rules.allow.len(),
            deny: route.rules.deny.len(),
            access: route::access(rehearsal.openness(name)?),
            source: loaded.place(&format!("routes.{name}")),
            rules: route::rules(&route.rules),
        })
    }
}

impl KeyRow {
    fn of(loaded: &Loaded, name: &str, key: &Key) -> Self {
        let recognised_by = match &key.secret {
            KeySecret::Digest(_) => "hash".to_owned(),
            KeySecret::Reference(secret) => secret.to_string(),
            KeySecret::Peer => String::new(),
        };
        let peer = key.peer.map(|uid| format!("uid {uid}"));
        let ways = [Some(recognised_by).filter(|way| !way.is_empty()), peer];
        let recognised_by = ways.into_iter().flatten().collect::<Vec<_>>().join(", ");
        Self {
            name: name.to_owned(),
            recognised_by,
            routes: key.routes.iter().map(ToString::to_string).collect(),
            scopes: key.scopes.filter(|scopes| *scopes != Scopes::ALL).map_or_else(|| vec!["*"], Scopes::names),
            observed: key.mode == Mode::Observe,
            limits: limits(&key.limits),
            allow: key.rules.allow.len(),
            deny: key.rules.deny.len(),
            expires: key.expires.map(|expires| expires.to_string()),
            source: loaded.place(&format!("keys.{name}")),
            rules: route::rules(&key.rules),
        }
    }
}

/// How much a key may ask, in words.
fn limits(limits: &Limits) -> String {
    let rate = limits.rate.as_ref().map(|rate| format!("{rate} (burst {})", rate.burst));
    let concurrency = limits.concurrency.map(|most| format!("{most} at once"));
    let daily = limits.daily_quota.map(|most| format!("{most} a day"));
    let all: Vec<String> = [rate, concurrency, daily].into_iter().flatten().collect();
    if all.is_empty() { "no limits".to_owned() } else { all.join(", ") }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "configuration: {}", self.file.as_deref().unwrap_or("no file"))?;
        table::titled(
            f,
            "credentials",
            self.credentials
                .iter()
                .map(|row| vec![row.name.clone(), row.kind.to_owned(), row.secrets.join(", "), row.source.to_string()]),
        )?;
        table::titled(
            f,
            "routes (prefix -> credential -> upstream)",
            self.routes.iter().map(|row| {
                let way = format!("{} -> {} -> {}", row.prefix, row.credential, row.upstream);
                vec![row.name.clone(), way, row.rules.clone(), row.access.to_owned(), row.source.to_string()]
            }),
        )?;
        table::titled(
            f,
            "keys",
            self.keys.iter().map(|row| {
                let expires =
                    row.expires.as_ref().map_or_else(|| "never expires".to_owned(), |at| format!("expires {at}"));
                let scopes = match row.scopes.join(", ") {
                    none if none.is_empty() => "no scope".to_owned(),
                    some => format!("may {some}"),
                };
                let rules = if row.observed { format!("{} (observed)", row.rules) } else { row.rules.clone() };
                let (routes, limits) = (row.routes.join(", "), row.limits.clone());
                let (recognised_by, source) = (row.recognised_by.clone(), row.source.to_string());
                vec![row.name.clone(), routes, scopes, rules, limits, expires, recognised_by, source]
            }),
        )?;
        table::titled(
            f,
            "settings",
            self.settings.iter().map(|row| vec![row.key.clone(), row.value.clone(), row.source.to_string()]),
        )?;
        table::titled(
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

#[cfg(test)]
mod tests;
