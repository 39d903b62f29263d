//! What the connection handles by itself: health checks, and the PROXY header that names the client behind a proxy.

use std::net::SocketAddr;

use engine::io::Stream;

use super::Next;
use super::deadline::Slot;
use super::reply::{Reply, ReplyBody, Sent};
use super::wire::Wire;
use crate::health::Probe;
use crate::http::head::{Method, RequestHead};
use crate::http::preamble::{self, Preamble};
use crate::limits;
use crate::service::Service;

/// Answers a health check. It is not an S3 request: it is neither counted nor logged.
pub(super) async fn answer(
    service: &Service,
    wire: &mut Wire,
    head: &RequestHead,
    probe: Probe,
    out: &mut Vec<u8>,
) -> Next {
    let (status, text) = match probe {
        Probe::Live => (200, "live\n"),
        Probe::Ready if service.is_ready() => (200, "ready\n"),
        Probe::Ready => (503, "not ready\n"),
    };
    let mut reply = Reply { body: ReplyBody::Bytes(text.into()), ..Reply::empty(status) };
    reply.lines().header("Content-Type", "text/plain; charset=utf-8").header("Cache-Control", "no-store");
    let close = !head.keep_alive() || service.draining();
    let without_body = head.method() == Method::Head;
    out.clear();
    reply.write_head(out, service, &service.next_request_id(), without_body, close);
    if without_body {
        reply.body = ReplyBody::Empty;
    }
    match reply.send(wire, out).await {
        Ok(Sent::Whole) if close => Next::Close,
        Ok(Sent::Whole) => Next::Request,
        _ => Next::Lost,
    }
}

/// Reads the PROXY header that may precede everything else on a connection from a trusted proxy. Returns the client, or
/// the proxy itself if the header names none; `None` if the header is malformed or late, or the proxy disconnects.
pub(super) async fn client_behind(stream: &mut Stream, slot: &Slot, proxy: SocketAddr) -> Option<SocketAddr> {
    let mut bytes = vec![0; limits::PREAMBLE_BYTES_MAX];
    let mut filled = 0;
    // A proxy may connect before it has a request, but once a header has begun it must be complete soon.
    slot.set_idle(true);
    loop {
        let free = &mut bytes[filled..];
        let count = slot.guard(|cx| stream.poll_read(cx, free)).await.ok().filter(|count| *count > 0)?;
        if filled == 0 {
            slot.set_idle(false);
            slot.extend(limits::PREAMBLE_TIMEOUT);
        }
        filled += count;
        let (length, client) = match preamble::parse(&bytes[..filled]).ok()? {
            Preamble::Partial => continue,
            Preamble::Absent => (0, None),
            Preamble::Header(length, client) => (length, client),
        };
        stream.unread(&bytes[length..filled]);
        return Some(client.unwrap_or(proxy));
    }
}
