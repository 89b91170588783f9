//! Query parameters, from a target or from the `_params` of a body (close-api.md 5.8).

use serde_json::Value;

/// Decoded names and values, those of the target first.
#[derive(Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Takes a query apart.
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    /// Adds the members of a body's `_params`.
    pub(super) fn absorb(&mut self, params: &Value) {
        let members = params.as_object().into_iter().flatten();
        self.0.extend(
            members
                .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
        );
    }

    /// Whether a name comes twice.
    pub(super) fn repeats(&self) -> bool {
        self.0.iter().enumerate().any(|(at, (name, _))| self.0[..at].iter().any(|(before, _)| before == name))
    }

    /// The first value of a name.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }
}

/// A value as it stands in a query: all but unreserved characters as `%XX`.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let written = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(written).collect()
}

/// Undoes `%XX` and `+`.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                after
            }
            (b'+', _) => {
                bytes.push(b' ');
                tail
            }
            (other, _) => {
                bytes.push(*other);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        letter => (letter | 32) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_query_is_decoded_and_a_body_adds_to_it() {
        let mut params = Params::parse("query=a+b%3A%22c%22&_limit=5&flag&bad=%zz");
        params.absorb(&json!({ "_limit": 7, "_skip": 2, "_fields": "id" }));
        assert_eq!(params.first("query"), Some("a b:\"c\""));
        assert_eq!((params.first("_limit"), params.first("_skip")), (Some("5"), Some("2")));
        assert_eq!((params.first("flag"), params.first("bad")), (Some(""), Some("%zz")));
        assert_eq!((params.first("_fields"), params.first("none")), (Some("id"), None));
    }
}
