//! HTTP/1.1 (RFC 9112) without I/O: parses request heads, writes response heads, decodes chunked bodies.

pub mod chunked;
pub mod head;
pub mod preamble;
pub mod response;

use std::ops::Range;

/// The result of feeding a body decoder. Every variant says how many bytes it consumed from the front of the input; the
/// caller passes the rest again in the next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes of the input are content; everything up to the end of the range is consumed.
    Data(Range<usize>),
    /// A signed chunk ended: verify it before the next call (aws-chunked with signatures only).
    ChunkEnd(usize),
    /// All of the input is consumed, and more is needed.
    NeedMore,
    /// The body is complete, trailers included.
    Done(usize),
}

impl Step {
    /// How many bytes of an input of `given` bytes were consumed.
    pub fn consumed(&self, given: usize) -> usize {
        match self {
            Step::Data(range) => range.end,
            Step::ChunkEnd(used) | Step::Done(used) => *used,
            Step::NeedMore => given,
        }
    }
}

/// Collects one line that may arrive in pieces, up to a maximum length.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes up to and including the next LF; `None` if all of `input` was taken without finding one. A line
    /// longer than `max` bytes, or with a CR in it, is an error.
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

    /// Discards the line that was taken.
    pub(crate) fn clear(&mut self) {
        self.partial.clear();
    }
}

/// One line of framing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Without its line ending.
    pub(crate) text: &'a [u8],
    /// It ends in LF alone, which almost every caller has to refuse.
    pub(crate) bare_lf: bool,
    /// Bytes of the input that were consumed, including the line ending.
    pub(crate) used: usize,
}

/// The line is too long or has a stray CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineError;
