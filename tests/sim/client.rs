//! An S3 client over the simulated network: real requests, byte for byte.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use engine::io::sim::control::count;
use engine::io::sim::{Fault, Random};
use engine::io::{Stream, timeout, unix_ms};

use crate::sign;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a client waits for 100 Continue before it sends the body.
const LEAVE: Duration = Duration::from_secs(1);

/// Usually one request in this many is slow.
pub const SLOW_ONE_IN: u64 = 8;

/// A slow client sends so much at a time.
const DRIBBLE_BYTES: usize = 16 << 10;

/// How a body is signed and framed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payload {
    /// Unsigned.
    Unsigned,
    /// By its SHA-256.
    Signed,
    /// In signed chunks.
    SignedChunks,
    /// In unsigned chunks followed by a checksum.
    Trailer,
}

/// A request to send.
pub struct Request {
    pub method: &'static str,
    /// Not encoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Rc<[u8]>,
    pub payload: Payload,
    pub expect: bool,
    /// The body is transferred in chunks of so many bytes, and its length is not said first.
    pub chunk_bytes: Option<usize>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &'static str, path: String) -> Request {
        Request {
            method,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: Rc::from([]),
            payload: Payload::Unsigned,
            expect: false,
            chunk_bytes: None,
        }
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Request {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The bytes of head and body.
    fn encode(&self, seconds: i64) -> (Vec<u8>, Vec<u8>) {
        let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let time = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let payload = match self.payload {
            Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Payload::Signed => sign::sha256(&self.body),
            Payload::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Payload::Trailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        };
        let mut headers = self.headers.clone();
        headers.push(("host".to_owned(), "s3.example".to_owned()));
        headers.push(("x-amz-date".to_owned(), time.clone()));
        headers.push(("x-amz-content-sha256".to_owned(), payload.clone()));
        let framed = matches!(self.payload, Payload::SignedChunks | Payload::Trailer);
        if framed {
            headers.push(("content-encoding".to_owned(), "aws-chunked".to_owned()));
            headers.push(("x-amz-decoded-content-length".to_owned(), self.body.len().to_string()));
        }
        if self.payload == Payload::Trailer {
            headers.push(("x-amz-trailer".to_owned(), "x-amz-checksum-crc32".to_owned()));
        }
        headers.sort();
        let path = sign::encode_path(&self.path);
        let mut pairs: Vec<(String, String)> =
            self.query.iter().map(|(name, value)| (sign::encode(name), sign::encode(value))).collect();
        pairs.sort();
        let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = query.join("&");
        let signed = sign::sign(self.method, &path, &query, &headers, &payload, &time);
        let body = match self.payload {
            Payload::Unsigned | Payload::Signed => self.body.to_vec(),
            Payload::SignedChunks => signed_chunks(&self.body, &signed),
            Payload::Trailer => with_trailer(&self.body),
        };
        let question = if query.is_empty() { "" } else { "?" };
        let mut head = format!("{} {path}{question}{query} HTTP/1.1\r\n", self.method);
        for (name, value) in &headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.expect {
            head.push_str("expect: 100-continue\r\n");
        }
        let (length, body) = match self.chunk_bytes {
            None => (format!("content-length: {}", body.len()), body),
            Some(size) => {
                let body = [&chunked(&body, size)[..], b"\r\n"].concat();
                ("transfer-encoding: chunked".to_owned(), body)
            }
        };
        head.push_str(&format!("authorization: {}\r\n{length}\r\n\r\n", signed.authorization));
        (head.into_bytes(), body)
    }
}

fn signed_chunks(body: &[u8], signed: &sign::Signed) -> Vec<u8> {
    let mut out = Vec::new();
    let mut previous = signed.signature.clone();
    for chunk in body.chunks(64 << 10).chain([&[][..]]) {
        previous = signed.chunk(&previous, chunk);
        out.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The body in chunks, up to the lines that follow the size of the last one.
fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    out
}

fn with_trailer(body: &[u8]) -> Vec<u8> {
    let mut out = chunked(body, 48 << 10);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, body) as u32;
    let crc = base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes());
    out.extend_from_slice(format!("x-amz-checksum-crc32:{crc}\r\n\r\n").as_bytes());
    out
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of the error that it reports, if it has a body.
    pub fn code(&self) -> String {
        self.of_error("Code")
    }

    /// The message of the error that it reports, if it has a body.
    pub fn message(&self) -> String {
        self.of_error("Message")
    }

    fn of_error(&self, name: &str) -> String {
        let text = if self.status < 400 { String::new() } else { self.text() };
        element(&text, name).unwrap_or_default().to_owned()
    }
}

/// The text of the first element with a name.
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + xml[start..].find(&format!("</{name}>"))?;
    Some(&xml[start..end])
}

/// The texts of all elements with a name.
pub fn elements<'a>(mut xml: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    while let Some(text) = element(xml, name) {
        found.push(text);
        let past = text.as_ptr() as usize - xml.as_ptr() as usize + text.len();
        xml = &xml[past..];
    }
    found
}

/// Why there is no answer.
#[derive(Debug, PartialEq)]
pub enum Failed {
    /// What came is not one answer.
    Garbled(String),
    /// Nothing was sent, so the request was not executed.
    NotSent,
    /// The request may have been executed.
    Lost,
    /// The request may have been executed, and its answer was cut off.
    BrokenOff,
}

/// A client's connection, reopened after it is lost.
pub struct Client {
    address: SocketAddr,
    stream: Option<Stream>,
    random: Random,
    /// How far the server's clock is ahead of the client's, from what the server last said.
    skew_seconds: i64,
    /// Whether it sometimes half-closes the connection and waits for its answer.
    pub half_closes: bool,
    /// One request in this many is sent slowly, and one answer in this many is read slowly.
    pub slow_one_in: u64,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr, random: Random) -> Client {
        Client {
            address,
            stream: None,
            random,
            skew_seconds: 0,
            half_closes: false,
            slow_one_in: SLOW_ONE_IN,
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, Failed> {
        if self.stream.is_none() {
            let connected = timeout(PATIENCE, Stream::connect(self.address)).await;
            self.stream = Some(connected.map_err(|_| Failed::NotSent)?.map_err(|_| Failed::NotSent)?);
        }
        let Some(mut stream) = self.stream.take() else { return Err(Failed::NotSent) };
        let (head, body) = request.encode(unix_seconds() + self.skew_seconds);
        // Some clients give up almost at once.
        let hasty = Duration::from_millis(self.random.between(1, 200));
        let patience = if self.random.one_in(40) { hasty } else { PATIENCE };
        // Some are slow to read.
        let slow = if self.random.one_in(self.slow_one_in) { self.random.between(1, 800) } else { 0 };
        // Or to send it.
        let dribbles = self.random.one_in(self.slow_one_in);
        let dribble = if dribbles { self.random.between(1, 400) } else { 0 };
        let ends = self.half_closes && self.random.one_in(4);
        if ends {
            count(Fault::HalfClose, "a client");
        }
        let exchange = Exchange {
            out: head,
            held_back: Some(body),
            leave: request.expect.then(|| engine::io::sleep(LEAVE)),
            expects: request.expect,
            head_only: request.method == "HEAD",
            slow: Duration::from_millis(slow),
            allowed: if dribbles { 0 } else { usize::MAX },
            dribble: Duration::from_millis(dribble),
            ends,
            ..Exchange::default()
        };
        let exchange = exchange.run(&mut stream);
        match timeout(patience, exchange).await {
            Ok(Ok((answer, usable))) => {
                // As the SDKs do: adopt the server's time.
                if answer.status == 403
                    && let Some(date) = answer.header("date").and_then(http_date)
                {
                    self.skew_seconds = date - unix_seconds();
                }
                if usable && !ends && !self.random.one_in(20) {
                    self.stream = Some(stream);
                }
                Ok(answer)
            }
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Err(Failed::BrokenOff),
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => {
                Err(Failed::Garbled(error.to_string()))
            }
            _ => Err(Failed::Lost),
        }
    }
}

fn unix_seconds() -> i64 {
    i64::try_from(unix_ms() / 1000).unwrap_or_default()
}

/// An HTTP date, in seconds since 1970.
pub fn http_date(text: &str) -> Option<i64> {
    let date = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", text).ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(date).ok()?.as_second())
}

/// A request that is sent while its answer may already arrive: a server need not read all of it first.
#[derive(Default)]
struct Exchange {
    out: Vec<u8>,
    sent: usize,
    /// The body, held back until 100 Continue.
    held_back: Option<Vec<u8>>,
    leave: Option<engine::io::Sleep>,
    /// 100 Continue may come.
    expects: bool,
    received: Vec<u8>,
    head_only: bool,
    /// The server reads no more.
    broken: bool,
    /// A pause after each piece of the answer.
    slow: Duration,
    pause: Option<engine::io::Sleep>,
    /// Bytes that may be sent now; more with each pause.
    allowed: usize,
    dribble: Duration,
    step: Option<engine::io::Sleep>,
    /// Half-closes the connection once all is sent.
    ends: bool,
}

impl Exchange {
    async fn run(mut self, stream: &mut Stream) -> std::io::Result<(Answer, bool)> {
        poll_fn(|cx| self.poll(stream, cx)).await
    }

    fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<std::io::Result<(Answer, bool)>> {
        loop {
            if !waits(&mut self.leave, cx) {
                self.out.extend(self.held_back.take().unwrap_or_default());
            }
            let allowed = self.out.len().min(self.allowed);
            self.broken |= send(stream, cx, &self.out[..allowed], &mut self.sent);
            if self.sent == allowed && allowed < self.out.len() && !self.broken {
                let step = self.step.take();
                self.step = Some(step.unwrap_or_else(|| engine::io::sleep(self.dribble)));
                if !waits(&mut self.step, cx) {
                    self.allowed += DRIBBLE_BYTES;
                    continue;
                }
            }
            if self.ends && self.held_back.is_none() && self.sent == self.out.len() {
                std::task::ready!(pin!(stream.close()).poll(cx))?;
            }
            if waits(&mut self.pause, cx) {
                return Poll::Pending;
            }
            let more = std::task::ready!(receive(stream, cx, &mut self.received))?;
            if !self.slow.is_zero() {
                self.pause = Some(engine::io::sleep(self.slow));
            }
            if self.expects && interim(&mut self.received) {
                self.expects = false;
                self.leave = None;
            }
            if let Some((answer, end)) = parse(&self.received, self.head_only)? {
                if end < self.received.len() {
                    return Poll::Ready(Err(garbled(format!(
                        "{} bytes follow the answer {}",
                        self.received.len() - end,
                        answer.status
                    ))));
                }
                let done = self.held_back.is_none() && self.sent == self.out.len() && !self.broken;
                let closes = answer.header("connection").is_some_and(|value| value.contains("close"));
                return Poll::Ready(Ok((answer, done && !closes)));
            }
            if !more {
                let begun = !self.received.is_empty();
                let kind = if begun { ErrorKind::UnexpectedEof } else { ErrorKind::ConnectionAborted };
                return Poll::Ready(Err(kind.into()));
            }
        }
    }
}

fn waits(sleep: &mut Option<engine::io::Sleep>, cx: &mut Context<'_>) -> bool {
    let waits = sleep.as_mut().is_some_and(|sleep| std::pin::Pin::new(sleep).poll(cx).is_pending());
    if !waits {
        *sleep = None;
    }
    waits
}

/// Sends what it can; true once the server reads no more.
fn send(stream: &mut Stream, cx: &mut Context<'_>, out: &[u8], sent: &mut usize) -> bool {
    while *sent < out.len() {
        match stream.poll_write(cx, &out[*sent..]) {
            Poll::Ready(Ok(count)) => *sent += count,
            Poll::Ready(Err(_)) => return true,
            Poll::Pending => break,
        }
    }
    false
}

/// Receives what has arrived; false at the end of the stream.
fn receive(stream: &mut Stream, cx: &mut Context<'_>, received: &mut Vec<u8>) -> Poll<std::io::Result<bool>> {
    let mut piece = [0; 16 << 10];
    stream.poll_read(cx, &mut piece).map_ok(|count| {
        received.extend_from_slice(&piece[..count]);
        count > 0
    })
}

/// Removes an interim answer from the front.
fn interim(received: &mut Vec<u8>) -> bool {
    let is_interim = received.starts_with(b"HTTP/1.1 100");
    let end = received.windows(4).position(|window| window == b"\r\n\r\n");
    match end {
        Some(end) if is_interim => {
            received.drain(..end + 4);
            true
        }
        _ => false,
    }
}

fn garbled(what: impl Into<String>) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, what.into())
}

/// The answer at the front of what was received, and where it ends; `None` until it is complete.
fn parse(received: &[u8], head_only: bool) -> std::io::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let start = match response.parse(received).map_err(|error| garbled(error.to_string()))? {
        httparse::Status::Complete(start) => start,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or_default();
    if status < 200 {
        return Err(garbled(format!("an interim answer {status} that nobody asked for")));
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: Vec<(String, String)> =
        response.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    if head_only || status == 204 || status == 304 {
        return Ok(Some((answer, start)));
    }
    if answer.header("transfer-encoding").is_some() {
        let Some((body, length)) = dechunked(&received[start..])? else { return Ok(None) };
        answer.body = body;
        return Ok(Some((answer, start + length)));
    }
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let Some(end) = length.map(|length| start + length) else {
        return Err(garbled(format!("an answer {status} of unknown length")));
    };
    let Some(body) = received.get(start..end) else { return Ok(None) };
    answer.body = body.to_vec();
    Ok(Some((answer, end)))
}

/// The content of a body in chunks, and how many bytes the body takes; `None` until its last chunk is there.
fn dechunked(bytes: &[u8]) -> std::io::Result<Option<(Vec<u8>, usize)>> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let (start, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete((start, size))) => (at + start, size as usize),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(garbled("a malformed chunk")),
        };
        let end = start + size;
        match bytes.get(end..end + 2) {
            None => return Ok(None),
            Some(b"\r\n") => content.extend_from_slice(&bytes[start..end]),
            Some(_) => return Err(garbled("a chunk of another length than it says")),
        }
        at = end + 2;
        if size == 0 {
            return Ok(Some((content, at)));
        }
    }
}
