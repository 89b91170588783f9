//! The tree as the typed configuration: the fixed tables, each value with its bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::entries::{self, Cleartext};
use super::kinds::{self, TIMEOUT};
use super::listener::{self, Listener};
use super::raw::Table;
use super::storage;
use super::walk::{Section, Split, Walk};
use super::{AccessFormat, Admin, Config, Endpoint, Http, Log, Metrics, Pace, Process, Redact, Upstream};

/// Types the whole tree; what is wrong is reported to the walk, and its default stands in.
pub(super) fn config(tree: &Table, walk: &mut Walk) -> (Config, Cleartext) {
    let mut root = Section::root(tree);
    let data_dir = storage::data_dir(&mut root, walk);
    let (listen, process) = listen(root.section(walk, "listen"), walk);
    let listeners = listener::named(&mut root, walk, &listen);
    let admin = admin(root.section(walk, "admin"), walk);
    let metrics = metrics(root.section(walk, "metrics"), walk);
    let store = storage::store(root.section(walk, "store"), walk, &data_dir);
    let upstream = upstream(root.section(walk, "upstream"), walk);
    let pace = pace(root.section(walk, "pace"), walk);
    let log = log(root.section(walk, "log"), walk);
    let names = entries::Names::of(tree);
    let redirect = admin.public_url.as_ref().map_or_else(Endpoint::pasted_back, Endpoint::callback_of);
    let credentials = entries::credentials(&mut root, walk, &redirect, upstream.url.reach());
    let (routes, cleartext) = entries::routes(&mut root, walk, &names, &upstream.url);
    let keys = entries::keys(&mut root, walk, &names);
    root.close(walk);
    let config = Config {
        data_dir,
        listen,
        listeners,
        process,
        admin,
        metrics,
        store,
        upstream,
        credentials,
        routes,
        keys,
        pace,
        log,
    };
    (config, cleartext)
}

fn listen(mut at: Section<'_>, walk: &mut Walk) -> (Listener, Process) {
    let listen = listener::listener(&mut at, walk, Listener::default());
    let known = Process::default();
    let process = Process {
        shutdown_grace: at.or(walk, "shutdown_grace", known.shutdown_grace, kinds::duration(WAIT)),
        shutdown_delay: at.or(walk, "shutdown_delay", known.shutdown_delay, kinds::duration(WAIT)),
        workers: at.or(walk, "workers", known.workers, kinds::workers),
    };
    at.close(walk);
    (listen, process)
}

fn admin(mut at: Section<'_>, walk: &mut Walk) -> Admin {
    let known = Admin::default();
    let admin = Admin {
        address: at.or(walk, "address", known.address, kinds::listener),
        tls: listener::tls(&mut at, walk),
        public_url: at.optional(walk, "public_url", kinds::site),
        hosts: at.list(walk, "hosts", Split::Commas, kinds::host).unwrap_or(known.hosts),
        tokens: entries::tokens(&mut at, walk),
    };
    at.close(walk);
    admin
}

fn metrics(mut at: Section<'_>, walk: &mut Walk) -> Metrics {
    let known = Metrics::default();
    let metrics = Metrics {
        address: at.optional(walk, "address", kinds::listener),
        max_key_series: at.or(walk, "max_key_series", known.max_key_series, kinds::count(1..=100_000)),
    };
    at.close(walk);
    metrics
}

fn upstream(mut at: Section<'_>, walk: &mut Walk) -> Upstream {
    let known = Upstream::default();
    let folders = walk.folders();
    let reach = at.or(walk, "danger_private_upstream", known.url.reach(), kinds::reach);
    let upstream = Upstream {
        url: at.or(walk, "url", known.url, kinds::origin).reaching(reach),
        address: at.optional(walk, "address", kinds::destination),
        proxy: at.optional(walk, "proxy", kinds::proxy),
        ca: at.optional(walk, "ca", kinds::file(folders)),
        http: at.or(walk, "http", known.http, kinds::choice(HTTP)),
        redact: at.or(walk, "redact", known.redact, kinds::choice(REDACT)),
        connect_timeout: at.or(walk, "connect_timeout", known.connect_timeout, kinds::duration(TIMEOUT)),
        tls_timeout: at.or(walk, "tls_timeout", known.tls_timeout, kinds::duration(TIMEOUT)),
        response_timeout: at.or(walk, "response_timeout", known.response_timeout, kinds::duration(TIMEOUT)),
        body_timeout: at.or(walk, "body_timeout", known.body_timeout, kinds::duration(TIMEOUT)),
        idle_timeout: at.or(walk, "idle_timeout", known.idle_timeout, kinds::duration(TIMEOUT)),
        max_connections: at.or(walk, "max_connections", known.max_connections, kinds::count(1..=100_000)),
        danger_cleartext_upstream: at.or(walk, "danger_cleartext_upstream", false, kinds::flag),
    };
    at.close(walk);
    upstream
}

fn pace(mut at: Section<'_>, walk: &mut Walk) -> Pace {
    let known = Pace::default();
    let pace = Pace { max_wait: at.or(walk, "max_wait", known.max_wait, kinds::duration(HOLD)) };
    at.close(walk);
    pace
}

fn log(mut at: Section<'_>, walk: &mut Walk) -> Log {
    let known = Log::default();
    let log = Log {
        access: at.or(walk, "access", known.access, kinds::choice(ACCESS)),
        level: at.or(walk, "level", known.level, kinds::level),
    };
    at.close(walk);
    log
}

const WAIT: RangeInclusive<Duration> = Duration::ZERO..=kinds::DAY;
/// Longer than this no client waits.
const HOLD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);
const HTTP: &[(&str, Http)] = &[("auto", Http::Auto), ("h1", Http::H1), ("h2", Http::H2)];
const REDACT: &[(&str, Redact)] = &[("plain", Redact::Plain), ("decode", Redact::Decode), ("off", Redact::Off)];
const ACCESS: &[(&str, AccessFormat)] =
    &[("json", AccessFormat::Json), ("text", AccessFormat::Text), ("off", AccessFormat::Off)];
