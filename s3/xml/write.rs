//! A writer for the small, flat documents that S3 answers with.
//!
//! It appends to the caller's buffer and allocates nothing else: a list page of 1,000 keys is 10,000
//! elements, and building events for a general writer costs more than the bytes do. Names are ours and
//! trusted; text is escaped. Characters that XML 1.0 forbids become numeric references (`&#x1;`), as AWS
//! sends them, though a strict parser refuses those: `encoding-type=url` is what clients use to list such
//! keys.

/// The namespace of S3's documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// An XML document under construction at the end of a buffer.
#[derive(Debug)]
pub struct Xml<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Xml<'a> {
    /// Starts a document: writes the declaration.
    pub fn document(out: &'a mut Vec<u8>) -> Xml<'a> {
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Xml { out }
    }

    /// Opens the root element with S3's namespace.
    pub fn root(&mut self, name: &str) {
        self.raw(&["<", name, " xmlns=\"", NAMESPACE, "\">"]);
    }

    /// Opens an element.
    pub fn open(&mut self, name: &str) {
        self.raw(&["<", name, ">"]);
    }

    /// Closes an element.
    pub fn close(&mut self, name: &str) {
        self.raw(&["</", name, ">"]);
    }

    /// An element with escaped text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        escape(text, self.out);
        self.close(name);
    }

    /// The same, where there is a text.
    pub fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An element that holds a number.
    pub fn number(&mut self, name: &str, number: u64) {
        self.open(name);
        push_u64(number, self.out);
        self.close(name);
    }

    /// An element that holds `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.raw(&["<", name, if value { ">true</" } else { ">false</" }, name, ">"]);
    }

    /// An element that holds a time, to the millisecond.
    pub fn time(&mut self, name: &str, unix_ms: u64) {
        self.open(name);
        self.out.extend_from_slice(&crate::time::iso8601_ms(unix_ms));
        self.close(name);
    }

    /// An element that holds an entity tag, given without its quotes and written with them.
    pub fn etag(&mut self, etag: &str) {
        self.raw(&["<ETag>&quot;"]);
        escape(etag, self.out);
        self.raw(&["&quot;</ETag>"]);
    }

    /// An element that holds a key or a prefix, percent-encoded where the request said `encoding-type=url`.
    pub fn key(&mut self, name: &str, key: &str, url: bool) {
        self.open(name);
        if url {
            crate::uri::encode_into(key.as_bytes(), crate::uri::Set::ListEncoding, self.out);
        } else {
            escape(key, self.out);
        }
        self.close(name);
    }

    /// Escaped text, inside of an element that is open.
    pub fn content(&mut self, text: &str) {
        escape(text, self.out);
    }

    /// Bytes that are XML already.
    pub(super) fn raw(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Appends a number in decimal.
pub fn push_u64(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends text with everything escaped that XML gives a meaning to or forbids.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let replacement: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'\r' => b"&#13;",
            b'\t' | b'\n' | 0x20..=0x7e => continue,
            0x80.. if byte != 0xef => continue,
            // U+FFFE and U+FFFF are the other two that XML 1.0 forbids.
            0xef if bytes[at..].starts_with(&[0xef, 0xbf, 0xbe]) => b"&#xFFFE;",
            0xef if bytes[at..].starts_with(&[0xef, 0xbf, 0xbf]) => b"&#xFFFF;",
            0xef | 0x7f => continue,
            _ => b"",
        };
        out.extend_from_slice(&bytes[clean..at]);
        clean = at + 1;
        if !replacement.is_empty() {
            out.extend_from_slice(replacement);
            if byte == 0xef {
                clean = at + 3;
            }
            continue;
        }
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        out.extend_from_slice(b"&#x");
        if byte >= 0x10 {
            out.push(HEX[usize::from(byte >> 4)]);
        }
        out.push(HEX[usize::from(byte & 15)]);
        out.push(b';');
    }
    out.extend_from_slice(&bytes[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_has_a_meaning_is_escaped_and_the_rest_is_not() {
        assert_eq!(escaped("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;'c");
        assert_eq!(escaped("grün 🐹 \t\n"), "grün 🐹 \t\n");
        assert_eq!(escaped("\r\u{1}\u{1f}\u{7f}"), "&#13;&#x1;&#x1F;\u{7f}");
        assert_eq!(escaped("a\u{fffe}b\u{ffff}\u{feff}"), "a&#xFFFE;b&#xFFFF;\u{feff}");
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 12345, u64::MAX] {
            let mut out = Vec::new();
            push_u64(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
