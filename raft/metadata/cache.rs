//! A cache that apply's updates keep current: values by key, including absent ones.
//!
//! Each value has the log index up to which it is known to hold. An update of a lower index is stale: the value was
//! read from a newer state of the store, and includes the update. Updates with the same index were applied
//! together, and the last of them is what the store then holds. While a read is in flight, updates of its key are
//! kept for it, and the later of the two wins.
//!
//! Bounded by bytes, with two generations: the older is dropped whole when the younger takes half of the allowance.
//! An entry found in the older moves to the younger.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use engine::FixedState;
use hashbrown::{HashMap, HashTable};

/// Memory charged per entry besides its key and its value.
const ENTRY_OVERHEAD_BYTES: usize = 112;

struct Slot<V> {
    key: Box<[u8]>,
    value: Option<Arc<V>>,
    index: u64,
    bytes: usize,
}

struct Reading<V> {
    readers: usize,
    update: Option<(u64, Option<Arc<V>>)>,
}

/// The cache.
pub struct Cache<V> {
    young: HashTable<Slot<V>>,
    old: HashTable<Slot<V>>,
    young_bytes: usize,
    half_bytes: usize,
    reading: HashMap<Box<[u8]>, Reading<V>, FixedState>,
    weigh: fn(&V) -> usize,
    stats: CacheStats,
}

/// Both tables use the same hash, so that a key is hashed once.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = FixedState.build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// What a cache has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheStats {
    /// Lookups that found the key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Entries.
    pub entries: usize,
}

impl<V> Cache<V> {
    /// A cache of at most `bytes`; `weigh` returns how many a value takes.
    pub fn new(bytes: usize, weigh: fn(&V) -> usize) -> Cache<V> {
        Cache {
            young: HashTable::new(),
            old: HashTable::new(),
            young_bytes: 0,
            half_bytes: bytes / 2,
            reading: HashMap::default(),
            weigh,
            stats: CacheStats::default(),
        }
    }

    /// What is known of a key: `None` if nothing, `Some(None)` if that it has no value.
    pub fn get(&mut self, key: &[u8]) -> Option<Option<Arc<V>>> {
        let hash = hash(key);
        if let Some(slot) = self.young.find(hash, |slot| *slot.key == *key) {
            self.stats.hits += 1;
            return Some(slot.value.clone());
        }
        let Ok(found) = self.old.find_entry(hash, |slot| *slot.key == *key) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        let (slot, _) = found.remove();
        let value = slot.value.clone();
        self.put(hash, slot);
        Some(value)
    }

    /// Adds a key that the younger generation does not have.
    fn put(&mut self, hash: u64, slot: Slot<V>) {
        self.young_bytes += slot.bytes;
        self.young.insert_unique(hash, slot, |slot| self::hash(&slot.key));
        self.age();
    }

    /// Makes the younger generation the older one once it takes half of the allowance.
    fn age(&mut self) {
        if self.young_bytes > self.half_bytes {
            engine::reach!("row-cache-generation-dropped", !self.old.is_empty());
            // Both keep their allocations: the next generation will be as large as the last.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_bytes = 0;
        }
    }

    /// Stores a value that holds up to log index `index`, unless the cached one holds up to a higher index. With
    /// `over`, also replaces one of the same index.
    fn store(&mut self, key: &[u8], value: Option<Arc<V>>, index: u64, over: bool) {
        let hash = hash(key);
        let newer = |slot: &Slot<V>| slot.index < index || over && slot.index == index;
        let bytes = ENTRY_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, |value| (self.weigh)(value));
        if let Some(slot) = self.young.find_mut(hash, |slot| *slot.key == *key) {
            engine::reach!("stale-row-not-cached", !newer(slot));
            if newer(slot) {
                self.young_bytes = self.young_bytes + bytes - slot.bytes;
                (slot.value, slot.index, slot.bytes) = (value, index, bytes);
                self.age();
            }
            return;
        }
        let key = match self.old.find_entry(hash, |slot| *slot.key == *key) {
            Ok(found) if !newer(found.get()) => return,
            Ok(found) => found.remove().0.key,
            Err(_) => key.into(),
        };
        self.put(hash, Slot { key, value, index, bytes });
    }

    /// Takes an update of log index `index`.
    pub fn update(&mut self, key: &[u8], value: Option<Arc<V>>, index: u64) {
        if !self.reading.is_empty()
            && let Some(reading) = self.reading.get_mut(key)
        {
            reading.update = Some((index, value.clone()));
        }
        if value.is_none() && engine::canary!("cache-not-invalidated") {
            return;
        }
        self.store(key, value, index, !engine::canary!("stale-row-kept"));
    }

    /// Notes that a read of a key begins. Call it before the read is sent.
    pub fn begin_read(&mut self, key: &[u8]) {
        match self.reading.get_mut(key) {
            Some(reading) => reading.readers += 1,
            None => drop(self.reading.insert(key.into(), Reading { readers: 1, update: None })),
        }
    }

    /// Ends a read. `found` is the index of the state that was read, and the value in it; `None` if the read
    /// failed. Returns the value that holds now.
    pub fn end_read(&mut self, key: &[u8], found: Option<(u64, Option<Arc<V>>)>) -> Option<Arc<V>> {
        let update = match self.reading.get_mut(key) {
            Some(reading) if reading.readers > 1 => {
                reading.readers -= 1;
                reading.update.clone()
            }
            _ => self.reading.remove(key).and_then(|reading| reading.update),
        };
        let (index, value) = found?;
        if let Some((updated, value)) = update
            && updated >= index
        {
            engine::reach!("update-won-over-a-read");
            return value;
        }
        self.store(key, value.clone(), index, false);
        value
    }

    /// What the cache has done.
    pub fn stats(&self) -> CacheStats {
        CacheStats { entries: self.young.len() + self.old.len(), ..self.stats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> Cache<u32> {
        Cache::new(4 * (ENTRY_OVERHEAD_BYTES + 11), |_| 10)
    }

    #[test]
    fn updates_take_effect_and_stale_ones_do_not() {
        let mut cache = cache();
        assert_eq!(cache.get(b"a"), None);
        cache.update(b"a", Some(Arc::new(1)), 5);
        cache.update(b"a", Some(Arc::new(2)), 5);
        cache.update(b"a", Some(Arc::new(3)), 4);
        assert_eq!(cache.get(b"a"), Some(Some(Arc::new(2))));
        cache.update(b"a", None, 6);
        assert_eq!(cache.get(b"a"), Some(None));
    }

    #[test]
    fn a_read_of_a_newer_state_wins_over_a_late_update() {
        let mut cache = cache();
        cache.begin_read(b"a");
        assert_eq!(cache.end_read(b"a", Some((7, Some(Arc::new(2))))), Some(Arc::new(2)));
        cache.update(b"a", Some(Arc::new(1)), 6);
        assert_eq!(cache.get(b"a"), Some(Some(Arc::new(2))));
    }

    #[test]
    fn an_update_during_a_read_wins_over_an_older_state() {
        let mut cache = cache();
        cache.begin_read(b"a");
        cache.begin_read(b"a");
        cache.update(b"a", None, 8);
        assert_eq!(cache.end_read(b"a", Some((7, Some(Arc::new(2))))), None);
        assert_eq!(cache.end_read(b"a", Some((9, Some(Arc::new(3))))), Some(Arc::new(3)));
        assert_eq!(cache.get(b"a"), Some(Some(Arc::new(3))));
        assert!(cache.reading.is_empty());
    }

    #[test]
    fn values_that_grow_in_place_are_counted() {
        let mut cache: Cache<u32> = Cache::new(4 * (ENTRY_OVERHEAD_BYTES + 11), |value| *value as usize);
        cache.update(b"a", Some(Arc::new(1)), 1);
        cache.update(b"a", Some(Arc::new(1_000_000)), 2);
        cache.update(b"b", Some(Arc::new(1_000_000)), 3);
        assert_eq!(cache.get(b"a"), None);
        assert_eq!(cache.stats().entries, 1);
    }

    #[test]
    fn used_entries_stay_and_memory_is_bounded() {
        let mut cache = cache();
        cache.update(b"a", Some(Arc::new(0)), 1);
        for number in 0..100_u8 {
            assert!(cache.get(b"a").is_some(), "{number}");
            cache.update(&[number], Some(Arc::new(1)), 1);
            assert!(cache.stats().entries <= 6);
        }
        assert_eq!(cache.get(&[3]), None);
    }
}
