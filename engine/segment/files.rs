//! One core's open handles on the node's segments, its own and those of other cores: a bounded cache.
//!
//! A handle on another core's segment may outlive the segment, since nobody reports when that core reuses or removes
//! the file. So handles are closed after a time without use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{Class, Location, segment_path};
use crate::buf::Buf;
use crate::error::{Corrupt, Error, Result};
use crate::io::{self, File, Instant};
use crate::limits::{CLOSE_IDLE_FILES_MS, MAX_OPEN_FILES};

type FileKey = (usize, Class, u32);

/// Open segment files of one core. Ids are never reused, so a handle never shows another segment's bytes to a reader
/// that holds a pin.
pub struct Files {
    data_dir: PathBuf,
    /// The files, each with the time of its last use.
    open: RefCell<BTreeMap<FileKey, (Rc<File>, Instant)>>,
}

impl Files {
    /// An empty cache over a node's `data` folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Files {
        Files { data_dir: data_dir.into(), open: RefCell::default() }
    }

    /// The handle of a segment of `core`, opened if necessary.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn get(&self, core: usize, class: Class, segment: u32) -> Result<Rc<File>> {
        let key = (core, class, segment);
        if let Some((file, used)) = self.open.borrow_mut().get_mut(&key) {
            *used = io::now();
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
        open.insert(key, (file, io::now()));
    }

    /// Closes the files that were not used for `idle`.
    pub fn close_idle(&self, idle: Duration) {
        let mut open = self.open.borrow_mut();
        crate::reach!("idle-file-closed", open.values().any(|(_, used)| used.elapsed() >= idle));
        open.retain(|_, (_, used)| used.elapsed() < idle);
    }

    /// Closes idle files periodically, for as long as `files` lives.
    pub async fn keep_closing_idle(files: Weak<Files>) {
        let idle = Duration::from_millis(CLOSE_IDLE_FILES_MS);
        loop {
            io::sleep(idle / 2).await;
            let Some(files) = files.upgrade() else { return };
            files.close_idle(idle);
        }
    }

    /// Drops a handle. The file closes when its last user drops it.
    pub fn forget(&self, core: usize, class: Class, segment: u32) {
        self.open.borrow_mut().remove(&(core, class, segment));
    }

    /// Reads the framed bytes of a whole location. To read part of one, use [`Files::get`].
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] if the file ends too early.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::core_dir;

    /// Handles used to stay open on files that another core had long since reused or removed, up to 256 of them, and
    /// for as long the space of removed files was not freed.
    #[test]
    fn a_file_that_was_not_used_for_a_while_is_closed() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
        io::block_on(async {
            let data = directory.path();
            io::create_dir_all(&core_dir(data, 1)).expect("folder");
            File::create(&segment_path(data, 1, Class::Log, 7)).await.expect("creates");
            let files = Rc::new(Files::new(data));
            files.get(1, Class::Log, 7).await.expect("opens");
            io::remove_file(&segment_path(data, 1, Class::Log, 7)).await.expect("removes");
            files.close_idle(Duration::from_secs(3600));
            files.get(1, Class::Log, 7).await.expect("is still open");
            files.close_idle(Duration::ZERO);
            assert!(files.get(1, Class::Log, 7).await.is_err(), "closed");
        })
        .expect("executor");
    }
}
