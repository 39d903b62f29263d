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

/// The value whose bytes, or whose range of bytes, an answer has.
///
/// # Errors
/// They are no value's bytes.
pub fn read(
    values: &Values,
    key: &str,
    answer: &Answer,
    range: Option<(usize, usize)>,
) -> Result<ValueId, String> {
    let id = shown(values, key, answer)?;
    let whole = values.get(id).contents.bytes();
    let (from, to) = range.unwrap_or((0, whole.len()));
    let wanted = &whole[from.min(whole.len())..to.min(whole.len())];
    if answer.body[..] != *wanted {
        let at = answer.body.iter().zip(wanted).position(|(a, b)| a != b);
        return Err(format!(
            "wrong bytes: {key:?} range {range:?} of {} bytes, {} bytes came, the first wrong one at {at:?}",
            whole.len(),
            answer.body.len()
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
