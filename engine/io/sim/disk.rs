//! A disk with a file system that loses everything that a real one may lose.
//!
//! Readers see a write at once, but it is durable only after a data sync that began later. When the power fails, each
//! page that was not synced becomes any of the versions written since the last sync, or a mixture of their sectors; a
//! directory holds what it held at its last sync plus the first few changes after it; a length is any of those since
//! the last sync. Space is counted: reserving and writing take space, and punching holes returns it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::random::Random;

/// The unit of reading, writing and reserving.
pub const PAGE: u64 = 4096;
const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];
/// What a disk writes atomically.
const SECTOR: usize = 512;
/// Versions of a page that are remembered between syncs. Beyond that, one in the middle is forgotten.
const VERSIONS: usize = 4;

pub type FileId = u64;
type Bytes = Option<Rc<[u8]>>;

/// A page: the durable version first, then the unsynced ones, each with the number of its write.
struct Page(Vec<(u64, Bytes)>);

#[derive(Default)]
struct Inode {
    pages: BTreeMap<u64, Page>,
    /// Pages with unsynced versions.
    dirty: BTreeSet<u64>,
    /// Lengths: the durable one first, then the unsynced ones.
    lengths: Vec<(u64, u64)>,
    /// Space is reserved for all pages below this one, except for `holes`.
    reserved: u64,
    /// Pages below `reserved` without space.
    holes: BTreeSet<u64>,
    handles: usize,
    /// Pages that can't be read until they are rewritten.
    bad_pages: BTreeSet<u64>,
}

#[derive(Default)]
struct Directory {
    now: BTreeMap<OsString, FileId>,
    durable: BTreeMap<OsString, FileId>,
    /// Unsynced changes, in order.
    pending: Vec<Change>,
}

enum Change {
    Add(OsString, FileId),
    Remove(OsString),
}

/// A disk with its file system.
pub struct Disk {
    inodes: BTreeMap<FileId, Inode>,
    directories: BTreeMap<PathBuf, Directory>,
    made: u64,
    writes: u64,
    pages_used: u64,
    pages_total: u64,
    /// Pages taken by other programs.
    pub pages_taken: u64,
    /// Writes in flight at the device, so that a killed process's writes can still take effect.
    in_flight: BTreeMap<u64, Write>,
}

struct Write {
    file: FileId,
    at: u64,
    bytes: Rc<[u8]>,
}

/// The effects of a power failure.
#[derive(Default)]
pub struct Losses {
    pub torn: u64,
    pub lost: u64,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

/// The error of a full file system.
pub fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn split(path: &Path) -> (PathBuf, OsString) {
    let parent = path.parent().map(Path::to_owned).unwrap_or_default();
    (parent, path.file_name().map(OsString::from).unwrap_or_default())
}

fn page_bytes(bytes: &[u8]) -> Bytes {
    // Pages of zeros take no memory: logs are zeroed ahead of use.
    bytes.iter().any(|byte| *byte != 0).then(|| Rc::from(bytes))
}

impl Page {
    fn current(&self) -> &Bytes {
        self.0.last().map_or(&None, |(_, bytes)| bytes)
    }

    fn write(&mut self, number: u64, bytes: Bytes, random: &mut Random) {
        if self.0.len() > VERSIONS {
            let gone = 1 + random.index(self.0.len() - 1);
            self.0.remove(gone);
        }
        self.0.push((number, bytes));
    }
}

impl Inode {
    fn length(&self) -> u64 {
        self.lengths.last().map_or(0, |(_, length)| *length)
    }

    fn space(&self) -> u64 {
        self.reserved - self.holes.len() as u64
    }

    fn write_page(&mut self, page: u64, number: u64, bytes: Bytes, random: &mut Random) {
        let versions = self.pages.entry(page).or_insert_with(|| Page(vec![(0, None)]));
        versions.write(number, bytes, random);
        self.dirty.insert(page);
    }

    /// Makes durable everything written up to the write with number `upto`.
    fn sync(&mut self, upto: u64) {
        let pages = &mut self.pages;
        self.dirty.retain(|page| {
            let Some(Page(versions)) = pages.get_mut(page) else { return false };
            let last = versions.iter().rposition(|(number, _)| *number <= upto).unwrap_or(0);
            versions.drain(..last);
            versions.len() > 1
        });
        let last = self.lengths.iter().rposition(|(number, _)| *number <= upto).unwrap_or(0);
        self.lengths.drain(..last);
    }

    /// Reduces every page and the length to one of their versions. `choose` picks an index among a number of versions.
    fn settle(
        &mut self,
        torn: bool,
        losses: &mut Losses,
        random: &mut Random,
        mut choose: impl FnMut(&mut Random, usize) -> usize,
    ) {
        for page in std::mem::take(&mut self.dirty) {
            let Some(Page(versions)) = self.pages.get_mut(&page) else { continue };
            let chosen = choose(random, versions.len());
            losses.lost += u64::from(chosen + 1 < versions.len());
            let mut bytes = versions[chosen].1.clone();
            if torn && random.one_in(3) {
                let other = versions[random.index(versions.len())].1.clone();
                if other != bytes {
                    losses.torn += 1;
                    bytes = mixture(&bytes, &other, random);
                }
            }
            *versions = vec![(0, bytes)];
        }
        if self.lengths.len() > 1 {
            let chosen = choose(random, self.lengths.len());
            self.lengths = vec![(0, self.lengths[chosen].1)];
        }
        let length = self.length();
        self.pages.retain(|page, _| page * PAGE < length);
    }
}

/// A page with each sector taken from one page or the other.
fn mixture(a: &Bytes, b: &Bytes, random: &mut Random) -> Bytes {
    let (a, b) = (a.as_deref().unwrap_or(&ZEROS), b.as_deref().unwrap_or(&ZEROS));
    let mut mixed = a.to_vec();
    for (to, from) in mixed.chunks_mut(SECTOR).zip(b.chunks(SECTOR)) {
        if random.one_in(2) {
            to.copy_from_slice(from);
        }
    }
    page_bytes(&mixed)
}

impl Disk {
    /// An empty disk of `bytes` bytes.
    pub fn new(bytes: u64) -> Disk {
        Disk {
            inodes: BTreeMap::new(),
            directories: BTreeMap::new(),
            made: 0,
            writes: 0,
            pages_used: 0,
            pages_total: bytes / PAGE,
            pages_taken: 0,
            in_flight: BTreeMap::new(),
        }
    }

    /// Bytes that nobody uses.
    pub fn free_bytes(&self) -> u64 {
        self.pages_free() * PAGE
    }

    fn pages_free(&self) -> u64 {
        self.pages_total.saturating_sub(self.pages_used + self.pages_taken)
    }

    /// The number of the last write.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    fn next_write(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    fn inode(&mut self, file: FileId) -> &mut Inode {
        self.inodes.entry(file).or_default()
    }

    /// Makes a directory and its parents.
    pub fn make_directory(&mut self, path: &Path) {
        for ancestor in path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            self.directories.entry(ancestor.to_owned()).or_default();
        }
    }

    /// The entries of a directory (files and directories), sorted.
    pub fn entries(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let directory = self.directories.get(path).ok_or_else(|| not_found(path))?;
        let files = directory.now.keys().map(|name| path.join(name));
        let below = self.directories.keys().filter(|other| other.parent() == Some(path)).cloned();
        let mut all: Vec<PathBuf> = files.chain(below).collect();
        all.sort();
        Ok(all)
    }

    /// The file with this path.
    pub fn find(&self, path: &Path) -> Option<FileId> {
        let (parent, name) = split(path);
        self.directories.get(&parent)?.now.get(&name).copied()
    }

    /// Opens a file. With `create`, the file is created if it does not exist and truncated if it does.
    pub fn open(&mut self, path: &Path, create: bool) -> io::Result<FileId> {
        let file = match self.find(path) {
            Some(file) => file,
            None if create => self.create(path)?,
            None => return Err(not_found(path)),
        };
        if create {
            self.truncate(file, 0);
        }
        self.inode(file).handles += 1;
        Ok(file)
    }

    fn create(&mut self, path: &Path) -> io::Result<FileId> {
        let (parent, name) = split(path);
        let directory = self.directories.get_mut(&parent).ok_or_else(|| not_found(&parent))?;
        self.made += 1;
        let file = self.made;
        directory.now.insert(name.clone(), file);
        directory.pending.push(Change::Add(name, file));
        self.inodes.insert(file, Inode { lengths: vec![(0, 0)], ..Inode::default() });
        Ok(file)
    }

    /// Closes a handle. A file without names and handles is deleted.
    pub fn close(&mut self, file: FileId) {
        if let Some(inode) = self.inodes.get_mut(&file) {
            inode.handles = inode.handles.saturating_sub(1);
        }
        self.delete_unreferenced(&[file]);
    }

    fn delete_unreferenced(&mut self, files: &[FileId]) {
        for file in files {
            let held = |directory: &Directory| {
                let adds = |change: &Change| matches!(change, Change::Add(_, added) if added == file);
                directory.now.values().chain(directory.durable.values()).any(|named| named == file)
                    || directory.pending.iter().any(adds)
            };
            let open = self.inodes.get(file).is_some_and(|inode| inode.handles > 0);
            if !open && !self.directories.values().any(held) {
                let space = self.inodes.remove(file).map_or(0, |inode| inode.space());
                self.pages_used -= space;
            }
        }
    }

    /// Renames a file within a directory.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.find(from).ok_or_else(|| not_found(from))?;
        let replaced = self.find(to);
        self.unlink(from);
        self.link(to, file)?;
        self.delete_unreferenced(&replaced.into_iter().collect::<Vec<_>>());
        Ok(())
    }

    /// Removes a file's name.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let file = self.find(path).ok_or_else(|| not_found(path))?;
        self.unlink(path);
        self.delete_unreferenced(&[file]);
        Ok(())
    }

    fn unlink(&mut self, path: &Path) {
        let (parent, name) = split(path);
        if let Some(directory) = self.directories.get_mut(&parent) {
            directory.now.remove(&name);
            directory.pending.push(Change::Remove(name));
        }
    }

    fn link(&mut self, path: &Path, file: FileId) -> io::Result<()> {
        let (parent, name) = split(path);
        let directory = self.directories.get_mut(&parent).ok_or_else(|| not_found(&parent))?;
        directory.now.insert(name.clone(), file);
        directory.pending.push(Change::Add(name, file));
        Ok(())
    }

    /// Number of unsynced changes of a directory.
    pub fn pending_changes(&self, path: &Path) -> usize {
        self.directories.get(path).map_or(0, |directory| directory.pending.len())
    }

    /// Makes the first `changes` changes of a directory durable.
    pub fn sync_directory(&mut self, path: &Path, changes: usize) -> io::Result<()> {
        let directory = self.directories.get_mut(path).ok_or_else(|| not_found(path))?;
        let mut files: Vec<FileId> = directory.durable.values().copied().collect();
        let changes = changes.min(directory.pending.len());
        for change in directory.pending.drain(..changes) {
            match change {
                Change::Add(name, file) => drop(directory.durable.insert(name, file)),
                Change::Remove(name) => drop(directory.durable.remove(&name)),
            }
        }
        files.retain(|file| !directory.durable.values().any(|kept| kept == file));
        self.delete_unreferenced(&files);
        Ok(())
    }

    /// A file's length, bytes.
    pub fn length(&self, file: FileId) -> u64 {
        self.inodes.get(&file).map_or(0, Inode::length)
    }

    /// Calls `visit` with the bytes of a file from `at` on, at most `length`, page by page.
    pub fn read(&self, file: FileId, at: u64, length: usize, mut visit: impl FnMut(&[u8])) {
        let Some(inode) = self.inodes.get(&file) else { return };
        let end = inode.length().min(at.saturating_add(length as u64));
        for place in (at..end).step_by(PAGE as usize) {
            let page = inode.pages.get(&(place / PAGE)).and_then(|page| page.current().as_deref());
            visit(&page.unwrap_or(&ZEROS)[..PAGE.min(end - place) as usize]);
        }
    }

    /// Whether a range has a page that can't be read.
    pub fn is_bad(&self, file: FileId, at: u64, length: usize) -> bool {
        let pages = at / PAGE..(at + length as u64).div_ceil(PAGE);
        self.inodes.get(&file).is_some_and(|inode| inode.bad_pages.range(pages).next().is_some())
    }

    /// Takes space for a range that is written or reserved.
    fn take_space(&mut self, file: FileId, from: u64, to: u64) -> io::Result<()> {
        let free = self.pages_free();
        let inode = self.inode(file);
        let holes = inode.holes.range(from..to).count() as u64;
        // The gap between the old end and the range stays a hole.
        let fresh = to.saturating_sub(inode.reserved.max(from));
        let wanted = fresh + holes;
        if wanted > free {
            return Err(no_space());
        }
        inode.holes.retain(|hole| !(from..to).contains(hole));
        inode.holes.extend(inode.reserved..from.max(inode.reserved));
        inode.reserved = inode.reserved.max(to);
        self.pages_used += wanted;
        Ok(())
    }

    fn grow(&mut self, file: FileId, length: u64) {
        let number = self.next_write();
        let inode = self.inode(file);
        if inode.length() < length {
            inode.lengths.push((number, length));
        }
    }

    /// Begins a write and returns its number.
    pub fn begin_write(&mut self, file: FileId, at: u64, bytes: Rc<[u8]>) -> io::Result<u64> {
        self.take_space(file, at / PAGE, (at + bytes.len() as u64).div_ceil(PAGE))?;
        let number = self.next_write();
        self.in_flight.insert(number, Write { file, at, bytes });
        Ok(number)
    }

    /// Ends a write: readers see it. With `part`, only some of its pages are written.
    pub fn end_write(&mut self, number: u64, part: bool, random: &mut Random) {
        let Some(Write { file, at, bytes }) = self.in_flight.remove(&number) else { return };
        let mut length = 0;
        let number = self.next_write();
        for (page, chunk) in bytes.chunks(PAGE as usize).enumerate() {
            if part && random.one_in(2) {
                continue;
            }
            let place = at / PAGE + page as u64;
            let inode = self.inode(file);
            inode.bad_pages.remove(&place);
            inode.write_page(place, number, page_bytes(chunk), random);
            length = (place + 1) * PAGE;
        }
        self.grow(file, length);
    }

    /// Ends a write at a wrong place in its file. Returns the place.
    pub fn misdirect_write(&mut self, number: u64, random: &mut Random) -> u64 {
        let Some(write) = self.in_flight.get_mut(&number) else { return 0 };
        let (file, length) = (write.file, write.bytes.len() as u64);
        let pages = self.inodes.get(&file).map_or(0, Inode::length).saturating_sub(length) / PAGE;
        let at = random.below(pages + 1) * PAGE;
        if let Some(write) = self.in_flight.get_mut(&number) {
            write.at = at;
        }
        self.end_write(number, false, random);
        at
    }

    /// Makes durable everything written to a file up to the write with number `upto`.
    pub fn sync(&mut self, file: FileId, upto: u64) {
        self.inode(file).sync(upto);
    }

    /// Fails a sync: from now on each page is any of its versions, for readers too.
    pub fn fail_sync(&mut self, file: FileId, random: &mut Random) {
        let mut losses = Losses::default();
        self.inode(file).settle(false, &mut losses, random, |random, versions| random.index(versions));
    }

    /// Reserves space for `length` bytes from `at` on, and extends the file if necessary.
    pub fn allocate(&mut self, file: FileId, at: u64, length: u64) -> io::Result<()> {
        let end = at + length;
        self.take_space(file, at / PAGE, end.div_ceil(PAGE))?;
        self.grow(file, end);
        Ok(())
    }

    /// Frees the space of a range, which reads as zeros afterwards.
    pub fn punch_hole(&mut self, file: FileId, at: u64, length: u64, random: &mut Random) {
        let number = self.next_write();
        let inode = self.inode(file);
        let end = ((at + length) / PAGE).min(inode.reserved);
        let mut freed = 0;
        for page in at.div_ceil(PAGE)..end {
            freed += u64::from(inode.holes.insert(page));
            if inode.pages.contains_key(&page) {
                inode.write_page(page, number, None, random);
            }
        }
        self.pages_used -= freed;
    }

    /// Truncates or extends a file.
    pub fn truncate(&mut self, file: FileId, length: u64) {
        let number = self.next_write();
        let inode = self.inode(file);
        if inode.length() == length {
            return;
        }
        inode.lengths.push((number, length));
        let pages = length.div_ceil(PAGE);
        let before = inode.space();
        // Bytes that a later, greater length brings back are zeros. A power failure may bring the old length back with
        // zeros in place of what was cut.
        inode.pages.split_off(&pages);
        inode.dirty.split_off(&pages);
        inode.holes.split_off(&pages);
        inode.reserved = inode.reserved.min(pages);
        let after = inode.space();
        self.pages_used -= before - after;
    }

    /// Kills the process: each of its writes in flight takes effect fully, in part or not at all. Everything else stays
    /// as it was seen.
    pub fn kill(&mut self, random: &mut Random) {
        let in_flight: Vec<u64> = self.in_flight.keys().copied().collect();
        for number in in_flight {
            match random.below(3) {
                0 => drop(self.in_flight.remove(&number)),
                1 => self.end_write(number, true, random),
                _ => self.end_write(number, false, random),
            }
        }
        self.inodes.values_mut().for_each(|inode| inode.handles = 0);
        let files: Vec<FileId> = self.inodes.keys().copied().collect();
        self.delete_unreferenced(&files);
    }

    /// Cuts the power: what was not synced may be in any state. `lost` and `torn` allow losing writes and tearing
    /// pages.
    pub fn power_off(&mut self, lost: bool, torn: bool, random: &mut Random) -> Losses {
        self.kill(random);
        let mut losses = Losses::default();
        for directory in self.directories.values_mut() {
            let kept = if lost { random.index(directory.pending.len() + 1) } else { directory.pending.len() };
            losses.lost += (directory.pending.len() - kept) as u64;
            for change in directory.pending.drain(..).take(kept) {
                match change {
                    Change::Add(name, file) => drop(directory.durable.insert(name, file)),
                    Change::Remove(name) => drop(directory.durable.remove(&name)),
                }
            }
            directory.now = directory.durable.clone();
        }
        for inode in self.inodes.values_mut() {
            inode.settle(
                torn,
                &mut losses,
                random,
                |random, versions| {
                    if lost { random.index(versions) } else { versions - 1 }
                },
            );
        }
        let files: Vec<FileId> = self.inodes.keys().copied().collect();
        self.delete_unreferenced(&files);
        losses
    }

    /// Flips one bit in a non-zero page of a file within a range of bytes, and returns its place; `None` if there is no
    /// such page.
    pub fn flip_bit(&mut self, file: FileId, at: u64, length: u64, random: &mut Random) -> Option<u64> {
        let inode = self.inodes.get_mut(&file)?;
        let pages = at / PAGE..(at + length).div_ceil(PAGE);
        let full: Vec<u64> = inode
            .pages
            .range(pages)
            .filter(|(_, page)| page.current().is_some())
            .map(|(number, _)| *number)
            .collect();
        let number = *full.get(random.index(full.len()))?;
        let bit = random.index(PAGE as usize * 8);
        let versions = &mut inode.pages.get_mut(&number)?.0;
        let (_, current) = versions.last_mut()?;
        let mut bytes = current.as_ref()?.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        *current = page_bytes(&bytes);
        Some(number * PAGE + bit as u64 / 8)
    }

    /// Makes a page unreadable until it is rewritten.
    pub fn spoil(&mut self, file: FileId, at: u64) {
        self.inode(file).bad_pages.insert(at / PAGE);
    }

    /// Whether there are pages that can't be read.
    pub fn has_bad_pages(&self) -> bool {
        self.inodes.values().any(|inode| !inode.bad_pages.is_empty())
    }

    /// The paths of all files.
    pub fn files(&self) -> Vec<(PathBuf, FileId)> {
        let named = |(path, directory): (&PathBuf, &Directory)| {
            directory.now.iter().map(|(name, file)| (path.join(name), *file)).collect::<Vec<_>>()
        };
        self.directories.iter().flat_map(named).collect()
    }
}
