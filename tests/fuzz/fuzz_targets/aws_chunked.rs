//! aws-chunked bodies, signed and not, with and without trailers: in pieces they decode as they do whole, what a
//! plain signer framed decodes, and a signed body with a changed bit never passes as content.
#![no_main]

use hamster_fuzz::signing::{REGION, SECRET, TIMESTAMP, hmac, scope, sha256, signing_key};
use hamster_fuzz::{Source, bounded, pieces};
use libfuzzer_sys::fuzz_target;
use s3::error::S3Error;
use s3::http::Step;
use s3::http::head::RequestHead;
use s3::sigv4::PayloadMode;
use s3::sigv4::chunks::{AwsChunked, ChunkVerifier, Coding};
use s3::sigv4::keys::{Secret, SigningKey};
use sha2::{Digest, Sha256};

const SEED: [u8; 32] = [7; 32];

/// How a body is framed.
#[derive(Clone, Copy)]
struct Mode {
    signed: bool,
    trailer: bool,
    /// The trailer ends in LF, as minio-go sends it, and then in a CR LF of its own.
    lf: bool,
}

fn decoder(mode: Mode, length: usize) -> AwsChunked {
    let trailer = if mode.trailer { "x-amz-trailer: x-amz-checksum-crc32\r\n" } else { "" };
    let text =
        format!("PUT / HTTP/1.1\r\nHost: h\r\nx-amz-decoded-content-length: {length}\r\n{trailer}\r\n");
    let mut head = RequestHead::new();
    head.parse(text.as_bytes()).expect("a head").expect("whole");
    let key = SigningKey::derive(&Secret::new(SECRET), &TIMESTAMP[..8], REGION);
    let payload = if mode.signed {
        let chain = Box::new(ChunkVerifier::new(key, TIMESTAMP.as_bytes(), REGION, SEED));
        PayloadMode::SignedChunks { chain, trailer: mode.trailer }
    } else {
        PayloadMode::UnsignedTrailer
    };
    match Coding::of(payload, &head).expect("a decoder") {
        Coding::AwsChunked(decoder) => *decoder,
        Coding::Plain(_) => unreachable!("both modes are aws-chunked"),
    }
}

/// The result of a body: its content, which chunks passed, how much was left after it, and its trailers or its
/// error.
#[derive(Debug, PartialEq)]
struct Decoded {
    content: Vec<u8>,
    passed: Vec<bool>,
    left: usize,
    trailers: Result<Vec<(String, String)>, String>,
}

/// `past` says that content goes past the decoder where it can, as it does from a socket straight into its place.
fn decode(mode: Mode, length: usize, pieces: &[&[u8]], room: usize, past: bool) -> Decoded {
    let mut decoder = decoder(mode, length);
    let mut decoded = Decoded { content: Vec::new(), passed: Vec::new(), left: 0, trailers: Ok(Vec::new()) };
    let end = feed(&mut decoder, pieces, room, past, &mut decoded).and_then(|()| decoder.finish());
    assert_eq!(decoder.trailers().count(), 0, "trailers before they are verified");
    decoded.trailers = match end.and_then(|()| decoder.verify_end()) {
        Ok(()) => Ok(decoder.trailers().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()),
        Err(error) => Err(error.message().to_owned()),
    };
    decoded
}

fn feed(
    decoder: &mut AwsChunked,
    pieces: &[&[u8]],
    room: usize,
    past: bool,
    decoded: &mut Decoded,
) -> Result<(), S3Error> {
    let mut hash = Sha256::new();
    for mut piece in pieces.iter().copied() {
        loop {
            let count = usize::try_from(decoder.content_left()).unwrap_or(usize::MAX).min(piece.len());
            if past && count > 0 {
                let content;
                (content, piece) = piece.split_at(count);
                decoded.content.extend_from_slice(content);
                hash.update(content);
                decoder.passed(count as u64);
                continue;
            }
            let step = decoder.feed(piece, room)?;
            match &step {
                Step::Data(range) => {
                    assert!(range.len() <= room && !range.is_empty());
                    decoded.content.extend_from_slice(&piece[range.clone()]);
                    hash.update(&piece[range.clone()]);
                }
                Step::ChunkEnd(_) => {
                    let sum = std::mem::take(&mut hash).finalize().into();
                    decoded.passed.push(decoder.verify_chunk(&sum).is_ok());
                }
                Step::NeedMore => break,
                Step::Done(used) => {
                    decoded.left += piece.len() - used;
                    break;
                }
            }
            piece = &piece[step.consumed(piece.len())..];
        }
    }
    Ok(())
}

/// Whether a caller may believe the content: every chunk passed, and the body ends correctly.
fn believed(decoded: &Decoded) -> bool {
    decoded.trailers.is_ok() && decoded.passed.iter().all(|passed| *passed)
}

/// A body with `content` in chunks, by AWS's description.
fn framed(mode: Mode, content: &[u8], sizes: &[u8]) -> Vec<u8> {
    let key = signing_key();
    let mut previous = hex::encode(SEED);
    let mut sign = |kind: &str, rest: String| {
        let text = format!("AWS4-HMAC-SHA256-{kind}\n{TIMESTAMP}\n{}\n{previous}\n{rest}", scope());
        previous = hex::encode(hmac(&key, text.as_bytes()));
        previous.clone()
    };
    let mut body = Vec::new();
    let mut chunks = pieces(content, sizes);
    chunks.push(&[]);
    for chunk in chunks {
        body.extend(format!("{:x}", chunk.len()).into_bytes());
        if mode.signed {
            let signature = sign("PAYLOAD", format!("{}\n{}", sha256(b""), sha256(chunk)));
            body.extend(format!(";chunk-signature={signature}").into_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(chunk);
        body.extend_from_slice(if chunk.is_empty() { b"" } else { b"\r\n" });
    }
    if mode.trailer {
        body.extend_from_slice(b"x-amz-checksum-crc32:AAAAAA==");
        body.extend_from_slice(if mode.lf { b"\n\r\n" } else { b"\r\n" });
        if mode.signed {
            let signature = sign("TRAILER", sha256(b"x-amz-checksum-crc32:AAAAAA==\n"));
            body.extend(format!("x-amz-trailer-signature:{signature}\r\n").into_bytes());
        }
    }
    body.extend_from_slice(b"\r\n");
    body
}

/// Arbitrary bytes.
fn raw(mode: Mode, source: &mut Source<'_>) {
    let length = usize::from(source.u16());
    let (cuts, room) = (source.short(), usize::from(source.byte()) + 1);
    let body = source.rest();
    let whole = bounded(32 * body.len() + 16_384, || decode(mode, length, &[body], usize::MAX, false));
    assert_eq!(decode(mode, length, &pieces(body, cuts), room, cuts.len() % 2 == 1), whole);
    assert_eq!(decode(mode, length, &pieces(body, &[]), usize::MAX, false), whole, "byte by byte");
    if whole.trailers.is_ok() {
        assert_eq!(whole.content.len(), length, "another length than was announced");
        assert_eq!(whole.trailers.map_or(0, |trailers| trailers.len()), usize::from(mode.trailer));
    }
}

/// A good body, and the same with one byte changed.
fn made(mode: Mode, source: &mut Source<'_>) {
    let (sizes, cuts, room) = (source.short(), source.short(), usize::from(source.byte()) + 1);
    let (at, flip) = (usize::from(source.u16()), source.byte());
    let content = source.rest();
    let mut body = framed(mode, content, sizes);
    let decoded = decode(mode, content.len(), &pieces(&body, cuts), room, cuts.len() % 2 == 1);
    assert!(believed(&decoded) && decoded.left == 0, "a good body was refused: {:?}", decoded.trailers);
    assert_eq!(decoded.content, content);
    let at = at % body.len();
    body[at] ^= flip;
    let changed = decode(mode, content.len(), &[&body], usize::MAX, false);
    if mode.signed && believed(&changed) {
        assert_eq!(changed.content, decoded.content, "changed content was believed");
        assert_eq!(changed.trailers, decoded.trailers, "changed trailers were believed");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    let choice = source.byte();
    let mode = Mode { signed: choice & 1 == 1, trailer: choice & 2 == 2, lf: choice & 8 == 8 };
    if choice & 4 == 4 { raw(mode, &mut source) } else { made(mode, &mut source) }
});
