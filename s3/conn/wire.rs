//! The two byte streams of a connection: what came in and is not yet used, and what goes out.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use engine::io::{Instant, Stream, now, yield_if_needed};

use super::deadline::Slot;
use crate::limits::BODY_BYTES_PER_SECOND;

/// Bytes read at once while a head or small frames are awaited.
const SCRATCH_BYTES: usize = 64 << 10;
/// A kept input buffer larger than this is freed once it is empty.
const KEEP_BYTES: usize = 16 << 10;
/// Free input buffers that a core keeps.
const FREE_BUFFERS: usize = 256;
/// What one connection may move before it lets others run.
const TURN_BYTES: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A connection's bytes.
pub(crate) struct Wire {
    stream: Stream,
    slot: Rc<Slot>,
    input: Vec<u8>,
    start: usize,
    turn: usize,
    /// A read or write without progress for so long ends the connection.
    stall: Duration,
    /// Of the body at hand: time waited for it, and what came.
    waited: Duration,
    body_bytes: u64,
    /// Bytes taken from and given to the socket since the connection began.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Wire {
    pub(crate) fn new(stream: Stream, slot: Rc<Slot>, stall: Duration) -> Wire {
        Wire {
            stream,
            slot,
            input: Vec::new(),
            start: 0,
            turn: 0,
            stall,
            waited: Duration::ZERO,
            body_bytes: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Bytes received and not yet used.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Marks the first `count` buffered bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.input.len());
        if self.start == self.input.len() {
            self.start = 0;
            self.input.clear();
            if self.input.capacity() > KEEP_BYTES {
                self.input = Vec::new();
            } else if self.input.capacity() > 0 {
                recycle(std::mem::take(&mut self.input));
            }
        }
    }

    /// Waits for more bytes and buffers them; 0 at the end of the stream. The deadline is the caller's.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.take_turn().await;
        let (stream, input) = (&mut self.stream, &mut self.input);
        let count = self
            .slot
            .guard(|cx| {
                SCRATCH.with_borrow_mut(|scratch| {
                    stream.poll_read(cx, scratch).map_ok(|count| {
                        if input.capacity() == 0 {
                            *input = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
                        }
                        input.extend_from_slice(&scratch[..count]);
                        count
                    })
                })
            })
            .await?;
        self.moved(count);
        self.bytes_in += count as u64;
        Ok(count)
    }

    /// Like [`Wire::fill`], within a body: a client that sends nothing for too long is given up.
    pub(crate) async fn fill_body(&mut self) -> io::Result<usize> {
        self.slot.extend(self.patience());
        let began = now();
        let count = self.fill().await?;
        self.note_body(began, count);
        Ok(count)
    }

    /// A new request: nothing was waited for yet.
    pub(crate) fn begin_body(&mut self) {
        self.waited = Duration::ZERO;
        self.body_bytes = 0;
    }

    /// How long the next bytes of a body are waited for: a client that sends a byte now and then earns no time.
    fn patience(&self) -> Duration {
        let earned = Duration::from_millis(self.body_bytes * 1000 / BODY_BYTES_PER_SECOND);
        (self.stall + earned).saturating_sub(self.waited).min(self.stall)
    }

    fn note_body(&mut self, began: Instant, count: usize) {
        self.waited += began.elapsed();
        self.body_bytes += count as u64;
    }

    /// Reads and drops `count` bytes of a body that nobody wants.
    pub(crate) async fn discard(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            if self.buffered().is_empty() && self.fill_body().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let used = self.buffered().len().min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consume(used);
            count -= used as u64;
        }
        Ok(())
    }

    /// Drops the used bytes in front, so that the buffer does not creep upwards.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
    }

    /// Reads body bytes: what is buffered first, else from the socket straight into `dst`.
    pub(crate) async fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let buffered = self.buffered();
        if !buffered.is_empty() {
            let count = buffered.len().min(dst.len());
            dst[..count].copy_from_slice(&buffered[..count]);
            self.consume(count);
            return Ok(count);
        }
        self.take_turn().await;
        self.slot.extend(self.patience());
        let began = now();
        let stream = &mut self.stream;
        let count = self.slot.guard(|cx| stream.poll_read(cx, dst)).await?;
        self.note_body(began, count);
        self.moved(count);
        self.bytes_in += count as u64;
        Ok(count)
    }

    /// Writes all of `bytes`; each piece that leaves renews the stall deadline.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.slot.extend(self.stall);
        while !bytes.is_empty() {
            self.take_turn().await;
            let stream = &mut self.stream;
            let count = self.slot.guard(|cx| stream.poll_write(cx, bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
            self.moved(count);
            self.bytes_out += count as u64;
            if !bytes.is_empty() {
                self.slot.extend(self.stall);
            }
        }
        if self.stream.is_encrypted() {
            let stream = &mut self.stream;
            self.slot.guard(|cx| stream.poll_flush(cx)).await?;
        }
        Ok(())
    }

    /// Moves the connection's deadline. `idle` says that it waits between two requests.
    pub(crate) fn extend(&self, after: Duration, idle: bool) {
        self.slot.extend(after);
        self.slot.set_idle(idle);
    }

    /// Says goodbye: nothing more will be sent; what the client still sends is read for a moment, since
    /// closing with unread bytes would reset the connection and could destroy the reply on its way.
    pub(crate) async fn linger(&mut self, limit_bytes: usize, wait: Duration) {
        if self.stream.close().await.is_err() {
            return;
        }
        self.consume(self.buffered().len());
        self.slot.extend(wait);
        let mut left = limit_bytes;
        while left > 0 {
            match self.fill().await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.consume(self.buffered().len());
                }
            }
        }
    }

    fn moved(&mut self, count: usize) {
        self.turn += count;
    }

    /// A socket that is always ready never waits, so the others would starve.
    async fn take_turn(&mut self) {
        if self.turn >= TURN_BYTES {
            self.turn = 0;
            engine::io::yield_now().await;
        } else {
            yield_if_needed().await;
        }
    }
}

fn recycle(buffer: Vec<u8>) {
    FREE.with_borrow_mut(|free| {
        if free.len() < FREE_BUFFERS {
            free.push(buffer);
        }
    });
}
