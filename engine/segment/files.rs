//! One core's open handles on the node's segments, its own and other cores': a bounded cache.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::{Class, Location, segment_path};
use crate::buf::Buf;
use crate::error::{Corrupt, Error, Result};
use crate::io::{self, File};
use crate::limits::MAX_OPEN_FILES;

type FileKey = (usize, Class, u32);

/// Open segment files of one core. Ids are never used twice, so a handle never shows another segment's bytes
/// to a reader who holds a pin.
pub struct Files {
    data_dir: PathBuf,
    open: RefCell<BTreeMap<FileKey, (Rc<File>, u64)>>,
    uses: Cell<u64>,
}

impl Files {
    /// An empty cache over a node's `data` folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Files {
        Files { data_dir: data_dir.into(), open: RefCell::default(), uses: Cell::new(0) }
    }

    /// The handle of a segment of `core`, opened if need be.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn get(&self, core: usize, class: Class, segment: u32) -> Result<Rc<File>> {
        let key = (core, class, segment);
        let now = self.uses.get() + 1;
        self.uses.set(now);
        if let Some((file, used)) = self.open.borrow_mut().get_mut(&key) {
            *used = now;
            return Ok(file.clone());
        }
        let path = segment_path(&self.data_dir, core, class, segment);
        let file = Rc::new(File::open(&path).await.map_err(|error| Error::io("open a segment", &error))?);
        self.insert(key, file.clone());
        Ok(file)
    }

    pub(super) fn insert(&self, key: FileKey, file: Rc<File>) {
        let mut open = self.open.borrow_mut();
        if open.len() >= MAX_OPEN_FILES
            && let Some(oldest) = open.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key)
        {
            open.remove(&oldest);
        }
        open.insert(key, (file, self.uses.get()));
    }

    /// Forgets a handle; it closes when its last user drops it.
    pub fn forget(&self, core: usize, class: Class, segment: u32) {
        self.open.borrow_mut().remove(&(core, class, segment));
    }

    /// Reads the framed bytes of a whole location. For parts of one, use [`Files::get`].
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] where the file ends too early.
    pub async fn read(&self, core: usize, at: &Location) -> Result<Framed> {
        let file = self.get(core, at.class, at.segment).await?;
        read_range(&file, at.offset, at.length as usize).await
    }
}

/// Bytes read from anywhere in a file: a window of an aligned buffer.
pub struct Framed {
    buf: Buf,
    start: usize,
    length: usize,
}

impl std::ops::Deref for Framed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf[self.start..self.start + self.length]
    }
}

pub(super) async fn read_range(file: &File, offset: u64, length: usize) -> Result<Framed> {
    let from = io::align_down(offset);
    let start = (offset - from) as usize;
    let aligned = io::align_up((start + length) as u64) as usize;
    let buf = file.read_at(from, aligned).await.map_err(|error| Error::io("read a segment", &error))?;
    if buf.len() < start + length {
        return Err(Corrupt::Short.into());
    }
    Ok(Framed { buf, start, length })
}
