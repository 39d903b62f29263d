//! Percent-encoding and query strings, checked against plain second implementations and by round trips.
#![no_main]

use hamster_fuzz::{Source, bounded, percent_decode, percent_encode};
use libfuzzer_sys::fuzz_target;
use s3::uri::{Query, Set, decode, decode_str, encode_into, name_is, recode_into};

fn encoded(bytes: &[u8], set: Set) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(bytes, set, &mut out);
    out
}

fn recoded(raw: &[u8], set: Set, plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::new();
    recode_into(raw, set, plus_is_space, &mut out);
    out
}

fn one_text(raw: &[u8]) {
    assert_eq!(encoded(raw, Set::Unreserved), percent_encode(raw, b"").into_bytes());
    assert_eq!(encoded(raw, Set::Path), percent_encode(raw, b"/").into_bytes());
    for set in [Set::Unreserved, Set::Path, Set::ListEncoding] {
        for plus_is_space in [false, true] {
            let ours = encoded(raw, set);
            let decoded = decode(&ours, plus_is_space).expect("ours is well-formed");
            assert_eq!(*decoded, *raw, "{set:?}");
        }
    }
    for plus in [false, true] {
        let decoded = decode(raw, plus).ok().map(|text| text.into_owned());
        assert_eq!(decoded, percent_decode(raw, plus));
        let text = decode_str(raw, plus).ok().map(|text| text.into_owned());
        assert_eq!(text, decoded.clone().and_then(|bytes| String::from_utf8(bytes).ok()));
        for set in [Set::Unreserved, Set::Path] {
            let once = recoded(raw, set, plus);
            assert_eq!(recoded(&once, set, plus), once, "the canonical form is not stable");
            if let Some(decoded) = &decoded {
                assert_eq!(once, encoded(decoded, set), "recoding is not decoding and encoding");
            }
        }
    }
}

/// Reads a query as it was sent.
fn raw_query(raw: &[u8]) {
    let mut expected = Vec::new();
    for pair in raw.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        expected.push((halves.next().unwrap_or_default(), halves.next().unwrap_or_default()));
    }
    let query = Query::new(raw);
    assert_eq!(query.pairs().collect::<Vec<_>>(), expected);
    for (name, _) in &expected {
        let Ok(text) = decode_str(name, true) else { continue };
        assert!(name_is(name, &text) && query.has(&text));
        let first = expected.iter().find(|(other, _)| name_is(other, &text)).expect("at least itself");
        assert_eq!(query.get_raw(&text), Some(first.1));
        let value = percent_decode(first.1, true).and_then(|value| String::from_utf8(value).ok());
        assert_eq!(query.get(&text).ok().flatten().map(|value| value.into_owned()), value);
    }
}

/// A query written from names and values returns them.
fn written_query(source: &mut Source<'_>) {
    let mut pairs: Vec<(String, String)> = Vec::new();
    while !source.is_empty() && pairs.len() < 20 {
        let mut text = || String::from_utf8_lossy(source.short()).into_owned();
        pairs.push((text(), text()));
    }
    let written: Vec<String> = pairs
        .iter()
        .map(|(name, value)| {
            format!("{}={}", percent_encode(name.as_bytes(), b""), percent_encode(value.as_bytes(), b""))
        })
        .collect();
    let written = written.join("&");
    let query = Query::new(written.as_bytes());
    for (name, _) in &pairs {
        let first = pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        assert_eq!(query.get(name).expect("ours is well-formed").as_deref(), first);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    match source.byte() % 3 {
        0 => bounded(64 * data.len() + 4096, || one_text(source.rest())),
        1 => raw_query(source.rest()),
        _ => written_query(&mut source),
    }
});
