//! The in-memory index: it maps (data id, shard, extent) to a place on disk.
//!
//! Promises: an entry takes 32 bytes. There are 64 tables, each with a load between 0.67 and 0.9 once it is past its
//! smallest size, so that an entry costs less than 48 bytes in total, even while tables grow (one at a time, by a
//! quarter). Probing is linear. Deletion shifts entries back, so there are no tombstones and look-ups stay short.
//!
//! All entries of a blob share one hash and lie in one probe run, so a single look-up by blob finds all its extents.

use smallvec::SmallVec;

use crate::ids::{DataId, mix64};

const TABLES: usize = if cfg!(sim) { 1 } else { 64 };
const SMALLEST: usize = 16;

const USED: u8 = 1 << 0;
const LAST: u8 = 1 << 1;
const EXTENT: u8 = 1 << 2;
const MARKED: u8 = 1 << 3;

/// The key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The blob.
    pub data_id: DataId,
    /// The shard of the blob.
    pub shard: u8,
    /// The extent of the shard.
    pub extent: u16,
}

/// The place of an extent or small blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Segment id.
    pub segment: u32,
    /// Offset of the first block in units of 8 bytes. In a log segment the record's header lies before it.
    pub offset: u32,
    /// Framed length, bytes.
    pub length: u32,
    /// Whether the segment is an extent segment.
    pub in_extent: bool,
    /// Whether this is the shard's last extent.
    pub last: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    id: [u8; 16],
    shard: u8,
    flags: u8,
    extent: u16,
    segment: u32,
    offset: u32,
    length: u32,
}

const _: () = assert!(size_of::<Entry>() == 32);

const EMPTY: Entry = Entry { id: [0; 16], shard: 0, flags: 0, extent: 0, segment: 0, offset: 0, length: 0 };

impl Entry {
    fn new(key: Key, slot: Slot) -> Entry {
        let flags = USED | if slot.last { LAST } else { 0 } | if slot.in_extent { EXTENT } else { 0 };
        let Key { data_id, shard, extent } = key;
        let Slot { segment, offset, length, .. } = slot;
        Entry { id: data_id.0, shard, flags, extent, segment, offset, length }
    }

    fn used(&self) -> bool {
        self.flags & USED != 0
    }

    fn key(&self) -> Key {
        Key { data_id: DataId(self.id), shard: self.shard, extent: self.extent }
    }

    fn slot(&self) -> Slot {
        Slot {
            segment: self.segment,
            offset: self.offset,
            length: self.length,
            in_extent: self.flags & EXTENT != 0,
            last: self.flags & LAST != 0,
        }
    }
}

#[derive(Default)]
struct Table {
    slots: Vec<Entry>,
    used: usize,
}

/// The index of one core.
pub struct Index {
    tables: Vec<Table>,
    /// Recovery is over: entries are added with the mark set.
    recovered: bool,
}

impl Default for Index {
    fn default() -> Index {
        Index::new()
    }
}

fn hash(id: &[u8; 16]) -> u64 {
    let value = u128::from_le_bytes(*id);
    mix64(value as u64 ^ mix64((value >> 64) as u64))
}

/// The table of a hash: its top six bits. The slot in the table comes from the low 32.
fn table_of(hash: u64) -> usize {
    (hash >> 58) as usize & (TABLES - 1)
}

impl Table {
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// The slots in the probe run of `hash`, up to the first empty one.
    fn run(&self, hash: u64) -> impl Iterator<Item = usize> {
        let mut at = if self.slots.is_empty() { 0 } else { self.home(hash) };
        std::iter::from_fn(move || {
            let here = at;
            if !self.slots.get(here)?.used() {
                return None;
            }
            at = self.next(here);
            Some(here)
        })
    }

    fn find(&self, hash: u64, key: &Key) -> Option<usize> {
        self.run(hash).find(|&at| {
            let entry = &self.slots[at];
            entry.id == key.data_id.0 && entry.shard == key.shard && entry.extent == key.extent
        })
    }

    fn place(&mut self, hash: u64, entry: Entry) {
        let mut at = self.home(hash);
        while self.slots[at].used() {
            at = self.next(at);
        }
        self.slots[at] = entry;
        self.used += 1;
    }

    fn resize(&mut self, capacity: usize) {
        assert!(capacity > self.used, "a table keeps an empty slot");
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; capacity]);
        self.used = 0;
        for entry in old.into_iter().filter(Entry::used) {
            self.place(hash(&entry.id), entry);
        }
    }

    /// Makes room for one more entry: a table that is 0.9 full grows by a quarter.
    fn grow(&mut self) {
        if self.slots.len() < SMALLEST {
            self.resize(SMALLEST);
        } else if (self.used + 1) * 10 > self.slots.len() * 9 {
            crate::reach!("index-table-grown");
            self.resize(self.slots.len() + self.slots.len() / 4);
        }
    }

    /// Shrinks a table that is less than 0.67 full, so that it is 0.8 full afterwards.
    fn shrink(&mut self) {
        if self.slots.len() > SMALLEST && self.used * 100 < self.slots.len() * 67 {
            crate::reach!("index-table-shrunk");
            self.resize((self.used * 5 / 4 + 1).max(SMALLEST));
        }
    }

    fn remove_at(&mut self, at: usize) -> Entry {
        let removed = self.slots[at];
        let capacity = self.slots.len();
        let distance = |from: usize, to: usize| if to >= from { to - from } else { to + capacity - from };
        let mut hole = at;
        let mut probe = self.next(at);
        while self.slots[probe].used() {
            let home = self.home(hash(&self.slots[probe].id));
            if distance(home, probe) >= distance(hole, probe) {
                self.slots[hole] = self.slots[probe];
                hole = probe;
            }
            probe = self.next(probe);
        }
        self.slots[hole] = EMPTY;
        self.used -= 1;
        removed
    }
}

impl Index {
    /// An empty index.
    pub fn new() -> Index {
        Index { tables: (0..TABLES).map(|_| Table::default()).collect(), recovered: false }
    }

    fn table(&self, hash: u64) -> &Table {
        &self.tables[table_of(hash)]
    }

    /// Stores the place of `key` and returns the previous one. A mark on the entry stays: a move must not make a blob
    /// look unwanted.
    pub fn insert(&mut self, key: Key, slot: Slot) -> Option<Slot> {
        let hash = hash(&key.data_id.0);
        let table = &mut self.tables[table_of(hash)];
        if let Some(at) = table.find(hash, &key) {
            let old = std::mem::replace(&mut table.slots[at], Entry::new(key, slot));
            table.slots[at].flags |= old.flags & MARKED;
            return Some(old.slot());
        }
        table.grow();
        let mut entry = Entry::new(key, slot);
        entry.flags |= if self.recovered { MARKED } else { 0 };
        table.place(hash, entry);
        None
    }

    /// The place of `key`.
    pub fn get(&self, key: &Key) -> Option<Slot> {
        let hash = hash(&key.data_id.0);
        let table = self.table(hash);
        table.find(hash, key).map(|at| table.slots[at].slot())
    }

    /// All extents of one shard of a blob, in order.
    pub fn shard(&self, data_id: DataId, shard: u8) -> SmallVec<[(u16, Slot); 1]> {
        let hash = hash(&data_id.0);
        let table = self.table(hash);
        let mut found: SmallVec<[(u16, Slot); 1]> = table
            .run(hash)
            .map(|at| &table.slots[at])
            .filter(|entry| entry.id == data_id.0 && entry.shard == shard)
            .map(|entry| (entry.extent, entry.slot()))
            .collect();
        found.sort_unstable_by_key(|(extent, _)| *extent);
        found
    }

    /// Whether the index holds any shard of the blob.
    pub fn contains(&self, data_id: DataId) -> bool {
        let hash = hash(&data_id.0);
        let table = self.table(hash);
        table.run(hash).any(|at| table.slots[at].id == data_id.0)
    }

    /// Removes one entry.
    pub fn remove(&mut self, key: &Key) -> Option<Slot> {
        let hash = hash(&key.data_id.0);
        let table = &mut self.tables[table_of(hash)];
        let removed = table.find(hash, key).map(|at| table.remove_at(at).slot());
        if removed.is_some() {
            table.shrink();
        }
        removed
    }

    /// Removes all shards and extents of a blob and returns their places.
    pub fn remove_blob(&mut self, data_id: DataId) -> SmallVec<[(Key, Slot); 1]> {
        let hash = hash(&data_id.0);
        let table = &mut self.tables[table_of(hash)];
        let mut removed = SmallVec::new();
        loop {
            let Some(at) = table.run(hash).find(|&at| table.slots[at].id == data_id.0) else { break };
            let entry = table.remove_at(at);
            removed.push((entry.key(), entry.slot()));
        }
        if !removed.is_empty() {
            table.shrink();
        }
        removed
    }

    /// Ends recovery. Entries added from now on are marked, because somebody evidently wants them.
    pub fn end_recovery(&mut self) {
        self.recovered = true;
    }

    /// Marks all entries of a blob as wanted. Returns whether there are any.
    pub fn mark(&mut self, data_id: DataId) -> bool {
        let hash = hash(&data_id.0);
        let table = &mut self.tables[table_of(hash)];
        let places: SmallVec<[usize; 8]> =
            table.run(hash).filter(|&at| table.slots[at].id == data_id.0).collect();
        for &at in &places {
            table.slots[at].flags |= MARKED;
        }
        !places.is_empty()
    }

    /// Unmarked blobs in table number `table` (of [`Index::tables`]).
    pub fn unmarked(&self, table: usize) -> Vec<DataId> {
        let mut ids: Vec<DataId> = self.tables[table]
            .slots
            .iter()
            .filter(|entry| entry.used() && entry.flags & MARKED == 0)
            .map(|entry| DataId(entry.id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Number of tables, so that long walks can pause between them.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// All entries, in no meaningful order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Slot)> + '_ {
        self.tables
            .iter()
            .flat_map(|table| &table.slots)
            .filter(|entry| entry.used())
            .map(|entry| (entry.key(), entry.slot()))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.used).sum()
    }

    /// Whether the index has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the index takes, bytes.
    pub fn bytes(&self) -> usize {
        let slots: usize = self.tables.iter().map(|table| table.slots.capacity()).sum();
        slots * size_of::<Entry>() + TABLES * size_of::<Table>() + size_of::<Index>()
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
