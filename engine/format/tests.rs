use super::*;
use crate::error::{Corrupt, Error};
use crate::ids::DataId;
use proptest::prelude::*;

const SALT: Salt = Salt { segment: 7, generation: 3 };

fn sample() -> Header {
    Header {
        kind: Kind::Blob,
        blob: BlobHeader {
            data_id: DataId([0x11; 16]),
            shard: 2,
            k: 4,
            m: 2,
            codec: 1,
            partition: 4095,
            extent: 9,
            last: true,
            blocks: 3,
            payload_bytes: 0x0102_0304_0506,
            created_ms: 1_700_000_000_000,
        },
        body_bytes: 1234,
        body_crc: 0xdead_beef,
        batch: 5,
        batch_bytes: 8192,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_record_header_has_these_bytes() {
    let mut bytes = [0; HEADER_BYTES];
    sample().encode(SALT, &mut bytes);
    assert!(bytes[72..].iter().all(|byte| *byte == 0));
    assert_eq!(
        hex(&bytes[..72]),
        "484d5243010102008d65171eefbeadde1111111111111111111111111111111102040201ff0f090003000000d2040000\
         06050403020100000068e5cf8b0100000500000000200000"
    );
}

#[test]
fn a_segment_header_has_these_bytes() {
    let header =
        SegmentHeader { segment: 7, generation: 3, core: 1, length: 1 << 26, created_ms: 1_700_000_000_000 };
    let bytes = header.encode();
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    assert_eq!(
        hex(&bytes[..40]),
        "484d5347010000008f4e524307000000030000000100000000000004000000000068e5cf8b010000"
    );
}

#[test]
fn a_footer_has_these_bytes() {
    let entries = [
        Entry {
            data_id: DataId([1; 16]),
            shard: 1,
            extent: 2,
            last: true,
            record: 4096,
            kind: EntryKind::Blob { length: 5 },
        },
        Entry::tombstone(Tombstone { data_id: DataId([2; 16]), oldest: 3, newest: 4 }, 8192),
        Entry {
            data_id: DataId([3; 16]),
            shard: 0,
            extent: 1,
            last: false,
            record: 8200,
            kind: EntryKind::Publish(Publish { segment: 9, offset: 65536, length: 77 }),
        },
    ];
    let bytes = encode_entries(&entries);
    assert_eq!(
        hex(&bytes),
        "0101010101010101010101010101010101010200010000000002000005000000000000000000000002020202020202020202\
         0202020202020200000000000000000400000000000003000000040000000303030303030303030303030303030303000100\
         00000000010400004d0000000900000000200000"
    );
    assert_eq!(decode_entries(&bytes).as_deref(), Ok(&entries[..]));
    let trailer = FooterTrailer { salt: SALT, entries: 3, offset: 12288, entries_crc: crc32c(&bytes) };
    let encoded = trailer.encode();
    assert_eq!(FooterTrailer::decode(&encoded, SALT, 1 << 20), Ok(trailer));
    assert_eq!(
        hex(&encoded[..36]),
        "484d465401000000de8f94f0070000000300000003000000003000000000000046b80ffd"
    );
}

#[test]
fn a_trailer_of_another_use_of_the_file_does_not_count_and_one_beyond_the_file_is_damaged() {
    let trailer = FooterTrailer { salt: SALT, entries: 3, offset: 12288, entries_crc: 0 };
    let other = Salt { segment: 7, generation: 4 };
    assert_eq!(FooterTrailer::decode(&trailer.encode(), other, 1 << 20), Err(Corrupt::Magic.into()));
    let far = FooterTrailer { entries: u32::MAX, ..trailer };
    assert_eq!(
        FooterTrailer::decode(&far.encode(), SALT, 1 << 20),
        Err(Corrupt::Field("footer offset").into())
    );
}

#[test]
fn a_header_of_another_segment_or_generation_is_refused() {
    let mut bytes = [0; HEADER_BYTES];
    sample().encode(SALT, &mut bytes);
    assert_eq!(Header::decode(&bytes, SALT), Ok(sample()));
    for salt in [Salt { segment: 8, ..SALT }, Salt { generation: 4, ..SALT }] {
        assert_eq!(Header::decode(&bytes, salt), Err(Corrupt::Header.into()));
    }
}

#[test]
fn a_sealed_record_an_unknown_kind_and_a_later_version_are_refused_but_not_reported_as_damage() {
    for (at, value) in [(6, 1), (6, 0x80), (5, 9), (4, 2)] {
        let mut bytes = [0; HEADER_BYTES];
        sample().encode(SALT, &mut bytes);
        bytes[at] = value;
        Header::put_in_batch(&mut bytes, SALT, 5, 8192);
        assert!(matches!(Header::decode(&bytes, SALT), Err(Error::Unsupported(_))), "{at}");
    }
}

#[test]
fn zero_bytes_of_the_header_are_ignored_because_they_may_get_a_meaning_later() {
    let mut bytes = [0; HEADER_BYTES];
    sample().encode(SALT, &mut bytes);
    bytes[90] = 1;
    Header::put_in_batch(&mut bytes, SALT, 5, 8192);
    assert_eq!(Header::decode(&bytes, SALT), Ok(sample()));
}

#[test]
fn a_body_is_checked_for_length_and_content() {
    let mut header = sample();
    header.body_bytes = 4;
    header.body_crc = crc32c(b"abcd");
    assert_eq!(header.check_body(b"abcdefg"), Ok(&b"abcd"[..]));
    assert_eq!(header.check_body(b"abc"), Err(Corrupt::Short));
    assert_eq!(header.check_body(b"abce"), Err(Corrupt::Body));
}

#[test]
fn crc32c_is_castagnoli() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

fn any_header() -> impl Strategy<Value = Header> {
    let blob = (any::<[u8; 16]>(), any::<[u8; 4]>(), any::<(u16, u16, bool)>(), any::<(u32, u64, u64)>());
    (0..3usize, blob, 0..=262_144u32, any::<(u32, u32)>(), 0..=256u32).prop_map(
        |(
            kind,
            (id, bytes, (partition, extent, last), (blocks, payload_bytes, created_ms)),
            body,
            crc,
            pages,
        )| {
            Header {
                kind: [Kind::Blob, Kind::Delete, Kind::Publish][kind],
                blob: BlobHeader {
                    data_id: DataId(id),
                    shard: bytes[0],
                    k: bytes[1],
                    m: bytes[2],
                    codec: bytes[3],
                    partition,
                    extent,
                    last,
                    blocks,
                    payload_bytes,
                    created_ms,
                },
                body_bytes: body,
                body_crc: crc.0,
                batch: crc.1,
                batch_bytes: pages * 4096,
            }
        },
    )
}

proptest! {
    #[test]
    fn headers_decode_to_what_was_encoded(header in any_header(), segment: u32, generation: u32) {
        let mut bytes = [0; HEADER_BYTES];
        let salt = Salt { segment, generation };
        header.encode(salt, &mut bytes);
        prop_assert_eq!(Header::decode(&bytes, salt), Ok(header));
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_detected(header in any_header(), bit in 0..HEADER_BYTES * 8) {
        let mut bytes = [0; HEADER_BYTES];
        header.encode(SALT, &mut bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::decode(&bytes, SALT).is_err());
    }

    #[test]
    fn decoders_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Header::decode(&bytes, SALT);
        let _ = SegmentHeader::decode(&bytes);
        let _ = FooterTrailer::decode(&bytes, SALT, 1 << 20);
        let _ = decode_entries(&bytes);
        let _ = Publish::decode(&bytes);
        let _ = decode_tombstones(&bytes).map(Iterator::count);
    }

    #[test]
    fn tombstones_and_publishes_decode_to_what_was_encoded(
        ids in proptest::collection::vec(any::<([u8; 16], u32, u32)>(), 0..20), segment: u32, units: u32, length: u32,
    ) {
        let tombstones: Vec<Tombstone> =
            ids.into_iter().map(|(id, oldest, newest)| Tombstone { data_id: DataId(id), oldest, newest }).collect();
        let bytes = encode_tombstones(&tombstones);
        let back: Vec<Tombstone> = decode_tombstones(&bytes).expect("whole").collect();
        prop_assert_eq!(back, tombstones);
        let publish = Publish { segment, offset: u64::from(units) * 8, length };
        prop_assert_eq!(Publish::decode(&publish.encode()), Ok(publish));
    }
}
