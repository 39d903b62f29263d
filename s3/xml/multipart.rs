//! The responses of the multipart operations.

use engine::hash::{self, ChecksumAlgorithm};
use raft::list::{Page, PartsPage};
use raft::record::{Bytes16, UploadRecord};

use super::list::{ListEcho, entries};
use super::write::Xml;
use super::{Checksum, Owner, write_spec, write_storage_class};
use crate::checksum;

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
    checksum: Option<&Checksum>,
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
pub fn part_copied(etag: &str, modified_ms: u64, checksum: Option<&hash::Checksum>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("CopyPartResult");
    xml.time("LastModified", modified_ms);
    xml.etag(etag);
    if let Some(checksum) = checksum {
        part_checksum(&mut xml, checksum.algorithm(), checksum.as_bytes());
    }
    xml.close("CopyPartResult");
}

fn part_checksum(xml: &mut Xml<'_>, algorithm: ChecksumAlgorithm, value: &[u8]) {
    xml.text(checksum::element(algorithm), &checksum::base64_encode(value));
}

/// The request parameters that the response to ListParts echoes.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct PartsEcho<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub marker: u32,
    pub max: u32,
    /// `encoding-type=url` was requested.
    pub url: bool,
}

/// Appends `ListPartsResult`.
pub fn parts(echo: PartsEcho<'_>, page: &PartsPage, owner: Owner<'_>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("ListPartsResult");
    xml.text("Bucket", echo.bucket);
    xml.key("Key", echo.key, echo.url);
    if echo.url {
        xml.text("EncodingType", "url");
    }
    xml.text("UploadId", &page.upload.upload_id.to_hex());
    owner.write("Initiator", &mut xml);
    owner.write("Owner", &mut xml);
    write_storage_class(page.upload.storage_class.as_deref(), &mut xml);
    xml.number("PartNumberMarker", echo.marker.into());
    xml.number("NextPartNumberMarker", page.parts.last().map_or(0, |part| part.number).into());
    xml.number("MaxParts", echo.max.into());
    xml.boolean("IsTruncated", page.next.is_some());
    write_spec(page.upload.checksum, &mut xml);
    let algorithm = page.upload.checksum.and_then(|spec| spec.algorithm());
    for part in &page.parts {
        xml.open("Part");
        xml.number("PartNumber", part.number.into());
        xml.time("LastModified", part.modified_ms);
        xml.etag(&part.md5.to_hex());
        xml.number("Size", part.size);
        if let Some(algorithm) = algorithm.filter(|_| !part.checksum.is_empty()) {
            part_checksum(&mut xml, algorithm, &part.checksum);
        }
        xml.close("Part");
    }
    xml.close("ListPartsResult");
}

/// Appends `ListMultipartUploadsResult`.
pub fn uploads(
    echo: ListEcho<'_>,
    (key_marker, upload_id_marker): (&str, &str),
    page: &Page<UploadRecord, (String, Option<Bytes16>)>,
    owner: Owner<'_>,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("ListMultipartUploadsResult");
    xml.text("Bucket", echo.bucket);
    xml.key("KeyMarker", key_marker, echo.url);
    xml.text("UploadIdMarker", upload_id_marker);
    if let Some((key, id)) = &page.next {
        xml.key("NextKeyMarker", key, echo.url);
        xml.optional("NextUploadIdMarker", id.map(Bytes16::to_hex).as_deref());
    }
    xml.key("Prefix", echo.prefix, echo.url);
    if let Some(delimiter) = echo.delimiter {
        xml.key("Delimiter", delimiter, echo.url);
    }
    if echo.url {
        xml.text("EncodingType", "url");
    }
    xml.number("MaxUploads", echo.max.into());
    xml.boolean("IsTruncated", page.next.is_some());
    entries(&mut xml, echo.url, &page.entries, |xml, upload| {
        xml.open("Upload");
        xml.key("Key", &upload.key, echo.url);
        xml.text("UploadId", &upload.upload_id.to_hex());
        owner.write("Initiator", xml);
        owner.write("Owner", xml);
        write_storage_class(upload.storage_class.as_deref(), xml);
        xml.time("Initiated", upload.created_ms);
        write_spec(upload.checksum, xml);
        xml.close("Upload");
    });
    xml.close("ListMultipartUploadsResult");
}
