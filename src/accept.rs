//! Accepting connections on the ports that few peers use at a time: the cluster port and the admin port.

use engine::io::{Listener, Semaphore, Stream, sleep, spawn, yield_if_needed};
use std::time::Duration;

/// Connections of one port and core at most; one more is closed at once.
const CONNECTIONS_MAX: usize = 64;
/// A failing accept is mostly a lack of descriptors: wait before the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Has `converse` serve each connection in a task of its own, for ever.
pub async fn accept<F: Future<Output = ()> + 'static>(listener: Listener, converse: impl Fn(Stream) -> F) {
    let connections = Semaphore::new(CONNECTIONS_MAX);
    loop {
        let Ok(stream) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // Whoever connects faster than is accepted must not keep the core from its other work.
        yield_if_needed().await;
        let Some(permit) = connections.try_acquire(1) else {
            continue;
        };
        let conversation = converse(stream);
        drop(spawn(async move {
            conversation.await;
            drop(permit);
        }));
    }
}
