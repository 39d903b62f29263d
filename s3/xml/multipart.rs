//! The answers of the multipart operations.

use super::write::Xml;
use super::{Checksum, Owner};
use crate::checksum::{Algorithm, ChecksumType};

/// Appends `InitiateMultipartUploadResult`.
pub fn initiated(bucket: &str, key: &str, upload_id: &str, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("InitiateMultipartUploadResult");
    xml.text("Bucket", bucket);
    xml.text("Key", key);
    xml.text("UploadId", upload_id);
    xml.close("InitiateMultipartUploadResult");
}

/// Appends `CompleteMultipartUploadResult`. `location` is the object's URL.
pub fn completed(
    location: &str,
    bucket: &str,
    key: &str,
    etag: &str,
    checksum: Option<Checksum<'_>>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("CompleteMultipartUploadResult");
    xml.text("Location", location);
    xml.text("Bucket", bucket);
    xml.text("Key", key);
    xml.etag(etag);
    if let Some(checksum) = checksum {
        checksum.write(&mut xml);
    }
    xml.close("CompleteMultipartUploadResult");
}

/// Appends `CopyPartResult`.
pub fn part_copied(etag: &str, modified_ms: u64, checksum: Option<Checksum<'_>>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("CopyPartResult");
    xml.time("LastModified", modified_ms);
    xml.etag(etag);
    if let Some(checksum) = checksum {
        xml.text(checksum.algorithm.element(), checksum.text);
    }
    xml.close("CopyPartResult");
}

/// A part's row.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Part<'a> {
    pub number: u32,
    pub modified_ms: u64,
    pub etag: &'a str,
    pub size: u64,
    pub checksum: Option<Checksum<'a>>,
}

/// What ListParts says about the page itself.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct PartsPage<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub upload_id: &'a str,
    pub owner: Owner<'a>,
    pub marker: u32,
    pub next_marker: u32,
    pub max_parts: u32,
    pub truncated: bool,
    /// `encoding-type=url` was asked for.
    pub url: bool,
    pub checksum: Option<(Algorithm, ChecksumType)>,
}

/// Appends `ListPartsResult`.
pub fn parts<'a>(page: PartsPage<'_>, parts: impl IntoIterator<Item = Part<'a>>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("ListPartsResult");
    xml.text("Bucket", page.bucket);
    xml.key("Key", page.key, page.url);
    if page.url {
        xml.text("EncodingType", "url");
    }
    xml.text("UploadId", page.upload_id);
    page.owner.write("Initiator", &mut xml);
    page.owner.write("Owner", &mut xml);
    xml.text("StorageClass", "STANDARD");
    xml.number("PartNumberMarker", page.marker.into());
    xml.number("NextPartNumberMarker", page.next_marker.into());
    xml.number("MaxParts", page.max_parts.into());
    xml.boolean("IsTruncated", page.truncated);
    if let Some((algorithm, kind)) = page.checksum {
        xml.text("ChecksumAlgorithm", algorithm.name());
        xml.text("ChecksumType", kind.name());
    }
    for part in parts {
        xml.open("Part");
        xml.number("PartNumber", part.number.into());
        xml.time("LastModified", part.modified_ms);
        xml.etag(part.etag);
        xml.number("Size", part.size);
        if let Some(checksum) = part.checksum {
            xml.text(checksum.algorithm.element(), checksum.text);
        }
        xml.close("Part");
    }
    xml.close("ListPartsResult");
}

/// A row of ListMultipartUploads.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Upload<'a> {
    Upload {
        key: &'a str,
        upload_id: &'a str,
        initiated_ms: u64,
        checksum: Option<(Algorithm, ChecksumType)>,
    },
    CommonPrefix(&'a str),
}

/// What ListMultipartUploads says about the page itself.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct UploadsPage<'a> {
    pub bucket: &'a str,
    pub owner: Owner<'a>,
    pub key_marker: &'a str,
    pub upload_id_marker: &'a str,
    pub next_key_marker: Option<&'a str>,
    pub next_upload_id_marker: Option<&'a str>,
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
    pub max_uploads: u32,
    pub truncated: bool,
    /// `encoding-type=url` was asked for.
    pub url: bool,
}

/// Appends `ListMultipartUploadsResult`.
pub fn uploads<'a>(page: UploadsPage<'_>, uploads: impl IntoIterator<Item = Upload<'a>>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("ListMultipartUploadsResult");
    xml.text("Bucket", page.bucket);
    xml.key("KeyMarker", page.key_marker, page.url);
    xml.text("UploadIdMarker", page.upload_id_marker);
    if let Some(next) = page.next_key_marker {
        xml.key("NextKeyMarker", next, page.url);
    }
    xml.optional("NextUploadIdMarker", page.next_upload_id_marker);
    xml.key("Prefix", page.prefix, page.url);
    if let Some(delimiter) = page.delimiter {
        xml.key("Delimiter", delimiter, page.url);
    }
    if page.url {
        xml.text("EncodingType", "url");
    }
    xml.number("MaxUploads", page.max_uploads.into());
    xml.boolean("IsTruncated", page.truncated);
    let mut prefixes: Vec<&str> = Vec::new();
    for upload in uploads {
        match upload {
            Upload::Upload { key, upload_id, initiated_ms, checksum } => {
                xml.open("Upload");
                xml.key("Key", key, page.url);
                xml.text("UploadId", upload_id);
                page.owner.write("Initiator", &mut xml);
                page.owner.write("Owner", &mut xml);
                xml.text("StorageClass", "STANDARD");
                xml.time("Initiated", initiated_ms);
                if let Some((algorithm, kind)) = checksum {
                    xml.text("ChecksumAlgorithm", algorithm.name());
                    xml.text("ChecksumType", kind.name());
                }
                xml.close("Upload");
            }
            Upload::CommonPrefix(prefix) => prefixes.push(prefix),
        }
    }
    for prefix in prefixes {
        xml.open("CommonPrefixes");
        xml.key("Prefix", prefix, page.url);
        xml.close("CommonPrefixes");
    }
    xml.close("ListMultipartUploadsResult");
}
