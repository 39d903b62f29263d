//! A range of an object as it leaves: blob after blob, slice after slice, every one checked.

use std::sync::Arc;

use engine::read::{BlobReader, Located, Slice};
use engine::peer::Bytes;
use raft::record::{BlobRef, VersionRecord};

use crate::error::{Code, S3Result};

/// Bytes `offset .. offset + length` of a version.
pub(crate) struct ObjectStream {
    bytes: Bytes,
    version: Arc<VersionRecord>,
    /// The next blob to open.
    next_blob: usize,
    /// Where in that blob the range goes on.
    offset: u64,
    /// Bytes not yet opened.
    left: u64,
    located: Option<Located>,
    reader: Option<BlobReader>,
    first: Option<Slice>,
}

impl ObjectStream {
    /// The stream of a range, which lies within the version. `located` is the place of its only blob, where known.
    pub(crate) fn new(
        bytes: &Bytes,
        version: Arc<VersionRecord>,
        located: Option<Located>,
        offset: u64,
        length: u64,
    ) -> ObjectStream {
        let mut skipped = 0;
        let next_blob = version
            .blobs
            .iter()
            .position(|blob| {
                let holds = offset < skipped + blob.size;
                if !holds {
                    skipped += blob.size;
                }
                holds
            })
            .unwrap_or(version.blobs.len());
        let located = if version.blobs.len() == 1 { located } else { None };
        let offset = offset - skipped;
        ObjectStream { bytes: bytes.clone(), version, next_blob, offset, left: length, located, reader: None, first: None }
    }

    /// Reads the first slice ahead, so that an object that can't be read is told as an error and not as a broken
    /// answer.
    pub(crate) async fn prefetch(&mut self) -> S3Result<()> {
        self.first = self.read().await?;
        Ok(())
    }

    /// The next slice; none at the end.
    pub(crate) async fn next(&mut self) -> S3Result<Option<Slice>> {
        match self.first.take() {
            Some(slice) => Ok(Some(slice)),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> S3Result<Option<Slice>> {
        loop {
            if let Some(reader) = &mut self.reader {
                if let Some(slice) = reader.next().await? {
                    return Ok(Some(slice));
                }
                self.reader = None;
            }
            if self.left == 0 {
                return Ok(None);
            }
            let Some(blob) = self.version.blobs.get(self.next_blob) else {
                return Err(Code::InternalError.with("The object's record holds fewer bytes than its size."));
            };
            let length = (blob.size - self.offset).min(self.left);
            let reader =
                BlobReader::open(&self.bytes, blob_of(blob), self.located.take(), self.offset, length).await?;
            self.reader = Some(reader);
            self.left -= length;
            self.offset = 0;
            self.next_blob += 1;
        }
    }
}

/// What the byte store has to know of a blob.
pub(crate) fn blob_of(blob: &BlobRef) -> engine::read::Blob {
    engine::read::Blob {
        data_id: blob.data_id.to_bytes().into(),
        size: blob.size,
        partition: blob.partition as u16,
        k: blob.k as u8,
        m: blob.m as u8,
    }
}
