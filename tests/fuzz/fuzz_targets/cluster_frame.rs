//! Frames of the cluster port, and the records in a node's files, which are framed in the same way: a head never
//! asks for more memory than its limit, what was encoded decodes, and a changed bit is always detected.
#![no_main]
#![allow(dead_code)]

use std::path::Path;

use hamster_fuzz::{Source, bounded, crc32c, put_u32};
use libfuzzer_sys::fuzz_target;
use prost::Message;

#[path = "../../../src/cluster/mod.rs"]
mod cluster;
#[path = "../../../src/error.rs"]
mod error;
#[path = "../../../src/record.rs"]
mod record;

use cluster::{
    CALL_BYTES_MAX, FrameError, HEAD_BYTES, Hello, Kind, MetricsReply, Refusal, decode_head, encode,
};

const KIND: record::Kind = record::Kind { tag: *b"fuzz", version: 3 };

/// A frame with its body, as a reader takes it from a stream.
fn read(bytes: &[u8]) -> Result<(Kind, &[u8]), FrameError> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(FrameError::Body)?;
    let head = decode_head(*head, CALL_BYTES_MAX)?;
    assert!(head.length <= CALL_BYTES_MAX);
    let body = rest.get(..head.length).ok_or(FrameError::Body)?;
    head.check(body).map(|()| (head.kind, body))
}

fn message<M: Message + Default + PartialEq>(kind: Kind, body: &[u8]) {
    let Ok(message) = bounded(16 * body.len() + 4096, || M::decode(body)) else { return };
    let frame = encode(kind, &message);
    if frame.len() > HEAD_BYTES + CALL_BYTES_MAX {
        return;
    }
    let (found, body) = read(&frame).expect("our own frame can be read");
    assert!(found == kind && M::decode(body).is_ok_and(|again| again == message));
    assert_eq!(crc32c(&[&frame[..12], body]).to_le_bytes(), frame[12..16]);
}

fn raw(mut frame: Vec<u8>, at: usize, bit: u8) {
    let _ = read(&frame);
    if frame.len() < HEAD_BYTES {
        return;
    }
    frame[..6].copy_from_slice(b"HMCP\x01\0");
    let body = frame.len() - HEAD_BYTES;
    put_u32(&mut frame, 8, body as u32);
    let sum = crc32c(&[&frame[..12], &frame[HEAD_BYTES..]]);
    put_u32(&mut frame, 12, sum);
    match read(&frame) {
        Ok((kind, found)) => assert!(found == &frame[HEAD_BYTES..] && kind as u16 == u16::from(frame[6])),
        Err(error) => assert!(matches!(error, FrameError::Kind(_) | FrameError::TooLong(_))),
    }
    let at = at % frame.len();
    frame[at] ^= 1 << bit;
    assert!(read(&frame).is_err());
}

fn file_record(mut bytes: Vec<u8>, at: usize, bit: u8) {
    let decode = |bytes: &[u8]| record::decode::<Hello>(KIND, bytes, Path::new("r"));
    let _ = decode(&bytes);
    if bytes.len() < 20 {
        return;
    }
    bytes[..8].copy_from_slice(b"HMSRfuzz");
    let body = bytes.len() - 20;
    put_u32(&mut bytes, 12, body as u32);
    let sum = crc32c(&[&bytes[..16], &bytes[20..]]);
    put_u32(&mut bytes, 16, sum);
    if let Ok(hello) = decode(&bytes) {
        assert!(decode(&record::encode(KIND, &hello)).is_ok_and(|again| again == hello));
    }
    let at = at % bytes.len();
    bytes[at] ^= 1 << bit;
    assert!(decode(&bytes).is_err());
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    let (choice, at, bit) = (source.byte(), usize::from(source.u16()), source.byte() % 8);
    let rest = source.rest();
    match choice % 5 {
        0 => message::<Hello>(Kind::Hello, rest),
        1 => message::<Refusal>(Kind::Refusal, rest),
        2 => message::<MetricsReply>(Kind::MetricsReply, rest),
        3 => raw(rest.to_vec(), at, bit),
        _ => file_record(rest.to_vec(), at, bit),
    }
});
