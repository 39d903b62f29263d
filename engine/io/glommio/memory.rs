//! Memory that the kernel reads and writes directly.

use std::rc::Rc;

use glommio::io::{DmaBuffer, ReadResult};

/// Aligned memory of a fixed length. It may be shared with a write in flight.
pub struct Memory(Rc<DmaBuffer>);

impl Memory {
    /// Zeroed memory of `length` bytes, not 0.
    pub fn zeroed(length: usize) -> Memory {
        let mut fresh = glommio::allocate_dma_buffer_global(length);
        fresh.as_bytes_mut().fill(0);
        Memory(Rc::new(fresh))
    }

    /// Bytes.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The bytes, to be changed; none while a write shares them.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Rc::get_mut(&mut self.0).map(DmaBuffer::as_bytes_mut)
    }

    pub(super) fn share(&self) -> Rc<DmaBuffer> {
        self.0.clone()
    }
}

/// Memory that a read has filled. It can't be changed.
pub struct Filled(pub(super) ReadResult);

impl Filled {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
