//! Keys and values of rows of the metadata store: what decodes survives a round trip, with the same bytes once we
//! have written it, and takes no more memory than its bytes account for.
#![no_main]

use hamster_fuzz::bounded;
use libfuzzer_sys::fuzz_target;
use raft::fuzz::Mark;
use raft::key::{self, RowKey};
use raft::record::{
    BucketRecord, CurrentRecord, PartRecord, ReclaimRecord, Record, UploadRecord, VersionKind, VersionRecord,
};

fn record<T: Record + PartialEq>(row: &[u8]) -> Option<T> {
    // The smallest element of a repeated field is two bytes on disk and some 150 in memory.
    let record = bounded(512 * row.len() + 4096, || T::from_row(row).ok())?;
    let written = record.to_row();
    let again = T::from_row(&written).expect("ours decodes");
    assert!(again == record, "a {} changed in the round trip", T::WHAT);
    assert_eq!(again.to_row(), written);
    assert_eq!(written.len(), 1 + record.encoded_len());
    Some(record)
}

fn version(row: &[u8]) {
    let Some(version) = record::<VersionRecord>(row) else { return };
    assert_eq!(
        version.blobs.iter().map(|blob| u128::from(blob.size)).sum::<u128>(),
        u128::from(version.size)
    );
    assert_eq!(version.is_delete_marker(), version.kind() == VersionKind::DeleteMarker);
    assert!(version.checksum.as_ref().is_none_or(|checksum| checksum.value().is_some()));
    let current = CurrentRecord::of(&version);
    assert_eq!(current.etag(), version.etag());
    assert!(CurrentRecord::from_row(&current.to_row()).is_ok_and(|again| again == current));
}

fn row_key(row: &[u8]) {
    let Ok(parts) = key::decode(row) else { return };
    let again = match parts {
        RowKey::Cluster(name) => [&[key::TAG_CLUSTER], name].concat(),
        RowKey::Bucket(name) => key::bucket(name).expect("it was checked"),
        RowKey::Version(name, id) => name.version(id),
        RowKey::Current(name) => name.current(),
        RowKey::Upload(name, id) => name.upload(id),
        RowKey::Part(name, id, number) => name.part(id, number),
        RowKey::Credential(name) => [&[key::TAG_CREDENTIAL], name].concat(),
        RowKey::Reclaim(id) => key::reclaim(id),
    };
    assert_eq!(again, row, "{parts:?}");
    let end = key::prefix_end(row);
    assert!(row < &end[..] && end.len() <= row.len());
    assert!([row, &[0xff; 3]].concat() < end, "a row with this prefix sorts after the end");
}

fn mark(row: &[u8]) {
    let Ok(mark) = bounded(64 * row.len() + 4096, || Mark::from_row(row)) else { return };
    let written = mark.to_row();
    assert_eq!(Mark::from_row(&written).as_ref(), Ok(&mark));
    assert!(Mark::from_row(&[&written[..], &[0]].concat()).is_err());
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, row)) = data.split_first() else { return };
    match choice % 8 {
        0 => version(row),
        1 => drop(record::<CurrentRecord>(row)),
        2 => drop(record::<BucketRecord>(row)),
        3 => drop(record::<UploadRecord>(row)),
        4 => drop(record::<PartRecord>(row)),
        5 => drop(record::<ReclaimRecord>(row)),
        6 => row_key(row),
        _ => mark(row),
    }
});
