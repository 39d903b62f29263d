//! Aligned buffers for direct I/O, pooled per core.
//!
//! A [`Buf`] of up to 1 MiB returns to its core's pool on drop and after a write. The pool sorts buffers by their
//! number of pages. So in steady state no memory is allocated and no page faults occur. The pool's size is bounded;
//! what requests may hold is bounded by the permits that they acquire ([`crate::io::Semaphore`]).

mod memory;

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

use memory::Memory;

/// Every capacity is a multiple of this.
const PAGE_BYTES: usize = 4096;
/// Largest pooled capacity, bytes.
const MAX_POOLED_BYTES: usize = 1 << 20;
const CLASSES: usize = MAX_POOLED_BYTES / PAGE_BYTES + 1;
/// Free memory that a core's pool keeps, bytes.
const POOL_LIMIT_BYTES: usize = 32 << 20;

struct Pool {
    /// Free buffers by their number of pages.
    free: RefCell<[Vec<Memory>; CLASSES]>,
    free_bytes: Cell<usize>,
}

thread_local! {
    static POOL: Pool =
        const { Pool { free: RefCell::new([const { Vec::new() }; CLASSES]), free_bytes: Cell::new(0) } };
}

/// A buffer aligned to 4096 bytes whose length goes up to its capacity. It stays on its core.
pub struct Buf {
    /// `None` in a buffer without memory.
    memory: Option<Memory>,
    len: usize,
}

/// The size class of a capacity, if buffers of that capacity are pooled.
fn class_of(capacity: usize) -> Option<usize> {
    (capacity > 0 && capacity <= MAX_POOLED_BYTES && capacity.is_multiple_of(PAGE_BYTES))
        .then_some(capacity / PAGE_BYTES)
}

/// Memory of exactly `capacity` bytes, a multiple of the page size.
fn allocate(capacity: usize) -> Memory {
    let pooled = class_of(capacity).and_then(|class| {
        POOL.with(|pool| {
            let buffer = pool.free.borrow_mut()[class].pop()?;
            pool.free_bytes.set(pool.free_bytes.get() - capacity);
            Some(buffer)
        })
    });
    pooled.unwrap_or_else(|| Memory::zeroed(capacity))
}

impl Buf {
    /// An empty buffer for at least `capacity` bytes. Its bytes are arbitrary until written.
    pub fn with_capacity(capacity: usize) -> Buf {
        let capacity = capacity.max(1).next_multiple_of(PAGE_BYTES);
        Buf { memory: Some(allocate(capacity)), len: 0 }
    }

    /// A buffer without memory.
    pub fn empty() -> Buf {
        Buf { memory: None, len: 0 }
    }

    /// Bytes that fit.
    pub fn capacity(&self) -> usize {
        self.memory.as_ref().map_or(0, Memory::length)
    }

    /// Where the kernel finds the memory, the whole capacity. The memory stays in place for as long as the buffer
    /// lives.
    #[cfg(not(any(sim, feature = "glommio")))]
    pub(crate) fn memory(&self) -> *mut u8 {
        self.memory.as_ref().map_or(std::ptr::null_mut(), Memory::pointer)
    }

    /// Sets the length. Bytes between the old and the new length are whatever the memory held.
    ///
    /// # Panics
    /// If `len` exceeds the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "buffer of {} bytes set to {len}", self.capacity());
        self.len = len;
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// If `bytes` do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.set_len(start + bytes.len());
        self[start..].copy_from_slice(bytes);
    }

    /// Pads with zeros to the next multiple of `align`.
    pub fn pad_to(&mut self, align: usize) {
        let start = self.len;
        self.set_len(start.next_multiple_of(align));
        self[start..].fill(0);
    }
}

/// Returns memory to this core's pool if its size is pooled.
fn recycle(memory: Memory) {
    let capacity = memory.length();
    let Some(class) = class_of(capacity) else { return };
    // The thread may be ending: then the memory is freed.
    let _ = POOL.try_with(|pool| {
        if pool.free_bytes.get() + capacity > POOL_LIMIT_BYTES {
            // The pool is full of sizes that nobody asks for now: start over with the ones in use.
            pool.free_bytes.set(0);
            pool.free.borrow_mut().iter_mut().for_each(Vec::clear);
        }
        pool.free_bytes.set(pool.free_bytes.get() + capacity);
        pool.free.borrow_mut()[class].push(memory);
    });
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            recycle(memory);
        }
    }
}

impl Deref for Buf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory.bytes()[..self.len])
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.as_mut().map_or(&mut [], |memory| &mut memory.bytes_mut()[..self.len])
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buf({} of {} bytes)", self.len, self.capacity())
    }
}
