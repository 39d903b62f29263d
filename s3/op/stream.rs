//! A range of an object as it is sent: blob after blob, slice after slice, each one verified.
//!
//! Memory is held for the current slice and its read-ahead, and for nothing while the client takes nothing
//! ([`ObjectStream::release`]).
//!
//! Blobs are located ahead of the read and held in place, but never more than a window of [`LOCATED_PARTS`]. So an
//! object of no more parts is read to its end even if it is replaced meanwhile. A part of a longer one may be reclaimed
//! before the window reaches it: then the read ends with an error.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use engine::budget::{Class, Held, Holder};
use engine::ids::DataId;
use engine::io::spawn;
use engine::limits::LOCATED_PARTS;
use engine::peer::{self, ByteStore, Hold, Located};
use engine::placement::Profile;
use engine::read::{BlobReader, locate};
use raft::record::{BlobRef, Bytes16, VersionRecord};

use crate::error::{Code, S3Error, S3Result};

/// How many blobs of one object are located at the same time.
const LOCATED_AT_ONCE: usize = if cfg!(sim) { 1 } else { 32 };

/// The window: [`LOCATED_PARTS`]. Unit tests have fewer parts.
const WINDOW: usize = if cfg!(test) { 40 } else { LOCATED_PARTS };

/// Bytes `offset .. offset + length` of a version.
pub(crate) struct ObjectStream {
    bytes: ByteStore,
    holder: Rc<Holder>,
    version: Arc<VersionRecord>,
    /// The next blob to open.
    next_blob: usize,
    /// The offset at which the range continues in that blob.
    offset: u64,
    /// Bytes of blobs not yet opened.
    left: u64,
    /// The locations of the next blobs.
    located: VecDeque<Located>,
    /// The blobs of the range that are still to be located. An only blob is located by its reader.
    unlocated: Range<usize>,
    /// The memory for the locations of many blobs.
    held: Option<Held>,
    /// The current blob, and the number of its bytes still to send.
    reader: Option<(BlobReader, u64)>,
}

/// The version whose bytes had been reclaimed when they were to be read, if any.
#[derive(Default)]
pub(super) struct Reclaimed(Option<Bytes16>);

impl ObjectStream {
    /// Opens a range, which lies within the version, and loads its first slice. `located` is the location of the only
    /// blob, if known. `None` means that the version was replaced and its bytes were reclaimed since it was resolved;
    /// the caller must resolve the key again, and what it finds is just as good an answer.
    ///
    /// The blobs of the window stay in place until they have been read, even if the version is replaced.
    ///
    /// # Errors
    /// If the bytes cannot be read, or if those of the same version were already `reclaimed` in the previous attempt.
    pub(super) async fn open(
        bytes: &ByteStore,
        holder: &Rc<Holder>,
        reclaimed: &mut Reclaimed,
        version: Arc<VersionRecord>,
        located: Option<Located>,
        range: Range<u64>,
    ) -> S3Result<Option<ObjectStream>> {
        let id = version.version_id;
        let mut offset = range.start;
        let mut next_blob = 0;
        while let Some(blob) = version.blobs.get(next_blob).filter(|blob| blob.size <= offset) {
            offset -= blob.size;
            next_blob += 1;
        }
        let left = range.end - range.start;
        let located = located.into_iter().collect();
        let (bytes, holder) = (bytes.clone(), holder.clone());
        let mut stream = ObjectStream {
            bytes,
            holder,
            version,
            next_blob,
            offset,
            left,
            located,
            unlocated: 0..0,
            held: None,
            reader: None,
        };
        match stream.begin().await {
            Ok(()) => Ok(Some(stream)),
            Err(Unreadable::NotStored) if reclaimed.0.replace(id) != Some(id) => {
                engine::reach!("reclaimed-version-resolved-again");
                Ok(None)
            }
            Err(unreadable) => Err(unreadable.into()),
        }
    }

    /// Locates the first window and loads the first slice.
    async fn begin(&mut self) -> Result<(), Unreadable> {
        if self.version.blobs.len() > 1 {
            self.prepare_window().await?;
        }
        if self.open_next().await?
            && let Some((reader, _)) = &mut self.reader
        {
            reader.fill().await?;
        }
        Ok(())
    }

    /// Finds out which blobs the range needs, and accounts for the memory of the window.
    async fn prepare_window(&mut self) -> S3Result<()> {
        let mut covered = 0;
        let end = self.offset + self.left;
        let in_range = self.version.blobs.iter().skip(self.next_blob).take_while(|blob| {
            let begins = covered;
            covered += blob.size;
            begins < end
        });
        let count = in_range.count();
        self.unlocated = self.next_blob..self.next_blob + count;
        let window = count.min(WINDOW);
        if count > LOCATED_AT_ONCE {
            let bytes = self.version.blobs.len() * size_of::<BlobRef>() + window * size_of::<Located>();
            self.held = Some(self.holder.acquire(Class::Large, bytes).await?);
        }
        self.located.reserve_exact(window);
        Ok(())
    }

    /// Locates and holds the next blobs, a few at a time, until the window is full.
    async fn fill_window(&mut self) -> Result<(), Unreadable> {
        while self.located.len() < WINDOW && !self.unlocated.is_empty() {
            let room = WINDOW - self.located.len();
            let next = self.unlocated.clone().take(LOCATED_AT_ONCE.min(room));
            let find = |index| {
                let (bytes, blob) = (self.bytes.clone(), to_engine(&self.version.blobs[index])?);
                Ok(spawn(async move { locate(&bytes, &blob, Hold::All).await }))
            };
            for located in next.map(find).collect::<S3Result<Vec<_>>>()? {
                let located = located.await.unwrap_or(Err(engine::Error::Closed));
                self.located.push_back(located?);
                self.unlocated.start += 1;
            }
        }
        Ok(())
    }

    /// Bytes still to send.
    pub(crate) fn left(&self) -> u64 {
        self.left + self.reader.as_ref().map_or(0, |(_, left)| *left)
    }

    /// The next slice; empty at the end. It returns the same bytes until they are [consumed](ObjectStream::consume).
    pub(crate) async fn fill(&mut self) -> S3Result<&[u8]> {
        if self.reader.as_ref().is_none_or(|(_, left)| *left == 0) && !self.open_next().await? {
            return Ok(&[]);
        }
        let Some((reader, _)) = &mut self.reader else { return Ok(&[]) };
        let slice = reader.fill().await?;
        if slice.is_empty() { Err(short()) } else { Ok(slice) }
    }

    /// Whether the next slice is in memory.
    pub(crate) fn is_loaded(&self) -> bool {
        self.reader.as_ref().is_some_and(|(reader, _)| reader.is_loaded())
    }

    /// Marks the first `count` bytes of the slice as taken.
    pub(crate) fn consume(&mut self, count: usize) {
        if let Some((reader, left)) = &mut self.reader {
            reader.consume(count);
            *left -= count as u64;
        }
    }

    /// Gives all buffers back; bytes that were not consumed will be read again.
    pub(crate) async fn release(&mut self) {
        if let Some((reader, _)) = &mut self.reader {
            reader.release().await;
        }
    }

    /// Frees the last buffer and returns the hold on its memory.
    pub(crate) fn into_held(self) -> Option<Held> {
        self.reader.and_then(|(reader, _)| reader.into_held())
    }

    /// Opens the next blob of the range; returns false at the end.
    async fn open_next(&mut self) -> Result<bool, Unreadable> {
        if self.left == 0 {
            return Ok(false);
        }
        // The previous blob is let go first: with the current one, no more than a window is held.
        self.reader = None;
        if self.located.len() <= WINDOW / 2 {
            self.fill_window().await?;
        }
        let blob = self.version.blobs.get(self.next_blob).ok_or_else(short)?;
        let length = (blob.size - self.offset).min(self.left);
        let range = self.offset..self.offset + length;
        let reader =
            BlobReader::new(&self.bytes, &self.holder, to_engine(blob)?, self.located.pop_front(), range);
        self.reader = Some((reader, length));
        self.left -= length;
        self.offset = 0;
        self.next_blob += 1;
        Ok(true)
    }
}

/// Why an object can't be read.
enum Unreadable {
    /// A blob is not stored: it may have been reclaimed since the version was resolved.
    NotStored,
    Failed(S3Error),
}

impl From<engine::Error> for Unreadable {
    fn from(error: engine::Error) -> Unreadable {
        match error {
            engine::Error::NotFound => Unreadable::NotStored,
            error => Unreadable::Failed(error.into()),
        }
    }
}

impl From<S3Error> for Unreadable {
    fn from(error: S3Error) -> Unreadable {
        Unreadable::Failed(error)
    }
}

impl From<Unreadable> for S3Error {
    fn from(unreadable: Unreadable) -> S3Error {
        match unreadable {
            Unreadable::NotStored => Code::InternalError.with("The object's bytes are not stored."),
            Unreadable::Failed(error) => error,
        }
    }
}

fn short() -> S3Error {
    Code::InternalError.with("The object's record and its bytes do not match.")
}

/// The reference to a blob in the form that the byte store takes.
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

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
