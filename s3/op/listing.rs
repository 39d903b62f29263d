//! The request parameters that all lists have in common.

use std::borrow::Cow;

use raft::metadata::ListQuery;

use crate::error::{Code, S3Result};
use crate::limits::LIST_KEYS_MAX;
use crate::uri::Query;
use crate::xml::list;
use crate::xml::write::is_xml_char;

/// The parameters of a list of the keys in a bucket.
pub(super) struct ListRequest<'a> {
    prefix: Cow<'a, str>,
    delimiter: Option<Cow<'a, str>>,
    max: u32,
    url: bool,
}

impl<'a> ListRequest<'a> {
    /// Parses the parameters. `max` is the name of the one that limits a page.
    pub(super) fn read(query: &Query<'a>, max: &str) -> S3Result<ListRequest<'a>> {
        Ok(ListRequest {
            prefix: query.get("prefix")?.unwrap_or_default(),
            delimiter: query.get("delimiter")?.filter(|delimiter| !delimiter.is_empty()),
            max: limit(query, max, LIST_KEYS_MAX)?,
            url: url_encoding(query)?,
        })
    }

    /// The metadata query for the page after `marker`.
    pub(super) fn query(&self, bucket: &str, marker: &str) -> ListQuery {
        ListQuery {
            bucket: bucket.to_owned(),
            prefix: self.prefix.clone().into_owned(),
            delimiter: self.delimiter.clone().map(Cow::into_owned),
            marker: marker.to_owned(),
            max: self.max as usize,
        }
    }

    /// Refuses a page whose end cannot be communicated to the client: XML cannot hold the marker of the next page, and
    /// any other marker would skip keys.
    pub(super) fn check_next_marker(&self, next: Option<&str>) -> S3Result<()> {
        match next {
            Some(next) if !self.url && !next.chars().all(is_xml_char) => Err(Code::InvalidArgument
                .with("The page ends at a key that XML 1.0 cannot hold. List this bucket with encoding-type=url.")
                .field("ArgumentName", "encoding-type")),
            _ => Ok(()),
        }
    }

    /// The parameters as the response echoes them.
    pub(super) fn echo<'e>(&'e self, bucket: &'e str) -> list::ListEcho<'e> {
        list::ListEcho {
            bucket,
            prefix: &self.prefix,
            delimiter: self.delimiter.as_deref(),
            max: self.max,
            url: self.url,
        }
    }
}

/// Parses the `max-…` parameter of a list: a number, capped at the maximum page size.
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

/// Whether `encoding-type=url` is requested.
pub(super) fn url_encoding(query: &Query<'_>) -> S3Result<bool> {
    match query.get("encoding-type")?.as_deref() {
        None | Some("") => Ok(false),
        Some("url") => Ok(true),
        Some(_) => Err(Code::InvalidArgument.with("Invalid Encoding Method specified in Request")),
    }
}

/// Encodes a continuation token: the start of the next page, opaque to clients.
pub(super) fn write_token(marker: &str) -> String {
    crate::checksum::base64_encode(marker.as_bytes())
}

/// Decodes a continuation token.
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
