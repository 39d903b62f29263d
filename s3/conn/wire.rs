//! The two byte streams of a connection: received bytes that are not yet consumed, and bytes to send.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use engine::budget::{Class, Demand, Held, Holder};
use engine::io::{Instant, Stream, now, yield_if_needed};
use engine::limits::FREE_INPUT_BYTES;

use super::deadline::Slot;
use crate::limits::BODY_BYTES_PER_SECOND;

/// The most bytes read at once while a head or framed content is awaited. They are copied, unlike content that is read
/// straight into its place.
const SCRATCH_BYTES: usize = 16 << 10;
/// The most bytes read at once while the header of a chunk is awaited whose content will be read into its place.
const CHUNK_HEADER_BYTES: usize = 4 << 10;
/// The number of free input buffers that a core keeps.
const FREE_BUFFERS: usize = 256;
/// How many bytes one connection may move before it lets others run.
const TURN_BYTES: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The result of waiting for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// This many bytes were read or written.
    Bytes(usize),
    /// The client does nothing and memory is short: the caller must give back what can be restored, and then wait on.
    Shrink,
}

/// How fast the client sends or takes a body.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// How long to wait for the next bytes: a client that moves a byte now and then gains no time.
    fn patience(&self, stall: Duration) -> Duration {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / BODY_BYTES_PER_SECOND);
        (stall + earned).saturating_sub(self.waited).min(stall)
    }

    fn note(&mut self, began: Instant, count: usize) {
        self.waited += began.elapsed();
        self.bytes += count as u64;
    }
}

/// A connection's bytes.
pub(crate) struct Wire {
    stream: Stream,
    slot: Rc<Slot>,
    holder: Rc<Holder>,
    input: Vec<u8>,
    start: usize,
    /// The length of the head of the current request.
    head_bytes: usize,
    /// The memory for the input and the head, if they are long.
    input_held: Option<Held>,
    turn: usize,
    /// A read or write without progress for this long ends the connection.
    stall: Duration,
    /// The paces of the request body and of the reply.
    pace_in: Pace,
    pace_out: Pace,
    /// Bytes read from and written to the socket since the connection began.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Wire {
    pub(crate) fn new(stream: Stream, slot: Rc<Slot>, holder: Rc<Holder>, stall: Duration) -> Wire {
        Wire {
            stream,
            slot,
            holder,
            input: Vec::new(),
            start: 0,
            head_bytes: 0,
            input_held: None,
            turn: 0,
            stall,
            pace_in: Pace::default(),
            pace_out: Pace::default(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// The holder of this connection's memory.
    pub(crate) fn holder(&self) -> &Rc<Holder> {
        &self.holder
    }

    /// The bytes received and not yet consumed.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Consumes the first `count` buffered bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.input.len());
        if self.start == self.input.len() {
            self.start = 0;
            self.input.clear();
            if self.input.capacity() > SCRATCH_BYTES {
                self.input = Vec::new();
            } else if self.input.capacity() > 0 {
                recycle(std::mem::take(&mut self.input));
            }
            self.give_input_back(self.head_bytes);
        }
    }

    /// Says that the head of the last request is in memory no longer.
    pub(crate) fn end_request(&mut self) {
        self.head_bytes = 0;
        self.give_input_back(self.input.len());
    }

    /// Gives back what accounts for more than `bytes` of input.
    fn give_input_back(&mut self, bytes: usize) {
        if bytes <= FREE_INPUT_BYTES {
            self.input_held = None;
        } else if let Some(held) = &mut self.input_held {
            held.shrink(bytes);
        }
    }

    /// Waits for more bytes and buffers them; 0 at the end of the stream. The caller sets the deadline.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        loop {
            if let Moved::Bytes(count) = self.fill_once(SCRATCH_BYTES, false).await? {
                return Ok(count);
            }
        }
    }

    async fn fill_once(&mut self, room: usize, shrinks: bool) -> io::Result<Moved> {
        self.take_turn().await;
        if self.input.capacity() > FREE_INPUT_BYTES && !self.input.is_empty() {
            self.compact();
            // The rest may take long to arrive. If it arrives byte by byte, it must not be copied for each.
            if self.input.capacity() > 2 * self.input.len() {
                self.input.shrink_to_fit();
            }
        }
        let room = if self.holder.input_is_short() { room.min(FREE_INPUT_BYTES / 2) } else { room };
        let (stream, input, holder) = (&mut self.stream, &mut self.input, &self.holder);
        let moved = self
            .slot
            .guard(|cx| {
                let polled = SCRATCH.with_borrow_mut(|scratch| {
                    stream.poll_read(cx, &mut scratch[..room]).map_ok(|count| {
                        if input.capacity() == 0 {
                            *input = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
                        }
                        input.extend_from_slice(&scratch[..count]);
                        count
                    })
                });
                or_shrink(polled, holder, shrinks, cx)
            })
            .await;
        let moved = self.settle(moved)?;
        self.bytes_in += moved.bytes() as u64;
        self.hold_input()?;
        Ok(moved)
    }

    /// Like [`Wire::fill`], but within a body: gives up a client that sends nothing for too long. `only_header` says
    /// that the header of a chunk is all that is wanted.
    pub(crate) async fn fill_body(&mut self, only_header: bool) -> io::Result<Moved> {
        self.slot.extend(self.pace_in.patience(self.stall));
        let began = now();
        let room = if only_header { CHUNK_HEADER_BYTES } else { SCRATCH_BYTES };
        let moved = self.fill_once(room, true).await?;
        self.pace_in.note(began, moved.bytes());
        Ok(moved)
    }

    /// Begins a request with a head of `head_bytes`: no time has been spent waiting yet.
    pub(crate) fn begin(&mut self, head_bytes: usize) -> io::Result<()> {
        (self.pace_in, self.pace_out) = (Pace::default(), Pace::default());
        self.holder.start();
        self.head_bytes = head_bytes;
        self.hold_input()
    }

    /// Accounts for the input that is kept.
    fn hold_input(&mut self) -> io::Result<()> {
        let bytes = self.input.len() + self.head_bytes;
        self.give_input_back(bytes);
        if bytes > FREE_INPUT_BYTES && self.input_held.as_ref().is_none_or(|held| held.bytes() < bytes) {
            self.input_held = None;
            self.input_held = self.holder.try_acquire(Class::Input, bytes);
            if self.input_held.is_none() {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
        }
        Ok(())
    }

    /// Waits until the client may have sent something, without taking memory for it.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.slot.extend(self.pace_in.patience(self.stall));
        let began = now();
        let (stream, holder) = (&mut self.stream, &self.holder);
        let ready = self.slot.guard(|cx| {
            let polled = stream.poll_readable(cx).map(|()| Ok(0));
            or_shrink(polled, holder, false, cx)
        });
        let moved = ready.await;
        self.settle(moved)?;
        self.pace_in.note(began, 0);
        Ok(())
    }

    /// Waits until the client may take something, without taking memory for it; 0 bytes mean that it may.
    pub(crate) async fn writable(&mut self) -> io::Result<Moved> {
        self.slot.extend(self.pace_out.patience(self.stall));
        let began = now();
        let (stream, holder) = (&mut self.stream, &self.holder);
        let ready = self.slot.guard(|cx| {
            let polled = stream.poll_writable(cx).map(|()| Ok(0));
            or_shrink(polled, holder, true, cx)
        });
        let moved = ready.await;
        let moved = self.settle(moved)?;
        self.pace_out.note(began, 0);
        Ok(moved)
    }

    /// Notes that the wait is over, unless it continues after memory was given back.
    fn settle(&mut self, moved: io::Result<Moved>) -> io::Result<Moved> {
        match &moved {
            Ok(Moved::Shrink) => {}
            Ok(Moved::Bytes(count)) => {
                self.turn += count;
                self.holder.moved(*count);
            }
            Err(_) => self.holder.start(),
        }
        moved
    }

    /// Reads and drops `count` bytes of an unwanted body.
    pub(crate) async fn discard(&mut self, mut count: u64) -> io::Result<()> {
        engine::reach!("rest-of-a-body-discarded", count > 0);
        while count > 0 {
            if self.buffered().is_empty() && self.fill_body(false).await? == Moved::Bytes(0) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let used = self.buffered().len().min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consume(used);
            count -= used as u64;
        }
        Ok(())
    }

    /// Drops the consumed bytes at the front, so that the buffer does not grow.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
    }

    /// Reads bytes of a body: first those buffered, then from the socket straight into `dst`.
    pub(crate) async fn read(&mut self, dst: &mut [u8]) -> io::Result<Moved> {
        let buffered = self.buffered();
        if !buffered.is_empty() {
            let count = buffered.len().min(dst.len());
            dst[..count].copy_from_slice(&buffered[..count]);
            self.consume(count);
            return Ok(Moved::Bytes(count));
        }
        self.take_turn().await;
        self.slot.extend(self.pace_in.patience(self.stall));
        let began = now();
        let (stream, holder) = (&mut self.stream, &self.holder);
        let read = self.slot.guard(|cx| or_shrink(stream.poll_read(cx, dst), holder, true, cx));
        let moved = read.await;
        let moved = self.settle(moved)?;
        self.pace_in.note(began, moved.bytes());
        self.bytes_in += moved.bytes() as u64;
        Ok(moved)
    }

    /// Writes some of `bytes`. A client that takes too little is given up.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        self.write_some(bytes, true).await
    }

    async fn write_some(&mut self, bytes: &[u8], shrinks: bool) -> io::Result<Moved> {
        self.take_turn().await;
        self.slot.extend(self.pace_out.patience(self.stall));
        let began = now();
        let (stream, holder) = (&mut self.stream, &self.holder);
        let written = self.slot.guard(|cx| or_shrink(stream.poll_write(cx, bytes), holder, shrinks, cx));
        let moved = written.await;
        let moved = self.settle(moved)?;
        self.pace_out.note(began, moved.bytes());
        self.bytes_out += moved.bytes() as u64;
        if moved == Moved::Bytes(0) { Err(io::ErrorKind::WriteZero.into()) } else { Ok(moved) }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let moved = self.write_some(bytes, false).await?;
            bytes = &bytes[moved.bytes()..];
        }
        self.flush().await
    }

    /// Sends what TLS still buffers.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.stream.is_encrypted() {
            self.slot.extend(self.pace_out.patience(self.stall));
            let began = now();
            let stream = &mut self.stream;
            self.slot.guard(|cx| stream.poll_flush(cx)).await?;
            self.pace_out.note(began, 0);
        }
        Ok(())
    }

    /// Moves the connection's deadline. `idle` says that it is waiting between two requests.
    pub(crate) fn extend(&self, after: Duration, idle: bool) {
        self.slot.extend(after);
        self.slot.set_idle(idle);
    }

    /// Closes the sending side and reads what the client still sends for a moment: closing with unread bytes would
    /// reset the connection and could destroy the reply on its way.
    pub(crate) async fn linger(&mut self, limit_bytes: usize, wait: Duration) {
        // TLS says goodbye by a message, for which the client has to leave room.
        self.slot.extend(self.pace_out.patience(self.stall));
        let closed = {
            let mut close = pin!(self.stream.close());
            self.slot.guard(|cx| close.as_mut().poll(cx)).await
        };
        if closed.is_err() {
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

impl Moved {
    /// The number of bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Moved::Bytes(count) => count,
            Moved::Shrink => 0,
        }
    }
}

/// Returns the result of the poll if it is ready; otherwise polls for a request to give back memory. A caller that
/// cannot shrink waits on until it has to end.
fn or_shrink(
    polled: Poll<io::Result<usize>>,
    holder: &Holder,
    shrinks: bool,
    cx: &Context<'_>,
) -> Poll<io::Result<Moved>> {
    if polled.is_ready() {
        return polled.map_ok(Moved::Bytes);
    }
    loop {
        match holder.poll_demand(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Demand::End) => return Poll::Ready(Err(io::ErrorKind::ResourceBusy.into())),
            Poll::Ready(Demand::Shrink) if shrinks => return Poll::Ready(Ok(Moved::Shrink)),
            Poll::Ready(Demand::Shrink) => {}
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use engine::budget::Budget;
    use engine::io::{Accepted, Listener, block_on, timeout};
    use futures_lite::future;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::super::deadline::Deadlines;
    use super::super::spread::{Placed, Spread};
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    fn slot_of(deadlines: &Deadlines, accepted: Accepted) -> (Rc<Slot>, Stream) {
        let (spread, _inbox) = Spread::over(1, 1).pop().unwrap();
        let Placed::Here(assigned) = spread.place(accepted) else { panic!("there is one core") };
        (deadlines.register(STALL, assigned.seat), assigned.connection.into_stream())
    }

    /// A connection whose memory is of `budget`, and the client's end of it.
    async fn connected(budget: &Budget) -> (Wire, Stream) {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = future::zip(Stream::connect(address), listener.accept_unbound()).await;
        let (slot, stream) = slot_of(&Deadlines::default(), accepted.unwrap());
        (Wire::new(stream, slot, budget.holder(), STALL), client.unwrap())
    }

    /// Lets the client send so much, and buffers it.
    async fn receive(wire: &mut Wire, client: &mut Stream, count: usize) {
        let wanted = wire.buffered().len() + count;
        let received = async {
            while wire.buffered().len() < wanted {
                wire.fill().await.unwrap();
            }
        };
        let bytes = vec![b'x'; count];
        let (sent, ()) = future::zip(client.write_all(&bytes), received).await;
        sent.unwrap();
    }

    /// A client that completes the handshake and then reads nothing, until the sender is dropped.
    fn silent_tls_client(
        address: SocketAddr,
        certificate: CertificateDer<'static>,
    ) -> std::sync::mpsc::Sender<()> {
        let (until, dropped) = std::sync::mpsc::channel::<()>();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        engine::io::spawn_thread("client", move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            let name = "localhost".try_into().unwrap();
            let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).unwrap();
            }
            let _ = dropped.recv();
        })
        .unwrap();
        until
    }

    /// The goodbye of TLS waited without a deadline where the client had left no room for it.
    #[test]
    fn a_tls_client_that_reads_nothing_cannot_keep_its_connection_from_closing() {
        block_on(async {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let config = rustls::ServerConfig::builder().with_no_client_auth();
            let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap());
            let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let client = silent_tls_client(listener.local_addr().unwrap(), made.cert.der().clone());
            let (deadlines, budget) = (Deadlines::default(), Budget::new());
            let (slot, stream) = slot_of(&deadlines, listener.accept_unbound().await.unwrap());
            let stream = stream.accept_tls(config).await.unwrap();
            let mut wire = Wire::new(stream, slot, budget.holder(), STALL);
            let bytes = vec![0; 1 << 20];
            // The socket's buffer may grow while the first bytes travel.
            for _ in 0..100 {
                while let Some(Ok(_)) = future::poll_once(wire.write(&bytes)).await {}
                engine::io::yield_now().await;
            }
            let mut closed = pin!(wire.linger(0, STALL));
            assert!(future::poll_once(closed.as_mut()).await.is_none(), "there is no room");
            deadlines.expire_all();
            assert!(timeout(Duration::from_secs(10), closed).await.is_ok());
            drop(client);
        })
        .unwrap();
    }

    /// The buffer was cut to what it held at each byte, and copied to double it for the next one.
    #[test]
    fn a_long_head_that_comes_byte_by_byte_is_not_copied_for_each() {
        block_on(async {
            let budget = Budget::new();
            let (mut wire, mut client) = connected(&budget).await;
            receive(&mut wire, &mut client, 20_000).await;
            let mut copies = 0;
            for _ in 0..100 {
                let capacity = wire.input.capacity();
                receive(&mut wire, &mut client, 1).await;
                copies += usize::from(wire.input.capacity() != capacity);
            }
            assert!(copies <= 2, "{copies}");
        })
        .unwrap();
    }

    /// A connection that had received a long head or the start of a body accounted for it until its end: a hundred idle
    /// ones slowed everybody's input down.
    #[test]
    fn input_that_was_used_is_accounted_for_no_longer() {
        block_on(async {
            let budget = Budget::new();
            let (mut wire, mut client) = connected(&budget).await;
            receive(&mut wire, &mut client, 60_000).await;
            assert!(budget.held(Class::Input) >= 60_000);
            wire.consume(20_000);
            wire.begin(20_000).unwrap();
            assert!(budget.held(Class::Input) >= 60_000);
            wire.consume(40_000);
            assert_eq!(budget.held(Class::Input), 20_000, "the head is still there");
            wire.end_request();
            assert_eq!(budget.held(Class::Input), 0);
        })
        .unwrap();
    }

    #[test]
    fn a_client_below_the_minimum_rate_runs_out_of_time() {
        // A pause is made up for by as many bytes as the rate asks for; a byte now and then is not enough.
        let mut pace = Pace::default();
        for _ in 0..1000 {
            assert_eq!(pace.patience(STALL), STALL);
            pace.waited += Duration::from_secs(15);
            pace.bytes += 15 * BODY_BYTES_PER_SECOND;
        }
        let mut pace = Pace::default();
        let mut waited = 0;
        while pace.patience(STALL) > Duration::ZERO {
            pace.waited += Duration::from_secs(1);
            pace.bytes += 1;
            waited += 1;
        }
        assert!((60..=61).contains(&waited), "{waited}");
    }
}
