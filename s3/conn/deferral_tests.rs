//! Copies and completions that wait, against a whole node. Their replies begin at once here, see [`DEFERRED_AFTER`].

use std::rc::Rc;

use engine::io::Permit;
use engine::limits::{COPIES, SMALL_BLOB_BYTES, SMALL_COPIES};

use super::*;
use crate::test_support::{Client, on_a_node};

const DECLARED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const FROM_SOURCE: &[(&str, &str)] = &[("x-amz-copy-source", "/bucket/src")];

/// Takes every turn of a short copy: the next one waits.
async fn turns(service: &Rc<Service>) -> Vec<Permit> {
    let mut turns = Vec::new();
    for _ in 0..SMALL_COPIES {
        turns.push(service.bytes.copy_turn(1).await);
    }
    turns
}

/// Receives the beginning of a reply whose work goes on.
async fn expect_keepalives(client: &mut Client) {
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Content-Length"), "{head}");
    assert_eq!(client.chunk().await, DECLARED);
    for _ in 0..3 {
        assert_eq!(client.chunk().await, " ");
    }
}

#[test]
fn a_long_copy_sends_white_space_and_then_its_document() {
    on_a_node(async |service, address| {
        let mut client = Client::connect(address).await;
        client.ask("PUT /bucket/src", &[], "source").await;
        let turns = turns(&service).await;
        client.send("PUT /bucket/dst", FROM_SOURCE, "").await;
        expect_keepalives(&mut client).await;
        drop(turns);
        let document = client.chunks().await;
        assert!(document.trim_start().starts_with("<CopyObjectResult"), "{document}");
        assert_eq!(client.ask("GET /bucket/dst", &[], "").await.1, "source", "the connection goes on");
    });
}

#[test]
fn the_error_of_a_long_copy_stands_in_its_document() {
    on_a_node(async |service, address| {
        let (mut client, mut other) = (Client::connect(address).await, Client::connect(address).await);
        client.ask("PUT /bucket/src", &[], "source").await;
        let turns = turns(&service).await;
        client.send("PUT /bucket/dst", FROM_SOURCE, "").await;
        expect_keepalives(&mut client).await;
        other.ask("DELETE /bucket/src", &[], "").await;
        drop(turns);
        let document = client.chunks().await;
        assert!(document.trim_start().starts_with("<Error><Code>NoSuchKey</Code>"), "{document}");
        let (head, _) = client.ask("GET /bucket/dst", &[], "").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    });
}

#[test]
fn an_http_1_0_client_gets_white_space_without_chunks_and_the_end_of_the_connection() {
    on_a_node(async |service, address| {
        let mut client = Client::connect(address).await;
        client.ask("PUT /bucket/src", &[], "source").await;
        let turns = turns(&service).await;
        let mut old = Client::connect(address).await.of_http_1_0();
        old.send("PUT /bucket/dst", FROM_SOURCE, "").await;
        let head = old.head().await;
        assert!(head.contains("Connection: close\r\n") && !head.contains("Transfer-Encoding"), "{head}");
        drop(turns);
        let body = old.rest().await;
        let document = body.strip_prefix(DECLARED).unwrap().trim_start();
        assert!(document.starts_with("<CopyObjectResult"), "{body}");
    });
}

#[test]
fn parts_and_completions_are_deferred_like_copies() {
    on_a_node(async |service, address| {
        let mut client = Client::connect(address).await;
        client.ask("PUT /bucket/src", &[], "source").await;
        let (_, created) = client.ask("POST /bucket/whole?uploads=", &[], "").await;
        let upload = created.split_once("<UploadId>").unwrap().1.split_once('<').unwrap().0;
        let turns = turns(&service).await;
        client.send(&format!("PUT /bucket/whole?partNumber=1&uploadId={upload}"), FROM_SOURCE, "").await;
        expect_keepalives(&mut client).await;
        drop(turns);
        let copied = client.chunks().await;
        assert!(copied.trim_start().starts_with("<CopyPartResult"), "{copied}");
        // MD5 of "source", after one that no part has.
        for (etag, expected) in [
            ("00000000000000000000000000000000", "<Error><Code>InvalidPart</Code>"),
            ("36cd38f49b9afa08222c0dc9ebfe35eb", "<CompleteMultipartUploadResult"),
        ] {
            let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
            let list = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
            client.send(&format!("POST /bucket/whole?uploadId={upload}"), &[], &list).await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            let document = client.chunks().await;
            let document = document.strip_prefix(DECLARED).unwrap().trim_start();
            assert!(document.starts_with(expected), "{document}");
        }
        assert_eq!(client.ask("GET /bucket/whole", &[], "").await.1, "source");
    });
}

/// A copy waited behind the long ones of everybody before it looked for its source: the refusal came late and as 200.
#[test]
fn a_missing_source_is_told_at_once_and_a_short_copy_does_not_wait_for_long_ones() {
    on_a_node(async |service, address| {
        let mut client = Client::connect(address).await;
        client.ask("PUT /bucket/src", &[], "source").await;
        let mut long = Vec::new();
        for _ in 0..COPIES {
            long.push(service.bytes.copy_turn(SMALL_BLOB_BYTES as u64 + 1).await);
        }
        client.send("PUT /bucket/dst", FROM_SOURCE, "").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(client.chunks().await.contains("<CopyObjectResult"));
        let _short = turns(&service).await;
        let (head, document) =
            client.ask("PUT /bucket/dst", &[("x-amz-copy-source", "/bucket/none")], "").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        assert!(document.contains("<Code>NoSuchKey</Code>"), "{document}");
    });
}
