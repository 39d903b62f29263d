//! Uploads whose bytes are not what the client declared, against a whole node.

use engine::io::begin_request;

use crate::test_support::{Client, on_a_node};

/// The MD5 of nothing.
const OTHER_MD5: (&str, &str) = ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");

#[test]
fn a_large_body_that_does_not_match_its_digest_leaves_nothing_behind() {
    on_a_node(async |service, address| {
        let mut client = Client::connect(address).await;
        let body = "x".repeat(500_000);
        let segments = || service.bytes.home().segments().clone();
        // Alone, a body is hashed as it arrives; beside others, its end is hashed once its bytes are stored.
        for others in [0, 5] {
            let _others: Vec<_> = (0..others).map(|_| begin_request()).collect();
            let (head, refused) = client.ask("PUT /bucket/key", &[OTHER_MD5], &body).await;
            assert!(
                head.starts_with("HTTP/1.1 400 ") && refused.contains("<Code>BadDigest</Code>"),
                "{refused}"
            );
            assert_eq!(segments().stats().extent_live_bytes, 0);
            assert!(!segments().may_hold_leftovers());
            assert!(client.ask("GET /bucket/key", &[], "").await.0.starts_with("HTTP/1.1 404 "));
        }
        assert!(client.ask("PUT /bucket/key", &[], &body).await.0.starts_with("HTTP/1.1 200 "));
        assert_eq!(client.ask("GET /bucket/key", &[], "").await.1, body);
    });
}
