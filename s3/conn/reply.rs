//! The reply of a handler, and how it is sent: the head and a small body in one write, a large body slice by slice.

use std::rc::Rc;

use engine::budget::{Class, Held, Holder};
use engine::limits::{FREE_INPUT_BYTES, SMALL_BLOB_BYTES};

use crate::error::{Code, S3Error};
use crate::http::response::ResponseHead;
use crate::op::ObjectStream;
use crate::service::{RequestId, Service};

use super::body::wait_failed;
use super::wire::{Moved, Wire};

/// Bodies up to this size are sent in one write with their head.
const ONE_WRITE_BYTES: usize = 64 << 10;

/// Room for the header lines of a typical reply.
const HEADERS_BYTES: usize = 512;

/// The body of a reply.
pub(crate) enum ReplyBody {
    /// No body: `Content-Length: 0`, or no length at all for 204 and 304.
    Empty,
    /// XML or other text.
    Bytes(Vec<u8>),
    /// This many bytes of an object, read as they are sent.
    Object(u64, Box<ObjectStream>),
}

/// A reply.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Header lines beyond the common ones, each ended by CR LF.
    pub(crate) headers: Vec<u8>,
    pub(crate) body: ReplyBody,
}

/// How a reply was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Completely.
    Whole,
    /// The connection is lost.
    Lost,
    /// Not completely, since the object turned out to be unreadable half way or the client took it too slowly. The
    /// connection must end, so that the client does not take what it has for the whole.
    BrokenOff(Code),
}

impl Reply {
    /// A reply without a body.
    pub(crate) fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::with_capacity(HEADERS_BYTES), body: ReplyBody::Empty }
    }

    /// A reply with the XML document that `write` produces.
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

    /// The reply to a request that failed.
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

    /// Writes the status line and the headers.
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
            // If an empty reply to HEAD states the length of its object, the length is among its headers.
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
    /// If the object cannot be read, or there is no memory to send it from, and nothing has been sent yet.
    pub(crate) async fn send(self, wire: &mut Wire, out: &mut Vec<u8>) -> Result<Sent, S3Error> {
        let sent = match self.body {
            ReplyBody::Empty => wire.write_all(out).await,
            ReplyBody::Bytes(bytes) => {
                let _held = hold(wire.holder(), bytes.len())?;
                if bytes.len() <= ONE_WRITE_BYTES {
                    out.extend_from_slice(&bytes);
                    drop(bytes);
                    wire.write_all(out).await
                } else {
                    match wire.write_all(out).await {
                        Ok(()) => wire.write_all(&bytes).await,
                        lost => lost,
                    }
                }
            }
            ReplyBody::Object(_, stream) => return send_object(wire, out, *stream).await,
        };
        Ok(Sent::of(sent))
    }
}

impl Sent {
    pub(super) fn of(written: std::io::Result<()>) -> Sent {
        written.map_or_else(|error| wait_failed(&error).map_or(Sent::Lost, Sent::BrokenOff), |()| Sent::Whole)
    }
}

/// Acquires memory for a document that waits for its client to take it; for a short one the connection's own memory is
/// enough.
fn hold(holder: &Rc<Holder>, bytes: usize) -> Result<Option<Held>, S3Error> {
    if bytes <= FREE_INPUT_BYTES {
        return Ok(None);
    }
    let class = if bytes <= SMALL_BLOB_BYTES { Class::Small } else { Class::Large };
    let busy = || Code::SlowDown.with("The memory for responses is in use.");
    holder.try_acquire(class, bytes).map(Some).ok_or_else(busy)
}

/// Sends an object as its client takes it. When memory is short and the client takes nothing, buffers are given back,
/// and their bytes are read again once the socket has room.
async fn send_object(wire: &mut Wire, out: &mut Vec<u8>, mut stream: ObjectStream) -> Result<Sent, S3Error> {
    if stream.left() <= ONE_WRITE_BYTES as u64 {
        while stream.left() > 0 {
            let slice = stream.fill().await?;
            let count = slice.len();
            out.extend_from_slice(slice);
            stream.consume(count);
        }
        // The buffer it was read into is free, but still accounted for: `out` is as large.
        let _held = stream.into_held();
        return Ok(Sent::of(wire.write_all(out).await));
    }
    stream.fill().await?;
    if let Err(error) = wire.write_all(out).await {
        return Ok(Sent::of(Err(error)));
    }
    while stream.left() > 0 {
        // Memory is taken only once the socket has room for its contents.
        let room = if stream.is_loaded() { Ok(Moved::Bytes(0)) } else { wire.writable().await };
        let moved = match room {
            Ok(Moved::Bytes(_)) => match stream.fill().await {
                Ok(slice) => wire.write(slice).await,
                Err(error) => {
                    engine::reach!("download-broken-off");
                    return Ok(Sent::BrokenOff(error.code()));
                }
            },
            waited => waited,
        };
        match moved {
            Ok(Moved::Bytes(count)) => stream.consume(count),
            Ok(Moved::Shrink) => {
                engine::reach!("download-released");
                stream.release().await;
            }
            Err(error) => return Ok(Sent::of(Err(error))),
        }
    }
    Ok(Sent::of(wire.flush().await))
}

fn has_length(headers: &[u8]) -> bool {
    memchr::memmem::find(headers, b"Content-Length: ").is_some()
}
