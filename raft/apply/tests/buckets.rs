use super::*;

fn create(name: &str, owner: &str) -> Kind {
    Kind::CreateBucket(CreateBucket { name: name.into(), owner: owner.into() })
}

fn remove(name: &str) -> Kind {
    Kind::DeleteBucket(DeleteBucket { name: name.into() })
}

#[test]
fn a_bucket_is_created_once_and_deleted_once() {
    let mut world = World::new();
    assert_eq!(world.run(create("x", "o")), Outcome::Done);
    let Change::Bucket { name, record: Some(record) } = &world.changes[0] else {
        panic!("{:?}", world.changes)
    };
    assert_eq!((name.as_str(), record.created_ms, record.owner.as_str()), ("x", 1000, "o"));
    assert_eq!(world.run(create("x", "o")), Outcome::BucketAlreadyExists { same_owner: true });
    assert_eq!(world.run(create("x", "p")), Outcome::BucketAlreadyExists { same_owner: false });
    assert_eq!(world.run(remove("x")), Outcome::Done);
    assert_eq!(world.changes, [Change::Bucket { name: "x".into(), record: None }]);
    assert_eq!(world.run(remove("x")), Outcome::NoSuchBucket);
    assert_eq!(world.rows(key::TAG_BUCKET), 0);
}

#[test]
fn commands_of_one_batch_see_each_other() {
    let mut world = World::new();
    let outcomes = world.run_all(vec![create("b", "o"), put("k", 1, None), remove("b"), put("k", 2, None)]);
    assert_eq!(outcomes[0], Outcome::Done);
    assert_eq!(written(&outcomes[1]).version_id, id(1));
    assert_eq!(outcomes[2], Outcome::BucketNotEmpty);
    assert_eq!(written(&outcomes[3]).version_id, id(2));
    assert_eq!(world.versions("k"), "2n");
    let outcomes =
        world.run_all(vec![delete("k", Selector::Current(true), 9), remove("b"), put("k", 3, None)]);
    assert_eq!(outcomes[1..], [Outcome::Done, Outcome::NoSuchBucket]);
    assert_eq!(world.rows(key::TAG_RECLAIM), 3, "nothing is left behind");
}

#[test]
fn names_that_cannot_be_in_row_keys_are_refused() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    for name in ["", "b\0", &"b".repeat(256)] {
        assert_eq!(world.run(create(name, "o")), Outcome::InvalidKey);
        assert_eq!(world.run(remove(name)), Outcome::InvalidKey);
    }
    for key in ["", "k\0", &"k".repeat(1025)] {
        assert_eq!(world.put(key, 1), Outcome::InvalidKey);
        assert_eq!(world.reclaimed_now(), [id(1)], "a refused write leaves nothing behind");
        assert_eq!(world.run(delete(key, Selector::Current(true), 2)), Outcome::InvalidKey);
    }
}

#[test]
fn a_bucket_with_a_delete_marker_is_not_empty() {
    let mut world = World::with_bucket(Versioning::Enabled);
    world.run(delete("k", Selector::Current(true), 1));
    assert_eq!(world.run(remove("b")), Outcome::BucketNotEmpty);
    world.run(delete("k", Selector::Id(id(1)), 2));
    assert_eq!(world.run(remove("b")), Outcome::Done);
}

#[test]
fn deleting_a_bucket_ends_its_uploads() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    world.set_bucket("c", Versioning::Unversioned);
    for (bucket, number) in [("b", 1), ("c", 2)] {
        let upload = UploadRecord {
            upload_id: id(number),
            bucket: bucket.into(),
            key: "k".into(),
            ..Default::default()
        };
        world.run(Kind::CreateUpload(CreateUpload { upload }));
        let part = PartRecord {
            number: 1,
            blob: BlobRef { data_id: id(number), ..blob(0, 1) },
            size: 1,
            ..Default::default()
        };
        let put = PutPart { bucket: bucket.into(), key: "k".into(), upload_id: id(number), part };
        assert_eq!(world.run(Kind::PutPart(put)), Outcome::Done);
    }
    assert_eq!(world.run(remove("b")), Outcome::Done);
    assert_eq!(world.reclaimed_now(), [id(1)]);
    assert!(world.changes.contains(&Change::Upload { upload_id: id(1), open: false }));
    assert_eq!(world.rows(key::TAG_UPLOAD), 2, "those of the other bucket stay");
}

#[test]
fn a_command_without_a_known_kind_is_refused() {
    let mut world = World::new();
    let snapshot = world.kv.snapshot();
    let mut session = world.applier.begin(&snapshot);
    let command = Command { kind: None, ..Default::default() };
    assert_eq!(session.apply(command, &mut Vec::new()).unwrap(), Outcome::UnknownCommand);
    let command = Command::new([0; 16], 0, Kind::DeleteVersion(DeleteVersion::default()));
    assert_eq!(session.apply(command, &mut Vec::new()).unwrap(), Outcome::UnknownCommand);
    assert!(session.finish().is_empty());
}

#[test]
fn a_corrupt_row_is_an_error_not_an_outcome() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    let mut batch = Batch::default();
    batch.put(Name::new("b", "k").unwrap().current(), vec![9]);
    world.kv.write(batch).unwrap();
    let snapshot = world.kv.snapshot();
    let command = Command::new([0; 16], 0, put("k", 1, None));
    let result = world.applier.begin(&snapshot).apply(command, &mut Vec::new());
    assert!(matches!(result, Err(crate::Error::Corrupt { .. })));
}
