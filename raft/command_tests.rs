use super::*;
use crate::record::tests::{checksum, id};
use crate::record::{BlobRef, ChecksumType};
use engine::hash::ChecksumAlgorithm;
use proptest::prelude::*;

fn command(kind: Kind) -> Command {
    Command::new([7; 16], 300, kind)
}

fn one_of_each() -> Vec<Command> {
    let (bucket, key) = (String::from("b"), String::from("k"));
    let precondition =
        Some(Precondition { if_match: vec!["e".into()], if_none_match_any: true, ..Precondition::default() });
    let blob = BlobRef { data_id: id(9), size: 4, k: 1, ..BlobRef::default() };
    let version =
        VersionRecord { version_id: id(1), size: 4, blobs: vec![blob.clone()], ..Default::default() };
    let part = PartRecord { number: 2, blob, size: 4, md5: id(3), ..PartRecord::default() };
    let upload = UploadRecord { upload_id: id(4), bucket: "b".into(), key: "k".into(), ..Default::default() };
    let upload_id = id(4);
    [
        Kind::CreateBucket(CreateBucket { name: "b".into(), owner: "o".into() }),
        Kind::DeleteBucket(DeleteBucket { name: "b".into() }),
        Kind::PutVersion(PutVersion {
            bucket: bucket.clone(),
            key: key.clone(),
            version,
            precondition: precondition.clone(),
        }),
        Kind::DeleteVersion(DeleteVersion {
            bucket: bucket.clone(),
            key: key.clone(),
            selector: Some(Selector::Id(id(5))),
            marker_version_id: id(6),
            precondition: None,
        }),
        Kind::CreateUpload(CreateUpload { upload }),
        Kind::PutPart(PutPart { bucket: bucket.clone(), key: key.clone(), upload_id, part }),
        Kind::AbortUpload(AbortUpload { bucket: bucket.clone(), key: key.clone(), upload_id }),
        Kind::CompleteUpload(CompleteUpload {
            bucket,
            key,
            upload_id,
            parts: vec![CompletedPart { number: 2, md5: id(3), checksum: vec![1, 2, 3, 4] }],
            version_id: id(1),
            precondition,
            expected_checksum: Some(checksum(
                ChecksumAlgorithm::Crc32,
                ChecksumType::FullObject,
                &[1, 2, 3, 4],
            )),
            expected_size: Some(4),
        }),
        Kind::Reclaimed(Reclaimed { data_ids: vec![id(9)] }),
    ]
    .map(command)
    .to_vec()
}

#[test]
fn the_bytes_of_every_command_are_frozen() {
    let got: Vec<_> = one_of_each().iter().map(|c| hex::encode(c.encode_bounded().unwrap())).collect();
    assert_eq!(got, GOLDEN);
    for (golden, command) in GOLDEN.iter().zip(one_of_each()) {
        assert_eq!(Command::from_entry(&hex::decode(golden).unwrap()).unwrap(), command);
    }
}

#[test]
fn every_selector_comes_back_as_it_was() {
    for selector in [Selector::Current(true), Selector::Null(true), Selector::Id(id(5))] {
        let delete = DeleteVersion { selector: Some(selector), ..DeleteVersion::default() };
        let command = Command { retry: true, ..command(Kind::DeleteVersion(delete)) };
        assert_eq!(Command::from_entry(&command.encode_bounded().unwrap()).unwrap(), command);
    }
}

#[test]
fn a_kind_of_a_later_version_decodes_as_none() {
    let mut entry =
        Command { kind: None, ..command(Kind::Reclaimed(Reclaimed::default())) }.encode_bounded().unwrap();
    entry.extend_from_slice(&[0xfa, 0x07, 1, 0]); // Field 127: a future kind.
    assert_eq!(Command::from_entry(&entry).unwrap().kind, None);
}

#[test]
fn entries_that_are_not_commands_are_refused() {
    for entry in [&b""[..], &[2], &[1, 0xff]] {
        assert!(matches!(Command::from_entry(entry), Err(Error::Corrupt { .. })));
    }
    assert!(Command::from_entry(&vec![1; MAX_COMMAND_BYTES + 1]).is_err());
}

#[test]
fn the_longest_complete_fits_and_what_is_longer_is_refused() {
    let parts = (1..=10_000).map(|number| CompletedPart { number, md5: id(1), checksum: vec![0xff; 32] });
    let mut complete = CompleteUpload { parts: parts.collect(), key: "k".repeat(1024), ..Default::default() };
    assert!(command(Kind::CompleteUpload(complete.clone())).encode_bounded().is_ok());
    complete.parts.extend_from_within(..);
    let refused = command(Kind::CompleteUpload(complete)).encode_bounded();
    assert!(matches!(refused, Err(Error::TooLarge { limit: MAX_COMMAND_BYTES, .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Command::from_entry(&[&[COMMAND_VERSION][..], &bytes].concat());
    }

    #[test]
    fn a_damaged_command_never_makes_decoding_panic(which in 0..9usize, at: prop::sample::Index, byte: u8) {
        let mut entry = one_of_each()[which].encode_bounded().unwrap();
        let at = at.index(entry.len());
        entry[at] = byte;
        let _ = Command::from_entry(&entry);
    }
}

const GOLDEN: [&str; 9] = [
    "010a1209070707070707070711070707070707070710ac028201060a016212016f",
    "010a1209070707070707070711070707070707070710ac028a01030a0162",
    "010a1209070707070707070711070707070707070710ac029201410a016212016b1a320a120901010101010101011101\
     010101010101012804320052180a120909090909090909091109090909090909091004200122051201651801",
    "010a1209070707070707070711070707070707070710ac029a012e0a016212016b2a1209050505050505050511050505\
     05050505053212090606060606060606110606060606060606",
    "010a1209070707070707070711070707070707070710ac02a2011c0a1a0a120904040404040404041104040404040404\
     041201621a016b",
    "010a1209070707070707070711070707070707070710ac02aa014e0a016212016b1a1209040404040404040411040404\
     04040404042232080212180a120909090909090909091109090909090909091004200118042212090303030303030303\
     110303030303030303",
    "010a1209070707070707070711070707070707070710ac02b2011a0a016212016b1a1209040404040404040411040404\
     0404040404",
    "010a1209070707070707070711070707070707070710ac02ba015f0a016212016b1a1209040404040404040411040404\
     0404040404221c080212120903030303030303031103030303030303031a04010203042a120901010101010101011101\
     01010101010101320512016518013a0808011a04010203044004",
    "010a1209070707070707070711070707070707070710ac02c201140a12090909090909090909110909090909090909",
];
