//! Encoded words in metadata: a value that is encoded decodes to itself, words of every kind that a plain writer wrote
//! are read as it meant them, and what is no word stays as it is.
#![no_main]

use hamster_fuzz::{Source, base64, bounded};
use libfuzzer_sys::fuzz_target;
use s3::rfc2047::{decode, encode};

/// The longest encoded word (RFC 2047, 2).
const WORD_BYTES_MAX: usize = 75;

fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

fn round_trip(value: &str) {
    let encoded = encode(value);
    assert!(is_plain(&encoded), "not fit for a header: {encoded:?}");
    assert_eq!(decode(&encoded), value);
    // What looks like an encoded word is sent as another.
    if is_plain(value) && decode(value) == value {
        assert_eq!(encoded, value);
        return;
    }
    for word in encoded.split(' ') {
        assert!(word.starts_with("=?UTF-8?B?") && word.ends_with("?=") && word.len() <= WORD_BYTES_MAX);
        assert!(
            !decode(word).contains(char::REPLACEMENT_CHARACTER)
                || value.contains(char::REPLACEMENT_CHARACTER)
        );
    }
}

/// In Q: letters as they are if `some`, all other bytes by their numbers.
fn quoted(bytes: &[u8], some: bool) -> String {
    let one = |byte: &u8| match byte {
        b' ' => "_".to_owned(),
        byte if some && byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("={byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// Words and text between them, and what they mean.
fn written(plan: &mut Source<'_>) -> (String, String) {
    let (mut sent, mut meant, mut between, mut after_word) =
        (String::new(), String::new(), String::new(), false);
    while !plan.is_empty() {
        let choice = plan.byte();
        let bytes = plan.short();
        if choice.is_multiple_of(4) {
            let blank = choice & 4 != 0;
            let text = bytes.iter().map(|byte| if blank { ' ' } else { char::from(byte % 0x5f + 0x20) });
            between.extend(text.filter(|char| *char != '?'));
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        let utf8 = ["UTF-8", "utf-8", "utf-8*en", "Utf-8"][usize::from(choice >> 6)];
        let (word, meaning) = match choice % 4 {
            1 => (format!("=?{utf8}?B?{}?=", base64(text.as_bytes())), text.into_owned()),
            2 => (format!("=?{utf8}?q?{}?=", quoted(text.as_bytes(), choice & 4 != 0)), text.into_owned()),
            _ => {
                let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                (format!("=?ISO-8859-1?Q?{}?=", quoted(bytes, choice & 4 != 0)), latin)
            }
        };
        // Space between two words is not part of the value.
        if !(after_word && between.trim_matches(' ').is_empty()) {
            meant += &between;
        }
        sent += &between;
        between.clear();
        sent += &word;
        meant += &meaning;
        after_word = true;
    }
    (sent + &between, meant + &between)
}

fuzz_target!(|data: &[u8]| {
    let mut plan = Source(data);
    match plan.byte() % 3 {
        0 => round_trip(&String::from_utf8_lossy(plan.rest())),
        1 => {
            let (sent, meant) = written(&mut plan);
            assert_eq!(decode(&sent), meant, "{sent}");
        }
        _ => {
            let value = String::from_utf8_lossy(plan.rest());
            // Four digits of base64 are three bytes, which are six in UTF-8 if they were ISO 8859-1.
            let decoded = bounded(16 * value.len() + 4096, || decode(&value));
            assert!(decoded.len() <= 2 * value.len());
            round_trip(&decoded);
        }
    }
});
