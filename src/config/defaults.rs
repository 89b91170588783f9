//! The defaults of every setting; `config/closegate.toml` shows them, and a test holds the two together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AccessFormat, Admin, Config, Http, Listener, Log, Metrics, Pace, Process, Redact, Store, Upstream};
use crate::origin::Origin;

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(DATA_DIR),
            listen: Listener::default(),
            listeners: BTreeMap::new(),
            process: Process::default(),
            admin: Admin::default(),
            metrics: Metrics::default(),
            store: Store::of(Path::new(DATA_DIR)),
            upstream: Upstream::default(),
            credentials: BTreeMap::new(),
            routes: BTreeMap::new(),
            keys: BTreeMap::new(),
            pace: Pace::default(),
            log: Log::default(),
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self { shutdown_grace: Duration::from_secs(25), shutdown_delay: Duration::ZERO, workers: None }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: loopback(8081), tls: None, public_url: None, hosts: Vec::new(), tokens: BTreeMap::new() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { address: None, max_key_series: 1_000 }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            url: Origin::close(),
            address: None,
            proxy: None,
            ca: None,
            http: Http::Auto,
            redact: Redact::Plain,
            connect_timeout: Duration::from_secs(5),
            tls_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            max_connections: 1_024,
            danger_cleartext_upstream: false,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { max_wait: Duration::from_secs(5) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { access: AccessFormat::Json, level: "info".to_owned() }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Where data lies when nothing else is said.
pub(super) const DATA_DIR: &str = "/var/lib/closegate";
