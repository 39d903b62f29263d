//! A cache that apply's news keep current: values by key, absent ones too.
//!
//! Each value has the log index up to which it is known to hold. News of a lower index are old: the value, read
//! from a newer state of the store, has them in it. News that bear one index were applied together, the last of
//! them being what the store holds then. While a read is under way, news of its key are kept for it, and the later
//! of the two wins.
//!
//! Bounded by bytes: two generations, of which the older is dropped whole when the younger has half the
//! allowance. What is looked up in the older one moves to the younger.

use std::sync::Arc;

use engine::FixedState;
use hashbrown::HashMap;

/// Memory that an entry is counted with besides its key and its value.
const ENTRY_OVERHEAD_BYTES: usize = 112;

struct Slot<V> {
    value: Option<Arc<V>>,
    index: u64,
    bytes: usize,
}

struct Reading<V> {
    readers: usize,
    news: Option<(u64, Option<Arc<V>>)>,
}

type Map<T> = HashMap<Box<[u8]>, T, FixedState>;

/// The cache.
pub struct Cache<V> {
    young: Map<Slot<V>>,
    old: Map<Slot<V>>,
    young_bytes: usize,
    half_bytes: usize,
    reading: Map<Reading<V>>,
    weigh: fn(&V) -> usize,
    stats: CacheStats,
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
            young: Map::default(),
            old: Map::default(),
            young_bytes: 0,
            half_bytes: bytes / 2,
            reading: Map::default(),
            weigh,
            stats: CacheStats::default(),
        }
    }

    /// What is known of a key: `None` if nothing, `Some(None)` if it has no value.
    pub fn get(&mut self, key: &[u8]) -> Option<Option<Arc<V>>> {
        if let Some(slot) = self.young.get(key) {
            self.stats.hits += 1;
            return Some(slot.value.clone());
        }
        let Some((key, slot)) = self.old.remove_entry(key) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        let value = slot.value.clone();
        self.put(key, slot);
        Some(value)
    }

    fn put(&mut self, key: Box<[u8]>, slot: Slot<V>) {
        self.young_bytes += slot.bytes;
        if let Some(replaced) = self.young.insert(key, slot) {
            self.young_bytes -= replaced.bytes;
        }
        if self.young_bytes > self.half_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    fn store(&mut self, key: &[u8], value: Option<Arc<V>>, index: u64) {
        let bytes = ENTRY_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, |value| (self.weigh)(value));
        let slot = Slot { value, index, bytes };
        let key = self.old.remove_entry(key).map_or_else(|| key.into(), |(key, _)| key);
        self.put(key, slot);
    }

    fn known_at(&self, key: &[u8]) -> Option<u64> {
        self.young.get(key).or_else(|| self.old.get(key)).map(|slot| slot.index)
    }

    /// Takes news of log index `index`.
    pub fn feed(&mut self, key: &[u8], value: Option<Arc<V>>, index: u64) {
        if let Some(reading) = self.reading.get_mut(key) {
            reading.news = Some((index, value.clone()));
        }
        if self.known_at(key).is_none_or(|known| known <= index) {
            self.store(key, value, index);
        }
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
        if self.known_at(key).is_none_or(|known| known < index) {
            self.store(key, value.clone(), index);
        }
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
