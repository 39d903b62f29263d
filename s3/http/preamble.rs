//! The PROXY protocol (HAProxy, "The PROXY protocol, versions 1 & 2"), in which a proxy states the address of its
//! client before anything else is sent.
//!
//! Parsing is strict: a header that does not follow the specification exactly ends the connection, since its writer may
//! mean another client than the one that would be parsed. Its length is limited to [`PREAMBLE_BYTES_MAX`]. The caller
//! decides whether a peer may send one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use engine::hash::{Checksum, ChecksumAlgorithm};

use crate::limits::PREAMBLE_BYTES_MAX;

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preamble {
    /// It may be the start of a header: more bytes are needed.
    Partial,
    /// It is not a header: these are the client's own bytes.
    Absent,
    /// A header with its length in bytes and the client that it names: `None` if the proxy speaks for itself, or for a
    /// client without an internet address.
    Header(usize, Option<SocketAddr>),
}

/// It begins like a header but is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, including its end.
const LINE_BYTES_MAX: usize = 107;
/// Version 2 up to the addresses: signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
/// The extension that holds a CRC-32C of the header.
const CHECKSUM: u8 = 0x03;

/// Parses the header at the start of `bytes`.
///
/// # Errors
/// If it is malformed or too long.
pub fn parse(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let begins = |signature: &[u8]| {
        let common = signature.len().min(bytes.len());
        bytes[..common] == signature[..common]
    };
    match (begins(SIGNATURE_1), begins(SIGNATURE_2)) {
        (true, _) if bytes.len() >= SIGNATURE_1.len() => parse_line(bytes),
        (_, true) if bytes.len() >= SIGNATURE_2.len() => parse_binary(bytes),
        (false, false) => Ok(Preamble::Absent),
        _ => Ok(Preamble::Partial),
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n`
fn parse_line(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_BYTES_MAX)]) else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(Preamble::Partial) } else { Err(Malformed) };
    };
    let line = bytes[SIGNATURE_1.len()..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    if line.contains('\r') {
        return Err(Malformed);
    }
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        // The rest must be ignored.
        ["UNKNOWN", ..] => None,
        ["TCP4", from, to, from_port, to_port] => Some(ends::<Ipv4Addr>([from, to], [from_port, to_port])?),
        ["TCP6", from, to, from_port, to_port] => Some(ends::<Ipv6Addr>([from, to], [from_port, to_port])?),
        _ => return Err(Malformed),
    };
    Ok(Preamble::Header(end + 1, client))
}

/// The client of a connection, if both of its ends are well-formed.
fn ends<A: std::str::FromStr + Into<IpAddr>>(
    addresses: [&str; 2],
    ports: [&str; 2],
) -> Result<SocketAddr, Malformed> {
    let address = |text: &str| text.parse::<A>().map(Into::into).map_err(|_| Malformed);
    let port = |text: &str| match text.as_bytes() {
        [b'0'] => Ok(0),
        [b'1'..=b'9', ..] => text.parse::<u16>().map_err(|_| Malformed),
        _ => Err(Malformed),
    };
    let (client, _) = (address(addresses[0])?, address(addresses[1])?);
    let (client_port, _) = (port(ports[0])?, port(ports[1])?);
    Ok(SocketAddr::new(client, client_port))
}

fn parse_binary(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(Preamble::Partial) };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || FIXED_BYTES + length > PREAMBLE_BYTES_MAX {
        return Err(Malformed);
    }
    let address_bytes = match (command, family) {
        // The proxy connected on its own behalf, for a health check: the rest must be ignored.
        (0x20, _) | (_, 0x00) => 0,
        (_, 0x11) => 12,
        (_, 0x21) => 36,
        (_, 0x31) => 216,
        // A datagram carries no request.
        _ => return Err(Malformed),
    };
    let Some(rest) = rest.get(..length) else { return Ok(Preamble::Partial) };
    let header = &bytes[..FIXED_BYTES + length];
    if command == 0x20 {
        return Ok(Preamble::Header(header.len(), None));
    }
    let (addresses, extensions) = rest.split_at_checked(address_bytes).ok_or(Malformed)?;
    check_extensions(header, extensions)?;
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let client = match family {
        0x11 => addresses.first_chunk().map(|ip: &[u8; 4]| SocketAddr::from((*ip, port(8)))),
        0x21 => addresses.first_chunk().map(|ip: &[u8; 16]| SocketAddr::from((*ip, port(32)))),
        _ => None,
    };
    Ok(Preamble::Header(header.len(), client))
}

/// Checks that the extensions fill their space exactly, and that a checksum among them is right. It is computed with
/// zeros in its own place.
fn check_extensions(header: &[u8], mut extensions: &[u8]) -> Result<(), Malformed> {
    while let [kind, high, low, rest @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, next) = rest.split_at_checked(length).ok_or(Malformed)?;
        if *kind == CHECKSUM {
            let at = header.len() - next.len() - length;
            let mut zeroed = header.to_vec();
            zeroed[at..at + length].fill(0);
            if Checksum::of(ChecksumAlgorithm::Crc32c, &zeroed).as_bytes() != value {
                return Err(Malformed);
            }
        }
        extensions = next;
    }
    if extensions.is_empty() { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
#[path = "preamble_tests.rs"]
mod tests;
