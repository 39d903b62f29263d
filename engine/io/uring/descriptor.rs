//! A file's descriptor, held by its handles and by the operations on it.

use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types;

use crate::io::host::drop_elsewhere;

/// An open file's descriptor. Closing the last descriptor of a removed file frees its space, which takes time, so it
/// happens on another thread.
pub struct Descriptor(Option<OwnedFd>);

impl Descriptor {
    /// Takes ownership of a descriptor.
    pub fn of(fd: OwnedFd) -> Descriptor {
        Descriptor(Some(fd))
    }

    /// The descriptor itself.
    pub fn get(&self) -> &OwnedFd {
        self.0.as_ref().unwrap_or_else(|| unreachable!("only drop takes it"))
    }

    /// The descriptor in the form that submissions take.
    pub fn raw(&self) -> types::Fd {
        types::Fd(self.get().as_raw_fd())
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        drop_elsewhere(self.0.take());
    }
}
