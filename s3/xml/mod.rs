//! XML documents: [`mod@write`] is the writer, [`list`], [`multipart`], [`object`] and [`unconfigured`] are the
//! responses, [`parse`] is the reader and [`request`] the three documents that clients send.

use engine::hash::ChecksumAlgorithm;
use raft::record::{ChecksumSpec, ChecksumType};

use crate::checksum;

pub mod list;
pub mod multipart;
pub mod object;
pub mod parse;
pub mod request;
pub mod unconfigured;
pub mod write;

/// The owner of everything, as responses name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The canonical user id.
    pub id: &'a str,
    /// The account id, twelve digits: what requests name as the expected owner. Responses show it as the display name,
    /// since S3 has no other place for it.
    pub account_id: &'a str,
}

impl Owner<'_> {
    fn write(&self, element: &str, xml: &mut write::Xml<'_>) {
        xml.open(element);
        xml.text("ID", self.id);
        xml.text("DisplayName", self.account_id);
        xml.close(element);
    }
}

/// A checksum as responses show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// The algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// Base64, followed by `-N` if the value is composite.
    pub text: String,
    /// What it covers.
    pub kind: ChecksumType,
}

impl Checksum {
    fn write(&self, xml: &mut write::Xml<'_>) {
        xml.text(checksum::element(self.algorithm), &self.text);
        xml.text("ChecksumType", checksum::type_name(self.kind));
    }
}

/// Writes the algorithm and type of an object's checksum, without the value.
fn write_spec(spec: Option<ChecksumSpec>, xml: &mut write::Xml<'_>) {
    if let Some((algorithm, kind)) = spec.and_then(ChecksumSpec::known) {
        xml.text("ChecksumAlgorithm", checksum::name(algorithm));
        xml.text("ChecksumType", checksum::type_name(kind));
    }
}

/// Writes a storage class; records omit STANDARD.
fn write_storage_class(class: Option<&str>, xml: &mut write::Xml<'_>) {
    match class {
        None => xml.raw(&["<StorageClass>STANDARD</StorageClass>"]),
        Some(class) => xml.text("StorageClass", class),
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
