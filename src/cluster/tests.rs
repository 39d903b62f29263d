use super::client::call_at;
use super::server::{Answers, serve_cluster};
use super::*;
use crate::data_dir::DataDir;
use crate::error::Result;
use crate::identity::{self, Founding, Identity};
use crate::metrics::{Board, CoreStats};
use crate::status::Status;
use crate::tls;
use engine::io::{Listener, block_on, spawn, spawn_thread};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::rc::Rc;

fn found(name: &str) -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let founding = Founding {
        listen: "127.0.0.1:0".parse().unwrap(),
        cluster_name: name.into(),
        node_name: "n".into(),
        host: "h".into(),
        zone: "z".into(),
        capacity_bytes: Some(1),
    };
    identity::init(&DataDir::lock(dir.path()).unwrap(), &founding).unwrap();
    let identity = identity::load(dir.path()).unwrap();
    (dir, identity)
}

/// Serves `served` while `client` runs on another thread.
fn with_server<T: Send + 'static>(
    served: &Identity,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let board = Board::new(1);
    board.publish(0, CoreStats { bytes_in: 77, ..CoreStats::default() });
    let tls = tls::cluster_server(served).unwrap();
    let answers = Answers { record: served.record.clone(), board };
    block_on(async move {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        drop(spawn(serve_cluster(listener, tls, Rc::new(answers))));
        let (done, result) = flume::bounded(1);
        let _thread = spawn_thread("client", move || drop(done.send(client(address)))).unwrap();
        result.recv_async().await.unwrap()
    })
    .unwrap()
}

#[test]
fn status_and_metrics_travel_over_mutual_tls() {
    let (dir, served) = found("c");
    let loaded = identity::load(dir.path()).unwrap();
    let (status, metrics): (Result<Status>, Result<MetricsReply>) = with_server(&served, move |address| {
        let status = call_at(&loaded, address, Kind::Status, Kind::StatusReply);
        (status, call_at(&loaded, address, Kind::Metrics, Kind::MetricsReply))
    });
    assert_eq!(status.unwrap().cluster_name, "c");
    assert!(metrics.unwrap().text.contains("hamster_received_bytes_total{core=\"0\"} 77"));
}

#[test]
fn a_node_of_another_cluster_is_refused_in_the_handshake() {
    let (_dir, served) = found("one");
    let (_other_dir, mut stranger) = found("two");
    let refused: Result<Status> =
        with_server(&served, move |address| call_at(&stranger, address, Kind::Status, Kind::StatusReply));
    assert!(refused.unwrap_err().to_string().contains("certificate"));

    // It trusts the served cluster and knows its ids, but has no certificate from it.
    let (_dir, served) = found("one");
    let (_other_dir, other) = found("two");
    stranger = other;
    stranger.ca_certificate.clone_from(&served.ca_certificate);
    stranger.record = served.record.clone();
    let refused: Result<Status> =
        with_server(&served, move |address| call_at(&stranger, address, Kind::Status, Kind::StatusReply));
    assert!(refused.is_err());
}

#[test]
fn a_hello_of_another_cluster_is_refused_by_name() {
    let (dir, served) = found("one");
    let mut mistaken = identity::load(dir.path()).unwrap();
    mistaken.record.cluster = vec![9; 16];
    let refused: Result<Status> =
        with_server(&served, move |address| call_at(&mistaken, address, Kind::Status, Kind::StatusReply));
    assert!(refused.unwrap_err().to_string().contains("belongs to the cluster"));
}

#[test]
fn the_bytes_on_the_wire_stay_what_they_were() {
    let hello = Hello { cluster: vec![1, 2], node: vec![3], purpose: PURPOSE_CONTROL, cores: 2 };
    let frame = encode(Kind::Hello, &hello);
    let sum = hex::encode(&frame[12..16]);
    assert_eq!(
        hex::encode(&frame),
        format!("484d4350010001000b000000{sum}0a0201021201031801 2002").replace(' ', "")
    );
}

#[test]
fn a_head_is_refused_before_memory_is_taken() {
    let mut frame: [u8; HEAD_BYTES] = encode(Kind::Status, &())[..].try_into().unwrap();
    frame[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_head(frame, CALL_BYTES_MAX), Err(FrameError::TooLong(u32::MAX)));
    frame[6] = 99;
    assert_eq!(decode_head(frame, CALL_BYTES_MAX), Err(FrameError::Kind(99)));
    frame[4] = 2;
    assert_eq!(decode_head(frame, CALL_BYTES_MAX), Err(FrameError::Version(2)));
    frame[0] = 0;
    assert_eq!(decode_head(frame, CALL_BYTES_MAX), Err(FrameError::Magic));
}

proptest! {
    #[test]
    fn a_frame_reads_back_and_a_flipped_bit_is_seen(text in ".{0,60}", at: prop::sample::Index, bit in 0u8..8) {
        let message = Refusal { message: text };
        let mut frame = encode(Kind::Refusal, &message);
        let read = |frame: &[u8]| {
            let head = decode_head(frame[..HEAD_BYTES].try_into().unwrap(), CALL_BYTES_MAX)?;
            let body = frame.get(HEAD_BYTES..HEAD_BYTES + head.length).ok_or(FrameError::Body)?;
            head.check(body)?;
            <Refusal as prost::Message>::decode(body).map_err(|_| FrameError::Body)
        };
        prop_assert_eq!(read(&frame), Ok(message));
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        prop_assert!(read(&frame).is_err());
    }
}
