//! Every value that a reader sees was written by some client, and every byte of it is as written. Together with the
//! histories (`linearizability.rs`) this implies that nothing acknowledged is missing, and that what was not
//! acknowledged exists wholly or not at all: a value is its ETag, and an ETag stands for all its bytes.

use crate::client::Answer;
use crate::value::{ValueId, Values};

/// The value that an answer shows.
///
/// # Errors
/// No client wrote it.
fn shown(values: &Values, key: &str, answer: &Answer) -> Result<ValueId, String> {
    let etag = answer.header("etag").unwrap_or_default();
    values.by_etag(etag).ok_or_else(|| format!("{key:?} was shown with the ETag {etag}, which no value has"))
}

/// The part of an object that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// All of it.
    All,
    /// From one byte up to another, exclusively.
    Between(usize, usize),
    /// From a byte to the end.
    From(usize),
    /// That many bytes at its end.
    Last(usize),
}

impl Span {
    /// The range header that asks for it.
    pub fn header(self) -> String {
        match self {
            Span::All => "bytes=0-".to_owned(),
            Span::Between(from, to) => format!("bytes={from}-{}", to - 1),
            Span::From(from) => format!("bytes={from}-"),
            Span::Last(count) => format!("bytes=-{count}"),
        }
    }

    /// The length of the longest object that has no byte of it, and for which it is refused.
    pub fn misses_up_to(self) -> Option<usize> {
        match self {
            Span::All | Span::Last(_) => None,
            Span::Between(from, _) | Span::From(from) => Some(from),
        }
    }

    /// Whether an object of this length is shown whole, although a part is asked for: an empty one, for its end.
    pub fn shows_all_of(self, length: usize) -> bool {
        matches!(self, Span::Last(_)) && length == 0
    }

    fn of(self, length: usize) -> (usize, usize) {
        match self {
            Span::All => (0, length),
            Span::Between(from, to) => (from.min(length), to.min(length)),
            Span::From(from) => (from.min(length), length),
            Span::Last(count) => (length - count.min(length), length),
        }
    }
}

/// The value that an answer shows, whose bytes it must have.
///
/// # Errors
/// They are no value's bytes.
pub fn read(values: &Values, key: &str, answer: &Answer, span: Span) -> Result<ValueId, String> {
    let id = shown(values, key, answer)?;
    let whole = values.get(id).contents.bytes();
    let (from, to) = span.of(whole.len());
    let wanted = &whole[from..to];
    if answer.body[..] != *wanted {
        let at = answer.body.iter().zip(wanted).position(|(a, b)| a != b);
        return Err(format!(
            "wrong bytes: {key:?} {span:?} of {} bytes, {} bytes came, the first wrong one at {at:?}",
            whole.len(),
            answer.body.len()
        ));
    }
    let place = (span != Span::All).then(|| format!("bytes {from}-{}/{}", to.wrapping_sub(1), whole.len()));
    if answer.header("content-range") != place.as_deref() {
        return Err(format!(
            "{key:?} {span:?} of {} bytes was answered as {:?}",
            whole.len(),
            answer.header("content-range")
        ));
    }
    Ok(id)
}

/// The value that the answer to a HEAD describes.
///
/// # Errors
/// There is no such value.
pub fn described(values: &Values, key: &str, answer: &Answer) -> Result<ValueId, String> {
    let id = shown(values, key, answer)?;
    let length = values.get(id).contents.len().to_string();
    if answer.header("content-length") != Some(&length) {
        return Err(format!("HEAD of {key:?} shows {} of another length", values.get(id).etag));
    }
    Ok(id)
}

/// Checks that an answer acknowledges the bytes that have this ETag.
///
/// # Errors
/// It acknowledges other bytes.
pub fn acknowledged(key: &str, etag: &str, answer: &Answer) -> Result<(), String> {
    let shown = answer.header("etag").unwrap_or_default();
    if shown != format!("\"{etag}\"") {
        return Err(format!("PUT of {key:?} was answered with the ETag {shown}"));
    }
    Ok(())
}
