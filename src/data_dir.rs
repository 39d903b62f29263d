//! The data directory as a whole: one process at a time, and the number of cores fixed at its first serve.
//!
//! | name             | what                                              | written by             |
//! |------------------|---------------------------------------------------|------------------------|
//! | `identity/`      | who the node is                                   | `src/identity`         |
//! | `lock`           | locked while a process uses the directory         | here                   |
//! | `cores`          | the number of cores the segments are divided over | here                   |
//! | `addresses`      | where the running node listens                    | here                   |
//! | `clean`          | the mark of a clean shutdown                      | here                   |
//! | `quickstart.env` | the credential that `quickstart` made             | [`crate::credentials`] |
//!
//! The cores' own files (segments, log, metadata) are described with them. Each file here is written whole under
//! another name and then renamed. What a crash or an accident may leave of this directory (for `identity/` see
//! `src/identity`, for the cores' files `engine/segment/open.rs` and `raft/reconcile.rs`):
//!
//! |     | found                                                  | meaning                                | action                                                  |
//! |-----|--------------------------------------------------------|----------------------------------------|---------------------------------------------------------|
//! | D1  | `lock`, empty or with the id of a process that is gone | a killed process                       | lock it again                                           |
//! | D2  | no `cores` and no data                                 | never served                           | take `--cores`, or one per CPU                          |
//! | D3  | no `cores`, but folders of cores, or a log             | it was lost                            | refuse: restore it, or give their number with `--cores` |
//! | D4  | `cores`, empty, cut or changed                         | damage                                 | refuse: restore it                                      |
//! | D5  | `cores.new`                                            | a crash while it was written           | leave it; only `cores` counts                           |
//! | D6  | `cores`, and no or not all folders, the log empty      | a crash at the first start             | make them                                               |
//! | D7  | `cores`, and a folder missing, the log in use          | the folder was lost                    | refuse: restore it                                      |
//! | D8  | `cores`, and a folder beyond its number                | `cores` of another node                | refuse: restore it                                      |
//! | D9  | `addresses`, empty, cut or changed                     | damage                                 | `serve` writes it again; `status` says so               |
//! | D10 | `addresses.new`                                        | a crash while it was written           | replace it                                              |
//! | D11 | `clean`                                                | a clean shutdown                       | remove it; no sweep                                     |
//! | D12 | no `clean`                                             | a kill, a refused start, or leftovers  | sweep blobs that nothing refers to                      |
//! | D13 | `clean.new`                                            | a crash at the very end                | as without `clean`; replace it                          |
//! | D14 | no `quickstart.env`                                    | the first `quickstart`, or it was lost | make a new credential                                   |
//! | D15 | `quickstart.env.new`                                   | a crash while it was written           | replace it                                              |
//! | D16 | `quickstart.env`, empty, cut or changed                | damage                                 | refuse: restore it, or remove it for a new credential   |

use crate::error::{Error, Result};
use crate::files::{self, Secrecy};
use crate::record::{self, Kind};
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const CORES_RECORD: Kind = Kind { tag: *b"core", version: 1 };
/// The most cores a node may be divided over.
pub const CORES_MAX: u16 = 256;

const CORES_FILE: &str = "cores";
/// The file that a clean shutdown leaves: without it the next start looks for bytes that nothing refers to.
const CLEAN_MARK: &str = "clean";

/// The folders of the log and of the metadata.
pub const LOG_FOLDER: &str = "raft";
/// See [`LOG_FOLDER`].
pub const METADATA_FOLDER: &str = "meta";

/// A data directory that this process alone may change.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // The kernel releases the lock with the descriptor, even if the process is killed.
    _lock: File,
}

/// How a data directory is divided. Field numbers are frozen.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct CoresRecord {
    #[prost(uint32, tag = "1")]
    cores: u32,
}

/// Where a running node listens, for the commands that call it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Addresses {
    /// The S3 ports, unless they are off. Older nodes recorded one, or none.
    #[serde(deserialize_with = "one_or_more")]
    pub s3: Vec<SocketAddr>,
    /// The cluster port.
    pub listen: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Noted {
        One(Option<SocketAddr>),
        More(Vec<SocketAddr>),
    }
    Ok(match Noted::deserialize(from)? {
        Noted::One(address) => address.into_iter().collect(),
        Noted::More(addresses) => addresses,
    })
}

impl DataDir {
    /// Creates the directory if it is missing, and locks it.
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
        // For the message to a second process; nothing else reads it.
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

    /// The number of cores: the stored one, or before the first serve the requested one, or else one per CPU.
    pub fn cores(&self, asked: Option<u16>) -> Result<u16> {
        let path = self.path.join(CORES_FILE);
        let folders = core_folders(&self.path)?;
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
            self.check_folders(stored, &folders)?;
            return match asked {
                Some(asked) if asked != stored => Err(Error::refused(format!(
                    "{} is divided over {stored} cores for good: give --cores {stored} or leave the flag out",
                    self.path.display()
                ))),
                _ => Ok(stored),
            };
        }
        let fits = |asked: u16| folders.iter().copied().eq(0..usize::from(asked));
        let used = !folders.is_empty() || self.log_is_begun()?;
        if used && (folders.is_empty() || !asked.is_some_and(fits)) {
            let all = match folders.len() {
                0 => String::new(),
                all => format!(", or give --cores {all} if the folders of all cores are there"),
            };
            return Err(Error::refused(format!(
                "{} is missing: restore it from a backup{all}",
                path.display()
            )));
        }
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
        Ok(asked.unwrap_or(cpus.min(usize::from(CORES_MAX)) as u16))
    }

    fn log_is_begun(&self) -> Result<bool> {
        Ok(!names(&self.path.join(LOG_FOLDER))?.is_empty())
    }

    /// Refuses folders that can't be those of this many cores.
    fn check_folders(&self, cores: u16, folders: &[usize]) -> Result<()> {
        let folder = |core| engine::segment::core_dir(&self.path, core);
        if let Some(&core) = folders.iter().find(|core| **core >= usize::from(cores)) {
            return Err(Error::refused(format!(
                "{} is there, but the file cores says {cores}: restore both from one backup",
                folder(core).display()
            )));
        }
        let missing = (0..usize::from(cores)).find(|core| !folders.contains(core));
        match missing.map(folder) {
            // If the log is not begun, a first start may have been killed.
            Some(path) if self.log_is_begun()? => {
                Err(Error::refused(format!("{} is missing: restore it from a backup", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Stores the number of cores for good, unless it is stored already. Call it once nothing stands in the way of
    /// starting, so that a refusal leaves the choice open.
    pub fn fix_cores(&self, cores: u16) -> Result<()> {
        let path = self.path.join(CORES_FILE);
        if path.exists() {
            return Ok(());
        }
        let record = CoresRecord { cores: u32::from(cores) };
        files::replace_secret(&path, &record::encode(CORES_RECORD, &record))
    }

    /// Creates the folders of segments, log and metadata, closed to other users: the metadata store makes its files
    /// readable by all, and somebody else may have created the data directory.
    pub fn close_folders(&self, cores: u16) -> Result<()> {
        let segments = (0..usize::from(cores)).map(|core| engine::segment::core_dir(&self.path, core));
        segments
            .chain([LOG_FOLDER, METADATA_FOLDER].map(|name| self.path.join(name)))
            .try_for_each(|path| files::close_dir(&path))
    }

    /// Removes the mark of a clean shutdown; returns whether it was there.
    pub fn take_clean_mark(&self) -> Result<bool> {
        let path = self.path.join(CLEAN_MARK);
        match std::fs::remove_file(&path) {
            Ok(()) => files::sync_dir(&self.path).map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(files::cannot("remove", &path, &error)),
        }
    }

    /// Leaves the mark of a clean shutdown.
    pub fn leave_clean_mark(&self) -> Result<()> {
        files::replace_secret(&self.path.join(CLEAN_MARK), b"")
    }

    /// Records where this node listens.
    pub fn note_addresses(&self, addresses: &Addresses) -> Result<()> {
        let text = serde_json::to_vec_pretty(addresses)
            .map_err(|error| Error::failed(format!("cannot encode the addresses: {error}")))?;
        files::replace_secret(&self.path.join("addresses"), &text)
    }
}

/// The names in a folder; none if it is missing.
fn names(folder: &Path) -> Result<Vec<String>> {
    let list = || {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()
    };
    match list() {
        Ok(names) => Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(files::cannot("list", folder, &error)),
    }
}

/// The cores that have a folder, in order.
fn core_folders(data_dir: &Path) -> Result<Vec<usize>> {
    let number = |name: String| name.strip_prefix("core-")?.parse().ok();
    let mut cores: Vec<usize> = names(data_dir)?.into_iter().filter_map(number).collect();
    cores.sort_unstable();
    Ok(cores)
}

/// Whether a node has ever begun to store something in a data directory.
pub fn holds_data(data_dir: &Path) -> Result<bool> {
    let kept = |name: &String| [CORES_FILE, LOG_FOLDER, METADATA_FOLDER].contains(&name.as_str());
    Ok(names(data_dir)?.iter().any(kept) || !core_folders(data_dir)?.is_empty())
}

/// Where the node of a data directory listens, or last did. `None` if it never ran.
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
#[path = "data_dir_tests.rs"]
mod tests;
