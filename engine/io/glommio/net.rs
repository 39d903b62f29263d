//! TCP.

use std::io;
use std::net::SocketAddr;

use glommio::net::{TcpListener, TcpStream};

use crate::io::host::stream;

/// A listening socket. Several cores may listen on one address: the kernel spreads the connections.
pub struct Listener {
    inner: TcpListener,
}

impl Listener {
    /// Listens on `address`, shared with the other cores.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        Ok(Listener { inner: TcpListener::bind(address)? })
    }

    /// The address in use, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// The next connection; small writes leave at once.
    pub async fn accept(&self) -> io::Result<Stream> {
        let socket = self.inner.accept().await?;
        socket.set_nodelay(true)?;
        Ok(Stream::plain(socket))
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
