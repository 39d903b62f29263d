//! Runs the steps of the test and reports each of them on a line of its own; content, bodies, and requests that do not
//! go through the SDK.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::presigning::PresignedRequest;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// Sizes around which framings change, in bytes.
pub const SIZES: [usize; 11] =
    [0, 1, 4096, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 1 << 20, (5 << 20) + 1];
/// Keys of what is escaped in paths, in queries, in XML, or in none of them.
pub const KEYS: [&str; 14] = [
    "plain",
    "a b",
    "a+b",
    "a%20b",
    "ä/ö/ü€",
    "𝄞",
    "q?x=1&y=2",
    "h#1",
    "<tag>&'\"",
    "a//b",
    "~!*'()",
    "semi;colon,=:@$",
    "back\\slash",
    "trailing/",
];

static FAILED: AtomicBool = AtomicBool::new(false);

/// A setting that the test gives by the environment.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// Prints a line that the test reads.
fn report(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads");
}

/// Runs one step; one that fails does not end the others.
pub async fn step(name: &str, run: impl Future<Output = Result<()>>) {
    match run.await {
        Ok(()) => report(&format!("ok {name}")),
        Err(error) => {
            FAILED.store(true, Ordering::Relaxed);
            report(&format!(
                "FAILED {name}: {}",
                DisplayErrorContext(&*error).to_string().replace('\n', " ")
            ));
        }
    }
}

/// Ends the program.
pub fn done() -> ! {
    report("done");
    std::process::exit(FAILED.load(Ordering::Relaxed).into());
}

/// Content of that size, different at each size and without a period that a block could hide behind.
pub fn value(size: usize) -> Vec<u8> {
    let mut state = size as u32 + 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(size)
    .collect()
}

pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Result<()> {
    if got == want { Ok(()) } else { Err(format!("{what} is {got:?}, not {want:?}").into()) }
}

/// Like `equal`, for content that nobody wants to read.
pub fn same(got: &[u8], want: &[u8]) -> Result<()> {
    equal("length", got.len(), want.len())?;
    if got == want { Ok(()) } else { Err("what was read differs".into()) }
}

/// A body whose content the SDK cannot know beforehand, in pieces that no framing is made of.
pub fn stream(body: &[u8]) -> ByteStream {
    let body = body.to_vec();
    // A retry starts it again.
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(Pieces(Bytes::from(body.clone())))))
}

struct Pieces(Bytes);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<http_body::Frame<Bytes>, Self::Error>>> {
        let size = self.0.len().min(10_007);
        let piece = self.0.split_to(size);
        Poll::Ready((size > 0).then(|| Ok(http_body::Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.len() as u64)
    }
}

/// The authority to trust, as PEM, if the server speaks TLS.
pub fn authority() -> Option<Vec<u8>> {
    let path = setting("SDK_CA");
    (!path.is_empty()).then(|| std::fs::read(path).expect("SDK_CA can be read"))
}

/// Sends a request as a browser would, with a URL that carries its signature.
pub fn fetch(request: &PresignedRequest, body: &[u8]) -> Result<Vec<u8>> {
    let (scheme, rest) = request.uri().split_once("://").ok_or("no scheme")?;
    let (host, path) = rest.split_once('/').ok_or("no path")?;
    let mut head = format!(
        "{} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n",
        request.method(),
        body.len()
    );
    for (name, value) in request.headers().filter(|(name, _)| *name != "host" && *name != "content-length") {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Connection: close\r\n\r\n";
    let message = [head.as_bytes(), body].concat();
    let socket = TcpStream::connect(host)?;
    let answer = if scheme == "https" {
        exchange(rustls::StreamOwned::new(secure(host)?, socket), &message)?
    } else {
        exchange(socket, &message)?
    };
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no head")?;
    let status = String::from_utf8_lossy(&answer[..end]).into_owned();
    if status.starts_with("HTTP/1.1 200 ") { Ok(answer[end + 4..].to_vec()) } else { Err(status.into()) }
}

fn exchange(mut socket: impl Read + Write, message: &[u8]) -> Result<Vec<u8>> {
    socket.write_all(message)?;
    socket.flush()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer)
}

fn secure(host: &str) -> Result<rustls::ClientConnection> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority().ok_or("no SDK_CA")?)?)?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = host.split(':').next().unwrap_or(host).to_owned();
    Ok(rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(name)?)?)
}
