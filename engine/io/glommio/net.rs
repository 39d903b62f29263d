//! TCP, with TLS where asked.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures_rustls::{TlsAcceptor, server::TlsStream};
use glommio::net::{TcpListener, TcpStream};

/// A listening socket. Several cores may listen on one address: the kernel spreads the connections.
pub struct Listener {
    inner: TcpListener,
}

fn plain(error: glommio::GlommioError<()>) -> io::Error {
    match error {
        glommio::GlommioError::IoError(inner) => inner,
        other => io::Error::other(other.to_string()),
    }
}

impl Listener {
    /// Listens on `address`, shared with the other cores.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        Ok(Listener { inner: TcpListener::bind(address).map_err(plain)? })
    }

    /// The address in use, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr().map_err(plain)
    }

    /// The next connection; small writes leave at once.
    pub async fn accept(&self) -> io::Result<Stream> {
        let stream = self.inner.accept().await.map_err(plain)?;
        stream.set_nodelay(true).map_err(plain)?;
        Ok(Stream { inner: Transport::Plain(stream) })
    }
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection.
pub struct Stream {
    inner: Transport,
}

impl Stream {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let stream = TcpStream::connect(address).await.map_err(plain)?;
        stream.set_nodelay(true).map_err(plain)?;
        Ok(Stream { inner: Transport::Plain(stream) })
    }

    /// Performs the server's side of a TLS handshake on a fresh connection.
    pub async fn accept_tls(self, config: Arc<rustls::ServerConfig>) -> io::Result<Stream> {
        match self.inner {
            Transport::Plain(stream) => {
                let tls = TlsAcceptor::from(config).accept(stream).await?;
                Ok(Stream { inner: Transport::Tls(Box::new(tls)) })
            }
            Transport::Tls(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "already encrypted")),
        }
    }

    /// Whether bytes travel encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.inner, Transport::Tls(_))
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.inner {
            Transport::Plain(stream) => stream.peer_addr().map_err(plain),
            Transport::Tls(stream) => stream.get_ref().0.peer_addr().map_err(plain),
        }
    }

    /// Reads what is there, at most `buf.len()` bytes; 0 at the end of the stream.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Transport::Plain(stream) => stream.read(buf).await,
            Transport::Tls(stream) => stream.read(buf).await,
        }
    }

    /// Reads without holding on to `buf` while it waits, so that an idle connection needs no memory.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    /// Writes some of `bytes`; returns how many.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Sends what TLS still holds back.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.inner {
            Transport::Plain(stream) => stream.write_all(bytes).await,
            Transport::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Says that nothing more will be sent.
    pub async fn close(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Transport::Plain(stream) => stream.close().await,
            Transport::Tls(stream) => stream.close().await,
        }
    }
}
