//! What a server called `localhost` shows, and the root that a proxy trusts for it.

use std::error::Error;
use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate and its key, under a root of their own, which is written to `ca.pem` in that folder.
pub(crate) fn issue(folder: &Path) -> Result<(Certificate, KeyPair), Box<dyn Error>> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, "root of the bench");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate()?;
    fs::write(folder.join("ca.pem"), root.self_signed(&root_key)?.pem())?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &Issuer::new(root, root_key))?;
    Ok((leaf, key))
}
