//! Accepting connections on the ports that few peers use at a time: the cluster port and the admin port.

use engine::io::{Listener, Semaphore, Stream, sleep, spawn, yield_if_needed};
use std::time::Duration;

/// Maximum number of connections per port and core; any more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// Accepting mostly fails for a lack of descriptors: pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves each connection with `converse` in a task of its own, forever.
pub async fn accept<F: Future<Output = ()> + 'static>(listener: Listener, converse: impl Fn(Stream) -> F) {
    let connections = Semaphore::new(CONNECTIONS_MAX);
    loop {
        let Ok(stream) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // A peer that connects faster than connections are accepted must not keep the core from its other work.
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
