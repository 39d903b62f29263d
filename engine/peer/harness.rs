//! For tests: the byte operations of one core on its own folder.

use std::path::Path;
use std::rc::Rc;

use super::{BlobRef, ByteStore, Home, Request, Result, seeds};
use crate::buf::Buf;
use crate::hash::{Digests, Plan};
use crate::ids::DataId;
use crate::io;
use crate::peer::mesh::MeshSeed;
use crate::placement::{Partition, Profile};
use crate::segment::{Config, Files, Store};
use crate::write::{BlobWriter, Finished};

pub(crate) const PROFILE: Profile = Profile { k: 1, m: 0 };

pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory")
}

/// Bytes that differ from block to block.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[1]).collect()
}

pub(crate) async fn start(
    core: usize,
    directory: &Path,
    seed: MeshSeed<Request, Result<super::Reply>>,
) -> ByteStore {
    let config = Config {
        log_segment_bytes: 16 << 20,
        reserve_bytes: 1 << 20,
        background: false,
        ..Config::new(&io::DiskSpace::new(directory), core)
    };
    let store = Store::open(config).await.expect("store");
    ByteStore::start(seed, Home::new(core, store), Rc::new(Files::new(directory)))
}

/// Runs a test on one core.
pub(crate) fn on_one_core<T, F: Future<Output = T>>(test: impl FnOnce(ByteStore) -> F) -> T {
    let directory = directory();
    io::block_on(async {
        let seed = seeds(1).pop().expect("one");
        let bytes = start(0, directory.path(), seed).await;
        let result = test(bytes.clone()).await;
        bytes.home().segments().shutdown().await;
        result
    })
    .expect("executor")
}

/// Writes a payload in steps of `step` bytes.
pub(crate) async fn fill(writer: &mut BlobWriter, payload: &[u8], step: usize) -> Result<()> {
    let mut rest = payload;
    while !rest.is_empty() {
        let space = writer.space().await?;
        let count = rest.len().min(step).min(space.len());
        assert!(count > 0, "there is space while bytes are left");
        space[..count].copy_from_slice(&rest[..count]);
        writer.advance(count).await?;
        rest = &rest[count..];
    }
    Ok(())
}

pub(crate) async fn write(
    bytes: &ByteStore,
    partition: Partition,
    id: u8,
    payload: &[u8],
    known: bool,
) -> (Finished, Digests) {
    let size = known.then_some(payload.len() as u64);
    let plan = Plan { md5: true, ..Plan::default() };
    let mut writer =
        BlobWriter::new(bytes, &bytes.budget().holder(), partition, DataId([id; 16]), PROFILE, size, plan)
            .expect("writer");
    fill(&mut writer, payload, 50_000).await.expect("written");
    writer.finish().await.expect("finished")
}

/// Stores a finished blob for good.
pub(crate) async fn keep(bytes: &ByteStore, finished: Finished) -> BlobRef {
    let blob = finished.blob_ref();
    match finished {
        Finished::Small(small, _held) => drop(bytes.store(small).await.expect("stored")),
        Finished::Stored(stored) => drop(stored.keep()),
    }
    blob
}

/// Changes one byte of a file at an offset.
pub(crate) async fn flip(bytes: &ByteStore, core: usize, at: &crate::segment::Location, offset: u64) {
    let file = bytes.files().get(core, at.class, at.segment).await.expect("open");
    let position = at.offset + offset;
    let page = file.read_at(io::align_down(position), io::ALIGNMENT).await.expect("read");
    let mut changed = Buf::with_capacity(io::ALIGNMENT);
    changed.extend_from_slice(&page);
    changed[(position - io::align_down(position)) as usize] ^= 1;
    file.write_at(changed, io::align_down(position)).await.expect("write");
}
