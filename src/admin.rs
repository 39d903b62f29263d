//! The admin port: metrics and health over plain HTTP/1.1, one request per connection.
//!
//! | path            | answer                                                             |
//! |-----------------|--------------------------------------------------------------------|
//! | `/metrics`      | Prometheus text                                                    |
//! | `/health/live`  | 200 while the process answers                                      |
//! | `/health/ready` | 200 when the node serves, else 503 with what it waits for          |
//!
//! It knows no users and changes nothing, so it listens on loopback unless told otherwise.

use crate::accept::accept;
use crate::metrics::{self, Board};
use engine::io::{Listener, Stream, timeout};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The maximum length of a head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// Deadline by which a request must have arrived and its answer be sent.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the admin port on this core, forever.
pub async fn serve_admin(listener: Listener, board: Arc<Board>) {
    let serve = |stream| {
        let board = Arc::clone(&board);
        async move {
            // A client that leaves or is slow ends its own connection and nothing else.
            let _ = timeout(EXCHANGE_TIMEOUT, converse(stream, &board)).await;
        }
    };
    accept(listener, serve).await;
}

async fn converse(mut stream: Stream, board: &Board) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let reply = loop {
        match parse(&head) {
            Parsed::Request { method, path } => break answer(&method, &path, board),
            Parsed::Partial if head.len() < HEAD_BYTES_MAX => {}
            Parsed::Partial => {
                break Reply::line("431 Request Header Fields Too Large", "the head is too long");
            }
            Parsed::Malformed => break Reply::line("400 Bad Request", "the head is malformed"),
        }
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&piece[..read]);
    };
    stream.write_all(&reply.encode()).await?;
    stream.close().await
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Request { method: String, path: String },
    Partial,
    Malformed,
}

fn parse(head: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Ok(httparse::Status::Complete(_)) => {
            let target = request.path.unwrap_or_default();
            let path = target.split_once('?').map_or(target, |(path, _)| path);
            Parsed::Request { method: request.method.unwrap_or_default().to_owned(), path: path.to_owned() }
        }
        Err(_) => Parsed::Malformed,
    }
}

struct Reply {
    status: &'static str,
    content_type: &'static str,
    allow: bool,
    body: String,
    without_body: bool,
}

impl Reply {
    fn line(status: &'static str, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    fn new(status: &'static str, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, allow: false, body, without_body: false }
    }

    fn encode(&self) -> Vec<u8> {
        let allow = if self.allow { "Allow: GET, HEAD\r\n" } else { "" };
        let mut bytes = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        )
        .into_bytes();
        if !self.without_body {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

fn answer(method: &str, path: &str, board: &Board) -> Reply {
    let mut reply = match path {
        "/metrics" => {
            Reply::new("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics::render(board))
        }
        "/health/live" => Reply::line("200 OK", "live"),
        "/health/ready" => match board.waits_for().as_slice() {
            [] => Reply::line("200 OK", "ready"),
            waits => Reply::line("503 Service Unavailable", &format!("waits for: {}", waits.join(", "))),
        },
        _ => Reply::line("404 Not Found", "this port has /metrics, /health/live and /health/ready"),
    };
    match method {
        "GET" => {}
        "HEAD" => reply.without_body = true,
        _ => {
            reply = Reply::line("405 Method Not Allowed", "this port takes GET and HEAD");
            reply.allow = true;
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::io::{block_on, spawn, spawn_thread};
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// What the port answers to `request`, sent over a plain socket.
    fn ask(board: Arc<Board>, request: Vec<u8>) -> String {
        block_on(async move {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            drop(spawn(serve_admin(listener, board)));
            let (done, result) = flume::bounded(1);
            let client = move || {
                let mut socket = TcpStream::connect(address).unwrap();
                let mut reply = Vec::new();
                // The server may answer and close before it has read all of a long head.
                let _ = socket.write_all(&request);
                let _ = socket.read_to_end(&mut reply);
                drop(done.send(String::from_utf8(reply).unwrap()));
            };
            let _thread = spawn_thread("client", client).unwrap();
            result.recv_async().await.unwrap()
        })
        .unwrap()
    }

    #[test]
    fn readiness_names_what_is_waited_for() {
        let board = Board::new(1);
        let request = || b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
        let reply = ask(Arc::clone(&board), request());
        assert!(
            reply.starts_with("HTTP/1.1 503 ") && reply.ends_with("\r\n\r\nwaits for: start\n"),
            "{reply}"
        );
        board.set_waits_for(vec![]);
        let reply = ask(board, request());
        assert!(
            reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains("Connection: close\r\n"),
            "{reply}"
        );
    }

    #[test]
    fn metrics_are_served_and_head_has_the_length_without_the_body() {
        let reply = ask(Board::new(1), b"GET /metrics?x HTTP/1.1\r\n\r\n".to_vec());
        assert!(reply.contains("version=0.0.4") && reply.contains("hamster_ready 0"), "{reply}");
        let reply = ask(Board::new(1), b"HEAD /health/live HTTP/1.1\r\n\r\n".to_vec());
        assert!(reply.contains("Content-Length: 5\r\n") && reply.ends_with("\r\n\r\n"), "{reply}");
    }

    #[test]
    fn other_methods_paths_and_heads_are_refused() {
        for (request, status) in [
            (b"POST /metrics HTTP/1.1\r\n\r\n".to_vec(), "405"),
            (b"GET /secret HTTP/1.1\r\n\r\n".to_vec(), "404"),
            (b"rubbish\r\n\r\n".to_vec(), "400"),
            ([b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'y'; HEAD_BYTES_MAX]].concat(), "431"),
        ] {
            let reply = ask(Board::new(1), request);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {reply}");
        }
    }
}
