//! XML in and out: [`mod@write`] is the writer, [`list`], [`multipart`] and [`object`] the answers, [`parse`]
//! the reader and [`request`] the three documents that clients send.

pub mod list;
pub mod multipart;
pub mod object;
pub mod parse;
pub mod request;
pub mod write;

/// Who owns everything, as answers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The canonical user id.
    pub id: &'a str,
    /// The display name.
    pub display_name: &'a str,
}

impl Owner<'_> {
    fn write(&self, element: &str, xml: &mut write::Xml<'_>) {
        xml.open(element);
        xml.text("ID", self.id);
        xml.text("DisplayName", self.display_name);
        xml.close(element);
    }
}

/// A checksum as answers show it: its algorithm, its text and whether it covers the whole object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum<'a> {
    /// The algorithm.
    pub algorithm: crate::checksum::Algorithm,
    /// Base64, for a composite value with `-N`.
    pub text: &'a str,
    /// Its type; none leaves it out.
    pub kind: Option<crate::checksum::ChecksumType>,
}

impl Checksum<'_> {
    fn write(&self, xml: &mut write::Xml<'_>) {
        xml.text(self.algorithm.element(), self.text);
        xml.optional("ChecksumType", self.kind.map(|kind| kind.name()));
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
