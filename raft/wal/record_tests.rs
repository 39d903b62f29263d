use super::*;
use crate::types::StoredMembership;
use proptest::prelude::*;

fn entry(index: u64, payload: Payload) -> Record {
    Record::Entry(Entry { log_id: log_id(3, 1, index), payload })
}

fn members() -> Membership {
    let nodes = BTreeMap::from([(1, openraft::BasicNode { addr: "a:1".to_owned() })]);
    Membership::new(vec![BTreeSet::from([1])], nodes).expect("a voter that is a node")
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(7, 9, true, &mut out);
    assert_eq!(out.len(), record.encoded_len());
    out
}

#[test]
fn the_bytes_of_every_kind_are_frozen() {
    let golden = [
        (entry(5, Payload::Blank), GOLDEN[0]),
        (entry(6, Payload::Normal(Proposal::from_bytes(b"cmd".to_vec()))), GOLDEN[1]),
        (entry(7, Payload::Membership(members())), GOLDEN[2]),
        (Record::Vote(Vote { leader_id: LeaderId { term: 3, node_id: 1 }, committed: true }), GOLDEN[3]),
        (Record::Committed(Some(log_id(3, 1, 5))), GOLDEN[4]),
        (Record::Committed(None), GOLDEN[5]),
        (Record::Truncate(Some(log_id(3, 1, 5))), GOLDEN[6]),
        (Record::Purge(log_id(3, 1, 5)), GOLDEN[7]),
    ];
    for (record, bytes) in golden {
        assert_eq!(hex::encode(encoded(&record)), bytes, "{record:?}");
        let found = Record::decode(7, 9, &hex::decode(bytes).expect("hex")).expect("decodes");
        assert_eq!(found.record, record);
        assert!(found.ends_batch);
    }
}

#[test]
fn a_record_of_another_segment_or_batch_or_with_a_changed_bit_is_absent() {
    let bytes = encoded(&entry(6, Payload::Normal(Proposal::from_bytes(b"cmd".to_vec()))));
    assert_eq!(Record::decode(8, 9, &bytes), Err(Fault::Absent));
    assert_eq!(Record::decode(7, 8, &bytes), Err(Fault::Absent));
    for byte in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[byte] ^= 1;
        assert_eq!(Record::decode(7, 9, &changed), Err(Fault::Absent), "byte {byte}");
        assert_eq!(Record::decode(7, 9, &bytes[..byte]), Err(Fault::Absent), "cut at {byte}");
    }
}

#[test]
fn a_record_of_a_later_version_or_kind_is_distinguished_from_a_torn_one() {
    for (byte, value) in [(4, 2), (5, 99)] {
        let mut bytes = encoded(&Record::Committed(None));
        bytes[byte] = value;
        let crc = checksum(7, &bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(Record::decode(7, 9, &bytes), Err(Fault::Unknown(_))));
    }
}

#[test]
fn an_empty_membership_survives() {
    let empty = StoredMembership::default();
    let mut out = Vec::new();
    put_membership(&mut out, empty.membership());
    assert_eq!(take_membership(&mut Cursor(&out)).as_ref(), Some(empty.membership()));
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(term: u64, node: u64, index: u64, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let record = Record::Entry(Entry {
            log_id: log_id(term, node, index),
            payload: Payload::Normal(Proposal::from_bytes(bytes)),
        });
        let mut out = vec![];
        record.encode(1, 2, false, &mut out);
        let found = Record::decode(1, 2, &out).expect("decodes");
        prop_assert_eq!(found, DecodedRecord { record, len: out.len(), ends_batch: false });
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_u8..8) {
        let _ = decode_payload(kind, &bytes);
        let _ = Record::decode(1, 2, &bytes);
    }
}

const GOLDEN: [&str; 8] = [
    "48574c52010101001900000074e52255090000000000000003000000000000000100000000000000050000000000000000",
    "48574c52010101001c000000a575184f090000000000000003000000000000000100000000000000060000000000000001636d64",
    "48574c52010101003c000000c6fc5ad50900000000000000030000000000000001000000000000000700000000000000020100000001000000010000000000000001000000010000000000000003000000613a31",
    "48574c5201020100110000007d14219b09000000000000000300000000000000010000000000000001",
    "48574c52010301001800000097dc03340900000000000000030000000000000001000000000000000500000000000000",
    "48574c5201030100000000000cec2eec0900000000000000",
    "48574c520104010018000000eddaf9d60900000000000000030000000000000001000000000000000500000000000000",
    "48574c52010501001800000093db07f60900000000000000030000000000000001000000000000000500000000000000",
];
