//! TLS towards an upstream: versions 1.3 and 1.2, AES-128-GCM first, roots of the system or given ones, sessions resumed.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::fault::NetFault;

/// The name of HTTP/2 in ALPN (RFC 9113 3.1).
pub(super) const ALPN_H2: &[u8] = b"h2";

/// The client side of TLS: the system's roots, and those of `extra`, a PEM file, beside them.
pub(super) fn client(extra: Option<&Path>) -> Result<Arc<ClientConfig>, NetFault> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // AES-128-GCM costs least per byte on anything with AES instructions; the sort is stable.
    provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_128_GCM"));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| NetFault::Provider)?
        .with_root_certificates(roots(extra)?)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots(extra: Option<&Path>) -> Result<RootCertStore, NetFault> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = extra {
        let unreadable = |why: String| NetFault::Roots { path: path.to_owned(), why };
        let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
        let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(error.to_string()))?;
        let (added, _) = store.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(unreadable("no certificate in it".to_owned()));
        }
    }
    Ok(store)
}
