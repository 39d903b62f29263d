//! Commands of the log: what decodes survives a round trip. Whatever a command holds, apply returns an outcome and
//! leaves rows that it can read, and the rows are the same whether commands come in one batch or one by one.
#![no_main]

use std::ops::ControlFlow;

use hamster_fuzz::{Source, bounded};
use libfuzzer_sys::fuzz_target;
use raft::apply::Applier;
use raft::command::{Command, Kind, MAX_COMMAND_BYTES, Outcome, Selector};
use raft::key::{self, RowKey};
use raft::kv::{Batch, Kv, MemoryKv, Reader};
use raft::record::{
    BucketRecord, Bytes16, CurrentRecord, PartRecord, ReclaimRecord, Record, UploadRecord, VersionRecord,
    Versioning,
};

/// A store with a bucket of each kind.
fn store() -> MemoryKv {
    let kv = MemoryKv::new();
    let mut batch = Batch::default();
    for (name, versioning) in
        [("a", Versioning::Unversioned), ("b", Versioning::Enabled), ("c", Versioning::Suspended)]
    {
        let record = BucketRecord { name: name.into(), versioning: versioning.into(), ..Default::default() };
        batch.put(key::bucket(name).expect("a name"), record.to_row());
    }
    kv.write(batch).expect("memory is written");
    kv
}

/// Reduces names and ids to a few, by their first byte, so that commands meet. Names that no row can have stay.
fn squeeze(command: &mut Command) {
    let name = |text: &mut String| {
        if let Some(first) = text.bytes().next().filter(|_| !text.contains('\0') && text.len() < 300) {
            *text = char::from(b'a' + first % 4).into();
        }
    };
    let id = |id: &mut Bytes16| *id = Bytes16::from([id.to_bytes()[7] % 4; 16]);
    match &mut command.kind {
        Some(Kind::CreateBucket(c)) => name(&mut c.name),
        Some(Kind::DeleteBucket(c)) => name(&mut c.name),
        Some(Kind::PutVersion(c)) => {
            (name(&mut c.bucket), name(&mut c.key), id(&mut c.version.version_id));
            c.version.blobs.iter_mut().for_each(|blob| id(&mut blob.data_id));
        }
        Some(Kind::DeleteVersion(c)) => {
            (name(&mut c.bucket), name(&mut c.key), id(&mut c.marker_version_id));
            if let Some(Selector::Id(version)) = &mut c.selector {
                id(version);
            }
        }
        Some(Kind::CreateUpload(c)) => {
            (name(&mut c.upload.bucket), name(&mut c.upload.key), id(&mut c.upload.upload_id));
        }
        Some(Kind::PutPart(c)) => {
            (name(&mut c.bucket), name(&mut c.key), id(&mut c.upload_id), id(&mut c.part.md5));
            c.part.number = if c.part.number < 100 { c.part.number % 4 } else { c.part.number };
            id(&mut c.part.blob.data_id);
        }
        Some(Kind::AbortUpload(c)) => (name(&mut c.bucket), name(&mut c.key), id(&mut c.upload_id)).0,
        Some(Kind::CompleteUpload(c)) => {
            (name(&mut c.bucket), name(&mut c.key), id(&mut c.upload_id), id(&mut c.version_id));
            for part in &mut c.parts {
                part.number = if part.number < 100 { part.number % 4 } else { part.number };
                id(&mut part.md5);
            }
        }
        Some(Kind::Reclaimed(c)) => c.data_ids.iter_mut().for_each(id),
        None => {}
    }
}

/// The command in `entry`, after a round trip.
fn command(entry: &[u8]) -> Option<Command> {
    let command = bounded(512 * entry.len() + 4096, || Command::from_entry(entry).ok())?;
    // Unknown fields are dropped, so the command never grows by more than the shortest forms of its numbers.
    let bytes = command.encode_bounded().expect("it is no longer than it was");
    assert!(bytes.len() <= MAX_COMMAND_BYTES);
    let mut again = Command::from_entry(&bytes).expect("ours decodes");
    assert!(again == command, "a command changed in the round trip");
    squeeze(&mut again);
    Some(again)
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Applies the commands in batches of this many.
fn apply(commands: &[Command], batch: usize) -> (Vec<Outcome>, Rows) {
    let (kv, mut applier, mut outcomes) = (store(), Applier::new(), Vec::new());
    for some in commands.chunks(batch) {
        let snapshot = kv.snapshot();
        let mut session = applier.begin(&snapshot);
        let mut changes = Vec::new();
        for command in some {
            outcomes.push(session.apply(command.clone(), &mut changes).expect("apply returns an outcome"));
        }
        kv.write(session.finish()).expect("memory is written");
    }
    let mut rows = Vec::new();
    let seen = kv.snapshot().scan(&[], &[0xff], &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    seen.expect("memory is read");
    (outcomes, rows)
}

/// Every row can be read, and the current version of a key is its newest.
fn check(rows: &Rows) {
    let mut newest: Option<(String, String, VersionRecord)> = None;
    let mut expected = Vec::new();
    let mut current = Vec::new();
    for (row, value) in rows {
        match key::decode(row).expect("a row of a known kind") {
            RowKey::Bucket(name) => assert_eq!(BucketRecord::from_row(value).expect("a bucket").name, name),
            RowKey::Current(name) => {
                let record = CurrentRecord::from_row(value).expect("a current version");
                current.push((name.bucket().to_owned(), name.key().to_owned(), record));
            }
            RowKey::Version(name, id) => {
                let version = VersionRecord::from_row(value).expect("a version");
                assert_eq!(version.version_id, id);
                let (bucket, key) = (name.bucket().to_owned(), name.key().to_owned());
                if newest.as_ref().is_none_or(|(b, k, _)| (b, k) != (&bucket, &key)) {
                    if !version.is_delete_marker() {
                        expected.push((bucket.clone(), key.clone(), CurrentRecord::of(&version)));
                    }
                    newest = Some((bucket, key, version));
                }
            }
            RowKey::Upload(_, id) => {
                assert_eq!(UploadRecord::from_row(value).expect("an upload").upload_id, id);
            }
            RowKey::Part(_, _, number) => {
                let part = PartRecord::from_row(value).expect("a part");
                assert!(part.number == u32::from(number) && (1..=10_000).contains(&number));
            }
            RowKey::Reclaim(id) => {
                assert_eq!(ReclaimRecord::from_row(value).expect("a blob to reclaim").data_id, id);
            }
            other => panic!("apply wrote {other:?}"),
        }
    }
    assert_eq!(current, expected, "a current version is not the newest");
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    let mut commands = Vec::new();
    while !source.is_empty() && commands.len() < 40 {
        let length = usize::from(source.u16());
        commands.extend(command(source.take(length)));
    }
    let alone = apply(&commands, 1);
    check(&alone.1);
    assert_eq!(apply(&commands, 7), alone, "batches make a difference");
    assert_eq!(apply(&commands, usize::MAX), alone, "one batch makes a difference");
});
