//! The server of control calls: one task per connection, on the core that accepted it.

use super::{
    CALL_BYTES_MAX, FrameError, HEAD_BYTES, Hello, Kind, MetricsReply, PURPOSE_CONTROL, Refusal, decode_head,
    encode,
};
use crate::accept::accept;
use crate::identity::NodeRecord;
use crate::metrics::{self, Board};
use crate::status;
use engine::io::{Listener, Stream, timeout};
use prost::Message;
use rustls::ServerConfig;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The time limit of a handshake, a hello, and each reply.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be idle between calls.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The sources of answers.
pub struct Answers {
    /// This node's record.
    pub record: NodeRecord,
    /// Its metrics.
    pub board: Arc<Board>,
}

/// Serves the cluster port on this core; never returns.
pub async fn serve_cluster(listener: Listener, tls: Arc<ServerConfig>, answers: Rc<Answers>) {
    let serve = |stream| {
        let (tls, answers) = (Arc::clone(&tls), Rc::clone(&answers));
        async move {
            // A peer that leaves or misbehaves ends only its own connection.
            let _ = converse(stream, tls, &answers).await;
        }
    };
    accept(listener, serve).await;
}

async fn converse(stream: Stream, tls: Arc<ServerConfig>, answers: &Answers) -> io::Result<()> {
    let mut stream = in_time(EXCHANGE_TIMEOUT, stream.accept_tls(tls)).await?;
    let (kind, body) = in_time(EXCHANGE_TIMEOUT, read_frame(&mut stream)).await?;
    let mut reply = greet(kind, &body, answers);
    loop {
        let served = reply.is_ok();
        let frame = reply.unwrap_or_else(refusal);
        in_time(EXCHANGE_TIMEOUT, stream.write_all(&frame)).await?;
        if !served {
            return stream.close().await;
        }
        let (kind, _) = in_time(IDLE_TIMEOUT, read_frame(&mut stream)).await?;
        reply = answer(kind, answers);
    }
}

/// Checks the client's hello and answers with this node's.
fn greet(kind: Kind, body: &[u8], answers: &Answers) -> Result<Vec<u8>, String> {
    if kind != Kind::Hello {
        return Err("a connection begins with a hello".to_owned());
    }
    let hello = Hello::decode(body).map_err(|_| FrameError::Body.to_string())?;
    if hello.cluster != answers.record.cluster {
        return Err(format!("this node belongs to the cluster {}", answers.record.cluster_id()));
    }
    if hello.purpose != PURPOSE_CONTROL {
        return Err(format!("connections of purpose {} are not known here", hello.purpose));
    }
    let own = Hello {
        cluster: answers.record.cluster.clone(),
        node: answers.record.node.clone(),
        purpose: PURPOSE_CONTROL,
        cores: u32::from(answers.board.cores()),
    };
    Ok(encode(Kind::Hello, &own))
}

/// Bodies of calls are empty for now; fields that a newer client sends are skipped.
fn answer(kind: Kind, answers: &Answers) -> Result<Vec<u8>, String> {
    match kind {
        Kind::Status => Ok(encode(Kind::StatusReply, &status::gather(&answers.record, &answers.board))),
        Kind::Metrics => {
            Ok(encode(Kind::MetricsReply, &MetricsReply { text: metrics::render(&answers.board) }))
        }
        Kind::Hello | Kind::Refusal | Kind::StatusReply | Kind::MetricsReply => {
            Err(format!("a message of kind {} is not a call", kind as u16))
        }
    }
}

fn refusal(message: String) -> Vec<u8> {
    encode(Kind::Refusal, &Refusal { message })
}

async fn read_frame(stream: &mut Stream) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; HEAD_BYTES];
    read_exact(stream, &mut head).await?;
    let head = decode_head(head, CALL_BYTES_MAX).map_err(bad)?;
    let mut body = vec![0; head.length];
    read_exact(stream, &mut body).await?;
    head.check(&body).map_err(bad)?;
    Ok((head.kind, body))
}

async fn read_exact(stream: &mut Stream, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        let read = stream.read(into).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into = &mut into[read..];
    }
    Ok(())
}

async fn in_time<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, future).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn bad(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
