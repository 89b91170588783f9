//! The forms in which an upstream may give a secret back: what the redactor looks for (contract.md 4 "Returned").
//!
//! Raw, Basic's Base64 (both alphabets, without padding), percent-encoded and JSON-escaped in the ways that encoders
//! in use do it. A form equal to another is left out: a Close API key has eleven.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::secret::Secret;

/// One form of a secret, as bytes in an answer.
pub(super) type Form = Zeroizing<Vec<u8>>;

/// Secrets shorter than this are not looked for: they would be found by accident.
pub(super) const SHORTEST: usize = 12;

/// Every form of a secret and of the user-and-password pair that Basic sends; none of a short secret.
pub(super) fn forms(secret: &Secret, pair: Option<&[u8]>) -> Vec<Form> {
    let mut forms = Vec::new();
    if secret.len() < SHORTEST {
        return forms;
    }
    add_text(&mut forms, secret.expose());
    for engine in pair.iter().flat_map(|_| [STANDARD_NO_PAD, URL_SAFE_NO_PAD]) {
        let mut encoded = Zeroizing::new(String::with_capacity(pair.map_or(0, <[u8]>::len).div_ceil(3) * 4));
        engine.encode_string(pair.unwrap_or_default(), &mut encoded);
        add_text(&mut forms, encoded.as_bytes());
    }
    // Of the key alone it ends in another way.
    for engine in pair.iter().flat_map(|_| [STANDARD_NO_PAD, URL_SAFE_NO_PAD]) {
        let mut encoded = Zeroizing::new(String::with_capacity(secret.len().div_ceil(3) * 4));
        engine.encode_string(secret.expose(), &mut encoded);
        add(&mut forms, Zeroizing::new(encoded.as_bytes().to_vec()));
    }
    forms
}

/// The text itself and its encodings.
fn add_text(forms: &mut Vec<Form>, text: &[u8]) {
    add(forms, Zeroizing::new(text.to_vec()));
    for digits in [LOWER, UPPER] {
        for safe in PERCENT {
            add(forms, percent(text, safe, digits));
        }
        for style in JSON.iter().filter(|_| str::from_utf8(text).is_ok()) {
            add(forms, json(&String::from_utf8_lossy(text), style, digits));
        }
        add(forms, every_byte(text, b"%", digits));
        if text.is_ascii() {
            add(forms, every_byte(text, b"\\u00", digits));
        }
    }
}

/// A text as a value of a form (`application/x-www-form-urlencoded`).
pub(super) fn form(text: &[u8]) -> Form {
    percent(text, b"-._~", UPPER)
}

fn add(forms: &mut Vec<Form>, form: Form) {
    if !forms.contains(&form) {
        forms.push(form);
    }
}

/// RFC 3986 2.1; `safe` is left as it is, beside letters and digits.
fn percent(text: &[u8], safe: &[u8], digits: &[u8; 16]) -> Form {
    let mut form = Zeroizing::new(Vec::with_capacity(3 * text.len()));
    for &byte in text {
        if byte.is_ascii_alphanumeric() || safe.contains(&byte) {
            form.push(byte);
        } else {
            form.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }
    form
}

/// Each byte as two digits behind a mark, also of letters.
fn every_byte(text: &[u8], mark: &[u8], digits: &[u8; 16]) -> Form {
    let mut form = Zeroizing::new(Vec::with_capacity((mark.len() + 2) * text.len()));
    for &byte in text {
        form.extend_from_slice(mark);
        form.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
    form
}

/// How an encoder of JSON writes the characters that it need not write as they are (RFC 8259 7).
struct Json {
    /// Written with a backslash before them.
    backslash: &'static str,
    /// Written as `\u00xx`.
    unicode: &'static str,
    /// Whether all beyond ASCII is written as `\uxxxx`.
    ascii: bool,
}

fn json(text: &str, style: &Json, digits: &[u8; 16]) -> Form {
    let mut form = Zeroizing::new(Vec::with_capacity(6 * text.len()));
    for character in text.chars() {
        let mut units = [0; 2];
        if style.unicode.contains(character) || (style.ascii && !character.is_ascii()) {
            for unit in character.encode_utf16(&mut units) {
                let digit = |shift: u16| digits[usize::from(*unit >> shift & 15)];
                form.extend([b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
            }
        } else {
            if style.backslash.contains(character) {
                form.push(b'\\');
            }
            form.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    form
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// What is left as it is: by RFC 3986, by Python's `quote`, by JavaScript's `encodeURIComponent`, by HTML forms.
const PERCENT: [&[u8]; 4] = [b"-._~", b"-._~/", b"-._~!'()*", b"-._*"];

/// The standard's least, with `\/` as PHP does, with `<>&` as Go and Rails do, with quotes as .NET does, and all of it.
const JSON: [Json; 8] = [
    Json { backslash: "\"\\", unicode: "", ascii: false },
    Json { backslash: "\"\\/", unicode: "", ascii: false },
    Json { backslash: "\"\\", unicode: "", ascii: true },
    Json { backslash: "\"\\/", unicode: "", ascii: true },
    Json { backslash: "\"\\", unicode: "<>&", ascii: false },
    Json { backslash: "\"\\", unicode: "<>&'", ascii: true },
    Json { backslash: "\\", unicode: "\"<>&'+`", ascii: true },
    Json { backslash: "", unicode: "\"\\/<>&'+`=", ascii: true },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(secret: &str, pair: Option<&str>) -> Vec<String> {
        let secret = Secret::new(Zeroizing::new(secret.as_bytes().to_vec()));
        let forms = forms(&secret, pair.map(str::as_bytes));
        forms.iter().map(|form| String::from_utf8(form.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_close_key_has_a_few_forms() {
        let key = "api_7b8KOSMa0OevK9qJvT6F9s.2H3Bt8ktGaQ9kVK45P7j7p";
        let encoded = "YXBpXzdiOEtPU01hME9ldks5cUp2VDZGOXMuMkgzQnQ4a3RHYVE5a1ZLNDVQN2o3cDo";
        let forms = texts(key, Some(&format!("{key}:")));
        let alone = "YXBpXzdiOEtPU01hME9ldks5cUp2VDZGOXMuMkgzQnQ4a3RHYVE5a1ZLNDVQN2o3cA";
        let percent = "%61%70%69%5f%37";
        for known in [key, encoded, alone, percent, "%61%70%69%5F%37", "\\u0061\\u0070\\u0069\\u005f"] {
            assert!(forms.iter().any(|form| form.starts_with(known)), "{known} is not among {forms:#?}");
        }
        // The key and what Basic sends: as they are, and each byte of them in two encodings and two cases; the key alone.
        assert_eq!(forms.len(), 2 * (1 + 2 * 2) + 1);
    }

    #[test]
    fn reserved_characters_give_each_encoders_form() {
        let forms = texts("/a\"b<c\\d?é ~~~", Some("u:/a\"b<c\\d?é ~~~"));
        for form in [
            "/a\"b<c\\d?é ~~~",
            "%2Fa%22b%3Cc%5Cd%3F%C3%A9%20~~~",
            "%2fa%22b%3cc%5cd%3f%c3%a9%20~~~",
            "/a%22b%3Cc%5Cd%3F%C3%A9%20~~~",
            "/a\\\"b<c\\\\d?é ~~~",
            "\\/a\\\"b<c\\\\d?é ~~~",
            "\\/a\\\"b<c\\\\d?\\u00e9 ~~~",
            "/a\\\"b\\u003cc\\\\d?é ~~~",
            "\\u002Fa\\u0022b\\u003Cc\\u005Cd?\\u00E9 ~~~",
            "dTovYSJiPGNcZD/DqSB+fn4",
            "dTovYSJiPGNcZD_DqSB-fn4",
            "dTovYSJiPGNcZD%2FDqSB%2Bfn4",
            "dTovYSJiPGNcZD\\/DqSB+fn4",
        ] {
            assert!(forms.iter().any(|known| known == form), "{form} is not among {forms:#?}");
        }
        let mut unique = forms.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), forms.len());
    }

    #[test]
    fn a_short_secret_has_none() {
        assert!(texts("eleven-long", Some("user:eleven-long")).is_empty());
        assert_eq!(texts("twelve-long-", None).len(), 5);
    }
}
