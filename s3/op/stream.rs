//! A range of an object as it leaves: blob after blob, slice after slice, every one checked.

use std::sync::Arc;

use engine::ids::DataId;
use engine::peer::{self, Bytes, Located};
use engine::placement::Profile;
use engine::read::BlobReader;
use raft::record::{BlobRef, VersionRecord};

use crate::error::{Code, S3Error, S3Result};

/// Bytes `offset .. offset + length` of a version.
pub(crate) struct ObjectStream {
    bytes: Bytes,
    version: Arc<VersionRecord>,
    /// The next blob to open.
    next_blob: usize,
    /// Where in that blob the range goes on.
    offset: u64,
    /// Bytes of blobs not yet opened.
    left: u64,
    located: Option<Located>,
    /// The blob at hand, and how much of it is still to come.
    reader: Option<(BlobReader, u64)>,
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
        let mut offset = offset;
        let mut next_blob = 0;
        while let Some(blob) = version.blobs.get(next_blob).filter(|blob| blob.size <= offset) {
            offset -= blob.size;
            next_blob += 1;
        }
        let located = located.filter(|_| version.blobs.len() == 1);
        ObjectStream { bytes: bytes.clone(), version, next_blob, offset, left: length, located, reader: None }
    }

    /// Makes sure that the first slice is there.
    ///
    /// # Errors
    /// The blob was deleted since the version was resolved (`None`), or can't be read.
    pub(crate) async fn prime(&mut self) -> Result<(), Option<S3Error>> {
        if self.open_next()?
            && let Some((reader, _)) = &mut self.reader
        {
            reader.prime().await.map_err(|error| match error {
                engine::Error::NotFound => None,
                error => Some(error.into()),
            })?;
        }
        Ok(())
    }

    /// The next slice; none at the end.
    pub(crate) async fn next(&mut self) -> S3Result<Option<&[u8]>> {
        if self.reader.as_ref().is_none_or(|(_, left)| *left == 0) && !self.open_next()? {
            return Ok(None);
        }
        let Some((reader, left)) = &mut self.reader else { return Ok(None) };
        match reader.next().await? {
            Some(slice) => {
                *left = left.saturating_sub(slice.len() as u64);
                Ok(Some(slice))
            }
            None => Err(short()),
        }
    }

    /// Opens the next blob of the range; false at its end.
    fn open_next(&mut self) -> S3Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        let blob = self.version.blobs.get(self.next_blob).ok_or_else(short)?;
        let length = (blob.size - self.offset).min(self.left);
        let range = self.offset..self.offset + length;
        let reader = BlobReader::new(&self.bytes, to_engine(blob)?, self.located.take(), range);
        self.reader = Some((reader, length));
        self.left -= length;
        self.offset = 0;
        self.next_blob += 1;
        Ok(true)
    }
}

fn short() -> S3Error {
    Code::InternalError.with("The object's record and its bytes do not fit together.")
}

/// What the byte store has to know of a blob.
fn to_engine(blob: &BlobRef) -> S3Result<peer::BlobRef> {
    let small = |number: u32| u8::try_from(number).map_err(|_| short());
    Ok(peer::BlobRef {
        data_id: DataId(blob.data_id.to_bytes()),
        partition: u16::try_from(blob.partition).map_err(|_| short())?,
        profile: Profile { k: small(blob.k)?, m: small(blob.m)? },
        codec: small(blob.codec)?,
        size: blob.size,
    })
}
