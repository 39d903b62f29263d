//! One connection on one core: reads requests and sends replies, one after the other.
//!
//! Promises: every request is answered exactly once or its connection is closed; a refusal before the body was
//! requested closes the connection; memory per connection is limited whatever the client sends. A connection stays on
//! the core to which it was assigned before its first byte. [`crate::op`] decides what a request means.

mod accept;
mod body;
pub(crate) mod deadline;
mod deferral;
mod probe;
mod reply;
mod spread;
mod wire;

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use engine::FixedState;
use engine::budget::Account;
use engine::io::{self, Stream};

pub use accept::serve;
pub(crate) use body::{Body, Piece};
use body::{Rest, wait_failed};
use deferral::Completion;
pub(crate) use deferral::Deferral;
use reply::Sent;
pub(crate) use reply::{Reply, ReplyBody};
pub use spread::{Inbox, Spread};

use crate::access::{self, Principal, Resource};
use crate::error::{Code, S3Error, S3Result};
use crate::http::head::{Method, RequestHead};
use crate::limits;
use crate::name::{BucketName, ObjectKey};
use crate::op::{self, Exchange};
use crate::route::Route;
use crate::service::{Finished, RequestId, Service};
use deadline::Slot;
use wire::Wire;

/// What follows a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next request of this connection.
    Request,
    /// The connection ends; what the client still sends is read for a moment.
    Close,
    /// The connection is lost.
    Lost,
}

/// The result of waiting for a head.
enum Arrival {
    Head,
    /// The client has disconnected or sends nothing.
    Lost,
    /// The client sent something other than a head, sent it too slowly, or used memory that others wait for.
    Refused(S3Error),
}

/// Bytes of answers that a connection keeps room for between two requests.
const KEEP_OUT_BYTES: usize = 8 << 10;

/// Serves one connection to its end.
async fn connection(service: Rc<Service>, stream: Stream, peer: Option<SocketAddr>, slot: Rc<Slot>) {
    let holder = service.bytes.budget().holder();
    let mut wire = Wire::new(stream, slot, holder, limits::STALL);
    let mut head = RequestHead::new();
    let mut out = Vec::new();
    loop {
        let next = match receive_head(&mut wire, &mut head).await {
            // The state of a request while it is served is some 10 KiB, which an idle connection does not keep.
            Arrival::Head => Box::pin(exchange(&service, &mut wire, &head, peer, &mut out)).await,
            Arrival::Lost => Next::Lost,
            Arrival::Refused(error) => refuse_head(&service, &mut wire, peer, &error, &mut out).await,
        };
        match next {
            Next::Request if !service.draining() => {}
            Next::Request | Next::Close => {
                wire.linger(limits::LINGER_BYTES, limits::LINGER).await;
                return;
            }
            Next::Lost => return,
        }
    }
}

/// Waits for a head and parses it.
async fn receive_head(wire: &mut Wire, head: &mut RequestHead) -> Arrival {
    let mut begun = false;
    loop {
        if wire.buffered().is_empty() {
            head.trim();
            wire.end_request();
            wire.extend(limits::IDLE_TIMEOUT, true);
        } else {
            if !begun {
                begun = true;
                wire.holder().start();
                // A head has this long to arrive from its first byte on, however many pieces it comes in.
                wire.extend(limits::HEAD_TIMEOUT, false);
            }
            match head.parse(wire.buffered()) {
                Ok(Some(used)) => {
                    wire.consume(used);
                    return match wire.begin(used) {
                        Ok(()) => Arrival::Head,
                        Err(_) => Arrival::Refused(Code::SlowDown.into()),
                    };
                }
                Ok(None) => wire.compact(),
                Err(error) => return Arrival::Refused(error),
            }
        }
        match wire.fill().await {
            Ok(0) => return Arrival::Lost,
            Ok(_) => {}
            Err(error) => {
                return match wait_failed(&error).filter(|_| !wire.buffered().is_empty()) {
                    Some(code) => Arrival::Refused(code.into()),
                    None => Arrival::Lost,
                };
            }
        }
    }
}

/// Answers input that is not a request; the connection cannot be trusted any more.
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
        Err(_) => Next::Lost,
    }
}

/// Serves one request.
async fn exchange(
    service: &Rc<Service>,
    wire: &mut Wire,
    head: &RequestHead,
    peer: Option<SocketAddr>,
    out: &mut Vec<u8>,
) -> Next {
    if let Some(probe) = service.probe(head) {
        return probe::answer(service, wire, head, probe, out).await;
    }
    let peer = peer.map(|peer| service.client(peer, head));
    let started = io::now();
    let _request = io::begin_request();
    let request_id = service.next_request_id();
    let (bytes_in, bytes_out) = (wire.bytes_in, wire.bytes_out);
    let mut record = Finished::begin(head, peer, &request_id);
    let mut rest = Rest::of_unread(head);
    let mut deferral = Deferral::new(service, head, &request_id);
    let result = handle(service, wire, head, &mut record, &mut rest, &mut deferral).await;
    // A demand to end that came with the last bytes of the body is too late: the reply to what is done must be sent.
    wire.holder().start();
    let (sent, close) = match deferral.finish(result, head.path(), wire).await {
        Completion::Ended { sent, error, close } => {
            (record.status, record.error) = (200, error);
            (sent, close)
        }
        Completion::NotBegun(result) => {
            let close = !head.keep_alive() || !rest.can_be_dropped() || service.draining();
            let answer = Answer { service, head, request_id: &request_id, close };
            (answer.send(result, wire, out, &mut record).await, close)
        }
    };
    // Nobody accounts for it from here on.
    if out.capacity() > KEEP_OUT_BYTES {
        *out = Vec::new();
    }
    if let Sent::BrokenOff(code) = sent {
        record.error = Some(code);
    }
    record.duration = started.elapsed();
    record.bytes_in = wire.bytes_in - bytes_in;
    record.bytes_out = wire.bytes_out - bytes_out;
    service.finished(&record);
    match (sent, rest) {
        (Sent::Lost | Sent::BrokenOff(_), _) => Next::Lost,
        (Sent::Whole, _) if close => Next::Close,
        // The reply does not wait for an unwanted body.
        (Sent::Whole, Rest::Bytes(left)) if wire.discard(left).await.is_ok() => Next::Request,
        (Sent::Whole, _) => Next::Lost,
    }
}

/// Adds the region to a refusal whose client may need it: one that signed for another region, or one that sent a HEAD,
/// which is how clients look up the region of a bucket and whose reply has no body that could name it.
fn with_region(error: S3Error, head: &RequestHead, service: &Service) -> S3Error {
    let wrong_region = error.field_value("Region").is_some();
    let refused_head = head.method() == Method::Head && error.status() >= 400;
    if wrong_region || refused_head { error.header("x-amz-bucket-region", service.region()) } else { error }
}

/// Returns the route if the sender is allowed to take it. A stranger is not told what is wrong with the request.
fn authorised(principal: &Principal, route: S3Result<Route>) -> S3Result<Route> {
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

/// Authenticates and authorises a request and dispatches it. `rest` is set to what remains of the body.
async fn handle(
    service: &Rc<Service>,
    wire: &mut Wire,
    head: &RequestHead,
    record: &mut Finished<'_>,
    rest: &mut Rest,
    deferral: &mut Deferral,
) -> S3Result<Reply> {
    let route = service.route(head);
    record.operation = route.as_ref().ok().map(|route| route.operation);
    let now_ms = io::unix_ms();
    let verified = service.verify(head, now_ms / 1000)?;
    let principal = verified.principal;
    record.access_key = principal.access_key().cloned();
    let route = authorised(&principal, route)?;
    let holder = wire.holder().clone();
    holder.set_account(account(principal.access_key(), record.peer));
    let (mut body, payload) = Body::new(wire, head, verified.payload)?;
    deferral.allow(route.operation);
    let (holder, body) = (&holder, &mut body);
    let mut exchange = Exchange { service, head, principal, route, now_ms, payload, holder, deferral, body };
    let mut result = op::dispatch(&mut exchange).await;
    record.bucket = exchange.route.bucket.map(BucketName::into_string);
    record.key = exchange.route.key.map(ObjectKey::into_string);
    if result.is_ok()
        && let Err(error) = body.send_continue().await
    {
        // An accepted request gets its 100 even if its body was not read, for example because it is empty.
        result = Err(error);
    }
    *rest = body.rest();
    result
}

/// The account to which the memory of a request is charged. An IPv6 address counts by the 64 bits that are assigned to
/// a site.
fn account(access_key: Option<&Arc<str>>, peer: Option<SocketAddr>) -> Account {
    let address = match peer.map(|peer| peer.ip().to_canonical()) {
        None => 0,
        Some(IpAddr::V4(address)) => u64::from(address.to_bits()),
        Some(IpAddr::V6(address)) => (address.to_bits() >> 64) as u64,
    };
    Account { credential: FixedState.hash_one(access_key), address }
}

/// The part that all replies to one request have in common.
struct Answer<'a> {
    service: &'a Service,
    head: &'a RequestHead,
    request_id: &'a RequestId,
    close: bool,
}

impl Answer<'_> {
    /// Sends the reply of a handler, or the error if the handler, or reading the first byte of its object, failed.
    async fn send(
        &self,
        result: S3Result<Reply>,
        wire: &mut Wire,
        out: &mut Vec<u8>,
        record: &mut Finished<'_>,
    ) -> Sent {
        let mut next = result;
        loop {
            let refused = next.is_err();
            let mut reply = next.unwrap_or_else(|error| {
                let error = with_region(error, self.head, self.service);
                record.error = Some(error.code());
                Reply::error(&error, &String::from_utf8_lossy(self.head.path()), self.request_id)
            });
            let without_body = self.head.method() == Method::Head;
            out.clear();
            reply.write_head(out, self.service, self.request_id, without_body, self.close);
            record.status = reply.status;
            if without_body {
                reply.body = ReplyBody::Empty;
            }
            match reply.send(wire, out).await {
                Ok(sent) => return sent,
                Err(_) if refused => return Sent::Lost,
                Err(error) => next = Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
