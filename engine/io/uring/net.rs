//! TCP.
//!
//! A read or write is tried at once; the ring watches the socket only when it would block. After a read that returned
//! less than it had room for, the next read waits for an event instead of trying in vain.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, bind, connect,
    getpeername, getsockname, listen, recv, send, shutdown, socket_with, sockopt,
};

use super::executor;
use super::ring::Readiness;
use crate::io::host::stream;

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Approximate limit on the bytes that a connection leaves unsent in the kernel. Without it, the kernel takes 2.5 MiB
/// for a client that reads nothing: thousands of them would use up the memory that it has for TCP, which slows down
/// everybody's connections. Bytes in flight to the client are not limited, so a long distance costs no speed.
const UNSENT_BYTES: libc::c_int = 128 << 10;

/// A non-blocking socket and its readiness.
pub struct Socket {
    fd: OwnedFd,
    readiness: Rc<Readiness>,
}

impl Socket {
    fn new(fd: OwnedFd) -> Socket {
        Socket { fd, readiness: Rc::default() }
    }

    fn fresh(address: SocketAddr) -> io::Result<Socket> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        Ok(Socket::new(socket_with(family, SocketType::STREAM, FLAGS, None)?))
    }

    /// Runs `attempt` when there may be something to read.
    fn poll_in<T>(
        &self,
        cx: &Context<'_>,
        mut attempt: impl FnMut(&OwnedFd) -> rustix::io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if !self.readiness.readable.get() {
                let fd = self.fd.as_raw_fd();
                executor::with(|core| core.ring.borrow_mut().watch_reads(fd, &self.readiness, cx));
                return Poll::Pending;
            }
            match attempt(&self.fd) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readiness.readable.set(false),
                result => return Poll::Ready(result.map_err(io::Error::from)),
            }
        }
    }

    fn poll_recv(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buf.len();
        let polled = self.poll_in(cx, |fd| recv(fd, &mut *buf, RecvFlags::DONTWAIT).map(|(count, _)| count));
        if let Poll::Ready(Ok(count)) = polled
            && count < room
        {
            self.readiness.drained();
        }
        polled
    }

    fn poll_room(&self, cx: &Context<'_>) {
        let fd = self.fd.as_raw_fd();
        executor::with(|core| core.ring.borrow_mut().watch_writes(fd, &self.readiness, cx));
    }

    fn poll_send(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.poll_room(cx);
                    return Poll::Pending;
                }
                result => return Poll::Ready(result.map_err(io::Error::from)),
            }
        }
    }
}

impl stream::Socket for Socket {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(getpeername(&self.fd)?.ok_or(Errno::NOTCONN)?.try_into()?)
    }

    fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.readiness.readable.get() {
            return Poll::Ready(());
        }
        let fd = self.fd.as_raw_fd();
        executor::with(|core| core.ring.borrow_mut().watch_reads(fd, &self.readiness, cx));
        Poll::Pending
    }

    fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.readiness.waits_for_room() {
            let mut polled = [PollFd::new(&self.fd, PollFlags::OUT)];
            // A failed poll counts as room: the write will report the error.
            if poll(&mut polled, Some(&Timespec::default())) != Ok(0) {
                return Poll::Ready(());
            }
        }
        self.poll_room(cx);
        Poll::Pending
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        executor::try_with(|core| core.ring.borrow_mut().forget(&self.readiness));
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&self.fd, Shutdown::Write).map_err(io::Error::from))
    }
}

/// Sets `TCP_NOTSENT_LOWAT` (Linux, tcp(7)), which rustix lacks.
fn limit_unsent(fd: &OwnedFd) -> io::Result<()> {
    let value = UNSENT_BYTES;
    let length = size_of_val(&value) as libc::socklen_t;
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
    // SAFETY: the descriptor is open, and `value` has `length` bytes.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A listening socket. Several cores may listen on one address; the kernel distributes the connections among them.
pub struct Listener {
    socket: Socket,
}

impl Listener {
    /// Listens on `address`, shared with the other cores.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = Socket::fresh(address)?;
        sockopt::set_socket_reuseaddr(&socket.fd, true)?;
        sockopt::set_socket_reuseport(&socket.fd, true)?;
        bind(&socket.fd, &address)?;
        // Accepted sockets inherit both options.
        sockopt::set_tcp_nodelay(&socket.fd, true)?;
        limit_unsent(&socket.fd)?;
        listen(&socket.fd, BACKLOG)?;
        socket.readiness.readable.set(true);
        Ok(Listener { socket })
    }

    /// The local address, including the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(getsockname(&self.socket.fd)?.try_into()?)
    }

    /// The next connection, for this core. Nagle's algorithm is off, so small writes are sent at once.
    pub async fn accept(&self) -> io::Result<Stream> {
        self.accept_unbound().await.map(Accepted::into_stream)
    }

    /// The next connection, for any core.
    pub async fn accept_unbound(&self) -> io::Result<Accepted> {
        let fd = poll_fn(|cx| self.socket.poll_in(cx, |fd| accept_with(fd, FLAGS))).await?;
        Ok(Accepted(fd))
    }
}

/// A connection that no core reads or writes yet. It may be sent to another core. Dropping it closes it.
pub struct Accepted(OwnedFd);

impl Accepted {
    /// Binds the connection to this core.
    pub fn into_stream(self) -> Stream {
        Stream::plain(Socket::new(self.0))
    }
}

/// A connection.
pub type Stream = stream::Stream<Socket>;

impl Stream {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let socket = Socket::fresh(address)?;
        sockopt::set_tcp_nodelay(&socket.fd, true)?;
        match connect(&socket.fd, &address) {
            Err(Errno::INPROGRESS) => {
                let mut begun = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut begun, true) && !socket.readiness.waits_for_room() {
                        return Poll::Ready(());
                    }
                    socket.poll_room(cx);
                    Poll::Pending
                })
                .await;
                sockopt::socket_error(&socket.fd)??;
            }
            result => result?,
        }
        Ok(Stream::plain(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::block_on;

    #[test]
    fn a_client_that_reads_nothing_leaves_little_in_the_kernel() {
        block_on(async {
            let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("listen");
            let client = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
            let client = client.expect("socket");
            sockopt::set_socket_recv_buffer_size(&client, 4096).expect("a small receive buffer");
            connect(&client, &listener.local_addr().expect("address")).expect("connected");
            let server = Socket::new(listener.accept_unbound().await.expect("accepted").0);
            let mut sent = 0;
            let mut blocked = false;
            while !blocked {
                let write = |cx: &mut Context<'_>| Poll::Ready(server.poll_send(cx, &[0; 16 << 10]));
                match poll_fn(write).await {
                    Poll::Ready(count) => sent += count.expect("sent"),
                    Poll::Pending => blocked = true,
                }
            }
            assert!(sent < 2 * UNSENT_BYTES as usize, "the kernel took {sent} bytes");
        })
        .expect("executor");
    }
}
