//! The data directory as a whole: one process at a time, and the number of cores fixed at its first serve.
//!
//! | name           | what                                              | written by            |
//! |----------------|---------------------------------------------------|-----------------------|
//! | `identity/`    | who the node is                                   | [`crate::identity`]   |
//! | `lock`         | locked while a process uses the directory         | here                  |
//! | `cores`        | the number of cores the segments are divided over | here                  |
//! | `addresses`    | where the running node listens                    | here                  |
//!
//! What the cores keep (segments, log, metadata) is theirs.

use crate::error::{Error, Result};
use crate::files::{self, Secrecy};
use crate::record::{self, Kind};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const CORES_RECORD: Kind = Kind { tag: *b"core", version: 1 };
/// The most cores a node may be divided over.
pub const CORES_MAX: u16 = 256;

/// The folders of the log and of the metadata.
pub const LOG_FOLDER: &str = "raft";
/// See [`LOG_FOLDER`].
pub const METADATA_FOLDER: &str = "meta";

/// A data directory that this process alone may change.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // The kernel lets the lock go with the descriptor, also when the process is killed.
    _lock: File,
}

/// How a data directory is divided. Field numbers are frozen.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct CoresRecord {
    #[prost(uint32, tag = "1")]
    cores: u32,
}

/// Where a running node listens, for the commands that ask it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Addresses {
    /// The S3 port, unless it is off.
    pub s3: Option<SocketAddr>,
    /// The cluster port.
    pub listen: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

impl DataDir {
    /// Makes the directory where it is missing, and locks it.
    pub fn lock(path: &Path) -> Result<Self> {
        files::make_private_dir(path)?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| files::cannot("open", &lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(files::cannot("lock", &lock_path, &error)),
        }
        // For the message of who comes second; nothing else reads it.
        let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(|error| files::cannot("write", &lock_path, &error))?;
        // Nothing may depend on where the process was started.
        let path = std::path::absolute(path).map_err(|error| files::cannot("find", path, &error))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of cores: as stored; before the first serve as asked for, else one per CPU.
    pub fn cores(&self, asked: Option<u16>) -> Result<u16> {
        let path = self.path.join("cores");
        if path.exists() {
            let record: CoresRecord =
                record::decode(CORES_RECORD, &files::read(&path, Secrecy::Secret)?, &path)?;
            let stored = u16::try_from(record.cores).ok().filter(|cores| (1..=CORES_MAX).contains(cores));
            let stored = stored.ok_or_else(|| {
                Error::refused(format!(
                    "{} holds no number of cores: restore it from a backup",
                    path.display()
                ))
            })?;
            return match asked {
                Some(asked) if asked != stored => Err(Error::refused(format!(
                    "{} is divided over {stored} cores for ever: give --cores {stored} or leave the flag out",
                    self.path.display()
                ))),
                _ => Ok(stored),
            };
        }
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
        Ok(asked.unwrap_or(cpus.min(usize::from(CORES_MAX)) as u16))
    }

    /// Stores the number of cores for ever, where it is not stored yet. Called once nothing stands in the way of
    /// starting, so that a refusal leaves the choice open.
    pub fn fix_cores(&self, cores: u16) -> Result<()> {
        let path = self.path.join("cores");
        if path.exists() {
            return Ok(());
        }
        let record = CoresRecord { cores: u32::from(cores) };
        files::replace_secret(&path, &record::encode(CORES_RECORD, &record))
    }

    /// Makes the folders of segments, log and metadata, closed to other users: the metadata store makes its files
    /// readable by all, and the data directory may have been made by somebody else.
    pub fn close_folders(&self, cores: u16) -> Result<()> {
        let segments = (0..usize::from(cores)).map(|core| engine::segment::core_dir(&self.path, core));
        segments
            .chain([LOG_FOLDER, METADATA_FOLDER].map(|name| self.path.join(name)))
            .try_for_each(|path| files::close_dir(&path))
    }

    /// Notes where this node listens.
    pub fn note_addresses(&self, addresses: &Addresses) -> Result<()> {
        let text = serde_json::to_vec_pretty(addresses)
            .map_err(|error| Error::failed(format!("cannot lay out the addresses: {error}")))?;
        files::replace_secret(&self.path.join("addresses"), &text)
    }
}

/// Where the node of a data directory listens, or last did. `None` where it never ran.
pub fn addresses(data_dir: &Path) -> Result<Option<Addresses>> {
    let path = data_dir.join("addresses");
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path, Secrecy::Secret)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|_| {
        Error::refused(format!("{} is damaged: remove it and restart `hamster serve`", path.display()))
    })
}

fn in_use(path: &Path, lock: &mut File) -> Error {
    let mut owner = String::new();
    let read = lock.seek(SeekFrom::Start(0)).and_then(|_| lock.take(20).read_to_string(&mut owner));
    let owner = match read {
        Ok(_) if !owner.trim().is_empty() => format!(" (process {})", owner.trim()),
        _ => String::new(),
    };
    Error::refused(format!(
        "another hamster{owner} uses {}: stop it first, or give another --data-dir",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_user_of_the_directory_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::lock(dir.path()).unwrap();
        let message = DataDir::lock(dir.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(held);
        DataDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn the_number_of_cores_is_fixed_at_the_first_serve() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        assert_eq!(data.cores(Some(2)).unwrap(), 2);
        assert_eq!(data.cores(Some(3)).unwrap(), 3, "a refused start leaves the choice open");
        data.fix_cores(3).unwrap();
        assert_eq!(data.cores(None).unwrap(), 3);
        let message = data.cores(Some(4)).unwrap_err().to_string();
        assert!(message.contains("--cores 3"), "{message}");
    }

    #[test]
    fn without_a_wish_there_is_a_core_per_cpu() {
        let dir = tempfile::tempdir().unwrap();
        let cores = DataDir::lock(dir.path()).unwrap().cores(None).unwrap();
        assert_eq!(usize::from(cores), std::thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn addresses_are_read_back_by_another_command() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(addresses(dir.path()).unwrap(), None);
        let data = DataDir::lock(dir.path()).unwrap();
        let noted =
            Addresses { s3: None, listen: "127.0.0.1:1".parse().unwrap(), admin: "[::1]:2".parse().unwrap() };
        data.note_addresses(&noted).unwrap();
        assert_eq!(addresses(dir.path()).unwrap(), Some(noted));
    }
}
