//! Accepting connections: the cap per core, TLS where configured, and the end of all.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use engine::io::{self, Listener, Stream, timeout};
use futures_lite::future;

use super::connection;
use crate::limits;
use crate::service::Service;

/// After a failure to accept (no descriptors left, say) so long is waited.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Serves S3 on `listener` until the service drains. Returns once no new connection is taken.
pub async fn serve(service: Rc<Service>, listener: Listener) {
    service.deadlines.start();
    while !service.draining() {
        let drained = async {
            service.drain_begun().await;
            None
        };
        match future::or(async { Some(listener.accept().await) }, drained).await {
            None => return,
            Some(Ok(stream)) => admit(&service, stream),
            Some(Err(error))
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Some(Err(_)) => io::sleep(PAUSE_AFTER_ERROR).await,
        }
        io::yield_if_needed().await;
    }
}

fn admit(service: &Rc<Service>, stream: Stream) {
    let counters = &service.counters;
    if counters.connections.get() >= service.connections_max {
        counters.connections_refused.set(counters.connections_refused.get() + 1);
        return;
    }
    counters.connections.set(counters.connections.get() + 1);
    let service = service.clone();
    io::spawn(async move {
        let peer = stream.peer_addr().ok();
        let slot = service.deadlines.register(limits::IDLE_TIMEOUT);
        let stream = match service.tls() {
            None => Some(stream),
            Some(config) => {
                timeout(limits::HANDSHAKE_TIMEOUT, stream.accept_tls(config)).await.ok().and_then(Result::ok)
            }
        };
        if let Some(stream) = stream {
            connection(service.clone(), stream, peer, slot).await;
        }
        let counters = &service.counters;
        counters.connections.set(counters.connections.get() - 1);
    });
}
