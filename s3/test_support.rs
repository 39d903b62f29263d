//! What unit tests share.

use crate::http::head::RequestHead;

/// The head of a PutObject with these header lines, each ended by CR LF.
pub fn head(headers: &str) -> RequestHead {
    let mut head = RequestHead::new();
    head.parse(format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes()).unwrap().unwrap();
    head
}
