use std::path::Path;

use engine::buf::Buf;
use engine::io::{DiskSpace, File, block_on, read_dir};
use openraft::storage::IOFlushed;

use super::segment::Header;
use super::*;
use crate::types::{LeaderId, Payload, Proposal, log_id};

const SEGMENT: u64 = 64 << 10;
/// The header of a log's first segment.
const FIRST: Header = Header { first_sequence: 1, log_salt: 0x5a17 };

fn in_directory<T>(test: impl AsyncFnOnce(&Path) -> T) -> T {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("temporary directory");
    block_on(test(&directory.path().join("raft"))).expect("executor")
}

fn config(directory: &Path) -> WalConfig {
    WalConfig {
        segment_bytes: SEGMENT,
        cache_bytes: 16 << 10,
        ..WalConfig::new(directory.to_owned(), DiskSpace::new(directory))
    }
}

async fn open(directory: &Path) -> io::Result<Wal> {
    Wal::open(config(directory), |why| panic!("{why}")).await
}

async fn reopen(directory: &Path) -> Wal {
    open(directory).await.expect("the log opens")
}

async fn restart(wal: Wal, directory: &Path) -> Wal {
    wal.close().await.expect("the log closes");
    reopen(directory).await
}

fn entry(index: u64, bytes: usize) -> Entry {
    let filler = vec![u8::try_from(index % 251).unwrap_or(0); bytes];
    Entry { log_id: log_id(1, 1, index), payload: Payload::Normal(Proposal::from_bytes(filler)) }
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, node_id: 1 }, committed: true }
}

async fn append(wal: &Wal, entries: impl IntoIterator<Item = Entry>) {
    wal.append(entries, IOFlushed::noop()).expect("appends");
    wal.flush().await.expect("durable");
}

async fn indexes(wal: &Wal) -> Vec<u64> {
    wal.read(0, u64::MAX).await.expect("reads").iter().map(|entry| entry.log_id.index).collect()
}

/// A log of three batches in its first segment; returns where each starts.
async fn three_batches(directory: &Path) -> Vec<u64> {
    let wal = reopen(directory).await;
    let mut starts = Vec::new();
    for index in 0..3 {
        starts.push(wal.0.state.borrow().position);
        append(&wal, [entry(index, 5000)]).await;
    }
    wal.close().await.expect("closes");
    starts
}

async fn first_segment(directory: &Path) -> File {
    File::open(&segment::path(directory, 1)).await.expect("opens")
}

async fn overwrite(file: &File, at: u64, bytes: &[u8]) {
    let page = at / 4096 * 4096;
    let mut buf = file.read_at(page, 4096).await.expect("reads");
    let offset = usize::try_from(at - page).expect("within a page");
    buf[offset..offset + bytes.len()].copy_from_slice(bytes);
    file.write_at(buf, page).await.expect("writes");
}

/// L1: a new log.
/// L13: whole batches.
#[test]
fn what_was_synced_is_there_after_a_restart() {
    in_directory(async |directory| {
        let wal = reopen(directory).await;
        wal.save_vote(vote(4)).await.expect("vote");
        append(&wal, (0..10).map(|index| entry(index, 300))).await;
        wal.save_committed(Some(log_id(1, 1, 7)));
        wal.truncate_after(Some(log_id(1, 1, 8))).await.expect("truncate");
        wal.purge(log_id(1, 1, 2)).await.expect("purge");
        for wal in [wal.clone(), restart(wal, directory).await] {
            assert_eq!(wal.vote(), Some(vote(4)));
            assert_eq!(wal.committed(), Some(log_id(1, 1, 7)));
            assert_eq!(wal.purged(), Some(log_id(1, 1, 2)));
            assert_eq!(wal.last(), Some(log_id(1, 1, 8)));
            assert_eq!(indexes(&wal).await, [3, 4, 5, 6, 7, 8]);
            assert_eq!(wal.read(5, 6).await.expect("reads"), [entry(5, 300)]);
        }
    });
}

#[test]
fn entries_appended_together_share_one_sync() {
    in_directory(async |directory| {
        let wal = reopen(directory).await;
        for index in 0..64 {
            wal.append([entry(index, 100)], IOFlushed::noop()).expect("appends");
        }
        wal.flush().await.expect("durable");
        assert!(wal.stats().syncs <= 2, "{:?}", wal.stats());
        assert_eq!(wal.stats().records, 64);
    });
}

/// L12: purged segments.
#[test]
fn old_entries_are_read_from_their_segments_and_purged_segments_are_used_again() {
    in_directory(async |directory| {
        let wal = reopen(directory).await;
        for round in 0..40_u64 {
            append(&wal, (0..5).map(|i| entry(round * 5 + i, 3000))).await;
            if round % 8 == 7 {
                wal.purge(log_id(1, 1, round * 5)).await.expect("purge");
            }
            assert!(wal.stats().cached_bytes <= (16 << 10) + 16_000);
        }
        assert_eq!(wal.read(196, 198).await.expect("reads"), [entry(196, 3000), entry(197, 3000)]);
        let files = read_dir(directory).expect("lists").len();
        assert!(files <= 8, "{files} files for {:?}", wal.stats());
        let wal = restart(wal, directory).await;
        assert_eq!(indexes(&wal).await, [196, 197, 198, 199]);
        // And it goes on in the files that exist.
        append(&wal, [entry(200, 10)]).await;
        assert_eq!(restart(wal, directory).await.last(), Some(log_id(1, 1, 200)));
    });
}

/// L14: a torn last batch.
#[test]
fn a_torn_last_batch_is_cut_and_its_remains_never_come_back() {
    for torn_page in 0..2 {
        in_directory(async |directory| {
            let starts = three_batches(directory).await;
            let file = first_segment(directory).await;
            overwrite(&file, starts[2] + torn_page * 4096 + 100, &[0xEE; 8]).await;
            let wal = reopen(directory).await;
            assert_eq!(indexes(&wal).await, [0, 1], "page {torn_page}");
            append(&wal, [entry(2, 10)]).await;
            assert_eq!(indexes(&restart(wal, directory).await).await, [0, 1, 2]);
            let rest = file.read_at(starts[2] + 4096, 4096).await.expect("reads");
            assert!(rest.iter().all(|byte| *byte == 0));
        });
    }
}

/// L16: damage with a batch after it.
#[test]
fn damage_before_the_last_batch_is_refused() {
    in_directory(async |directory| {
        let starts = three_batches(directory).await;
        overwrite(&first_segment(directory).await, starts[1] + 100, &[0xEE]).await;
        let error = open(directory).await.err().expect("refused").to_string();
        assert!(error.contains("damaged at byte") && !error.contains('\n'), "{error}");
    });
}

/// A log of at least three segments, each of several batches.
async fn three_segments(directory: &Path) {
    let wal = reopen(directory).await;
    for index in 0..60 {
        append(&wal, [entry(index, 3000)]).await;
    }
    assert!(wal.stats().segments >= 3);
    wal.close().await.expect("closes");
}

#[test]
fn a_lost_header_or_segment_is_refused() {
    type Harm = fn(&Path);
    let cases: [(&str, Harm, &str); 4] = [
        (
            "L8: the last header, with batches after the first",
            |d| spoil(d, last_used(d)),
            "damaged at byte 0",
        ),
        (
            "L9: a header before a used segment",
            |d| {
                std::fs::remove_file(segment::path(d, 2)).expect("removes");
                std::fs::write(segment::path(d, 2), vec![0; 8192]).expect("writes");
            },
            "lost its header",
        ),
        (
            "L10: a segment in between",
            |d| std::fs::remove_file(segment::path(d, 2)).expect("removes"),
            "is missing",
        ),
        (
            "L11: the first segment",
            |d| std::fs::remove_file(segment::path(d, 1)).expect("removes"),
            "starts at entry",
        ),
    ];
    for (row, harm, word) in cases {
        in_directory(async |directory| {
            three_segments(directory).await;
            harm(directory);
            for _ in 0..2 {
                let error =
                    open(directory).await.err().unwrap_or_else(|| panic!("{row}: not refused")).to_string();
                assert!(error.contains(word) && error.contains("restore"), "{row}: {error}");
            }
        });
    }
}

/// The last segment with a header.
fn last_used(directory: &Path) -> u64 {
    let has_header =
        |id: &u64| std::fs::read(segment::path(directory, *id)).is_ok_and(|bytes| bytes[..4] == *b"HWLS");
    (1..).take_while(has_header).last().expect("one")
}

fn spoil(directory: &Path, id: u64) {
    let path = segment::path(directory, id);
    let mut bytes = std::fs::read(&path).expect("reads");
    bytes[0] ^= 1;
    std::fs::write(&path, bytes).expect("writes");
}

#[test]
fn files_that_a_crash_leaves_half_prepared_are_repaired() {
    type Leave = fn(&Path);
    let cases: [(&str, Leave); 4] = [
        ("L2: a half-zeroed file", |d| {
            std::fs::write(d.join("0000000000000009.tmp"), [0; 8192]).expect("writes")
        }),
        ("L3: the next file, of an earlier use", |d| {
            std::fs::copy(segment::path(d, 1), segment::path(d, last_used(d) + 1)).map(drop).expect("copies");
        }),
        ("L6: two prepared files", |d| {
            let next = last_used(d) + 1;
            std::fs::write(segment::path(d, next), [0; SEGMENT as usize]).expect("writes");
            std::fs::copy(segment::path(d, 1), segment::path(d, next + 1)).map(drop).expect("copies");
        }),
        ("L7: a short file", |d| {
            std::fs::write(segment::path(d, last_used(d) + 1), [0; 8192]).expect("writes");
        }),
    ];
    for (row, leave) in cases {
        in_directory(async |directory| {
            three_segments(directory).await;
            leave(directory);
            let mut wal = reopen(directory).await;
            assert_eq!(wal.last(), Some(log_id(1, 1, 59)), "{row}");
            for index in 60..120 {
                append(&wal, [entry(index, 3000)]).await;
            }
            wal = restart(wal, directory).await;
            assert_eq!(indexes(&wal).await, Vec::from_iter(0..120), "{row}");
            let drafts = read_dir(directory).expect("lists").into_iter();
            assert_eq!(
                drafts.filter(|path| path.extension().is_some_and(|e| e == "tmp")).count(),
                0,
                "{row}"
            );
        });
    }
}

#[test]
fn a_record_of_a_later_program_is_refused() {
    for (row, at) in [("L17: a later version", 4), ("an unknown kind", 5)] {
        in_directory(async |directory| {
            engine::io::create_dir_all(directory).expect("directory");
            let mut record = Vec::new();
            Record::Vote(vote(2)).encode(segment::salt(FIRST.log_salt, 1), 1, true, &mut record);
            record[at] = 0x77;
            let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
            [&segment::salt(FIRST.log_salt, 1).to_le_bytes()[..], &record[..12], &record[16..]]
                .iter()
                .for_each(|part| digest.update(part));
            let crc = u32::try_from(digest.finalize()).expect("32 bits");
            record[12..16].copy_from_slice(&crc.to_le_bytes());
            let file = File::create(&segment::path(directory, 1)).await.expect("creates");
            let mut buf = Buf::with_capacity(8192);
            buf.extend_from_slice(&segment::header(1, FIRST));
            buf.extend_from_slice(&record);
            buf.pad_to(ALIGNMENT);
            file.write_at(buf, 0).await.expect("writes");
            let error =
                open(directory).await.err().unwrap_or_else(|| panic!("{row}: not refused")).to_string();
            assert!(error.contains("record at byte 4096"), "{row}: {error}");
        });
    }
}

/// L4: the header tore.
/// L5: the batch tore.
#[test]
fn a_segment_whose_first_write_tore_is_blank_again() {
    in_directory(async |directory| {
        let mut wal = reopen(directory).await;
        let mut index = 0;
        while wal.stats().segments < 2 {
            append(&wal, [entry(index, 3000)]).await;
            index += 1;
        }
        // The last entry went to segment 2 with its header: tear the header once, then the batch.
        for at in [0, 4096] {
            wal.close().await.expect("closes");
            let file = File::open(&segment::path(directory, 2)).await.expect("opens");
            overwrite(&file, at, &[0]).await;
            wal = reopen(directory).await;
            assert_eq!(wal.last(), Some(log_id(1, 1, index - 2)));
            append(&wal, [entry(index - 1, 3000)]).await;
            wal = restart(wal, directory).await;
            assert_eq!(wal.last(), Some(log_id(1, 1, index - 1)));
        }
    });
}

/// L19: a committed mark beyond the last entry.
#[test]
fn a_log_written_by_hand_is_read() {
    in_directory(async |directory| {
        engine::io::create_dir_all(directory).expect("directory");
        let file = File::create(&segment::path(directory, 1)).await.expect("creates");
        let mut buf = Buf::with_capacity(8192);
        buf.extend_from_slice(&segment::header(1, FIRST));
        let mut batch = Vec::new();
        Record::Vote(vote(2)).encode(segment::salt(FIRST.log_salt, 1), 1, false, &mut batch);
        Record::Entry(entry(0, 3)).encode(segment::salt(FIRST.log_salt, 1), 1, false, &mut batch);
        Record::Committed(Some(log_id(1, 1, 9))).encode(
            segment::salt(FIRST.log_salt, 1),
            1,
            true,
            &mut batch,
        );
        buf.extend_from_slice(&batch);
        buf.pad_to(ALIGNMENT);
        file.write_at(buf, 0).await.expect("writes");
        let wal = reopen(directory).await;
        assert_eq!(wal.vote(), Some(vote(2)));
        // The mark was ahead of the entries, so it moves back to the last one.
        assert_eq!(wal.committed(), Some(log_id(1, 1, 0)));
        assert_eq!(indexes(&wal).await, [0]);
    });
}

/// L15: a batch without its last record.
/// L18: a gap.
#[test]
fn a_batch_without_its_end_is_void_and_a_gap_is_refused() {
    in_directory(async |directory| {
        engine::io::create_dir_all(directory).expect("directory");
        let write = async |ends: bool, indexes: [u64; 2]| {
            let file = File::create(&segment::path(directory, 1)).await.expect("creates");
            let mut buf = Buf::with_capacity(8192);
            buf.extend_from_slice(&segment::header(1, FIRST));
            let mut batch = Vec::new();
            Record::Entry(entry(indexes[0], 3)).encode(
                segment::salt(FIRST.log_salt, 1),
                1,
                false,
                &mut batch,
            );
            Record::Entry(entry(indexes[1], 3)).encode(segment::salt(FIRST.log_salt, 1), 1, ends, &mut batch);
            buf.extend_from_slice(&batch);
            buf.pad_to(ALIGNMENT);
            file.write_at(buf, 0).await.expect("writes");
        };
        write(false, [0, 1]).await;
        let wal = reopen(directory).await;
        assert_eq!(wal.last(), None);
        wal.close().await.expect("closes");
        write(true, [0, 2]).await;
        let error = open(directory).await.err().expect("refused").to_string();
        assert!(error.contains("found entry 2 where entry 1 belongs"), "{error}");
        write(true, [4, 5]).await;
        assert!(open(directory).await.err().expect("refused").to_string().contains("starts at entry 4"));
    });
}

#[test]
fn a_failed_log_tells_all_waiters_and_refuses_later_writes() {
    in_directory(async |directory| {
        let fatal_calls = Rc::new(Cell::new(0));
        let calls = fatal_calls.clone();
        let wal = Wal::open(config(directory), move |_| calls.set(calls.get() + 1)).await.expect("opens");
        append(&wal, [entry(0, 3)]).await;
        while wal.0.preparing.get() {
            wal.0.prepared.wait().await;
        }
        // No segment can hold the entry, so the write must fail.
        wal.0.state.borrow_mut().failed = None;
        wal.0.state.borrow_mut().segments.clear();
        wal.0.state.borrow_mut().next = None;
        std::fs::remove_dir_all(directory).expect("removes");
        assert!(wal.save_vote(vote(9)).await.is_err());
        assert!(wal.append([entry(1, 3)], IOFlushed::noop()).is_err());
        assert_eq!(fatal_calls.get(), 1);
    });
}

/// L20: a segment of another log.
#[test]
fn a_lost_header_is_detected_without_the_salt_and_a_foreign_segment_by_it() {
    in_directory(async |directory| {
        three_batches(directory).await;
        spoil(directory, 1);
        let error = open(directory).await.err().expect("refused").to_string();
        assert!(error.contains("damaged at byte 0"), "{error}");
    });
    in_directory(async |directory| {
        let other = directory.with_extension("other");
        for directory in [directory, &other] {
            three_segments(directory).await;
        }
        let bytes = |directory| std::fs::read(segment::path(directory, 2)).expect("reads");
        assert_ne!(bytes(directory), bytes(&other), "both logs have the same salt");
        std::fs::write(segment::path(directory, 2), bytes(&other)).expect("writes");
        let error = open(directory).await.err().expect("refused").to_string();
        assert!(error.contains("belongs to another log"), "{error}");
    });
}

#[test]
fn the_bytes_of_a_segment_header_are_frozen() {
    let header = Header { first_sequence: 7, log_salt: 0x0102_0304_0506_0708 };
    let page = segment::header(0x1122, header);
    assert_eq!(hex::encode(&page[..36]), HEADER);
    assert!(page[36..].iter().all(|byte| *byte == 0));
    assert_eq!(segment::parse_header(0x1122, &page), Ok(Some(header)));
    assert_eq!(segment::parse_header(0x1123, &page), Ok(None));
    for byte in 0..36 {
        let mut changed = page;
        changed[byte] ^= 1;
        assert_eq!(segment::parse_header(0x1122, &changed), Ok(None), "byte {byte}");
    }
}

/// Version 2 brought the salt. A log from before is read as it is, and goes on without one.
#[test]
fn a_log_from_before_the_salt_is_read_and_goes_on() {
    in_directory(async |directory| {
        engine::io::create_dir_all(directory).expect("directory");
        let file = File::create(&segment::path(directory, 0x1122)).await.expect("creates");
        let mut buf = Buf::with_capacity(8192);
        buf.extend_from_slice(&hex::decode(HEADER_UNSALTED).expect("hex"));
        buf.pad_to(ALIGNMENT);
        let mut batch = Vec::new();
        Record::Entry(entry(0, 3)).encode(0x1122, 7, true, &mut batch);
        buf.extend_from_slice(&batch);
        buf.pad_to(ALIGNMENT);
        file.write_at(buf, 0).await.expect("writes");
        let mut wal = reopen(directory).await;
        let mut index = 1;
        while wal.stats().segments < 3 {
            append(&wal, [entry(index, 3000)]).await;
            index += 1;
        }
        wal = restart(wal, directory).await;
        assert_eq!(indexes(&wal).await, Vec::from_iter(0..index));
    });
}

const HEADER: &str = "48574c5302000000221100000000000007000000000000000807060504030201e01ec80d";
const HEADER_UNSALTED: &str = "48574c530100000022110000000000000700000000000000eb8c8912";
