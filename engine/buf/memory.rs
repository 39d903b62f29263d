//! Memory that the kernel reads and writes directly.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::PAGE_BYTES;

/// Page-aligned memory of a fixed length with one owner.
pub struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    /// Zeroed memory of `length` bytes, which must not be 0.
    pub fn zeroed(length: usize) -> Memory {
        assert!(length > 0, "the length must not be 0");
        let layout = Layout::from_size_align(length, PAGE_BYTES)
            .unwrap_or_else(|_| panic!("memory of {length} bytes"));
        // SAFETY: the layout's size is not 0.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Memory { start, layout }
    }

    /// Length, bytes.
    pub fn length(&self) -> usize {
        self.layout.size()
    }

    /// A pointer to the first byte.
    #[cfg(not(any(sim, feature = "glommio")))]
    pub fn pointer(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes are allocated at `start`, initialised, and borrowed as `self` is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length()) }
    }

    /// The bytes, mutable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `start` was allocated with this layout and is freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
