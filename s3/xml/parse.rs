//! The reader for the documents that clients send: a pull parser whose events are validated.
//!
//! It never recurses: a document of a million nested elements is refused at depth 8, not when the stack overflows. It
//! refuses document types and thus entities: only the five predefined ones and numeric references are resolved. A
//! character that XML 1.0 forbids, literal or as a reference, and anything else that is malformed is MalformedXML.
//! Prefixes and namespaces are ignored. A long document does not keep its core from other tasks.

use engine::io;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::write::is_xml_char;
use crate::error::{Code, S3Error};

/// The deepest nesting allowed; S3's documents need at most 4.
const DEPTH_MAX: usize = 8;

/// Events that are read before other tasks may run. They take up to 0.2 ms, a document of 10,000 parts 10 to 50 ms.
const EVENTS_AT_ONCE: usize = 1000;

/// The next event in a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Node {
    /// An element begins, by its local name.
    Open(String),
    /// The innermost element ends; this is its text, including surrounding white space.
    Close(String),
    /// The document has ended, after its one root.
    End,
}

/// A document being read.
#[derive(Debug)]
pub struct Elements<'a> {
    reader: Reader<&'a [u8]>,
    /// Events read so far.
    events: usize,
    depth: usize,
    rooted: bool,
    text: String,
    /// The last element was an empty-element tag, whose end is still to be reported.
    pending_close: bool,
}

/// The error for a malformed document.
pub fn malformed() -> S3Error {
    Code::MalformedXML.into()
}

impl<'a> Elements<'a> {
    /// Starts reading. An empty document is only detected later, as a missing root.
    pub fn new(document: &'a [u8]) -> Result<Elements<'a>, S3Error> {
        let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
        let text = std::str::from_utf8(document).map_err(|_| malformed())?;
        let reader = Reader::from_str(text);
        Ok(Elements { reader, events: 0, depth: 0, rooted: false, text: String::new(), pending_close: false })
    }

    /// Returns the next event.
    pub async fn node(&mut self) -> Result<Node, S3Error> {
        if std::mem::take(&mut self.pending_close) {
            return self.close();
        }
        loop {
            self.events += 1;
            if self.events.is_multiple_of(EVENTS_AT_ONCE) {
                io::yield_now().await;
            }
            match self.reader.read_event().map_err(|_| malformed())? {
                Event::Start(start) => return self.open(local(start.local_name().as_ref())?),
                Event::Empty(start) => {
                    let name = local(start.local_name().as_ref())?;
                    self.pending_close = true;
                    return self.open(name);
                }
                Event::End(_) => return self.close(),
                Event::Text(text) => self.push(&text.xml10_content())?,
                Event::CData(text) => self.push(&text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let character = match reference.resolve_char_ref().map_err(|_| malformed())? {
                        Some(character) => character,
                        None => match &*reference.xml10_content() {
                            "amp" => '&',
                            "lt" => '<',
                            "gt" => '>',
                            "quot" => '"',
                            "apos" => '\'',
                            _ => return Err(malformed()),
                        },
                    };
                    self.push(character.encode_utf8(&mut [0; 4]))?;
                }
                Event::DocType(_) => return Err(malformed()),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::Eof if self.depth == 0 && self.rooted => return Ok(Node::End),
                Event::Eof => return Err(malformed()),
            }
        }
    }

    fn open(&mut self, name: String) -> Result<Node, S3Error> {
        // Text between the children of an element must be white space; a child has its own text.
        if !self.text.trim().is_empty() || self.depth == DEPTH_MAX || (self.depth == 0 && self.rooted) {
            return Err(malformed());
        }
        self.text.clear();
        self.depth += 1;
        self.rooted = true;
        Ok(Node::Open(name))
    }

    fn close(&mut self) -> Result<Node, S3Error> {
        self.depth = self.depth.checked_sub(1).ok_or_else(malformed)?;
        Ok(Node::Close(std::mem::take(&mut self.text)))
    }

    fn push(&mut self, text: &str) -> Result<(), S3Error> {
        if !text.chars().all(is_xml_char) || self.depth == 0 && !text.trim().is_empty() {
            return Err(malformed());
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Opens the root, which must have this name.
    pub async fn root(&mut self, name: &str) -> Result<(), S3Error> {
        match self.node().await? {
            Node::Open(found) if found == name => Ok(()),
            _ => Err(malformed()),
        }
    }

    /// The name of the next child of the open element; `None` where the element ends.
    pub async fn child(&mut self) -> Result<Option<String>, S3Error> {
        match self.node().await? {
            Node::Open(name) => Ok(Some(name)),
            Node::Close(text) if text.trim().is_empty() => Ok(None),
            _ => Err(malformed()),
        }
    }

    /// The text of the element opened last, which must have no children.
    pub async fn text(&mut self) -> Result<String, S3Error> {
        match self.node().await? {
            Node::Close(text) => Ok(text),
            _ => Err(malformed()),
        }
    }

    /// Checks that the document ends here.
    pub async fn end(&mut self) -> Result<(), S3Error> {
        match self.node().await? {
            Node::End => Ok(()),
            _ => Err(malformed()),
        }
    }
}

fn local(name: impl AsRef<[u8]>) -> Result<String, S3Error> {
    String::from_utf8(name.as_ref().to_vec()).map_err(|_| malformed())
}
