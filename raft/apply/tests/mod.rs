//! Tests of apply: each command's outcomes, and random histories against what must always hold.

mod buckets;
mod multipart;
mod objects;
mod random;

use super::*;
use crate::{
    command::*,
    key::{Name, RowKey},
    kv::{Kv, MemoryKv},
    list,
    record::{CurrentRecord, ObjectHeaders, PartRecord, UploadRecord, VersionKind, Versioning, tests::blob},
};
use std::ops::ControlFlow;

fn id(number: u64) -> Bytes16 {
    u128::from(number).to_be_bytes().into()
}

/// A store and an applier over it.
struct World {
    kv: MemoryKv,
    applier: Applier,
    retry: bool,
    /// The time of the commands.
    at_ms: u64,
    changes: Vec<Change>,
}

impl World {
    fn new() -> Self {
        Self { kv: MemoryKv::new(), applier: Applier::new(), retry: false, at_ms: 1000, changes: Vec::new() }
    }

    /// With bucket `b` in this versioning state.
    fn with_bucket(versioning: Versioning) -> Self {
        let mut world = Self::new();
        world.set_bucket("b", versioning);
        world
    }

    fn set_bucket(&mut self, name: &str, versioning: Versioning) {
        let record = BucketRecord { name: name.into(), versioning: versioning.into(), ..Default::default() };
        let mut batch = Batch::default();
        batch.put(key::bucket(name).unwrap(), record.to_row());
        self.kv.write(batch).unwrap();
        self.applier.reset();
    }

    fn run(&mut self, kind: Kind) -> Outcome {
        self.run_all(vec![kind]).remove(0)
    }

    /// Executes commands as one batch; `self.changes` then holds what they changed.
    fn run_all(&mut self, kinds: Vec<Kind>) -> Vec<Outcome> {
        let at_ms = self.at_ms;
        self.run_at(kinds.into_iter().map(|kind| (at_ms, kind)).collect())
    }

    /// Executes commands, each at its time, as one batch.
    fn run_at(&mut self, commands: Vec<(u64, Kind)>) -> Vec<Outcome> {
        let snapshot = self.kv.snapshot();
        let mut session = self.applier.begin(&snapshot);
        self.changes.clear();
        let mut outcomes = Vec::new();
        for (at_ms, kind) in commands {
            let mut command = Command::new([0; 16], at_ms, kind);
            command.retry = self.retry;
            let entry = command.encode_bounded().unwrap();
            outcomes.push(session.apply(Command::from_entry(&entry).unwrap(), &mut self.changes).unwrap());
        }
        let batch = session.finish();
        self.kv.write(batch).unwrap();
        check_invariants(&self.kv.snapshot());
        outcomes
    }

    fn put(&mut self, key: &str, number: u64) -> Outcome {
        self.run(put(key, number, None))
    }

    fn reclaimed_now(&self) -> Vec<Bytes16> {
        let ids = self.changes.iter().filter_map(|change| match change {
            Change::Reclaim(record) => Some(record.data_id),
            _ => None,
        });
        ids.collect()
    }

    /// The key's versions as listed: id, `n` for null, `d` for a delete marker.
    fn versions(&self, key: &str) -> String {
        let query = list::Query { prefix: key, max: 1000, ..Default::default() };
        let page = list::versions(&self.kv.snapshot(), "b", query, None).unwrap();
        let text = |entry: &list::Entry<list::ListedVersion>| match entry {
            list::Entry::Row(row) => {
                let number = u128::from_be_bytes(row.version.version_id.to_bytes());
                let null = if row.version.null_version { "n" } else { "" };
                let marker = if row.version.is_delete_marker() { "d" } else { "" };
                format!("{number}{null}{marker}")
            }
            list::Entry::CommonPrefix(_) => unreachable!("there is no delimiter"),
        };
        page.entries.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    fn rows(&self, tag: u8) -> usize {
        let mut count = 0;
        self.kv
            .snapshot()
            .scan(&[tag], &[tag + 1], &mut |_, _| {
                count += 1;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        count
    }
}

fn version(number: u64) -> VersionRecord {
    VersionRecord {
        version_id: id(number),
        size: 10,
        md5: id(number),
        blobs: vec![BlobRef { data_id: id(number), ..blob(0, 10) }],
        ..VersionRecord::default()
    }
}

fn put(key: &str, number: u64, precondition: Option<Precondition>) -> Kind {
    let (bucket, key) = ("b".to_owned(), key.to_owned());
    Kind::PutVersion(PutVersion { bucket, key, version: version(number), precondition })
}

fn delete(key: &str, selector: Selector, marker: u64) -> Kind {
    Kind::DeleteVersion(DeleteVersion {
        bucket: "b".into(),
        key: key.into(),
        selector: Some(selector),
        marker_version_id: id(marker),
        precondition: None,
    })
}

fn written(outcome: &Outcome) -> &VersionRecord {
    match outcome {
        Outcome::Written { version } => version,
        other => panic!("{other:?} is not a write"),
    }
}

/// Checks what is true of the rows after every batch: `c/` is derived from `v/`; no version is older than one below
/// it in its list; a blob has one place; a bucket that never kept versions has only null versions; and every row
/// has a bucket.
///
/// Returns all blobs that rows refer to.
fn check_invariants(reader: &impl Reader) -> Vec<Bytes16> {
    let mut newest: BTreeMap<(String, String), VersionRecord> = BTreeMap::new();
    let mut above: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut current = BTreeMap::new();
    let mut blobs: Vec<Bytes16> = Vec::new();
    reader
        .scan(&[0], &[0xff], &mut |row, value| {
            let names = |name: Name<'_>| (name.bucket().to_owned(), name.key().to_owned());
            let bucket = match key::decode(row)? {
                RowKey::Version(name, id) => {
                    let version = VersionRecord::from_row(value)?;
                    assert_eq!(version.version_id, id, "a record is in its row");
                    let younger = above.insert(names(name), version.modified_ms);
                    assert!(younger.is_none_or(|at| at >= version.modified_ms), "time goes back in a list");
                    blobs.extend(version.blobs.iter().map(|blob| blob.data_id));
                    let bucket: BucketRecord =
                        crate::read::bucket(reader, name.bucket())?.expect("has a bucket");
                    let first = newest.insert(names(name), version.clone());
                    if bucket.versioning() == Versioning::Unversioned {
                        assert!(version.null_version && first.is_none(), "one null version");
                    }
                    if let Some(first) = first {
                        newest.insert(names(name), first);
                    }
                    name.bucket().to_owned()
                }
                RowKey::Current(name) => {
                    current.insert(names(name), CurrentRecord::from_row(value)?);
                    name.bucket().to_owned()
                }
                RowKey::Upload(name, _) => name.bucket().to_owned(),
                RowKey::Part(name, upload, number) => {
                    let part = PartRecord::from_row(value)?;
                    assert_eq!(part.number, u32::from(number));
                    blobs.push(part.blob.data_id);
                    assert!(crate::read::upload(reader, name, upload)?.is_some(), "a part has its upload");
                    name.bucket().to_owned()
                }
                RowKey::Reclaim(data_id) => {
                    assert_eq!(ReclaimRecord::from_row(value)?.data_id, data_id);
                    blobs.push(data_id);
                    return Ok(ControlFlow::Continue(()));
                }
                _ => return Ok(ControlFlow::Continue(())),
            };
            assert!(crate::read::bucket(reader, &bucket)?.is_some(), "rows without a bucket");
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let derived: BTreeMap<_, _> = newest
        .into_iter()
        .filter(|(_, version)| !version.is_delete_marker())
        .map(|(name, version)| (name, CurrentRecord::of(&version)))
        .collect();
    assert_eq!(current, derived, "current is derived from the list");
    let count = blobs.len();
    blobs.sort();
    blobs.dedup();
    assert_eq!(blobs.len(), count, "a blob has one place");
    blobs
}
