//! Chunked bodies: in pieces they decode as they do whole, and as a plain decoder decodes them.
#![no_main]

use hamster_fuzz::{Source, bounded, pieces};
use libfuzzer_sys::fuzz_target;
use s3::http::Step;
use s3::http::chunked::ChunkedDecoder;

/// The result of a body.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done { left: usize },
    NeedsMore,
    Refused,
}

fn decode(pieces: &[&[u8]]) -> (Vec<u8>, End) {
    let mut decoder = ChunkedDecoder::new();
    let (mut content, mut left) = (Vec::new(), 0);
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() && !decoder.is_done() {
            let Ok(step) = decoder.feed(piece) else { return (content, End::Refused) };
            if let Step::Data(range) = &step {
                assert!(!range.is_empty(), "a step without content");
                content.extend_from_slice(&piece[range.clone()]);
            }
            piece = &piece[step.consumed(piece.len())..];
        }
        left += piece.len();
    }
    (content, if decoder.is_done() { End::Done { left } } else { End::NeedsMore })
}

/// A line without its CR LF, of at most `max` bytes including its CR.
fn line<'a>(input: &mut Source<'a>, max: usize) -> Result<&'a [u8], End> {
    let Some(end) = input.0.iter().position(|byte| *byte == b'\n') else {
        return Err(if input.0.len() > max { End::Refused } else { End::NeedsMore });
    };
    if end > max {
        return Err(End::Refused);
    }
    let line = input.take(end + 1);
    let line = line.strip_suffix(b"\r\n").ok_or(End::Refused)?;
    if line.contains(&b'\r') { Err(End::Refused) } else { Ok(line) }
}

/// The plain decoder, over the whole body.
fn twin(body: &[u8], content: &mut Vec<u8>) -> Result<usize, End> {
    let mut input = Source(body);
    // Bytes of extensions and trailers.
    let mut extra = 0;
    loop {
        let head = line(&mut input, 1024)?;
        let digits = head.split(|byte| *byte == b';').next().unwrap_or_default();
        extra += head.len() - digits.len();
        if extra > 16 << 10 {
            return Err(End::Refused);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| End::Refused)?;
        if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(End::Refused);
        }
        let size = u64::from_str_radix(digits, 16).expect("digits");
        if size == 0 {
            break;
        }
        let found = input.take(usize::try_from(size).unwrap_or(usize::MAX));
        content.extend_from_slice(found);
        if (found.len() as u64) < size {
            return Err(End::NeedsMore);
        }
        if !line(&mut input, 1024)?.is_empty() {
            return Err(End::Refused);
        }
    }
    loop {
        let trailer = line(&mut input, 16 << 10)?;
        if trailer.is_empty() {
            return Ok(input.0.len());
        }
        extra += trailer.len();
        if extra > 16 << 10 {
            return Err(End::Refused);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    let cuts = source.short();
    let body = source.rest();
    // Content is reported by its place in the input; only a line is kept in memory.
    let whole = bounded(2 * body.len() + 4096, || decode(&[body]));
    assert_eq!(decode(&pieces(body, cuts)), whole);
    assert_eq!(decode(&pieces(body, &[])), whole, "byte by byte");
    let mut content = Vec::new();
    let end = twin(body, &mut content).map_or_else(|end| end, |left| End::Done { left });
    assert_eq!((content, end), whole);
});
