//! The roots that are trusted: the system's, and those of a file beside them.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use openssl_probe::ProbeResult;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_native_certs::load_certs_from_paths;

use super::bundle;
use super::fault::NetFault;

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
    let file = places.cert_file.as_deref();
    let read = file.and_then(|path| bundle::certificates(&fs::read(path).ok()?));
    let found = read.unwrap_or_else(|| load_certs_from_paths(file, None).certs);
    if !found.is_empty() {
        return found;
    }
    places.cert_dir.iter().flat_map(|folder| load_certs_from_paths(None, Some(folder)).certs).collect()
}

/// The system's roots, or, where it has none, those of Mozilla that the program has with it.
fn own() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(system());
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

/// Begins to read the system's roots on a thread of its own: whoever needs them first finds them read. Without a thread
/// for it they are read then.
pub fn read_roots_ahead() {
    let reading = std::thread::Builder::new().name("roots".to_owned()).spawn(own);
    *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = reading.ok();
}

/// The thread that reads the system's roots before somebody asks for them.
static AHEAD: Mutex<Option<JoinHandle<RootCertStore>>> = Mutex::new(None);

/// The system's roots, and those of `extra`, a PEM file, beside them.
pub(super) fn trusted(extra: Option<&Path>) -> Result<RootCertStore, NetFault> {
    beside(AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take(), extra)
}

fn beside(ahead: Option<JoinHandle<RootCertStore>>, extra: Option<&Path>) -> Result<RootCertStore, NetFault> {
    let mut store = ahead.and_then(|reading| reading.join().ok()).unwrap_or_else(own);
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
    fn what_was_read_ahead_is_trusted_and_without_it_what_is_read_now() {
        let folder = TempDir::new().unwrap();
        let (_, certificate) = root(&folder, "ahead");
        let mut store = RootCertStore::empty();
        store.add(certificate).unwrap();
        let read = store.roots.clone();
        assert_eq!(beside(Some(std::thread::spawn(|| store)), None).unwrap().roots, read);
        let broken = std::thread::spawn(|| panic!("as told"));
        for ahead in [None, Some(broken)] {
            assert_eq!(beside(ahead, None).unwrap().roots, own().roots);
        }
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
