//! The settings of the fixed tables with their values in the file's own spelling, for `check`.

use serde::Serialize;

use super::place::{Origins, Place};
use super::units::{show_duration, show_size};
use super::{AccessFormat, Admin, Config, Listen, Loaded, Log, Metrics, Redact, Upstream};
use crate::origin::Reach;

/// A setting, its value and its source. No setting is a secret: those are references elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key's path, such as `listen.address`.
    pub key: &'static str,
    /// The value as the file would spell it, without quotes; `unset` when there is none.
    pub value: String,
    /// Where it came from.
    pub source: Place,
}

/// Every setting of `[listen]`, `[admin]`, `[metrics]`, `[upstream]` and `[log]`, in the order of the documented file.
pub fn settings(loaded: &Loaded) -> Vec<Setting> {
    let Config { listen, admin, metrics, upstream, log, credentials: _, routes: _, keys: _ } = &loaded.config;
    let tables = [
        listen_values(listen),
        admin_values(admin),
        metrics_values(metrics),
        upstream_values(upstream),
        log_values(log),
    ];
    tables.into_iter().flatten().map(|(key, value)| setting(key, value, &loaded.origins)).collect()
}

fn setting(key: &'static str, value: String, origins: &Origins) -> Setting {
    Setting { key, value, source: origins.get(key).cloned().unwrap_or(Place::Default) }
}

type Values = Vec<(&'static str, String)>;

fn listen_values(listen: &Listen) -> Values {
    vec![
        ("listen.address", listen.address.to_string()),
        ("listen.hosts", format!("[{}]", listen.hosts.join(", "))),
        ("listen.max_connections", listen.max_connections.to_string()),
        ("listen.max_connections_per_peer", listen.max_connections_per_peer.to_string()),
        ("listen.max_body", show_size(listen.max_body)),
        ("listen.header_timeout", show_duration(listen.header_timeout)),
        ("listen.body_timeout", show_duration(listen.body_timeout)),
        ("listen.idle_timeout", show_duration(listen.idle_timeout)),
        ("listen.max_header_bytes", show_memory(listen.max_header_bytes)),
        ("listen.max_uri_bytes", show_memory(listen.max_uri_bytes)),
        ("listen.max_headers", listen.max_headers.to_string()),
        ("listen.shutdown_grace", show_duration(listen.shutdown_grace)),
        ("listen.shutdown_delay", show_duration(listen.shutdown_delay)),
        ("listen.workers", listen.workers.map_or_else(|| "auto".to_owned(), |workers| workers.to_string())),
    ]
}

fn admin_values(admin: &Admin) -> Values {
    vec![("admin.address", admin.address.to_string())]
}

fn metrics_values(metrics: &Metrics) -> Values {
    vec![("metrics.address", shown(metrics.address)), ("metrics.max_key_series", metrics.max_key_series.to_string())]
}

fn upstream_values(upstream: &Upstream) -> Values {
    let redact = match upstream.redact {
        Redact::Plain => "plain",
        Redact::Off => "off",
    };
    vec![
        ("upstream.url", upstream.url.to_string()),
        ("upstream.address", shown(upstream.address.as_deref())),
        ("upstream.proxy", shown(upstream.proxy.as_ref())),
        ("upstream.ca", shown(upstream.ca.as_ref().map(|path| path.display()))),
        ("upstream.redact", redact.to_owned()),
        ("upstream.connect_timeout", show_duration(upstream.connect_timeout)),
        ("upstream.tls_timeout", show_duration(upstream.tls_timeout)),
        ("upstream.response_timeout", show_duration(upstream.response_timeout)),
        ("upstream.body_timeout", show_duration(upstream.body_timeout)),
        ("upstream.idle_timeout", show_duration(upstream.idle_timeout)),
        ("upstream.max_connections", upstream.max_connections.to_string()),
        ("upstream.danger_cleartext_upstream", upstream.danger_cleartext_upstream.to_string()),
        ("upstream.danger_private_upstream", (upstream.url.reach() == Reach::Anywhere).to_string()),
    ]
}

fn log_values(log: &Log) -> Values {
    let access = match log.access {
        AccessFormat::Json => "json",
        AccessFormat::Text => "text",
        AccessFormat::Off => "off",
    };
    vec![("log.access", access.to_owned()), ("log.level", log.level.clone())]
}

fn show_memory(bytes: usize) -> String {
    show_size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "unset".to_owned(), |value| value.to_string())
}
