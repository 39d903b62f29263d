//! The state that the connections of one core share: the stores, the verifier, the counters, and whether the core is
//! draining.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::ids::{DataId, IdGenerator};
use engine::io::{self, Event};
use engine::peer::ByteStore;
use raft::Metadata;
use raft::command::{Command, Kind};

use crate::conn::Spread;
use crate::conn::deadline::Deadlines;
use crate::counters::Counters;
use crate::error::{Code, S3Result};
use crate::health::{HealthPath, Probe};
use crate::http::head::RequestHead;
use crate::http::response::DateCache;
use crate::operation::Operation;
use crate::proxies::Proxies;
use crate::route::{Route, bucket_of_host};
use crate::sigv4::keys::Credentials;
use crate::sigv4::{Verified, Verifier};

/// Returns the current TLS configuration of a core; `None` if the port is plain.
pub type TlsSource = Box<dyn Fn() -> Option<Arc<rustls::ServerConfig>>>;
/// Receives each finished request, for the access log.
pub type LogSink = Box<dyn Fn(&Finished<'_>)>;

/// Tells whether the node is ready for requests.
pub type Readiness = Box<dyn Fn() -> bool>;

/// How a node serves S3: validated once, the same for all of its cores.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The region that requests must be signed for.
    pub region: String,
    /// Domains whose subdomains name buckets.
    pub domains: Vec<String>,
    /// The proxies that are trusted to state the address of a client.
    pub proxies: Proxies,
    /// The path of the health checks, if they are enabled.
    pub health: Option<HealthPath>,
}

/// Everything that the service of one core is built from.
pub struct ServiceConfig {
    /// See [`Settings`].
    pub settings: Arc<Settings>,
    /// This core's number.
    pub core: usize,
    /// When the process started, milliseconds since 1970: the core makes no id older than this.
    pub started_ms: u64,
    /// This core's part in distributing connections.
    pub spread: Spread,
    /// Who may sign requests.
    pub credentials: Credentials,
    /// See [`TlsSource`].
    pub tls: TlsSource,
    /// See [`LogSink`].
    pub log: LogSink,
    /// See [`Readiness`].
    pub ready: Readiness,
}

/// The S3 front end of one core.
pub struct Service {
    pub(crate) metadata: Metadata,
    pub(crate) bytes: ByteStore,
    pub(crate) deadlines: Deadlines,
    /// What this core has served.
    pub counters: Counters,
    ids: RefCell<IdGenerator>,
    verifier: RefCell<Verifier>,
    settings: Arc<Settings>,
    pub(crate) spread: Spread,
    dates: RefCell<DateCache>,
    request_prefix: u64,
    requests: Cell<u64>,
    draining: Cell<bool>,
    drain: Event,
    tls: TlsSource,
    log: LogSink,
    ready: Readiness,
}

impl Service {
    /// Creates a service on top of a core's handles to metadata and bytes.
    pub fn new(config: ServiceConfig, metadata: Metadata, bytes: ByteStore) -> Rc<Service> {
        let mut ids = IdGenerator::new();
        ids.next(config.started_ms, 0);
        Rc::new(Service {
            metadata,
            bytes,
            deadlines: Deadlines::default(),
            counters: Counters::default(),
            ids: RefCell::new(ids),
            verifier: RefCell::new(Verifier::new(&config.settings.region, config.credentials)),
            settings: config.settings,
            spread: config.spread,
            dates: RefCell::default(),
            // Within a process, ids differ by core and count; between processes, by the random part.
            request_prefix: (io::random_u64() << 8 | config.core as u64) << 32,
            requests: Cell::new(0),
            draining: Cell::new(false),
            drain: Event::new(),
            tls: config.tls,
            log: config.log,
            ready: config.ready,
        })
    }

    /// Accepts no more connections, closes each one after its current request, and waits until all are closed or
    /// `limit` has passed; then it cuts off the rest. Returns whether there was no rest.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.draining.set(true);
        self.drain.notify();
        let until = io::now() + limit;
        while self.counters.connections.get() > 0 && io::now() < until {
            // An idle connection has nothing to wait for.
            self.deadlines.expire_idle();
            io::sleep(Duration::from_millis(10)).await;
        }
        self.deadlines.expire_all();
        self.counters.connections.get() == 0
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) async fn drain_begun(&self) {
        self.drain.wait().await;
        // One of those that wait takes the notification: it is for all of them.
        self.drain.notify();
    }

    pub(crate) fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        (self.tls)()
    }

    /// Whether new requests should be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining() && (self.ready)()
    }

    /// The health check that a request asks for, if it is one.
    pub(crate) fn probe(&self, head: &RequestHead) -> Option<Probe> {
        self.settings.health.as_ref()?.probe(head, &self.settings.domains)
    }

    /// Whether a peer is a proxy that is trusted to state the address of its client.
    pub(crate) fn trusts(&self, peer: SocketAddr) -> bool {
        self.settings.proxies.trust(peer.ip())
    }

    /// The client of a request that arrived from `peer`.
    pub(crate) fn client(&self, peer: SocketAddr, head: &RequestHead) -> SocketAddr {
        self.settings.proxies.client(peer, head.header_all("x-forwarded-for"))
    }

    pub(crate) fn route(&self, head: &RequestHead) -> S3Result<Route> {
        Route::of(head, &self.settings.domains)
    }

    pub(crate) fn verify(&self, head: &RequestHead, now_s: u64) -> S3Result<Verified> {
        let host_bucket = bucket_of_host(head.host(), &self.settings.domains);
        self.verifier.borrow_mut().verify(head, host_bucket, now_s)
    }

    pub(crate) fn region(&self) -> String {
        self.settings.region.clone()
    }

    pub(crate) fn date(&self) -> [u8; 29] {
        *self.dates.borrow_mut().at(io::unix_ms() / 1000)
    }

    /// A new UUIDv7, later than all that this core has issued.
    pub(crate) fn new_id(&self, now_ms: u64) -> [u8; 16] {
        self.ids.borrow_mut().next(now_ms, io::random_u128())
    }

    /// A command with a new id and the current time: what it writes becomes visible soon after, however long ago its
    /// request began.
    pub(crate) fn command(&self, kind: Kind) -> Command {
        let now_ms = io::unix_ms();
        Command::new(self.new_id(now_ms), now_ms, kind)
    }

    pub(crate) fn new_data_id(&self, now_ms: u64) -> DataId {
        DataId(self.new_id(now_ms))
    }

    pub(crate) fn next_request_id(&self) -> RequestId {
        let count = self.requests.get();
        self.requests.set(count.wrapping_add(1));
        RequestId::new(self.request_prefix.wrapping_add(count & 0xffff_ffff))
    }

    pub(crate) fn finished(&self, record: &Finished<'_>) {
        self.counters.count(record);
        (self.log)(record);
    }
}

/// The id of one request: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct RequestId([u8; 16]);

impl RequestId {
    fn new(number: u64) -> RequestId {
        let mut text = [0; 16];
        for (at, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789ABCDEF"[(number >> (60 - 4 * at)) as usize & 15];
        }
        RequestId(text)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One finished request, for the counters and the access log.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Its id, as sent in `x-amz-request-id`.
    pub request_id: RequestId,
    /// Its head; `None` if no head could be parsed.
    pub head: Option<&'a RequestHead>,
    /// Who sent it.
    pub peer: Option<SocketAddr>,
    /// The access key whose signature was valid.
    pub access_key: Option<Arc<str>>,
    /// The operation; `None` if the request maps to none.
    pub operation: Option<Operation>,
    /// The bucket, if the request names one.
    pub bucket: Option<String>,
    /// The key, if the request names one.
    pub key: Option<String>,
    /// The error it ended with.
    pub error: Option<Code>,
    /// HTTP status of the response.
    pub status: u16,
    /// The time from the end of the head to the end of the response.
    pub duration: Duration,
    /// Bytes of the request body and of the response on the wire.
    pub bytes_in: u64,
    /// See `bytes_in`.
    pub bytes_out: u64,
}

impl<'a> Finished<'a> {
    pub(crate) fn begin(
        head: &'a RequestHead,
        peer: Option<SocketAddr>,
        request_id: &RequestId,
    ) -> Finished<'a> {
        Finished { head: Some(head), peer, ..Finished::unparsed(0, request_id) }
    }

    pub(crate) fn unparsed(status: u16, request_id: &RequestId) -> Finished<'a> {
        Finished {
            request_id: *request_id,
            head: None,
            peer: None,
            access_key: None,
            operation: None,
            bucket: None,
            key: None,
            error: None,
            status,
            duration: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::zip;

    use super::*;
    use crate::test_support::on_a_node;

    /// The first to wake took the notification: other listeners of the core went on listening.
    #[test]
    fn all_that_wait_for_the_drain_are_told() {
        on_a_node(async |service, _| {
            let both = zip(service.drain_begun(), service.drain_begun());
            let told = io::timeout(Duration::from_secs(10), both);
            let (told, _) = zip(told, service.drain(Duration::ZERO)).await;
            assert!(told.is_ok());
        });
    }
}
