//! The shape of a gateway key, `cgk_<id>_<secret>` in lower-case letters and digits (contract.md 3): what is looked for
//! where no key may stand.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// What a key begins with.
pub const MARK: &[u8] = b"cgk_";
/// Letters of the id.
pub const ID: usize = 8;
/// Letters of the secret, in a key that the gateway made.
pub const SECRET: usize = 32;

/// Whether a text begins as a key does. A part of the secret is enough; and enough for texts of other kinds, such as
/// cursors in Base64, to look like it next to never.
pub fn begins_like_key(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(MARK) else { return false };
    let is_part = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    rest.len() >= ID + 1 + SHOWN && is_part(&rest[..ID]) && rest[ID] == b'_' && is_part(&rest[ID + 1..ID + 1 + SHOWN])
}

/// Whether something like a key stands anywhere in a text.
pub fn mentions_key(text: &[u8]) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
    text.len() >= TELLING && FINDER.find_iter(text).any(|at| begins_like_key(&text[at..]))
}

/// How many letters of the secret make a text look like a key.
const SHOWN: usize = 8;
/// How many bytes show that a text begins as a key does.
pub const TELLING: usize = MARK.len() + ID + 1 + SHOWN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_shape_wherever_it_stands() {
        for text in ["cgk_0123abcd_01234567", "/x/cgk_0123abcd_01234567_more", "cgk_cgk_0123abcd_01234567"] {
            assert!(mentions_key(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "cgk_",
            "cgk_0123abcd",
            "cgk_0123abcd_0123456",
            "cgk_0123abc_012345678",
            "CGK_0123ABCD_01234567",
            "cgk_monitoring/1.0",
            "multipart/form-data; boundary=cgk_boundary01",
            "eyJhIjoxfQ9xcGk_abcDEF12345zz",
        ] {
            assert!(!mentions_key(text.as_bytes()), "{text}");
        }
    }
}
