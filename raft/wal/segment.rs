//! Segment files: their names, their header page, and how one is prepared before it is needed.
//!
//! The header page is written together with the first batch, so that activating a segment costs no write of its
//! own. A file is blank if its header does not carry the id in its file name, whatever else it holds.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `HWLS` |
//! | 4 | 2 | version, 2 |
//! | 6 | 2 | zero |
//! | 8 | 8 | the segment's id |
//! | 16 | 8 | sequence number of its first batch |
//! | 24 | 8 | the log's salt |
//! | 32 | 4 | CRC-32C over bytes 0..32 |
//! | 36 | | zeros up to 4096 |
//!
//! In version 1 the checksum was at 24, over bytes 0..24, and there was no salt, which is the same as salt 0. A log
//! that began with version 1 keeps that salt.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use engine::buf::Buf;
use engine::io::{ALIGNMENT, File, remove_file, rename, sync_dir};

/// Bytes of the header page.
pub const HEADER_PAGE: u64 = ALIGNMENT as u64;
const MAGIC: [u8; 4] = *b"HWLS";
const VERSION: u16 = 2;
const VERSION_UNSALTED: u16 = 1;
/// Bytes zeroed by one write.
const FILL_BYTES: u64 = 1 << 20;

/// A segment that holds records.
pub struct Segment {
    /// Its id, which is never used again.
    pub id: u64,
    /// The file.
    pub file: Rc<File>,
    /// The highest index of an entry in it; 0 if it holds none.
    pub max_index: u64,
}

/// A segment ready to be written from its start.
pub struct Blank {
    /// The id that it will have.
    pub id: u64,
    /// The file.
    pub file: Rc<File>,
}

/// The file of a segment.
pub fn path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:016x}.wal"))
}

/// The id in a segment's file name.
pub fn id_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// The salt of the checksums of a segment's records. The log's salt is chosen when the log begins and is never
/// shown to anybody, so that no value that a client stores can pass for a record of the log, whatever is lost
/// around it. The id gives a file another salt each time it is recycled.
pub fn salt(of_log: u64, id: u64) -> u64 {
    of_log.wrapping_add(id)
}

/// What a header page says about its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sequence number of the first batch.
    pub first_sequence: u64,
    /// The log's salt.
    pub log_salt: u64,
}

/// The header page of a segment.
pub fn header(id: u64, header: Header) -> [u8; ALIGNMENT] {
    let mut page = [0; ALIGNMENT];
    page[..4].copy_from_slice(&MAGIC);
    page[4..6].copy_from_slice(&VERSION.to_le_bytes());
    page[8..16].copy_from_slice(&id.to_le_bytes());
    page[16..24].copy_from_slice(&header.first_sequence.to_le_bytes());
    page[24..32].copy_from_slice(&header.log_salt.to_le_bytes());
    let crc = crc(&page[..32]);
    page[32..36].copy_from_slice(&crc.to_le_bytes());
    page
}

/// Decodes a header page; `None` for a blank segment.
///
/// # Errors
/// A later version of this program wrote it.
pub fn parse_header(id: u64, page: &[u8]) -> Result<Option<Header>, &'static str> {
    let Some(fields) = page.get(..36) else { return Ok(None) };
    let number = |at: usize| u64::from_le_bytes(fields[at..at + 8].try_into().unwrap_or_default());
    if fields[..4] != MAGIC || number(8) != id {
        return Ok(None);
    }
    let version = u16::from_le_bytes([fields[4], fields[5]]);
    let (log_salt, checked) = if version == VERSION_UNSALTED { (0, 24) } else { (number(24), 32) };
    if fields[checked..checked + 4] != crc(&fields[..checked]).to_le_bytes() {
        return Ok(None);
    }
    if version > VERSION {
        return Err("was written by a later version of this program");
    }
    Ok(Some(Header { first_sequence: number(16), log_salt }))
}

fn crc(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or(u32::MAX)
}

/// Overwrites a range with zeros.
pub async fn zero(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut pos = from;
    while pos < to {
        let len = usize::try_from(FILL_BYTES.min(to - pos)).unwrap_or(ALIGNMENT);
        let mut buf = Buf::with_capacity(len);
        buf.set_len(len);
        buf.fill(0);
        file.write_at(buf, pos).await?;
        pos += len as u64;
    }
    Ok(())
}

/// Makes a new segment: a file of zeros, durable before it gets its name.
pub async fn create(directory: &Path, id: u64, bytes: u64) -> io::Result<Blank> {
    let draft = directory.join(format!("{id:016x}.tmp"));
    let file = File::create(&draft).await?;
    let filled = async {
        zero(&file, 0, bytes).await?;
        file.sync_data().await
    };
    if let Err(error) = filled.await {
        // A half-made segment must not occupy what little room there is.
        let _ = remove_file(&draft).await;
        return Err(error);
    }
    rename(&draft, &path(directory, id)).await?;
    sync_dir(directory).await?;
    Ok(Blank { id, file: Rc::new(file) })
}

/// Gives a segment that nothing needs a new id. From then on its old contents fail their checks.
pub async fn recycle(directory: &Path, old: Segment, id: u64) -> io::Result<Blank> {
    rename(&path(directory, old.id), &path(directory, id)).await?;
    sync_dir(directory).await?;
    Ok(Blank { id, file: old.file })
}
