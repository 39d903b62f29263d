//! Response heads, written directly into a buffer that is reused for each response.

use crate::xml::write::push_u64;

/// The text of the `Date` header, formatted once a second.
#[derive(Debug)]
pub struct DateCache {
    unix_s: u64,
    text: [u8; 29],
}

impl Default for DateCache {
    fn default() -> DateCache {
        DateCache { unix_s: 0, text: crate::time::http_date(0) }
    }
}

impl DateCache {
    /// The text for this second.
    pub fn at(&mut self, unix_s: u64) -> &[u8; 29] {
        if self.unix_s != unix_s {
            *self = DateCache { unix_s, text: crate::time::http_date(unix_s) };
        }
        &self.text
    }
}

/// The interim response that tells a client to send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response head under construction at the end of a buffer. A value cannot end its line: control characters in it
/// become spaces, so nothing that one client stored can be read as a header by another.
#[derive(Debug)]
pub struct ResponseHead<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ResponseHead<'a> {
    /// Writes the status line and the headers that every response has.
    pub fn start(out: &'a mut Vec<u8>, status: u16, date: &[u8; 29], request_id: &str) -> ResponseHead<'a> {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_u64(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\nServer: Hamster\r\nDate: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
        let mut head = ResponseHead { out };
        head.header("x-amz-request-id", request_id);
        head
    }

    /// Starts a buffer of header lines only, to be inserted into a head later by [`ResponseHead::raw`].
    pub fn lines(out: &'a mut Vec<u8>) -> ResponseHead<'a> {
        ResponseHead { out }
    }

    /// Inserts header lines that were written by [`ResponseHead::lines`].
    pub fn raw(&mut self, lines: &[u8]) -> &mut Self {
        self.out.extend_from_slice(lines);
        self
    }

    /// Writes a header.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.pieces(name, &[value.as_ref()])
    }

    /// Writes a header whose value is a concatenation.
    pub fn pieces(&mut self, name: &str, pieces: &[&[u8]]) -> &mut Self {
        debug_assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b':'), "{name}");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        for piece in pieces {
            let from = self.out.len();
            self.out.extend_from_slice(piece);
            for byte in &mut self.out[from..] {
                if byte.is_ascii_control() && *byte != b'\t' {
                    *byte = b' ';
                }
            }
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes a header that contains a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        push_u64(value, self.out);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes a header whose name came from a client, such as `x-amz-meta-*`. It is omitted unless the name is a token
    /// (RFC 9110, 5.6.2).
    pub fn client_header(&mut self, prefix: &str, name: &str, value: &[u8]) -> &mut Self {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.bytes().all(token) {
            self.out.extend_from_slice(prefix.as_bytes());
            self.pieces(name, &[value]);
        }
        self
    }

    /// Writes an entity tag, given without quotes.
    pub fn etag(&mut self, etag: &str) -> &mut Self {
        self.pieces("ETag", &[b"\"", etag.as_bytes(), b"\""])
    }

    /// Writes `Last-Modified`.
    pub fn last_modified(&mut self, unix_ms: u64) -> &mut Self {
        self.header("Last-Modified", crate::time::http_date(unix_ms / 1000))
    }

    /// Ends the head.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// The reason phrase of a status that S3 uses.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_the_common_headers_and_ends_with_an_empty_line() {
        let mut out = Vec::new();
        let mut dates = DateCache::default();
        let mut head = ResponseHead::start(&mut out, 206, dates.at(784_111_777), "42");
        head.number("Content-Length", 5).etag("ab").client_header("x-amz-meta-", "a b", b"x");
        head.client_header("x-amz-meta-", "k", b"v").last_modified(0);
        head.finish();
        let want = "HTTP/1.1 206 Partial Content\r\nServer: Hamster\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            x-amz-request-id: 42\r\nContent-Length: 5\r\nETag: \"ab\"\r\nx-amz-meta-k: v\r\n\
            Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn a_value_cannot_start_another_header() {
        let mut out = Vec::new();
        let mut head = ResponseHead::start(&mut out, 200, DateCache::default().at(0), "1");
        head.header("A", "b\r\nSet-Cookie: c\0\x0b\x1b\x7f\t").pieces("B", &[b"\r", b"\n"]).etag("\n");
        head.client_header("x-amz-meta-", "a\r\nb", b"c").client_header("x-amz-meta-", "a:b", b"c");
        head.finish();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\r\nA: b  Set-Cookie: c    \t\r\nB:   \r\nETag: \" \"\r\n\r\n"), "{text:?}");
    }

    #[test]
    fn every_error_status_has_a_reason_phrase() {
        for code in crate::error::Code::ALL {
            assert_ne!(reason(code.status()), "Unknown", "{code:?}");
        }
    }
}
