//! The responses of ListBuckets, GetBucketLocation, ListObjects, ListObjectsV2 and ListObjectVersions.
//!
//! Each function takes the request parameters that the response echoes, and the page.

use raft::list::{Entry, ListedObject, ListedVersion, Page, VersionMarker};
use raft::record::{BucketRecord, VersionRecord};

use super::write::Xml;
use super::{Owner, write_spec, write_storage_class};

/// Appends `ListAllMyBucketsResult`.
pub fn buckets(
    owner: Owner<'_>,
    prefix: Option<&str>,
    region: &str,
    buckets: &[BucketRecord],
    next_token: Option<&str>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListAllMyBucketsResult");
    owner.write("Owner", &mut xml);
    xml.open("Buckets");
    for bucket in buckets {
        xml.open("Bucket");
        xml.text("Name", &bucket.name);
        xml.time("CreationDate", bucket.created_ms);
        xml.text("BucketRegion", region);
        xml.close("Bucket");
    }
    xml.close("Buckets");
    xml.optional("Prefix", prefix);
    xml.optional("ContinuationToken", next_token);
    xml.close("ListAllMyBucketsResult");
}

/// Appends `LocationConstraint`, which is empty for us-east-1.
pub fn location(region: &str, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("LocationConstraint");
    xml.content(if region == "us-east-1" { "" } else { region });
    xml.close("LocationConstraint");
}

/// The request parameters that the response to a list echoes.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct ListEcho<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
    /// The most entries of a page.
    pub max: u32,
    /// `encoding-type=url` was requested.
    pub url: bool,
}

impl ListEcho<'_> {
    fn write(&self, xml: &mut Xml<'_>) {
        xml.text("Name", self.bucket);
        xml.key("Prefix", self.prefix, self.url);
    }

    fn write_rest(&self, truncated: bool, xml: &mut Xml<'_>) {
        if let Some(delimiter) = self.delimiter {
            xml.key("Delimiter", delimiter, self.url);
        }
        xml.number("MaxKeys", self.max.into());
        if self.url {
            xml.text("EncodingType", "url");
        }
        xml.boolean("IsTruncated", truncated);
    }
}

/// Writes the rows, then the common prefixes, in the order in which AWS sends them.
pub(super) fn entries<T>(xml: &mut Xml<'_>, url: bool, entries: &[Entry<T>], row: impl Fn(&mut Xml<'_>, &T)) {
    for entry in entries {
        if let Entry::Row(listed) = entry {
            row(xml, listed);
        }
    }
    for entry in entries {
        if let Entry::CommonPrefix(prefix) = entry {
            xml.open("CommonPrefixes");
            xml.key("Prefix", prefix, url);
            xml.close("CommonPrefixes");
        }
    }
}

fn objects(xml: &mut Xml<'_>, url: bool, owner: Option<Owner<'_>>, found: &[Entry<ListedObject>]) {
    entries(xml, url, found, |xml, ListedObject { key, current }| {
        xml.open("Contents");
        xml.key("Key", key, url);
        xml.time("LastModified", current.modified_ms);
        xml.etag(&current.etag());
        write_spec(current.checksum, xml);
        xml.number("Size", current.size);
        if let Some(owner) = owner {
            owner.write("Owner", xml);
        }
        write_storage_class(current.storage_class.as_deref(), xml);
        xml.close("Contents");
    });
}

/// Appends `ListBucketResult` of ListObjects, which names the owner of each object.
pub fn objects_v1(
    echo: ListEcho<'_>,
    marker: &str,
    page: &Page<ListedObject, String>,
    owner: Owner<'_>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListBucketResult");
    echo.write(&mut xml);
    xml.key("Marker", marker, echo.url);
    // Without a delimiter, clients continue after the last key (AWS, "ListObjects").
    if let Some(next) = page.next.as_ref().filter(|_| echo.delimiter.is_some()) {
        xml.key("NextMarker", next, echo.url);
    }
    echo.write_rest(page.next.is_some(), &mut xml);
    objects(&mut xml, echo.url, Some(owner), &page.entries);
    xml.close("ListBucketResult");
}

/// The additional fields of ListObjectsV2.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Continuation<'a> {
    pub start_after: Option<&'a str>,
    pub token: Option<&'a str>,
    pub next_token: Option<&'a str>,
}

/// Appends `ListBucketResult` of ListObjectsV2. It names the owner of each object if `owner` is given.
pub fn objects_v2(
    echo: ListEcho<'_>,
    continuation: Continuation<'_>,
    found: &[Entry<ListedObject>],
    owner: Option<Owner<'_>>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListBucketResult");
    echo.write(&mut xml);
    if let Some(start_after) = continuation.start_after {
        xml.key("StartAfter", start_after, echo.url);
    }
    xml.optional("ContinuationToken", continuation.token);
    xml.optional("NextContinuationToken", continuation.next_token);
    echo.write_rest(continuation.next_token.is_some(), &mut xml);
    objects(&mut xml, echo.url, owner, found);
    xml.number("KeyCount", found.len() as u64);
    xml.close("ListBucketResult");
}

/// Appends `ListVersionsResult`.
pub fn versions(
    echo: ListEcho<'_>,
    (key_marker, version_marker): (&str, &str),
    page: &Page<ListedVersion, (String, Option<VersionMarker>)>,
    owner: Owner<'_>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListVersionsResult");
    echo.write(&mut xml);
    xml.key("KeyMarker", key_marker, echo.url);
    xml.text("VersionIdMarker", version_marker);
    if let Some((key, version)) = &page.next {
        xml.key("NextKeyMarker", key, echo.url);
        xml.optional("NextVersionIdMarker", version.map(marker_text).as_deref());
    }
    echo.write_rest(page.next.is_some(), &mut xml);
    entries(&mut xml, echo.url, &page.entries, |xml, ListedVersion { key, version, is_latest }| {
        let element = if version.is_delete_marker() { "DeleteMarker" } else { "Version" };
        xml.open(element);
        xml.key("Key", key, echo.url);
        xml.text("VersionId", &marker_text(VersionMarker::after(version)));
        xml.boolean("IsLatest", *is_latest);
        xml.time("LastModified", version.modified_ms);
        if !version.is_delete_marker() {
            write_bytes(version, xml);
        }
        owner.write("Owner", xml);
        xml.close(element);
    });
    xml.close("ListVersionsResult");
}

/// Writes the fields that describe a version's bytes.
fn write_bytes(version: &VersionRecord, xml: &mut Xml<'_>) {
    xml.etag(&version.etag());
    write_spec(version.checksum.as_ref().map(raft::record::Checksum::spec), xml);
    xml.number("Size", version.size);
    write_storage_class(version.storage_class.as_deref(), xml);
}

fn marker_text(marker: VersionMarker) -> String {
    match marker {
        VersionMarker::Null => "null".to_owned(),
        VersionMarker::Id(id) => id.to_hex(),
    }
}
