//! The answers of CopyObject and DeleteObjects.

use super::Checksum;
use super::write::Xml;
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

/// What became of one object of a DeleteObjects request.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Deleted<'a> {
    /// Gone, or a delete marker was put (whose id `delete_marker` holds).
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

/// Appends `DeleteResult`; `quiet` leaves out what went well.
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
