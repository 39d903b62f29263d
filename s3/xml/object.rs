//! The responses of CopyObject, GetObjectAttributes and DeleteObjects.

use raft::record::VersionRecord;

use super::write::Xml;
use super::{Checksum, write_storage_class};
use crate::checksum;
use crate::error::S3Error;

/// Appends `CopyObjectResult`.
pub fn copied(etag: &str, modified_ms: u64, checksum: Option<&Checksum>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("CopyObjectResult");
    xml.time("LastModified", modified_ms);
    xml.etag(etag);
    if let Some(checksum) = checksum {
        checksum.write(&mut xml);
    }
    xml.close("CopyObjectResult");
}

/// The attributes that a GetObjectAttributes requests.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Attributes {
    pub etag: bool,
    pub checksum: bool,
    pub parts: bool,
    pub storage_class: bool,
    pub size: bool,
    /// Only parts with higher numbers are listed.
    pub marker: u32,
    /// The most parts listed.
    pub max_parts: u32,
}

/// Appends `GetObjectAttributesResponse`. `checksum` is the version's checksum, if it has one.
pub fn attributes(
    version: &VersionRecord,
    checksum: Option<&Checksum>,
    wanted: &Attributes,
    out: &mut Vec<u8>,
) {
    let mut xml = Xml::document(out);
    xml.root("GetObjectAttributesResponse");
    if wanted.etag {
        // Without quotes, unlike everywhere else.
        xml.text("ETag", &version.etag());
    }
    if let Some(checksum) = checksum.filter(|_| wanted.checksum) {
        xml.open("Checksum");
        checksum.write(&mut xml);
        xml.close("Checksum");
    }
    if wanted.parts && version.part_count > 0 {
        xml.open("ObjectParts");
        if let Some(checksum) = checksum {
            parts(version, checksum, wanted, &mut xml);
        }
        xml.number("PartsCount", version.part_count.into());
        xml.close("ObjectParts");
    }
    if wanted.storage_class {
        write_storage_class(version.storage_class.as_deref(), &mut xml);
    }
    if wanted.size {
        xml.number("ObjectSize", version.size);
    }
    xml.close("GetObjectAttributesResponse");
}

/// Writes the parts of an object with a checksum. Without one, parts are only counted (AWS,
/// "GetObjectAttributesParts").
fn parts(version: &VersionRecord, whole: &Checksum, wanted: &Attributes, xml: &mut Xml<'_>) {
    let mut rest = version.blobs.iter().filter(|blob| blob.part_number > wanted.marker);
    let page: Vec<_> = rest.by_ref().take(wanted.max_parts as usize).collect();
    xml.number("PartNumberMarker", wanted.marker.into());
    xml.number("NextPartNumberMarker", page.last().map_or(0, |blob| blob.part_number.into()));
    xml.number("MaxParts", wanted.max_parts.into());
    xml.boolean("IsTruncated", rest.next().is_some());
    for blob in page {
        xml.open("Part");
        xml.number("PartNumber", blob.part_number.into());
        xml.number("Size", blob.size);
        if !blob.checksum.is_empty() {
            xml.text(checksum::element(whole.algorithm), &checksum::base64_encode(&blob.checksum));
        }
        xml.close("Part");
    }
}

/// The result for one object of a DeleteObjects request.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Deleted<'a> {
    /// The object was deleted, or a delete marker with the id `delete_marker` was added.
    Done {
        key: &'a str,
        version_id: Option<&'a str>,
        delete_marker: Option<&'a str>,
    },
    Failed {
        key: &'a str,
        version_id: Option<&'a str>,
        error: &'a S3Error,
    },
}

/// Appends `DeleteResult`; `quiet` omits successful deletes.
pub fn deleted<'a>(quiet: bool, rows: impl IntoIterator<Item = Deleted<'a>>, out: &mut Vec<u8>) {
    let mut xml = Xml::document(out);
    xml.root("DeleteResult");
    for row in rows {
        match row {
            Deleted::Done { .. } if quiet => {}
            Deleted::Done { key, version_id, delete_marker } => {
                xml.open("Deleted");
                xml.text("Key", key);
                xml.optional("VersionId", version_id);
                if let Some(id) = delete_marker {
                    xml.boolean("DeleteMarker", true);
                    xml.text("DeleteMarkerVersionId", id);
                }
                xml.close("Deleted");
            }
            Deleted::Failed { key, version_id, error } => {
                xml.open("Error");
                xml.text("Key", key);
                xml.optional("VersionId", version_id);
                xml.text("Code", error.code().name());
                xml.text("Message", error.message());
                xml.close("Error");
            }
        }
    }
    xml.close("DeleteResult");
}
