//! Accepts connections: distributes them over the cores, handles the PROXY protocol and TLS if configured, and stops
//! when the service drains.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use engine::io::{self, Listener, Stream, timeout};
use futures_lite::future;

use super::deadline::Slot;
use super::spread::{Assigned, Inbox, Placed};
use super::{connection, probe};
use crate::limits;
use crate::service::Service;

/// The pause after a failure to accept (for example, when no descriptors are left).
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Serves S3 on this core until the service drains: its share of the connections that arrive at `listeners`, and those
/// that other cores hand over.
pub fn serve(service: &Rc<Service>, listeners: Vec<Listener>, inbox: Inbox) {
    service.deadlines.start();
    for listener in listeners {
        io::spawn(accept(service.clone(), listener));
    }
    io::spawn(receive(service.clone(), inbox));
}

async fn accept(service: Rc<Service>, listener: Listener) {
    while let Some(accepted) = unless_draining(&service, listener.accept_unbound()).await {
        match accepted.map(|connection| service.spread.place(connection)) {
            Ok(Placed::Here(assigned)) => admit(&service, assigned),
            Ok(Placed::Elsewhere) => {}
            Ok(Placed::Nowhere) => {
                let refused = &service.counters.connections_refused;
                refused.set(refused.get() + 1);
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(_) => io::sleep(PAUSE_AFTER_ERROR).await,
        }
        io::yield_if_needed().await;
    }
}

async fn receive(service: Rc<Service>, mut inbox: Inbox) {
    while let Some(Some(assigned)) = unless_draining(&service, inbox.0.recv()).await {
        admit(&service, assigned);
        io::yield_if_needed().await;
    }
}

/// The output of `next`; `None` once the core drains.
async fn unless_draining<T>(service: &Service, next: impl Future<Output = T>) -> Option<T> {
    if service.draining() {
        return None;
    }
    let drained = async {
        service.drain_begun().await;
        None
    };
    future::or(async { Some(next.await) }, drained).await
}

fn admit(service: &Rc<Service>, Assigned { connection: accepted, seat }: Assigned) {
    let counters = &service.counters;
    counters.connections.set(counters.connections.get() + 1);
    let service = service.clone();
    io::spawn(async move {
        let slot = service.deadlines.register(limits::IDLE_TIMEOUT, seat);
        if let Some((stream, peer)) = begin(&service, accepted.into_stream(), &slot).await {
            connection(service.clone(), stream, peer, slot).await;
        }
        let counters = &service.counters;
        counters.connections.set(counters.connections.get() - 1);
    });
}

/// The steps before the first request: who the client is, and the TLS handshake. `None` if the connection has ended.
async fn begin(service: &Service, mut stream: Stream, slot: &Slot) -> Option<(Stream, Option<SocketAddr>)> {
    let mut peer = stream.peer_addr().ok();
    if let Some(proxy) = peer.filter(|peer| service.trusts(*peer)) {
        peer = Some(probe::client_behind(&mut stream, slot, proxy).await?);
    }
    if let Some(config) = service.tls() {
        stream = timeout(limits::HANDSHAKE_TIMEOUT, stream.accept_tls(config)).await.ok()?.ok()?;
    }
    Some((stream, peer))
}
