//! The certificates of a bundle. A system's has some 150 of them, and to decode them as keys are decoded, in a time that
//! tells nothing of them, takes most of what a start computes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use rustls::pki_types::CertificateDer;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The certificates of a file of PEM (RFC 7468), in their order, without the remarks between them; `None` where there is
/// anything else, or one of them is not as the standard has it.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let dashes = Finder::new(b"-----");
    let (mut found, mut encoded, mut rest) = (Vec::new(), Vec::new(), pem);
    while let Some(at) = dashes.find(rest) {
        let begins_a_line = is_end_of_line(rest[..at].last());
        rest = rest[at..].strip_prefix(BEGIN)?;
        let length = dashes.find(rest)?;
        let mut lines = rest[..length].split(|byte| *byte == b'\n');
        let stands_alone = lines.next()?.trim_ascii().is_empty();
        if !begins_a_line || !stands_alone || !is_end_of_line(rest[..length].last()) {
            return None;
        }
        encoded.clear();
        lines.for_each(|line| encoded.extend_from_slice(line.trim_ascii()));
        found.push(STANDARD.decode(&encoded).ok()?.into());
        rest = rest[length..].strip_prefix(END).filter(|rest| is_end_of_line(rest.first()))?;
    }
    Some(found)
}

/// Whether a line ends with that byte, if it is not the file that does.
fn is_end_of_line(byte: Option<&u8>) -> bool {
    byte.is_none_or(|byte| matches!(byte, b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
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
        let bundles = [
            String::new(),
            "no certificate\n".to_owned(),
            some.concat(),
            some.join("\n\n"),
            some.concat().replace('\n', "\r\n"),
            some.join("# Issuer: C=XX, O=\"Somebody\"\n=======\n"),
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
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let without_end = some[0].replace(std::str::from_utf8(END).unwrap(), "");
        for broken in [
            without_end.clone(),
            format!("{without_end}{}", some[1]),
            some[0].replacen("MII", "MI-", 1),
            format!("{}{key}{}", some[0], some[1]),
            format!("#{}", some[0]),
            format!("{}# {}", some[1], some[0]),
            some[0].replacen("-----\n", "-----", 1),
            some[0].replacen("\n-----END", "-----END", 1),
            format!("{}# and more\n", some[0].trim_end()),
        ] {
            assert_eq!(certificates(broken.as_bytes()), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_to_a_bundle_it_is_read_as_the_library_reads_it_or_not_at_all(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(CHANGES)), 1..4),
        ) {
            static BUNDLE: LazyLock<String> = LazyLock::new(|| some().join("# the next\n"));
            let mut bundle = BUNDLE.clone();
            for (at, change) in changes {
                // Where lines end more happens than within them.
                let places: Vec<_> = bundle.match_indices(['\n', '-']).map(|(at, _)| at).collect();
                let at = *at.get(&places);
                bundle.replace_range(at..at + 1, change);
            }
            // It goes on behind what it cannot read.
            let library: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect();
            if let Some(read) = certificates(bundle.as_bytes()) {
                prop_assert_eq!(read, library, "{}", bundle);
            }
        }
    }

    /// What may stand in place of a byte.
    const CHANGES: &[&str] = &[
        "",
        "\n\n",
        "\r",
        "\r\n",
        " ",
        "\n#",
        "# ",
        "\n-----BEGIN CERTIFICATE-----\n",
        "\n-----END CERTIFICATE-----\n",
        "=",
    ];
}
