//! A page of 1,000 entries of ListObjectsV2: read from rows in memory, and written as XML.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use raft::key::Name;
use raft::kv::{Batch, Kv, MemoryKv};
use raft::list::{self, ListedObject};
use raft::record::{BlobRef, Bytes16, CurrentRecord, Record};
use s3::xml::list as xml;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BUCKET: &str = "photos";
const FOLDERS: u32 = 1100;
const KEYS_PER_FOLDER: u32 = 100;
const PAGE_KEYS: usize = 1000;
/// A key in the middle of the bucket, where a listing continues.
const MARKER: &str = "0500/00000050.jpg";

fn rows() -> MemoryKv {
    let mut batch = Batch::default();
    for number in 0..FOLDERS * KEYS_PER_FOLDER {
        let key = format!("{:04}/{:08}.jpg", number / KEYS_PER_FOLDER, number % KEYS_PER_FOLDER);
        let id = Bytes16::from(u128::from(number).to_be_bytes());
        let current = CurrentRecord {
            version_id: id,
            modified_ms: 1_750_000_000_000 + u64::from(number),
            size: 4096,
            md5: id,
            blob: Some(BlobRef { data_id: id, size: 4096, k: 1, ..BlobRef::default() }),
            ..CurrentRecord::default()
        };
        batch.put(Name::new(BUCKET, &key).expect("a good name").current(), current.to_row());
    }
    let kv = MemoryKv::new();
    kv.write(batch).expect("rows in memory");
    kv
}

type Page = list::Page<ListedObject, String>;

fn write(page: &Page, out: &mut Vec<u8>) {
    let echo = xml::ListEcho { bucket: BUCKET, max: 1000, url: true, ..xml::ListEcho::default() };
    let continuation = xml::Continuation { next_token: page.next.as_deref(), ..xml::Continuation::default() };
    xml::objects_v2(echo, continuation, &page.entries, None, out);
}

fn pages(c: &mut Criterion) {
    let kv = rows();
    let snapshot = kv.snapshot();
    let plain = list::Query { marker: MARKER, max: PAGE_KEYS, ..list::Query::default() };
    let grouped = list::Query { delimiter: Some("/"), max: PAGE_KEYS, ..list::Query::default() };
    let read = |query| list::objects(&snapshot, BUCKET, black_box(query)).expect("a page");
    let mut group = c.benchmark_group("list");
    group.throughput(Throughput::Elements(PAGE_KEYS as u64));
    for (name, query) in [("keys", plain), ("common prefixes", grouped)] {
        let page = read(query);
        assert!(page.entries.len() == PAGE_KEYS && page.next.is_some(), "a full page");
        group.bench_function(format!("{name}/read"), |b| b.iter(|| read(query)));
        group.bench_function(format!("{name}/xml"), |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                write(black_box(&page), &mut out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, pages);
criterion_main!(benches);
