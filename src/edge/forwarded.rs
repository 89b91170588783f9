//! Whom a trusted proxy speaks for: the client that its `X-Forwarded-For` names.
//!
//! For records and per-client limits only. Each proxy appends whom it heard the request from, so the list is read from
//! its end: the last address that is no trusted proxy's is the client, and whatever stands before it is hearsay.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

/// The client behind the trusted proxy `peer`.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let named = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer;
    for text in named {
        let Some(address) = address(text.trim_ascii()) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: with or without a port, an IPv6 one with or without brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let trusted = |address: IpAddr| address.to_string().starts_with("10.");
            client(&headers, [10, 0, 0, 1].into(), trusted).to_string()
        };
        assert_eq!(of(&[]), "10.0.0.1");
        assert_eq!(of(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(of(&["203.0.113.9, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(of(&["203.0.113.9, 192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(of(&["203.0.113.9", "192.0.2.1 ,10.0.0.2"]), "192.0.2.1");
        assert_eq!(of(&["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(of(&["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(of(&["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(of(&["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(of(&["::ffff:192.0.2.1"]), "192.0.2.1");
        assert_eq!(of(&["192.0.2.1, unknown, 10.0.0.2"]), "10.0.0.2");
    }
}
