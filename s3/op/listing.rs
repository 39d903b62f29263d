//! What the lists are asked alike.

use std::borrow::Cow;

use raft::metadata::ListQuery;

use crate::error::{Code, S3Result};
use crate::limits::LIST_KEYS_MAX;
use crate::uri::Query;
use crate::xml::list;
use crate::xml::write::is_xml_char;

/// What a list of a bucket's keys is asked.
pub(super) struct Asked<'a> {
    prefix: Cow<'a, str>,
    delimiter: Option<Cow<'a, str>>,
    max: u32,
    url: bool,
}

impl<'a> Asked<'a> {
    /// Reads it; `max` is the name of the parameter that limits a page.
    pub(super) fn read(query: &Query<'a>, max: &str) -> S3Result<Asked<'a>> {
        Ok(Asked {
            prefix: query.get("prefix")?.unwrap_or_default(),
            delimiter: query.get("delimiter")?.filter(|delimiter| !delimiter.is_empty()),
            max: limit(query, max, LIST_KEYS_MAX)?,
            url: url_encoding(query)?,
        })
    }

    /// As metadata is asked for the page after `marker`.
    pub(super) fn query(&self, bucket: &str, marker: &str) -> ListQuery {
        ListQuery {
            bucket: bucket.to_owned(),
            prefix: self.prefix.clone().into_owned(),
            delimiter: self.delimiter.clone().map(Cow::into_owned),
            marker: marker.to_owned(),
            max: self.max as usize,
        }
    }

    /// Refuses a page whose end the client could not tell: XML can't hold the marker of the next page, and another one
    /// in its place would leave keys out.
    pub(super) fn check_next_marker(&self, next: Option<&str>) -> S3Result<()> {
        match next {
            Some(next) if !self.url && !next.chars().all(is_xml_char) => Err(Code::InvalidArgument
                .with("The page ends at a key that XML 1.0 cannot hold. List this bucket with encoding-type=url.")
                .field("ArgumentName", "encoding-type")),
            _ => Ok(()),
        }
    }

    /// As the answer repeats it.
    pub(super) fn told<'t>(&'t self, bucket: &'t str) -> list::Asked<'t> {
        list::Asked {
            bucket,
            prefix: &self.prefix,
            delimiter: self.delimiter.as_deref(),
            max: self.max,
            url: self.url,
        }
    }
}

/// The `max-…` parameter of a list: a number, cut to what a page may hold.
pub(super) fn limit(query: &Query<'_>, name: &str, most: u32) -> S3Result<u32> {
    let Some(text) = query.get(name)?.filter(|text| !text.is_empty()) else { return Ok(most) };
    match text.parse::<i64>() {
        Ok(number) if (0..=i64::from(i32::MAX)).contains(&number) => Ok((number as u32).min(most)),
        _ => Err(Code::InvalidArgument
            .with(format!("Argument {name} must be an integer between 0 and 2147483647"))
            .field("ArgumentName", name)
            .field("ArgumentValue", text)),
    }
}

/// Whether `encoding-type=url` is asked for.
pub(super) fn url_encoding(query: &Query<'_>) -> S3Result<bool> {
    match query.get("encoding-type")?.as_deref() {
        None | Some("") => Ok(false),
        Some("url") => Ok(true),
        Some(_) => Err(Code::InvalidArgument.with("Invalid Encoding Method specified in Request")),
    }
}

/// A continuation token: where the next page starts, opaque to clients.
pub(super) fn write_token(marker: &str) -> String {
    crate::checksum::base64_encode(marker.as_bytes())
}

/// Where the page of a continuation token starts.
pub(super) fn read_token(token: &str) -> S3Result<String> {
    crate::checksum::base64_decode(token.as_bytes())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|marker| !marker.is_empty())
        .ok_or_else(|| {
            Code::InvalidArgument
                .with("The continuation token provided is incorrect")
                .field("ArgumentName", "continuation-token")
        })
}
