//! HTTP/1.1 (RFC 9112) without I/O: request heads in, response heads out, chunked bodies decoded.

pub mod chunked;
pub mod head;
pub mod preamble;
pub mod response;

use std::ops::Range;

/// What a body decoder made of the bytes it was given. Every variant says how many of them it consumed, from
/// the front; the rest is to be given again with the next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes of the input are content; everything up to the range's end is consumed.
    Data(Range<usize>),
    /// A signed chunk ended: check it before the next call (aws-chunked with signatures only).
    ChunkEnd(usize),
    /// All of the input is consumed and more is needed.
    NeedMore,
    /// The body is complete, trailers included.
    Done(usize),
}

impl Step {
    /// How much of an input of `given` bytes is consumed.
    pub fn consumed(&self, given: usize) -> usize {
        match self {
            Step::Data(range) => range.end,
            Step::ChunkEnd(used) | Step::Done(used) => *used,
            Step::NeedMore => given,
        }
    }
}

/// Collects one line that may arrive in pieces, within a bound.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes up to and with the next LF; none where all of `input` was taken without one. A line longer
    /// than `max` bytes, or with a CR inside, is an error.
    pub(crate) fn take<'a>(&'a mut self, input: &'a [u8], max: usize) -> Result<Option<Line<'a>>, LineError> {
        let Some(at) = memchr::memchr(b'\n', &input[..input.len().min(max + 1)]) else {
            if self.partial.len() + input.len() > max {
                return Err(LineError);
            }
            self.partial.extend_from_slice(input);
            return Ok(None);
        };
        let line = if self.partial.is_empty() {
            &input[..at]
        } else {
            if self.partial.len() + at > max {
                return Err(LineError);
            }
            self.partial.extend_from_slice(&input[..at]);
            self.partial.as_slice()
        };
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        match memchr::memchr(b'\r', text) {
            Some(_) => Err(LineError),
            None => Ok(Some(Line { text, bare_lf: text.len() == line.len(), used: at + 1 })),
        }
    }

    /// Forgets the line that was taken.
    pub(crate) fn clear(&mut self) {
        self.partial.clear();
    }
}

/// One line of framing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Without its end.
    pub(crate) text: &'a [u8],
    /// It ends in LF alone, which almost every place has to refuse.
    pub(crate) bare_lf: bool,
    /// Bytes of the input that it took, its end included.
    pub(crate) used: usize,
}

/// A line too long, or with a stray CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineError;
