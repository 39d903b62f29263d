use super::*;
use crate::{
    apply::multipart::{MAX_OBJECT_BYTES, MIN_PART_BYTES},
    record::{Checksum, ChecksumSpec, ChecksumType, tests::checksum},
};
use engine::hash::ChecksumAlgorithm;
use md5::{Digest, Md5};

const MIN: u64 = MIN_PART_BYTES;
const UPLOAD: u64 = 1_000_000;

fn create(checksum: Option<ChecksumSpec>) -> Kind {
    let headers = ObjectHeaders { content_type: Some("a/b".into()), ..Default::default() };
    Kind::CreateUpload(CreateUpload {
        upload: UploadRecord {
            upload_id: id(UPLOAD),
            bucket: "b".into(),
            key: "k".into(),
            created_ms: 5,
            headers: Some(headers),
            checksum,
            ..Default::default()
        },
    })
}

/// Part `number` whose blob and MD5 are `content`.
fn part(number: u32, content: u64, size: u64) -> PartRecord {
    let blob = BlobRef { data_id: id(content), ..blob(0, size) };
    PartRecord { number, blob, size, md5: id(content), ..Default::default() }
}

fn put_part(part: PartRecord) -> Kind {
    Kind::PutPart(PutPart { bucket: "b".into(), key: "k".into(), upload_id: id(UPLOAD), part })
}

fn complete(parts: &[(u32, u64)]) -> CompleteUpload {
    let named = |&(number, content)| CompletedPart { number, md5: id(content), checksum: Vec::new() };
    CompleteUpload {
        bucket: "b".into(),
        key: "k".into(),
        upload_id: id(UPLOAD),
        parts: parts.iter().map(named).collect(),
        version_id: id(500),
        ..Default::default()
    }
}

fn abort() -> Kind {
    Kind::AbortUpload(AbortUpload { bucket: "b".into(), key: "k".into(), upload_id: id(UPLOAD) })
}

/// Bucket `b` with an upload of these parts.
fn uploading(parts: Vec<PartRecord>) -> World {
    let mut world = World::with_bucket(Versioning::Unversioned);
    assert_eq!(world.run(create(None)), Outcome::Done);
    for part in parts {
        assert_eq!(world.run(put_part(part)), Outcome::Done);
    }
    world
}

#[test]
fn a_complete_assembles_the_parts_it_lists_and_releases_the_rest() {
    let mut world = uploading(vec![part(1, 11, MIN), part(2, 12, MIN), part(4, 14, MIN), part(7, 17, 3)]);
    world.put("k", 1);
    let outcome = world.run(Kind::CompleteUpload(complete(&[(1, 11), (4, 14), (7, 17)])));
    let version = written(&outcome).clone();
    assert_eq!((version.version_id, version.size, version.part_count), (id(500), 2 * MIN + 3, 3));
    assert_eq!((version.modified_ms, version.null_version), (1000, true));
    assert_eq!(version.headers.as_ref().unwrap().content_type.as_deref(), Some("a/b"));
    let blobs: Vec<_> = version.blobs.iter().map(|b| (b.data_id, b.part_number, b.md5)).collect();
    assert_eq!(blobs, [(id(11), 1, Some(id(11))), (id(14), 4, Some(id(14))), (id(17), 7, Some(id(17)))]);
    let sums = [id(11).to_bytes(), id(14).to_bytes(), id(17).to_bytes()].concat();
    assert_eq!(version.etag(), format!("{}-3", hex::encode(Md5::digest(sums))));
    let mut gone = world.reclaimed_now();
    gone.sort();
    assert_eq!(gone, [id(1), id(12)], "the unused part and the replaced object");
    assert!(world.changes.contains(&Change::Upload { upload_id: id(UPLOAD), open: false }));
    assert_eq!(world.rows(key::TAG_UPLOAD), 0);

    assert_eq!(world.run(abort()), Outcome::NoSuchUpload);
    assert_eq!(world.run(put_part(part(9, 19, 1))), Outcome::NoSuchUpload);
    assert_eq!(world.reclaimed_now(), [id(19)], "a late part leaves nothing behind");
}

/// When the answer to a Complete was lost and the client sent it again, the answer was NoSuchUpload. The client
/// took a finished upload for a failed one, and uploaded everything again.
#[test]
fn a_repeated_complete_gets_the_first_answer_while_its_version_exists() {
    for versioning in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
        let mut world = uploading(vec![part(1, 11, MIN), part(2, 12, 3)]);
        world.set_bucket("b", versioning);
        world.put("k", 1);
        let absent = Some(Precondition { if_match: vec![version(1).etag()], ..Default::default() });
        let first = CompleteUpload { precondition: absent, ..complete(&[(1, 11), (2, 12)]) };
        let outcome = world.run(Kind::CompleteUpload(first.clone()));
        written(&outcome);
        // Each time with a new version id, as when a client repeats it; and unchanged, as when a proposer does.
        let size = Some(MIN + 3);
        for version_id in [500, 501] {
            let again = CompleteUpload { version_id: id(version_id), expected_size: size, ..first.clone() };
            assert_eq!(world.run(Kind::CompleteUpload(again)), outcome);
            assert_eq!(world.changes, [], "nothing is done twice");
        }
        for other in [
            complete(&[(1, 11)]),
            complete(&[(1, 11), (3, 12)]),
            complete(&[(1, 11), (2, 13)]),
            CompleteUpload { expected_size: Some(1), ..first.clone() },
            CompleteUpload { upload_id: id(UPLOAD + 1), ..first.clone() },
        ] {
            assert_eq!(
                world.run(Kind::CompleteUpload(other)),
                Outcome::NoSuchUpload,
                "it made no such object"
            );
        }
        assert_eq!(world.run(abort()), Outcome::NoSuchUpload);
        assert_eq!(world.run(put_part(part(3, 13, 1))), Outcome::NoSuchUpload);
        assert_eq!(world.rows(key::TAG_UPLOAD), 0, "no listing shows the upload");

        world.put("k", 600);
        let kept = versioning == Versioning::Enabled;
        let expected = if kept { outcome.clone() } else { Outcome::NoSuchUpload };
        assert_eq!(world.run(Kind::CompleteUpload(first.clone())), expected, "it was replaced");
        world.run(delete("k", Selector::Id(id(500)), 601));
        assert_eq!(world.run(Kind::CompleteUpload(first)), Outcome::NoSuchUpload, "it is gone");
    }
}

#[test]
fn an_object_without_a_requested_checksum_gets_the_default_one_if_all_parts_have_it() {
    let bodies = [vec![b'a'; MIN as usize], b"tail".to_vec()];
    let crc = |bytes: &[u8]| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes();
    let whole = checksum(ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject, &crc(&bodies.concat()));
    for (last, expected) in [(crc(&bodies[1]).to_vec(), Some(whole)), (vec![], None), (vec![0; 4], None)] {
        let sums = [crc(&bodies[0]).to_vec(), last];
        let parts = [0, 1].map(|at| PartRecord {
            checksum: sums[at].clone(),
            ..part(at as u32 + 1, at as u64 + 11, bodies[at].len() as u64)
        });
        let mut world = uploading(parts.into());
        let outcome = world.run(Kind::CompleteUpload(complete(&[(1, 11), (2, 12)])));
        assert_eq!(written(&outcome).checksum, expected);
    }
}

#[test]
fn the_etag_of_a_known_upload_is_the_same_as_at_aws() {
    // printf '' | md5sum, twice over: md5(unhex("d41d8cd98f00b204e9800998ecf8427e")).
    let empty = Bytes16::from_hex("d41d8cd98f00b204e9800998ecf8427e").unwrap();
    let mut world = uploading(vec![PartRecord { md5: empty, ..part(1, 11, 0) }]);
    let mut command = complete(&[(1, 11)]);
    command.parts[0].md5 = empty;
    let outcome = world.run(Kind::CompleteUpload(command));
    assert_eq!(written(&outcome).etag(), "59adb24ef3cdbe0297f05b395827453f-1");
}

#[test]
fn a_refused_complete_leaves_the_upload_as_it_was() {
    let mut world = uploading(vec![part(1, 11, MIN), part(2, 12, MIN - 1), part(3, 13, MIN)]);
    world.put("k", 1);
    let full = complete(&[(1, 11), (3, 13)]);
    let absent = Some(Precondition { if_none_match_any: true, ..Default::default() });
    let mut other = full.clone();
    other.parts[1].checksum = vec![1];
    let expected = checksum(ChecksumAlgorithm::Crc32, ChecksumType::FullObject, &[0; 4]);
    let cases = [
        (complete(&[]), Outcome::InvalidPart { number: 0 }),
        (complete(&[(3, 13), (1, 11)]), Outcome::InvalidPartOrder),
        (complete(&[(1, 11), (1, 11)]), Outcome::InvalidPartOrder),
        (complete(&[(1, 11), (9, 19)]), Outcome::InvalidPart { number: 9 }),
        (complete(&[(1, 99), (3, 13)]), Outcome::InvalidPart { number: 1 }),
        (complete(&[(2, 12), (3, 13)]), Outcome::EntityTooSmall { number: 2, size: MIN - 1 }),
        (other, Outcome::InvalidPart { number: 3 }),
        (CompleteUpload { precondition: absent, ..full.clone() }, Outcome::PreconditionFailed),
        (CompleteUpload { expected_size: Some(1), ..full.clone() }, Outcome::SizeMismatch),
        (CompleteUpload { expected_checksum: Some(expected), ..full.clone() }, Outcome::BadChecksum),
        (CompleteUpload { bucket: "x".into(), ..full.clone() }, Outcome::NoSuchBucket),
        (CompleteUpload { key: "x".into(), ..full.clone() }, Outcome::NoSuchUpload),
        (CompleteUpload { key: "".into(), ..full.clone() }, Outcome::InvalidKey),
    ];
    for (command, refusal) in cases {
        assert_eq!(world.run(Kind::CompleteUpload(command)), refusal);
        assert_eq!((world.changes.len(), world.rows(key::TAG_UPLOAD)), (0, 4));
    }
    written(&world.run(Kind::CompleteUpload(CompleteUpload { expected_size: Some(2 * MIN), ..full })));
}

#[test]
fn an_object_has_a_maximum_size() {
    let most = MAX_OBJECT_BYTES;
    let mut world = uploading(vec![part(1, 11, most), part(2, 12, 1), part(3, 13, u64::MAX)]);
    let refused = world.run(Kind::CompleteUpload(complete(&[(1, 11), (2, 12)])));
    assert_eq!(refused, Outcome::EntityTooLarge);
    let refused = world.run(Kind::CompleteUpload(complete(&[(1, 11), (3, 13)])));
    assert_eq!(refused, Outcome::EntityTooLarge);
    written(&world.run(Kind::CompleteUpload(complete(&[(1, 11)]))));
}

#[test]
fn a_replaced_part_is_released() {
    let mut world = uploading(vec![part(1, 11, 5)]);
    assert_eq!(world.run(put_part(part(1, 12, 6))), Outcome::Done);
    assert_eq!(world.reclaimed_now(), [id(11)]);
    assert_eq!(world.run(put_part(part(1, 12, 6))), Outcome::Done, "the same part twice");
    assert_eq!(world.reclaimed_now(), []);
    world.retry = true;
    assert_eq!(world.run(put_part(part(1, 11, 5))), Outcome::Superseded);
    world.retry = false;
    written(&world.run(Kind::CompleteUpload(complete(&[(1, 12)]))));
}

#[test]
fn invalid_parts_are_refused_and_released() {
    let mut world = uploading(vec![]);
    for number in [0, 10_001, 70_000] {
        assert_eq!(world.run(put_part(part(number, 11, 5))), Outcome::InvalidPart { number });
        assert_eq!(world.reclaimed_now(), [id(11)]);
    }
    let odd = PartRecord { size: 4, ..part(1, 12, 5) };
    assert_eq!(world.run(put_part(odd)), Outcome::InvalidRecord);
    assert_eq!(world.reclaimed_now(), [id(12)]);
    let put = |bucket: &str, key: &str, content| {
        let part = part(1, content, 5);
        Kind::PutPart(PutPart { bucket: bucket.into(), key: key.into(), upload_id: id(UPLOAD), part })
    };
    assert_eq!(world.run(put("x", "k", 13)), Outcome::NoSuchBucket);
    assert_eq!(world.run(put("b", "x", 14)), Outcome::NoSuchUpload);
    assert_eq!(world.run(put("b", "", 15)), Outcome::InvalidKey);
    assert_eq!(world.reclaimed_now(), [id(15)]);
}

#[test]
fn invalid_uploads_are_refused() {
    let mut world = World::new();
    assert_eq!(world.run(create(None)), Outcome::NoSuchBucket);
    world.set_bucket("b", Versioning::Unversioned);
    let unknown = ChecksumSpec { algorithm: 99, kind: 0 };
    assert_eq!(world.run(create(Some(unknown))), Outcome::InvalidRecord);
    assert_eq!(world.run(Kind::CreateUpload(CreateUpload::default())), Outcome::InvalidKey);
    let abort_in = |bucket: &str, key: &str| {
        Kind::AbortUpload(AbortUpload { bucket: bucket.into(), key: key.into(), upload_id: id(UPLOAD) })
    };
    assert_eq!(world.run(abort_in("x", "k")), Outcome::NoSuchBucket);
    assert_eq!(world.run(abort_in("b", "")), Outcome::InvalidKey);
    assert_eq!(world.run(abort()), Outcome::NoSuchUpload);
}

#[test]
fn an_abort_releases_every_part() {
    let mut world = uploading(vec![part(1, 11, 5), part(300, 12, 5)]);
    assert_eq!(world.run(abort()), Outcome::Done);
    assert_eq!(world.reclaimed_now(), [id(11), id(12)]);
    assert_eq!(world.rows(key::TAG_UPLOAD), 0);
}

#[test]
fn the_parts_checksums_make_up_that_of_the_object() {
    let bytes = [vec![b'a'; MIN as usize], b"tail".to_vec()];
    let crc =
        |bytes: &[u8]| (crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_be_bytes();
    let sums = [crc(&bytes[0]), crc(&bytes[1])];
    for (kind, value) in
        [(ChecksumType::FullObject, crc(&bytes.concat())), (ChecksumType::Composite, crc(&sums.concat()))]
    {
        let expected = checksum(ChecksumAlgorithm::Crc32c, kind, &value);
        let mut world = World::with_bucket(Versioning::Unversioned);
        world.run(create(Some(expected.spec())));
        for (at, bytes) in bytes.iter().enumerate() {
            let part = part(at as u32 + 1, at as u64 + 11, bytes.len() as u64);
            world.run(put_part(PartRecord { checksum: sums[at].to_vec(), ..part }));
        }
        world.run(put_part(part(3, 13, 1)));
        let mut command = complete(&[(1, 11), (2, 12)]);
        command.parts[0].checksum = sums[0].to_vec();
        let wrong = Checksum { value: vec![0; 4], ..expected.clone() };
        let refused = world
            .run(Kind::CompleteUpload(CompleteUpload { expected_checksum: Some(wrong), ..command.clone() }));
        assert_eq!(refused, Outcome::BadChecksum);
        let without = complete(&[(1, 11), (3, 13)]);
        assert_eq!(world.run(Kind::CompleteUpload(without)), Outcome::InvalidPart { number: 3 });
        command.expected_checksum = Some(expected.clone());
        let outcome = world.run(Kind::CompleteUpload(command));
        let version = written(&outcome);
        assert_eq!(version.checksum, Some(expected));
        assert_eq!(version.blobs[1].checksum, sums[1]);
    }
}
