//! From the configuration to the parts that decide about requests: keys, routes, credentials, slots of the pool.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use crate::config::{AccessFormat, Config, KeySecret, Redact};
use crate::id::{CredentialId, RouteName};
use crate::keys::{DuplicateKey, Key, KeySet};
use crate::net::{Connector, NetFault};
use crate::origin::Origin;
use crate::proxy::{Door, Gate};
use crate::routes::{Route, RouteTable};
use crate::telemetry::{Access, Options, Telemetry};
use crate::upstream::{Shared, Slot};
use crate::vault::{self, SecretFault, Vault, Warning, Withheld};

/// What the threads are made of.
pub(super) struct Parts {
    pub(super) gate: Arc<Gate>,
    pub(super) slots: Vec<Slot>,
    pub(super) shared: Arc<Shared>,
}

pub(super) fn telemetry_options(config: &Config) -> Options {
    let access = match config.log.access {
        AccessFormat::Json => Access::Json,
        AccessFormat::Text => Access::Text,
        AccessFormat::Off => Access::Off,
    };
    Options { max_key_series: config.metrics.max_key_series, access }
}

/// How connections out are made.
pub fn connector(config: &Config) -> Result<Connector, NetFault> {
    connector_with(config.upstream.ca.clone(), config)
}

fn connector_with(ca: Option<PathBuf>, config: &Config) -> Result<Connector, NetFault> {
    let upstream = &config.upstream;
    let place = upstream.address.clone().map(|address| (upstream.url.clone(), address));
    Connector::new(ca, place, upstream.connect_timeout, upstream.tls_timeout)
}

/// Reads every secret; faults come as text for people.
pub fn open_vault(config: &Config, telemetry: &Telemetry) -> Result<Arc<Vault>, Vec<String>> {
    let mut faults = Vec::new();
    // Without its roots nothing will be connected to; what else is wrong is told all the same.
    let connector = connector(config).or_else(|fault| {
        faults.push(format!("error: upstream.ca: {fault}"));
        connector_with(None, config)
    });
    let connector = connector.map_err(|fault| vec![format!("error: {fault}")])?;
    let meters = |name: &crate::id::CredentialName| telemetry.credential_meters(telemetry.credential(name.as_str()));
    let withheld = Arc::new(Withheld::of(&config.credentials, &config.keys));
    let opened = blocking(Vault::open(&config.credentials, withheld, meters, Arc::new(connector)))?;
    match opened {
        Ok((vault, warnings)) if faults.is_empty() => {
            warnings.iter().for_each(warn);
            Ok(vault)
        }
        opened => {
            faults.extend(opened.err().into_iter().flatten().map(|fault| told(&fault)));
            Err(faults)
        }
    }
}

fn told(fault: &SecretFault) -> String {
    format!("error: {fault}\n  hint: {}", fault.hint)
}

fn warn(warning: &Warning) {
    tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
}

pub(super) fn gate(config: &Config, telemetry: &Arc<Telemetry>) -> Result<Parts, Vec<String>> {
    let vault = open_vault(config, telemetry);
    let digests = digests(config);
    let (vault, digests) = match (vault, digests) {
        (Ok(vault), Ok(digests)) => (vault, digests),
        (vault, digests) => return Err([vault.err(), digests.err()].into_iter().flatten().flatten().collect()),
    };
    let connector = connector(config).map_err(|fault| vec![format!("error: upstream.ca: {fault}")])?;
    let mut slots = Slots::default();
    let (routes, route_slots) = routes(config, telemetry, &vault, &mut slots);
    let keys = keys(config, telemetry, &routes, digests)?;
    let door = Door { loopback: config.listen.address.ip().is_loopback(), hosts: config.listen.hosts.clone() };
    let gate = Arc::new(Gate {
        keys,
        routes,
        slots: route_slots,
        vault,
        door,
        redact_bodies: config.upstream.redact == Redact::Plain,
        max_body: config.listen.max_body,
    });
    let shared = Shared::new(connector, config.upstream.max_connections);
    Ok(Parts { gate, slots: slots.list, shared })
}

/// The slots of the pool: one for each credential at each origin.
#[derive(Default)]
struct Slots {
    list: Vec<Slot>,
    places: HashMap<(CredentialId, Origin), usize>,
}

impl Slots {
    fn place(&mut self, credential: CredentialId, origin: &Origin, telemetry: &Telemetry) -> usize {
        *self.places.entry((credential, origin.clone())).or_insert_with(|| {
            self.list.push(Slot { origin: origin.clone(), meters: telemetry.upstream(&origin.authority()) });
            self.list.len() - 1
        })
    }
}

fn routes(config: &Config, telemetry: &Telemetry, vault: &Vault, slots: &mut Slots) -> (RouteTable, Vec<usize>) {
    let mut routes = Vec::new();
    let mut places = Vec::new();
    for (index, (name, route)) in config.routes.iter().enumerate() {
        // The configuration has found every route's credential.
        let Some(credential) = vault.find(&route.credential) else { continue };
        let Ok(host) = HeaderValue::from_str(&route.upstream.authority()) else { continue };
        places.push(slots.place(credential, &route.upstream, telemetry));
        routes.push(Route {
            name: name.clone(),
            label: telemetry.route(name.as_str()),
            prefix: route.prefix.clone(),
            credential,
            credential_label: telemetry.credential(route.credential.as_str()),
            origin: route.upstream.clone(),
            host,
            rules: route.rules.clone(),
            anonymous: route.anonymous,
            danger_anonymous: route.danger_anonymous,
            index: u32::try_from(index).unwrap_or(u32::MAX),
        });
    }
    (RouteTable::new(routes), places)
}

fn digests(config: &Config) -> Result<Vec<[u8; 32]>, Vec<String>> {
    let withheld = Withheld::of(&config.credentials, &config.keys);
    let mut digests = Vec::new();
    let mut faults = Vec::new();
    for (name, key) in &config.keys {
        match &key.secret {
            KeySecret::Digest(digest) => digests.push(*digest),
            KeySecret::Reference(reference) => {
                match blocking(vault::digest(&format!("keys.{name}.secret"), reference, &withheld))? {
                    Ok((digest, warning)) => {
                        warning.iter().for_each(warn);
                        digests.push(digest);
                    }
                    Err(fault) => faults.push(told(&fault)),
                }
            }
        }
    }
    if faults.is_empty() { Ok(digests) } else { Err(faults) }
}

fn keys(
    config: &Config,
    telemetry: &Telemetry,
    routes: &RouteTable,
    digests: Vec<[u8; 32]>,
) -> Result<KeySet, Vec<String>> {
    let places: BTreeMap<&RouteName, u32> =
        config.routes.keys().filter_map(|name| routes.named(name).map(|route| (name, route.index))).collect();
    let mut keys = Vec::new();
    for ((name, key), digest) in config.keys.iter().zip(digests) {
        let label = telemetry.key(name.as_str());
        if let Some(expires) = key.expires {
            telemetry.key_expiry(label, expires);
        }
        keys.push(Key {
            name: name.clone(),
            label,
            digest,
            routes: key.routes.iter().filter_map(|route| places.get(route).copied()).collect(),
            rules: key.rules.clone(),
            expires: key
                .expires
                .map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_second().max(0).unsigned_abs())),
        });
    }
    KeySet::new(keys).map_err(|duplicates| duplicates.iter().map(same_key).collect())
}

fn same_key(duplicate: &DuplicateKey) -> String {
    let others: Vec<String> = duplicate.others.iter().map(|name| format!("`keys.{name}`")).collect();
    let hint = "give each tool a key of its own";
    format!("error: keys.{}: the same key as {}\n  hint: {hint}", duplicate.first, others.join(", "))
}

/// Runs a future to its end on this thread.
fn blocking<F: Future>(future: F) -> Result<F::Output, Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(future)).map_err(|error| vec![format!("error: no runtime: {error}")])
}
