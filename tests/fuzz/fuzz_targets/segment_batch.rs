//! Recovery of a log segment: a plan says which batches are written and how they are damaged. Only what was written
//! comes back, and nothing of an untouched batch is lost.
#![no_main]

use engine::format::*;
use engine::ids::DataId;
use engine::limits::MAX_BATCH_BYTES;
use engine::segment::{BatchAt, Verdict, judge, later_batch, read_batch};
use hamster_fuzz::{Source, bounded};
use libfuzzer_sys::fuzz_target;

const SALT: Salt = Salt { segment: 9, generation: 4 };

/// One batch of the plan: where it lies, and what its replay returns.
struct Batch {
    start: usize,
    end: usize,
    entries: Vec<Entry>,
}

/// Writes one record; returns what its replay returns. Padding is left to the caller.
fn record(plan: &mut Source<'_>, number: u32, out: &mut Vec<u8>) -> Vec<Entry> {
    let at = out.len();
    let (kind, extent, last) = (plan.byte() % 3, u16::from(plan.byte()), plan.flag());
    let data_id = DataId(plan.array());
    let tombstones: Vec<Tombstone> = (0..plan.byte() % 4)
        .map(|more| Tombstone { data_id: DataId([more; 16]), oldest: plan.u32(), newest: plan.u32() })
        .collect();
    let place = Publish { segment: plan.u32(), offset: 4096 * u64::from(plan.u16()), length: plan.u32() };
    let (kind, body) = match kind {
        0 => {
            let length = usize::from(plan.u16() % 6000);
            (Kind::Blob, plan.take(length).to_vec())
        }
        1 => (Kind::Delete, encode_tombstones(&tombstones)),
        _ => (Kind::Publish, place.encode().to_vec()),
    };
    let header = Header {
        kind,
        blob: BlobHeader { data_id, extent, last, ..BlobHeader::default() },
        body_bytes: body.len() as u32,
        body_crc: crc32c(&body),
        batch: number,
        batch_bytes: 0,
    };
    out.resize(at + HEADER_BYTES, 0);
    header.encode(SALT, &mut out[at..]);
    out.extend_from_slice(&body);
    out.resize(out.len().next_multiple_of(8), 0);
    let record = at as u64;
    let entry = |kind| vec![Entry { data_id, shard: 0, extent, last, record, kind }];
    match kind {
        Kind::Blob => entry(EntryKind::Blob { length: body.len() as u32 }),
        Kind::Publish => entry(EntryKind::Publish(place)),
        Kind::Delete => tombstones.into_iter().map(|tombstone| Entry::tombstone(tombstone, record)).collect(),
    }
}

/// What a scan of the whole segment finds, as `engine/segment/open.rs` does it over a file.
fn scan(bytes: &[u8]) -> (Vec<Entry>, usize, bool) {
    let (mut entries, mut damaged, mut number) = (Vec::new(), 0, 0);
    let mut at = PAGE_BYTES;
    while at < bytes.len() {
        let window = &bytes[at..bytes.len().min(at + MAX_BATCH_BYTES)];
        let Ok(found) = read_batch(window, at as u64, SALT) else { return (entries, damaged, false) };
        let above = match &found {
            BatchAt::Partial { number: there, .. } => number.max(*there),
            _ => number,
        };
        let later = bytes.get(at + PAGE_BYTES..);
        let later = later.and_then(|rest| later_batch(rest, (at + PAGE_BYTES) as u64, SALT, above));
        match judge(found, at as u64, SALT.segment, number, later) {
            Verdict::Replay { number: there, entries: more, bad, next } => {
                assert!(next as usize > at, "recovery makes no progress");
                assert!(there >= number, "batches go back");
                (number, at) = (there, next as usize);
                damaged += bad.len();
                entries.extend(more);
            }
            Verdict::End { torn } => return (entries, damaged, torn),
        }
    }
    (entries, damaged, false)
}

fn run(plan: &mut Source<'_>) {
    let mut bytes = vec![0; PAGE_BYTES];
    let mut batches: Vec<Batch> = Vec::new();
    for number in 1..=1 + u32::from(plan.byte() % 4) {
        let start = bytes.len();
        let records = 1 + plan.byte() % 4;
        let entries = (0..records).flat_map(|_| record(plan, number, &mut bytes)).collect();
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        let length = (bytes.len() - start) as u32;
        Header::put_in_batch(&mut bytes[start..], SALT, number, length);
        batches.push(Batch { start, end: bytes.len(), entries });
    }
    bytes.resize(bytes.len() + PAGE_BYTES * usize::from(plan.byte() % 3), 0);

    let all: Vec<Entry> = batches.iter().flat_map(|batch| batch.entries.clone()).collect();
    assert_eq!(scan(&bytes), (all.clone(), 0, false), "an undamaged segment");

    let mut touched = Vec::new();
    for _ in 0..plan.byte() % 4 {
        let at = PAGE_BYTES + plan.u32() as usize % (bytes.len() - PAGE_BYTES);
        let mask = plan.byte();
        bytes[at] ^= mask;
        touched.extend((mask != 0).then_some(at));
    }
    let cut = if plan.flag() { plan.u32() as usize % bytes.len() } else { 0 };
    bytes.truncate(bytes.len() - cut);

    let (found, _, _) = scan(&bytes);
    let mut rest = all.iter();
    assert!(found.iter().all(|entry| rest.any(|other| other == entry)), "not what was written: {found:?}");
    for batch in &batches {
        let whole =
            batch.end <= bytes.len() && !touched.iter().any(|at| (batch.start..batch.end).contains(at));
        assert!(
            !whole || batch.entries.iter().all(|entry| found.contains(entry)),
            "an untouched batch is lost"
        );
    }
}

fuzz_target!(|data: &[u8]| {
    let mut plan = Source(data);
    if plan.flag() {
        bounded(1 << 20, || run(&mut plan));
    } else {
        let _ = read_batch(plan.0, 4096, SALT);
        let _ = later_batch(plan.0, 4096, SALT, 0);
    }
});
