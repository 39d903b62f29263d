//! Request bodies that are XML: read into memory, bounded, and checked like any other body.

use engine::hash::{Plan, Sha256Chunk};

use super::Exchange;
use super::receive::check;
use crate::checksum::Wanted;
use crate::conn::Piece;
use crate::error::{Code, S3Result};
use crate::limits;
use crate::sigv4::PayloadMode;

/// Reads the body into memory and checks it against what the client said of it.
pub(super) async fn read(ex: &mut Exchange<'_, '_>) -> S3Result<Vec<u8>> {
    let wanted = Wanted::from_head(ex.head)?;
    read_as(ex, &wanted).await
}

/// The same against `wanted`, for a request whose checksum headers speak of something other than its body.
pub(super) async fn read_as(ex: &mut Exchange<'_, '_>, wanted: &Wanted) -> S3Result<Vec<u8>> {
    if ex.body.announced().is_some_and(|size| size > limits::XML_BODY_BYTES_MAX as u64) {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    let mut document = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let mut chunk = Sha256Chunk::new();
    loop {
        match ex.body.read(&mut buffer).await? {
            Piece::Data(count) => {
                chunk.update(&buffer[..count]);
                document.extend_from_slice(&buffer[..count]);
                if document.len() > limits::XML_BODY_BYTES_MAX {
                    return Err(Code::MaxMessageLengthExceeded.into());
                }
            }
            Piece::ChunkEnd => ex.body.verify_chunk(&chunk.finish_chunk())?,
            Piece::End => break,
        }
    }
    let plan = Plan {
        md5: wanted.content_md5.is_some(),
        sha256: matches!(ex.payload, PayloadMode::Signed(_)),
        checksum: wanted.algorithm(),
    };
    let mut hash = ex.service.bytes.hashes().open(plan);
    hash.update_now(&document);
    check(ex, wanted, &hash.finish())?;
    Ok(document)
}
