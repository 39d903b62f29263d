//! GetObjectAttributes (AWS, "GetObjectAttributes"): what the record of an object says, without its bytes and headers.

use super::get_object::existing_object;
use super::{Exchange, headers};
use crate::conn::Reply;
use crate::error::{Code, S3Error, S3Result};
use crate::http::head::RequestHead;
use crate::limits::LIST_KEYS_MAX;
use crate::xml::object::{Attributes, attributes};

/// Answers GetObjectAttributes.
pub(super) async fn get(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let wanted = Attributes {
        marker: number(ex.head, "x-amz-part-number-marker")?.unwrap_or(0),
        max_parts: number(ex.head, "x-amz-max-parts")?.unwrap_or(LIST_KEYS_MAX).min(LIST_KEYS_MAX),
        ..parse_names(ex.head)?
    };
    let version = existing_object(ex).await?;
    let checksum = headers::checksum_of(&version);
    let mut reply = Reply::xml(|out| attributes(&version, checksum.as_ref(), &wanted, out));
    let mut lines = reply.lines();
    lines.last_modified(version.modified_ms);
    headers::write_version_id(&mut lines, &version);
    Ok(reply)
}

/// Parses `x-amz-object-attributes`, a list of names that may span several lines.
fn parse_names(head: &RequestHead) -> S3Result<Attributes> {
    const HEADER: &str = "x-amz-object-attributes";
    let mut wanted = Attributes::default();
    let mut is_empty = true;
    for name in head.header_all(HEADER).flat_map(|line| line.split(|byte| *byte == b',')) {
        match name.trim_ascii() {
            b"" => continue,
            b"ETag" => wanted.etag = true,
            b"Checksum" => wanted.checksum = true,
            b"ObjectParts" => wanted.parts = true,
            b"StorageClass" => wanted.storage_class = true,
            b"ObjectSize" => wanted.size = true,
            name => return Err(invalid("Invalid attribute name specified.", HEADER, name)),
        }
        is_empty = false;
    }
    if is_empty {
        return Err(Code::InvalidRequest.with(format!(
            "The {HEADER} header specifying the attributes to be retrieved is either missing or empty"
        )));
    }
    Ok(wanted)
}

/// Parses a header that contains a number of parts or a part number.
fn number(head: &RequestHead, name: &'static str) -> S3Result<Option<u32>> {
    let Some(text) = head.header(name) else { return Ok(None) };
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i32>().ok());
    match number.and_then(|number| u32::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid("The value must be an integer between 0 and 2147483647", name, text)),
    }
}

fn invalid(message: &str, header: &'static str, value: &[u8]) -> S3Error {
    Code::InvalidArgument
        .with(message)
        .field("ArgumentName", header)
        .field("ArgumentValue", String::from_utf8_lossy(value))
}
