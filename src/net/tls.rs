//! TLS towards an upstream: versions 1.3 and 1.2, AES-128-GCM first, roots of the system or given ones, sessions resumed.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::fault::NetFault;
use super::roots;

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
        .with_root_certificates(roots::trusted(extra)?)
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
