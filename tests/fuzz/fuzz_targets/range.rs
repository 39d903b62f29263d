//! The Range header, checked against a reader of RFC 9110's grammar and by counting the bytes of a small object.
#![no_main]

use hamster_fuzz::Source;
use libfuzzer_sys::fuzz_target;
use s3::range::{ByteRange, Extent};

/// What a single range asks for: first and last position, or how many of the last bytes.
fn twin(header: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let equals = header.iter().position(|byte| *byte == b'=')?;
    if !header[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let set = &header[equals + 1..];
    let dash = set.iter().position(|byte| *byte == b'-')?;
    let position = |part: &[u8]| {
        let digits = part.iter().all(u8::is_ascii_digit);
        let number = part.iter().fold(0u128, |n, b| (n * 10 + u128::from(b & 15)).min(u64::MAX.into()));
        digits.then_some((!part.is_empty()).then_some(number as u64))
    };
    let both = (position(&set[..dash])?, position(&set[dash + 1..])?);
    let valid = match both {
        (None, last) => last.is_some(),
        (Some(first), Some(last)) => first <= last,
        (Some(_), None) => true,
    };
    valid.then_some(both)
}

/// The positions meant, found by looking at each one. The last bytes of an empty object are all of it.
fn count(range: (Option<u64>, Option<u64>), size: u64) -> Option<(u64, u64)> {
    if let (None, Some(1..)) = range
        && size == 0
    {
        return Some((0, 0));
    }
    let meant = |at: &u64| match range {
        (Some(first), last) => *at >= first && last.is_none_or(|last| *at <= last),
        (None, Some(length)) => size - *at <= length,
        (None, None) => false,
    };
    let positions: Vec<u64> = (0..size).filter(meant).collect();
    Some((*positions.first()?, positions.len() as u64))
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    let (small, large) = (u64::from(source.byte()), source.u64());
    let header = source.rest();
    let parsed = ByteRange::parse(header);
    let expected = twin(header);
    let seen = parsed.map(|range| match range {
        ByteRange::From(first) => (Some(first), None),
        ByteRange::FromTo(first, last) => (Some(first), Some(last)),
        ByteRange::Last(length) => (None, Some(length)),
    });
    assert_eq!(seen, expected);
    let (Some(range), Some(expected)) = (parsed, expected) else { return };

    let extent = range.resolve(small).ok().map(|Extent { start, length }| (start, length));
    assert_eq!(extent, count(expected, small));
    if let Ok(Extent { start, length }) = range.resolve(large) {
        assert!((length > 0 || large == 0) && u128::from(start) + u128::from(length) <= u128::from(large));
    }
    if let Ok(source_range) = ByteRange::parse_copy_source(header) {
        assert!(header.starts_with(b"bytes=") && source_range == range);
        if let Ok(Extent { length, .. }) = source_range.resolve_copy_source(large) {
            let (Some(first), Some(last)) = expected else { panic!("a copy of an open range") };
            assert!(last < large && length == last - first + 1);
        }
    }
});
