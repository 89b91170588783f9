//! How requests leave: connections are made and counted in one way for as long as `[upstream]` and its roots stay as
//! they are, so that a reload that leaves them alone closes no connection.

use std::sync::Arc;

use super::secrets::Fault;
use crate::config::{Redact, Upstream};
use crate::net::{Connector, NetFault};
use crate::upstream::{Limits, Shared};

/// One way out, shared by the pools of all workers and the vault.
pub(super) struct Outward {
    settings: Upstream,
    /// What was in the file of `upstream.ca`.
    roots: Option<Vec<u8>>,
    /// For the vault's own questions.
    pub(super) connector: Arc<Connector>,
    /// For the pools.
    pub(super) shared: Arc<Shared>,
    /// For the exchanges.
    pub(super) limits: Limits,
}

impl Outward {
    /// The way out of a configuration: the one before it, unless something of it is different.
    pub(super) fn of(settings: Upstream, before: Option<&Arc<Self>>) -> Result<Arc<Self>, Fault> {
        // Whether bodies are searched is no matter of connections.
        let settings = Upstream { redact: Redact::Plain, ..settings };
        // A file that cannot be read is found out below.
        let roots = settings.ca.as_ref().and_then(|ca| std::fs::read(ca).ok());
        if let Some(same) = before.filter(|before| before.settings == settings && before.roots == roots) {
            return Ok(Arc::clone(same));
        }
        let connector = Arc::new(connector(&settings).map_err(|fault| no_connector(&fault))?);
        let shared = Shared::new(Arc::clone(&connector), settings.max_connections);
        let limits = Limits {
            response_timeout: settings.response_timeout,
            body_timeout: settings.body_timeout,
            idle_timeout: settings.idle_timeout,
        };
        Ok(Arc::new(Self { settings, roots, connector, shared, limits }))
    }
}

fn connector(settings: &Upstream) -> Result<Connector, NetFault> {
    let place = settings.address.clone().map(|address| (settings.url.clone(), address));
    Connector::new(settings.ca.clone(), place, settings.connect_timeout, settings.tls_timeout)
}

/// A fault of the roots as one of the setting that names them.
fn no_connector(fault: &NetFault) -> Fault {
    let hint = "a PEM file of certificates that this user may read";
    Fault { key: "upstream.ca".to_owned(), what: fault.to_string(), hint }
}

/// The fault of a way out that was not made to its end.
pub(super) fn unfinished() -> Fault {
    let what = "the connections out could not be prepared".to_owned();
    Fault { key: "upstream".to_owned(), what, hint: "this is a bug of closegate: what was it told before?" }
}
