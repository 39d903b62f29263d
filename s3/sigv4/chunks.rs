//! The `aws-chunked` framing of bodies, signed or not, with or without trailers (AWS, "Signature calculations for the
//! Authorization header: transferring payload in multiple chunks", and "… including trailing headers").
//!
//! A trailer ends in CR LF, as the AWS SDKs write it, or in LF with one CR LF after the last trailer, as AWS describes
//! it and minio-go writes it. Nothing else is tolerated, and nothing may follow the empty line that ends the body.
//!
//! The decoder never hashes content: it reports where a chunk ends and is given the SHA-256 of the chunk later by
//! [`AwsChunked::verify_chunk`], so that many chunks can be hashed in parallel. Content is passed on before its chunk
//! is verified; only the commit has to wait for that: [`AwsChunked::verify_end`] fails while a chunk is unverified.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::keys::{self, SigningKey};
use super::{PayloadMode, hex32, hex64};
use crate::error::{Code, S3Error};
use crate::http::chunked::hex_size;
use crate::http::head::RequestHead;
use crate::http::{Line, LineBuffer, Step};

/// The longest chunk header, bytes.
const LINE_BYTES_MAX: usize = 1024;
/// The most bytes of trailers.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// The most chunks that may be unverified at a time.
pub const PENDING_MAX: usize = 4096;

/// The SHA-256 of the empty string, in hexadecimal.
const EMPTY_SHA256: &[u8; 64] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The chain of chunk signatures, each of which also covers the previous one.
#[derive(Debug)]
pub struct ChunkVerifier {
    key: SigningKey,
    /// `\ntimestamp\nscope\n`, which all strings to sign have in common.
    context: SmallVec<[u8; 64]>,
    previous: [u8; 32],
}

impl ChunkVerifier {
    /// Starts a chain at the request's own signature.
    pub fn new(key: SigningKey, timestamp: &[u8], region: &str, seed: [u8; 32]) -> ChunkVerifier {
        let mut context = SmallVec::new();
        for piece in
            [b"\n", timestamp, b"\n", &timestamp[..8], b"/", region.as_bytes(), b"/s3/aws4_request\n"]
        {
            context.extend_from_slice(piece);
        }
        ChunkVerifier { key, context, previous: seed }
    }

    /// Verifies the next signature of the chain, for content with this SHA-256.
    pub fn chunk(&mut self, content_sha256: &[u8; 32], signature: &[u8; 32]) -> Result<(), S3Error> {
        self.next(b"AWS4-HMAC-SHA256-PAYLOAD", Some(EMPTY_SHA256), content_sha256, signature)
    }

    /// Verifies the signature of the trailers, given in canonical form.
    pub fn trailer(&mut self, text: &[u8], signature: &[u8; 32]) -> Result<(), S3Error> {
        self.next(b"AWS4-HMAC-SHA256-TRAILER", None, &Sha256::digest(text).into(), signature)
    }

    fn next(
        &mut self,
        algorithm: &[u8],
        headers_sha256: Option<&[u8; 64]>,
        sha256: &[u8; 32],
        signature: &[u8; 32],
    ) -> Result<(), S3Error> {
        let mut mac = self.key.mac();
        keys::update(&mut mac, &[algorithm, &self.context, &hex64(&self.previous), b"\n"]);
        if let Some(hash) = headers_sha256 {
            keys::update(&mut mac, &[hash, b"\n"]);
        }
        keys::update(&mut mac, &[&hex64(sha256)]);
        if keys::matches(mac, signature) {
            self.previous = *signature;
            Ok(())
        } else {
            Err(Code::SignatureDoesNotMatch.with("The signature of a chunk does not match its content."))
        }
    }
}

/// The state of one aws-chunked body.
#[derive(Debug)]
pub struct AwsChunked {
    state: State,
    line: LineBuffer,
    chain: Option<Box<ChunkVerifier>>,
    /// The claimed signatures of chunks that have ended and are not yet verified.
    pending: VecDeque<[u8; 32]>,
    /// The claimed signature of the current chunk.
    signature: [u8; 32],
    /// The announced length of the content, and the part of it that no chunk size has covered yet.
    decoded_length: u64,
    left: u64,
    /// The names announced by `x-amz-trailer`, in lower case.
    announced: SmallVec<[String; 1]>,
    trailers: SmallVec<[(String, String); 1]>,
    trailer_bytes: usize,
    /// The last trailer ended in LF alone.
    after_lf: bool,
    wants_trailer_signature: bool,
    trailer_signature: Option<[u8; 32]>,
    is_verified: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    /// The content of a chunk is complete, which is still to be reported; `last` is the empty chunk.
    Ended {
        last: bool,
    },
    DataEnd,
    Trailers,
    Done,
}

fn malformed(what: &str) -> S3Error {
    Code::InvalidRequest.with(format!("The aws-chunked body is malformed: {what}."))
}

fn malformed_trailer(what: &str) -> S3Error {
    Code::MalformedTrailerError.with(what)
}

/// How the content of a body is encoded.
#[derive(Debug)]
pub enum Coding {
    /// Not encoded; the mode says what it must match.
    Plain(PayloadMode),
    /// In aws-chunked, which verifies it.
    AwsChunked(Box<AwsChunked>),
}

impl Coding {
    /// Determines the coding of a request whose signature has been verified.
    ///
    /// # Errors
    /// If headers of aws-chunked are missing or wrong.
    pub fn of(mode: PayloadMode, head: &RequestHead) -> Result<Coding, S3Error> {
        let (chain, wants_trailer_signature) = match mode {
            PayloadMode::SignedChunks { chain, trailer } => (Some(chain), trailer),
            PayloadMode::UnsignedTrailer => (None, false),
            plain => return Ok(Coding::Plain(plain)),
        };
        let length = head.header_str("x-amz-decoded-content-length").ok_or_else(|| {
            Code::MissingContentLength.with("You must provide the x-amz-decoded-content-length header.")
        })?;
        let digits = !length.is_empty() && length.len() <= 18 && length.bytes().all(|b| b.is_ascii_digit());
        let decoded_length = if digits { length.parse().ok() } else { None }
            .ok_or_else(|| Code::InvalidArgument.with("x-amz-decoded-content-length is not a number."))?;
        let mut announced = SmallVec::new();
        for value in head.header_all("x-amz-trailer") {
            let value =
                std::str::from_utf8(value).map_err(|_| malformed_trailer("x-amz-trailer is not text."))?;
            let names = value.split(',').map(|name| name.trim().to_ascii_lowercase());
            announced.extend(names.filter(|name| !name.is_empty()));
        }
        let wanted = chain.is_none() || wants_trailer_signature;
        if !wanted && !announced.is_empty() {
            return Err(Code::InvalidRequest
                .with("x-amz-trailer needs an x-amz-content-sha256 that ends in -TRAILER."));
        }
        Ok(Coding::AwsChunked(Box::new(AwsChunked {
            state: State::Size,
            line: LineBuffer::default(),
            chain,
            pending: VecDeque::new(),
            signature: [0; 32],
            decoded_length,
            left: decoded_length,
            announced,
            trailers: SmallVec::new(),
            trailer_bytes: 0,
            after_lf: false,
            wants_trailer_signature,
            trailer_signature: None,
            is_verified: false,
        })))
    }
}

impl AwsChunked {
    /// The announced length of the content: both more and less are refused.
    pub fn decoded_length(&self) -> u64 {
        self.decoded_length
    }

    /// Whether chunks are signed, so that the SHA-256 of each is needed.
    pub fn is_signed(&self) -> bool {
        self.chain.is_some()
    }

    /// The number of chunks that wait for [`Self::verify_chunk`].
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The number of bytes that come next and are content of the current chunk.
    pub fn content_left(&self) -> u64 {
        match self.state {
            State::Data(left) => left,
            _ => 0,
        }
    }

    /// Notes that `count` bytes of content, at most [`Self::content_left`], went past the decoder.
    pub fn passed(&mut self, count: u64) {
        if let State::Data(left) = self.state {
            debug_assert!(count <= left);
            self.state = if left == count { State::Ended { last: false } } else { State::Data(left - count) };
        }
    }

    /// Decodes the next bytes; see [`Step`]. Returns at most `room` bytes of content at a time. If chunks are signed,
    /// each one, including the empty last one, is followed by a `ChunkEnd`, for which the caller must call
    /// `verify_chunk` before [`PENDING_MAX`] of them are open.
    pub fn feed(&mut self, input: &[u8], room: usize) -> Result<Step, S3Error> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                State::Done => return Ok(Step::Done(at)),
                State::Ended { last } => {
                    self.state = if last { State::Trailers } else { State::DataEnd };
                    if self.chain.is_some() {
                        if self.pending.len() == PENDING_MAX {
                            return Err(Code::InternalError.with("Too many chunks wait to be verified."));
                        }
                        self.pending.push_back(self.signature);
                        return Ok(Step::ChunkEnd(at));
                    }
                }
                _ if rest.is_empty() => return Ok(Step::NeedMore),
                State::Data(left) => {
                    let len = left.min(rest.len().min(room) as u64);
                    self.passed(len);
                    return Ok(Step::Data(at..at + len as usize));
                }
                State::Size | State::DataEnd | State::Trailers => match self.take_line(rest)? {
                    Some(used) => at += used,
                    None => return Ok(Step::NeedMore),
                },
            }
        }
    }

    /// Takes one line of framing; returns the number of bytes consumed, or `None` if the line is incomplete.
    fn take_line(&mut self, rest: &[u8]) -> Result<Option<usize>, S3Error> {
        let max = if self.state == State::Trailers { TRAILER_BYTES_MAX } else { LINE_BYTES_MAX };
        let mut buffer = std::mem::take(&mut self.line);
        let taken = match buffer.take(rest, max) {
            Ok(None) => {
                self.line = buffer;
                return Ok(None);
            }
            Ok(Some(line)) => self.framing_line(line).map(|()| Some(line.used)),
            Err(_) => Err(malformed("a line is too long or has a stray CR")),
        };
        buffer.clear();
        self.line = buffer;
        taken
    }

    fn framing_line(&mut self, line: Line<'_>) -> Result<(), S3Error> {
        // Only a trailer may end in LF alone.
        if line.bare_lf && (self.state != State::Trailers || line.text.is_empty()) {
            return Err(malformed("a line has no CR LF"));
        }
        match self.state {
            State::Size => self.chunk_header(line.text),
            State::DataEnd if line.text.is_empty() => {
                self.state = State::Size;
                Ok(())
            }
            State::DataEnd => Err(malformed("a chunk is longer than its size")),
            _ => self.trailer_line(line),
        }
    }

    /// `size` or `size;chunk-signature=hex`.
    fn chunk_header(&mut self, line: &[u8]) -> Result<(), S3Error> {
        let at = memchr::memchr(b';', line);
        let size = hex_size(&line[..at.unwrap_or(line.len())])
            .ok_or_else(|| malformed("a chunk's size is not a hexadecimal number"))?;
        let extension = at.map_or(&[][..], |at| &line[at + 1..]);
        if self.chain.is_some() {
            let hex = extension.strip_prefix(b"chunk-signature=".as_slice());
            self.signature =
                hex.and_then(hex32).ok_or_else(|| malformed("a chunk has no well-formed chunk-signature"))?;
        } else if at.is_some() {
            return Err(malformed("a chunk has an extension in a mode without signatures"));
        }
        let incomplete = || {
            Code::IncompleteBody.with("You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header.")
        };
        self.left = self.left.checked_sub(size).ok_or_else(incomplete)?;
        if size == 0 && self.left > 0 {
            return Err(incomplete());
        }
        self.state = if size == 0 { State::Ended { last: true } } else { State::Data(size) };
        Ok(())
    }

    /// `name:value`, or the empty line that ends the body.
    fn trailer_line(&mut self, line: Line<'_>) -> Result<(), S3Error> {
        self.trailer_bytes += line.text.len() + 2;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(malformed_trailer("The trailers are too large."));
        }
        let after_lf = std::mem::replace(&mut self.after_lf, line.bare_lf);
        if line.text.is_empty() {
            // After a trailer that ends in LF, this CR LF belongs to the trailer, and the end is still to come.
            if !after_lf {
                self.state = State::Done;
            }
            return Ok(());
        }
        let text = std::str::from_utf8(line.text).map_err(|_| malformed_trailer("A trailer is not text."))?;
        let (name, value) =
            text.split_once(':').ok_or_else(|| malformed_trailer("A trailer has no colon."))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name == "x-amz-trailer-signature"
            && self.wants_trailer_signature
            && self.trailer_signature.is_none()
        {
            let signature = hex32(value.as_bytes());
            self.trailer_signature = Some(
                signature.ok_or_else(|| malformed_trailer("The x-amz-trailer-signature is malformed."))?,
            );
            return Ok(());
        }
        let twice = self.trailers.iter().any(|(n, _)| *n == name);
        if twice || self.trailer_signature.is_some() || !self.announced.contains(&name) {
            return Err(malformed_trailer(
                "A trailer came twice, after the signature, or was not announced.",
            ));
        }
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }

    /// Verifies the oldest unverified chunk, given the SHA-256 of its content.
    pub fn verify_chunk(&mut self, content_sha256: &[u8; 32]) -> Result<(), S3Error> {
        match (&mut self.chain, self.pending.pop_front()) {
            (Some(chain), Some(signature)) => chain.chunk(content_sha256, &signature),
            _ => Err(Code::InternalError.with("No chunk waits to be verified.")),
        }
    }

    /// Must be called when the body has ended, by [`Step::Done`] or because the request has no more bytes.
    pub fn finish(&mut self) -> Result<(), S3Error> {
        // Some clients omit the last empty line if there are no trailers.
        let bare_end = self.state == State::Trailers && self.announced.is_empty() && self.trailer_bytes == 0;
        if self.state != State::Done && !bare_end {
            return Err(Code::IncompleteBody.with("The aws-chunked body ends before its last chunk."));
        }
        self.state = State::Done;
        if self.trailers.len() != self.announced.len() {
            return Err(malformed_trailer("A trailer that x-amz-trailer announces is missing."));
        }
        if self.wants_trailer_signature && self.trailer_signature.is_none() {
            return Err(malformed_trailer("The trailers have no x-amz-trailer-signature."));
        }
        Ok(())
    }

    /// Verifies that the body has ended and all its chunks are verified, and verifies the signature of the trailers.
    /// Only after this has succeeded may content and [`Self::trailers`] be trusted.
    pub fn verify_end(&mut self) -> Result<(), S3Error> {
        if self.state != State::Done || !self.pending.is_empty() {
            return Err(Code::InternalError.with("A chunk's signature has not been verified."));
        }
        if let (Some(signature), Some(chain)) = (self.trailer_signature.take(), &mut self.chain) {
            let mut text = Vec::new();
            for (name, value) in &self.trailers {
                for piece in [name.as_bytes(), b":", value.as_bytes(), b"\n"] {
                    text.extend_from_slice(piece);
                }
            }
            chain.trailer(&text, &signature)?;
        }
        self.is_verified = true;
        Ok(())
    }

    /// The trailers, with their names in lower case; none before [`Self::verify_end`] has succeeded.
    pub fn trailers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.trailers.iter().filter(|_| self.is_verified).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names that `x-amz-trailer` announced, in lower case.
    pub fn announced(&self) -> impl Iterator<Item = &str> {
        self.announced.iter().map(String::as_str)
    }
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
