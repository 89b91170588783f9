//! The certificates of a bundle. A system's has some 150 of them, and to decode them as keys are decoded, in a time that
//! tells nothing of them, takes most of what a start computes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use rustls::pki_types::CertificateDer;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The certificates of a file of PEM (RFC 7468), in their order, without what stands between them; `None` where one of
/// them is not as the standard has it.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let (begin, end) = (Finder::new(BEGIN), Finder::new(END));
    let (mut found, mut encoded, mut rest) = (Vec::new(), Vec::new(), pem);
    while let Some(at) = begin.find(rest) {
        rest = &rest[at + BEGIN.len()..];
        let length = end.find(rest)?;
        encoded.clear();
        for line in rest[..length].split(|byte| *byte == b'\n') {
            encoded.extend_from_slice(line.trim_ascii());
        }
        found.push(STANDARD.decode(&encoded).ok()?.into());
        rest = &rest[length + END.len()..];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// Some certificates, in PEM.
    fn some() -> Vec<String> {
        let names = ["a", "b.example", "a-longer-name.example"];
        let made = names.map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap());
        made.map(|made| made.cert.pem()).to_vec()
    }

    #[test]
    fn a_bundle_is_read_as_the_library_reads_it() {
        let some = some();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let bundles = [
            String::new(),
            "no certificate\n".to_owned(),
            some.concat(),
            some.join("\n\n"),
            some.concat().replace('\n', "\r\n"),
            some.join("# Issuer: C=XX, O=\"Somebody\"\n=======\n"),
            format!("{}{key}{}", some[0], some[1]),
            some[0].trim_end().to_owned(),
        ];
        for (number, bundle) in bundles.iter().enumerate() {
            let library: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect();
            assert_eq!(certificates(bundle.as_bytes()).unwrap(), library.unwrap(), "bundle {number}");
        }
    }

    #[test]
    fn what_is_not_as_the_standard_has_it_is_not_guessed_at() {
        let some = some();
        let without_end = some[0].replace(std::str::from_utf8(END).unwrap(), "");
        for broken in [&without_end, &format!("{without_end}{}", some[1]), &some[0].replacen("MII", "MI-", 1)] {
            assert_eq!(certificates(broken.as_bytes()), None, "{broken}");
        }
    }
}
