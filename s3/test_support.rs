//! What unit tests share.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use engine::io::{DiskSpace, Listener, Stream, block_on, unix_ms};
use engine::peer::{self, ByteStore, Home};
use engine::segment::Files;
use hmac::Mac;
use raft::GroupConfig;
use raft::kv::MemoryKv;
use sha2::{Digest, Sha256};

use crate::conn::{Spread, serve};
use crate::http::head::RequestHead;
use crate::service::{Service, ServiceConfig, Settings};
use crate::sigv4::keys::{Credentials, Secret, SigningKey, update};
use crate::time::amz_date;

const ACCESS_KEY: &str = "tester";
const SECRET: &str = "tester's secret";
const REGION: &str = "us-east-1";

/// The head of a PutObject with these header lines, each ended by CR LF.
pub fn head(headers: &str) -> RequestHead {
    let mut head = RequestHead::new();
    head.parse(format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes()).unwrap().unwrap();
    head
}

/// Runs a test against a node of one core with its metadata in memory, and with the bucket `bucket`. The address is that
/// of its S3 port.
pub fn on_a_node(test: impl AsyncFnOnce(Rc<Service>, SocketAddr)) {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let disk = DiskSpace::new(folder.path());
    let on_fatal = Arc::new(|why: &str| panic!("{why}"));
    let mut config = GroupConfig::new(1, folder.path().join("raft"), disk.clone(), 1, on_fatal);
    config.wal.segment_bytes = 256 << 10;
    let (node, mut metadata) = raft::assemble(config, Arc::new(MemoryKv::new())).unwrap();
    block_on(async {
        let home = Home::open(&disk, 0).await.unwrap();
        let files = Rc::new(Files::new(folder.path()));
        let bytes = ByteStore::start(peer::seeds(1).pop().unwrap(), home.clone(), files);
        let metadata = metadata.pop().unwrap().start(1, home.clone());
        let node = node.start(async { Ok(()) }).await.unwrap();
        let (spread, inbox) = Spread::over(1, 100).pop().unwrap();
        let config = ServiceConfig {
            settings: Arc::new(Settings { region: REGION.to_owned(), ..Settings::default() }),
            core: 0,
            started_ms: unix_ms(),
            spread,
            credentials: Credentials::single(ACCESS_KEY, Secret::new(SECRET)),
            tls: Box::new(|| None),
            log: Box::new(|_| {}),
            ready: Box::new(|| true),
        };
        let service = Service::new(config, metadata, bytes);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        serve(&service, vec![listener], inbox);
        let made = Client::connect(address).await.ask("PUT /bucket", &[], "").await;
        assert!(made.0.starts_with("HTTP/1.1 200 "), "{made:?}");
        test(service, address).await;
        home.close().await;
        node.stop().await.unwrap();
    })
    .unwrap();
}

/// A client with one connection.
pub struct Client {
    stream: Stream,
    received: Vec<u8>,
    version: &'static str,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let stream = Stream::connect(address).await.unwrap();
        Client { stream, received: Vec::new(), version: "HTTP/1.1" }
    }

    /// The same client with requests of HTTP/1.0.
    pub fn of_http_1_0(self) -> Client {
        Client { version: "HTTP/1.0", ..self }
    }

    /// Sends a request that is signed. `line` is its method and target, whose query is in order and encoded.
    pub async fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &str) {
        let request = self.signed_head(line, headers, body.len()) + body;
        self.send_text(&request).await;
    }

    /// Sends the head of a request, or a part of its body.
    pub async fn send_text(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of a request with a body of `length` bytes: see [`Client::send`].
    pub fn signed_head(&self, line: &str, headers: &[(&str, &str)], length: usize) -> String {
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (time, length) = (amz_date(unix_ms() / 1000), length.to_string());
        let time = std::str::from_utf8(&time).unwrap();
        let mut headers = headers.to_vec();
        headers.extend([("host", "h"), ("x-amz-date", time), ("content-length", &length)]);
        headers.push(("x-amz-content-sha256", "UNSIGNED-PAYLOAD"));
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD");
        let scope = format!("{}/{REGION}/s3/aws4_request", &time[..8]);
        let hash = hex::encode(Sha256::digest(canonical));
        let mut mac = SigningKey::derive(&Secret::new(SECRET), &time[..8], REGION).mac();
        update(&mut mac, &[format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}").as_bytes()]);
        let signature = hex::encode(mac.finalize().into_bytes());
        let lines = lines.replace('\n', "\r\n");
        let version = self.version;
        format!(
            "{method} {target} {version}\r\n{lines}authorization: AWS4-HMAC-SHA256 \
             Credential={ACCESS_KEY}/{scope},SignedHeaders={names},Signature={signature}\r\n\r\n"
        )
    }

    /// Receives more; false at the end of the stream.
    pub async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes).await.unwrap();
        self.received.extend_from_slice(&bytes[..count]);
        count > 0
    }

    async fn take(&mut self, count: usize) -> String {
        while self.received.len() < count {
            assert!(self.more().await, "the reply ended early");
        }
        String::from_utf8(self.received.drain(..count).collect()).unwrap()
    }

    async fn take_to(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.received, end.as_bytes()) {
                return self.take(at + end.len()).await;
            }
            assert!(self.more().await, "the reply ended early");
        }
    }

    /// The head of a reply.
    pub async fn head(&mut self) -> String {
        self.take_to("\r\n\r\n").await
    }

    /// The next chunk of a chunked body; the last one is empty.
    pub async fn chunk(&mut self) -> String {
        let size = self.take_to("\r\n").await;
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let chunk = self.take(size + 2).await;
        chunk.strip_suffix("\r\n").unwrap().to_owned()
    }

    /// The rest of a chunked body.
    pub async fn chunks(&mut self) -> String {
        let mut all = String::new();
        loop {
            match self.chunk().await {
                chunk if chunk.is_empty() => return all,
                chunk => all.push_str(&chunk),
            }
        }
    }

    /// All that comes until the server closes the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        self.take(self.received.len()).await
    }

    /// Sends a request whose reply has a length; gives head and body of the reply.
    pub async fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &str) -> (String, String) {
        self.send(line, headers, body).await;
        let head = self.head().await;
        let length =
            head.split_once("Content-Length: ").map_or("0", |(_, rest)| rest.split("\r\n").next().unwrap());
        let body = self.take(length.parse().unwrap()).await;
        (head, body)
    }
}
