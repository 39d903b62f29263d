//! Snapshots: all rows of the store as one stream of bytes, and back.
//!
//! The store itself is the snapshot that lets the log be purged: building one makes the store durable and records
//! what it holds, at a cost that does not grow with the number of rows. The stream is written only to bring up a
//! follower from nothing.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `HWSN` |
//! | 4 | version, 1, little-endian like all numbers here |
//! | per row: 4, 4 | length of the key, length of the value |
//! | | key, value; keys ascend |
//! | 4, 4 | `u32::MAX` twice: no more rows |
//! | 8 | number of rows |
//! | 4 | CRC-32C over all before |
//!
//! The mark of what was applied is one of the rows. A stream is checked as a whole before any of its rows is used.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

use crate::applier::Mark;
use crate::kv::{Kv, Reader};
use crate::{Error, Result};

/// Where a stream of rows goes.
pub type Target = Box<dyn Write + Send>;
/// Where a stream of rows comes from; read twice.
pub type Source = Box<dyn Stream>;

/// A stream that can be read again from its start.
pub trait Stream: Read + Seek + Send {}
impl<T: Read + Seek + Send> Stream for T {}

const MAGIC: &[u8; 8] = b"HWSN\x01\0\0\0";
/// Maximum length of a key or a value, bytes: a version of 10,000 parts takes less.
const MAX_FIELD_BYTES: usize = 8 << 20;
/// All keys lie in the range from the first of these (inclusive) to the second (exclusive).
const FIRST_KEY: &[u8] = &[0];
const END_OF_KEYS: &[u8] = &[0xff];
const WHAT: &str = "snapshot";

fn corrupt(why: &'static str) -> Error {
    Error::Corrupt { what: WHAT, why }
}

fn failed(error: &std::io::Error) -> Error {
    Error::Store(format!("snapshot: {error}"))
}

struct Writer {
    target: std::io::BufWriter<Target>,
    digest: crc_fast::Digest,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.target.write_all(bytes).map_err(|error| failed(&error))
    }

    fn put_len(&mut self, len: usize) -> Result<()> {
        let len = u32::try_from(len).ok().filter(|_| len <= MAX_FIELD_BYTES);
        self.put(&len.ok_or_else(|| corrupt("a row is too long"))?.to_le_bytes())
    }
}

fn digest() -> crc_fast::Digest {
    crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi)
}

/// Writes all rows that `reader` sees; returns their mark.
///
/// # Errors
/// The store can't be read, or the target can't be written.
pub fn export(reader: &impl Reader, target: Target) -> Result<Mark> {
    let mut writer = Writer { target: std::io::BufWriter::new(target), digest: digest() };
    writer.put(MAGIC)?;
    let mut rows = 0_u64;
    reader.scan(FIRST_KEY, END_OF_KEYS, &mut |key, value| {
        writer.put_len(key.len())?;
        writer.put_len(value.len())?;
        writer.put(key)?;
        writer.put(value)?;
        rows += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    writer.put(&[0xff; 8])?;
    writer.put(&rows.to_le_bytes())?;
    let crc = u32::try_from(writer.digest.clone().finalize()).unwrap_or(u32::MAX);
    writer.put(&crc.to_le_bytes())?;
    writer.target.flush().map_err(|error| failed(&error))?;
    Mark::read(reader)
}

/// Replaces all rows of a store with those of a stream.
///
/// # Errors
/// The stream is damaged (then nothing was changed), or the store fails.
pub fn install<K: Kv>(kv: &K, mut source: Source) -> Result<()> {
    for row in Rows::start(&mut source)? {
        row?;
    }
    kv.replace(&mut Rows::start(&mut source)?)
}

/// The rows of a stream, with their order and its end checked.
struct Rows<'a> {
    source: std::io::BufReader<&'a mut Source>,
    digest: crc_fast::Digest,
    count: u64,
    last_key: Vec<u8>,
    ended: bool,
}

impl<'a> Rows<'a> {
    fn start(source: &'a mut Source) -> Result<Rows<'a>> {
        source.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
        let mut rows = Rows {
            source: std::io::BufReader::new(source),
            digest: digest(),
            count: 0,
            last_key: Vec::new(),
            ended: false,
        };
        if rows.bytes::<8>()? != *MAGIC {
            return Err(corrupt("it does not start like a snapshot of this version"));
        }
        Ok(rows)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.source.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => corrupt("it is cut short"),
            _ => failed(&error),
        })?;
        self.digest.update(bytes);
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn field(&mut self, len: u32) -> Result<Vec<u8>> {
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_FIELD_BYTES);
        let mut bytes = vec![0; len.ok_or_else(|| corrupt("a row is too long"))?];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn row(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let (key, value) = (u32::from_le_bytes(self.bytes()?), u32::from_le_bytes(self.bytes()?));
        if key == u32::MAX && value == u32::MAX {
            let count = u64::from_le_bytes(self.bytes()?);
            let crc = u32::try_from(self.digest.clone().finalize()).unwrap_or(u32::MAX);
            if u32::from_le_bytes(self.bytes()?) != crc || count != self.count {
                return Err(corrupt("its checksum is wrong"));
            }
            return Ok(None);
        }
        self.count += 1;
        let (key, value) = (self.field(key)?, self.field(value)?);
        // Only such rows are exported. Any other would be stored and never seen, or would hide another row.
        if !(FIRST_KEY..END_OF_KEYS).contains(&&key[..]) || key <= self.last_key {
            return Err(corrupt("its keys do not ascend"));
        }
        self.last_key.clone_from(&key);
        Ok(Some((key, value)))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.row().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Batch, MemoryKv};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("lock").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn store(rows: &[(&[u8], &[u8])]) -> MemoryKv {
        let kv = MemoryKv::new();
        let mut batch = Batch::default();
        for (key, value) in rows {
            batch.put(*key, *value);
        }
        kv.write(batch).expect("writes");
        kv
    }

    fn exported(kv: &MemoryKv) -> Vec<u8> {
        let shared = Shared::default();
        export(&kv.snapshot(), Box::new(shared.clone())).expect("exports");
        std::mem::take(&mut *shared.0.lock().expect("lock"))
    }

    fn rows(kv: &MemoryKv) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            all.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        };
        kv.snapshot().scan(&[0], &[0xff], &mut visit).expect("scans");
        all
    }

    #[test]
    fn a_stream_carries_rows_unchanged_and_replaces_the_old_ones() {
        let mark = Mark { last: Some(crate::types::log_id(1, 1, 9)), membership: Default::default() };
        let from = store(&[(b"cb\0k\0", b"1"), (b"vb\0k\0", b""), (crate::key::APPLIED, &mark.to_row())]);
        let to = store(&[(b"bold\0", b"x"), (b"cb\0k\0", b"old")]);
        let bytes = exported(&from);
        install(&to, Box::new(std::io::Cursor::new(bytes))).expect("installs");
        assert_eq!(rows(&to), rows(&from));
        assert_eq!(Mark::read(&to.snapshot()).expect("reads"), mark);
    }

    #[test]
    fn a_damaged_stream_is_refused_and_changes_nothing() {
        let bytes = exported(&store(&[(b"cb\0k\0", b"1")]));
        let to = store(&[(b"bold\0", b"x")]);
        let before = rows(&to);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(install(&to, Box::new(std::io::Cursor::new(changed))).is_err(), "byte {at}");
            assert!(
                install(&to, Box::new(std::io::Cursor::new(bytes[..at].to_vec()))).is_err(),
                "cut at {at}"
            );
        }
        assert_eq!(rows(&to), before);
    }

    /// A stream with a correct checksum was installed even if its keys were out of order, repeated, or outside the
    /// exported range. It left rows that no later stream would hold, and fewer rows than it announced. Found by the
    /// fuzz target `snapshot`.
    #[test]
    fn a_stream_whose_keys_do_not_ascend_is_refused_and_changes_nothing() {
        let stream = |keys: &[&[u8]]| {
            let mut bytes = MAGIC.to_vec();
            for key in keys {
                bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
                bytes.extend_from_slice(&1_u32.to_le_bytes());
                bytes.extend_from_slice(&[key, &b"v"[..]].concat());
            }
            bytes.extend_from_slice(&[0xff; 8]);
            bytes.extend_from_slice(&(keys.len() as u64).to_le_bytes());
            let mut sum = digest();
            sum.update(&bytes);
            bytes.extend_from_slice(&(sum.finalize() as u32).to_le_bytes());
            bytes
        };
        let to = store(&[(b"bold\0", b"x")]);
        let before = rows(&to);
        let install = |keys: &[&[u8]]| install(&to, Box::new(std::io::Cursor::new(stream(keys))));
        for keys in [&[&b"b"[..], b"a"][..], &[b"a", b"a"], &[b""], &[b"\xff"]] {
            assert_eq!(install(keys), Err(corrupt("its keys do not ascend")), "{keys:?}");
            assert_eq!(rows(&to), before);
        }
        assert_eq!(install(&[b"a", b"ab", b"b"]), Ok(()));
    }

    #[test]
    fn the_bytes_of_a_stream_are_frozen() {
        let bytes = exported(&store(&[(b"ka", b"v")]));
        assert_eq!(
            hex::encode(bytes),
            "4857534e0100000002000000010000006b6176ffffffffffffffff010000000000000091c707cb"
        );
    }
}
