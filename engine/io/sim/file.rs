//! Files on the machine that the current process runs on.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::disk::FileId;
use super::faults::{Fault, FaultRates};
use super::world::{Event, Node, NodeId, ProcessId, World, current, try_with, with};
use crate::buf::Buf;
use crate::io::{ALIGNMENT, oneshot};

/// Range of the time that an operation takes, and that a slow one takes.
const LATENCY: [Duration; 2] = [Duration::from_micros(10), Duration::from_micros(200)];
const SLOW: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(2)];
/// Bytes whose transfer takes as long as the operation itself.
const BYTES_PER_LATENCY: usize = 256 << 10;
/// One in this many failed reads leaves its page unreadable.
const LASTING: u64 = 4;
const EIO: i32 = 5;

/// A file open for direct I/O. Any core may open the same path.
pub struct File {
    node: NodeId,
    process: ProcessId,
    file: FileId,
    path: Rc<Path>,
}

fn here(world: &World) -> io::Result<NodeId> {
    world.node_of(current().0).ok_or_else(|| io::Error::other("the process is gone"))
}

fn node(world: &mut World) -> io::Result<&mut Node> {
    let node = here(world)?;
    Ok(&mut world.nodes[node])
}

fn failed() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// Applies `change` after the time that an operation on `bytes` bytes takes, unless the process ends before.
async fn operate<T: 'static>(
    bytes: usize,
    change: impl FnOnce(&mut World, NodeId) -> io::Result<T> + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot();
    with(|world| {
        let process = current().0;
        let node = here(world)?;
        let mut latency = world.delay(LATENCY[0], LATENCY[1]);
        latency += latency.mul_f64(bytes as f64 / BYTES_PER_LATENCY as f64);
        if world.random.chance(world.nodes[node].rates.slow) {
            latency = world.delay(SLOW[0], SLOW[1]);
            world.fault(Fault::SlowDisk, || format!("an operation takes {latency:?}"));
        }
        let run = move |world: &mut World| {
            if world.node_of(process) == Some(node) {
                let result = change(world, node);
                sender.send(result);
            }
        };
        world.after(latency, Event::Run(Box::new(run)));
        Ok::<_, io::Error>(())
    })?;
    receiver.await.unwrap_or_else(|_| Err(failed()))
}

impl File {
    async fn open_with(path: &Path, create: bool) -> io::Result<File> {
        let path: Rc<Path> = path.into();
        let process = current().0;
        let opened = path.clone();
        let (node, file) = operate(0, move |world, node| {
            if create {
                may_fail_to_write(world, node, &opened)?;
            }
            world.trace(|| format!("open {} create={create}", opened.display()));
            Ok((node, world.nodes[node].disk.open(&opened, create)?))
        })
        .await?;
        Ok(File { node, process, file, path })
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
        assert!(pos.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT));
        let (file, path) = (self.file, self.path.clone());
        operate(len, move |world, node| {
            may_rot(world, node, file, &path, pos, len);
            may_fail_to_read(world, node, file, &path, pos, len)?;
            let mut buf = Buf::with_capacity(len);
            world.nodes[node].disk.read(file, pos, len, |page| buf.extend_from_slice(page));
            world.note_bytes(&buf);
            Ok(buf)
        })
        .await
    }

    /// Writes the whole of `buf`, whose length is a multiple of the alignment, at `pos`, and returns it.
    pub async fn write_at(&self, buf: Buf, pos: u64) -> io::Result<Buf> {
        assert!(pos.is_multiple_of(ALIGNMENT as u64) && buf.len().is_multiple_of(ALIGNMENT));
        let (file, path) = (self.file, self.path.clone());
        let bytes: Rc<[u8]> = Rc::from(&buf[..]);
        let length = bytes.len();
        let number = with(|world| {
            world.note_bytes(&bytes);
            world.trace(|| format!("write {} at {pos}, {length} bytes", path.display()));
            let disk = &mut node(world)?.disk;
            disk.begin_write(file, pos, bytes).inspect_err(|_| {
                let path = path.clone();
                world.fault(Fault::NoSpace, || format!("write of {}", path.display()));
            })
        })?;
        operate(length, move |world, node| {
            if let Err(error) = may_fail_to_write(world, node, &path) {
                let World { nodes, random, .. } = world;
                nodes[node].disk.end_write(number, true, random);
                return Err(error);
            }
            let misdirected = world.random.chance(world.nodes[node].rates.misdirected_write);
            let World { nodes, random, .. } = world;
            if misdirected {
                let at = nodes[node].disk.misdirect_write(number, random);
                world.damaged.insert(path.to_path_buf());
                world.fault(Fault::MisdirectedWrite, || {
                    format!("{}: {length} bytes for {pos} at {at}", path.display())
                });
            } else {
                nodes[node].disk.end_write(number, false, random);
            }
            Ok(())
        })
        .await?;
        Ok(buf)
    }

    /// Makes everything written durable (data and the size needed to read it back).
    pub async fn sync_data(&self) -> io::Result<()> {
        let (file, path) = (self.file, self.path.clone());
        let upto = with(|world| Ok::<_, io::Error>(node(world)?.disk.writes()))?;
        operate(0, move |world, node| {
            world.trace(|| format!("sync {}", path.display()));
            may_fail_to_sync(world, node, &path).inspect_err(|_| {
                let World { nodes, random, .. } = &mut *world;
                nodes[node].disk.fail_sync(file, random);
            })?;
            world.nodes[node].disk.sync(file, upto);
            Ok(())
        })
        .await
    }

    /// Reserves space for `len` bytes from `pos` on, and extends the file if necessary.
    pub async fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        let (file, path) = (self.file, self.path.clone());
        operate(0, move |world, node| {
            may_fail_to_write(world, node, &path)?;
            let reserved = world.nodes[node].disk.allocate(file, pos, len);
            if reserved.is_err() {
                world.fault(Fault::NoSpace, || format!("reserving for {}", path.display()));
            }
            reserved
        })
        .await
    }

    /// Returns the space of a range to the file system. The range reads as zeros afterwards.
    pub async fn punch_hole(&self, pos: u64, len: u64) -> io::Result<()> {
        let (file, path) = (self.file, self.path.clone());
        operate(0, move |world, node| {
            may_fail_to_write(world, node, &path)?;
            world.trace(|| format!("punch {} at {pos}, {len} bytes", path.display()));
            let World { nodes, random, .. } = world;
            nodes[node].disk.punch_hole(file, pos, len, random);
            Ok(())
        })
        .await
    }

    /// Truncates or extends the file to `len` bytes.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        let (file, path) = (self.file, self.path.clone());
        operate(0, move |world, node| {
            may_fail_to_write(world, node, &path)?;
            world.nodes[node].disk.truncate(file, len);
            Ok(())
        })
        .await
    }

    /// Length, bytes.
    pub async fn len(&self) -> io::Result<u64> {
        with(|world| Ok(node(world)?.disk.length(self.file)))
    }

    /// Closes the file. Dropping it closes it too, but reports no errors.
    pub async fn close(self) -> io::Result<()> {
        drop(self);
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        try_with(|world| {
            // The handles of a killed process were closed with it.
            if world.node_of(self.process) == Some(self.node) {
                world.nodes[self.node].disk.close(self.file);
            }
        });
    }
}

fn may_rot(world: &mut World, node: NodeId, file: FileId, path: &Path, pos: u64, len: usize) {
    if world.random.chance(world.nodes[node].rates.bit_rot) {
        let World { nodes, random, .. } = world;
        if let Some(at) = nodes[node].disk.flip_bit(file, pos, len as u64, random) {
            world.damaged.insert(path.to_owned());
            world.fault(Fault::BitRot, || format!("{} at {at}", path.display()));
        }
    }
}

fn may_fail_to_read(
    world: &mut World,
    node: NodeId,
    file: FileId,
    path: &Path,
    pos: u64,
    len: usize,
) -> io::Result<()> {
    if world.random.chance(world.nodes[node].rates.read_error) {
        world.fault(Fault::ReadError, || format!("{} at {pos}", path.display()));
        if world.random.one_in(LASTING) {
            world.nodes[node].disk.spoil(file, pos);
        }
        return Err(failed());
    }
    if world.nodes[node].disk.is_bad(file, pos, len) { Err(failed()) } else { Ok(()) }
}

fn may_fail_to_write(world: &mut World, node: NodeId, path: &Path) -> io::Result<()> {
    if world.random.chance(world.nodes[node].rates.write_error) {
        world.fault(Fault::WriteError, || format!("{}", path.display()));
        return Err(failed());
    }
    Ok(())
}

fn may_fail_to_sync(world: &mut World, node: NodeId, path: &Path) -> io::Result<()> {
    let FaultRates { sync_error, sync_errors_in, .. } = world.nodes[node].rates;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if world.random.chance(sync_error) && name.starts_with(sync_errors_in) {
        world.fault(Fault::SyncError, || format!("{}", path.display()));
        return Err(failed());
    }
    Ok(())
}

/// Makes entries created, renamed or removed in `path` durable.
pub async fn sync_dir(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    let changes = with(|world| Ok::<_, io::Error>(node(world)?.disk.pending_changes(&path)))?;
    operate(0, move |world, node| {
        may_fail_to_sync(world, node, &path)?;
        world.nodes[node].disk.sync_directory(&path, changes)
    })
    .await
}

/// Renames a file within one file system, replacing the target.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    operate(0, move |world, node| {
        may_fail_to_write(world, node, &from)?;
        world.trace(|| format!("rename {} to {}", from.display(), to.display()));
        world.nodes[node].disk.rename(&from, &to)
    })
    .await
}

/// Removes a file.
pub async fn remove_file(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    operate(0, move |world, node| {
        may_fail_to_write(world, node, &path)?;
        world.trace(|| format!("remove {}", path.display()));
        world.nodes[node].disk.remove(&path)
    })
    .await
}

/// Creates a directory and its parents.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    with(|world| {
        node(world)?.disk.make_directory(path);
        Ok(())
    })
}

/// The entries of a directory, sorted by name.
pub fn read_dir(path: &Path) -> io::Result<Vec<PathBuf>> {
    with(|world| node(world)?.disk.entries(path))
}

/// Whether a file exists.
pub fn file_exists(path: &Path) -> bool {
    with(|world| node(world).is_ok_and(|node| node.disk.find(path).is_some()))
}

/// Reads a whole small file of at most `limit` bytes.
pub fn read_small_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    with(|world| {
        let disk = &node(world)?.disk;
        let file = disk.find(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let length = disk.length(file);
        if length > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is larger than its limit"));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        disk.read(file, 0, length as usize, |page| bytes.extend_from_slice(page));
        Ok(bytes)
    })
}

/// Bytes that a writer may still use on the file system of `path`.
pub fn free_bytes(_path: &Path) -> io::Result<u64> {
    with(|world| Ok(node(world)?.disk.free_bytes()))
}
