use super::*;
use crate::{Error, key};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn rows(reader: &impl Reader, start: &[u8], end: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut out = Vec::new();
    reader
        .scan(start, end, &mut |k, v| {
            out.push((k.to_vec(), v.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    out
}

fn all(reader: &impl Reader) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows(reader, &[0], &[0xff])
}

fn batch(changes: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    batch
}

/// What both stores must do.
fn conforms(kv: &impl Kv) {
    kv.write(batch(&[("ca", Some("1")), ("va", Some("2")), ("za", Some("3")), ("sapplied", Some("x"))]))
        .unwrap();
    let before = kv.snapshot();
    kv.write(batch(&[("ca", None), ("vb", Some("4")), ("ua", Some("5")), ("ua", Some("6"))])).unwrap();
    assert_eq!(before.get(b"ca").unwrap().as_deref(), Some(&b"1"[..]), "a snapshot does not move");
    assert_eq!(before.get(b"vb").unwrap(), None);
    let now = kv.snapshot();
    let keys: Vec<_> = all(&now).into_iter().map(|(k, _)| String::from_utf8(k).unwrap()).collect();
    assert_eq!(keys, ["sapplied", "ua", "va", "vb", "za"], "in order over all tags");
    assert_eq!(now.get(b"ua").unwrap().as_deref(), Some(&b"6"[..]), "the later change of a batch wins");
    assert_eq!(rows(&now, b"va", b"vb"), [(b"va".to_vec(), b"2".to_vec())], "the end is exclusive");
    assert!(rows(&now, b"z", b"a").is_empty(), "a reversed range is empty");
    let mut seen = 0;
    now.scan(&[0], &[0xff], &mut |_, _| {
        seen += 1;
        Ok(if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .unwrap();
    assert_eq!(seen, 2, "a scan stops where the visitor breaks");
    let failing = now.scan(&[0], &[0xff], &mut |_, _| Err(Error::Poisoned));
    assert_eq!(failing, Err(Error::Poisoned), "a visitor's error comes out");
    kv.persist().unwrap();
    drop((before, now));

    let new = [("b1", "x"), ("sapplied", "y"), ("v2", "z")];
    kv.replace(&mut new.iter().map(|(k, v)| Ok((k.as_bytes().to_vec(), v.as_bytes().to_vec())))).unwrap();
    let expected: Vec<_> = new.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
    assert_eq!(all(&kv.snapshot()), expected, "replaced as a whole");

    let mut broken = vec![Ok((b"b9".to_vec(), vec![])), Ok((b"sapplied".to_vec(), vec![1]))].into_iter();
    let mut broken = broken.by_ref().chain(std::iter::once(Err(Error::Corrupt { what: "x", why: "y" })));
    assert!(kv.replace(&mut broken).is_err());
    assert_eq!(kv.snapshot().get(key::APPLIED).unwrap(), None, "half a replacement does not look complete");
}

#[test]
fn the_store_in_memory_keeps_the_promise() {
    conforms(&MemoryKv::new());
}

#[test]
fn the_store_on_disk_keeps_the_promise_and_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let kv = FjallKv::open(folder.path()).unwrap();
    conforms(&kv);
    kv.write(batch(&[("ca", Some("last")), ("va", Some("too"))])).unwrap();
    let before = all(&kv.snapshot());
    drop(kv);
    let kv = FjallKv::open(folder.path()).unwrap();
    assert_eq!(all(&kv.snapshot()), before, "a clear and what came after it survive reopening");
}

#[test]
fn a_store_that_is_open_is_not_opened_twice() {
    let folder = tempfile::tempdir().unwrap();
    let _kv = FjallKv::open(folder.path()).unwrap();
    assert!(matches!(FjallKv::open(folder.path()), Err(Error::Store(_))));
}

#[test]
fn a_crash_loses_a_suffix_of_what_was_not_persisted() {
    let kv = MemoryKv::new();
    kv.write(batch(&[("a", Some("1"))])).unwrap();
    kv.persist().unwrap();
    for (key, value) in [("b", "2"), ("a", "3"), ("c", "4")] {
        kv.write(batch(&[(key, Some(value))])).unwrap();
    }
    assert_eq!(kv.unpersisted(), 3);
    let left = |keep| all(&kv.crash(keep).snapshot()).len();
    assert_eq!((left(0), left(1), left(2), left(3)), (1, 2, 2, 3));
    assert_eq!(kv.crash(2).snapshot().get(b"a").unwrap().as_deref(), Some(&b"3"[..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn both_stores_agree_with_a_map(
        batches in prop::collection::vec(
            prop::collection::vec(("[bcvuz][ab]{0,2}", prop::option::of("[xy]{0,3}")), 0..6), 1..12),
        (start, end) in ("[bcvuz][ab]{0,2}", "[bcvuz][ab]{0,2}"),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let disk = FjallKv::open(folder.path()).unwrap();
        let memory = MemoryKv::new();
        let mut model = BTreeMap::new();
        for changes in &batches {
            let changes: Vec<_> = changes.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
            disk.write(batch(&changes)).unwrap();
            memory.write(batch(&changes)).unwrap();
            for (k, v) in changes {
                match v {
                    Some(v) => drop(model.insert(k.as_bytes().to_vec(), v.as_bytes().to_vec())),
                    None => drop(model.remove(k.as_bytes())),
                }
            }
        }
        let (start, end) = (start.as_bytes(), end.as_bytes());
        let expected: Vec<_> = model.into_iter().filter(|(k, _)| k.as_slice() >= start && k.as_slice() < end).collect();
        prop_assert_eq!(&rows(&disk.snapshot(), start, end), &expected);
        prop_assert_eq!(&rows(&memory.snapshot(), start, end), &expected);
    }
}
