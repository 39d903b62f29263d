//! Aligned buffers for direct I/O, pooled per core.
//!
//! A [`Buf`] of one of the pooled capacities (powers of two from 4 KiB to 1 MiB) returns to its core's pool on
//! drop and after a write, so that in steady state no memory is allocated and none is page-faulted in. What the
//! pool keeps is bounded; what requests may hold is bounded by the permits that they take ([`crate::io::Semaphore`]).

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use glommio::io::{DmaBuffer, ReadResult};

/// Smallest pooled capacity, bytes.
const MIN_CLASS_BYTES: usize = 4096;
/// Largest pooled capacity, bytes.
const MAX_CLASS_BYTES: usize = 1 << 20;
const CLASSES: usize = (MAX_CLASS_BYTES / MIN_CLASS_BYTES).ilog2() as usize + 1;
/// Free memory that a core's pool keeps, bytes.
const POOL_LIMIT_BYTES: usize = 32 << 20;

struct Pool {
    free: RefCell<[Vec<Rc<DmaBuffer>>; CLASSES]>,
    free_bytes: Cell<usize>,
}

thread_local! {
    static POOL: Pool = Pool { free: RefCell::default(), free_bytes: Cell::new(0) };
}

enum Memory {
    /// Owned alone: `Rc` because a write in flight shares it with the kernel.
    Owned(Rc<DmaBuffer>),
    Read(ReadResult),
    Gone,
}

/// A buffer aligned to 4096 bytes, with a length up to its capacity. Stays on its core.
pub struct Buf {
    memory: Memory,
    len: usize,
}

fn class_of(capacity: usize) -> Option<usize> {
    (capacity.is_power_of_two() && (MIN_CLASS_BYTES..=MAX_CLASS_BYTES).contains(&capacity))
        .then(|| (capacity / MIN_CLASS_BYTES).ilog2() as usize)
}

impl Buf {
    /// An empty buffer for `capacity` bytes at least; its bytes are arbitrary until written.
    pub fn with_capacity(capacity: usize) -> Buf {
        let capacity = capacity.max(MIN_CLASS_BYTES);
        let rounded = if capacity <= MAX_CLASS_BYTES {
            capacity.next_power_of_two()
        } else {
            capacity.next_multiple_of(MIN_CLASS_BYTES)
        };
        let pooled = class_of(rounded).and_then(|class| {
            POOL.with(|pool| {
                let buffer = pool.free.borrow_mut()[class].pop()?;
                pool.free_bytes.set(pool.free_bytes.get() - rounded);
                Some(buffer)
            })
        });
        let buffer = pooled.unwrap_or_else(|| {
            let mut fresh = glommio::allocate_dma_buffer_global(rounded);
            fresh.as_bytes_mut().fill(0);
            Rc::new(fresh)
        });
        Buf { memory: Memory::Owned(buffer), len: 0 }
    }

    pub(crate) fn from_read(result: ReadResult) -> Buf {
        let len = result.len();
        Buf { memory: Memory::Read(result), len }
    }

    /// Bytes that fit.
    pub fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Owned(buffer) => buffer.len(),
            Memory::Read(result) => result.len(),
            Memory::Gone => 0,
        }
    }

    /// Sets the length; what lies between the old and the new one is whatever the memory held.
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
    /// If they do not fit.
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

    /// Gives the memory to a write: trimmed to the length where that is shorter than the capacity.
    pub(crate) fn into_shared(mut self) -> Rc<DmaBuffer> {
        match std::mem::replace(&mut self.memory, Memory::Gone) {
            Memory::Owned(mut buffer) => {
                if self.len < buffer.len() {
                    let owned = Rc::get_mut(&mut buffer).unwrap_or_else(|| unreachable!("owned alone"));
                    owned.trim_to_size(self.len);
                }
                buffer
            }
            Memory::Read(result) => {
                let mut copy = glommio::allocate_dma_buffer_global(self.len);
                copy.as_bytes_mut().copy_from_slice(&result[..self.len]);
                Rc::new(copy)
            }
            Memory::Gone => unreachable!("a buffer is given away once"),
        }
    }
}

/// Returns memory to this core's pool after a write, if it has a pooled size and nobody else holds it.
pub(crate) fn recycle(mut buffer: Rc<DmaBuffer>) {
    let capacity = buffer.len();
    let Some(class) = class_of(capacity) else { return };
    // A buffer trimmed to a power of two is smaller than its allocation, which does no harm.
    if Rc::get_mut(&mut buffer).is_none() {
        return;
    }
    // The thread may be ending: then the memory is simply freed.
    let _ = POOL.try_with(|pool| {
        if pool.free_bytes.get() + capacity <= POOL_LIMIT_BYTES {
            pool.free_bytes.set(pool.free_bytes.get() + capacity);
            pool.free.borrow_mut()[class].push(buffer);
        }
    });
}

/// Free bytes that this core's pool keeps.
pub fn pooled_bytes() -> usize {
    POOL.with(|pool| pool.free_bytes.get())
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Memory::Owned(buffer) = std::mem::replace(&mut self.memory, Memory::Gone) {
            recycle(buffer);
        }
    }
}

impl Deref for Buf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Owned(buffer) => &buffer.as_bytes()[..self.len],
            Memory::Read(result) => &result[..self.len],
            Memory::Gone => &[],
        }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        if let Memory::Read(result) = &self.memory {
            let mut copy = glommio::allocate_dma_buffer_global(len.max(1));
            copy.as_bytes_mut()[..len].copy_from_slice(&result[..len]);
            self.memory = Memory::Owned(Rc::new(copy));
        }
        match &mut self.memory {
            Memory::Owned(buffer) => {
                let owned = Rc::get_mut(buffer).unwrap_or_else(|| unreachable!("owned alone"));
                &mut owned.as_bytes_mut()[..len]
            }
            _ => &mut [],
        }
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buf({} of {} bytes)", self.len, self.capacity())
    }
}
