//! The decoder for `Transfer-Encoding: chunked` (RFC 9112, 7.1), incremental and strict.
//!
//! Content is never copied: the decoder says which bytes of its input are content. Lines end with CR LF, sizes are 1 to
//! 15 digits and nothing else, and extensions and trailers are skipped up to a limit. Anything else is refused: two
//! parsers that disagree on the end of a body are how requests get smuggled.

use super::{Line, LineBuffer, Step};
use crate::error::{Code, S3Error};

/// The longest chunk header, including its extension.
const LINE_BYTES_MAX: usize = 1024;
/// The most bytes of extensions and trailers of one body together.
const EXTRA_BYTES_MAX: usize = 16 * 1024;

/// The state of one chunked body.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    line: LineBuffer,
    /// Bytes of extensions and trailers so far.
    extra_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

fn malformed(what: &str) -> S3Error {
    Code::BadRequest.with(format!("The chunked transfer encoding is malformed: {what}."))
}

impl ChunkedDecoder {
    /// Creates a decoder for the start of a body.
    pub fn new() -> ChunkedDecoder {
        ChunkedDecoder::default()
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the next bytes; see [`Step`] for what is consumed. Never returns `ChunkEnd`.
    pub fn feed(&mut self, input: &[u8]) -> Result<Step, S3Error> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                State::Done => return Ok(Step::Done(at)),
                _ if rest.is_empty() => return Ok(Step::NeedMore),
                State::Data(left) => {
                    let len = left.min(rest.len() as u64);
                    self.state = if left == len { State::DataEnd } else { State::Data(left - len) };
                    return Ok(Step::Data(at..at + len as usize));
                }
                State::Size | State::DataEnd | State::Trailers => {
                    let max = if self.state == State::Trailers { EXTRA_BYTES_MAX } else { LINE_BYTES_MAX };
                    let unclear = || malformed("a line is too long or has no CR LF");
                    let line = match self.line.take(rest, max).map_err(|_| unclear())? {
                        None => return Ok(Step::NeedMore),
                        Some(Line { bare_lf: true, .. }) => return Err(unclear()),
                        Some(Line { text, used, .. }) => {
                            at += used;
                            text
                        }
                    };
                    let extra = match self.state {
                        State::Size => memchr::memchr(b';', line).map_or(0, |at| line.len() - at),
                        State::Trailers => line.len(),
                        _ => 0,
                    };
                    self.extra_bytes += extra;
                    if self.extra_bytes > EXTRA_BYTES_MAX {
                        return Err(malformed("its extensions and trailers are too large"));
                    }
                    self.state = match self.state {
                        State::Size => match size(&line[..line.len() - extra])? {
                            0 => State::Trailers,
                            size => State::Data(size),
                        },
                        State::DataEnd if line.is_empty() => State::Size,
                        State::DataEnd => return Err(malformed("a chunk is longer than its size")),
                        _ if line.is_empty() => State::Done,
                        state => state,
                    };
                    self.line.clear();
                }
            }
        }
    }
}

/// Parses the size in a chunk header, without the extension.
fn size(digits: &[u8]) -> Result<u64, S3Error> {
    hex_size(digits).ok_or_else(|| malformed("a chunk's size is not a hexadecimal number"))
}

/// Parses up to 15 hexadecimal digits: no sign, no prefix, no white space, and too few to overflow.
pub(crate) fn hex_size(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| Some(n << 4 | u64::from((*b as char).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes a body given in pieces; returns the content and the number of bytes left after its end.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), S3Error> {
        let mut decoder = ChunkedDecoder::new();
        let (mut content, mut left) = (Vec::new(), 0);
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() && !decoder.is_done() {
                let step = decoder.feed(piece)?;
                if let Step::Data(range) = &step {
                    content.extend_from_slice(&piece[range.clone()]);
                }
                piece = &piece[step.consumed(piece.len())..];
            }
            left += piece.len();
        }
        Ok((content, left, decoder.is_done()))
    }

    #[test]
    fn a_body_with_extension_and_trailer_decodes() {
        let body = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\nGET";
        assert_eq!(decode(&[body]).unwrap(), (b"hello world".to_vec(), 3, true));
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for body in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"x\r\n",
            b"\r\n",
            b"-1\r\n",
            b"+5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5\t\r\nhello\r\n",
            b"5 ;x\r\nhello\r\n",
            b"5_0\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"5\0\r\nhello\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n",
            b"5\r\nhello0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"10000000000000005\r\nhello\r\n",
            b"0000000000000005\r\nhello\r\n",
            b";x\r\n\r\n",
            b"5\rx\r\nhello\r\n",
            b"5;x\ry\r\nhello\r\n",
            b"5;x\nhello\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA: b\rc\r\n\r\n",
            b"0\n\n",
        ] {
            assert_eq!(
                decode(&[body]).unwrap_err().code(),
                Code::BadRequest,
                "{:?}",
                body.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn endless_lines_and_trailers_are_refused() {
        let line = [b'1'; 2000];
        assert!(decode(&[&line]).is_err());
        let mut body = b"0\r\n".to_vec();
        for _ in 0..2000 {
            body.extend_from_slice(b"name: value\r\n");
        }
        assert!(decode(&[&body]).is_err());
    }

    #[test]
    fn extensions_that_outweigh_the_content_are_refused() {
        let chunk = [b"1;", [b'x'; 1000].as_slice(), b"\r\nX\r\n"].concat();
        assert_eq!(decode(&[&chunk.repeat(16)]).unwrap().0, [b'X'; 16]);
        assert_eq!(decode(&[&chunk.repeat(17)]).unwrap_err().code(), Code::BadRequest);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_content(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in proptest::collection::vec(1usize..20, 1..60),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let mut pieces = Vec::new();
            let mut rest = body.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(decode(&pieces).unwrap(), (chunks.concat(), 0, true));
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[&bytes]);
        }
    }
}
