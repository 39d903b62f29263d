//! The formats of segments: the checksum of each structure is corrected, so that the code behind the check is
//! reached. What decodes survives a round trip, and a changed bit is always detected.
#![no_main]

use engine::error::{Corrupt, Error};
use engine::format::*;
use engine::frame::{BlockPlace, block_len, frame, verify_block};
use engine::ids::DataId;
use engine::limits::{MAX_BATCH_BYTES, MAX_RECORD_BODY_BYTES};
use hamster_fuzz::{Source, bounded, crc32c as plain_crc, put_u32};
use libfuzzer_sys::fuzz_target;

fn record_header(source: &mut Source<'_>) {
    let salt = Salt { segment: source.u32(), generation: source.u32() };
    let mut bytes: [u8; HEADER_BYTES] = source.array();
    bytes[..4].copy_from_slice(b"HMRC");
    bytes[8..12].fill(0);
    let sum = plain_crc(&[&bytes, &salt.segment.to_le_bytes(), &salt.generation.to_le_bytes()]);
    put_u32(&mut bytes, 8, sum);
    match Header::decode(&bytes, salt) {
        Ok(header) => {
            assert!(header.body_bytes as usize <= MAX_RECORD_BODY_BYTES);
            assert!(header.batch_bytes as usize <= MAX_BATCH_BYTES && header.batch_bytes % 4096 == 0);
            let mut again = [0; HEADER_BYTES];
            header.encode(salt, &mut again);
            assert_eq!(Header::decode(&again, salt), Ok(header));
            if bytes[72..].iter().all(|byte| *byte == 0) {
                assert_eq!(again, bytes);
            }
            body(&header, source.rest());
            let other = Salt { generation: salt.generation.wrapping_add(1), ..salt };
            assert_eq!(Header::decode(&bytes, other), Err(Corrupt::Header.into()));
        }
        Err(error) => assert!(matches!(error, Error::Unsupported(_) | Error::Corrupt(Corrupt::Field(_)))),
    }
    let bit = usize::from(source.byte()) % HEADER_BYTES;
    bytes[bit] ^= 1 << (source.byte() % 8);
    assert!(matches!(Header::decode(&bytes, salt), Err(Error::Corrupt(_))));
}

fn body(header: &Header, bytes: &[u8]) {
    let mut header = *header;
    header.body_bytes = bytes.len() as u32 / 2;
    let half = &bytes[..bytes.len() / 2];
    header.body_crc = plain_crc(&[half]);
    assert_eq!(header.check_body(bytes), Ok(half));
    header.body_crc ^= 1;
    assert_eq!(header.check_body(bytes), Err(Corrupt::Body));
    header.body_bytes = bytes.len() as u32 + 1;
    assert_eq!(header.check_body(bytes), Err(Corrupt::Short));
}

fn segment_header(source: &mut Source<'_>) {
    let mut bytes: [u8; SEGMENT_HEADER_BYTES] = source.array();
    bytes[..4].copy_from_slice(b"HMSG");
    bytes[8..12].fill(0);
    let sum = plain_crc(&[&bytes]);
    put_u32(&mut bytes, 8, sum);
    match SegmentHeader::decode(&bytes) {
        Ok(header) => assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header)),
        Err(error) => assert!(matches!(error, Error::Unsupported(_)) && bytes[4] != 1),
    }
    bytes[usize::from(source.byte()) % SEGMENT_HEADER_BYTES] ^= 1 << (source.byte() % 8);
    assert!(matches!(SegmentHeader::decode(&bytes), Err(Error::Corrupt(_))));
}

fn footer(source: &mut Source<'_>) {
    let length = source.u64();
    let mut bytes: [u8; TRAILER_BYTES] = source.array();
    bytes[..4].copy_from_slice(b"HMFT");
    bytes[8..12].fill(0);
    let sum = plain_crc(&[&bytes]);
    put_u32(&mut bytes, 8, sum);
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let salt = Salt { segment: word(12), generation: word(16) };
    match FooterTrailer::decode(&bytes, salt, length) {
        Ok(trailer) => {
            let end = u128::from(trailer.offset) + u128::from(trailer.entries) * ENTRY_BYTES as u128;
            assert!(end + PAGE_BYTES as u128 <= u128::from(length), "entries outside the file");
            assert!(trailer.offset >= PAGE_BYTES as u64 && trailer.offset % PAGE_BYTES as u64 == 0);
            assert_eq!(FooterTrailer::decode(&trailer.encode(), salt, length), Ok(trailer));
        }
        Err(error) => assert!(matches!(error, Error::Unsupported(_) | Error::Corrupt(Corrupt::Field(_)))),
    }
    bytes[usize::from(source.byte()) % TRAILER_BYTES] ^= 1 << (source.byte() % 8);
    assert!(FooterTrailer::decode(&bytes, salt, length).is_err());
}

fn lists(bytes: &[u8]) {
    if let Ok(entries) = decode_entries(bytes) {
        assert_eq!(entries.len() * ENTRY_BYTES, bytes.len());
        let again = encode_entries(&entries);
        assert_eq!(decode_entries(&again).as_deref(), Ok(&entries[..]));
        assert_eq!(again.len(), bytes.len());
    }
    match decode_tombstones(bytes) {
        Ok(tombstones) => assert_eq!(encode_tombstones(&tombstones.collect::<Vec<_>>()), bytes),
        Err(_) => assert!(bytes.len() % 24 != 0),
    }
    if let Ok(publish) = Publish::decode(bytes) {
        assert_eq!(publish.encode()[..12], bytes[..12]);
        assert_eq!(Publish::decode(&publish.encode()), Ok(publish));
    }
}

fn block(source: &mut Source<'_>) {
    let place = BlockPlace { data_id: DataId(source.array()), shard: source.byte(), block: 0 };
    let (at, bit) = (usize::from(source.u16()), source.byte() % 8);
    let payload = source.rest();
    let mut framed = frame(payload, place.data_id, place.shard);
    assert_eq!(framed.len(), block_len(payload.len()));
    let _ = verify_block(payload, place);
    if payload.is_empty() {
        return;
    }
    assert_eq!(verify_block(&framed, place), Ok(payload));
    assert!(verify_block(&framed, BlockPlace { block: 1, ..place }).is_err());
    // With a corrected checksum, a trailer of any content is refused or gives no more than the block holds.
    let trailer = framed.len() - 32;
    let at = at % framed.len();
    framed[at] ^= 1 << bit;
    assert!(verify_block(&framed, place).is_err());
    let salt = [&place.data_id.0[..], &[place.shard], &[0; 4]].concat();
    let sum = plain_crc(&[&framed[..trailer], &framed[trailer + 4..], &salt]);
    put_u32(&mut framed, trailer, sum);
    if let Ok(payload) = verify_block(&framed, place) {
        assert_eq!(block_len(payload.len()), framed.len());
    }
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    match source.byte() % 5 {
        0 => record_header(&mut source),
        1 => segment_header(&mut source),
        2 => footer(&mut source),
        3 => bounded(16 * data.len() + 4096, || lists(source.rest())),
        _ => block(&mut source),
    }
});
