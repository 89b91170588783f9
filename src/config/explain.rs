//! The settings of the fixed tables with their values in the file's own spelling, for `check`.

use serde::Serialize;

use super::place::{Origins, Place};
use super::units::{show_duration, show_size};
use super::{
    AccessFormat, Address, Admin, Config, Http, Listener, Loaded, Log, Metrics, Pace, Process, Redact, Store, StoreUrl,
    Tls, TokenRole, Upstream,
};
use crate::origin::Reach;

/// A setting, its value and its source. No setting is a secret: those are references elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key's path, such as `listen.address`.
    pub key: String,
    /// The value as the file would spell it, without quotes; `unset` when there is none.
    pub value: String,
    /// Where it came from.
    pub source: Place,
}

/// `data_dir`, and every setting of `[listen]`, `[listeners]`, `[admin]`, `[metrics]`, `[store]`, `[upstream]`,
/// `[pace]` and `[log]`, in the order of the documented file.
pub fn settings(loaded: &Loaded) -> Vec<Setting> {
    let Config { data_dir, process, admin, metrics, store, upstream, pace, log, .. } = &loaded.config;
    let mut listeners = loaded.config.all_listeners().map(|named| listener_values(&named.key, named.listener));
    let tables = [
        vec![("data_dir".to_owned(), data_dir.display().to_string())],
        listeners.next().unwrap_or_default(),
        process_values(process),
        listeners.flatten().collect(),
        admin_values(admin),
        metrics_values(metrics),
        store_values(store),
        upstream_values(upstream),
        pace_values(pace),
        log_values(log),
    ];
    tables.into_iter().flatten().map(|(key, value)| setting(key, value, &loaded.origins)).collect()
}

/// The settings that are fixed at the start in which two configurations differ: all tables but `[upstream]` and `[pace]`
/// have such.
/// A listener that one of them lacks is named as a whole.
pub fn differences_in_fixed(one: &Config, other: &Config) -> Vec<String> {
    let (before, after) = (fixed(one), fixed(other));
    let lacks = |config: &Config, table: &str| !config.all_listeners().any(|named| named.key == table);
    let mut different: Vec<String> = Vec::new();
    for (key, value) in before.iter().chain(&after) {
        if before.contains(&(key.clone(), value.clone())) && after.contains(&(key.clone(), value.clone())) {
            continue;
        }
        let table = key.match_indices('.').map(|(dot, _)| &key[..dot]).find(|table| table.starts_with("listeners."));
        let name = table.filter(|table| lacks(one, table) || lacks(other, table)).unwrap_or(key);
        if !different.iter().any(|known| known == name) {
            different.push(name.to_owned());
        }
    }
    different
}

fn fixed(config: &Config) -> Values {
    let Config { data_dir, process, admin, metrics, store, log, .. } = config;
    let listeners = config.all_listeners().flat_map(|named| listener_values(&named.key, named.listener));
    let others = [process_values(process), admin_values(admin), metrics_values(metrics), log_values(log)];
    let data_dir = ("data_dir".to_owned(), data_dir.display().to_string());
    // Compared, and never shown: a password that was changed is a change.
    let url = match &store.url {
        StoreUrl::Postgres(url) => Some(("store.url".to_owned(), url.whole().to_owned())),
        StoreUrl::Sqlite(_) | StoreUrl::Memory => None,
    };
    let store = store_values(store).into_iter().chain(url);
    listeners.chain(others.into_iter().flatten()).chain([data_dir]).chain(store).collect()
}

fn setting(key: String, value: String, origins: &Origins) -> Setting {
    let said = |key: &str| origins.get(key).filter(|place| **place != Place::Default);
    let inherited = || said(&format!("listen.{}", inherited(&key)?));
    let source = said(&key).or_else(inherited).cloned().unwrap_or(Place::Default);
    Setting { key, value, source }
}

/// What a setting of a further listener is called in `[listen]`, where it is taken from if it is not said.
fn inherited(key: &str) -> Option<&str> {
    let (_, setting) = key.strip_prefix("listeners.")?.split_once('.')?;
    let own = ["address", "mode", "group", "tls"].contains(&setting) || setting.starts_with("tls.");
    (!own).then_some(setting)
}

type Values = Vec<(String, String)>;

fn listener_values(table: &str, listener: &Listener) -> Values {
    let mut values = vec![("address", listener.address.to_string())];
    if let Address::Unix(unix) = &listener.address {
        values.push(("mode", format!("{:04o}", unix.mode)));
        values.push(("group", shown(unix.group.as_deref())));
    }
    values.extend([
        ("hosts", format!("[{}]", listener.hosts.join(", "))),
        ("max_connections", listener.max_connections.to_string()),
        ("max_connections_per_peer", listener.max_connections_per_peer.to_string()),
        ("max_body", show_size(listener.max_body)),
        ("header_timeout", show_duration(listener.header_timeout)),
        ("body_timeout", show_duration(listener.body_timeout)),
        ("idle_timeout", show_duration(listener.idle_timeout)),
        ("max_header_bytes", show_memory(listener.max_header_bytes)),
        ("max_uri_bytes", show_memory(listener.max_uri_bytes)),
        ("max_headers", listener.max_headers.to_string()),
        ("trusted_proxies", format!("[{}]", joined(&listener.trusted_proxies))),
    ]);
    let values = values.into_iter().map(|(key, value)| (format!("{table}.{key}"), value));
    values.chain(tls_values(table, listener.tls.as_ref())).collect()
}

fn tls_values(table: &str, tls: Option<&Tls>) -> Values {
    let Some(tls) = tls else { return vec![(format!("{table}.tls"), "unset".to_owned())] };
    vec![
        (format!("{table}.tls.cert"), tls.cert.display().to_string()),
        (format!("{table}.tls.key"), tls.key.display().to_string()),
        (format!("{table}.tls.client_ca"), shown(tls.client_ca.as_ref().map(|path| path.display()))),
    ]
}

fn process_values(process: &Process) -> Values {
    of_table(
        "listen",
        [
            ("shutdown_grace", show_duration(process.shutdown_grace)),
            ("shutdown_delay", show_duration(process.shutdown_delay)),
            ("workers", process.workers.map_or_else(|| "auto".to_owned(), |workers| workers.to_string())),
        ],
    )
}

fn admin_values(admin: &Admin) -> Values {
    let role = |role| if role == TokenRole::Admin { "admin" } else { "viewer" };
    let tokens: Vec<String> =
        admin.tokens.iter().map(|(name, token)| format!("{name} ({})", role(token.role))).collect();
    let values = [
        ("address", admin.address.to_string()),
        ("public_url", shown(admin.public_url.as_ref())),
        ("hosts", format!("[{}]", admin.hosts.join(", "))),
        ("tokens", shown((!tokens.is_empty()).then(|| tokens.join(", ")))),
    ];
    of_table("admin", values).into_iter().chain(tls_values("admin", admin.tls.as_ref())).collect()
}

fn metrics_values(metrics: &Metrics) -> Values {
    let max_key_series = metrics.max_key_series.to_string();
    of_table("metrics", [("address", shown(metrics.address)), ("max_key_series", max_key_series)])
}

fn store_values(store: &Store) -> Values {
    let Store { url, master_key, max_stale } = store;
    of_table(
        "store",
        [
            ("url", url.to_string()),
            ("master_key", shown(master_key.as_ref())),
            ("max_stale", show_duration(*max_stale)),
        ],
    )
}

fn upstream_values(upstream: &Upstream) -> Values {
    let http = match upstream.http {
        Http::Auto => "auto",
        Http::H1 => "h1",
        Http::H2 => "h2",
    };
    let redact = match upstream.redact {
        Redact::Plain => "plain",
        Redact::Decode => "decode",
        Redact::Off => "off",
    };
    let values = [
        ("url", upstream.url.to_string()),
        ("address", shown(upstream.address.as_deref())),
        ("proxy", shown(upstream.proxy.as_ref())),
        ("ca", shown(upstream.ca.as_ref().map(|path| path.display()))),
        ("http", http.to_owned()),
        ("redact", redact.to_owned()),
        ("connect_timeout", show_duration(upstream.connect_timeout)),
        ("tls_timeout", show_duration(upstream.tls_timeout)),
        ("response_timeout", show_duration(upstream.response_timeout)),
        ("body_timeout", show_duration(upstream.body_timeout)),
        ("idle_timeout", show_duration(upstream.idle_timeout)),
        ("max_connections", upstream.max_connections.to_string()),
        ("danger_cleartext_upstream", upstream.danger_cleartext_upstream.to_string()),
        ("danger_private_upstream", (upstream.url.reach() == Reach::Anywhere).to_string()),
    ];
    of_table("upstream", values)
}

fn pace_values(pace: &Pace) -> Values {
    of_table("pace", [("max_wait", show_duration(pace.max_wait))])
}

fn log_values(log: &Log) -> Values {
    let access = match log.access {
        AccessFormat::Json => "json",
        AccessFormat::Text => "text",
        AccessFormat::Off => "off",
    };
    of_table("log", [("access", access.to_owned()), ("level", log.level.clone())])
}

fn of_table<const N: usize>(table: &str, values: [(&str, String); N]) -> Values {
    values.into_iter().map(|(key, value)| (format!("{table}.{key}"), value)).collect()
}

fn joined(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn show_memory(bytes: usize) -> String {
    show_size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "unset".to_owned(), |value| value.to_string())
}
