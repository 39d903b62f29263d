//! TCP.

use std::io;
use std::net::SocketAddr;

use glommio::net::{AcceptedTcpStream, TcpListener, TcpStream};

use super::executor;
use crate::io::host::stream;

/// A listening socket. Several cores may listen on one address; the kernel distributes the connections among them.
pub struct Listener {
    inner: TcpListener,
}

impl Listener {
    /// Listens on `address`, shared with the other cores.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        Ok(Listener { inner: TcpListener::bind(address)? })
    }

    /// The local address, including the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// The next connection, for this core. Nagle's algorithm is off, so small writes are sent at once.
    pub async fn accept(&self) -> io::Result<Stream> {
        self.accept_unbound().await.map(Accepted::into_stream)
    }

    /// The next connection, for any core.
    pub async fn accept_unbound(&self) -> io::Result<Accepted> {
        Ok(Accepted(Some(self.inner.shared_accept().await?)))
    }
}

/// A connection that no core reads or writes yet. It may be sent to another core. Dropping it on a core closes it.
pub struct Accepted(Option<AcceptedTcpStream>);

impl Accepted {
    /// Binds the connection to this core.
    pub fn into_stream(mut self) -> Stream {
        let accepted = self.0.take().unwrap_or_else(|| unreachable!("it is taken only once"));
        let socket = accepted.bind_to_executor();
        // A connection that has already ended refuses the option, and the first read reports the error.
        let _ = socket.set_nodelay(true);
        Stream::plain(socket)
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        // glommio closes only sockets that are bound to an executor. If no executor runs here, the process is ending.
        if let Some(accepted) = self.0.take().filter(|_| executor::is_running()) {
            drop(accepted.bind_to_executor());
        }
    }
}

/// A connection.
pub type Stream = stream::Stream<TcpStream>;

impl stream::Socket for TcpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(TcpStream::peer_addr(self)?)
    }
}

impl Stream {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Stream::plain(socket))
    }
}
