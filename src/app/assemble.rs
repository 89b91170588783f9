//! From the configuration to the parts that decide about requests: keys, routes, credentials, slots of the pool.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use jiff::Timestamp;

use super::outward::Outward;
use super::secrets::{Fault, History, Material};
use crate::config::{AccessFormat, Config};
use crate::id::{CredentialId, CredentialName, RouteName};
use crate::keys::{Allotments, Key, KeySet, Quota};
use crate::origin::Origin;
use crate::pace::{Pace, Pacer};
use crate::proxy::Gate;
use crate::routes::{Route, RouteTable};
use crate::scope::Scopes;
use crate::telemetry::{Access, Options, Telemetry};
use crate::upstream::Slot;
use crate::vault::{KeyText, Vault, Watch};

/// What the threads are made of, until a reload makes it anew.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) gate: Arc<Gate>,
    pub(super) slots: Vec<Slot>,
    pub(super) outward: Arc<Outward>,
    pub(super) lasting: Lasting,
}

/// What is the same from the start to the end, whatever is loaded.
#[derive(Clone)]
pub(super) struct Lasting {
    /// What is known of Close's rate limits.
    pub(super) pacer: Arc<Pacer>,
    /// Where parts of daily quotas are asked for; none where they are not kept.
    pub(super) allotments: Option<Arc<Allotments>>,
}

pub(super) fn telemetry_options(config: &Config) -> Options {
    let access = match config.log.access {
        AccessFormat::Json => Access::Json,
        AccessFormat::Text => Access::Text,
        AccessFormat::Off => Access::Off,
    };
    Options { max_key_series: config.metrics.max_key_series, access }
}

/// Makes the parts of a configuration and puts its credentials to use, in place of the parts before; with them come the
/// watches over what is new in the vault. What can be wrong is found before anything is changed.
pub(super) fn parts(
    config: &Config,
    material: Material,
    telemetry: &Telemetry,
    lasting: &Lasting,
    before: Option<&Parts>,
) -> Result<(Parts, Vec<Watch>), Vec<Fault>> {
    let Material { holdings, key_texts, outward, warnings: _, history } = material;
    let keys = keys(config, telemetry, key_texts, lasting.allotments.as_ref(), before.map(|before| &before.gate.keys))?;
    let keys = match history {
        History::None => keys,
        History::Keys => keys.after_others(),
    };
    let meters = |name: &CredentialName| telemetry.credential_meters(telemetry.credential(name.as_str()));
    let connector = Arc::clone(&outward.connector);
    let (vault, watches) = match before {
        Some(before) => before.gate.vault.followed_by(holdings, meters, connector),
        None => Vault::open(holdings, meters, connector),
    };
    let mut slots = Slots::default();
    let (routes, route_slots) = routes(config, telemetry, |name| vault.find(name), &mut slots);
    let pace = pace(config, telemetry, &lasting.pacer);
    let gate = Arc::new(Gate { keys, routes, slots: route_slots, vault, pace, redact: config.upstream.redact });
    note(config, telemetry);
    Ok((Parts { gate, slots: slots.list, outward, lasting: lasting.clone() }, watches))
}

/// How each credential is paced, in the order of their names.
fn pace(config: &Config, telemetry: &Telemetry, pacer: &Arc<Pacer>) -> Pace {
    let accounts = config.credentials.iter().map(|(name, credential)| {
        let organization = credential.organization.as_deref().map(|name| telemetry.organization(name));
        pacer.account(telemetry.credential(name.as_str()), organization)
    });
    Pace::new(accounts.collect(), config.pace.max_wait)
}

/// Has the metrics show the credentials and keys of this configuration alone.
fn note(config: &Config, telemetry: &Telemetry) {
    telemetry.stand(config.credentials.keys().map(|name| telemetry.credential(name.as_str())));
    telemetry.keys_stand(config.keys.iter().map(|(name, key)| (telemetry.key(name.as_str()), key.created)));
    let expiries = config.keys.iter().filter_map(|(name, key)| Some((telemetry.key(name.as_str()), key.expires?)));
    telemetry.key_expiries(expiries);
}

/// The slots of the pool: one for each credential at each origin.
#[derive(Default)]
pub(super) struct Slots {
    list: Vec<Slot>,
    places: HashMap<(CredentialName, Origin), usize>,
}

impl Slots {
    fn place(&mut self, credential: &CredentialName, origin: &Origin, telemetry: &Telemetry) -> usize {
        *self.places.entry((credential.clone(), origin.clone())).or_insert_with(|| {
            let (credential, meters) = (credential.clone(), telemetry.upstream(&origin.authority()));
            self.list.push(Slot { credential, origin: origin.clone(), meters });
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
    for (index, (name, route)) in (0..).zip(&config.routes) {
        // The configuration has found every route's credential.
        let Some(credential) = find(&route.credential) else { continue };
        let Ok(host) = HeaderValue::from_str(&route.upstream.authority()) else { continue };
        places.push(slots.place(&route.credential, &route.upstream, telemetry));
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
            index,
        });
    }
    (RouteTable::new(routes), places)
}

/// The gateway keys, with the digests of their texts, in place of the keys before.
pub(super) fn keys(
    config: &Config,
    telemetry: &Telemetry,
    texts: Vec<KeyText>,
    allotments: Option<&Arc<Allotments>>,
    before: Option<&KeySet>,
) -> Result<KeySet, Vec<Fault>> {
    let places: BTreeMap<&RouteName, u32> = config.routes.keys().zip(0..).collect();
    let mut keys = Vec::new();
    for ((name, key), text) in config.keys.iter().zip(texts) {
        let quota = Quota::new(key.limits.clone());
        keys.push(Key {
            name: name.clone(),
            label: telemetry.key(name.as_str()),
            digest: text.digest,
            former: key.former.map(|former| (former.digest, moment(former.until))),
            uid: key.peer,
            fingerprint: text.fingerprint,
            routes: key.routes.iter().filter_map(|route| places.get(route).copied()).collect(),
            scopes: key.scopes.unwrap_or(Scopes::ALL),
            rules: key.rules.clone(),
            mode: key.mode,
            quota: match allotments.filter(|_| key.limits.daily_quota.is_some()) {
                Some(allotments) => quota.shared(name.clone(), Arc::clone(allotments)),
                None => quota,
            },
            expires: key.expires.map(moment),
        });
    }
    KeySet::new(keys, before).map_err(|duplicates| duplicates.iter().map(Fault::from).collect())
}

fn moment(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_second().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Reach;

    #[test]
    fn line_42_what_one_route_permits_has_a_slot_of_its_own() {
        let telemetry = Telemetry::new(Options { max_key_series: 1, access: Access::Off }, std::io::sink());
        let mut slots = Slots::default();
        let [sales, partner] = ["sales", "partner"].map(|name| CredentialName::parse(name).unwrap());
        let mut place = |credential, origin: &Origin| slots.place(credential, origin, &telemetry);
        let (public, anywhere) = (Origin::close(), Origin::close().reaching(Reach::Anywhere));
        let placed =
            [place(&sales, &public), place(&sales, &anywhere), place(&partner, &public), place(&sales, &public)];
        assert_eq!(placed, [0, 1, 2, 0]);
    }
}
