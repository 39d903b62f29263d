//! From a request to the S3 operation that it asks for.
//!
//! Every operation of S3 is named here, also those that Hamster does not have: they answer NotImplemented
//! with AWS's name for them, and a subresource is never mistaken for the plain request. Parameters that
//! select nothing are ignored, as AWS does.

use crate::error::{Code, S3Error};
use crate::http::head::{Method, RequestHead};
use crate::name::{BucketName, ObjectKey};
use crate::uri::{self, Query};

/// An S3 operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Operation {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    DeleteObjects,
    PutObject,
    CopyObject,
    GetObject,
    HeadObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    /// One of AWS's that Hamster does not have, by its name.
    NotImplemented(&'static str),
}

impl Operation {
    /// AWS's name: of metrics and logs too.
    pub fn name(self) -> &'static str {
        match self {
            Operation::ListBuckets => "ListBuckets",
            Operation::CreateBucket => "CreateBucket",
            Operation::HeadBucket => "HeadBucket",
            Operation::DeleteBucket => "DeleteBucket",
            Operation::GetBucketLocation => "GetBucketLocation",
            Operation::ListObjects => "ListObjects",
            Operation::ListObjectsV2 => "ListObjectsV2",
            Operation::ListObjectVersions => "ListObjectVersions",
            Operation::ListMultipartUploads => "ListMultipartUploads",
            Operation::DeleteObjects => "DeleteObjects",
            Operation::PutObject => "PutObject",
            Operation::CopyObject => "CopyObject",
            Operation::GetObject => "GetObject",
            Operation::HeadObject => "HeadObject",
            Operation::DeleteObject => "DeleteObject",
            Operation::CreateMultipartUpload => "CreateMultipartUpload",
            Operation::UploadPart => "UploadPart",
            Operation::UploadPartCopy => "UploadPartCopy",
            Operation::CompleteMultipartUpload => "CompleteMultipartUpload",
            Operation::AbortMultipartUpload => "AbortMultipartUpload",
            Operation::ListParts => "ListParts",
            Operation::NotImplemented(name) => name,
        }
    }

    /// The refusal of an operation that is not there.
    pub fn not_implemented(self) -> S3Error {
        Code::NotImplemented.with(format!("Hamster does not implement {}.", self.name()))
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The bucket; none for operations on the service.
    pub bucket: Option<BucketName>,
    /// The key; none for operations on the service or a bucket.
    pub key: Option<ObjectKey>,
    /// The operation.
    pub operation: Operation,
    /// Whether the host named the bucket.
    pub virtual_host: bool,
}

impl Route {
    /// Matches a request. `domains` are the names under which a host `bucket.domain` names a bucket.
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
        let copy = head.header("x-amz-copy-source").is_some();
        let query = head.query();
        let operation = |method| match (&bucket, &key) {
            (None, _) => on_service(method, query),
            (Some(_), None) => on_bucket(method, query),
            (Some(_), Some(_)) => on_object(method, query, copy),
        };
        let operation = operation(head.method()).map_err(|error| with_allow(error, operation))?;
        Ok(Route { bucket, key, operation, virtual_host: host_bucket.is_some() })
    }
}

/// The bucket that a host names: what stands before `.domain`, the port left aside. Of several domains the
/// longest that fits counts.
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

fn not_allowed() -> S3Error {
    Code::MethodNotAllowed.into()
}

/// Adds to a refusal of the method the methods that the resource has (RFC 9110, 15.5.6).
fn with_allow(error: S3Error, operation: impl Fn(Method) -> Result<Operation, S3Error>) -> S3Error {
    const METHODS: [(Method, &str); 6] = [
        (Method::Get, "GET"),
        (Method::Head, "HEAD"),
        (Method::Put, "PUT"),
        (Method::Post, "POST"),
        (Method::Delete, "DELETE"),
        (Method::Options, "OPTIONS"),
    ];
    if error.code() != Code::MethodNotAllowed {
        return error;
    }
    let is_allowed = |method| !operation(method).is_err_and(|error| error.code() == Code::MethodNotAllowed);
    let allowed = METHODS.into_iter().filter(|(method, _)| is_allowed(*method));
    error.header("Allow", allowed.map(|(_, name)| name).collect::<Vec<_>>().join(", "))
}

fn on_service(method: Method, query: Query<'_>) -> Result<Operation, S3Error> {
    match method {
        Method::Get if query.has("directory-buckets") => {
            Ok(Operation::NotImplemented("ListDirectoryBuckets"))
        }
        Method::Get => Ok(Operation::ListBuckets),
        Method::Options => Ok(Operation::NotImplemented("PreflightRequest")),
        Method::Post => Ok(Operation::NotImplemented("WriteGetObjectResponse")),
        _ => Err(not_allowed()),
    }
}

/// The operations that a parameter selects, by method: GET, PUT, DELETE, POST. The empty name: there is none.
type Row = (&'static str, [&'static str; 4]);

/// Subresources of buckets that Hamster does not have.
const BUCKET_SUBRESOURCES: &[Row] = &[
    ("accelerate", ["GetBucketAccelerateConfiguration", "PutBucketAccelerateConfiguration", "", ""]),
    ("acl", ["GetBucketAcl", "PutBucketAcl", "", ""]),
    (
        "analytics",
        [
            "GetBucketAnalyticsConfiguration",
            "PutBucketAnalyticsConfiguration",
            "DeleteBucketAnalyticsConfiguration",
            "",
        ],
    ),
    ("abac", ["GetBucketAbac", "PutBucketAbac", "", ""]),
    ("cors", ["GetBucketCors", "PutBucketCors", "DeleteBucketCors", ""]),
    ("encryption", ["GetBucketEncryption", "PutBucketEncryption", "DeleteBucketEncryption", ""]),
    (
        "intelligent-tiering",
        [
            "GetBucketIntelligentTieringConfiguration",
            "PutBucketIntelligentTieringConfiguration",
            "DeleteBucketIntelligentTieringConfiguration",
            "",
        ],
    ),
    (
        "inventory",
        [
            "GetBucketInventoryConfiguration",
            "PutBucketInventoryConfiguration",
            "DeleteBucketInventoryConfiguration",
            "",
        ],
    ),
    (
        "lifecycle",
        ["GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration", "DeleteBucketLifecycle", ""],
    ),
    ("logging", ["GetBucketLogging", "PutBucketLogging", "", ""]),
    (
        "metadataConfiguration",
        [
            "GetBucketMetadataConfiguration",
            "",
            "DeleteBucketMetadataConfiguration",
            "CreateBucketMetadataConfiguration",
        ],
    ),
    ("metadataInventoryTable", ["", "UpdateBucketMetadataInventoryTableConfiguration", "", ""]),
    ("metadataJournalTable", ["", "UpdateBucketMetadataJournalTableConfiguration", "", ""]),
    (
        "metadataTable",
        [
            "GetBucketMetadataTableConfiguration",
            "",
            "DeleteBucketMetadataTableConfiguration",
            "CreateBucketMetadataTableConfiguration",
        ],
    ),
    (
        "metrics",
        [
            "GetBucketMetricsConfiguration",
            "PutBucketMetricsConfiguration",
            "DeleteBucketMetricsConfiguration",
            "",
        ],
    ),
    ("notification", ["GetBucketNotificationConfiguration", "PutBucketNotificationConfiguration", "", ""]),
    ("object-lock", ["GetObjectLockConfiguration", "PutObjectLockConfiguration", "", ""]),
    (
        "ownershipControls",
        ["GetBucketOwnershipControls", "PutBucketOwnershipControls", "DeleteBucketOwnershipControls", ""],
    ),
    ("policy", ["GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy", ""]),
    ("policyStatus", ["GetBucketPolicyStatus", "", "", ""]),
    ("publicAccessBlock", ["GetPublicAccessBlock", "PutPublicAccessBlock", "DeletePublicAccessBlock", ""]),
    ("replication", ["GetBucketReplication", "PutBucketReplication", "DeleteBucketReplication", ""]),
    ("requestPayment", ["GetBucketRequestPayment", "PutBucketRequestPayment", "", ""]),
    ("session", ["CreateSession", "", "", ""]),
    ("tagging", ["GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging", ""]),
    ("versioning", ["GetBucketVersioning", "PutBucketVersioning", "", ""]),
    ("website", ["GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite", ""]),
];

/// Those whose listing is told from their reading by the parameter `id`.
const LISTED_BY_ID: &[(&str, &str)] = &[
    ("analytics", "ListBucketAnalyticsConfigurations"),
    ("intelligent-tiering", "ListBucketIntelligentTieringConfigurations"),
    ("inventory", "ListBucketInventoryConfigurations"),
    ("metrics", "ListBucketMetricsConfigurations"),
];

/// Subresources of objects that Hamster does not have.
const OBJECT_SUBRESOURCES: &[Row] = &[
    ("acl", ["GetObjectAcl", "PutObjectAcl", "", ""]),
    ("annotation", ["GetObjectAnnotation", "PutObjectAnnotation", "DeleteObjectAnnotation", ""]),
    ("attributes", ["GetObjectAttributes", "", "", ""]),
    ("encryption", ["", "UpdateObjectEncryption", "", ""]),
    ("legal-hold", ["GetObjectLegalHold", "PutObjectLegalHold", "", ""]),
    ("renameObject", ["", "RenameObject", "", ""]),
    ("restore", ["", "", "", "RestoreObject"]),
    ("retention", ["GetObjectRetention", "PutObjectRetention", "", ""]),
    ("select", ["", "", "", "SelectObjectContent"]),
    ("tagging", ["GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging", ""]),
    ("torrent", ["GetObjectTorrent", "", "", ""]),
];

/// The names of the parameters that make a request ask for something else than its method and path alone do.
pub fn selecting_parameters() -> impl Iterator<Item = &'static str> {
    const MORE: [&str; 8] = [
        "append",
        "delete",
        "directory-buckets",
        "location",
        "partNumber",
        "uploadId",
        "uploads",
        "versions",
    ];
    BUCKET_SUBRESOURCES.iter().chain(OBJECT_SUBRESOURCES).map(|(name, _)| *name).chain(MORE)
}

/// The operation that a parameter of the table selects, if one does.
fn subresource(
    table: &[Row],
    method: Method,
    query: Query<'_>,
) -> Option<Result<(&'static str, &'static str), S3Error>> {
    if query.raw().is_empty() {
        return None;
    }
    let (parameter, names) = table.iter().find(|(parameter, _)| query.has(parameter))?;
    let name = match method {
        Method::Get => names[0],
        Method::Put => names[1],
        Method::Delete => names[2],
        Method::Post => names[3],
        _ => "",
    };
    Some(if name.is_empty() { Err(not_allowed()) } else { Ok((parameter, name)) })
}

fn on_bucket(method: Method, query: Query<'_>) -> Result<Operation, S3Error> {
    if method == Method::Options {
        return Ok(Operation::NotImplemented("PreflightRequest"));
    }
    if let Some(selected) = subresource(BUCKET_SUBRESOURCES, method, query) {
        let (parameter, name) = selected?;
        let listed = LISTED_BY_ID.iter().find(|(p, _)| *p == parameter);
        return Ok(Operation::NotImplemented(match listed {
            Some((_, list)) if method == Method::Get && !query.has("id") => list,
            _ => name,
        }));
    }
    match method {
        Method::Get if query.has("location") => Ok(Operation::GetBucketLocation),
        Method::Get if query.has("uploads") => Ok(Operation::ListMultipartUploads),
        Method::Get if query.has("versions") => Ok(Operation::ListObjectVersions),
        Method::Get => match query.get_raw("list-type") {
            None | Some(b"" | b"1") => Ok(Operation::ListObjects),
            Some(b"2") => Ok(Operation::ListObjectsV2),
            Some(_) => {
                Err(Code::InvalidArgument.with("list-type must be 2.").field("ArgumentName", "list-type"))
            }
        },
        Method::Post if query.has("delete") => Ok(Operation::DeleteObjects),
        Method::Post => Ok(Operation::NotImplemented("PostObject")),
        // These belong to one method; with another they are no plain request.
        _ if ["location", "uploads", "versions", "delete"].iter().any(|p| query.has(p)) => Err(not_allowed()),
        Method::Put => Ok(Operation::CreateBucket),
        Method::Head => Ok(Operation::HeadBucket),
        Method::Delete => Ok(Operation::DeleteBucket),
        Method::Options | Method::Other => Err(not_allowed()),
    }
}

fn on_object(method: Method, query: Query<'_>, copy: bool) -> Result<Operation, S3Error> {
    if method == Method::Options {
        return Ok(Operation::NotImplemented("PreflightRequest"));
    }
    if let Some(selected) = subresource(OBJECT_SUBRESOURCES, method, query) {
        return Ok(Operation::NotImplemented(selected?.1));
    }
    let upload = query.has("uploadId");
    match method {
        Method::Post if query.has("uploads") => Ok(Operation::CreateMultipartUpload),
        _ if query.has("uploads") => Err(not_allowed()),
        Method::Get if upload => Ok(Operation::ListParts),
        Method::Get => Ok(Operation::GetObject),
        Method::Head => Ok(Operation::HeadObject),
        Method::Put if upload && query.has("partNumber") => {
            Ok(if copy { Operation::UploadPartCopy } else { Operation::UploadPart })
        }
        Method::Put if upload || query.has("partNumber") => Err(Code::InvalidArgument
            .with("This operation needs both of the parameters partNumber and uploadId.")
            .field("ArgumentName", if upload { "partNumber" } else { "uploadId" })),
        Method::Put if query.has("append") => Ok(Operation::NotImplemented("AppendObject")),
        Method::Put if copy => Ok(Operation::CopyObject),
        Method::Put => Ok(Operation::PutObject),
        Method::Delete if upload => Ok(Operation::AbortMultipartUpload),
        Method::Delete => Ok(Operation::DeleteObject),
        Method::Post if upload => Ok(Operation::CompleteMultipartUpload),
        Method::Post | Method::Options | Method::Other => Err(not_allowed()),
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
