//! The body of a request: read from the wire and decoded, in the order of arrival.
//!
//! There are two layers of framing, either of which may be absent: that of HTTP (a length, or chunked) and that of AWS
//! (aws-chunked, signed or not, with or without trailers). Unless HTTP's chunks frame it, content goes from the socket
//! straight into the buffer of the caller, within the chunks of aws-chunked too. A client that asked for `100 Continue`
//! gets it before the first byte is awaited.

use crate::error::{Code, S3Error, S3Result};
use crate::http::Step;
use crate::http::chunked::ChunkedDecoder;
use crate::http::head::RequestHead;
use crate::http::response::CONTINUE;
use crate::limits::DISCARD_BYTES;
use crate::sigv4::PayloadMode;
use crate::sigv4::chunks::{AwsChunked, Coding};

use super::wire::{Moved, Wire};

/// The result of reading a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This many bytes were written to the buffer of the caller.
    Data(usize),
    /// The client sends nothing and memory is short: the caller must give back buffers and wait for [`Body::ready`].
    Shrink,
    /// A signed chunk ended: the caller must pass its SHA-256 to [`Body::verify_chunk`], sooner or later.
    ChunkEnd,
    /// The body is complete.
    End,
}

/// HTTP's framing.
enum Framing {
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// What remains of a body, on the wire or yet to be sent, once its request has been handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// This many bytes, which may be read and dropped.
    Bytes(u64),
    /// An unknown number of bytes, or the client did not send them in time.
    Unknown,
    /// The client waits for permission to send them.
    HeldBack,
}

impl Rest {
    /// Whether the connection can be reused. If the client still waits for a 100, it would take the next reply for it.
    pub(crate) fn can_be_dropped(self) -> bool {
        matches!(self, Rest::Bytes(left) if left <= DISCARD_BYTES)
    }

    /// The rest of a body that was not touched.
    pub(crate) fn of_unread(head: &RequestHead) -> Rest {
        match (head.expect_continue(), head.is_chunked()) {
            (true, _) => Rest::HeldBack,
            (false, true) => Rest::Unknown,
            (false, false) => Rest::Bytes(head.content_length().unwrap_or(0)),
        }
    }
}

/// What is at the front of the buffer of the wire.
enum Front {
    Content,
    End,
    Shrink,
}

/// The body of the current request.
pub(crate) struct Body<'a> {
    wire: &'a mut Wire,
    framing: Framing,
    /// The bytes at the front of the buffer of the wire that HTTP's framing says are content.
    front: usize,
    aws: Option<Box<AwsChunked>>,
    expects_continue: bool,
    announced: Option<u64>,
    ended: bool,
    /// The client disconnected, was too slow, or had to free memory: no more arrives.
    lost: bool,
}

impl<'a> Body<'a> {
    /// Creates the body that follows `head`, and says how its content must still be checked: [`PayloadMode::Unsigned`]
    /// if the framing does that.
    ///
    /// # Errors
    /// If aws-chunked comes without a decoded length, or lengths contradict each other.
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

    /// The length of the content in bytes, if the client announced it.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// The connection it arrives on, for a keepalive in the other direction.
    pub(super) fn wire(&mut self) -> &mut Wire {
        self.wire
    }

    /// What remains of the body.
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

    /// Waits until the client may have sent something, so that no buffer is taken before that.
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

    /// Reads content into `dst`, which must not be empty.
    pub(crate) async fn read(&mut self, dst: &mut [u8]) -> S3Result<Piece> {
        if self.ended {
            return Ok(Piece::End);
        }
        self.send_continue().await?;
        if self.aws.is_some() {
            return self.read_aws(dst).await;
        }
        if let Some(piece) = self.read_through(dst, u64::MAX).await? {
            return Ok(piece);
        }
        match self.fill_front().await? {
            Front::Content => {}
            Front::Shrink => return Ok(Piece::Shrink),
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

    /// Reads at most `most` bytes of content from the socket straight into `dst`, if they come next.
    async fn read_through(&mut self, dst: &mut [u8], most: u64) -> S3Result<Option<Piece>> {
        let Framing::Length(left @ 1..) = &mut self.framing else { return Ok(None) };
        if self.front > 0 || !self.wire.buffered().is_empty() {
            return Ok(None);
        }
        let room = usize::try_from(most.min(*left)).unwrap_or(usize::MAX).min(dst.len());
        match self.wire.read(&mut dst[..room]).await {
            Ok(Moved::Shrink) => Ok(Some(Piece::Shrink)),
            Ok(Moved::Bytes(0)) => Err(self.lost(&std::io::ErrorKind::UnexpectedEof.into())),
            Ok(Moved::Bytes(count)) => {
                *left -= count as u64;
                Ok(Some(Piece::Data(count)))
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    async fn read_aws(&mut self, dst: &mut [u8]) -> S3Result<Piece> {
        if let Some(left @ 1..) = self.aws.as_ref().map(|decoder| decoder.content_left())
            && let Some(piece) = self.read_through(dst, left).await?
        {
            if let (Some(decoder), Piece::Data(count)) = (self.aws.as_mut(), &piece) {
                decoder.passed(*count as u64);
            }
            return Ok(piece);
        }
        loop {
            let more = match self.fill_front().await? {
                Front::Shrink => return Ok(Piece::Shrink),
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
                            Front::Shrink => {}
                            Front::End => break self.end_aws(),
                            Front::Content => {
                                break Err(
                                    Code::InvalidRequest.with("The body continues after its last chunk.")
                                );
                            }
                        }
                    };
                }
                Step::NeedMore if !more => return self.end_aws(),
                Step::NeedMore => self.take_front(used),
            }
        }
    }

    /// Ends the body: anything that its decoder still expects will never come.
    fn end_aws(&mut self) -> S3Result<Piece> {
        if let Some(decoder) = &mut self.aws {
            decoder.finish()?;
        }
        self.ended = true;
        Ok(Piece::End)
    }

    /// Whether each chunk is signed, so that its SHA-256 is needed.
    pub(crate) fn has_signed_chunks(&self) -> bool {
        self.aws.as_ref().is_some_and(|decoder| decoder.is_signed())
    }

    /// Verifies the signature of the oldest chunk that has ended and is not yet verified.
    pub(crate) fn verify_chunk(&mut self, sha256: &[u8; 32]) -> S3Result<()> {
        self.aws.as_mut().map_or(Ok(()), |decoder| decoder.verify_chunk(sha256))
    }

    /// Verifies what the framing says about the content once the body is complete. The content must not be used before.
    pub(crate) fn verify_end(&mut self) -> S3Result<()> {
        self.aws.as_mut().map_or(Ok(()), |decoder| decoder.verify_end())
    }

    /// The trailers, once they are verified.
    pub(crate) fn trailers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aws.iter().flat_map(|decoder| decoder.trailers())
    }

    /// Ensures that there is content at the front of the buffer of the wire, unless the body ends or memory must be
    /// given back.
    async fn fill_front(&mut self) -> S3Result<Front> {
        // What follows is read straight into its place.
        let only_header = self.aws.is_some() && matches!(self.framing, Framing::Length(_));
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
            match self.wire.fill_body(only_header).await {
                Ok(Moved::Shrink) => return Ok(Front::Shrink),
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

    /// Notes that no more of the body will arrive. The client is told why, if possible.
    fn lost(&mut self, error: &std::io::Error) -> S3Error {
        self.lost = true;
        wait_failed(error).unwrap_or(Code::IncompleteBody).into()
    }
}

/// The error code for a wait that this server ended; `None` if the client disconnected.
pub(super) fn wait_failed(error: &std::io::Error) -> Option<Code> {
    engine::reach!("client-too-slow", error.kind() == std::io::ErrorKind::TimedOut);
    engine::reach!("client-ended-for-memory", error.kind() == std::io::ErrorKind::ResourceBusy);
    match error.kind() {
        std::io::ErrorKind::TimedOut => Some(Code::RequestTimeout),
        std::io::ErrorKind::ResourceBusy => Some(Code::SlowDown),
        _ => None,
    }
}
