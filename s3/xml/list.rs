//! The answers of ListBuckets, GetBucketLocation, ListObjects, ListObjectsV2 and ListObjectVersions.
//!
//! Each takes a head and an iterator, and writes a row as it comes: a page is never held twice.

use super::write::Xml;
use super::{Checksum, Owner};

/// One bucket of a ListBuckets answer.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Bucket<'a> {
    pub name: &'a str,
    pub created_ms: u64,
    pub region: Option<&'a str>,
}

/// Appends `ListAllMyBucketsResult`.
pub fn buckets<'a>(
    owner: Owner<'_>,
    prefix: Option<&str>,
    buckets: impl IntoIterator<Item = Bucket<'a>>,
    next_token: Option<&str>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListAllMyBucketsResult");
    owner.write("Owner", &mut xml);
    xml.open("Buckets");
    for bucket in buckets {
        xml.open("Bucket");
        xml.text("Name", bucket.name);
        xml.time("CreationDate", bucket.created_ms);
        xml.optional("BucketRegion", bucket.region);
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

/// A row of an object list.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A key.
    Object(Object<'a>),
    /// A group of keys up to and with a delimiter.
    CommonPrefix(&'a str),
}

/// A key's row.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Object<'a> {
    pub key: &'a str,
    pub modified_ms: u64,
    /// Without quotes.
    pub etag: &'a str,
    pub size: u64,
    pub owner: Option<Owner<'a>>,
    pub checksum: Option<Checksum<'a>>,
}

/// What ListObjects and ListObjectsV2 say about the page itself.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Page<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
    pub max_keys: u64,
    /// `encoding-type=url` was asked for.
    pub url: bool,
    pub truncated: bool,
}

impl Page<'_> {
    fn write(&self, xml: &mut Xml<'_>) {
        xml.text("Name", self.bucket);
        xml.key("Prefix", self.prefix, self.url);
    }

    fn write_rest(&self, xml: &mut Xml<'_>) {
        if let Some(delimiter) = self.delimiter {
            xml.key("Delimiter", delimiter, self.url);
        }
        xml.number("MaxKeys", self.max_keys);
        if self.url {
            xml.text("EncodingType", "url");
        }
        xml.boolean("IsTruncated", self.truncated);
    }
}

/// Writes the keys and returns the prefixes' place: AWS sends all Contents before all CommonPrefixes.
fn entries<'a>(xml: &mut Xml<'_>, url: bool, entries: impl IntoIterator<Item = Entry<'a>>) -> u64 {
    let mut prefixes: Vec<&str> = Vec::new();
    let mut count = 0;
    for entry in entries {
        count += 1;
        match entry {
            Entry::Object(object) => contents(xml, url, &object),
            Entry::CommonPrefix(prefix) => prefixes.push(prefix),
        }
    }
    common_prefixes(xml, url, &prefixes);
    count
}

fn contents(xml: &mut Xml<'_>, url: bool, object: &Object<'_>) {
    xml.open("Contents");
    xml.key("Key", object.key, url);
    xml.time("LastModified", object.modified_ms);
    xml.etag(object.etag);
    if let Some(checksum) = object.checksum {
        xml.text("ChecksumAlgorithm", checksum.algorithm.name());
        xml.optional("ChecksumType", checksum.kind.map(|kind| kind.name()));
    }
    xml.number("Size", object.size);
    if let Some(owner) = object.owner {
        owner.write("Owner", xml);
    }
    xml.raw(&["<StorageClass>STANDARD</StorageClass>"]);
    xml.close("Contents");
}

fn common_prefixes(xml: &mut Xml<'_>, url: bool, prefixes: &[&str]) {
    for prefix in prefixes {
        xml.open("CommonPrefixes");
        xml.key("Prefix", prefix, url);
        xml.close("CommonPrefixes");
    }
}

/// Appends `ListBucketResult` of ListObjects. `next_marker` is for lists with a delimiter, where AWS sends
/// it.
pub fn objects_v1<'a>(
    page: Page<'_>,
    marker: &str,
    next_marker: Option<&str>,
    rows: impl IntoIterator<Item = Entry<'a>>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListBucketResult");
    page.write(&mut xml);
    xml.key("Marker", marker, page.url);
    if let Some(next) = next_marker {
        xml.key("NextMarker", next, page.url);
    }
    page.write_rest(&mut xml);
    entries(&mut xml, page.url, rows);
    xml.close("ListBucketResult");
}

/// What ListObjectsV2 says more.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Continuation<'a> {
    pub start_after: Option<&'a str>,
    pub token: Option<&'a str>,
    pub next_token: Option<&'a str>,
}

/// Appends `ListBucketResult` of ListObjectsV2.
pub fn objects_v2<'a>(
    page: Page<'_>,
    continuation: Continuation<'_>,
    rows: impl IntoIterator<Item = Entry<'a>>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListBucketResult");
    page.write(&mut xml);
    if let Some(start_after) = continuation.start_after {
        xml.key("StartAfter", start_after, page.url);
    }
    xml.optional("ContinuationToken", continuation.token);
    xml.optional("NextContinuationToken", continuation.next_token);
    page.write_rest(&mut xml);
    let count = entries(&mut xml, page.url, rows);
    xml.number("KeyCount", count);
    xml.close("ListBucketResult");
}

/// A row of a version list.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Version<'a> {
    Object {
        object: Object<'a>,
        version_id: &'a str,
        latest: bool,
    },
    DeleteMarker {
        key: &'a str,
        version_id: &'a str,
        latest: bool,
        modified_ms: u64,
        owner: Option<Owner<'a>>,
    },
    CommonPrefix(&'a str),
}

/// Where a version list begins, and where the next page does.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct VersionMarkers<'a> {
    pub key: &'a str,
    pub version_id: &'a str,
    pub next_key: Option<&'a str>,
    pub next_version_id: Option<&'a str>,
}

/// Appends `ListVersionsResult`.
pub fn versions<'a>(
    page: Page<'_>,
    markers: VersionMarkers<'_>,
    rows: impl IntoIterator<Item = Version<'a>>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListVersionsResult");
    page.write(&mut xml);
    xml.key("KeyMarker", markers.key, page.url);
    xml.text("VersionIdMarker", markers.version_id);
    if let Some(next) = markers.next_key {
        xml.key("NextKeyMarker", next, page.url);
    }
    xml.optional("NextVersionIdMarker", markers.next_version_id);
    page.write_rest(&mut xml);
    let mut prefixes: Vec<&str> = Vec::new();
    for row in rows {
        match row {
            Version::Object { object, version_id, latest } => {
                xml.open("Version");
                xml.key("Key", object.key, page.url);
                xml.text("VersionId", version_id);
                xml.boolean("IsLatest", latest);
                xml.time("LastModified", object.modified_ms);
                xml.etag(object.etag);
                if let Some(checksum) = object.checksum {
                    xml.text("ChecksumAlgorithm", checksum.algorithm.name());
                    xml.optional("ChecksumType", checksum.kind.map(|kind| kind.name()));
                }
                xml.number("Size", object.size);
                xml.raw(&["<StorageClass>STANDARD</StorageClass>"]);
                if let Some(owner) = object.owner {
                    owner.write("Owner", &mut xml);
                }
                xml.close("Version");
            }
            Version::DeleteMarker { key, version_id, latest, modified_ms, owner } => {
                xml.open("DeleteMarker");
                xml.key("Key", key, page.url);
                xml.text("VersionId", version_id);
                xml.boolean("IsLatest", latest);
                xml.time("LastModified", modified_ms);
                if let Some(owner) = owner {
                    owner.write("Owner", &mut xml);
                }
                xml.close("DeleteMarker");
            }
            Version::CommonPrefix(prefix) => prefixes.push(prefix),
        }
    }
    common_prefixes(&mut xml, page.url, &prefixes);
    xml.close("ListVersionsResult");
}
