//! Replies that begin before their work is done, so that a client that would otherwise wait a minute for the first byte
//! does not repeat a request that is still running.
//!
//! AWS, "CopyObject", "UploadPartCopy" and "CompleteMultipartUpload": the reply begins with 200, white space follows as
//! a keepalive while the work goes on, and then comes the document, or an `<Error>` for which the client must check.
//! Short work keeps its proper status.

use std::rc::Rc;
use std::time::Duration;

use engine::io::{self, Instant};

use super::body::Body;
use super::reply::{Reply, ReplyBody, Sent};
use super::wire::Wire;
use crate::error::{Code, S3Result};
use crate::http::head::RequestHead;
use crate::http::response::ResponseHead;
use crate::limits::{DEFERRED_AFTER, WHITE_SPACE_INTERVAL};
use crate::operation::Operation;
use crate::service::{RequestId, Service};
use crate::xml::write::DECLARATION;

/// How far a reply has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It does not begin before the work is done.
    Never,
    /// It may begin early.
    Waiting,
    /// Its head and the declaration of its document have been sent.
    Begun,
    /// The client has disconnected; the work goes on all the same.
    Lost(Sent),
}

/// The reply to one request, while its work goes on.
pub(crate) struct Deferral {
    service: Rc<Service>,
    request_id: RequestId,
    since: Instant,
    state: State,
    /// HTTP/1.0 has no chunks: the end of the connection ends the document.
    chunked: bool,
    close: bool,
}

impl Deferral {
    pub(super) fn new(service: &Rc<Service>, head: &RequestHead, request_id: &RequestId) -> Deferral {
        Deferral {
            service: service.clone(),
            request_id: *request_id,
            since: io::now(),
            state: State::Never,
            chunked: !head.is_http_1_0(),
            close: head.is_http_1_0() || !head.keep_alive(),
        }
    }

    /// Sets the operation, which decides whether the reply may begin early.
    pub(super) fn allow(&mut self, operation: Operation) {
        use Operation::{CompleteMultipartUpload, CopyObject, UploadPartCopy};
        if matches!(operation, CopyObject | UploadPartCopy | CompleteMultipartUpload) {
            self.state = State::Waiting;
        }
    }

    /// The time until the next keepalive; `None` if the client gets none.
    pub(crate) fn due(&self) -> Option<Duration> {
        match self.state {
            State::Waiting => Some(self.since + DEFERRED_AFTER - io::now()),
            State::Begun => Some(WHITE_SPACE_INTERVAL),
            State::Never | State::Lost(_) => None,
        }
    }

    /// Sends the client a keepalive.
    pub(crate) async fn send_keepalive(&mut self, body: &mut Body<'_>) {
        let mut out = Vec::new();
        if self.state == State::Waiting {
            engine::reach!("reply-deferred");
            if body.send_continue().await.is_err() {
                self.state = State::Lost(Sent::Lost);
                return;
            }
            self.close |= !body.rest().can_be_dropped() || self.service.draining();
            // A demand to end that came with the last bytes of the body is too late.
            body.wire().holder().start();
            self.write_head(&self.service.date(), &mut out);
            self.write_piece(DECLARATION, &mut out);
        } else {
            engine::reach!("keepalive-sent");
            self.write_piece(b" ", &mut out);
        }
        self.state = match body.wire().write_all(&out).await {
            Ok(()) => State::Begun,
            Err(error) => State::Lost(Sent::of(Err(error))),
        };
    }

    fn write_head(&self, date: &[u8; 29], out: &mut Vec<u8>) {
        let mut head = ResponseHead::start(out, 200, date, self.request_id.as_str());
        head.header("Content-Type", "application/xml");
        if self.chunked {
            head.header("Transfer-Encoding", "chunked");
        }
        if self.close {
            head.header("Connection", "close");
        }
        head.finish();
    }

    fn write_piece(&self, piece: &[u8], out: &mut Vec<u8>) {
        if self.chunked {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(piece);
        }
    }

    /// Ends a reply that has begun.
    pub(super) async fn finish(
        self,
        result: S3Result<Reply>,
        resource: &[u8],
        wire: &mut Wire,
    ) -> Completion {
        let error = result.as_ref().err().map(|error| error.code());
        match self.state {
            State::Never | State::Waiting => return Completion::NotBegun(result),
            State::Lost(sent) => {
                engine::reach!("client-of-a-deferred-reply-left");
                return Completion::Ended { sent, error, close: true };
            }
            State::Begun => {}
        }
        engine::reach!("deferred-reply-ended-in-an-error", error.is_some());
        let document = self.document(result, resource);
        let mut out = Vec::with_capacity(document.len() + 32);
        self.write_piece(&document, &mut out);
        if self.chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        let sent = Sent::of(wire.write_all(&out).await);
        Completion::Ended { sent, error, close: self.close }
    }

    /// The document without its declaration.
    fn document(&self, result: S3Result<Reply>, resource: &[u8]) -> Vec<u8> {
        let mut document = match result {
            Ok(Reply { body: ReplyBody::Bytes(document), .. }) => document,
            other => {
                let error = other.err().unwrap_or_else(|| Code::InternalError.into());
                let mut document = Vec::new();
                let resource = String::from_utf8_lossy(resource);
                error.to_xml(&resource, self.request_id.as_str(), &mut document);
                document
            }
        };
        debug_assert!(document.starts_with(DECLARATION));
        document.drain(..DECLARATION.len());
        document
    }
}

/// What became of a reply when its work was done.
pub(super) enum Completion {
    /// It did not begin early: the result is still to be sent.
    NotBegun(S3Result<Reply>),
    /// It began early and has ended, with this error in its document; `close`: the connection must be closed.
    Ended { sent: Sent, error: Option<Code>, close: bool },
}

#[cfg(test)]
#[path = "deferral_tests.rs"]
mod tests;
