//! From the configuration to the parts that decide about requests: keys, routes, credentials, slots of the pool.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::secrets::{Fault, Secrets, connector, no_connector};
use crate::config::{AccessFormat, Config};
use crate::id::{CredentialId, CredentialName, RouteName};
use crate::keys::{Key, KeySet};
use crate::origin::Origin;
use crate::proxy::Gate;
use crate::routes::{Route, RouteTable};
use crate::telemetry::{Access, Options, Telemetry};
use crate::upstream::{Shared, Slot};
use crate::vault::KeyText;

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

pub(super) fn gate(config: &Config, telemetry: &Arc<Telemetry>) -> Result<Parts, Vec<Fault>> {
    let Secrets { vault, key_texts, warnings } = Secrets::read(config, telemetry)?;
    for warning in &warnings {
        tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
    }
    let connector = connector(config).map_err(|fault| vec![no_connector(&fault)])?;
    let mut slots = Slots::default();
    let (routes, route_slots) = routes(config, telemetry, |name| vault.find(name), &mut slots);
    let keys = keys(config, telemetry, &routes, key_texts)?;
    let gate = Arc::new(Gate { keys, routes, slots: route_slots, vault, redact: config.upstream.redact });
    let shared = Shared::new(connector, config.upstream.max_connections);
    Ok(Parts { gate, slots: slots.list, shared })
}

/// The slots of the pool: one for each credential at each origin.
#[derive(Default)]
pub(super) struct Slots {
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

/// The table of routes, and the place in the pool of each.
pub(super) fn routes(
    config: &Config,
    telemetry: &Telemetry,
    find: impl Fn(&CredentialName) -> Option<CredentialId>,
    slots: &mut Slots,
) -> (RouteTable, Vec<usize>) {
    let mut routes = Vec::new();
    let mut places = Vec::new();
    for (index, (name, route)) in config.routes.iter().enumerate() {
        // The configuration has found every route's credential.
        let Some(credential) = find(&route.credential) else { continue };
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

/// The gateway keys, with the digests of their texts.
pub(super) fn keys(
    config: &Config,
    telemetry: &Telemetry,
    routes: &RouteTable,
    texts: Vec<KeyText>,
) -> Result<KeySet, Vec<Fault>> {
    let places: BTreeMap<&RouteName, u32> =
        config.routes.keys().filter_map(|name| routes.named(name).map(|route| (name, route.index))).collect();
    let mut keys = Vec::new();
    for ((name, key), text) in config.keys.iter().zip(texts) {
        let label = telemetry.key(name.as_str());
        if let Some(expires) = key.expires {
            telemetry.key_expiry(label, expires);
        }
        keys.push(Key {
            name: name.clone(),
            label,
            digest: text.digest,
            opaque_length: text.opaque_length,
            routes: key.routes.iter().filter_map(|route| places.get(route).copied()).collect(),
            rules: key.rules.clone(),
            expires: key
                .expires
                .map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_second().max(0).unsigned_abs())),
        });
    }
    KeySet::new(keys).map_err(|duplicates| duplicates.iter().map(Fault::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Reach;

    #[test]
    fn line_42_what_one_route_permits_has_a_slot_of_its_own() {
        let telemetry = Telemetry::new(Options { max_key_series: 1, access: Access::Off }, std::io::sink());
        let mut slots = Slots::default();
        let mut place = |credential, origin: &Origin| slots.place(CredentialId(credential), origin, &telemetry);
        let (public, anywhere) = (Origin::close(), Origin::close().reaching(Reach::Anywhere));
        assert_eq!([place(0, &public), place(0, &anywhere), place(1, &public), place(0, &public)], [0, 1, 2, 0]);
    }
}
