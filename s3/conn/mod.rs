//! One connection of one core: requests in, replies out, one after the other.
//!
//! Promises: every request is answered exactly once or its connection closed; a refusal before the body was asked
//! for closes the connection; memory per connection is bounded whatever the client sends. A connection stays on
//! the core that it was given to before its first byte. It leaves to [`crate::op`] what a request means.

mod accept;
mod body;
pub(crate) mod deadline;
mod probe;
mod reply;
mod spread;
mod wire;

use std::net::SocketAddr;
use std::rc::Rc;

use engine::io::{self, Stream};

pub use accept::serve;
pub(crate) use body::{Body, Piece};
use reply::Sent;
pub(crate) use reply::{Reply, ReplyBody};
pub use spread::{Inbox, Spread};

use crate::access::{self, Principal, Resource};
use crate::error::{Code, S3Error};
use crate::http::head::{Method, RequestHead};
use crate::limits;
use crate::name::{BucketName, ObjectKey};
use crate::op::{self, Exchange};
use crate::route::Route;
use crate::service::{Finished, Service};
use deadline::Slot;
use wire::Wire;

/// What follows after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next request of this connection.
    Request,
    /// The connection ends; what the client still sends is read for a moment.
    Close,
    /// The connection is lost.
    Gone,
}

/// Serves one connection to its end.
async fn connection(service: Rc<Service>, stream: Stream, peer: Option<SocketAddr>, slot: Rc<Slot>) {
    let mut wire = Wire::new(stream, slot, limits::STALL);
    let mut head = RequestHead::new();
    let mut out = Vec::new();
    loop {
        let next = match receive_head(&mut wire, &mut head).await {
            Ok(true) => exchange(&service, &mut wire, &head, peer, &mut out).await,
            Ok(false) => Next::Gone,
            Err(error) => refuse_head(&service, &mut wire, peer, &error, &mut out).await,
        };
        match next {
            Next::Request if !service.draining() => {}
            Next::Request | Next::Close => {
                wire.linger(limits::LINGER_BYTES, limits::LINGER).await;
                return;
            }
            Next::Gone => return,
        }
    }
}

/// Waits for a head and parses it; false where the client is gone or silent.
async fn receive_head(wire: &mut Wire, head: &mut RequestHead) -> Result<bool, S3Error> {
    let mut begun = false;
    loop {
        if !wire.buffered().is_empty() {
            if !begun {
                begun = true;
                // From its first byte on, a head has so long to arrive, however many pieces it comes in.
                wire.extend(limits::HEAD_TIMEOUT, false);
            }
            if let Some(used) = head.parse(wire.buffered())? {
                wire.consume(used);
                return Ok(true);
            }
            wire.compact();
        } else {
            head.trim();
            wire.extend(limits::IDLE_TIMEOUT, true);
        }
        match wire.fill().await {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if begun && error.kind() == std::io::ErrorKind::TimedOut => {
                return Err(Code::RequestTimeout.into());
            }
            Err(_) => return Ok(false),
        }
    }
}

/// Answers what is no request; the connection can't be trusted any more.
async fn refuse_head(
    service: &Service,
    wire: &mut Wire,
    peer: Option<SocketAddr>,
    error: &S3Error,
    out: &mut Vec<u8>,
) -> Next {
    let request_id = service.next_request_id();
    wire.extend(limits::STALL, false);
    let reply = Reply::error(error, "", &request_id);
    out.clear();
    reply.write_head(out, service, &request_id, false, true);
    if let ReplyBody::Bytes(body) = &reply.body {
        out.extend_from_slice(body);
    }
    let unparsed = Finished::unparsed(error.status(), &request_id);
    service.finished(&Finished { peer, error: Some(error.code()), ..unparsed });
    match wire.write_all(out).await {
        Ok(()) => Next::Close,
        Err(_) => Next::Gone,
    }
}

/// One request and its answer.
async fn exchange(
    service: &Rc<Service>,
    wire: &mut Wire,
    head: &RequestHead,
    peer: Option<SocketAddr>,
    out: &mut Vec<u8>,
) -> Next {
    if let Some(asked) = service.probe(head) {
        return probe::answer(service, wire, head, asked, out).await;
    }
    let peer = peer.map(|peer| service.client(peer, head));
    let started = io::now();
    let _underway = io::underway();
    wire.begin_body();
    let request_id = service.next_request_id();
    let (bytes_in, bytes_out) = (wire.bytes_in, wire.bytes_out);
    let mut record = Finished::begin(head, peer, &request_id);
    let route = service.route(head);
    if let Ok(route) = &route {
        record.operation = Some(route.operation);
    }
    let (mut reply, body_state) = match handle(service, wire, head, route, &mut record).await {
        (Ok(reply), state) => (reply, state),
        (Err(error), state) => {
            let error = with_region(error, head, service);
            let reply = Reply::error(&error, &String::from_utf8_lossy(head.path()), &request_id);
            record.error = Some(error.code());
            (reply, state)
        }
    };
    // An answer without the 100 that the client waits for would be taken for the next one's: close instead.
    let left = body_state.left.filter(|left| *left <= limits::DISCARD_BYTES);
    let close = !head.keep_alive() || left.is_none() || body_state.expects_continue || service.draining();
    out.clear();
    let without_body = head.method() == Method::Head;
    reply.write_head(out, service, &request_id, without_body, close);
    record.status = reply.status;
    if without_body {
        reply.body = ReplyBody::Empty;
    }
    let mut sent = reply.send(wire, out).await;
    if let Err(error) = &sent {
        // Nothing has left yet: the client is told what went wrong.
        let refusal = Reply::error(error, &String::from_utf8_lossy(head.path()), &request_id);
        record.error = Some(error.code());
        record.status = refusal.status;
        out.clear();
        refusal.write_head(out, service, &request_id, false, close);
        sent = refusal.send(wire, out).await;
    }
    let sent = sent.unwrap_or(Sent::Lost);
    if let Sent::BrokenOff(code) = sent {
        record.error = Some(code);
    }
    record.duration = started.elapsed();
    record.bytes_in = wire.bytes_in - bytes_in;
    record.bytes_out = wire.bytes_out - bytes_out;
    service.finished(&record);
    match (sent, close) {
        (Sent::Lost | Sent::BrokenOff(_), _) => Next::Gone,
        (Sent::Whole, true) => Next::Close,
        // The answer does not wait for a body that nobody wants.
        (Sent::Whole, false) => match wire.discard(left.unwrap_or(0)).await {
            Ok(()) => Next::Request,
            Err(_) => Next::Gone,
        },
    }
}

/// Adds the region to a refusal whose client may need it: one that signed for another region, and one that asked by
/// HEAD, which is how clients look for a bucket's region and whose answer has no body to tell it in.
fn with_region(error: S3Error, head: &RequestHead, service: &Service) -> S3Error {
    let wrong_region = error.field_value("Region").is_some();
    let refused_head = head.method() == Method::Head && error.status() >= 400;
    if wrong_region || refused_head { error.header("x-amz-bucket-region", service.region()) } else { error }
}

/// How a body was left by its handler.
struct BodyState {
    /// Bytes left on the wire, where that can be told.
    left: Option<u64>,
    expects_continue: bool,
}

/// The route, where the sender may go it. A stranger is not told what is wrong with his request.
fn authorised(principal: &Principal, route: Result<Route, S3Error>) -> Result<Route, S3Error> {
    let (action, resource) = match &route {
        Ok(route) => {
            let resource = Resource { bucket: route.bucket.as_ref(), key: route.key.as_ref() };
            (route.operation.row().action, resource)
        }
        Err(_) => ("s3:*", Resource::default()),
    };
    access::authorise(principal, action, resource)?;
    route
}

async fn handle(
    service: &Rc<Service>,
    wire: &mut Wire,
    head: &RequestHead,
    route: Result<Route, S3Error>,
    record: &mut Finished<'_>,
) -> (Result<Reply, S3Error>, BodyState) {
    let announced = (!head.is_chunked()).then(|| head.content_length().unwrap_or(0));
    let early = BodyState { left: announced, expects_continue: head.expect_continue() };
    let now_ms = io::unix_ms();
    let verified = match service.verify(head, now_ms / 1000) {
        Ok(verified) => verified,
        Err(error) => return (Err(error), early),
    };
    record.access_key = verified.principal.access_key().cloned();
    let route = match authorised(&verified.principal, route) {
        Ok(route) => route,
        Err(error) => return (Err(error), early),
    };
    let (mut body, payload) = match Body::new(wire, head, verified.payload) {
        Ok(body) => body,
        Err(error) => return (Err(error), early),
    };
    let principal = verified.principal;
    let mut exchange = Exchange { service, head, principal, route, now_ms, payload, body: &mut body };
    let result = op::dispatch(&mut exchange).await;
    record.bucket = exchange.route.bucket.map(BucketName::into_string);
    record.key = exchange.route.key.map(ObjectKey::into_string);
    // An accepted request gets its 100 even if nobody read the body, for example an empty one.
    if result.is_ok() && body.send_continue().await.is_err() {
        return (result, BodyState { left: None, expects_continue: false });
    }
    let state = BodyState { left: body.left(), expects_continue: body.expects_continue() };
    (result, state)
}
