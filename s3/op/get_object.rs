//! GetObject and HeadObject (AWS, "GetObject", "HeadObject").

use std::sync::Arc;

use engine::peer::Located;
use raft::command::Selector;
use raft::metadata::Resolved;
use raft::record::{Bytes16, ObjectHeaders, VersionRecord};

use super::{Exchange, ObjectStream, Reclaimed, headers, no_such_bucket};
use crate::checksum;
use crate::condition::{Conditions, if_range_holds};
use crate::conn::{Reply, ReplyBody};
use crate::error::{Code, S3Error, S3Result};
use crate::http::head::RequestHead;
use crate::http::response::ResponseHead;
use crate::meta::{self, Overrides};
use crate::part_number::PartNumber;
use crate::range::{ByteRange, Extent};
use crate::time::http_date_string;
use crate::uri::Query;

/// Answers GetObject.
pub(super) async fn get(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let read = Read::parse(ex.head)?;
    let mut reclaimed = Reclaimed::default();
    loop {
        let (version, located) = find(ex, &read.version, true).await?;
        let selection = read.select(&version)?;
        let mut reply = read.describe(&version, &selection);
        if selection.length == 0 {
            return Ok(reply);
        }
        let range = selection.offset..selection.offset + selection.length;
        let bytes = &ex.service.bytes;
        let opened = ObjectStream::open(bytes, ex.holder, &mut reclaimed, version, located, range);
        if let Some(stream) = opened.await? {
            reply.body = ReplyBody::Object(selection.length, Box::new(stream));
            return Ok(reply);
        }
    }
}

/// Answers HeadObject: like GetObject, but without the body.
pub(super) async fn head(ex: &mut Exchange<'_, '_>) -> S3Result<Reply> {
    let read = Read::parse(ex.head)?;
    let (version, _) = find(ex, &read.version, false).await?;
    let selection = read.select(&version)?;
    let mut reply = read.describe(&version, &selection);
    reply.lines().number("Content-Length", selection.length);
    Ok(reply)
}

/// The version that the request names, which must exist.
pub(super) async fn existing_object(ex: &Exchange<'_, '_>) -> S3Result<Arc<VersionRecord>> {
    Ok(find(ex, &version_selector(ex.head.query())?, false).await?.0)
}

/// The version that the request names, and the location of its bytes if that is requested and known.
async fn find(
    ex: &Exchange<'_, '_>,
    version: &Option<Selector>,
    with_bytes: bool,
) -> S3Result<(Arc<VersionRecord>, Option<Located>)> {
    let (bucket, key) = (ex.bucket()?, ex.key()?);
    let selector = version.clone().unwrap_or(Selector::Current(true));
    let metadata = &ex.service.metadata;
    let Resolved { version: found, located } = if with_bytes {
        metadata.resolve_located(bucket, key, selector).await?
    } else {
        Resolved { version: metadata.resolve(bucket, key, selector).await?, located: None }
    };
    match found {
        Some(marker) if marker.is_delete_marker() => Err(deleted(key, &marker, version.is_some())),
        Some(version) => Ok((version, located)),
        None if metadata.bucket(bucket).await?.is_none() => Err(no_such_bucket(bucket)),
        None if version.is_some() => Err(Code::NoSuchVersion.field("Key", key)),
        None => Err(Code::NoSuchKey.field("Key", key)),
    }
}

/// The error for a read that finds a delete marker (AWS, "Working with delete markers").
fn deleted(key: &str, marker: &VersionRecord, by_version: bool) -> S3Error {
    let error = match by_version {
        true => S3Error::from(Code::MethodNotAllowed)
            .header("Allow", "DELETE")
            .header("Last-Modified", http_date_string(marker.modified_ms / 1000)),
        false => Code::NoSuchKey.field("Key", key),
    };
    let error = error.header("x-amz-delete-marker", "true");
    match marker.null_version {
        true => error,
        false => error.header("x-amz-version-id", marker.version_id.to_hex()),
    }
}

/// The `versionId` of a query, if any.
pub(super) fn version_selector(query: Query<'_>) -> S3Result<Option<Selector>> {
    query.get("versionId")?.map(|text| parse_version_id(&text)).transpose()
}

/// Parses a version id: `null`, or 32 hexadecimal digits.
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

/// The parameters of a GET or HEAD. All of them are parsed, and refused if invalid, before the key is looked up.
struct Read<'h> {
    head: &'h RequestHead,
    version: Option<Selector>,
    part: Option<PartNumber>,
    range: Option<ByteRange>,
    conditions: Conditions,
    overrides: Overrides<'h>,
}

/// The bytes of an object to send.
struct Selection {
    offset: u64,
    length: u64,
    /// A part or a range was requested.
    partial: bool,
    /// The number of the part, if the bytes are a part of a multipart object.
    part: Option<u32>,
}

impl<'h> Read<'h> {
    fn parse(head: &'h RequestHead) -> S3Result<Read<'h>> {
        let query = head.query();
        let part = query.get("partNumber")?.map(|text| PartNumber::parse(&text)).transpose()?;
        let mut ranges = head.header_all("range");
        let range = ranges.next();
        if part.is_some() && range.is_some() {
            return Err(
                Code::InvalidRequest.with("Cannot specify both Range header and partNumber query parameter")
            );
        }
        Ok(Read {
            head,
            version: version_selector(query)?,
            part,
            // Several ranges are ignored even if they are on separate lines.
            range: range.filter(|_| ranges.next().is_none()).and_then(ByteRange::parse),
            conditions: Conditions::from_head(head),
            overrides: Overrides::from_query(query)?,
        })
    }

    /// Checks the conditions, then selects the requested bytes.
    fn select(&self, version: &VersionRecord) -> S3Result<Selection> {
        if self.conditions != Conditions::default() {
            self.conditions.check_read(&version.etag(), version.modified_ms).map_err(|error| match error
                .code()
            {
                Code::NotModified => self.not_modified(error, version),
                _ => error,
            })?;
        }
        if let Some(number) = self.part {
            return select_part(version, number.into());
        }
        let holds = |_: &ByteRange| if_range_holds(self.head, &version.etag(), version.modified_ms);
        match self.range.filter(holds) {
            None => Ok(Selection { offset: 0, length: version.size, partial: false, part: None }),
            Some(range) => {
                let Extent { start, length } = range.resolve(version.size)?;
                Ok(Selection { offset: start, length, partial: true, part: None })
            }
        }
    }

    /// Adds to a 304 those headers of the corresponding 200 that caches use (RFC 9110, 15.4.5). Vary is none of them: no
    /// reply depends on headers that caches would have to compare.
    fn not_modified(&self, error: S3Error, version: &VersionRecord) -> S3Error {
        let mut error = error
            .header("ETag", format!("\"{}\"", version.etag()))
            .header("Last-Modified", http_date_string(version.modified_ms / 1000));
        if !version.null_version {
            error = error.header("x-amz-version-id", version.version_id.to_hex());
        }
        let none = ObjectHeaders::default();
        let stored = version.headers.as_ref().unwrap_or(&none);
        for (name, value) in meta::system_headers(stored, &self.overrides) {
            if matches!(name, "Cache-Control" | "Expires") {
                error = error.header(name, value);
            }
        }
        error
    }

    /// The status and headers for an object.
    fn describe(&self, version: &VersionRecord, selection: &Selection) -> Reply {
        // A 206 must state its range, and an empty range cannot be expressed.
        let partial = selection.partial && selection.length > 0;
        let mut reply = Reply::empty(if partial { 206 } else { 200 });
        let mut lines = reply.lines();
        lines.etag(&version.etag()).last_modified(version.modified_ms).header("Accept-Ranges", "bytes");
        if partial {
            let last = selection.offset + selection.length - 1;
            let total = if engine::canary!("range-of-itself") { selection.length } else { version.size };
            lines.header("Content-Range", format!("bytes {}-{last}/{total}", selection.offset));
        }
        headers::write_version_id(&mut lines, version);
        if selection.part.is_some() {
            lines.number("x-amz-mp-parts-count", u64::from(version.part_count));
        }
        let none = ObjectHeaders::default();
        let stored = version.headers.as_ref().unwrap_or(&none);
        meta::write_headers(stored, &self.overrides, &mut lines);
        if let Some(class) = &version.storage_class {
            lines.header("x-amz-storage-class", class);
        }
        write_checksum(&mut lines, self.head, version, selection);
        reply
    }
}

/// The bytes of the part that was uploaded with this number. An object from a single PUT is its own part 1.
fn select_part(version: &VersionRecord, number: u32) -> S3Result<Selection> {
    if version.part_count == 0 && number == 1 {
        return Ok(Selection { offset: 0, length: version.size, partial: true, part: None });
    }
    let mut offset = 0;
    for blob in &version.blobs {
        if blob.part_number == number {
            return Ok(Selection { offset, length: blob.size, partial: true, part: Some(number) });
        }
        offset += blob.size;
    }
    Err(Code::InvalidPartNumber
        .field("PartNumberRequested", number.to_string())
        .field("ActualPartCount", version.part_count.max(1).to_string()))
}

/// Writes the stored checksum if the client asked for it: of the whole object, or of the part that is read.
fn write_checksum(
    lines: &mut ResponseHead<'_>,
    head: &RequestHead,
    version: &VersionRecord,
    selection: &Selection,
) {
    let enabled =
        head.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case(b"enabled"));
    if !enabled {
        return;
    }
    let Some(whole) = headers::checksum_of(version) else { return };
    let part = selection
        .part
        .and_then(|number| version.blobs.iter().find(|blob| blob.part_number == number))
        .map(|blob| &blob.checksum);
    let text = match part {
        Some(value) if value.is_empty() => return,
        Some(value) => checksum::base64_encode(value),
        // The checksum of the whole does not apply to a range.
        None if selection.partial && selection.length != version.size => return,
        None => whole.text,
    };
    lines
        .header(checksum::header(whole.algorithm), text)
        .header("x-amz-checksum-type", checksum::type_name(whole.kind));
}
