//! Percent-encoding as S3 and Signature Version 4 use it. A URI is treated as bytes: it is not normalised, and decoded
//! exactly once.

use std::borrow::Cow;

use crate::error::{Code, S3Error};

/// The set of bytes that encoding leaves as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// RFC 3986's unreserved characters: for query names and values in a canonical request.
    Unreserved,
    /// Those and `/`: for the canonical URI.
    Path,
    /// The characters that AWS leaves unencoded in a list with `encoding-type=url`: the unreserved ones without `~`,
    /// plus `/` and `*`. A space becomes `%20`, since not every decoder accepts `+` for a space.
    ListEncoding,
}

impl Set {
    const fn table(self) -> &'static [bool; 256] {
        const fn build(extra: &[u8]) -> [bool; 256] {
            let mut table = [false; 256];
            let mut at = 0;
            while at < 256 {
                let byte = at as u8;
                table[at] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
                at += 1;
            }
            let mut at = 0;
            while at < extra.len() {
                table[extra[at] as usize] = true;
                at += 1;
            }
            table
        }
        const UNRESERVED: [bool; 256] = build(b"");
        const PATH: [bool; 256] = build(b"/");
        const LIST: [bool; 256] = {
            let mut table = build(b"/*");
            table[b'~' as usize] = false;
            table
        };
        match self {
            Set::Unreserved => &UNRESERVED,
            Set::Path => &PATH,
            Set::ListEncoding => &LIST,
        }
    }
}

/// Appends one byte, percent-encoded unless it is in the table.
#[inline]
fn push(byte: u8, table: &[bool; 256], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if table[usize::from(byte)] {
        out.push(byte);
    } else {
        out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Appends `bytes`, percent-encoded with upper-case digits.
pub fn encode_into(bytes: &[u8], set: Set, out: &mut Vec<u8>) {
    let table = set.table();
    for &byte in bytes {
        push(byte, table, out);
    }
}

/// Appends `raw`, decoded and encoded again, so that it comes out in canonical form however the client wrote it.
/// `plus_is_space` is for queries. A `%` that starts no escape stands for itself.
pub fn recode_into(raw: &[u8], set: Set, plus_is_space: bool, out: &mut Vec<u8>) {
    let table = set.table();
    let mut at = 0;
    loop {
        // Most bytes are unchanged.
        let rest = &raw[at..];
        let stay = rest.iter().position(|byte| !table[usize::from(*byte)]).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..stay]);
        at += stay;
        if at == raw.len() {
            return;
        }
        let (byte, used) = match raw[at] {
            b'%' => match escape_at(raw, at) {
                Some(byte) => (byte, 3),
                None => (b'%', 1),
            },
            b'+' if plus_is_space => (b' ', 1),
            byte => (byte, 1),
        };
        push(byte, table, out);
        at += used;
    }
}

fn escape_at(raw: &[u8], at: usize) -> Option<u8> {
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|d| d as u8);
    Some(digit(raw.get(at + 1)?)? << 4 | digit(raw.get(at + 2)?)?)
}

/// Decodes once; borrows if nothing was encoded. A broken escape is [`Code::InvalidURI`].
pub fn decode(raw: &[u8], plus_is_space: bool) -> Result<Cow<'_, [u8]>, S3Error> {
    let special = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let Some(first) = raw.iter().position(special) else {
        return Ok(Cow::Borrowed(raw));
    };
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(&raw[..first]);
    let mut at = first;
    while at < raw.len() {
        match raw[at] {
            b'%' => {
                out.push(
                    escape_at(raw, at)
                        .ok_or_else(|| Code::InvalidURI.with("The URI has a broken % escape."))?,
                );
                at += 3;
            }
            byte => {
                out.push(if byte == b'+' && plus_is_space { b' ' } else { byte });
                at += 1;
            }
        }
    }
    Ok(Cow::Owned(out))
}

/// Decodes once to text; [`Code::InvalidURI`] if the result is not UTF-8.
pub fn decode_str(raw: &[u8], plus_is_space: bool) -> Result<Cow<'_, str>, S3Error> {
    let not_utf8 = || Code::InvalidURI.with("The URI is not UTF-8 after decoding.");
    match decode(raw, plus_is_space)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| not_utf8()),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| not_utf8()),
    }
}

/// A query string, parsed in place. Names and values are decoded on access. Of several parameters with the same name
/// the first counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    raw: &'a [u8],
}

impl<'a> Query<'a> {
    /// Creates a query from the bytes after the `?`.
    pub fn new(raw: &'a [u8]) -> Query<'a> {
        Query { raw }
    }

    /// The raw bytes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The raw names and values; a parameter without `=` has an empty value.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.raw.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            match memchr::memchr(b'=', pair) {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            }
        })
    }

    /// The raw value of a parameter.
    pub fn get_raw(&self, name: &str) -> Option<&'a [u8]> {
        self.pairs().find(|(n, _)| name_is(n, name)).map(|(_, value)| value)
    }

    /// The decoded value of a parameter.
    pub fn get(&self, name: &str) -> Result<Option<Cow<'a, str>>, S3Error> {
        self.get_raw(name).map(|value| decode_str(value, true)).transpose()
    }

    /// Whether the query has a parameter of this name, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get_raw(name).is_some()
    }
}

/// Whether a raw name, encoded or not, is `name`. A name with a broken escape matches nothing.
pub fn name_is(raw: &[u8], name: &str) -> bool {
    match memchr::memchr2(b'%', b'+', raw) {
        None => raw == name.as_bytes(),
        Some(_) => decode(raw, true).is_ok_and(|decoded| *decoded == *name.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recoded(raw: &str, set: Set, plus: bool) -> String {
        let mut out = Vec::new();
        recode_into(raw.as_bytes(), set, plus, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_path_is_encoded_once_no_matter_how_it_was_sent() {
        assert_eq!(recoded("/a%2fb/(x)+%7e%20y", Set::Path, false), "/a/b/%28x%29%2B~%20y");
        assert_eq!(recoded("100%", Set::Path, false), "100%25");
        assert_eq!(recoded("a+b/c", Set::Unreserved, true), "a%20b%2Fc");
    }

    #[test]
    fn decoding_happens_once_and_refuses_broken_escapes() {
        assert_eq!(decode_str(b"a%252Fb+c", false).unwrap(), "a%2Fb+c");
        assert_eq!(decode_str(b"a+%C3%BC", true).unwrap(), "a ü");
        for broken in [&b"%"[..], b"%4", b"%zz", b"%+1"] {
            assert_eq!(decode(broken, false).unwrap_err().code(), Code::InvalidURI);
        }
        assert_eq!(decode_str(b"%ff", false).unwrap_err().code(), Code::InvalidURI);
    }

    #[test]
    fn a_query_is_parsed_in_place() {
        let query = Query::new(b"uploads&prefix=a%2Fb&&x=1=2&X-Amz-%44ate=q");
        assert!(query.has("uploads") && !query.has("upload"));
        assert_eq!(query.get("prefix").unwrap().unwrap(), "a/b");
        assert_eq!(query.get_raw("x"), Some(&b"1=2"[..]));
        assert_eq!(query.get_raw("X-Amz-Date"), Some(&b"q"[..]));
        assert_eq!(query.pairs().count(), 4);
        // Two names, of which one looks like the encoding of the other.
        let query = Query::new(b"%61=first&%2561=second&b+c=third&b%2Bc=fourth");
        assert_eq!(query.get_raw("a"), Some(&b"first"[..]));
        assert_eq!(query.get_raw("%61"), Some(&b"second"[..]));
        assert_eq!(query.get_raw("b c"), Some(&b"third"[..]));
        assert_eq!(query.get_raw("b+c"), Some(&b"fourth"[..]));
    }

    #[test]
    fn lists_are_percent_encoded_including_spaces() {
        let mut out = Vec::new();
        encode_into("a b/c+d*ü~".as_bytes(), Set::ListEncoding, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a%20b/c%2Bd*%C3%BC%7E");
    }
}
