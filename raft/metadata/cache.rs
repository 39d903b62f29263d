//! A cache that apply's news keep current: values by key, absent ones too.
//!
//! Each value has the log index up to which it is known to hold. News of a lower index are old: the value, read
//! from a newer state of the store, has them in it. News that bear one index were applied together, the last of
//! them being what the store holds then. While a read is under way, news of its key are kept for it, and the later
//! of the two wins.
//!
//! Bounded by bytes: two generations, of which the older is dropped whole when the younger has half the
//! allowance. What is looked up in the older one moves to the younger.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use engine::FixedState;
use hashbrown::{HashMap, HashTable};

/// Memory that an entry is counted with besides its key and its value.
const ENTRY_OVERHEAD_BYTES: usize = 112;

struct Slot<V> {
    key: Box<[u8]>,
    value: Option<Arc<V>>,
    index: u64,
    bytes: usize,
}

struct Reading<V> {
    readers: usize,
    news: Option<(u64, Option<Arc<V>>)>,
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

/// Each table is asked with the same number, so that a key is hashed once.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = FixedState.build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// What a cache did.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheStats {
    /// Look-ups that were answered.
    pub hits: u64,
    /// Look-ups that were not.
    pub misses: u64,
    /// Entries.
    pub entries: usize,
}

impl<V> Cache<V> {
    /// A cache of `bytes` at most; `weigh` tells how many a value takes.
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

    /// What is known of a key: `None` if nothing, `Some(None)` if it has no value.
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

    /// Adds what the younger table does not have.
    fn put(&mut self, hash: u64, slot: Slot<V>) {
        self.young_bytes += slot.bytes;
        self.young.insert_unique(hash, slot, |slot| self::hash(&slot.key));
        self.age();
    }

    /// Lets the younger generation become the older one when it has half the allowance.
    fn age(&mut self) {
        if self.young_bytes > self.half_bytes {
            // Their allocations are kept: the next generation is as large as the last.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_bytes = 0;
        }
    }

    /// Takes what holds up to log index `index`, unless what holds up to a higher one is known; with `over` also if
    /// what is known holds up to the same.
    fn store(&mut self, key: &[u8], value: Option<Arc<V>>, index: u64, over: bool) {
        let hash = hash(key);
        let newer = |slot: &Slot<V>| slot.index < index || over && slot.index == index;
        let bytes = ENTRY_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, |value| (self.weigh)(value));
        if let Some(slot) = self.young.find_mut(hash, |slot| *slot.key == *key) {
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

    /// Takes news of log index `index`.
    pub fn feed(&mut self, key: &[u8], value: Option<Arc<V>>, index: u64) {
        if !self.reading.is_empty()
            && let Some(reading) = self.reading.get_mut(key)
        {
            reading.news = Some((index, value.clone()));
        }
        if value.is_none() && engine::canary!("cache-not-invalidated") {
            return;
        }
        self.store(key, value, index, !engine::canary!("stale-row-kept"));
    }

    /// Says that a read of a key begins, before it is sent.
    pub fn begin_read(&mut self, key: &[u8]) {
        match self.reading.get_mut(key) {
            Some(reading) => reading.readers += 1,
            None => drop(self.reading.insert(key.into(), Reading { readers: 1, news: None })),
        }
    }

    /// Ends a read; `found` is the value and the index of the state that was read, `None` if the read failed.
    /// The answer is the value that holds now.
    pub fn end_read(&mut self, key: &[u8], found: Option<(u64, Option<Arc<V>>)>) -> Option<Arc<V>> {
        let news = match self.reading.get_mut(key) {
            Some(reading) if reading.readers > 1 => {
                reading.readers -= 1;
                reading.news.clone()
            }
            _ => self.reading.remove(key).and_then(|reading| reading.news),
        };
        let (index, value) = found?;
        if let Some((fed, value)) = news
            && fed >= index
        {
            return value;
        }
        self.store(key, value.clone(), index, false);
        value
    }

    /// What the cache did.
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
    fn news_update_and_old_news_do_not() {
        let mut cache = cache();
        assert_eq!(cache.get(b"a"), None);
        cache.feed(b"a", Some(Arc::new(1)), 5);
        cache.feed(b"a", Some(Arc::new(2)), 5);
        cache.feed(b"a", Some(Arc::new(3)), 4);
        assert_eq!(cache.get(b"a"), Some(Some(Arc::new(2))));
        cache.feed(b"a", None, 6);
        assert_eq!(cache.get(b"a"), Some(None));
    }

    #[test]
    fn a_read_that_saw_a_newer_state_wins_over_news_that_come_late() {
        let mut cache = cache();
        cache.begin_read(b"a");
        assert_eq!(cache.end_read(b"a", Some((7, Some(Arc::new(2))))), Some(Arc::new(2)));
        cache.feed(b"a", Some(Arc::new(1)), 6);
        assert_eq!(cache.get(b"a"), Some(Some(Arc::new(2))));
    }

    #[test]
    fn news_that_come_during_a_read_win_over_an_older_state() {
        let mut cache = cache();
        cache.begin_read(b"a");
        cache.begin_read(b"a");
        cache.feed(b"a", None, 8);
        assert_eq!(cache.end_read(b"a", Some((7, Some(Arc::new(2))))), None);
        assert_eq!(cache.end_read(b"a", Some((9, Some(Arc::new(3))))), Some(Arc::new(3)));
        assert_eq!(cache.get(b"a"), Some(Some(Arc::new(3))));
        assert!(cache.reading.is_empty());
    }

    #[test]
    fn values_that_grow_in_place_are_counted() {
        let mut cache: Cache<u32> = Cache::new(4 * (ENTRY_OVERHEAD_BYTES + 11), |value| *value as usize);
        cache.feed(b"a", Some(Arc::new(1)), 1);
        cache.feed(b"a", Some(Arc::new(1_000_000)), 2);
        cache.feed(b"b", Some(Arc::new(1_000_000)), 3);
        assert_eq!(cache.get(b"a"), None);
        assert_eq!(cache.stats().entries, 1);
    }

    #[test]
    fn what_is_used_stays_and_memory_is_bounded() {
        let mut cache = cache();
        cache.feed(b"a", Some(Arc::new(0)), 1);
        for number in 0..100_u8 {
            assert!(cache.get(b"a").is_some(), "{number}");
            cache.feed(&[number], Some(Arc::new(1)), 1);
            assert!(cache.stats().entries <= 6);
        }
        assert_eq!(cache.get(&[3]), None);
    }
}
