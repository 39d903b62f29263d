//! GetObject and HeadObject (AWS, "GetObject", "HeadObject").

use std::sync::Arc;

use raft::command::Selector;
use raft::metadata::Resolved;
use raft::record::{Bytes16, ObjectHeaders, VersionRecord};

use super::{Exchange, Gone, ObjectStream, headers, no_such_bucket};
use crate::checksum;
use crate::condition::Conditions;
use crate::conn::{Reply, ReplyBody};
use crate::error::{Code, S3Result};
use crate::http::response::ResponseHead;
use crate::meta::{self, Overrides};
use crate::range::{ByteRange, Extent};

/// Answers GetObject.
pub(super) async fn get(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let mut gone = Gone::default();
    loop {
        let (version, resolved) = find(ex, true).await?;
        let selection = match select(ex, &version)? {
            Ok(selection) => selection,
            Err(not_modified) => return Ok(not_modified),
        };
        let mut reply = describe(ex, &version, &selection)?;
        let range = selection.offset..selection.offset + selection.length;
        let opened =
            ObjectStream::open(&ex.service.bytes, &mut gone, version, resolved.located, range).await?;
        if let Some(stream) = opened {
            reply.body = ReplyBody::Object(selection.length, Box::new(stream));
            return Ok(reply);
        }
    }
}

/// Answers HeadObject: a GetObject without its body.
pub(super) async fn head(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let (version, _) = find(ex, false).await?;
    match select(ex, &version)? {
        Err(not_modified) => Ok(not_modified),
        Ok(selection) => {
            let mut reply = describe(ex, &version, &selection)?;
            reply.lines().number("Content-Length", selection.length);
            Ok(reply)
        }
    }
}

/// The version that the request is about.
async fn find(ex: &Exchange<'_, '_>, with_bytes: bool) -> S3Result<(Arc<VersionRecord>, Resolved)> {
    let (bucket, key) = (ex.bucket()?, ex.key()?);
    let selector = version_selector(ex)?;
    let explicit = selector.is_some();
    let selector = selector.unwrap_or(Selector::Current(true));
    let metadata = &ex.service.metadata;
    let mut resolved = if with_bytes {
        metadata.resolve_located(bucket, key, selector).await?
    } else {
        Resolved { version: metadata.resolve(bucket, key, selector).await?, located: None }
    };
    match resolved.version.take() {
        Some(version) if version.is_delete_marker() && explicit => Err(Code::MethodNotAllowed.into()),
        Some(version) if !version.is_delete_marker() => Ok((version, resolved)),
        _ if ex.service.metadata.bucket(bucket).await?.is_none() => Err(no_such_bucket(bucket)),
        _ if explicit => Err(Code::NoSuchVersion.field("Key", key)),
        _ => Err(Code::NoSuchKey.field("Key", key)),
    }
}

/// The `versionId` of the request, if it has one.
pub(super) fn version_selector(ex: &Exchange<'_, '_>) -> S3Result<Option<Selector>> {
    let Some(text) = ex.head.query().get("versionId")? else { return Ok(None) };
    parse_version_id(&text).map(Some)
}

/// A version id as clients write it: `null`, or 32 hexadecimal digits.
pub(super) fn parse_version_id(text: &str) -> S3Result<Selector> {
    if text == "null" {
        return Ok(Selector::Null(true));
    }
    Bytes16::from_hex(text).map(Selector::Id).ok_or_else(|| {
        Code::InvalidArgument
            .with("Invalid version id specified")
            .field("ArgumentName", "versionId")
            .field("ArgumentValue", text)
    })
}

/// The part of an object that is to be sent.
struct Selection {
    offset: u64,
    length: u64,
    partial: bool,
    part_number: Option<u32>,
}

/// Checks conditions, then what is asked of the object. The inner error is a 304.
fn select(ex: &Exchange<'_, '_>, version: &VersionRecord) -> S3Result<Result<Selection, Reply>> {
    let conditions = Conditions::from_head(ex.head);
    if conditions != Conditions::default() {
        let etag = version.etag();
        match conditions.check_read(&etag, version.modified_ms) {
            Ok(()) => {}
            Err(error) if error.code() == Code::NotModified => {
                let mut reply = Reply::empty(304);
                reply.lines().etag(&etag).last_modified(version.modified_ms);
                return Ok(Err(reply));
            }
            Err(error) => return Err(error),
        }
    }
    let query = ex.head.query();
    let range = ex.head.header("range");
    if let Some(text) = query.get("partNumber")? {
        if range.is_some() {
            return Err(
                Code::InvalidRequest.with("Cannot specify both Range header and partNumber query parameter")
            );
        }
        return part_selection(version, &text).map(Ok);
    }
    let whole = Selection { offset: 0, length: version.size, partial: false, part_number: None };
    match range.and_then(ByteRange::parse) {
        None => Ok(Ok(whole)),
        Some(range) => {
            let Extent { start, length } = range.of(version.size)?;
            Ok(Ok(Selection { offset: start, length, partial: true, part_number: None }))
        }
    }
}

fn part_selection(version: &VersionRecord, text: &str) -> S3Result<Selection> {
    let number: u32 =
        text.parse().ok().filter(|number| (1..=crate::limits::PART_NUMBER_MAX).contains(number)).ok_or_else(
            || Code::InvalidArgument.with("Part number must be an integer between 1 and 10000, inclusive"),
        )?;
    if version.part_count == 0 {
        return match number {
            1 => Ok(Selection { offset: 0, length: version.size, partial: true, part_number: None }),
            _ => Err(Code::InvalidPartNumber.into()),
        };
    }
    let mut offset = 0;
    for blob in &version.blobs {
        if blob.part_number == number {
            return Ok(Selection { offset, length: blob.size, partial: true, part_number: Some(number) });
        }
        offset += blob.size;
    }
    Err(Code::InvalidPartNumber.into())
}

/// Status and headers of an object.
fn describe(ex: &Exchange<'_, '_>, version: &VersionRecord, selection: &Selection) -> S3Result<Reply> {
    let mut reply = Reply::empty(if selection.partial { 206 } else { 200 });
    let mut lines = reply.lines();
    lines.etag(&version.etag()).last_modified(version.modified_ms).header("Accept-Ranges", "bytes");
    if selection.partial && version.size > 0 {
        let last = selection.offset + selection.length - 1;
        lines.header("Content-Range", format!("bytes {}-{last}/{}", selection.offset, version.size));
    }
    headers::write_version_id(&mut lines, version);
    if selection.part_number.is_some() {
        lines.number("x-amz-mp-parts-count", u64::from(version.part_count));
    }
    let none = ObjectHeaders::default();
    let overrides = Overrides::from_query(ex.head.query())?;
    meta::write_headers(version.headers.as_ref().unwrap_or(&none), &overrides, &mut lines);
    write_checksum(&mut lines, ex, version, selection);
    Ok(reply)
}

/// The stored checksum, for clients that ask for it: of the whole object, or of the part that is read.
fn write_checksum(
    lines: &mut ResponseHead<'_>,
    ex: &Exchange<'_, '_>,
    version: &VersionRecord,
    selection: &Selection,
) {
    let enabled =
        ex.head.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case(b"enabled"));
    if !enabled {
        return;
    }
    let Some(whole) = headers::checksum_of(version) else { return };
    let part = selection
        .part_number
        .and_then(|number| version.blobs.iter().find(|blob| blob.part_number == number))
        .map(|blob| &blob.checksum);
    let text = match part {
        Some(value) if value.is_empty() => return,
        Some(value) => checksum::base64_encode(value),
        // The checksum of the whole says nothing of a range.
        None if selection.partial && selection.length != version.size => return,
        None => whole.text,
    };
    lines
        .header(checksum::header(whole.algorithm), text)
        .header("x-amz-checksum-type", checksum::type_name(whole.kind));
}
