//! Values that say what they are: a reader knows every byte that it must see.

use std::collections::BTreeMap;
use std::rc::Rc;

use engine::io::sim::Random;
use md5::{Digest, Md5};

/// A value that some client has written, or tried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueId(u32);

/// One of them.
pub struct Value {
    /// The bytes.
    pub bytes: Rc<[u8]>,
    /// The ETag that an object of them has, without quotes.
    pub etag: String,
    /// The same bytes as the body of one PUT, which a copy of them has.
    pub flat: ValueId,
}

/// All values of a run, by number and by ETag.
#[derive(Default)]
pub struct Values {
    all: Vec<Value>,
    by_etag: BTreeMap<String, ValueId>,
}

/// The MD5 of some bytes.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

impl Values {
    /// A new value of so many bytes: its number, then bytes that follow from it.
    pub fn make(&mut self, length: usize, random: &mut Random) -> ValueId {
        let bytes = contents(self.all.len(), length, random);
        self.plain(bytes)
    }

    fn plain(&mut self, bytes: Rc<[u8]>) -> ValueId {
        let etag = hex::encode(md5(&bytes));
        self.add(etag, |flat| Value { bytes, etag: String::new(), flat })
    }

    fn add(&mut self, etag: String, value: impl FnOnce(ValueId) -> Value) -> ValueId {
        if let Some(known) = self.by_etag.get(&etag) {
            return *known;
        }
        let id = ValueId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push(Value { etag: etag.clone(), ..value(id) });
        self.by_etag.insert(etag, id);
        id
    }

    /// The value that an upload of these parts makes.
    pub fn of_parts(&mut self, parts: &[Rc<[u8]>]) -> ValueId {
        let bytes: Rc<[u8]> = parts.concat().into();
        let sums: Vec<u8> = parts.iter().flat_map(|part| md5(part)).collect();
        let etag = format!("{}-{}", hex::encode(md5(&sums)), parts.len());
        let flat = self.plain(bytes.clone());
        self.add(etag, |_| Value { bytes, etag: String::new(), flat })
    }

    /// The value with an ETag, which may be quoted.
    pub fn by_etag(&self, etag: &str) -> Option<ValueId> {
        self.by_etag.get(etag.trim_matches('"')).copied()
    }

    /// A value.
    pub fn get(&self, id: ValueId) -> &Value {
        &self.all[id.0 as usize]
    }
}

/// Bytes for a new value or part.
pub fn contents(number: usize, length: usize, random: &mut Random) -> Rc<[u8]> {
    let mut bytes = vec![0; length];
    // Most of it repeats, so that making it costs little; each piece of 4 KiB still differs.
    let mut piece = [0; 4096];
    random.fill(&mut piece);
    for (at, chunk) in bytes.chunks_mut(piece.len()).enumerate() {
        piece[..8].copy_from_slice(&((number as u64) << 32 | at as u64).to_le_bytes());
        chunk.copy_from_slice(&piece[..chunk.len()]);
    }
    bytes.into()
}
