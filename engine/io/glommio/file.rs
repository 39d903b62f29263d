//! Files by direct I/O, and the few directory calls that the store needs.

use std::io;
use std::path::{Path, PathBuf};

use glommio::io::{Directory, DmaFile, OpenOptions};

use crate::buf::Buf;
use crate::io::ALIGNMENT;

use super::memory::Filled;

/// A file open for direct I/O on this core. Any core may open the same path.
pub struct File {
    inner: DmaFile,
}

fn plain(error: glommio::GlommioError<()>) -> io::Error {
    let kind = match &error {
        glommio::GlommioError::IoError(inner) => return io::Error::new(inner.kind(), error.to_string()),
        glommio::GlommioError::EnhancedIoError { source, .. } => match source.raw_os_error() {
            Some(libc::ENOSPC) => io::ErrorKind::StorageFull,
            _ => source.kind(),
        },
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

impl File {
    /// Opens a file that exists, for reading and writing.
    pub async fn open(path: &Path) -> io::Result<File> {
        let inner = OpenOptions::new().read(true).write(true).dma_open(path).await.map_err(plain)?;
        Ok(File { inner })
    }

    /// Creates a file, or empties the one that is there.
    pub async fn create(path: &Path) -> io::Result<File> {
        let inner = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .dma_open(path)
            .await
            .map_err(plain)?;
        Ok(File { inner })
    }

    /// Reads up to `len` bytes at `pos`, both multiples of the alignment; fewer come back at the file's end.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Buf> {
        debug_assert!(pos.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT));
        let result = self.inner.read_at_aligned(pos, len).await.map_err(plain)?;
        Ok(Buf::from_read(Filled(result)))
    }

    /// Writes the whole of `buf`, whose length is a multiple of the alignment, at `pos`.
    pub async fn write_at(&self, buf: Buf, pos: u64) -> io::Result<()> {
        debug_assert!(pos.is_multiple_of(ALIGNMENT as u64) && buf.len().is_multiple_of(ALIGNMENT));
        let len = buf.len();
        let memory = buf.into_memory();
        let written = self.inner.write_rc_at(memory.share(), pos).await.map_err(plain)?;
        crate::buf::recycle(memory);
        if written != len {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "short write"));
        }
        Ok(())
    }

    /// Makes everything written durable (data and the size needed to read it back).
    pub async fn sync_data(&self) -> io::Result<()> {
        self.inner.fdatasync().await.map_err(plain)
    }

    /// Reserves space from the start of the file up to `len` bytes and makes the file that long.
    pub async fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.pre_allocate(len, false).await.map_err(plain)
    }

    /// Gives the space of a range back to the file system; it reads as zeros afterwards.
    pub async fn punch_hole(&self, pos: u64, len: u64) -> io::Result<()> {
        self.inner.deallocate(pos, len).await.map_err(plain)
    }

    /// Cuts or extends the file to `len` bytes.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len).await.map_err(plain)
    }

    /// Length, bytes.
    pub async fn len(&self) -> io::Result<u64> {
        self.inner.file_size().await.map_err(plain)
    }

    /// Closes the file; dropping it does so too, without telling of errors.
    pub async fn close(self) -> io::Result<()> {
        self.inner.close().await.map_err(plain)
    }
}

/// Makes entries created, renamed or removed in `path` durable.
pub async fn sync_dir(path: &Path) -> io::Result<()> {
    let directory = Directory::open(path).await.map_err(plain)?;
    directory.sync().await.map_err(plain)?;
    directory.close().await.map_err(plain)
}

/// Renames a file within one file system, replacing the target.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    glommio::io::rename(from, to).await.map_err(plain)
}

/// Removes a file.
pub async fn remove_file(path: &Path) -> io::Result<()> {
    glommio::io::remove(path).await.map_err(plain)
}

/// Creates a directory and its parents. Blocks: for start-up.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// The entries of a directory, sorted by name. Blocks: for start-up.
pub fn read_dir(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// Whether a file is there. Blocks: for start-up.
pub fn file_exists(path: &Path) -> bool {
    path.exists()
}

/// A whole small file of `limit` bytes at most. Blocks: for start-up.
pub fn read_small_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "file is larger than it may be"));
    }
    std::fs::read(path)
}

/// Bytes that an unprivileged writer may still use on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: statvfs is plain data; zeroes are a valid value, and the call fills it.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated and `stat` outlives the call.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_bavail * stat.f_frsize)
}
