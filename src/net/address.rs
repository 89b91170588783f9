//! Which addresses a secret may go to: those of the public Internet, unless more was said (security.md 42).
//!
//! IPv4 is judged by the blocks that IANA keeps for special purposes (RFC 6890), IPv6 the other way round: public is only
//! what IANA gives out, 2000::/3, without the special blocks in it. An IPv6 address that carries one of IPv4 (mapped, of
//! a NAT64, of 6to4) is what it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a name may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// Anywhere: the place was said outright, or `danger_private_upstream` is.
    Any,
    /// To public addresses.
    Public,
    /// To this machine: clear text (security.md 40), or `localhost` (RFC 6761 6.3).
    Loopback,
}

/// A name that leads to no address that it may lead to.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` leads to {address} ({}); {}", purpose(*address).unwrap_or("public"), permission.remedy())]
pub struct Prohibited {
    name: String,
    address: IpAddr,
    permission: Permission,
}

impl Permission {
    /// Those of the addresses of a name that may be connected to; a fault when there is none among them.
    pub(super) fn admitted(self, name: &str, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Prohibited> {
        let first = found.first().copied();
        found.retain(|address| self.admits(address.ip()));
        match first {
            Some(address) if found.is_empty() => {
                Err(Prohibited { name: name.to_owned(), address: address.ip(), permission: self })
            }
            _ => Ok(found),
        }
    }

    fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Public => purpose(address).is_none(),
            Self::Loopback => address.to_canonical().is_loopback(),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Loopback => "it may lead to loopback only",
            Self::Public | Self::Any => "`danger_private_upstream = true`, in [upstream] or on the route, permits that",
        }
    }
}

/// What an address is for, of one that is not public.
fn purpose(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(four) => purpose_of_four(four),
        IpAddr::V6(six) => match carried(six) {
            Some(four) => purpose_of_four(four),
            None => purpose_of_six(six),
        },
    }
}

fn purpose_of_four(address: Ipv4Addr) -> Option<&'static str> {
    let within = |block: Ipv4Addr, length: u32| (address.to_bits() ^ block.to_bits()).leading_zeros() >= length;
    FOUR.iter().find(|([a, b, c, d], length, _)| within(Ipv4Addr::new(*a, *b, *c, *d), *length)).map(|block| block.2)
}

fn purpose_of_six(address: Ipv6Addr) -> Option<&'static str> {
    let within = |block: &[u16; 8], length: u32| {
        (address.to_bits() ^ Ipv6Addr::from(*block).to_bits()).leading_zeros() >= length
    };
    let special = SIX.iter().find(|(block, length, _)| within(block, *length)).map(|block| block.2);
    special.or_else(|| (!within(&[0x2000, 0, 0, 0, 0, 0, 0, 0], 3)).then_some("not given out"))
}

/// The IPv4 address that an IPv6 address stands for.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        // RFC 4291 2.5.5.2, RFC 6052 2.1.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        // RFC 3056 2.
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// The special-purpose blocks of IPv4, and multicast.
const FOUR: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared behind a carrier's NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    // Where clouds answer questions about the machine: 169.254.169.254.
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "for protocols"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 88, 99, 0], 24, "relays of 6to4"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
    // Public by number, and yet inside: Azure answers there as others do at 169.254.169.254.
    ([168, 63, 129, 16], 32, "the platform of a cloud"),
];

/// The special blocks of IPv6: those within 2000::/3, and a word for the best known of the others.
const SIX: [([u16; 8], u32, &str); 9] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "private"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "for protocols"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<&'static str> {
        purpose(address.parse().unwrap())
    }

    #[test]
    fn line_42_the_ends_of_every_special_block_are_known_and_their_neighbours_are_public() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("168.63.129.16", "168.63.129.16"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
        ] {
            let bits = |address: &str| address.parse::<Ipv4Addr>().unwrap().to_bits();
            assert!(of(first).is_some() && of(last).is_some(), "{first} to {last}");
            for outside in [bits(first).checked_sub(1), bits(last).checked_add(1)].into_iter().flatten() {
                let outside = Ipv4Addr::from_bits(outside);
                assert_eq!(purpose_of_four(outside), None, "{outside} beside {first} to {last}");
                // And so in every form that carries it.
                assert_eq!(purpose(outside.to_ipv6_mapped().into()), None, "{outside}");
            }
        }
        for public in ["1.1.1.1", "8.8.8.8", "104.18.7.44", "192.0.1.0", "192.0.3.0", "223.255.255.255"] {
            assert_eq!(of(public), None, "{public}");
        }
    }

    #[test]
    fn line_42_addresses_of_ipv6_are_public_in_what_iana_gives_out_alone() {
        for special in [
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "1fff:ffff::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(of(special).is_some(), "{special}");
        }
        for public in ["2000::1", "2001:200::1", "2606:4700::6812:72c", "2a00::1", "3ffe::1", "3fff:1000::1"] {
            assert_eq!(of(public), None, "{public}");
        }
    }

    #[test]
    fn line_42_an_address_that_carries_one_of_ipv4_is_what_it_carries() {
        for (inner, special) in [("169.254.169.254", true), ("10.1.2.3", true), ("127.0.0.1", true), ("1.1.1.1", false)]
        {
            let four: Ipv4Addr = inner.parse().unwrap();
            let [high, low] = [four.to_bits() >> 16, four.to_bits() & 0xffff];
            let nat64 = format!("64:ff9b::{inner}");
            for six in [format!("::ffff:{inner}"), nat64, format!("2002:{high:x}:{low:x}::1")] {
                assert_eq!(of(&six).is_some(), special, "{six}");
            }
        }
    }

    #[test]
    fn line_42_of_a_list_only_what_is_permitted_is_left() {
        let list = |addresses: &[&str]| addresses.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = ["169.254.169.254:443", "1.1.1.1:443", "[::1]:443", "[2606:4700::1]:443", "[::ffff:127.0.0.1]:443"];
        for (permission, left) in [
            (Permission::Any, &mixed[..]),
            (Permission::Public, &["1.1.1.1:443", "[2606:4700::1]:443"]),
            (Permission::Loopback, &["[::1]:443", "[::ffff:127.0.0.1]:443"]),
        ] {
            assert_eq!(permission.admitted("close.test:443", list(&mixed)).unwrap(), list(left), "{permission:?}");
        }
        let told = |permission: Permission, address: &str| {
            permission.admitted("close.test:443", list(&[address])).unwrap_err().to_string()
        };
        assert_eq!(
            told(Permission::Public, "169.254.169.254:443"),
            "`close.test:443` leads to 169.254.169.254 (link-local); `danger_private_upstream = true`, in [upstream] or on the route, permits that"
        );
        assert_eq!(
            told(Permission::Loopback, "1.1.1.1:443"),
            "`close.test:443` leads to 1.1.1.1 (public); it may lead to loopback only"
        );
        assert_eq!(Permission::Public.admitted("close.test:443", Vec::new()).unwrap(), []);
    }
}
