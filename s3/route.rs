//! Maps a request to its S3 operation, by the table in [`crate::operation`].
//!
//! A subresource is never mistaken for the plain request: with a method that it does not support it is refused.
//! Parameters that select nothing are ignored, as at AWS.

use crate::error::{Code, S3Error};
use crate::http::head::{Method, RequestHead};
use crate::name::{BucketName, ObjectKey};
use crate::operation::{self, Operation, ROWS, Row, Target};
use crate::uri::{self, Query};

/// The operation and the resource of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The bucket; `None` for operations on the service.
    pub bucket: Option<BucketName>,
    /// The key; `None` for operations on the service or a bucket.
    pub key: Option<ObjectKey>,
    /// The operation.
    pub operation: Operation,
    /// Whether the host named the bucket.
    pub virtual_host: bool,
}

impl Route {
    /// Routes a request. `domains` are the domains under which a host `bucket.domain` names a bucket.
    pub fn of(head: &RequestHead, domains: &[String]) -> Result<Route, S3Error> {
        let host_bucket = bucket_of_host(head.host(), domains);
        let path = match head.path() {
            b"*" => b"/",
            path => path,
        };
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let (bucket, key) = match host_bucket {
            Some(bucket) => (Some(bucket.as_bytes()), path),
            None => match memchr::memchr(b'/', path) {
                Some(at) => (Some(&path[..at]), &path[at + 1..]),
                None => ((!path.is_empty()).then_some(path), &path[..0]),
            },
        };
        let bucket = match bucket {
            Some(raw) => Some(BucketName::parse(&uri::decode_str(raw, false)?)?),
            None => None,
        };
        let key = match key {
            b"" => None,
            raw => Some(ObjectKey::parse(uri::decode_str(raw, false)?)?),
        };
        let target = match (&bucket, &key) {
            (None, _) => Target::Service,
            (Some(_), None) => Target::Bucket,
            (Some(_), Some(_)) => Target::Object,
        };
        let operation =
            select(target, head.method(), head).map_err(|error| with_allow(error, target, head))?;
        Ok(Route { bucket, key, operation, virtual_host: host_bucket.is_some() })
    }
}

/// The bucket that a host names: the part before `.domain`, ignoring the port. If several domains match, the longest
/// counts.
pub fn bucket_of_host<'a>(host: &'a [u8], domains: &[String]) -> Option<&'a str> {
    if domains.is_empty() {
        return None;
    }
    let host = std::str::from_utf8(host).ok()?;
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let fits = |domain: &&String| {
        let Some(at) = host.len().checked_sub(domain.len() + 1).filter(|at| *at > 0) else { return false };
        host.as_bytes()[at] == b'.' && host.as_bytes()[at + 1..].eq_ignore_ascii_case(domain.as_bytes())
    };
    let domain =
        domains.iter().filter(|domain| !domain.is_empty()).filter(fits).max_by_key(|domain| domain.len())?;
    Some(&host[..host.len() - domain.len() - 1])
}

/// The operation of the first row that matches the request, as if it were sent with `method`.
fn select(target: Target, method: Method, head: &RequestHead) -> Result<Operation, S3Error> {
    let query = head.query();
    let carries = |selector: &str| match selector.split_once('=') {
        None if operation::is_header(selector) => head.header(selector).is_some(),
        _ if query.raw().is_empty() => false,
        Some((name, value)) => query.get_raw(name) == Some(value.as_bytes()),
        None => query.has(selector),
    };
    let candidates = || ROWS.iter().filter(|row| row.applies_to(target));
    let found = candidates().find(|row| row.method == method && row.selectors.iter().all(|s| carries(s)));
    if query.raw().is_empty() {
        return found.map(|row| row.operation).ok_or_else(not_allowed);
    }
    // A preflight announces another request, including its subresource.
    let is_plain = method != Method::Options && found.is_none_or(|row| row.subresource().is_none());
    if is_plain && target == Target::Object && method == Method::Put {
        require_both(query)?;
    }
    // A subresource that does not support the method is not a plain request.
    if is_plain && candidates().filter_map(Row::subresource).any(|name| query.has(name)) {
        return Err(not_allowed());
    }
    match found {
        Some(Row { operation: Operation::ListObjects, .. })
            if !matches!(query.get_raw("list-type"), None | Some(b"" | b"1")) =>
        {
            Err(Code::InvalidArgument.with("list-type must be 2.").field("ArgumentName", "list-type"))
        }
        Some(row) => Ok(row.operation),
        None => Err(not_allowed()),
    }
}

/// Refuses a PUT with only one of the two parameters that select UploadPart.
fn require_both(query: Query<'_>) -> Result<(), S3Error> {
    let missing = match (query.has("uploadId"), query.has("partNumber")) {
        (true, false) => "partNumber",
        (false, true) => "uploadId",
        _ => return Ok(()),
    };
    Err(Code::InvalidArgument
        .with("This operation needs both of the parameters partNumber and uploadId.")
        .field("ArgumentName", missing))
}

fn not_allowed() -> S3Error {
    Code::MethodNotAllowed.into()
}

/// Adds the methods that the resource supports to a refusal of the method (RFC 9110, 15.5.6).
fn with_allow(error: S3Error, target: Target, head: &RequestHead) -> S3Error {
    const METHODS: [(Method, &str); 6] = [
        (Method::Get, "GET"),
        (Method::Head, "HEAD"),
        (Method::Put, "PUT"),
        (Method::Post, "POST"),
        (Method::Delete, "DELETE"),
        (Method::Options, "OPTIONS"),
    ];
    let is_refusal = |error: &S3Error| error.code() == Code::MethodNotAllowed;
    if !is_refusal(&error) {
        return error;
    }
    let allowed =
        METHODS.iter().filter(|(method, _)| !select(target, *method, head).is_err_and(|e| is_refusal(&e)));
    error.header("Allow", allowed.map(|(_, name)| *name).collect::<Vec<_>>().join(", "))
}

/// The names of the parameters that change which operation a request selects.
pub fn selecting_parameters() -> impl Iterator<Item = &'static str> {
    ROWS.iter().filter_map(Row::subresource)
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
