//! A request's body: taken off the wire, unframed, in the order it arrived.
//!
//! Two layers of framing, either of which may be absent: HTTP's (a length, or chunked) and AWS's (aws-chunked,
//! signed or not, with or without trailers). Content goes from the socket straight to where the caller wants it
//! when nothing frames it but a length. Before its first byte is awaited, a client that asked for
//! `100 Continue` gets it.

use crate::error::{Code, S3Error, S3Result};
use crate::http::Step;
use crate::http::chunked::ChunkedDecoder;
use crate::http::head::RequestHead;
use crate::http::response::CONTINUE;
use crate::limits::DISCARD_BYTES;
use crate::sigv4::PayloadMode;
use crate::sigv4::chunks::{AwsChunked, Coding};

use super::wire::{Moved, Wire};

/// What a read of a body gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many bytes were put into the caller's buffer.
    Data(usize),
    /// The client sends nothing and memory is short: buffers are to be given back, and [`Body::ready`] waited for.
    Asked,
    /// A signed chunk ended: its SHA-256 is to be given to [`Body::verify_chunk`] before the next read.
    ChunkEnd,
    /// The body is complete.
    End,
}

/// HTTP's framing.
enum Framing {
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// What of a body is on the wire, or still to come, once its request was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// So many bytes, that may be read and dropped.
    Bytes(u64),
    /// Nobody knows how many, or the client did not send them in time.
    Unknown,
    /// The client waits for leave to send them.
    HeldBack,
}

impl Rest {
    /// Whether the connection can go on. An answer without the 100 that the client waits for would be taken for the
    /// next one's.
    pub(crate) fn can_be_dropped(self) -> bool {
        matches!(self, Rest::Bytes(left) if left <= DISCARD_BYTES)
    }

    /// Of a body that nobody touched.
    pub(crate) fn of_unread(head: &RequestHead) -> Rest {
        match (head.expect_continue(), head.is_chunked()) {
            (true, _) => Rest::HeldBack,
            (false, true) => Rest::Unknown,
            (false, false) => Rest::Bytes(head.content_length().unwrap_or(0)),
        }
    }
}

/// Whether content waits at the front of the wire's buffer.
enum Front {
    Content,
    End,
    Asked,
}

/// The body of the request at hand.
pub(crate) struct Body<'a> {
    wire: &'a mut Wire,
    framing: Framing,
    /// Bytes at the front of the wire's buffer that are content as far as HTTP is concerned.
    front: usize,
    aws: Option<Box<AwsChunked>>,
    expects_continue: bool,
    announced: Option<u64>,
    ended: bool,
    /// The client is gone, was too slow, or had to make room: no more comes.
    lost: bool,
}

impl<'a> Body<'a> {
    /// The body that follows `head`, and how its content is still to be checked: [`PayloadMode::Unsigned`] where
    /// the framing does it.
    ///
    /// # Errors
    /// aws-chunked without a decoded length, or lengths that contradict each other.
    pub(crate) fn new(
        wire: &'a mut Wire,
        head: &RequestHead,
        mode: PayloadMode,
    ) -> S3Result<(Body<'a>, PayloadMode)> {
        let framing = if head.is_chunked() {
            Framing::Chunked(ChunkedDecoder::new())
        } else {
            Framing::Length(head.content_length().unwrap_or(0))
        };
        let length = if head.is_chunked() { None } else { Some(head.content_length().unwrap_or(0)) };
        let (aws, announced, mode) = match Coding::of(mode, head)? {
            Coding::AwsChunked(decoder) => {
                let length = decoder.decoded_length();
                (Some(decoder), Some(length), PayloadMode::Unsigned)
            }
            Coding::Plain(mode) => (None, length, mode),
        };
        let expects_continue = head.expect_continue();
        Ok((
            Body { wire, framing, front: 0, aws, expects_continue, announced, ended: false, lost: false },
            mode,
        ))
    }

    /// Length of the content, bytes, where the client told.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// The connection that it comes by, for a sign of life in the other direction.
    pub(super) fn wire(&mut self) -> &mut Wire {
        self.wire
    }

    /// What is left of it.
    pub(crate) fn rest(&self) -> Rest {
        match &self.framing {
            _ if self.lost => Rest::Unknown,
            _ if self.expects_continue => Rest::HeldBack,
            Framing::Length(left) => Rest::Bytes(*left + self.front as u64),
            Framing::Chunked(decoder) if self.front == 0 && decoder.is_done() => Rest::Bytes(0),
            Framing::Chunked(_) => Rest::Unknown,
        }
    }

    /// Tells the client to send its body, if it waits for that.
    pub(crate) async fn send_continue(&mut self) -> S3Result<()> {
        if std::mem::take(&mut self.expects_continue) {
            let sent = self.wire.write_all(CONTINUE).await;
            sent.map_err(|error| self.lost(&error))?;
        }
        Ok(())
    }

    /// Waits until the client may have sent something, so that no buffer is taken before.
    pub(crate) async fn ready(&mut self) -> S3Result<()> {
        let complete = match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(decoder) => decoder.is_done(),
        };
        if complete || self.ended || !self.wire.buffered().is_empty() {
            return Ok(());
        }
        self.send_continue().await?;
        let ready = self.wire.readable().await;
        ready.map_err(|error| self.lost(&error))
    }

    /// Reads content into `dst`, which is not empty.
    pub(crate) async fn read(&mut self, dst: &mut [u8]) -> S3Result<Piece> {
        if self.ended {
            return Ok(Piece::End);
        }
        self.send_continue().await?;
        if self.aws.is_some() {
            return self.read_aws(dst).await;
        }
        if self.front == 0
            && self.wire.buffered().is_empty()
            && let Framing::Length(left @ 1..) = &mut self.framing
        {
            let want = usize::try_from(*left).unwrap_or(usize::MAX).min(dst.len());
            return match self.wire.read(&mut dst[..want]).await {
                Ok(Moved::Asked) => Ok(Piece::Asked),
                Ok(Moved::Bytes(0)) => Err(self.lost(&std::io::ErrorKind::UnexpectedEof.into())),
                Ok(Moved::Bytes(count)) => {
                    *left -= count as u64;
                    Ok(Piece::Data(count))
                }
                Err(error) => Err(self.lost(&error)),
            };
        }
        match self.fill_front().await? {
            Front::Content => {}
            Front::Asked => return Ok(Piece::Asked),
            Front::End => {
                self.ended = true;
                return Ok(Piece::End);
            }
        }
        let count = self.front.min(dst.len());
        dst[..count].copy_from_slice(&self.wire.buffered()[..count]);
        self.take_front(count);
        Ok(Piece::Data(count))
    }

    async fn read_aws(&mut self, dst: &mut [u8]) -> S3Result<Piece> {
        loop {
            let more = match self.fill_front().await? {
                Front::Asked => return Ok(Piece::Asked),
                Front::Content => true,
                Front::End => false,
            };
            let Some(decoder) = self.aws.as_mut() else { return Ok(Piece::End) };
            let input = &self.wire.buffered()[..self.front];
            let step = decoder.feed(input, dst.len())?;
            let used = step.consumed(self.front);
            match step {
                Step::Data(range) => {
                    let count = range.len();
                    dst[..count].copy_from_slice(&input[range]);
                    self.take_front(used);
                    return Ok(Piece::Data(count));
                }
                Step::ChunkEnd(_) => {
                    self.take_front(used);
                    return Ok(Piece::ChunkEnd);
                }
                Step::Done(_) => {
                    self.take_front(used);
                    return loop {
                        match self.fill_front().await? {
                            Front::Asked => {}
                            Front::End => break self.end_aws(),
                            Front::Content => {
                                break Err(Code::InvalidRequest
                                    .with("There is more body than its last chunk announced."));
                            }
                        }
                    };
                }
                Step::NeedMore if !more => return self.end_aws(),
                Step::NeedMore => self.take_front(used),
            }
        }
    }

    /// The body is over: what its decoder still misses is missing for good.
    fn end_aws(&mut self) -> S3Result<Piece> {
        if let Some(decoder) = &mut self.aws {
            decoder.finish()?;
        }
        self.ended = true;
        Ok(Piece::End)
    }

    /// Whether each chunk has a signature, so that its SHA-256 is wanted.
    pub(crate) fn has_signed_chunks(&self) -> bool {
        self.aws.as_ref().is_some_and(|decoder| decoder.is_signed())
    }

    /// Checks the signature of the oldest chunk that ended and was not checked yet.
    pub(crate) fn verify_chunk(&mut self, sha256: &[u8; 32]) -> S3Result<()> {
        self.aws.as_mut().map_or(Ok(()), |decoder| decoder.verify_chunk(sha256))
    }

    /// The trailers of the body, once it is complete.
    pub(crate) fn trailers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aws.iter().flat_map(|decoder| decoder.trailers())
    }

    /// Makes sure that content waits at the front of the wire's buffer, unless the body ends or memory is asked for.
    async fn fill_front(&mut self) -> S3Result<Front> {
        while self.front == 0 {
            let buffered = self.wire.buffered().len();
            match &mut self.framing {
                Framing::Length(0) => return Ok(Front::End),
                Framing::Length(left) => {
                    let count = buffered.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    self.front = count;
                }
                Framing::Chunked(decoder) => {
                    if decoder.is_done() {
                        return Ok(Front::End);
                    }
                    match decoder.feed(self.wire.buffered())? {
                        Step::Data(range) => {
                            self.wire.consume(range.start);
                            self.front = range.len();
                        }
                        Step::Done(used) | Step::ChunkEnd(used) => {
                            self.wire.consume(used);
                            return Ok(Front::End);
                        }
                        Step::NeedMore => self.wire.consume(buffered),
                    }
                }
            }
            if self.front > 0 {
                break;
            }
            match self.wire.fill_body().await {
                Ok(Moved::Asked) => return Ok(Front::Asked),
                Ok(Moved::Bytes(0)) => return Err(self.lost(&std::io::ErrorKind::UnexpectedEof.into())),
                Ok(Moved::Bytes(_)) => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
        Ok(Front::Content)
    }

    fn take_front(&mut self, count: usize) {
        self.front -= count;
        self.wire.consume(count);
    }

    /// No more of it comes. The client is told why, if it can be.
    fn lost(&mut self, error: &std::io::Error) -> S3Error {
        self.lost = true;
        wait_failed(error).unwrap_or(Code::IncompleteBody).into()
    }
}

/// What a wait for the client that this server ended is to be called; none where the client is gone.
pub(super) fn wait_failed(error: &std::io::Error) -> Option<Code> {
    match error.kind() {
        std::io::ErrorKind::TimedOut => Some(Code::RequestTimeout),
        std::io::ErrorKind::ResourceBusy => Some(Code::SlowDown),
        _ => None,
    }
}
