//! TLS in front: a listener's certificate, its key, and whose certificates clients must show, reloaded as one.
//!
//! Versions 1.3 and 1.2 with rustls' own suites, all of them with forward secrecy (Mozilla's "intermediate" profile).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{self, Digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::config::Tls;

/// Why a listener has no TLS; the key's text is in none of it.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be used: {why}")]
pub struct TlsFault {
    /// The setting below `tls`: `cert`, `key` or `client_ca`.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What a listener offers by ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/2, else HTTP/1.1.
    H2AndH1,
    /// HTTP/1.1 alone.
    H1,
}

/// The server side of TLS of one listener; every thread that serves it shares it.
pub struct ServerTls {
    files: Tls,
    offer: Offer,
    session: ArcSwap<Session>,
}

/// What new connections are made with, and which contents of the files it came from.
pub struct Session {
    config: Arc<ServerConfig>,
    contents: Digest,
}

impl ServerTls {
    /// Reads the files.
    pub fn new(files: &Tls, offer: Offer) -> Result<Arc<Self>, TlsFault> {
        let session = ArcSwap::from_pointee(session(files, offer)?);
        Ok(Arc::new(Self { files: files.clone(), offer, session }))
    }

    /// Reads the files again, for [`Self::adopt`]; none when they hold what is in use. Nothing changes yet.
    pub fn read_again(&self) -> Result<Option<Session>, TlsFault> {
        let session = session(&self.files, self.offer)?;
        let same = session.contents.as_ref() == self.session.load().contents.as_ref();
        Ok((!same).then_some(session))
    }

    /// Whether it is made of these files.
    pub fn is_of(&self, files: &Tls) -> bool {
        self.files == *files
    }

    /// New connections use this from now on; those that are open stay as they are.
    pub fn adopt(&self, session: Session) {
        self.session.store(Arc::new(session));
    }

    /// What accepts the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.session.load().config.clone())
    }
}

fn session(files: &Tls, offer: Offer) -> Result<Session, TlsFault> {
    // Read first: what is written in between is another content, and is seen at the next look.
    let contents = digest_of(files);
    Ok(Session { config: server(files, offer)?, contents })
}

fn digest_of(files: &Tls) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for path in [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten() {
        let bytes = Zeroizing::new(std::fs::read(path).unwrap_or_default());
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(&bytes);
    }
    context.finish()
}

fn server(files: &Tls, offer: Offer) -> Result<Arc<ServerConfig>, TlsFault> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // AES-128-GCM costs least per byte; the sort is stable.
    provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_128_GCM"));
    let provider = Arc::new(provider);
    let of = |setting, path: &Path| {
        let path = path.to_owned();
        move |why: String| TlsFault { setting, path, why }
    };
    let chain = certificates(&files.cert).map_err(of("cert", &files.cert))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| of("key", &files.key)(format!("no private key in PEM ({})", kind_of(&error))))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| of("cert", &files.cert)(error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(path).map_err(of("client_ca", path))?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| of("client_ca", path)(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| of("key", &files.key)(error.to_string()))?;
    // Every suite is a good one; which is taken is decided here all the same.
    config.ignore_client_order = true;
    config.alpn_protocols = match offer {
        Offer::H2AndH1 => vec![H2.to_vec(), b"http/1.1".to_vec()],
        Offer::H1 => vec![b"http/1.1".to_vec()],
    };
    if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| kind_of(&error))?;
    let read: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| kind_of(&error))?;
    if read.is_empty() { Err("no certificate in PEM".to_owned()) } else { Ok(read) }
}

/// What is wrong with a file, without anything of it.
fn kind_of(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.kind().to_string(),
        Error::NoItemsFound => "nothing of the kind in it".to_owned(),
        _ => "not PEM".to_owned(),
    }
}

/// HTTP/2 over TLS (RFC 9113 3.2).
pub(super) const H2: &[u8] = b"h2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_none_are_named_without_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = rcgen::generate_simple_self_signed(vec!["gate.example".to_owned()]).unwrap();
        let (cert, key) = (file("cert.pem", &made.cert.pem()), file("key.pem", &made.signing_key.serialize_pem()));
        let other = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
        let other = file("other.pem", &other.signing_key.serialize_pem());
        let planted = file("planted.pem", "-----BEGIN PRIVATE KEY-----\nplanted!!\n-----END PRIVATE KEY-----\n");
        let setting = |cert: &PathBuf, key: &PathBuf, client_ca: Option<&PathBuf>| {
            let files = Tls { cert: cert.clone(), key: key.clone(), client_ca: client_ca.cloned() };
            let fault = ServerTls::new(&files, Offer::H1).err();
            assert!(fault.as_ref().is_none_or(|fault| !fault.to_string().contains("planted!!")), "{fault:?}");
            fault.map(|fault| fault.setting)
        };
        assert_eq!(setting(&cert, &key, None), None);
        assert_eq!(setting(&cert, &key, Some(&cert)), None);
        assert_eq!(setting(&key, &key, None), Some("cert"));
        assert_eq!(setting(&cert, &cert, None), Some("key"));
        assert_eq!(setting(&cert, &planted, None), Some("key"));
        assert_eq!(setting(&cert, &other, None), Some("key"));
        assert_eq!(setting(&cert, &key, Some(&key)), Some("client_ca"));
        assert_eq!(setting(&folder.path().join("none"), &key, None), Some("cert"));
    }

    #[test]
    fn a_reload_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["gate.example".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = ServerTls::new(&Tls { cert: cert.clone(), key, client_ca: None }, Offer::H2AndH1).unwrap();
        let before = tls.session.load_full();
        assert!(tls.read_again().unwrap().is_none(), "it is the same");
        std::fs::write(&cert, "not yet whole").unwrap();
        assert_eq!(tls.read_again().err().unwrap().setting, "cert");
        assert!(Arc::ptr_eq(&before, &tls.session.load_full()));
        std::fs::write(&cert, format!("{}\n", made.cert.pem())).unwrap();
        tls.adopt(tls.read_again().unwrap().unwrap());
        assert!(!Arc::ptr_eq(&before, &tls.session.load_full()));
    }
}
