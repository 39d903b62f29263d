//! Trusted proxies: which ones may state the address of a client, and what is believed of it.
//!
//! A proxy states the address of its own peer, by the PROXY protocol ([`crate::http::preamble`]) or by the last entry
//! of `X-Forwarded-For`. It is believed only if its own address is in one of the configured networks. The client is
//! therefore the first address, counted from here, that belongs to no trusted proxy, and whatever a stranger wrote
//! about itself is never read.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use smallvec::SmallVec;

use crate::limits::PROXY_HOPS_MAX;

/// A network: an address and the number of its leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether the network contains an address. An IPv4 address counts as IPv4 also in its IPv6-mapped form, in which a
    /// dual-stack listener sees it.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.network)
    }
}

/// An address with only its leading bits kept; `None` if it has fewer bits.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let zeros = |bits: u32| bits.checked_sub(u32::from(prefix));
    Some(match address {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(zeros(32)?).unwrap_or(0)).into()),
        IpAddr::V6(ip) => {
            IpAddr::V6(Ipv6Addr::from(ip.to_bits() & u128::MAX.checked_shl(zeros(128)?).unwrap_or(0)))
        }
    })
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Cidr, String> {
        let form = "a network is an address and a number of bits, such as 10.0.0.0/8 or 2001:db8::/32";
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| form.to_owned())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let digits = |bits: &str| {
            bits.bytes().all(|byte| byte.is_ascii_digit()) && !(bits.len() > 1 && bits.starts_with('0'))
        };
        let prefix: u8 = match bits {
            None => all,
            Some(bits) if digits(bits) => bits.parse().map_err(|_| form.to_owned())?,
            Some(_) => return Err(form.to_owned()),
        };
        let network = masked(address, prefix).ok_or_else(|| form.to_owned())?;
        let mapped = address.is_ipv6() && address.to_canonical().is_ipv4() && prefix >= 96;
        let (address, network, prefix) = match mapped {
            true => (address.to_canonical(), network.to_canonical(), prefix - 96),
            false => (address, network, prefix),
        };
        if prefix == 0 {
            return Err("with /0 every client could choose its own address: name the network of the proxies"
                .to_owned());
        }
        if network != address {
            return Err(format!("{address} has bits beyond the first {prefix}: give {network}/{prefix}"));
        }
        Ok(Cidr { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// The networks of the proxies that are trusted; by default there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Cidr>);

impl Proxies {
    /// Trusts the proxies of these networks.
    pub fn new(networks: Vec<Cidr>) -> Proxies {
        Proxies(networks)
    }

    /// Whether an address is that of a trusted proxy.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client behind `peer`, according to the values of the `X-Forwarded-For` headers of a request, in order. Its
    /// port is 0 if the header does not name one.
    pub fn client<'a>(&self, peer: SocketAddr, forwarded: impl Iterator<Item = &'a [u8]>) -> SocketAddr {
        let mut client = peer;
        if !self.trust(peer.ip()) {
            return client;
        }
        let values: SmallVec<[&[u8]; 4]> = forwarded.collect();
        let entries = values.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        for entry in entries.take(PROXY_HOPS_MAX) {
            if !self.trust(client.ip()) {
                break;
            }
            // A proxy that does not know the address of its peer is itself the last known address.
            let Some(address) = forwarded_address(entry) else { break };
            client = address;
        }
        client
    }
}

/// Parses an entry of `X-Forwarded-For`: an address, with or without a port.
fn forwarded_address(entry: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    if text.contains('%') {
        // A zone names an interface of the machine that wrote it and means nothing here (RFC 4007, 11).
        return None;
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_port = || bare.parse().ok().map(|address| SocketAddr::new(address, 0));
    text.parse().ok().or_else(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn client(proxies: &Proxies, peer: &str, forwarded: &[&str]) -> String {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4000);
        proxies.client(peer, forwarded.iter().map(|value| value.as_bytes())).to_string()
    }

    #[test]
    fn networks_are_parsed_strictly() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("128.0.0.0/1", "128.0.0.0/1"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
        let bad = [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0/8",
            "10.0.0.0/8/8",
        ];
        for text in bad.into_iter().chain([
            "0.0.0.0/0",
            "::/0",
            "::ffff:0:0/96",
            "::ffff:10.0.0.0/96",
            "proxy.example.com",
        ]) {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert!("10.1.2.3/8".parse::<Cidr>().unwrap_err().contains("10.0.0.0/8"));
    }

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_listener_belongs_to_its_ipv4_network() {
        let proxies = proxies(&["10.0.0.0/8"]);
        assert!(proxies.trust("::ffff:10.1.2.3".parse().unwrap()));
        assert!(
            !proxies.trust("::ffff:11.1.2.3".parse().unwrap())
                && !proxies.trust("::10.1.2.3".parse().unwrap())
        );
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let trusted = proxies(&["10.0.0.0/8", "fd00::/8"]);
        for (peer, forwarded, expected) in [
            ("10.0.0.1", &["203.0.113.9"][..], "203.0.113.9:0"),
            ("10.0.0.1", &["203.0.113.9:77"], "203.0.113.9:77"),
            ("10.0.0.1", &["2001:db8::1"], "[2001:db8::1]:0"),
            ("10.0.0.1", &["[2001:db8::1]:5"], "[2001:db8::1]:5"),
            // Each proxy appends its own peer; a stranger may have written whatever comes before its own address.
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9:0"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.9", "fd00::1"], "203.0.113.9:0"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3:0"),
            ("10.0.0.1", &[], "10.0.0.1:4000"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1:4000"),
            ("10.0.0.1", &["[2001:db8::1%2]:5"], "10.0.0.1:4000"),
            ("10.0.0.1", &["unknown, 10.0.0.2"], "10.0.0.2:0"),
            ("10.0.0.1", &["", "203.0.113.9,"], "10.0.0.1:4000"),
        ] {
            assert_eq!(client(&trusted, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn the_number_of_hops_is_bounded() {
        let chain = format!("203.0.113.9{}", ", 10.0.0.2".repeat(100_000));
        assert_eq!(client(&proxies(&["10.0.0.0/8"]), "10.0.0.1", &[&chain]), "10.0.0.2:0");
    }

    proptest! {
        #[test]
        fn strangers_cannot_choose_their_address(peer in any::<u32>(), forwarded in ".{0,60}") {
            let peer = std::net::Ipv4Addr::from(peer | 0x8000_0000).to_string();
            prop_assert_eq!(client(&proxies(&["10.0.0.0/8"]), &peer, &[&forwarded]), format!("{peer}:4000"));
        }

        #[test]
        fn a_network_contains_what_agrees_in_its_leading_bits(network in any::<u32>(), prefix in 1_u32..=32, other in any::<u32>()) {
            let mask = u32::MAX << (32 - prefix);
            let cidr: Cidr = format!("{}/{prefix}", std::net::Ipv4Addr::from(network & mask)).parse().unwrap();
            prop_assert_eq!(cidr.contains(IpAddr::V4(other.into())), other & mask == network & mask);
            prop_assert!(cidr.contains(IpAddr::V4((network & mask | other & !mask).into())));
        }
    }
}
