//! Parses and validates request heads.
//!
//! The parser looks for a head in the received bytes. Once its end has arrived, it copies the head into the
//! [`RequestHead`] (a memcpy of some 600 bytes) and records the positions of its parts, so that the head outlives the
//! receive buffer without an allocation per header. A connection reuses the memory of a head for the next one.
//!
//! It refuses everything that two HTTP parsers could understand differently, so that nothing can be smuggled past a
//! proxy: bare CR or LF, folded headers, a space before the colon, more than one Content-Length, Content-Length
//! together with Transfer-Encoding, any transfer coding except `chunked`, more than one Host, a Host other than that of
//! the target (the signature covers one of them, and the other could name the bucket).

use std::mem::MaybeUninit;
use std::ops::Range;

use smallvec::SmallVec;

use crate::error::{Code, S3Error};
use crate::uri::{self, Query};

/// The longest head, request line and headers, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Memory beyond this is not kept for the next head.
const KEEP_BYTES: usize = 8 * 1024;
/// The maximum number of headers.
pub const HEADERS_MAX: usize = 100;

/// The request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Method {
    #[default]
    Get,
    Head,
    Put,
    Post,
    Delete,
    Options,
    /// Any other method; S3 has no more.
    Other,
}

impl Method {
    fn parse(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
}

/// A position in the head's bytes; 64 KiB need 17 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(whole: &[u8], part: &[u8]) -> Span {
        // Both point into one slice, so the distance of their starts is the offset.
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Span { start: start as u32, end: (start + part.len()) as u32 }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The head of one request. Create one per connection and parse each head into it.
#[derive(Debug, Default)]
pub struct RequestHead {
    bytes: Vec<u8>,
    /// How many bytes of the input have been searched without finding the end.
    scanned: usize,
    method: Method,
    method_text: Span,
    authority: Option<Span>,
    path: Span,
    query: Span,
    headers: SmallVec<[(Span, Span); 24]>,
    /// How many headers were really sent; the rest come from a presigned query.
    sent: usize,
    /// The [`mark`]s of all header names: most lookups are for headers that are absent.
    marks: u64,
    http_1_0: bool,
    content_length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    expect_continue: bool,
    host: Option<Span>,
}

/// One bit of 64, chosen by a header name's length and last byte, ignoring case.
fn mark(name: &[u8]) -> u64 {
    let last = name.last().map_or(0, |byte| usize::from(byte | 0x20));
    1 << ((name.len() + 31 * last) % 64)
}

fn bad(why: &str) -> S3Error {
    Code::BadRequest.with(why)
}

impl RequestHead {
    /// Creates an empty head to parse into.
    pub fn new() -> RequestHead {
        RequestHead::default()
    }

    /// Whether it is HTTP/1.0.
    pub fn is_http_1_0(&self) -> bool {
        self.http_1_0
    }

    /// Frees the memory of an unusually long head, so that an idle connection does not hold it.
    pub fn trim(&mut self) {
        if self.bytes.capacity() > KEEP_BYTES {
            *self = RequestHead::default();
        }
    }

    /// Parses the head at the start of `input`, which contains everything received since the last one. Returns the
    /// number of bytes consumed, or `None` if more are needed: then call again with the same bytes followed by more
    /// (bytes already searched are not searched again). After an error the connection must be closed.
    pub fn parse(&mut self, input: &[u8]) -> Result<Option<usize>, S3Error> {
        // Empty lines before a request line are ignored (RFC 9112, 2.2): a few, not a stream of them.
        let lead = 2 * input.chunks_exact(2).take(4).take_while(|pair| *pair == b"\r\n").count();
        let begun = &input[lead..];
        // A lone CR may be the first half of another empty line.
        if begun != b"\r" && begun.first().is_some_and(|b| !b.is_ascii_uppercase()) {
            self.scanned = 0;
            return Err(bad("This is not an HTTP request."));
        }
        match self.find_end(input, lead) {
            Ok(Some(end)) => {
                self.scanned = 0;
                self.fill(&input[lead..end])?;
                Ok(Some(end))
            }
            Ok(None) if input.len() - lead < HEAD_BYTES_MAX => Ok(None),
            Ok(None) => {
                self.scanned = 0;
                Err(Code::RequestHeaderSectionTooLarge.field("MaxSizeAllowed", HEAD_BYTES_MAX.to_string()))
            }
            Err(error) => {
                self.scanned = 0;
                Err(error)
            }
        }
    }

    /// The offset after the empty line that ends the head.
    fn find_end(&mut self, input: &[u8], lead: usize) -> Result<Option<usize>, S3Error> {
        let window = &input[..input.len().min(lead + HEAD_BYTES_MAX)];
        let mut at = self.scanned.max(lead).min(window.len());
        while let Some(found) = memchr::memchr(b'\n', &window[at..]) {
            let lf = at + found;
            if lf == 0 || window[lf - 1] != b'\r' {
                return Err(bad("A line of the head ends without CR."));
            }
            if lf >= 3 && window[lf - 3] == b'\r' && window[lf - 2] == b'\n' {
                return Ok(Some(lf + 1));
            }
            at = lf + 1;
        }
        self.scanned = window.len();
        Ok(None)
    }

    fn fill(&mut self, head: &[u8]) -> Result<(), S3Error> {
        self.bytes.clear();
        self.bytes.extend_from_slice(head);
        self.headers.clear();
        self.authority = None;
        let whole = self.bytes.as_slice();
        let mut space = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(whole, &mut space) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(bad("The head is incomplete.")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(
                    Code::RequestHeaderSectionTooLarge.field("MaxHeadersAllowed", HEADERS_MAX.to_string())
                );
            }
            Err(httparse::Error::Version) => return Err(Code::HttpVersionNotSupported.into()),
            Err(error) => return Err(bad(&format!("The head is malformed: {error}."))),
        }
        let method = request.method.unwrap_or_default();
        self.method = Method::parse(method);
        self.method_text = Span::of(whole, method.as_bytes());
        self.http_1_0 = request.version == Some(0);
        let target = request.path.unwrap_or_default().as_bytes();
        for header in request.headers.iter() {
            // httparse refuses a CR in a value; surrounding white space is not part of it.
            let value = header.value.trim_ascii();
            let value = if value.is_empty() { &header.value[..0] } else { value };
            self.headers.push((Span::of(whole, header.name.as_bytes()), Span::of(whole, value)));
        }
        let (authority, path, query) = split_target(target)?;
        self.authority = authority.map(|authority| Span::of(whole, authority));
        self.path = Span::of(whole, path);
        self.query = Span::of(whole, query);
        self.interpret()?;
        self.sent = self.headers.len();
        self.adopt_presigned()
    }

    /// Adopts the headers that the signer of a presigned URL put into its query. They count as if they had been sent,
    /// since the user of the URL cannot leave them out (AWS, "Authenticating Requests: Using Query Parameters"; "Query
    /// string request authentication alternative" for version 2).
    fn adopt_presigned(&mut self) -> Result<(), S3Error> {
        let Some(scheme) = Presigned::of(self.query()) else { return Ok(()) };
        let mut adopted: SmallVec<[(Vec<u8>, Vec<u8>); 4]> = SmallVec::new();
        for (name, value) in self.query().pairs() {
            let name = uri::decode(name, true)?.to_ascii_lowercase();
            if scheme.is_header(&name) {
                adopted.push((name, uri::decode(value, true)?.into_owned()));
            }
        }
        for (name, value) in adopted {
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)) {
                return Err(Code::InvalidArgument.with("A header in the query has an invalid name."));
            }
            let text = String::from_utf8_lossy(&name);
            match self.header(&text) {
                Some(sent) if sent == value.trim_ascii() => continue,
                Some(_) => {
                    return Err(Code::InvalidArgument
                        .with("A header is in the query and among the headers, with different values.")
                        .field("ArgumentName", text));
                }
                None => {}
            }
            if self.headers.len() == HEADERS_MAX {
                return Err(
                    Code::RequestHeaderSectionTooLarge.field("MaxHeadersAllowed", HEADERS_MAX.to_string())
                );
            }
            self.marks |= mark(&name);
            let (name, value) = (self.append(&name), self.append(value.trim_ascii()));
            self.headers.push((name, value));
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span { start: start as u32, end: self.bytes.len() as u32 }
    }

    /// Interprets the headers that determine where the message ends and whether the connection stays open.
    fn interpret(&mut self) -> Result<(), S3Error> {
        self.content_length = None;
        self.chunked = false;
        self.keep_alive = !self.http_1_0;
        self.expect_continue = false;
        self.host = None;
        self.marks = 0;
        for &(name, value) in &self.headers {
            let text = &self.bytes[value.range()];
            let name = &self.bytes[name.range()];
            self.marks |= mark(name);
            if name.eq_ignore_ascii_case(b"content-length") {
                if self.content_length.is_some() {
                    return Err(bad("There is more than one Content-Length."));
                }
                self.content_length =
                    Some(decimal(text).ok_or_else(|| bad("Content-Length is not a number."))?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if self.chunked || self.http_1_0 || !text.eq_ignore_ascii_case(b"chunked") {
                    return Err(bad(
                        "The only transfer encoding supported is 'chunked', given once, in HTTP/1.1.",
                    ));
                }
                self.chunked = true;
            } else if name.eq_ignore_ascii_case(b"connection") {
                for token in text.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") && self.http_1_0 {
                        self.keep_alive = true;
                    }
                }
            } else if name.eq_ignore_ascii_case(b"expect") {
                self.expect_continue = !self.http_1_0 && text.eq_ignore_ascii_case(b"100-continue");
            } else if name.eq_ignore_ascii_case(b"host") && self.host.replace(value).is_some() {
                return Err(bad("There is more than one Host."));
            }
        }
        if self.chunked && self.content_length.is_some() {
            return Err(bad("Content-Length and Transfer-Encoding are mutually exclusive."));
        }
        if self.host.is_none() && !self.http_1_0 {
            return Err(bad("HTTP/1.1 requires a Host header."));
        }
        if let (Some(authority), Some(host)) = (self.authority, self.host)
            && !self.bytes[authority.range()].eq_ignore_ascii_case(&self.bytes[host.range()])
        {
            return Err(bad("The Host header is not the host of the request target."));
        }
        Ok(())
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as sent.
    pub fn method_text(&self) -> &[u8] {
        &self.bytes[self.method_text.range()]
    }

    /// The path as sent, encoded; `*` for `OPTIONS *`.
    pub fn path(&self) -> &[u8] {
        &self.bytes[self.path.range()]
    }

    /// The query as sent, without `?`.
    pub fn query(&self) -> Query<'_> {
        Query::new(&self.bytes[self.query.range()])
    }

    /// The host that the request is for, with its port: that of the Host header, which equals that of an absolute
    /// target; for an HTTP/1.0 request without the header, that of the target.
    pub fn host(&self) -> &[u8] {
        self.host.or(self.authority).map_or(&[][..], |span| &self.bytes[span.range()])
    }

    /// The first value of a header, trimmed. The case of `name` does not matter.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.header_all(name).next()
    }

    /// The first value of a header, if it is text (UTF-8).
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All values of a header, in order.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.values(name.as_bytes(), &self.headers)
    }

    /// All values of a header that were really sent, without those from a presigned query.
    pub fn sent_header_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.values(name.as_bytes(), &self.headers[..self.sent])
    }

    fn values<'a>(&'a self, name: &[u8], among: &'a [(Span, Span)]) -> impl Iterator<Item = &'a [u8]> {
        let some = if self.marks & mark(name) == 0 { &[] } else { among };
        let equal = move |n: &[u8]| n.eq_ignore_ascii_case(name);
        some.iter().filter(move |(n, _)| equal(&self.bytes[n.range()])).map(|(_, v)| &self.bytes[v.range()])
    }

    /// All headers in order, those from a presigned query last: names as sent, values trimmed.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (&self.bytes[name.range()], &self.bytes[value.range()]))
    }

    /// All headers that were really sent, without those from a presigned query.
    pub fn sent_headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers().take(self.sent)
    }

    /// The announced length of the body, if any.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the body uses the chunked transfer encoding.
    pub fn is_chunked(&self) -> bool {
        self.chunked
    }

    /// Whether the client waits for `100 Continue`.
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// Whether the client wants the connection to stay open after the response.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }
}

/// The signature version of a presigned URL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presigned {
    V4,
    V2,
}

impl Presigned {
    fn of(query: Query<'_>) -> Option<Presigned> {
        if query.raw().is_empty() {
            None
        } else if query.has("X-Amz-Signature") {
            Some(Presigned::V4)
        } else {
            (query.has("AWSAccessKeyId") && query.has("Signature")).then_some(Presigned::V2)
        }
    }

    /// Whether a parameter of this name, in lower case, stands for a header. Version 4's own signature parameters do
    /// not.
    fn is_header(self, name: &[u8]) -> bool {
        const SIGNATURE_PARAMETERS: [&[u8]; 8] = [
            b"x-amz-algorithm",
            b"x-amz-content-sha256",
            b"x-amz-credential",
            b"x-amz-date",
            b"x-amz-expires",
            b"x-amz-security-token",
            b"x-amz-signature",
            b"x-amz-signedheaders",
        ];
        match self {
            Presigned::V4 => name.starts_with(b"x-amz-") && !SIGNATURE_PARAMETERS.contains(&name),
            Presigned::V2 => name.starts_with(b"x-amz-") || name == b"content-type" || name == b"content-md5",
        }
    }
}

/// Authority, path and query.
type Target<'a> = (Option<&'a [u8]>, &'a [u8], &'a [u8]);

/// Splits a request target into authority, path and query (RFC 9112, 3.2).
fn split_target(target: &[u8]) -> Result<Target<'_>, S3Error> {
    let refuse = || Code::InvalidURI.with("The request target is neither a path nor an http URI.");
    if target.contains(&b'#') {
        return Err(Code::InvalidURI.with("The request target has a fragment; encode '#' as %23."));
    }
    let split = |rest: &'_ [u8]| memchr::memchr(b'?', rest).unwrap_or(rest.len());
    let (authority, rest) = match target {
        [b'/', ..] | b"*" => (None, target),
        _ => {
            let scheme = target.get(..8).filter(|s| s.eq_ignore_ascii_case(b"https://")).map(|_| 8);
            let scheme = scheme.or(target.get(..7).filter(|s| s.eq_ignore_ascii_case(b"http://")).map(|_| 7));
            let after = &target[scheme.ok_or_else(refuse)?..];
            let end = after.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(after.len());
            if end == 0 {
                return Err(refuse());
            }
            (Some(&after[..end]), &after[end..])
        }
    };
    let at = split(rest);
    Ok((authority, &rest[..at], rest.get(at + 1..).unwrap_or(&rest[rest.len()..])))
}

/// Digits only, and few enough not to overflow.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
