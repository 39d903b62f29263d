//! Values that identify themselves: a reader knows every byte that it must see.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use engine::io::sim::Random;
use md5::{Digest, Md5};

/// A value that some client wrote or tried to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueId(u32);

/// Bytes, stored as the recipe that generates them: a long run has thousands of values.
#[derive(Clone)]
pub struct Contents {
    runs: Vec<Run>,
    md5: OnceCell<[u8; 16]>,
}

#[derive(Clone, Copy, PartialEq)]
struct Run {
    number: u64,
    length: usize,
    seed: u64,
}

/// How many of the contents generated last are kept.
const RECENT: usize = 8;

type Recent = VecDeque<(Vec<Run>, Rc<[u8]>)>;

thread_local! {
    /// They are likely to be needed again: for the ETag, by a request, by a reader.
    static RECENT_CONTENTS: RefCell<Recent> = const { RefCell::new(VecDeque::new()) };
}

/// One of them.
pub struct Value {
    /// Its bytes.
    pub contents: Contents,
    /// The ETag of an object with this value, without quotes.
    pub etag: String,
    /// The same bytes as the body of a single PUT, which is what a copy has.
    pub flat: ValueId,
}

/// All values of a run, by number and by ETag.
#[derive(Default)]
pub struct Values {
    all: Vec<Value>,
    by_etag: BTreeMap<String, ValueId>,
}

/// The MD5 of bytes.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

impl Values {
    /// Makes a new value of a given size: its number, then bytes that follow from it.
    pub fn make(&mut self, length: usize, random: &mut Random) -> ValueId {
        let contents = Contents::new(self.all.len(), length, random);
        self.plain(contents)
    }

    fn plain(&mut self, contents: Contents) -> ValueId {
        let etag = contents.md5_hex();
        self.add(etag, |flat| Value { contents, etag: String::new(), flat })
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

    /// Makes the value of an upload of these parts.
    pub fn of_parts(&mut self, parts: &[Contents]) -> ValueId {
        let sums: Vec<u8> = parts.iter().flat_map(Contents::md5).collect();
        let etag = format!("{}-{}", hex::encode(md5(&sums)), parts.len());
        let contents = Contents::of(parts.iter().flat_map(|part| part.runs.iter().copied()).collect());
        let flat = self.plain(contents.clone());
        self.add(etag, |_| Value { contents, etag: String::new(), flat })
    }

    /// Looks up a value by its ETag, which may be quoted.
    pub fn by_etag(&self, etag: &str) -> Option<ValueId> {
        self.by_etag.get(etag.trim_matches('"')).copied()
    }

    /// All that have at most `length` bytes.
    pub fn up_to(&self, length: usize) -> Vec<ValueId> {
        let ids = (0..).map(ValueId).zip(&self.all);
        ids.filter(|(_, value)| value.contents.len() <= length).map(|(id, _)| id).collect()
    }

    /// A value.
    pub fn get(&self, id: ValueId) -> &Value {
        &self.all[id.0 as usize]
    }
}

impl Contents {
    /// Bytes for a new value or part.
    pub fn new(number: usize, length: usize, random: &mut Random) -> Contents {
        Contents::of(vec![Run { number: number as u64, length, seed: random.number() }])
    }

    fn of(runs: Vec<Run>) -> Contents {
        Contents { runs, md5: OnceCell::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// All of them.
    pub fn bytes(&self) -> Rc<[u8]> {
        RECENT_CONTENTS.with_borrow_mut(|recent| {
            if let Some((_, bytes)) = recent.iter().find(|(runs, _)| *runs == self.runs) {
                return bytes.clone();
            }
            recent.truncate(RECENT - 1);
            let bytes = self.generate();
            recent.push_front((self.runs.clone(), bytes.clone()));
            bytes
        })
    }

    fn generate(&self) -> Rc<[u8]> {
        let mut bytes = vec![0; self.len()];
        let mut rest = &mut bytes[..];
        for run in &self.runs {
            let (run_bytes, after) = rest.split_at_mut(run.length);
            run.write(run_bytes);
            rest = after;
        }
        bytes.into()
    }

    fn md5(&self) -> [u8; 16] {
        *self.md5.get_or_init(|| md5(&self.bytes()))
    }

    /// Their MD5, as an ETag has it.
    pub fn md5_hex(&self) -> String {
        hex::encode(self.md5())
    }
}

impl Run {
    fn write(&self, bytes: &mut [u8]) {
        // Most of it repeats, so that making it costs little; each piece of 4 KiB still differs.
        let mut piece = [0; 4096];
        Random::new(self.seed).fill(&mut piece);
        for (at, chunk) in bytes.chunks_mut(piece.len()).enumerate() {
            piece[..8].copy_from_slice(&(self.number << 32 | at as u64).to_le_bytes());
            chunk.copy_from_slice(&piece[..chunk.len()]);
        }
    }
}
