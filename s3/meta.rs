//! The headers of a request that concern an object: those that are stored and returned, user metadata, and those that
//! Hamster refuses because it would have to act on them.
//!
//! User metadata is stored as UTF-8. Values that are not ASCII are sent as RFC 2047 encoded words, in both directions
//! (AWS, "Working with object metadata").

use std::borrow::Cow;

use raft::record::{ObjectHeaders, UserMetadata};

use crate::error::{Code, S3Error};
use crate::http::head::RequestHead;
use crate::http::response::ResponseHead;
use crate::operation::Feature;
use crate::rfc2047;
use crate::uri::Query;
use crate::xml::Owner;

/// The limit on user metadata, bytes: names (without prefix) and values.
pub const USER_METADATA_BYTES_MAX: usize = 2048;
/// The limit on the other stored headers together, bytes.
pub const STORED_HEADERS_BYTES_MAX: usize = 8192;
/// The type with which an object without a Content-Type is served, as at AWS.
pub const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

const USER_PREFIX: &str = "x-amz-meta-";

/// The headers of a request that are stored with its object; MetadataTooLarge above the limits.
pub fn stored_headers(head: &RequestHead) -> Result<ObjectHeaders, S3Error> {
    let text =
        |name| head.header(name).filter(|value| !value.is_empty()).map(|value| to_text(value).into_owned());
    let stored = ObjectHeaders {
        content_type: text("content-type"),
        cache_control: text("cache-control"),
        content_disposition: text("content-disposition"),
        content_encoding: content_encoding(head),
        content_language: text("content-language"),
        expires: text("expires"),
        user_metadata: user_metadata(head)?,
    };
    let system = [
        &stored.content_type,
        &stored.cache_control,
        &stored.content_disposition,
        &stored.content_encoding,
        &stored.content_language,
        &stored.expires,
    ];
    let bytes: usize = system.into_iter().flatten().map(String::len).sum();
    if bytes > STORED_HEADERS_BYTES_MAX {
        return Err(too_large(bytes, STORED_HEADERS_BYTES_MAX));
    }
    Ok(stored)
}

/// The stored headers except user metadata, as they are sent: an override of the request replaces the stored value.
pub fn system_headers<'a>(
    stored: &'a ObjectHeaders,
    overrides: &'a Overrides<'_>,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let content_type = stored.content_type.as_deref().unwrap_or(CONTENT_TYPE_DEFAULT);
    let stored = [
        ("Content-Type", Some(content_type)),
        ("Cache-Control", stored.cache_control.as_deref()),
        ("Content-Disposition", stored.content_disposition.as_deref()),
        ("Content-Encoding", stored.content_encoding.as_deref()),
        ("Content-Language", stored.content_language.as_deref()),
        ("Expires", stored.expires.as_deref()),
    ];
    let sent = stored.into_iter().zip(&overrides.values);
    sent.filter_map(|((name, stored), over)| Some((name, over.as_deref().or(stored)?)))
}

/// Writes the stored headers to a response; an override of the request replaces the stored value.
pub fn write_headers(stored: &ObjectHeaders, overrides: &Overrides<'_>, response: &mut ResponseHead<'_>) {
    for (name, value) in system_headers(stored, overrides) {
        response.header(name, value);
    }
    for entry in &stored.user_metadata {
        response.client_header(USER_PREFIX, &entry.name, rfc2047::encode(&entry.value).as_bytes());
    }
}

/// The `response-*` parameters of a GET or HEAD.
#[derive(Debug, Clone, Default)]
pub struct Overrides<'a> {
    /// In the order of [`system_headers`].
    values: [Option<Cow<'a, str>>; 6],
}

impl<'a> Overrides<'a> {
    /// Parses them from the query.
    pub fn from_query(query: Query<'a>) -> Result<Overrides<'a>, S3Error> {
        if query.raw().is_empty() {
            return Ok(Overrides::default());
        }
        let get = |name| Ok::<_, S3Error>(query.get(name)?.filter(|value| !value.is_empty()));
        Ok(Overrides {
            values: [
                get("response-content-type")?,
                get("response-cache-control")?,
                get("response-content-disposition")?,
                get("response-content-encoding")?,
                get("response-content-language")?,
                get("response-expires")?,
            ],
        })
    }
}

fn too_large(bytes: usize, max: usize) -> S3Error {
    Code::MetadataTooLarge.field("Size", bytes.to_string()).field("MaxSizeAllowed", max.to_string())
}

/// A header's bytes as text: as UTF-8 if valid, else as ISO 8859-1, HTTP's original charset.
fn to_text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.iter().map(|b| *b as char).collect()),
    }
}

/// The codings as they were sent, without `aws-chunked`, which says how the request was framed and not what the object
/// contains.
fn content_encoding(head: &RequestHead) -> Option<String> {
    let lines: Vec<Cow<'_, str>> = head.header_all("content-encoding").map(to_text).collect();
    let codings = lines.iter().flat_map(|line| line.split(','));
    let kept: Vec<&str> =
        codings.filter(|coding| !coding.trim().eq_ignore_ascii_case("aws-chunked")).collect();
    Some(kept.join(",").trim().to_owned()).filter(|kept| !kept.is_empty())
}

/// Entries of the same name are joined, in the order of their first appearance.
fn user_metadata(head: &RequestHead) -> Result<Vec<UserMetadata>, S3Error> {
    let mut user: Vec<UserMetadata> = Vec::new();
    for (name, value) in head.headers() {
        let Some(name) = strip_prefix(name, USER_PREFIX).filter(|name| !name.is_empty()) else { continue };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value = rfc2047::decode(&to_text(value));
        match user.iter_mut().find(|entry| entry.name == name) {
            Some(first) => {
                first.value.push(',');
                first.value.push_str(&value);
            }
            None => user.push(UserMetadata { name, value }),
        }
    }
    let bytes: usize = user.iter().map(|entry| entry.name.len() + entry.value.len()).sum();
    if bytes > USER_METADATA_BYTES_MAX {
        return Err(too_large(bytes, USER_METADATA_BYTES_MAX));
    }
    Ok(user)
}

fn strip_prefix<'a>(name: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let head = name.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix.as_bytes()).then(|| &name[prefix.len()..])
}

/// `x-amz-metadata-directive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataDirective {
    /// The copy gets the headers of its source.
    Copy,
    /// The copy gets the headers of the request.
    Replace,
}

/// Parses `x-amz-metadata-directive`; COPY if absent.
pub fn metadata_directive(head: &RequestHead) -> Result<MetadataDirective, S3Error> {
    match head.header("x-amz-metadata-directive") {
        None | Some(b"COPY") => Ok(MetadataDirective::Copy),
        Some(b"REPLACE") => Ok(MetadataDirective::Replace),
        Some(value) => Err(Code::InvalidArgument
            .with("Unknown metadata directive.")
            .field("ArgumentName", "x-amz-metadata-directive")
            .field("ArgumentValue", String::from_utf8_lossy(value))),
    }
}

/// The storage classes of AWS's general purpose buckets. All are stored alike; an object keeps the name.
const STORAGE_CLASSES: [&str; 8] = [
    "STANDARD",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "REDUCED_REDUNDANCY",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

fn storage_class_named(value: &[u8]) -> Result<&'static str, S3Error> {
    let named = STORAGE_CLASSES.into_iter().find(|name| name.as_bytes() == value);
    named.ok_or_else(|| {
        Code::InvalidStorageClass.field("StorageClassRequested", String::from_utf8_lossy(value))
    })
}

/// Parses `x-amz-storage-class` into the form that records use: `None` for STANDARD.
pub fn storage_class(head: &RequestHead) -> Result<Option<String>, S3Error> {
    let named = head.header("x-amz-storage-class").map(storage_class_named).transpose()?;
    Ok(named.filter(|name| *name != STORAGE_CLASSES[0]).map(str::to_owned))
}

/// Refuses a request whose headers ask for a feature that its operation does not support. `features` lists those that
/// it does; `owner` is the one owner of everything. Must be called for every operation.
pub fn refuse_unsupported(head: &RequestHead, features: &[Feature], owner: Owner<'_>) -> Result<(), S3Error> {
    for (name, value) in head.headers() {
        let Some(rest) = strip_prefix(name, "x-amz-") else { continue };
        let mut space = [0u8; 64];
        let Some(lower) = space.get_mut(..rest.len()) else { continue };
        lower.copy_from_slice(rest);
        lower.make_ascii_lowercase();
        check(lower, value, features, owner)?;
    }
    Ok(())
}

/// Checks the header `x-amz-` + `name`.
fn check(name: &[u8], value: &[u8], features: &[Feature], owner: Owner<'_>) -> Result<(), S3Error> {
    let require = |feature: Feature, what: &str| {
        if features.contains(&feature) {
            return Ok(());
        }
        let header = format!("x-amz-{}", String::from_utf8_lossy(name));
        Err(Code::NotImplemented.with(format!("{what} not implemented ({header}).")).field("Header", header))
    };
    match name {
        b"acl" => match value {
            b"private" | b"bucket-owner-full-control" => Ok(()),
            b"public-read"
            | b"public-read-write"
            | b"authenticated-read"
            | b"aws-exec-read"
            | b"bucket-owner-read"
            | b"log-delivery-write" => require(
                Feature::Acl,
                "Access control lists other than private and bucket-owner-full-control are",
            ),
            _ => Err(Code::InvalidArgument.field("ArgumentName", "x-amz-acl")),
        },
        b"storage-class" => storage_class_named(value).map(drop),
        b"tagging-directive" if value == b"COPY" => Ok(()),
        b"tagging" | b"tagging-directive" => require(Feature::Tags, "Tags are"),
        b"object-ownership" if value == b"BucketOwnerEnforced" => Ok(()),
        b"object-ownership" => {
            require(Feature::ObjectOwnership, "Object ownership other than BucketOwnerEnforced is")
        }
        b"bucket-object-lock-enabled" if value.eq_ignore_ascii_case(b"false") => Ok(()),
        b"bucket-object-lock-enabled" => require(Feature::ObjectLock, "Object lock is"),
        b"website-redirect-location" => require(Feature::WebsiteRedirect, "Website redirection is"),
        b"write-offset-bytes" => require(Feature::Append, "Appending is"),
        b"mfa" => require(Feature::Mfa, "Multi-factor authentication is"),
        b"if-match-size" | b"if-match-last-modified-time" => {
            require(Feature::ConditionOnSizeOrTime, "Conditions on size and time are")
        }
        b"rename-source" => require(Feature::Rename, "Renaming is"),
        b"expected-bucket-owner" | b"source-expected-bucket-owner" => expected_owner(value, owner),
        _ if name.starts_with(b"grant-") => require(Feature::Acl, "Access control lists are"),
        _ if name.starts_with(b"object-lock-") => require(Feature::ObjectLock, "Object lock is"),
        _ if name.starts_with(b"server-side-encryption")
            || name.starts_with(b"copy-source-server-side-encryption") =>
        {
            require(Feature::Encryption, "Server-side encryption by request is")
        }
        _ => Ok(()),
    }
}

/// Compares an expected owner with the actual one: an account id of twelve digits; the canonical user id is accepted
/// too.
fn expected_owner(expected: &[u8], owner: Owner<'_>) -> Result<(), S3Error> {
    let is_account = expected.len() == 12 && expected.iter().all(u8::is_ascii_digit);
    match expected {
        _ if expected == owner.account_id.as_bytes() || expected == owner.id.as_bytes() => Ok(()),
        _ if is_account => Err(Code::AccessDenied.with("The bucket's owner is not the one expected.")),
        _ => Err(Code::InvalidBucketOwnerAWSAccountID.into()),
    }
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
