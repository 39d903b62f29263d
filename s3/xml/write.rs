//! A writer for the small, flat documents of S3 responses.
//!
//! It appends to the caller's buffer and allocates nothing else: a list page of 1,000 keys has 10,000 elements, and
//! building events for a general-purpose writer costs more than writing the bytes. Element names are our own and
//! trusted; text is escaped.
//!
//! Promise: whatever text it is given, the document is well-formed XML 1.0. Characters that XML 1.0 forbids, even as
//! numeric references, are written as U+FFFD. (AWS writes the references, and parsers then refuse the whole document,
//! including the code of an error.) Lists with `encoding-type=url` show such keys unchanged.

/// The namespace of S3's documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The XML declaration, with which every document begins.
pub const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// An XML document under construction at the end of a buffer.
#[derive(Debug)]
pub struct Xml<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Xml<'a> {
    /// Starts a document: writes the declaration.
    pub fn document(out: &'a mut Vec<u8>) -> Xml<'a> {
        out.extend_from_slice(DECLARATION);
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

    /// Writes an element with escaped text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        escape(text, self.out);
        self.close(name);
    }

    /// Writes an element with escaped text, if there is any.
    pub fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// Writes an element that contains a number.
    pub fn number(&mut self, name: &str, number: u64) {
        self.open(name);
        push_u64(number, self.out);
        self.close(name);
    }

    /// Writes an element that contains `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.raw(&["<", name, if value { ">true</" } else { ">false</" }, name, ">"]);
    }

    /// Writes an element that contains a time in milliseconds.
    pub fn time(&mut self, name: &str, unix_ms: u64) {
        self.open(name);
        self.out.extend_from_slice(&crate::time::iso8601_ms(unix_ms));
        self.close(name);
    }

    /// Writes an ETag element; `etag` comes without quotes and is written with them.
    pub fn etag(&mut self, etag: &str) {
        self.raw(&["<ETag>&quot;"]);
        escape(etag, self.out);
        self.raw(&["&quot;</ETag>"]);
    }

    /// Writes an element that contains a key or prefix, percent-encoded if the request has `encoding-type=url`.
    pub fn key(&mut self, name: &str, key: &str, url: bool) {
        self.open(name);
        if url {
            crate::uri::encode_into(key.as_bytes(), crate::uri::Set::ListEncoding, self.out);
        } else {
            escape(key, self.out);
        }
        self.close(name);
    }

    /// Writes escaped text into an open element.
    pub fn content(&mut self, text: &str) {
        escape(text, self.out);
    }

    /// Writes text that is already XML.
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

/// Whether XML 1.0 allows a character (its section 2.2, production `Char`).
pub fn is_xml_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Appends text, with the characters escaped that have a meaning in XML, and U+FFFD for those that it forbids.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let (length, replacement): (usize, &[u8]) = match byte {
            b'&' => (1, b"&amp;"),
            b'<' => (1, b"&lt;"),
            b'>' => (1, b"&gt;"),
            b'"' => (1, b"&quot;"),
            b'\r' => (1, b"&#13;"),
            b'\t' | b'\n' | 0x20..=0x7f => continue,
            ..0x20 => (1, REPLACEMENT),
            // U+FFFE and U+FFFF are the other two that XML 1.0 forbids.
            0xef if matches!(bytes[at..], [_, 0xbf, 0xbe | 0xbf, ..]) => (3, REPLACEMENT),
            0x80.. => continue,
        };
        out.extend_from_slice(&bytes[clean..at]);
        out.extend_from_slice(replacement);
        clean = at + length;
    }
    out.extend_from_slice(&bytes[clean..]);
}

/// U+FFFD, the replacement character.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn characters_with_a_meaning_are_escaped_and_others_are_not() {
        assert_eq!(escaped("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;'c");
        assert_eq!(escaped("grün 🐹 \t\n"), "grün 🐹 \t\n");
        assert_eq!(escaped("\r\u{7f}\u{85}\u{feff}\u{ffdf}"), "&#13;\u{7f}\u{85}\u{feff}\u{ffdf}");
    }

    /// Control characters were written as numeric references, which XML 1.0 forbids as it does the characters
    /// themselves: parsers refused the documents, and boto3 could not read the code of an error that repeated such a
    /// key.
    #[test]
    fn characters_that_xml_forbids_become_the_replacement_character() {
        assert_eq!(escaped("\0\u{1}\u{b}\u{1f}."), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}.");
        assert_eq!(escaped("a\u{fffe}b\u{ffff}"), "a\u{fffd}b\u{fffd}");
        for character in '\0'..=char::MAX {
            let text = escaped(&character.to_string());
            assert!(text.chars().all(is_xml_char) && !text.contains("&#x"), "{character:?}");
            assert_eq!(
                text == "\u{fffd}",
                !is_xml_char(character) || character == '\u{fffd}',
                "{character:?}"
            );
        }
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
