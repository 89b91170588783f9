//! TLS towards an upstream: versions 1.3 and 1.2, AES-128-GCM first, roots of the system or given ones, sessions resumed.

use std::path::Path;
use std::sync::Arc;

use openssl_probe::ProbeResult;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_native_certs::load_certs_from_paths;

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

/// The client side of TLS towards this machine's own listener: whoever shows the first certificate of `pem`, and nobody
/// else, whatever its name and its dates are. To hold its key takes the handshake.
pub fn pinned(pem: &Path) -> Result<Arc<ClientConfig>, NetFault> {
    let unreadable =
        |error: rustls::pki_types::pem::Error| NetFault::Roots { path: pem.to_owned(), why: error.to_string() };
    let pinned = CertificateDer::from_pem_file(pem).map_err(unreadable)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| NetFault::Provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pinned, provider }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes one certificate.
#[derive(Debug)]
struct Pinned {
    pinned: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let same = *shown == self.pinned;
        same.then(ServerCertVerified::assertion).ok_or(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The system's roots, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name in their place.
fn system() -> Vec<CertificateDer<'static>> {
    let named = [openssl_probe::ENV_CERT_FILE, openssl_probe::ENV_CERT_DIR].map(std::env::var_os);
    // Elsewhere a file stands beside what the system keeps in another way.
    if cfg!(target_os = "linux") && named.iter().all(Option::is_none) {
        return kept_in(&openssl_probe::probe());
    }
    rustls_native_certs::load_native_certs().certs
}

/// The roots of a bundle, or, without one, those of folders: a system that has a bundle has its roots once more in a folder,
/// one by one, and to read that as well takes most of a start.
fn kept_in(places: &ProbeResult) -> Vec<CertificateDer<'static>> {
    let found = load_certs_from_paths(places.cert_file.as_deref(), None).certs;
    if !found.is_empty() {
        return found;
    }
    places.cert_dir.iter().flat_map(|folder| load_certs_from_paths(None, Some(folder)).certs).collect()
}

fn roots(extra: Option<&Path>) -> Result<RootCertStore, NetFault> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(system());
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    /// A certificate in a file of its own.
    fn root(folder: &TempDir, name: &str) -> (PathBuf, CertificateDer<'static>) {
        let certificate = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert;
        let path = folder.path().join(format!("{name}.pem"));
        std::fs::write(&path, certificate.pem()).unwrap();
        (path, certificate.der().clone())
    }

    #[test]
    fn folders_of_roots_are_read_only_where_no_bundle_has_any() {
        let (beside, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (bundle, first) = root(&beside, "first");
        let (_, second) = root(&folder, "second");
        let empty = beside.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let kept = |cert_file| kept_in(&ProbeResult { cert_file, cert_dir: vec![folder.path().to_owned()] });
        assert!(kept(Some(bundle)).iter().eq([&first]));
        for without in [None, Some(empty), Some(PathBuf::from("/nowhere"))] {
            assert!(kept(without).iter().eq([&second]));
        }
    }
}
