//! The search for secrets: every form that a program could have put them in, and the tail of each.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A search for some secrets in bytes.
pub(super) struct Search {
    /// Pieces of the forms by their length, in lower case.
    pieces: BTreeMap<usize, HashSet<Vec<u8>>>,
}

impl Search {
    /// For the secret parts of texts: of `api_ID.SECRET` and `cgk_ID_SECRET` the ids may be known.
    pub(super) fn of(secrets: &[&str]) -> Self {
        let mut search = Self { pieces: BTreeMap::new() };
        for (secret, form) in
            secrets.iter().flat_map(|secret| forms(secret).into_iter().map(move |form| (secret, form)))
        {
            let length = form.1.min(form.0.len());
            assert!(length >= 8, "{secret} is too short to be told from other text");
            for piece in form.0.as_bytes().windows(length) {
                search.pieces.entry(length).or_default().insert(piece.to_ascii_lowercase());
            }
        }
        search
    }

    /// The first piece of a secret in the bytes, with what is around it.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<String> {
        let lower = bytes.to_ascii_lowercase();
        self.pieces.iter().find_map(|(length, pieces)| {
            let at = lower.windows(*length).position(|window| pieces.contains(window))?;
            let around = &bytes[at.saturating_sub(80)..bytes.len().min(at + 80)];
            Some(String::from_utf8_lossy(around).into_owned())
        })
    }
}

/// The part that is secret.
pub(super) fn private(secret: &str) -> &str {
    let begins = |lead: &str, mark: char| {
        let rest = secret.strip_prefix(lead)?;
        Some(&rest[rest.find(mark)? + 1..])
    };
    begins("api_", '.').or_else(|| begins("cgk_", '_')).unwrap_or(secret)
}

/// Each form, and how much of it in a row betrays the secret.
pub(super) fn forms(secret: &str) -> Vec<(String, usize)> {
    let private = private(secret);
    let hex = private.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let percent = private.bytes().fold(String::new(), |mut percent, byte| {
        write!(percent, "%{byte:02x}").unwrap();
        percent
    });
    let list = private.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let mut forms = vec![(private.to_owned(), 10), (hex, 20), (percent, 30), (list, 40)];
    // Base64 has three forms of a text that stands inside another, by the place where it begins.
    for lead in 0..3 {
        for engine in [STANDARD, URL_SAFE] {
            let encoded = engine.encode([&b"xxx"[..lead], private.as_bytes()].concat());
            // The characters at the ends are made of neighbours as well.
            let own = &encoded[if lead == 0 { 0 } else { 4 }..private.len() / 3 * 4];
            forms.push((own.to_owned(), 12));
        }
    }
    forms
}

#[test]
fn the_search_finds_every_form_anywhere_and_nothing_else() {
    let secrets = [
        "api_7b8KOSMa0OevK9qJvT6F9s.privatePartOfAnApiKey",
        "cgk_0123abcd_0privatepartofagatewaykey0",
        "tok/en+of.bearer~0123",
    ];
    let search = Search::of(&secrets);
    for secret in secrets {
        let private = private(secret);
        for context in ["{}", "{}:", "user:{}", "Basic {} and more", "x{}"] {
            let plain = context.replace("{}", secret);
            for text in [
                plain.clone(),
                plain.to_uppercase(),
                STANDARD.encode(&plain),
                URL_SAFE.encode(&plain),
                format!("{:?}", plain.as_bytes()),
                plain.bytes().map(|byte| format!("{byte:02X}")).collect(),
                plain.bytes().map(|byte| format!("%{byte:02X}")).collect(),
                private[private.len() - 10..].to_owned(),
            ] {
                assert!(search.find(format!("noise {text} noise").as_bytes()).is_some(), "{text}");
            }
        }
    }
    for harmless in ["api_7b8KOSMa0OevK9qJvT6F9s", "cgk_0123abcd", "privatePa", "api_***", "a gateway key", "%70%72%69"]
    {
        assert_eq!(search.find(harmless.as_bytes()), None, "{harmless}");
    }
}
