use super::*;

const CURRENT: Selector = Selector::Current(true);
const NULL: Selector = Selector::Null(true);

fn if_match(tags: &[&str]) -> Option<Precondition> {
    Some(Precondition { if_match: tags.iter().map(|&t| t.to_owned()).collect(), ..Default::default() })
}

fn if_none_match(tags: &[&str]) -> Option<Precondition> {
    Some(Precondition { if_none_match: tags.iter().map(|&t| t.to_owned()).collect(), ..Default::default() })
}

fn if_match_any() -> Option<Precondition> {
    Some(Precondition { if_match_any: true, ..Default::default() })
}

fn if_absent() -> Option<Precondition> {
    Some(Precondition { if_none_match_any: true, ..Default::default() })
}

fn delete_if(key: &str, selector: Selector, precondition: Option<Precondition>) -> Kind {
    let Kind::DeleteVersion(delete) = delete(key, selector, 99) else { unreachable!() };
    Kind::DeleteVersion(DeleteVersion { precondition, ..delete })
}

fn tag(number: u64) -> String {
    version(number).etag()
}

#[test]
fn a_put_replaces_the_only_version_and_releases_its_blob() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    let first = world.put("k", 2);
    assert!(written(&first).null_version);
    assert_eq!(world.reclaimed_now(), []);
    let second = world.put("k", 1);
    assert_eq!(world.versions("k"), "1n", "the later command counts, not the later id");
    assert_eq!(world.reclaimed_now(), [id(2)]);
    let Change::Key { bucket, key, current } = &world.changes[1] else { panic!("{:?}", world.changes) };
    assert_eq!((bucket.as_str(), key.as_str()), ("b", "k"));
    assert_eq!(current.as_deref(), Some(written(&second)));
    let rows: Vec<_> = crate::read::reclaim_queue(&world.kv.snapshot(), None, 9).unwrap();
    assert_eq!((rows.len(), rows[0].data_id, rows[0].partition, rows[0].since_ms), (1, id(2), 7, 1000));
    assert!(crate::read::reclaim_queue(&world.kv.snapshot(), Some(id(2)), 9).unwrap().is_empty());
    world.run(Kind::Reclaimed(Reclaimed { data_ids: vec![id(2), id(77)] }));
    assert_eq!(world.rows(key::TAG_RECLAIM), 0);
}

#[test]
fn a_new_key_costs_one_read_and_two_rows() {
    struct Reads<R>(R, std::cell::RefCell<Vec<u8>>);
    impl<R: Reader> Reader for Reads<R> {
        fn get(&self, key: &[u8]) -> Result<Option<crate::kv::Slice>> {
            self.1.borrow_mut().push(key[0]);
            self.0.get(key)
        }
        fn scan(&self, _: &[u8], _: &[u8], _: &mut crate::kv::Visit<'_>) -> Result<()> {
            panic!("no scan")
        }
    }
    let mut world = World::with_bucket(Versioning::Unversioned);
    world.put("warm", 1);
    let reads = Reads(world.kv.snapshot(), Default::default());
    let mut session = world.applier.begin(&reads);
    session.apply(Command::new([0; 16], 0, put("k", 2, None)), &mut Vec::new()).unwrap();
    let tags: Vec<u8> = session.finish().changes.iter().map(|(key, _)| key[0]).collect();
    assert_eq!((tags.as_slice(), reads.1.borrow().as_slice()), (&b"cv"[..], &b"c"[..]));
}

#[test]
fn the_same_put_twice_has_one_effect() {
    for versioning in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
        let mut world = World::with_bucket(versioning);
        let first = world.run(put("k", 1, if_absent()));
        let rows = world.kv.snapshot();
        assert_eq!(world.run(put("k", 1, if_absent())), first);
        assert_eq!(world.changes, []);
        assert_eq!(world.rows(key::TAG_VERSION) + world.rows(key::TAG_RECLAIM), 1);
        drop(rows);
    }
}

#[test]
fn a_refused_put_leaves_nothing_behind() {
    let mut world = World::new();
    assert_eq!(world.put("k", 1), Outcome::NoSuchBucket);
    assert_eq!(world.reclaimed_now(), [id(1)]);
    world.set_bucket("b", Versioning::Unversioned);
    for wrong in [
        VersionRecord { size: 11, ..version(2) },
        VersionRecord { kind: VersionKind::DeleteMarker.into(), ..version(2) },
        VersionRecord { kind: 77, ..version(2) },
    ] {
        let put = PutVersion { bucket: "b".into(), key: "k".into(), version: wrong, precondition: None };
        assert_eq!(world.run(Kind::PutVersion(put)), Outcome::InvalidRecord);
        assert_eq!(world.reclaimed_now(), [id(2)]);
    }
    assert_eq!(world.rows(key::TAG_VERSION), 0);
}

#[test]
fn preconditions_of_a_put_apply_to_the_current_object() {
    for versioning in [Versioning::Unversioned, Versioning::Enabled] {
        let mut world = World::with_bucket(versioning);
        assert_eq!(world.run(put("k", 1, if_match_any())), Outcome::NoSuchKey);
        assert_eq!(world.reclaimed_now(), [id(1)]);
        assert_eq!(world.run(put("k", 2, if_match(&["x"]))), Outcome::NoSuchKey);
        written(&world.run(put("k", 3, if_absent())));
        assert_eq!(world.run(put("k", 4, if_absent())), Outcome::PreconditionFailed);
        assert_eq!(world.reclaimed_now(), [id(4)]);
        assert_eq!(world.run(put("k", 5, if_match(&["x"]))), Outcome::PreconditionFailed);
        assert_eq!(world.run(put("k", 6, if_none_match(&["x", &tag(3)]))), Outcome::PreconditionFailed);
        written(&world.run(put("k", 7, if_match(&["x", &tag(3)]))));
        written(&world.run(put("k", 8, if_none_match(&[&tag(3)]))));
        written(&world.run(put("k", 9, if_match_any())));
        world.run(delete("k", CURRENT, 10));
        assert_eq!(
            world.run(put("k", 11, if_match_any())),
            Outcome::NoSuchKey,
            "a delete marker is no object"
        );
        written(&world.run(put("k", 12, if_absent())));
    }
}

#[test]
fn preconditions_of_a_delete_apply_to_what_it_deletes() {
    let mut world = World::with_bucket(Versioning::Enabled);
    assert_eq!(world.run(delete_if("k", CURRENT, if_match_any())), Outcome::NoSuchKey);
    world.put("k", 1);
    world.put("k", 2);
    assert_eq!(world.run(delete_if("k", CURRENT, if_match(&[&tag(1)]))), Outcome::PreconditionFailed);
    assert_eq!(
        world.run(delete_if("k", Selector::Id(id(1)), if_match(&[&tag(2)]))),
        Outcome::PreconditionFailed
    );
    world.run(delete_if("k", Selector::Id(id(1)), if_match(&[&tag(1)])));
    assert_eq!(world.versions("k"), "2");
    let mut world = World::with_bucket(Versioning::Unversioned);
    world.put("k", 1);
    assert_eq!(world.run(delete_if("k", CURRENT, if_match(&["x"]))), Outcome::PreconditionFailed);
    world.run(delete_if("k", CURRENT, if_match(&[&tag(1)])));
    assert_eq!(world.versions("k"), "");
}

#[test]
fn a_bucket_that_never_kept_versions_deletes_for_good() {
    for selector in [CURRENT, NULL] {
        let mut world = World::with_bucket(Versioning::Unversioned);
        world.put("k", 1);
        let outcome = world.run(delete("k", selector.clone(), 2));
        let deleted = Outcome::Deleted {
            version_id: Some(id(1)),
            null_version: true,
            delete_marker: false,
            existed: true,
        };
        assert_eq!(outcome, deleted);
        assert_eq!(world.reclaimed_now(), [id(1)]);
        assert!(world.changes.contains(&Change::Key { bucket: "b".into(), key: "k".into(), current: None }));
        let again = world.run(delete("k", selector, 3));
        let nothing =
            Outcome::Deleted { version_id: None, null_version: false, delete_marker: false, existed: false };
        assert_eq!((again, world.changes.len()), (nothing, 0));
    }
}

#[test]
fn clients_cannot_use_the_id_of_the_null_version() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    world.put("k", 1);
    assert!(matches!(
        world.run(delete("k", Selector::Id(id(1)), 2)),
        Outcome::Deleted { existed: false, .. }
    ));
    let name = Name::new("b", "k").unwrap();
    assert_eq!(crate::read::version(&world.kv.snapshot(), name, &Selector::Id(id(1))).unwrap(), None);
    assert!(crate::read::version(&world.kv.snapshot(), name, &NULL).unwrap().is_some());
}

#[test]
fn a_bucket_that_keeps_versions_adds_and_hides_and_uncovers() {
    let mut world = World::with_bucket(Versioning::Enabled);
    world.put("k", 1);
    world.put("k", 2);
    let hidden = world.run(delete("k", CURRENT, 3));
    let marker =
        Outcome::Deleted { version_id: Some(id(3)), null_version: false, delete_marker: true, existed: true };
    assert_eq!(hidden, marker);
    assert_eq!(world.run(delete("k", CURRENT, 3)), marker, "the same delete twice");
    assert_eq!(world.versions("k"), "3d 2 1");
    let name = Name::new("b", "k").unwrap();
    assert_eq!(crate::read::current(&world.kv.snapshot(), name).unwrap(), None);
    assert!(crate::read::newest(&world.kv.snapshot(), name).unwrap().unwrap().is_delete_marker());
    world.run(delete("k", Selector::Id(id(3)), 4));
    assert_eq!(crate::read::current(&world.kv.snapshot(), name).unwrap().unwrap().version_id, id(2));
    world.run(delete("k", Selector::Id(id(1)), 4));
    assert_eq!(world.reclaimed_now(), [id(1)]);
    assert_eq!(world.versions("k"), "2");
}

#[test]
fn a_suspended_bucket_replaces_the_null_version_only() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    world.put("k", 1);
    world.set_bucket("b", Versioning::Enabled);
    world.put("k", 2);
    world.set_bucket("b", Versioning::Suspended);
    assert_eq!(world.versions("k"), "2 1n");
    world.put("k", 3);
    assert_eq!((world.versions("k").as_str(), world.reclaimed_now()), ("3n 2", vec![id(1)]));
    let hidden = world.run(delete("k", CURRENT, 4));
    assert!(matches!(hidden, Outcome::Deleted { null_version: true, delete_marker: true, .. }));
    assert_eq!((world.versions("k").as_str(), world.reclaimed_now()), ("4nd 2", vec![id(3)]));
    world.run(delete("k", NULL, 5));
    assert_eq!(world.versions("k"), "2");
}

#[test]
fn an_id_from_a_slow_clock_is_moved_after_the_newest() {
    let mut world = World::with_bucket(Versioning::Enabled);
    world.put("k", 100);
    let late = world.put("k", 50);
    assert_eq!((written(&late).version_id, written(&late).proposed_id), (id(101), Some(id(50))));
    assert_eq!(world.versions("k"), "101 100");
    assert_eq!(world.put("k", 50), late, "and recognized when it is repeated");
    world.put("k", 200);
    assert_eq!(world.put("k", 50), late);
    assert_eq!(world.versions("k"), "200 101 100");
}

#[test]
fn a_retry_of_a_replaced_put_does_not_bring_its_blob_back() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    world.put("k", 1);
    world.put("k", 2);
    world.retry = true;
    assert_eq!(world.put("k", 1), Outcome::Superseded);
    assert_eq!(world.versions("k"), "2n");
}

#[test]
fn a_refused_retry_releases_nothing() {
    let mut world = World::with_bucket(Versioning::Unversioned);
    world.put("k", 1);
    world.retry = true;
    assert_eq!(world.run(put("k", 2, if_absent())), Outcome::PreconditionFailed);
    assert_eq!(world.reclaimed_now(), []);
}

/// A version had the time at which its request began. A PUT with a slow body, or one on a core whose clock had
/// jumped back, made an object look older than the one it replaced, and If-Modified-Since hid it.
#[test]
fn the_time_of_a_key_never_goes_back() {
    for versioning in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
        let mut world = World::with_bucket(versioning);
        let mut times = Vec::new();
        for (number, at_ms) in [(1, 1000), (2, 900), (3, 1000), (4, 1200), (5, 0)] {
            world.at_ms = at_ms;
            times.push(written(&world.put("k", number)).modified_ms);
        }
        assert_eq!(times, [1000, 1000, 1000, 1200, 1200]);
        if versioning != Versioning::Unversioned {
            world.at_ms = 700;
            world.run(delete("k", CURRENT, 6));
            let marker = crate::read::newest(&world.kv.snapshot(), Name::new("b", "k").unwrap()).unwrap();
            assert_eq!(marker.unwrap().modified_ms, 1200, "nor does a delete marker's");
            assert_eq!(written(&world.put("k", 7)).modified_ms, 1200);
        }
        assert_eq!(written(&world.put("other", 8)).modified_ms, world.at_ms, "each key has its own time");
    }
}
