use super::*;
use crate::{
    kv::{Batch, Kv, MemoryKv},
    record::VersionKind,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn id(byte: u8) -> Bytes16 {
    [byte; 16].into()
}

/// A store with these keys in bucket `b`, and some in neighbouring buckets.
fn store(keys: &BTreeSet<String>) -> MemoryKv {
    let mut batch = Batch::default();
    for key in keys {
        batch.put(Name::new("b", key).unwrap().current(), CurrentRecord::default().to_row());
    }
    for beside in ["a", "b!", "c"] {
        batch.put(Name::new(beside, "k").unwrap().current(), CurrentRecord::default().to_row());
    }
    let kv = MemoryKv::new();
    kv.write(batch).unwrap();
    kv
}

fn keys(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&key| key.to_owned()).collect()
}

/// A page as text, common prefixes in brackets, and the next marker.
fn page(kv: &MemoryKv, query: Query<'_>) -> (Vec<String>, Option<String>) {
    let page = objects(&kv.snapshot(), "b", query).unwrap();
    let text = |entry| match entry {
        Entry::Row(ListedObject { key, .. }) => key,
        Entry::CommonPrefix(common) => format!("[{common}]"),
    };
    (page.entries.into_iter().map(text).collect(), page.next)
}

fn query<'a>(prefix: &'a str, delimiter: &'a str, marker: &'a str, max: usize) -> Query<'a> {
    Query { prefix, delimiter: Some(delimiter), marker, max }
}

/// What S3 lists, as plainly as possible.
fn model(keys: &BTreeSet<String>, query: Query<'_>) -> (Vec<String>, Option<String>) {
    let mut entries: Vec<(String, bool)> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(query.prefix) && key.as_str() > query.marker) {
        let rest = &key[query.prefix.len()..];
        let delimiter = query.delimiter.filter(|d| !d.is_empty());
        let entry = match delimiter.and_then(|d| rest.find(d).map(|at| at + d.len())) {
            Some(len) => (key[..query.prefix.len() + len].to_owned(), true),
            None => (key.clone(), false),
        };
        let seen = entry.1 && entry.0 == query.marker;
        if !seen && entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    let more = query.max > 0 && entries.len() > query.max;
    entries.truncate(query.max);
    let next = entries.last().filter(|_| more).map(|(name, _)| name.clone());
    (
        entries.into_iter().map(|(name, common)| if common { format!("[{name}]") } else { name }).collect(),
        next,
    )
}

#[test]
fn a_delimiter_groups_and_a_page_ends_with_its_marker() {
    let kv = store(&keys(&["a", "d/1", "d/2", "d//3", "e", "f/x", "ü"]));
    assert_eq!(page(&kv, query("", "/", "", 9)).0, ["a", "[d/]", "e", "[f/]", "ü"]);
    assert_eq!(page(&kv, query("", "/", "", 2)), (vec!["a".into(), "[d/]".into()], Some("d/".into())));
    assert_eq!(page(&kv, query("", "/", "d/", 2)), (vec!["e".into(), "[f/]".into()], Some("f/".into())));
    assert_eq!(page(&kv, query("", "/", "f/", 2)), (vec!["ü".into()], None));
    assert_eq!(page(&kv, query("d/", "/", "", 9)).0, ["[d//]", "d/1", "d/2"]);
    assert_eq!(page(&kv, query("", "", "", 3)).0, ["a", "d//3", "d/1"], "an empty delimiter groups nothing");
}

#[test]
fn a_marker_inside_a_common_prefix_has_not_seen_it() {
    let kv = store(&keys(&["d/1", "d/2", "e"]));
    assert_eq!(page(&kv, query("", "/", "d/1", 9)).0, ["[d/]", "e"]);
    assert_eq!(page(&kv, query("", "/", "d/2", 9)).0, ["e"], "none of its keys follows");
}

#[test]
fn pages_that_ask_for_nothing_or_the_impossible_are_empty() {
    let kv = store(&keys(&["a", "a\u{1}"]));
    assert_eq!(page(&kv, query("", "/", "", 0)), (vec![], None));
    assert_eq!(page(&kv, query("a\0", "/", "", 9)), (vec![], None), "no key holds a NUL");
    assert_eq!(page(&kv, query("", "/", "a\0b", 9)).0, ["a\u{1}"], "after a NUL come the longer keys");
    assert_eq!(page(&kv, query("", "/", "zz", 9)), (vec![], None));
    assert!(objects(&kv.snapshot(), "", query("", "", "", 9)).unwrap().entries.is_empty());
}

/// Counts the rows that a listing looks at.
struct Counting<R>(R, std::cell::Cell<usize>);

impl<R: Reader> Reader for Counting<R> {
    fn get(&self, key: &[u8]) -> Result<Option<crate::kv::Slice>> {
        self.0.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut crate::kv::Visit<'_>) -> Result<()> {
        self.0.scan(start, end, &mut |key, value| {
            self.1.set(self.1.get() + 1);
            visit(key, value)
        })
    }
}

#[test]
fn a_common_prefix_of_many_keys_is_skipped_not_read() {
    let many: BTreeSet<_> = (0..10).flat_map(|d| (0..1000).map(move |k| format!("{d}/{k:04}"))).collect();
    let reader = Counting(store(&many).snapshot(), Default::default());
    let page = objects(&reader, "b", query("", "/", "", 1000)).unwrap();
    assert_eq!(page.entries.len(), 10);
    assert!(reader.1.get() <= 10 * (STEPS_BEFORE_SEEK + 2), "{} rows", reader.1.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn listings_agree_with_the_model(
        list in prop::collection::btree_set("[a/ü]{1,5}", 0..60),
        (prefix, delimiter, marker) in ("[a/ü]{0,2}", "(/|a/|ü|)", "[a/ü]{0,3}"), max in 0..8usize,
    ) {
        let kv = store(&list);
        let query = query(&prefix, &delimiter, &marker, max);
        prop_assert_eq!(page(&kv, query), model(&list, query));
    }

    #[test]
    fn pages_together_are_the_whole(list in prop::collection::btree_set("[ab/]{1,4}", 0..60), max in 1..5usize) {
        let kv = store(&list);
        let whole = page(&kv, query("", "/", "", 1000)).0;
        let (mut all, mut marker) = (Vec::new(), Some(String::new()));
        while let Some(from) = marker {
            let (entries, next) = page(&kv, query("", "/", &from, max));
            all.extend(entries);
            marker = next;
        }
        prop_assert_eq!(all, whole);
    }
}

/// Keys with their versions, newest first; version 0xee is the null version, odd ids are delete markers.
fn versioned(list: &[(&str, &[u8])]) -> MemoryKv {
    let mut batch = Batch::default();
    for (key, ids) in list {
        for &byte in *ids {
            let kind = if byte % 2 == 1 { VersionKind::DeleteMarker } else { VersionKind::Object };
            let null_version = byte == 0xee;
            let version =
                VersionRecord { version_id: id(byte), null_version, kind: kind.into(), ..Default::default() };
            batch.put(Name::new("b", key).unwrap().version(id(byte)), version.to_row());
        }
    }
    let kv = MemoryKv::new();
    kv.write(batch).unwrap();
    kv
}

type Pages = (Vec<String>, Option<(String, Option<VersionMarker>)>);

fn version_page(kv: &MemoryKv, query: Query<'_>, version: Option<VersionMarker>) -> Pages {
    let page = versions(&kv.snapshot(), "b", query, version).unwrap();
    let text = |entry| match entry {
        Entry::Row(ListedVersion { key, version, is_latest }) => {
            let latest = if is_latest { "*" } else { "" };
            format!("{key}:{:x}{latest}", version.version_id.to_bytes()[0])
        }
        Entry::CommonPrefix(common) => format!("[{common}]"),
    };
    (page.entries.into_iter().map(text).collect(), page.next)
}

#[test]
fn versions_are_listed_newest_first_and_pages_may_end_inside_a_key() {
    let kv = versioned(&[("a", &[0xf2, 0xee, 0x10]), ("d/x", &[4]), ("d/y", &[6]), ("k", &[9, 8])]);
    let all = query("", "/", "", 9);
    assert_eq!(version_page(&kv, all, None).0, ["a:f2*", "a:ee", "a:10", "[d/]", "k:9*", "k:8"]);
    let two = query("", "/", "", 2);
    let null = Some(VersionMarker::Null);
    assert_eq!(version_page(&kv, two, None), (vec!["a:f2*".into(), "a:ee".into()], Some(("a".into(), null))));
    let next = version_page(&kv, Query { marker: "a", ..two }, null);
    assert_eq!(next, (vec!["a:10".into(), "[d/]".into()], Some(("d/".into(), None))));
    let next = version_page(&kv, Query { marker: "d/", max: 1, ..two }, None);
    assert_eq!(next, (vec!["k:9*".into()], Some(("k".into(), Some(VersionMarker::Id(id(9)))))));
    let next = version_page(&kv, Query { marker: "k", ..two }, Some(VersionMarker::Id(id(9))));
    assert_eq!(next, (vec!["k:8".into()], None));
    assert_eq!(
        version_page(&kv, Query { marker: "a", ..all }, None).0[0],
        "[d/]",
        "a key marker alone: all of it"
    );
}

#[test]
fn a_marker_keeps_its_place_after_its_version_is_deleted() {
    let kv = versioned(&[("a", &[0x20, 0x10])]);
    let from = |marker| version_page(&kv, query("", "", "a", 9), Some(marker)).0;
    assert_eq!(from(VersionMarker::Id(id(0x30))), ["a:20*", "a:10"]);
    assert_eq!(from(VersionMarker::Id(id(0x18))), ["a:10"]);
    assert_eq!(from(VersionMarker::Null), ["a:20*", "a:10"], "the list starts again");
}

/// Uploads (key, id), each with this many parts.
fn uploading(list: &[(&str, u8)], parts: u16) -> MemoryKv {
    let mut batch = Batch::default();
    for &(key, byte) in list {
        let name = Name::new("b", key).unwrap();
        let record = UploadRecord { upload_id: id(byte), key: key.into(), ..Default::default() };
        batch.put(name.upload(id(byte)), record.to_row());
        for number in 1..=parts {
            let blob = crate::record::tests::blob(byte, 0);
            let part = PartRecord { number: number.into(), blob, ..Default::default() };
            batch.put(name.part(id(byte), number), part.to_row());
        }
    }
    let kv = MemoryKv::new();
    kv.write(batch).unwrap();
    kv
}

#[test]
fn uploads_are_listed_by_key_then_age_without_reading_their_parts() {
    let kv = uploading(&[("a", 2), ("a", 9), ("d/x", 1), ("k", 3)], 500);
    let reader = Counting(kv.snapshot(), Default::default());
    let list = |query: Query<'_>, upload| {
        let page = uploads(&reader, "b", query, upload).unwrap();
        let text = |entry: Entry<UploadRecord>| match entry {
            Entry::Row(upload) => format!("{}:{}", upload.key, upload.upload_id.to_bytes()[0]),
            Entry::CommonPrefix(common) => format!("[{common}]"),
        };
        (page.entries.into_iter().map(text).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list(query("", "/", "", 9), None).0, ["a:2", "a:9", "[d/]", "k:3"]);
    assert!(reader.1.get() < 100, "{} rows", reader.1.get());
    assert_eq!(list(query("", "/", "", 1), None).1, Some(("a".into(), Some(id(2)))));
    assert_eq!(
        list(query("", "/", "a", 2), Some(id(2))),
        (vec!["a:9".into(), "[d/]".into()], Some(("d/".into(), None)))
    );
    assert_eq!(list(query("", "/", "a", 9), None).0, ["[d/]", "k:3"]);
    assert_eq!(
        list(query("", "/", "d/", 1), None),
        (vec!["k:3".into()], None),
        "parts after it are not entries"
    );
}

#[test]
fn parts_are_listed_by_number() {
    let kv = uploading(&[("a", 2)], 300);
    let name = Name::new("b", "a").unwrap();
    let list = |after, max| {
        let page = parts(&kv.snapshot(), name, id(2), after, max).unwrap().unwrap();
        (page.parts.iter().map(|part| part.number).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list(0, 2), (vec![1, 2], Some(2)));
    assert_eq!(list(254, 4), (vec![255, 256, 257, 258], Some(258)));
    assert_eq!(list(298, 2), (vec![299, 300], None));
    assert_eq!(list(0, 0), (vec![], None));
    assert_eq!(list(70_000, 5), (vec![], None));
    assert_eq!(parts(&kv.snapshot(), name, id(3), 0, 5).unwrap(), None);
}

#[test]
fn buckets_are_listed_by_name() {
    let kv = MemoryKv::new();
    let mut batch = Batch::default();
    for name in ["a", "ab", "b", "b-1"] {
        let record = BucketRecord { name: name.into(), ..Default::default() };
        batch.put(key::bucket(name).unwrap(), record.to_row());
    }
    kv.write(batch).unwrap();
    let list = |prefix, marker, max| {
        let (found, more) = buckets(&kv.snapshot(), prefix, marker, max).unwrap();
        (found.into_iter().map(|bucket| bucket.name).collect::<Vec<_>>().join(" "), more)
    };
    assert_eq!(list("", "", 9), ("a ab b b-1".into(), false));
    assert_eq!(list("", "", 3), ("a ab b".into(), true));
    assert_eq!(list("", "b", 3), ("b-1".into(), false));
    assert_eq!(list("b", "", 9), ("b b-1".into(), false));
    assert_eq!(list("a", "a", 9), ("ab".into(), false));
    assert_eq!(list("", "", 0), (String::new(), false));
}
