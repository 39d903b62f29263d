//! The client of control calls, for the commands of this binary: one blocking connection to a node.

use super::{
    FrameError, HEAD_BYTES, Hello, Kind, PURPOSE_CONTROL, REPLY_BYTES_MAX, Refusal, decode_head, encode,
};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::{data_dir, identity, tls};
use prost::Message;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls the node that serves a data directory, at the address it noted there, and returns its reply.
pub fn call<M: Message + Default>(data_dir: &Path, call: Kind, expected: Kind) -> Result<M> {
    let identity = identity::load(data_dir)?;
    let address = match data_dir::addresses(data_dir)? {
        Some(addresses) => addresses.listen,
        None => identity.record.listen_address(),
    };
    call_at(&identity, address, call, expected)
}

/// Calls the node of this identity at an address.
pub fn call_at<M: Message + Default>(
    identity: &Identity,
    address: SocketAddr,
    call: Kind,
    expected: Kind,
) -> Result<M> {
    let address = dialled(address);
    let mut stream = connect(identity, address)?;
    let broken = |error: io::Error| match error.kind() {
        // The kernel closes the port of a node that ended a moment later.
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => absent(address, &error),
        _ => Error::failed(format!("the node at {address} did not answer: {error}")),
    };
    let hello = Hello {
        cluster: identity.record.cluster.clone(),
        node: identity.record.node.clone(),
        purpose: PURPOSE_CONTROL,
        cores: 0,
    };
    exchange::<Hello>(&mut stream, &encode(Kind::Hello, &hello), Kind::Hello).map_err(broken)?;
    exchange(&mut stream, &encode(call, &()), expected).map_err(broken)
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn connect(identity: &Identity, address: SocketAddr) -> Result<Connection> {
    let socket =
        TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(|error| absent(address, &error))?;
    let set = socket
        .set_read_timeout(Some(REPLY_TIMEOUT))
        .and_then(|()| socket.set_write_timeout(Some(REPLY_TIMEOUT)))
        .and_then(|()| socket.set_nodelay(true));
    set.map_err(|error| Error::failed(format!("cannot prepare the connection to {address}: {error}")))?;
    let failed =
        |error: &dyn std::fmt::Display| Error::failed(format!("cannot speak TLS with {address}: {error}"));
    let name = ServerName::try_from(identity.record.node_id().to_string()).map_err(|error| failed(&error))?;
    let session =
        ClientConnection::new(tls::cluster_client(identity)?, name).map_err(|error| failed(&error))?;
    Ok(StreamOwned::new(session, socket))
}

fn absent(address: SocketAddr, error: &io::Error) -> Error {
    Error::failed(format!("no node answers on {address} ({error}): start it with `hamster serve`"))
}

fn exchange<M: Message + Default>(stream: &mut Connection, call: &[u8], expected: Kind) -> io::Result<M> {
    stream.write_all(call)?;
    stream.flush()?;
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head)?;
    let head = decode_head(head, REPLY_BYTES_MAX).map_err(bad)?;
    let mut body = vec![0; head.length];
    stream.read_exact(&mut body)?;
    head.check(&body).map_err(bad)?;
    if head.kind == Kind::Refusal {
        let refusal = Refusal::decode(body.as_slice()).map_err(|_| bad(FrameError::Body))?;
        return Err(io::Error::other(refusal.message));
    }
    if head.kind != expected {
        return Err(bad(FrameError::Kind(head.kind as u16)));
    }
    M::decode(body.as_slice()).map_err(|_| bad(FrameError::Body))
}

/// The address to dial for one that is listened on: loopback stands for all addresses.
fn dialled(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    address
}

fn bad(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
