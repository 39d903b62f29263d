//! Records of the Raft log: with a corrected checksum they decode, or are recognized as a later program's; what
//! decodes survives a round trip, and a changed bit or a cut is always detected.
#![no_main]

use hamster_fuzz::{Source, bounded, crc32c, put_u32};
use libfuzzer_sys::fuzz_target;
use raft::wal::record::{Fault, HEADER_BYTES, Record, frame};

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    let (salt, sequence) = (u64::from(source.byte()), u64::from(source.byte()));
    let (at, bit) = (usize::from(source.u16()), source.byte() % 8);
    let behind = usize::from(source.byte());
    let _ = Record::decode(salt, sequence, source.0);

    let mut bytes = source.rest().to_vec();
    if bytes.len() < HEADER_BYTES {
        return;
    }
    bytes[..4].copy_from_slice(b"HWLR");
    let payload = bytes.len() - HEADER_BYTES;
    put_u32(&mut bytes, 8, payload as u32);
    bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
    let sum = crc32c(&[&salt.to_le_bytes(), &bytes[..12], &bytes[16..]]);
    put_u32(&mut bytes, 12, sum);

    assert_eq!(frame(salt, &bytes), Some((sequence, bytes.len())));
    let followed = [&bytes[..], &vec![0xaa; behind]].concat();
    match bounded(64 * data.len() + 4096, || Record::decode(salt, sequence, &followed)) {
        Ok(found) => {
            assert_eq!(found.len, bytes.len());
            let mut again = Vec::new();
            found.record.encode(salt, sequence, found.ends_batch, &mut again);
            assert_eq!(again.len(), found.record.encoded_len());
            let same = Record::decode(salt, sequence, &again).expect("ours decodes");
            assert_eq!((same.record, same.ends_batch), (found.record, found.ends_batch));
        }
        Err(fault) => assert!(matches!(fault, Fault::Unknown(_)), "a correct checksum was not recognized"),
    }
    assert_eq!(Record::decode(salt + 1, sequence, &bytes), Err(Fault::Absent));
    assert_eq!(Record::decode(salt, sequence + 1, &bytes), Err(Fault::Absent));
    let at = at % bytes.len();
    assert_eq!(Record::decode(salt, sequence, &bytes[..at]), Err(Fault::Absent));
    bytes[at] ^= 1 << bit;
    assert_eq!(Record::decode(salt, sequence, &bytes), Err(Fault::Absent));
});
