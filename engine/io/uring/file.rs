//! Files with direct I/O.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, squeue, types};
use rustix::fs::{Mode, OFlags};

use super::descriptor::Descriptor;
use super::executor;
use super::ring::Held;
use crate::buf::Buf;
use crate::io::ALIGNMENT;
use crate::io::host::blocking;

/// A file open for direct I/O on this core. Any core may open the same path.
pub struct File {
    descriptor: Rc<Descriptor>,
}

/// An operation in flight. Dropping this lets the operation run to completion.
struct Operation(Option<usize>);

impl Future for Operation {
    type Output = (i32, Held);
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(i32, Held)> {
        let Some(key) = self.0 else { unreachable!("polled after completion") };
        let polled = executor::with(|core| core.ring.borrow_mut().poll_operation(key, cx));
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(key) = self.0 {
            executor::try_with(|core| core.ring.borrow_mut().abandon(key));
        }
    }
}

impl File {
    async fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
        let path = path.to_owned();
        let flags = flags | OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
        let opened = blocking(move || Ok(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?)).await?;
        Ok(File { descriptor: Rc::new(Descriptor::of(opened)) })
    }

    /// Opens an existing file for reading and writing.
    pub async fn open(path: &Path) -> io::Result<File> {
        File::open_with(path, OFlags::empty()).await
    }

    /// Creates a file, or truncates an existing one.
    pub async fn create(path: &Path) -> io::Result<File> {
        File::open_with(path, OFlags::CREATE | OFlags::TRUNC).await
    }

    /// Performs one operation, retrying if it was interrupted. Returns its result and the buffer.
    async fn operate(
        &self,
        buf: Buf,
        entry: impl Fn(types::Fd, &Buf) -> squeue::Entry,
    ) -> (io::Result<usize>, Buf) {
        let mut held = Held { file: self.descriptor.clone(), buf };
        loop {
            let entry = entry(self.descriptor.raw(), &held.buf);
            let key = executor::with(|core| core.ring.borrow_mut().begin(entry, held));
            let (result, back) = Operation(Some(key)).await;
            if let Ok(count) = usize::try_from(result) {
                return (Ok(count), back.buf);
            }
            if !matches!(-result, libc::EINTR | libc::EAGAIN) {
                return (Err(io::Error::from_raw_os_error(-result)), back.buf);
            }
            held = back;
        }
    }

    /// Reads up to `len` bytes at `pos`, both multiples of the alignment. Returns fewer at the file's end.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Buf> {
        debug_assert!(pos.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT));
        let length = length_of(len)?;
        let read = |fd, buf: &Buf| opcode::Read::new(fd, buf.memory(), length).offset(pos).build();
        let (result, mut buf) = self.operate(Buf::with_capacity(len), read).await;
        buf.set_len(result?);
        Ok(buf)
    }

    /// Writes the whole of `buf`, whose length is a multiple of the alignment, at `pos`, and returns it.
    pub async fn write_at(&self, buf: Buf, pos: u64) -> io::Result<Buf> {
        debug_assert!(pos.is_multiple_of(ALIGNMENT as u64) && buf.len().is_multiple_of(ALIGNMENT));
        let len = length_of(buf.len())?;
        let write = |fd, buf: &Buf| opcode::Write::new(fd, buf.memory(), len).offset(pos).build();
        let (result, buf) = self.operate(buf, write).await;
        if result? != buf.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "short write"));
        }
        Ok(buf)
    }

    /// Makes everything written durable (data and the size needed to read it back).
    pub async fn sync_data(&self) -> io::Result<()> {
        let sync = |fd, _: &Buf| opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        self.operate(Buf::empty(), sync).await.0.map(|_| ())
    }

    async fn reserve(&self, mode: i32, pos: u64, len: u64) -> io::Result<()> {
        let change = |fd, _: &Buf| opcode::Fallocate::new(fd, len).offset(pos).mode(mode).build();
        self.operate(Buf::empty(), change).await.0.map(|_| ())
    }

    /// Reserves space for `len` bytes from `pos` on, and extends the file if necessary.
    pub async fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.reserve(0, pos, len).await
    }

    /// Returns the space of a range to the file system. The range reads as zeros afterwards.
    pub async fn punch_hole(&self, pos: u64, len: u64) -> io::Result<()> {
        self.reserve(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, pos, len).await
    }

    /// Truncates or extends the file to `len` bytes.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        let file = self.descriptor.get().try_clone()?;
        blocking(move || Ok(rustix::fs::ftruncate(&file, len)?)).await
    }

    /// Length, bytes.
    pub async fn len(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(self.descriptor.get().as_fd())?;
        u64::try_from(stat.st_size).map_err(io::Error::other)
    }

    /// Closes the file. Dropping it closes it too, but reports no errors.
    pub async fn close(self) -> io::Result<()> {
        drop(self);
        Ok(())
    }
}

fn length_of(len: usize) -> io::Result<u32> {
    u32::try_from(len)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an operation on 4 GiB or more"))
}
