//! Request bodies in XML: read into memory up to a limit, and verified like any other body.

use std::ops::Deref;

use engine::budget::{Class, Held};
use engine::hash::{Plan, Sha256};
use engine::io;
use engine::limits::SMALL_BLOB_BYTES;

use super::Exchange;
use super::receive::check;
use crate::checksum::DeclaredDigests;
use crate::conn::Piece;
use crate::error::{Code, S3Result};
use crate::limits;
use crate::sigv4::PayloadMode;

/// The initial buffer of a document, bytes; it doubles as the document arrives.
const FIRST_BYTES: usize = 16 << 10;

/// Bytes hashed before other tasks may run.
const HASHED_AT_ONCE: usize = 64 << 10;

/// A document in memory that is accounted to its request.
#[derive(Default)]
pub(super) struct Document {
    /// The bytes received, and room for more.
    bytes: Vec<u8>,
    received: usize,
    held: Vec<Held>,
}

impl Document {
    /// Room for the next bytes, never empty.
    async fn space(&mut self, ex: &mut Exchange<'_, '_>) -> S3Result<&mut [u8]> {
        if self.received == self.bytes.len() {
            ex.body.ready().await?;
            let more = self.bytes.len().max(FIRST_BYTES);
            let class = if self.bytes.len() + more <= SMALL_BLOB_BYTES { Class::Small } else { Class::Large };
            self.held.push(ex.holder.acquire(class, more).await?);
            self.bytes.reserve_exact(more);
            self.bytes.resize(self.bytes.len() + more, 0);
        }
        Ok(&mut self.bytes[self.received..])
    }
}

impl Deref for Document {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.received]
    }
}

/// Reads the body into memory and verifies it against the digests that its headers declare.
pub(super) async fn read(ex: &mut Exchange<'_, '_>) -> S3Result<Document> {
    let declared = DeclaredDigests::from_head(ex.head)?;
    read_as(ex, &declared).await
}

/// Reads the body and verifies it against `declared`, for a request whose checksum headers do not describe its body.
pub(super) async fn read_as(ex: &mut Exchange<'_, '_>, declared: &DeclaredDigests) -> S3Result<Document> {
    if ex.body.announced().is_some_and(|size| size > limits::XML_BODY_BYTES_MAX as u64) {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    let mut document = Document::default();
    let mut chunk = Sha256::new();
    loop {
        let space = document.space(ex).await?;
        match ex.body.read(space).await? {
            Piece::Data(count) => {
                chunk.update(&space[..count]);
                document.received += count;
                if document.received > limits::XML_BODY_BYTES_MAX {
                    return Err(Code::MaxMessageLengthExceeded.into());
                }
            }
            Piece::ChunkEnd => ex.body.verify_chunk(&std::mem::take(&mut chunk).finish())?,
            // The buffers of a document cannot be refilled, so there is nothing to give back.
            Piece::Shrink => ex.body.ready().await?,
            Piece::End => break,
        }
    }
    let plan = Plan {
        md5: declared.content_md5.is_some(),
        sha256: matches!(ex.payload, PayloadMode::Signed(_)),
        checksum: declared.algorithm(),
        ..Plan::default()
    };
    let mut hash = ex.service.bytes.hashes().open(plan);
    for slice in document.chunks(HASHED_AT_ONCE) {
        hash.update_now(slice);
        io::yield_if_needed().await;
    }
    check(ex, declared, &hash.finish())?;
    Ok(document)
}
