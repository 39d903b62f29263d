//! Random histories: the invariants hold after every batch, versions are as in a plain model, no blob is lost or
//! leaked, and the rows are the same whether commands come in one batch or one by one.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Op {
    Put { key: u8, clock: u8, if_absent: bool },
    Delete { key: u8 },
    DeleteNull { key: u8 },
    DeleteNth { key: u8, nth: u8 },
    Versioning(Versioning),
    CreateUpload { key: u8 },
    PutPart { upload: u8, number: u8 },
    Complete { upload: u8, parts: u8 },
    Abort { upload: u8 },
    Reclaim,
}

fn any_op() -> impl Strategy<Value = Op> {
    let key = 0..3u8;
    let upload = 0..4u8;
    let states = prop_oneof![Just(Versioning::Enabled), Just(Versioning::Suspended)];
    prop_oneof![
        6 => (key.clone(), 0..3u8, prop::bool::weighted(0.2))
            .prop_map(|(key, clock, if_absent)| Op::Put { key, clock, if_absent }),
        3 => key.clone().prop_map(|key| Op::Delete { key }),
        1 => key.clone().prop_map(|key| Op::DeleteNull { key }),
        2 => (key.clone(), 0..4u8).prop_map(|(key, nth)| Op::DeleteNth { key, nth }),
        1 => states.prop_map(Op::Versioning),
        2 => key.prop_map(|key| Op::CreateUpload { key }),
        4 => (upload.clone(), 1..5u8).prop_map(|(upload, number)| Op::PutPart { upload, number }),
        2 => (upload.clone(), 0..16u8).prop_map(|(upload, parts)| Op::Complete { upload, parts }),
        1 => upload.prop_map(|upload| Op::Abort { upload }),
        1 => Just(Op::Reclaim),
    ]
}

/// A version as the model sees it. `content` is the id that was proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelVersion {
    content: u64,
    null: bool,
    marker: bool,
}

/// S3's rules in plain form; it also makes the next commands.
struct Model {
    versioning: Versioning,
    keys: BTreeMap<String, Vec<ModelVersion>>,
    /// Key, id, and content by part number, of every upload.
    uploads: Vec<(String, u64, BTreeMap<u32, u64>)>,
    introduced: BTreeSet<Bytes16>,
    number: u64,
}

impl Model {
    fn add(&mut self, key: &str, content: u64, marker: bool) {
        let null = self.versioning != Versioning::Enabled;
        let list = self.keys.entry(key.to_owned()).or_default();
        if null {
            list.retain(|version| !version.null);
        }
        list.insert(0, ModelVersion { content, null, marker });
    }

    fn has_object(&self, key: &str) -> bool {
        self.keys.get(key).and_then(|list| list.first()).is_some_and(|version| !version.marker)
    }

    /// An id that no other version has, from a clock that is ahead by `clock` steps.
    fn next(&mut self, clock: u8) -> u64 {
        self.number += 1;
        (self.number + 5000 * u64::from(clock)) * 1000
    }

    fn upload(&self, upload: u8) -> Option<usize> {
        (!self.uploads.is_empty()).then(|| usize::from(upload) % self.uploads.len())
    }

    fn put(&mut self, key: &str, content: u64, if_absent: bool) -> Kind {
        self.introduced.insert(id(content));
        if !(if_absent && self.has_object(key)) {
            self.add(key, content, false);
        }
        let precondition = Precondition { if_none_match_any: if_absent, ..Default::default() };
        super::put(key, content, Some(precondition))
    }

    fn delete(&mut self, key: &str) -> Kind {
        let content = self.next(0);
        if self.versioning == Versioning::Unversioned {
            self.keys.remove(key);
        } else {
            self.add(key, content, true);
        }
        super::delete(key, Selector::Current(true), content)
    }

    /// Finds the version by the id in the store, since apply may have moved the proposed one.
    fn delete_nth(&mut self, key: &str, nth: u8, world: &World) -> Option<Kind> {
        let list = self.keys.get_mut(key).filter(|list| usize::from(nth) < list.len())?;
        let seen = list.remove(nth.into());
        if seen.null {
            return Some(super::delete(key, Selector::Null(true), 1));
        }
        let page = list::versions(
            &world.kv.snapshot(),
            "b",
            list::Query { prefix: key, max: 1000, ..Default::default() },
            None,
        );
        let found = page.unwrap().entries.into_iter().find_map(|entry| match entry {
            list::Entry::Row(row) if proposed(&row.version) == seen.content => Some(row.version.version_id),
            _ => None,
        });
        Some(super::delete(key, Selector::Id(found.expect("the model's version is stored")), 1))
    }

    fn put_part(&mut self, upload: u8, number: u8) -> Option<Kind> {
        let content = self.next(0);
        let at = self.upload(upload)?;
        self.introduced.insert(id(content));
        let (key, upload, parts) = &mut self.uploads[at];
        parts.insert(number.into(), content);
        let blob = BlobRef { data_id: id(content), ..blob(0, 5 << 20) };
        let part = PartRecord {
            number: number.into(),
            size: blob.size,
            blob,
            md5: id(content),
            ..Default::default()
        };
        Some(Kind::PutPart(PutPart { bucket: "b".into(), key: key.clone(), upload_id: id(*upload), part }))
    }

    fn complete(&mut self, upload: u8, chosen: u8) -> Option<Kind> {
        let content = self.next(0);
        let at = self.upload(upload)?;
        let (key, upload, parts) = self.uploads[at].clone();
        let numbers: Vec<u32> = (1..=4).filter(|number| chosen & (1 << (number - 1)) != 0).collect();
        if !numbers.is_empty() && numbers.iter().all(|number| parts.contains_key(number)) {
            self.uploads.remove(at);
            self.add(&key, content, false);
        }
        let named = |number: u32| CompletedPart {
            number,
            md5: id(parts.get(&number).copied().unwrap_or(0)),
            checksum: Vec::new(),
        };
        Some(Kind::CompleteUpload(CompleteUpload {
            bucket: "b".into(),
            key,
            upload_id: id(upload),
            parts: numbers.into_iter().map(named).collect(),
            version_id: id(content),
            ..Default::default()
        }))
    }

    /// The command for `op`, if one can be made now.
    fn command(&mut self, op: &Op, world: &mut World) -> Option<Kind> {
        let name = |key: u8| format!("k{key}");
        match *op {
            Op::Put { key, clock, if_absent } => {
                let content = self.next(clock);
                Some(self.put(&name(key), content, if_absent))
            }
            Op::Delete { key } => Some(self.delete(&name(key))),
            Op::DeleteNull { key } => {
                self.keys.entry(name(key)).or_default().retain(|version| !version.null);
                Some(delete(&name(key), Selector::Null(true), 1))
            }
            Op::DeleteNth { key, nth } => self.delete_nth(&name(key), nth, world),
            Op::Versioning(versioning) => {
                self.versioning = versioning;
                world.set_bucket("b", versioning);
                None
            }
            Op::CreateUpload { key } => {
                let upload = self.next(0);
                self.uploads.push((name(key), upload, BTreeMap::new()));
                let record = UploadRecord {
                    upload_id: id(upload),
                    bucket: "b".into(),
                    key: name(key),
                    ..Default::default()
                };
                Some(Kind::CreateUpload(CreateUpload { upload: record }))
            }
            Op::PutPart { upload, number } => self.put_part(upload, number),
            Op::Complete { upload, parts } => self.complete(upload, parts),
            Op::Abort { upload } => {
                let (key, upload, _) = self.uploads.remove(self.upload(upload)?);
                Some(Kind::AbortUpload(AbortUpload { bucket: "b".into(), key, upload_id: id(upload) }))
            }
            Op::Reclaim => {
                let queue = crate::read::reclaim_queue(&world.kv.snapshot(), None, 3).unwrap();
                let data_ids: Vec<_> = queue.iter().map(|record| record.data_id).collect();
                self.introduced.retain(|id| !data_ids.contains(id));
                Some(Kind::Reclaimed(Reclaimed { data_ids }))
            }
        }
    }
}

fn proposed(version: &VersionRecord) -> u64 {
    u128::from_be_bytes(version.proposed_id.unwrap_or(version.version_id).to_bytes()) as u64
}

fn stored(world: &World) -> BTreeMap<String, Vec<ModelVersion>> {
    let page =
        list::versions(&world.kv.snapshot(), "b", list::Query { max: 100_000, ..Default::default() }, None);
    let mut keys: BTreeMap<String, Vec<ModelVersion>> = BTreeMap::new();
    for entry in page.unwrap().entries {
        let list::Entry::Row(list::ListedVersion { key, version, is_latest }) = entry else { unreachable!() };
        let list = keys.entry(key).or_default();
        assert_eq!(is_latest, list.is_empty());
        let seen = ModelVersion {
            content: proposed(&version),
            null: version.null_version,
            marker: version.is_delete_marker(),
        };
        list.push(seen);
    }
    keys
}

fn all_rows(world: &World) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    world
        .kv
        .snapshot()
        .scan(&[0], &[0xff], &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn random_histories_keep_the_invariants(ops in prop::collection::vec(any_op(), 0..60)) {
        let mut world = World::with_bucket(Versioning::Unversioned);
        let mut model = Model {
            versioning: Versioning::Unversioned,
            keys: BTreeMap::new(),
            uploads: Vec::new(),
            introduced: BTreeSet::new(),
            number: 0,
        };
        let mut history = Vec::new();
        for op in &ops {
            let Some(kind) = model.command(op, &mut world) else {
                history.push(Err(model.versioning));
                continue;
            };
            // The clock jumps now and then, in either direction.
            world.at_ms = model.number * 7919 % 5000;
            history.push(Ok((world.at_ms, kind.clone())));
            world.run(kind);
            model.keys.retain(|_, list| !list.is_empty());
            prop_assert_eq!(&stored(&world), &model.keys, "after {:?}", op);
            let blobs: BTreeSet<_> = check_invariants(&world.kv.snapshot()).into_iter().collect();
            prop_assert_eq!(&blobs, &model.introduced, "a blob is lost or leaked after {:?}", op);
        }
        // Once more, in the largest possible batches.
        let mut again = World::with_bucket(Versioning::Unversioned);
        let mut batch = Vec::new();
        for step in history {
            match step {
                Ok(command) => batch.push(command),
                Err(versioning) => {
                    again.run_at(std::mem::take(&mut batch));
                    again.set_bucket("b", versioning);
                }
            }
        }
        again.run_at(batch);
        prop_assert_eq!(all_rows(&again), all_rows(&world), "batches make no difference");
    }
}
