//! Files with direct I/O.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::io::{DmaFile, OpenOptions};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::executor::{is_primed, operate, set_primed};
use crate::buf::Buf;
use crate::io::ALIGNMENT;
use crate::io::host::blocking;

/// A file open for direct I/O on this core. Any core may open the same path.
pub struct File {
    inner: Rc<DmaFile>,
}

/// The kernel's error, without glommio's additions.
fn plain(error: glommio::GlommioError<()>) -> io::Error {
    match error {
        glommio::GlommioError::EnhancedIoError { source, .. } => source,
        other => other.into(),
    }
}

/// Makes sure that the first file that this executor opens on a device is not empty. `path` itself may be that file.
async fn prime(path: &Path, is_emptied: bool) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let device = rustix::fs::stat(directory)?.st_dev;
    if is_primed(device) {
        return Ok(());
    }
    let is_filled = rustix::fs::stat(path).is_ok_and(|stat| stat.st_size >= ALIGNMENT as i64);
    let opened = if is_filled && !is_emptied {
        DmaFile::open(path).await
    } else {
        let file = nameless_file(directory.to_owned()).await?;
        DmaFile::open(format!("/proc/self/fd/{}", file.as_raw_fd())).await
    };
    opened.map_err(plain)?.close().await.map_err(plain)?;
    set_primed(device);
    Ok(())
}

/// A file that is not empty, has no name and disappears on close.
async fn nameless_file(directory: PathBuf) -> io::Result<std::fs::File> {
    blocking(move || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(rustix::fs::open(&directory, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&[1; ALIGNMENT])?;
        Ok(file)
    })
    .await
}

impl File {
    async fn open_with(path: &Path, is_emptied: bool) -> io::Result<File> {
        prime(path, is_emptied).await?;
        let mut options = OpenOptions::new();
        options.create(is_emptied).truncate(is_emptied).mode(0o600);
        let inner = options.read(true).write(true).dma_open(path).await.map_err(plain)?;
        Ok(File { inner: Rc::new(inner) })
    }

    /// Opens an existing file for reading and writing.
    pub async fn open(path: &Path) -> io::Result<File> {
        File::open_with(path, false).await
    }

    /// Creates a file, or truncates an existing one.
    pub async fn create(path: &Path) -> io::Result<File> {
        File::open_with(path, true).await
    }

    /// Reads up to `len` bytes at `pos`, both multiples of the alignment. Returns fewer at the file's end.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Buf> {
        debug_assert!(pos.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT));
        let file = self.inner.clone();
        operate(async move {
            let bytes = file.read_at_aligned(pos, len).await.map_err(plain)?;
            let mut buf = Buf::with_capacity(len);
            buf.extend_from_slice(&bytes);
            Ok(buf)
        })
        .await
    }

    /// Writes the whole of `buf`, whose length is a multiple of the alignment, at `pos`, and returns it.
    pub async fn write_at(&self, buf: Buf, pos: u64) -> io::Result<Buf> {
        debug_assert!(pos.is_multiple_of(ALIGNMENT as u64) && buf.len().is_multiple_of(ALIGNMENT));
        if buf.is_empty() {
            return Ok(buf);
        }
        let len = buf.len();
        let mut copy = self.inner.alloc_dma_buffer(len);
        copy.as_bytes_mut().copy_from_slice(&buf);
        let file = self.inner.clone();
        let written = operate(async move { file.write_at(copy, pos).await.map_err(plain) }).await?;
        if written != len {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "short write"));
        }
        Ok(buf)
    }

    /// Makes everything written durable (data and the size needed to read it back).
    pub async fn sync_data(&self) -> io::Result<()> {
        let file = self.inner.clone();
        operate(async move { file.fdatasync().await.map_err(plain) }).await
    }

    /// Reserves space for `len` bytes from `pos` on, and extends the file if necessary. glommio itself reserves only
    /// from a file's start, which would fill its holes.
    pub async fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        let file = self.inner.clone();
        operate(async move {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let allocated = blocking(move || {
                let opened = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
                Ok(rustix::fs::fallocate(&opened, FallocateFlags::empty(), pos, len)?)
            });
            let allocated = allocated.await;
            // Up to here the file's descriptor must stay open.
            drop(file);
            allocated
        })
        .await
    }

    /// Returns the space of a range to the file system. The range reads as zeros afterwards.
    pub async fn punch_hole(&self, pos: u64, len: u64) -> io::Result<()> {
        let file = self.inner.clone();
        operate(async move { file.deallocate(pos, len).await.map_err(plain) }).await
    }

    /// Truncates or extends the file to `len` bytes.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        let file = self.inner.clone();
        operate(async move { file.truncate(len).await.map_err(plain) }).await
    }

    /// Length, bytes.
    pub async fn len(&self) -> io::Result<u64> {
        self.inner.file_size().await.map_err(plain)
    }

    /// Closes the file. Dropping it closes it too, but reports no errors.
    pub async fn close(self) -> io::Result<()> {
        drop(self);
        Ok(())
    }
}
