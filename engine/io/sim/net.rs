//! Connections between processes: bytes arrive in order, in pieces, late, or never.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::faults::Fault;
use super::world::{Event, ProcessId, World, current, try_with, with};

/// Maximum number of bytes that one direction of a connection holds, sent but not read.
const WINDOW: usize = 64 << 10;
/// Range of the time that bytes travel.
const LATENCY: [Duration; 2] = [Duration::from_micros(10), Duration::from_micros(500)];
/// Range of the time that a stall lasts.
const STALL: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(40)];
/// Maximum number of connections that wait to be accepted.
const BACKLOG: usize = 64;
/// The first port that the system chooses.
const FIRST_PORT: u16 = 32_768;

type ConnectionId = u64;
/// One of the two ends: 0 is the connecting end, 1 the accepting end.
type Side = usize;

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    /// Bytes that have arrived and are not read.
    arrived: VecDeque<u8>,
    /// Number of bytes in flight.
    travelling: usize,
    /// Nothing arrives before this time.
    not_before: u64,
    /// Whether no more will be sent.
    ended: bool,
    /// Number of sent pieces that have not arrived.
    pieces: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Connection {
    /// The pipe that each side reads from.
    pipes: [Pipe; 2],
    processes: [ProcessId; 2],
    closed: [bool; 2],
    /// The connection is cut: each side only gets errors from now on.
    reset: bool,
    addresses: [SocketAddr; 2],
}

struct Listening {
    process: ProcessId,
    address: SocketAddr,
    backlog: VecDeque<ConnectionId>,
    waker: Option<Waker>,
}

/// How often the network's faults occur, per million pieces sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkRates {
    /// Connections that are cut.
    pub cut: u32,
    /// Stalls that begin.
    pub stall: u32,
}

/// All connections and listeners.
#[derive(Default)]
pub struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    listeners: BTreeMap<u64, Listening>,
    made: u64,
    pub rates: NetworkRates,
    /// Nothing sent to a side arrives before its time.
    partitioned_until: [u64; 2],
}

fn reset() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

impl Connection {
    fn wake_all(&mut self) {
        for pipe in &mut self.pipes {
            pipe.reader.take().into_iter().chain(pipe.writer.take()).for_each(Waker::wake);
        }
    }
}

impl World {
    fn connect(&mut self, address: SocketAddr) -> io::Result<ConnectionId> {
        let heard: Vec<u64> = self
            .network
            .listeners
            .iter()
            .filter(|(_, listening)| listening.address == address && listening.backlog.len() < BACKLOG)
            .map(|(id, _)| *id)
            .collect();
        // The system distributes connections among the listeners of one address.
        let place = self.random.index(heard.len());
        let listener = *heard.get(place).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        self.network.made += 1;
        let id = self.network.made;
        let port = FIRST_PORT + (id % 16_384) as u16;
        let Some(listening) = self.network.listeners.get_mut(&listener) else { return Err(reset()) };
        let connection = Connection {
            pipes: Default::default(),
            processes: [current().0, listening.process],
            closed: [false; 2],
            reset: false,
            addresses: [SocketAddr::from(([10, 0, 1, 1], port)), address],
        };
        listening.backlog.push_back(id);
        let waker = listening.waker.take();
        self.network.connections.insert(id, connection);
        waker.into_iter().for_each(Waker::wake);
        Ok(id)
    }

    fn read(
        &mut self,
        id: ConnectionId,
        side: Side,
        buf: &mut [u8],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let Some(connection) = self.network.connections.get_mut(&id) else {
            return Poll::Ready(Err(reset()));
        };
        let pipe = &mut connection.pipes[side];
        if connection.reset {
            return Poll::Ready(Err(reset()));
        }
        let there = pipe.arrived.len().min(buf.len());
        if there == 0 {
            if pipe.ended && pipe.pieces == 0 || buf.is_empty() {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(waker.clone());
            return Poll::Pending;
        }
        // Usually everything that is there; sometimes less, as with packets.
        let taken = if self.random.one_in(4) { 1 + self.random.index(there) } else { there };
        let (front, back) = pipe.arrived.as_slices();
        let of_front = taken.min(front.len());
        buf[..of_front].copy_from_slice(&front[..of_front]);
        buf[of_front..taken].copy_from_slice(&back[..taken - of_front]);
        pipe.arrived.drain(..taken);
        pipe.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(taken))
    }

    /// Ready if a read or write would make progress; otherwise keeps the waker.
    fn poll_ready(&mut self, id: ConnectionId, pipe: Side, to_write: bool, waker: &Waker) -> Poll<()> {
        let Some(connection) = self.network.connections.get_mut(&id) else { return Poll::Ready(()) };
        let over = connection.reset || to_write && connection.closed[pipe];
        let pipe = &mut connection.pipes[pipe];
        let ready = match to_write {
            true => pipe.arrived.len() + pipe.travelling < WINDOW,
            false => !pipe.arrived.is_empty() || pipe.ended && pipe.pieces == 0,
        };
        if over || ready {
            return Poll::Ready(());
        }
        let slot = if to_write { &mut pipe.writer } else { &mut pipe.reader };
        *slot = Some(waker.clone());
        Poll::Pending
    }

    fn write(
        &mut self,
        id: ConnectionId,
        side: Side,
        bytes: &[u8],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let rates = self.network.rates;
        if self.random.chance(rates.cut) {
            self.fault(Fault::Cut, || format!("connection {id}"));
            self.cut(id);
        }
        let Some(connection) = self.network.connections.get_mut(&id) else {
            return Poll::Ready(Err(reset()));
        };
        if connection.reset || connection.closed[1 - side] {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
        }
        let pipe = &mut connection.pipes[1 - side];
        let room = WINDOW.saturating_sub(pipe.arrived.len() + pipe.travelling);
        if room == 0 {
            pipe.writer = Some(waker.clone());
            return Poll::Pending;
        }
        let mut sent = bytes.len().min(room);
        if self.random.one_in(8) {
            sent = 1 + self.random.index(sent);
        }
        let piece: Vec<u8> = bytes[..sent].to_vec();
        pipe.travelling += sent;
        pipe.pieces += 1;
        self.send(id, 1 - side, piece);
        Poll::Ready(Ok(sent))
    }

    /// Sends a piece to a side. An empty piece ends the stream.
    fn send(&mut self, id: ConnectionId, to: Side, piece: Vec<u8>) {
        let mut latency = self.delay(LATENCY[0], LATENCY[1]);
        if self.random.chance(self.network.rates.stall) {
            latency = self.delay(STALL[0], STALL[1]);
            self.fault(Fault::Stall, || format!("connection {id}, {latency:?}"));
        }
        // What is sent into a partition is retransmitted until it arrives.
        let reachable = self.now.max(self.network.partitioned_until[to]);
        let earliest = reachable + u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[to];
        let at = earliest.max(pipe.not_before);
        pipe.not_before = at;
        self.at(at, Event::Run(Box::new(move |world| world.arrive(id, to, &piece))));
    }

    fn arrive(&mut self, id: ConnectionId, to: Side, piece: &[u8]) {
        self.note_bytes(piece);
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[to];
        pipe.pieces = pipe.pieces.saturating_sub(1);
        pipe.travelling -= piece.len();
        pipe.arrived.extend(piece);
        pipe.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Ends the stream that a side sends.
    fn end(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[1 - side];
        if !std::mem::replace(&mut pipe.ended, true) {
            pipe.pieces += 1;
            self.send(id, 1 - side, Vec::new());
        }
    }

    /// Lets nothing arrive at these sides for `duration`.
    pub fn partition(&mut self, sides: &[Side], duration: Duration) {
        let until = self.now + u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        for side in sides {
            let partitioned_until = &mut self.network.partitioned_until[*side];
            *partitioned_until = until.max(*partitioned_until);
        }
    }

    /// Whether a partition is in effect.
    pub fn is_partitioned(&self) -> bool {
        self.network.partitioned_until.iter().any(|until| *until > self.now)
    }

    /// Ends all partitions.
    pub fn heal(&mut self) {
        self.network.partitioned_until = [0; 2];
    }

    fn cut(&mut self, id: ConnectionId) {
        if let Some(connection) = self.network.connections.get_mut(&id) {
            connection.reset = true;
            connection.wake_all();
        }
    }

    fn close(&mut self, id: ConnectionId, side: Side) {
        self.end(id, side);
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        connection.closed[side] = true;
        // Closing with bytes unread resets the connection.
        connection.reset |= !connection.pipes[side].arrived.is_empty();
        if connection.reset {
            connection.wake_all();
        }
        connection.pipes[side].writer.take().into_iter().for_each(Waker::wake);
        if connection.closed == [true; 2] {
            self.network.connections.remove(&id);
        }
    }

    /// Ends the connections of a process that is gone: at once, or after a time if its machine lost power.
    pub fn hang_up(&mut self, process: ProcessId, silently: bool) {
        self.network.listeners.retain(|_, listening| listening.process != process);
        let mut gone = Vec::new();
        for (id, connection) in &mut self.network.connections {
            for side in 0..2 {
                if connection.processes[side] == process {
                    connection.closed[side] = true;
                    gone.push(*id);
                }
            }
        }
        for id in gone {
            if silently {
                let silence = self.delay(Duration::ZERO, Duration::from_secs(5));
                self.after(silence, Event::Run(Box::new(move |world| world.cut(id))));
            } else {
                self.cut(id);
            }
        }
        self.network.connections.retain(|_, connection| connection.closed != [true; 2]);
    }
}

/// A listening socket. Several cores may listen on one address; the system distributes the connections among them.
pub struct Listener {
    id: u64,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`, shared with the other cores.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        with(|world| {
            world.network.made += 1;
            let id = world.network.made;
            let mut address = address;
            if address.port() == 0 {
                address.set_port(FIRST_PORT - 1 - (id % 16_384) as u16);
            }
            let process = current().0;
            let listening = Listening { process, address, backlog: VecDeque::new(), waker: None };
            world.network.listeners.insert(id, listening);
            Ok(Listener { id, address })
        })
    }

    /// The local address, including the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    /// The next connection, for this core.
    pub async fn accept(&self) -> io::Result<Stream> {
        self.accept_unbound().await.map(Accepted::into_stream)
    }

    /// The next connection, for any core.
    pub async fn accept_unbound(&self) -> io::Result<Accepted> {
        let connection = poll_fn(|cx| {
            with(|world| {
                let Some(listening) = world.network.listeners.get_mut(&self.id) else {
                    return Poll::Ready(Err(reset()));
                };
                if let Some(id) = listening.backlog.pop_front() {
                    return Poll::Ready(Ok(id));
                }
                listening.waker = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await?;
        Ok(Accepted(Stream { connection, side: 1, unread: Vec::new() }))
    }
}

/// A connection that no core reads or writes yet. It may be sent to another core. Dropping it closes it.
pub struct Accepted(Stream);

impl Accepted {
    /// Binds the connection to this core.
    pub fn into_stream(self) -> Stream {
        self.0
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        try_with(|world| {
            if let Some(listening) = world.network.listeners.remove(&self.id) {
                listening.backlog.iter().for_each(|connection| world.close(*connection, 1));
            }
        });
    }
}

/// A connection.
pub struct Stream {
    connection: ConnectionId,
    side: Side,
    /// Bytes that were read and put back.
    unread: Vec<u8>,
}

impl Stream {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let latency = with(|world| world.delay(LATENCY[0], LATENCY[1]));
        super::sleep(latency).await;
        // Connecting needs both directions.
        while let Some(wait) =
            with(|world| world.network.partitioned_until.into_iter().max()?.checked_sub(world.now))
            && wait > 0
        {
            super::sleep(Duration::from_nanos(wait)).await;
        }
        let connection = with(|world| world.connect(address))?;
        Ok(Stream { connection, side: 0, unread: Vec::new() })
    }

    /// Fails: encryption is not simulated, because its keys would not follow from the seed.
    pub async fn accept_tls(self, _config: Arc<rustls::ServerConfig>) -> io::Result<Stream> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "TLS is not simulated"))
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        false
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        with(|world| {
            let connection = world.network.connections.get(&self.connection).ok_or_else(reset)?;
            Ok(connection.addresses[1 - self.side])
        })
    }

    /// Puts back bytes that were read. The next reads return them first.
    pub fn unread(&mut self, bytes: &[u8]) {
        drop(self.unread.splice(..0, bytes.iter().copied()));
    }

    /// Reads the available bytes, at most `buf.len()`; 0 at the end of the stream.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Reads without keeping `buf` while it waits, so that an idle connection needs no memory.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.len());
            buf[..count].copy_from_slice(&self.unread[..count]);
            self.unread.drain(..count);
            return Poll::Ready(Ok(count));
        }
        with(|world| world.read(self.connection, self.side, buf, cx.waker()))
    }

    /// Waits until there may be something to read.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        with(|world| world.poll_ready(self.connection, self.side, false, cx.waker()))
    }

    /// Waits until there may be room to write.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        with(|world| world.poll_ready(self.connection, 1 - self.side, true, cx.waker()))
    }

    /// Writes some of `bytes`; returns how many.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        with(|world| world.write(self.connection, self.side, bytes, cx.waker()))
    }

    /// Does nothing: nothing is buffered.
    pub fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Ends the outgoing direction: nothing more will be sent.
    pub async fn close(&mut self) -> io::Result<()> {
        with(|world| world.end(self.connection, self.side));
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        try_with(|world| world.close(self.connection, self.side));
    }
}
