//! How requests leave: connections are made and counted in one way for as long as `[upstream]` and its roots stay as
//! they are, so that a reload that leaves them alone closes no connection.

use std::sync::Arc;

use super::secrets::Fault;
use crate::config::{Redact, Upstream};
use crate::net::{self, Connector, NetFault};
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
        let shared = Shared::new(Arc::clone(&connector), settings.max_connections, settings.http);
        let limits = Limits {
            response_timeout: settings.response_timeout,
            body_timeout: settings.body_timeout,
            idle_timeout: settings.idle_timeout,
        };
        Ok(Arc::new(Self { settings, roots, connector, shared, limits }))
    }
}

fn connector(settings: &Upstream) -> Result<Connector, NetFault> {
    Connector::new(net::Options {
        ca: settings.ca.clone(),
        place: settings.address.clone().map(|address| (settings.url.clone(), address)),
        proxy: settings.proxy.clone(),
        connect_timeout: settings.connect_timeout,
        tls_timeout: settings.tls_timeout,
    })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_concerns_connections_makes_a_new_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots.pem");
        let certificate = || rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap().cert.pem();
        std::fs::write(&roots, certificate()).unwrap();
        let with_roots = Upstream { ca: Some(roots.clone()), ..Upstream::default() };
        let first = Outward::of(with_roots.clone(), None).unwrap();
        let next = |settings: Upstream| Outward::of(settings, Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&next(with_roots.clone()), &first));
        assert!(Arc::ptr_eq(&next(Upstream { redact: Redact::Off, ..with_roots.clone() }), &first));
        let longer = Upstream { body_timeout: Duration::from_secs(61), ..with_roots.clone() };
        assert!(!Arc::ptr_eq(&next(longer).shared, &first.shared));
        std::fs::write(&roots, certificate()).unwrap();
        assert!(!Arc::ptr_eq(&next(with_roots.clone()), &first), "the roots are others");
        std::fs::write(&roots, "none").unwrap();
        assert_eq!(Outward::of(with_roots, Some(&first)).err().unwrap().key, "upstream.ca");
    }
}
