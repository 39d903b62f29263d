//! What a handler answers, and how it leaves: head and a small body in one write, a large one slice by slice.

use crate::error::{Code, S3Error};
use crate::http::response::ResponseHead;
use crate::op::ObjectStream;
use crate::service::{RequestId, Service};

use super::wire::Wire;

/// Bodies up to this size leave in one write with their head.
const ONE_WRITE_BYTES: usize = 64 << 10;

/// Room for the header lines of a usual answer.
const HEADERS_BYTES: usize = 512;

/// The body of an answer.
pub(crate) enum ReplyBody {
    /// None; `Content-Length: 0`, or no length at all for 204 and 304.
    Empty,
    /// XML or other text.
    Bytes(Vec<u8>),
    /// So many bytes of an object, read as they leave.
    Object(u64, Box<ObjectStream>),
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Header lines beyond the common ones, each ended by CR LF.
    pub(crate) headers: Vec<u8>,
    pub(crate) body: ReplyBody,
}

/// How an answer left.
pub(crate) enum Sent {
    /// To its end.
    Whole,
    /// The connection is lost.
    Lost,
    /// An object turned out unreadable half way. The connection has to end: the client must not take what it has for the
    /// whole.
    BrokenOff(Code),
}

impl Reply {
    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::with_capacity(HEADERS_BYTES), body: ReplyBody::Empty }
    }

    /// An XML document, written by `write`.
    pub(crate) fn xml(write: impl FnOnce(&mut Vec<u8>)) -> Reply {
        let mut body = Vec::new();
        write(&mut body);
        let mut reply = Reply { body: ReplyBody::Bytes(body), ..Reply::empty(200) };
        reply.lines().header("Content-Type", "application/xml");
        reply
    }

    /// Adds header lines.
    pub(crate) fn lines(&mut self) -> ResponseHead<'_> {
        ResponseHead::lines(&mut self.headers)
    }

    /// The answer to a request that failed.
    pub(crate) fn error(error: &S3Error, resource: &str, request_id: &RequestId) -> Reply {
        let mut reply = Reply::empty(error.status());
        if error.has_body() {
            let mut body = Vec::new();
            error.to_xml(resource, request_id.as_str(), &mut body);
            reply.body = ReplyBody::Bytes(body);
            reply.lines().header("Content-Type", "application/xml");
        }
        for (name, value) in error.headers() {
            reply.lines().header(name, value);
        }
        reply
    }

    /// Writes status line and headers.
    pub(crate) fn write_head(
        &self,
        out: &mut Vec<u8>,
        service: &Service,
        request_id: &RequestId,
        without_body: bool,
        close: bool,
    ) {
        let date = service.date();
        let mut head = ResponseHead::start(out, self.status, &date, request_id.as_str());
        head.raw(&self.headers);
        match &self.body {
            ReplyBody::Empty if matches!(self.status, 204 | 304) => {}
            // An empty answer to HEAD that tells its object's length has it among its headers.
            ReplyBody::Empty if without_body && self.status < 300 && has_length(&self.headers) => {}
            ReplyBody::Empty => {
                head.number("Content-Length", 0);
            }
            ReplyBody::Bytes(bytes) => {
                head.number("Content-Length", bytes.len() as u64);
            }
            ReplyBody::Object(length, _) => {
                head.number("Content-Length", *length);
            }
        }
        if close {
            head.header("Connection", "close");
        }
        head.finish();
    }

    /// Sends the head in `out` and the body.
    ///
    /// # Errors
    /// The object can't be read and nothing has been sent yet.
    pub(crate) async fn send(self, wire: &mut Wire, out: &mut Vec<u8>) -> Result<Sent, S3Error> {
        let whole = match self.body {
            ReplyBody::Empty => wire.write_all(out).await.is_ok(),
            ReplyBody::Bytes(bytes) if bytes.len() <= ONE_WRITE_BYTES => {
                out.extend_from_slice(&bytes);
                wire.write_all(out).await.is_ok()
            }
            ReplyBody::Bytes(bytes) => {
                wire.write_all(out).await.is_ok() && wire.write_all(&bytes).await.is_ok()
            }
            ReplyBody::Object(_, mut stream) => loop {
                match stream.next().await {
                    Ok(Some(slice)) if !out.is_empty() && slice.len() <= ONE_WRITE_BYTES => {
                        out.extend_from_slice(slice);
                        if wire.write_all(out).await.is_err() {
                            return Ok(Sent::Lost);
                        }
                        out.clear();
                    }
                    Ok(Some(slice)) => {
                        if !out.is_empty() && wire.write_all(out).await.is_err() {
                            return Ok(Sent::Lost);
                        }
                        out.clear();
                        if wire.write_all(slice).await.is_err() {
                            return Ok(Sent::Lost);
                        }
                    }
                    Ok(None) => break out.is_empty() || wire.write_all(out).await.is_ok(),
                    Err(error) if !out.is_empty() => return Err(error),
                    Err(error) => return Ok(Sent::BrokenOff(error.code())),
                }
            },
        };
        Ok(if whole { Sent::Whole } else { Sent::Lost })
    }
}

fn has_length(headers: &[u8]) -> bool {
    memchr::memmem::find(headers, b"Content-Length: ").is_some()
}
