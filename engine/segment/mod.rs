//! One core's share of the disk: log segments, extent segments, and the index of what lies in them.
//!
//! Promises: once [`Store::append_blob`], [`Store::publish`] or [`Store::delete`] has succeeded, its effect is durable.
//! After a crash the index holds everything that was acknowledged, and each other record wholly or not at all. Damage
//! is reported and left for repair, never silently dropped. A full disk refuses new data but still accepts deletes.
//!
//! A core's folder holds these files, each named by a segment id that this core never reuses: `log-ID.seg` (a log
//! segment; ids give their order), `extent-ID.seg`, `free-ID.seg` (an emptied log segment, kept for reuse) and
//! `new-ID.seg` (being zero-filled; removed at start).
//!
//! Left to others: what the bytes mean ([`crate::frame`]), which core owns a key ([`crate::placement`]), and which
//! blobs are still wanted (the metadata decides, through [`Store::delete`] and the sweep).

mod batch;
mod compact;
mod extent;
mod files;
mod index;
mod log;
mod logs;
mod names;
mod open;
mod prepare;
mod recovery;
mod state;
mod stats;
mod store;
mod syncs;

use std::path::PathBuf;
use std::sync::Arc;

pub use extent::Reservation;
pub use files::Files;
pub use index::{Index, Key, Slot};
pub use names::{core_dir, segment_path};
pub use recovery::{Damage, Report};
pub use stats::Stats;
pub use store::{PublishItem, Store};

#[cfg(fuzzing)]
pub use recovery::{BatchAt, Verdict, judge, later_batch, read_batch};

use crate::io::DiskSpace;
use crate::limits;

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Records of small blobs, deletes and publishes.
    Log,
    /// Extents of large blobs.
    Extent,
}

/// Where one extent of a shard lies (a small blob has one). Any core of the node may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Class of the segment.
    pub class: Class,
    /// Id of the segment. Ids are never reused, so a file handle cached under one stays valid.
    pub segment: u32,
    /// Offset of the first block, bytes: a multiple of 4096 in an extent, of 8 in a log.
    pub offset: u64,
    /// Framed length, bytes.
    pub length: u32,
    /// Index of the extent in the shard, from 0.
    pub extent: u16,
}

/// The configuration of a [`Store`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's `data` folder. The core's own folder is below it.
    pub data_dir: PathBuf,
    /// The space ledger of the folder's file system, shared by all cores.
    pub disk: Arc<DiskSpace>,
    /// The core's number.
    pub core: usize,
    /// Length of a new log segment, bytes.
    pub log_segment_bytes: u64,
    /// Length at which an extent segment is full, bytes.
    pub extent_segment_bytes: u64,
    /// Step in which an extent segment grows, bytes.
    pub extent_growth_bytes: u64,
    /// Freed log segments to keep.
    pub free_log_segments: usize,
    /// Freed extent space that stays allocated on disk, bytes.
    pub kept_free_extent_bytes: u64,
    /// Free space of the file system that new data leaves, bytes. New log segments leave half of it.
    pub reserve_bytes: u64,
    /// Whether freed space is reclaimed in the background (tests reclaim explicitly).
    pub background: bool,
}

impl Config {
    /// The configuration with the sizes of [`crate::limits`], in the `data` folder whose space `disk` accounts for.
    pub fn new(disk: &Arc<DiskSpace>, core: usize) -> Config {
        Config {
            data_dir: disk.path().to_owned(),
            disk: disk.clone(),
            core,
            log_segment_bytes: limits::LOG_SEGMENT_BYTES,
            extent_segment_bytes: limits::EXTENT_SEGMENT_BYTES,
            extent_growth_bytes: limits::EXTENT_GROWTH_BYTES,
            free_log_segments: limits::FREE_LOG_SEGMENTS,
            kept_free_extent_bytes: limits::KEPT_FREE_EXTENT_BYTES,
            reserve_bytes: limits::RESERVE_BYTES,
            background: true,
        }
    }
}

#[cfg(test)]
mod tests;
