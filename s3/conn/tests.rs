//! Clients that are slow, against a whole node.

use std::pin::pin;
use std::time::Duration;

use engine::budget::Class;
use engine::io::{Listener, sleep, timeout, yield_now};
use engine::limits::{FREE_INPUT_BYTES, INPUT_BUDGET_BYTES};
use futures_lite::future;
use raft::command::Selector;

use super::spread::Placed;
use super::*;
use crate::health::Probe;
use crate::test_support::{Client, on_a_node};

/// A connection that ends when it makes no progress for `stall`, and its client.
async fn connected(service: &Service, stall: Duration) -> (Wire, Client) {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = future::zip(Client::connect(address), listener.accept_unbound()).await;
    let Placed::Here(assigned) = service.spread.place(accepted.unwrap()) else { panic!("there is one core") };
    let slot = service.deadlines.register(stall, assigned.seat);
    let holder = service.bytes.budget().holder();
    (Wire::new(assigned.connection.into_stream(), slot, holder, stall), client)
}

/// Sends the second half of the body when the request has been told to end, but does not know yet, and leaves no room
/// for the reply until `bucket/k` exists. The reply must come all the same.
async fn expect_reply_after_demand(service: &Rc<Service>, line: &str, body: &str) {
    let (mut wire, mut client) = connected(service, limits::STALL).await;
    // The socket's buffer may grow while the first bytes travel.
    let filler = vec![b'-'; 1 << 20];
    for _ in 0..100 {
        while let Some(Ok(_)) = future::poll_once(wire.write(&filler)).await {}
        yield_now().await;
    }
    // A head so long is accounted for as input.
    let long = "x".repeat(FREE_INPUT_BYTES);
    client.send_text(&client.signed_head(line, &[("x-long", &long)], body.len())).await;
    let mut head = RequestHead::new();
    assert!(matches!(receive_head(&mut wire, &mut head).await, Arrival::Head));
    let (first, second) = body.split_at(body.len() / 2);
    client.send_text(first).await;
    let (mut out, budget) = (Vec::new(), service.bytes.budget());
    let mut served = pin!(exchange(service, &mut wire, &head, None, &mut out));
    let mut polls_since_it_reads = 0;
    while polls_since_it_reads < 10 {
        assert!(future::poll_once(served.as_mut()).await.is_none(), "it waits for its body");
        polls_since_it_reads += usize::from(budget.held(Class::Small) > 0);
        yield_now().await;
    }
    let input = budget.holder().try_acquire(Class::Input, INPUT_BUDGET_BYTES / 8 * 7).unwrap();
    let told = async {
        while budget.shortages().ended == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(Duration::from_secs(10), told).await.is_ok(), "it is not told to end");
    drop(input);
    client.send_text(second).await;
    sleep(Duration::from_millis(10)).await;
    let mut polls_since_it_is_done = 0;
    while polls_since_it_is_done < 10 {
        assert!(future::poll_once(served.as_mut()).await.is_none(), "the reply waits for room");
        let found = service.metadata.resolve("bucket", "k", Selector::Current(true)).await.unwrap();
        polls_since_it_is_done += usize::from(found.is_some());
        yield_now().await;
    }
    let (next, reply) = future::zip(served, client.head()).await;
    assert!(next == Next::Request && reply.contains("HTTP/1.1 200 OK\r\n"));
}

/// Clients that had sent a head and nothing of its body held all memory for bodies.
#[test]
fn an_upload_takes_no_memory_before_its_body_comes() {
    on_a_node(async |service, _| {
        let budget = service.bytes.budget();
        for length in [1000, 8 << 20] {
            let (mut wire, mut client) = connected(&service, limits::STALL).await;
            client.send_text(&client.signed_head("PUT /bucket/k", &[], length)).await;
            let mut head = RequestHead::new();
            assert!(matches!(receive_head(&mut wire, &mut head).await, Arrival::Head));
            let mut out = Vec::new();
            let mut served = pin!(exchange(&service, &mut wire, &head, None, &mut out));
            for _ in 0..100 {
                assert!(future::poll_once(served.as_mut()).await.is_none(), "it waits for its body");
                assert_eq!(budget.held(Class::Small) + budget.held(Class::Large), 0);
                yield_now().await;
            }
            let answered = async {
                client.send_text(&"a".repeat(length)).await;
                client.head().await
            };
            let (next, reply) = future::zip(served, answered).await;
            assert!(next == Next::Request && reply.contains("HTTP/1.1 200 OK\r\n"), "{reply}");
        }
    });
}

#[test]
fn memory_is_charged_to_the_credential_and_the_address_that_a_trusted_proxy_states() {
    let of =
        |key: &str, peer: &str| account(Some(&key.into()), Some(SocketAddr::new(peer.parse().unwrap(), 1)));
    assert_eq!(of("a", "10.0.0.1"), of("a", "::ffff:10.0.0.1"));
    assert_ne!(of("a", "10.0.0.1"), of("a", "10.0.0.2"));
    assert_ne!(of("a", "10.0.0.1"), of("b", "10.0.0.1"));
    assert_eq!(of("a", "2001:db8::1"), of("a", "2001:db8::2:0:0:1"), "one site");
    assert_ne!(of("a", "2001:db8::1"), of("a", "2001:db8:0:1::1"));
}

#[test]
fn a_node_that_drains_is_live_but_not_ready() {
    on_a_node(async |service, _| {
        let ask = async |asked: Probe| {
            let (mut wire, mut client) = connected(&service, limits::STALL).await;
            let (head, mut out) = (crate::test_support::head(""), Vec::new());
            let answered = probe::answer(&service, &mut wire, &head, asked, &mut out);
            future::zip(answered, client.head()).await.1
        };
        assert!(ask(Probe::Ready).await.starts_with("HTTP/1.1 200 "));
        service.drain(Duration::ZERO).await;
        assert!(ask(Probe::Ready).await.starts_with("HTTP/1.1 503 "));
        assert!(ask(Probe::Live).await.starts_with("HTTP/1.1 200 "));
    });
}

/// A demand to end that came with the last bytes of a body stayed until the next wait. If the client had left no room
/// for the reply, that was the wait of a PUT that had been committed for its reply, which was lost.
#[test]
fn a_request_that_is_told_to_end_when_its_body_is_complete_sends_its_reply() {
    on_a_node(async |service, _| {
        expect_reply_after_demand(&service, "PUT /bucket/k", &"a".repeat(1000)).await;
    });
}

#[test]
fn so_does_one_whose_reply_is_deferred() {
    on_a_node(async |service, address| {
        let mut client = Client::connect(address).await;
        let (_, created) = client.ask("POST /bucket/k?uploads=", &[], "").await;
        let upload = created.split_once("<UploadId>").unwrap().1.split_once('<').unwrap().0;
        let (head, _) = client.ask(&format!("PUT /bucket/k?partNumber=1&uploadId={upload}"), &[], "a").await;
        let etag = head.split_once("ETag: ").unwrap().1.lines().next().unwrap();
        let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
        let list = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        expect_reply_after_demand(&service, &format!("POST /bucket/k?uploadId={upload}"), &list).await;
    });
}

#[test]
fn a_client_that_takes_a_download_too_slowly_is_cut_off() {
    on_a_node(async |service, address| {
        let body = "x".repeat(8 << 20);
        Client::connect(address).await.ask("PUT /bucket/k", &[], &body).await;
        let (mut wire, mut client) = connected(&service, Duration::from_millis(500)).await;
        client.send("GET /bucket/k", &[], "").await;
        let mut head = RequestHead::new();
        assert!(matches!(receive_head(&mut wire, &mut head).await, Arrival::Head));
        let mut out = Vec::new();
        // 64 KiB every 150 ms: it never stalls, but it takes less than half of what the minimum rate asks for.
        let slowly = async {
            loop {
                for _ in 0..16 {
                    assert!(client.more().await);
                }
                sleep(Duration::from_millis(150)).await;
            }
        };
        let served = future::or(exchange(&service, &mut wire, &head, None, &mut out), slowly);
        let next = timeout(Duration::from_secs(10), served).await;
        assert!(matches!(next, Ok(Next::Lost)), "it was not cut off");
        assert!(wire.bytes_out < body.len() as u64 / 2, "{}", wire.bytes_out);
    });
}
