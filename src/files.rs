//! Small files of the data directory: read with a size limit and a check of their mode, written whole or not at all.
//!
//! Everything here blocks, so it runs before the cores start or on a separate thread.

use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// The largest file that is read: certificates and records take a few KiB.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// The largest file that holds secrets: keys in PEM take a few KiB.
const SECRET_BYTES: usize = 16 << 10;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Any user of the machine.
    Public,
    /// Only its owner (mode 600): keys and credentials.
    Secret,
}

/// Creates a directory and its parents; new ones get mode 700.
pub fn make_private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| cannot("create the directory", path, &error))
}

/// Creates a directory that only its owner may enter, whatever modes its files have; closes an existing one to
/// others.
pub fn close_dir(path: &Path) -> Result<()> {
    make_private_dir(path)?;
    let close = || {
        let mode = fs::metadata(path)?.mode();
        if mode & 0o077 == 0 { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(0o700)) }
    };
    close().map_err(|error| cannot("close to others", path, &error))
}

/// Reads a small file whole; a [`Secrecy::Secret`] one must not be open to others.
pub fn read(path: &Path, secrecy: Secrecy) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(|error| cannot("read", path, &error))?;
    let meta = file.metadata().map_err(|error| cannot("read", path, &error))?;
    if secrecy == Secrecy::Secret && meta.mode() & 0o077 != 0 {
        return Err(Error::refused(format!(
            "{} may be read by others (mode {:03o}): run `chmod 600 {0}`",
            path.display(),
            meta.mode() & 0o777,
        )));
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(Error::refused(format!(
            "{} is {} bytes, more than such a file can hold ({FILE_BYTES_MAX}): give the right file",
            path.display(),
            meta.len(),
        )));
    }
    // Allocated up front to fit any secret, even one read from a pipe: a buffer that grows would leave an unwiped
    // copy.
    let mut bytes = Vec::with_capacity((meta.len() as usize).max(SECRET_BYTES));
    (&mut file).take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| cannot("read", path, &error))?;
    Ok(bytes)
}

/// [`read`], as text.
pub fn read_text(path: &Path, secrecy: Secrecy) -> Result<String> {
    String::from_utf8(read(path, secrecy)?).map_err(|_| not_text(path))
}

/// [`read`], as text that is wiped on drop.
pub fn read_secret_text(path: &Path, secrecy: Secrecy) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(read(path, secrecy)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| not_text(path))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn not_text(path: &Path) -> Error {
    Error::refused(format!("{} is not text: restore it from a backup", path.display()))
}

/// Creates a file of mode 600 and syncs it. The caller syncs the directory.
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // The umask may have taken bits away; callers rely on exactly these.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| cannot("write", path, &error))
}

/// Replaces a file atomically: after a crash it holds the old bytes or the new ones.
pub fn replace_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    match fs::remove_file(fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("replace", fresh, &error)),
    }
    create_secret(fresh, bytes)?;
    fs::rename(fresh, path).map_err(|error| cannot("write", path, &error))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes the entries of a directory durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    // The parent of a bare file name is the empty path.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| cannot("sync", path, &error))
}

/// One line for a failed file operation, with what to do about the usual causes.
pub fn cannot(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => ": run as the user that owns it, or give that user access",
        ErrorKind::NotFound => ": check the path",
        ErrorKind::StorageFull => ": free some space",
        ErrorKind::ReadOnlyFilesystem => ": the file system is mounted read-only",
        ErrorKind::NotADirectory => ": a part of the path is a file",
        _ => "",
    };
    Error::refused(format!("cannot {doing} {}: {error}{advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_secret_and_holds_the_new_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace_secret(&path, b"one").unwrap();
        // A temporary file left by an interrupted replacement does not stop the next one.
        fs::write(dir.path().join("f.new"), b"torn").unwrap();
        replace_secret(&path, b"two").unwrap();
        assert_eq!(read(&path, Secrecy::Secret).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_open_to_others_is_refused_with_the_command_that_fixes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        create_secret(&path, b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let message = read(&path, Secrecy::Secret).unwrap_err().to_string();
        assert!(message.contains("mode 644") && message.contains("chmod 600"), "{message}");
        assert!(read(&path, Secrecy::Public).is_ok());
    }

    #[test]
    fn a_new_folder_is_private_and_an_open_one_becomes_private() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
        for path in [new, old] {
            close_dir(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_missing_file_and_a_huge_one_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone");
        assert!(read(&path, Secrecy::Public).unwrap_err().to_string().contains("gone"));
        let file = File::create(&path).unwrap();
        file.set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(read(&path, Secrecy::Public).unwrap_err().to_string().contains("more than"));
    }
}
