use super::*;
use crate::Error;
use engine::hash::{self, ChecksumAlgorithm};
use proptest::prelude::*;

/// Sixteen equal bytes.
pub(crate) fn id(byte: u8) -> Bytes16 {
    [byte; 16].into()
}

pub(crate) fn blob(byte: u8, size: u64) -> BlobRef {
    BlobRef { data_id: id(byte), size, partition: 7, k: 1, ..BlobRef::default() }
}

pub(crate) fn checksum(algorithm: ChecksumAlgorithm, kind: ChecksumType, value: &[u8]) -> Checksum {
    Checksum::new(&hash::Checksum::new(algorithm, value).unwrap(), kind)
}

fn full_blob() -> BlobRef {
    BlobRef {
        data_id: id(0xd1),
        size: 5_000_000,
        partition: 4095,
        k: 4,
        m: 2,
        codec: 1,
        part_number: 3,
        md5: Some(id(0xe5)),
        checksum: vec![1, 2, 3, 4],
    }
}

fn full_headers() -> ObjectHeaders {
    let text = |text: &str| Some(text.to_owned());
    ObjectHeaders {
        content_type: text("text/plain"),
        cache_control: text("no-cache"),
        content_disposition: text("inline"),
        content_encoding: text("gzip"),
        content_language: text("de"),
        expires: text("0"),
        user_metadata: vec![UserMetadata { name: "k".into(), value: "ü".into() }],
    }
}

fn full_version() -> VersionRecord {
    VersionRecord {
        version_id: id(0x11),
        null_version: true,
        kind: VersionKind::Object.into(),
        modified_ms: 1_700_000_000_000,
        size: 5_000_000,
        md5: id(0x22),
        part_count: 1,
        headers: Some(full_headers()),
        checksum: Some(checksum(ChecksumAlgorithm::Crc32c, ChecksumType::Composite, &[9, 8, 7, 6])),
        blobs: vec![full_blob()],
        storage_class: Some("STANDARD_IA".into()),
        proposed_id: Some(id(0x10)),
        upload_id: Some(id(0x33)),
    }
}

fn holds<T: Record + PartialEq + std::fmt::Debug>(record: &T, golden: &str) {
    assert_eq!(hex::encode(record.to_row()), golden, "the bytes of a {} have changed", T::WHAT);
    assert_eq!(&T::from_row(&hex::decode(golden).unwrap()).unwrap(), record);
}

#[test]
fn the_bytes_of_a_version_are_frozen() {
    holds(&full_version(), GOLDEN_VERSION);
    let marker = VersionRecord {
        version_id: id(1),
        kind: VersionKind::DeleteMarker.into(),
        modified_ms: 5,
        ..VersionRecord::default()
    };
    holds(&marker, GOLDEN_MARKER);
}

#[test]
fn the_bytes_of_a_current_version_are_frozen() {
    holds(&CurrentRecord::of(&full_version()), GOLDEN_CURRENT);
}

#[test]
fn the_bytes_of_a_bucket_are_frozen() {
    let bucket = BucketRecord {
        name: "b".into(),
        created_ms: 300,
        owner: "o".into(),
        versioning: Versioning::Suspended.into(),
    };
    holds(&bucket, GOLDEN_BUCKET);
}

#[test]
fn the_bytes_of_an_upload_and_its_parts_are_frozen() {
    let upload = UploadRecord {
        upload_id: id(0x33),
        bucket: "b".into(),
        key: "k".into(),
        created_ms: 300,
        headers: Some(ObjectHeaders { content_type: Some("a/b".into()), ..ObjectHeaders::default() }),
        checksum: Some(ChecksumSpec::new(ChecksumAlgorithm::Sha256, ChecksumType::Composite)),
        storage_class: Some("X".into()),
    };
    holds(&upload, GOLDEN_UPLOAD);
    let part = PartRecord {
        number: 3,
        blob: blob(0xd1, 9),
        size: 9,
        md5: id(0xe5),
        modified_ms: 301,
        checksum: vec![1, 2],
    };
    holds(&part, GOLDEN_PART);
}

#[test]
fn the_numbers_of_checksum_algorithms_are_frozen() {
    let number = |algorithm| ChecksumSpec::new(algorithm, ChecksumType::FullObject).algorithm;
    assert_eq!(ChecksumAlgorithm::ALL.map(number), [1, 2, 3, 4, 5]);
    let default = ChecksumSpec::new(ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject);
    assert_eq!(ChecksumSpec::DEFAULT, default);
    assert_eq!(
        ChecksumAlgorithm::ALL.map(|a| ChecksumSpec::new(a, ChecksumType::Composite).algorithm()),
        ChecksumAlgorithm::ALL.map(Some)
    );
    let of_number = |algorithm| ChecksumSpec { algorithm, kind: 0 }.algorithm();
    assert_eq!((of_number(0), of_number(6), of_number(-1)), (None, None, None));
}

#[test]
fn the_bytes_of_a_reclaim_record_are_frozen() {
    holds(&ReclaimRecord::of(&full_blob(), 300), GOLDEN_RECLAIM);
}

#[test]
fn an_etag_is_the_md5_and_the_number_of_parts_if_there_are_any() {
    let mut version = full_version();
    assert_eq!(version.etag(), format!("{}-1", "22".repeat(16)));
    version.part_count = 0;
    assert_eq!(version.etag(), "22".repeat(16));
    assert_eq!(CurrentRecord::of(&version).etag(), version.etag());
}

#[test]
fn unknown_fields_are_skipped_and_unknown_versions_refused() {
    let bucket = BucketRecord { name: "b".into(), ..BucketRecord::default() };
    let mut row = bucket.to_row();
    row.extend_from_slice(&[0xfa, 0x07, 3, 1, 2, 3]); // Field 127, three bytes.
    assert_eq!(BucketRecord::from_row(&row).unwrap(), bucket);
    row[0] = 2;
    let refused = |row: &[u8]| matches!(BucketRecord::from_row(row), Err(Error::Corrupt { .. }));
    assert!(refused(&row) && refused(&[]) && refused(&[1, 0xff]));
}

/// Rows of earlier versions may hold the fields that are reserved now.
#[test]
fn reserved_fields_are_skipped() {
    let headers = [0x3a, 2, b'/', b'x'];
    assert_eq!(<ObjectHeaders as prost::Message>::decode(&headers[..]), Ok(ObjectHeaders::default()));
    let row = |record: Vec<u8>, owner: u8| [&record[..], &[owner, 1, b'o']].concat();
    let version = VersionRecord { version_id: id(1), ..VersionRecord::default() };
    let current = CurrentRecord::of(&version);
    let upload = UploadRecord { upload_id: id(1), ..UploadRecord::default() };
    assert_eq!(VersionRecord::from_row(&row(version.to_row(), 0x62)).unwrap(), version);
    assert_eq!(CurrentRecord::from_row(&row(current.to_row(), 0x3a)).unwrap(), current);
    assert_eq!(UploadRecord::from_row(&row(upload.to_row(), 0x42)).unwrap(), upload);
}

#[test]
fn records_that_contradict_themselves_are_refused() {
    fn refused(change: impl FnOnce(&mut VersionRecord)) -> bool {
        let mut version = full_version();
        change(&mut version);
        matches!(VersionRecord::from_row(&version.to_row()), Err(Error::Corrupt { .. }))
    }
    assert!(!refused(|_| ()));
    assert!(refused(|v| v.kind = 2));
    assert!(refused(|v| v.size += 1));
    assert!(refused(|v| v.blobs[0].k = 0));
    assert!(refused(|v| v.blobs[0].m = u32::MAX));
    assert!(refused(|v| v.blobs[0].partition = 4096));
    assert!(refused(|v| v.blobs = vec![blob(1, u64::MAX), blob(2, u64::MAX)]));
    assert!(refused(|v| v.checksum.as_mut().unwrap().value.push(0)));
    assert!(refused(|v| v.checksum.as_mut().unwrap().algorithm = 99));
    assert!(refused(|v| v.checksum.as_mut().unwrap().kind = 99));
    let part = PartRecord { blob: blob(1, 5), size: 6, ..PartRecord::default() };
    assert!(PartRecord::from_row(&part.to_row()).is_err());
    let bucket = BucketRecord { versioning: 9, ..BucketRecord::default() };
    assert!(BucketRecord::from_row(&bucket.to_row()).is_err());
}

#[test]
fn sixteen_bytes_order_increment_and_invert_as_bytes_do() {
    let bytes: [u8; 16] = std::array::from_fn(|i| i as u8);
    let value = Bytes16::from(bytes);
    assert_eq!(value.to_bytes(), bytes);
    assert_eq!(<[u8; 16]>::from(value), bytes);
    assert_eq!(format!("{value:?}"), "000102030405060708090a0b0c0d0e0f");
    assert_eq!(value.next().to_hex(), "000102030405060708090a0b0c0d0e10");
    assert_eq!(id(0xff).next(), id(0));
    assert_eq!(id(0x0f).complement(), id(0xf0));
    assert_eq!(Bytes16::from_slice(&bytes[1..]), None);
    assert_eq!(Bytes16::from_hex(&value.to_hex().to_uppercase()), Some(value));
    assert_eq!((Bytes16::from_hex("00"), Bytes16::from_hex(&"x".repeat(32))), (None, None));
}

prop_compose! {
    fn any_id()(bytes in any::<[u8; 16]>()) -> Bytes16 { bytes.into() }
}

prop_compose! {
    fn any_blob()(data_id in any_id(), size in 0..1u64 << 40, partition in 0..4096u32, k in 1..9u32, m in 0..5u32,
        codec in 0..3u32, part_number in 0..10_001u32, md5 in prop::option::of(any_id()),
        checksum in prop::collection::vec(any::<u8>(), 0..33)) -> BlobRef {
        BlobRef { data_id, size, partition, k, m, codec, part_number, md5, checksum }
    }
}

prop_compose! {
    fn any_version()(version_id in any_id(), null_version: bool, modified_ms: u64, md5 in any_id(),
        part_count in 0..10_001u32, texts in prop::collection::vec(prop::option::of(".{0,9}"), 7),
        names in prop::collection::vec((".{0,5}", ".{0,5}"), 0..4), sha in prop::option::of(any::<[u8; 32]>()),
        blobs in prop::collection::vec(any_blob(), 0..5),
        proposed_id in prop::option::of(any_id()), upload_id in prop::option::of(any_id())) -> VersionRecord {
        let text = |at: usize| texts[at].clone();
        let headers = ObjectHeaders {
            content_type: text(0), cache_control: text(1), content_disposition: text(2), content_encoding: text(3),
            content_language: text(4), expires: text(5),
            user_metadata: names.into_iter().map(|(name, value)| UserMetadata { name, value }).collect(),
        };
        VersionRecord {
            version_id, null_version, kind: 0, modified_ms, size: blobs.iter().map(|b| b.size).sum(), md5, part_count,
            headers: Some(headers),
            checksum: sha.map(|v| checksum(ChecksumAlgorithm::Sha256, ChecksumType::FullObject, &v)),
            blobs, storage_class: text(6), proposed_id, upload_id,
        }
    }
}

proptest! {
    #[test]
    fn a_version_comes_back_as_it_was(version in any_version()) {
        prop_assert_eq!(VersionRecord::from_row(&version.to_row()).unwrap(), version.clone());
        let current = CurrentRecord::of(&version);
        prop_assert_eq!(CurrentRecord::from_row(&current.to_row()).unwrap(), current);
    }

    #[test]
    fn the_other_records_come_back_as_they_were(
        (name, key, owner) in (".{0,9}", ".{0,9}", ".{0,9}"), (upload_id, md5) in (any_id(), any_id()),
        created_ms: u64, versioning in 0..3i32, blob in any_blob(), number in 1..10_001u32,
    ) {
        let bucket = BucketRecord { name: name.clone(), created_ms, owner, versioning };
        prop_assert_eq!(BucketRecord::from_row(&bucket.to_row()).unwrap(), bucket);
        let upload = UploadRecord { upload_id, bucket: name, key, created_ms, ..UploadRecord::default() };
        prop_assert_eq!(UploadRecord::from_row(&upload.to_row()).unwrap(), upload);
        let reclaim = ReclaimRecord::of(&blob, created_ms);
        prop_assert_eq!(ReclaimRecord::from_row(&reclaim.to_row()).unwrap(), reclaim);
        let part = PartRecord { number, size: blob.size, blob, md5, modified_ms: created_ms, checksum: vec![1] };
        prop_assert_eq!(PartRecord::from_row(&part.to_row()).unwrap(), part);
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut row = vec![RECORD_VERSION];
        row.extend(bytes);
        let _ = (VersionRecord::from_row(&row), CurrentRecord::from_row(&row), UploadRecord::from_row(&row));
        let _ = (PartRecord::from_row(&row), BucketRecord::from_row(&row), ReclaimRecord::from_row(&row));
    }
}

const GOLDEN_VERSION: &str = "010a1209111111111111111111111111111111111110012080d095ffbc3128c096b10232120922222222222222221122\
     22222222222222380142340a0a746578742f706c61696e12086e6f2d63616368651a06696e6c696e652204677a69702a\
     02646532013042070a016b1202c3bc4a0a080210011a0409080706523e0a1209d1d1d1d1d1d1d1d111d1d1d1\
     d1d1d1d1d110c096b10218ff1f2004280230013803421209e5e5e5e5e5e5e5e511e5e5e5e5e5e5e5e54a04010203045a\
     0b5354414e444152445f49416a120910101010101010101110101010101010107212093333333333333333113333333333333333";
const GOLDEN_MARKER: &str = "010a12090101010101010101110101010101010101180120053200";
const GOLDEN_CURRENT: &str = "010a120911111111111111111111111111111111111080d095ffbc3118c096b102221209222222222222222211222222\
     22222222222801320408021001420b5354414e444152445f49414a3e0a1209d1d1d1d1d1d1d1d111d1d1d1d1d1\
     d1d1d110c096b10218ff1f2004280230013803421209e5e5e5e5e5e5e5e511e5e5e5e5e5e5e5e54a0401020304";
const GOLDEN_BUCKET: &str = "010a016210ac021a016f2002";
const GOLDEN_UPLOAD: &str =
    "010a120933333333333333331133333333333333331201621a016b20ac022a050a03612f623204080510013a0158";
const GOLDEN_PART: &str = "010803121a0a1209d1d1d1d1d1d1d1d111d1d1d1d1d1d1d1d11009180720011809221209e5e5e5e5e5e5e5e511e5e5e5\
     e5e5e5e5e528ad0232020102";
const GOLDEN_RECLAIM: &str = "010a1209d1d1d1d1d1d1d1d111d1d1d1d1d1d1d1d110ff1f1804200228c096b10230ac02";
