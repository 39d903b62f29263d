//! What a proxy sends in front of a connection: in pieces it parses as it does whole, a plain reader of the
//! specification finds the same client, and only what trusted proxies wrote in `X-Forwarded-For` counts.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use hamster_fuzz::bounded;
use libfuzzer_sys::fuzz_target;
use s3::http::preamble::{Malformed, Preamble, parse};
use s3::limits::PREAMBLE_BYTES_MAX;
use s3::proxies::Proxies;

/// The client that an accepted header names, read word by word or field by field.
fn twin(header: &[u8]) -> Option<SocketAddr> {
    if let Some(line) = header.strip_prefix(b"PROXY ") {
        let line = std::str::from_utf8(line).unwrap().strip_suffix("\r\n").unwrap();
        assert!(header.len() <= 107 && !line.contains(['\r', '\n']));
        let mut words = line.split(' ');
        let family = words.next().unwrap();
        if family == "UNKNOWN" {
            return None;
        }
        let [client, server, client_port, server_port] = [(); 4].map(|()| words.next().unwrap());
        assert_eq!(words.next(), None);
        for (address, port) in [(client, client_port), (server, server_port)] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(address.is_ipv4(), family == "TCP4");
            assert_eq!(port.parse::<u16>().unwrap().to_string(), port);
        }
        return Some(SocketAddr::new(client.parse().unwrap(), client_port.parse().unwrap()));
    }
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(usize::from(header[14]) << 8 | usize::from(header[15]), header.len() - 16);
    let port = |at: usize| u16::from(header[at]) << 8 | u16::from(header[at + 1]);
    match (header[12], header[13]) {
        (0x20, _) | (0x21, 0x00 | 0x31) => None,
        (0x21, 0x11) => Some(SocketAddr::from((<[u8; 4]>::try_from(&header[16..20]).unwrap(), port(24)))),
        (0x21, 0x21) => Some(SocketAddr::from((<[u8; 16]>::try_from(&header[16..32]).unwrap(), port(48)))),
        other => panic!("accepted with version, command and family {other:x?}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let whole: Result<Preamble, Malformed> = bounded(8 * PREAMBLE_BYTES_MAX, || parse(input));
    let first = (0..=input.len()).map(|end| parse(&input[..end])).find(|read| *read != Ok(Preamble::Partial));
    assert_eq!(first.unwrap_or(Ok(Preamble::Partial)), whole, "in pieces");
    match whole {
        Ok(Preamble::Partial) => assert!(input.len() < PREAMBLE_BYTES_MAX, "the wait has an end"),
        Ok(Preamble::Header(length, client)) => {
            assert!(length <= PREAMBLE_BYTES_MAX);
            assert_eq!(client, twin(&input[..length]));
        }
        Ok(Preamble::Absent) | Err(Malformed) => {}
    }

    let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    let values = || input.split(|byte| *byte == b'\n');
    for stranger in ["203.0.113.9:1", "[2001:db8::1]:2", "[::ffff:11.0.0.1]:3"] {
        let stranger: SocketAddr = stranger.parse().unwrap();
        assert_eq!(proxies.client(stranger, values()), stranger);
    }
    let proxy: SocketAddr = "10.0.0.1:4".parse().unwrap();
    let client = proxies.client(proxy, values());
    if client != proxy {
        let text = String::from_utf8_lossy(input).into_owned();
        let entries = text.split(['\n', ',']).map(|entry| entry.trim_matches([' ', '\t', '[', ']']));
        let named = |entry: &str| {
            let address = entry.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| entry.parse());
            address == Ok(client.ip())
                || entry.rsplit_once("]:").is_some_and(|(ip, _)| ip.parse() == Ok(client.ip()))
        };
        assert!(entries.into_iter().any(named), "{client} is nowhere in the header");
    }
});
