//! A connection over an executor's own socket, with TLS if requested.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};
use futures_rustls::{TlsAcceptor, server::TlsStream};

/// A connected socket of an executor.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// The other end's address.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Pending while there is certainly nothing to read. A hint: a socket that can't tell is always ready.
    fn poll_readable(&self, _: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Pending while there is certainly no room to write. A hint, like [`Socket::poll_readable`].
    fn poll_writable(&self, _: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A socket whose next reads return bytes that were put back first.
struct Rewound<S> {
    socket: S,
    unread: Vec<u8>,
}

impl<S: Socket> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let count = self.unread.len().min(buf.len());
        buf[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Poll::Ready(Ok(count))
    }
}

impl<S: Socket> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

enum Transport<S> {
    Plain(Rewound<S>),
    Tls(Box<TlsStream<Rewound<S>>>),
}

/// A connection.
pub struct Stream<S> {
    inner: Transport<S>,
}

impl<S: Socket> Stream<S> {
    /// A connection without encryption.
    pub(in crate::io) fn plain(socket: S) -> Stream<S> {
        Stream { inner: Transport::Plain(Rewound { socket, unread: Vec::new() }) }
    }

    /// Performs the server side of a TLS handshake on a new connection.
    pub async fn accept_tls(self, config: Arc<rustls::ServerConfig>) -> io::Result<Stream<S>> {
        match self.inner {
            Transport::Plain(socket) => {
                let tls = TlsAcceptor::from(config).accept(socket).await?;
                Ok(Stream { inner: Transport::Tls(Box::new(tls)) })
            }
            Transport::Tls(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "already encrypted")),
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.inner, Transport::Tls(_))
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.rewound().socket.peer_addr()
    }

    fn rewound(&self) -> &Rewound<S> {
        match &self.inner {
            Transport::Plain(plain) => plain,
            Transport::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Puts back bytes that were read from a connection without TLS. The next reads return them first, and so do those
    /// of a TLS handshake.
    ///
    /// # Panics
    /// If the connection is encrypted.
    pub fn unread(&mut self, bytes: &[u8]) {
        match &mut self.inner {
            Transport::Plain(plain) => drop(plain.unread.splice(..0, bytes.iter().copied())),
            Transport::Tls(_) => panic!("decrypted bytes can't be put back"),
        }
    }

    /// Waits until there may be something to read, so that no memory is taken before then. A hint.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Transport::Tls(stream) = &self.inner
            && !stream.get_ref().1.wants_read()
        {
            // Some bytes are decrypted but not yet read.
            return Poll::Ready(());
        }
        let rewound = self.rewound();
        if rewound.unread.is_empty() { rewound.socket.poll_readable(cx) } else { Poll::Ready(()) }
    }

    /// Waits until there may be room to write. A hint.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.rewound().socket.poll_writable(cx)
    }

    /// Reads the available bytes, at most `buf.len()`; 0 at the end of the stream.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Reads without keeping `buf` while it waits, so that an idle connection needs no memory.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    /// Writes some of `bytes`; returns how many.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Sends what TLS still buffers.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.inner {
            Transport::Plain(socket) => socket.write_all(bytes).await,
            Transport::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Ends the outgoing direction: nothing more will be sent.
    pub async fn close(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Transport::Plain(socket) => socket.close().await,
            Transport::Tls(stream) => stream.close().await,
        }
    }
}
