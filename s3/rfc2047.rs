//! Encoded words (RFC 2047), in which S3 sends metadata values that are not ASCII.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The most bytes in one word: 45 bytes become 60 of base64, and with `=?UTF-8?B?` and `?=` 72 of the 75 allowed.
const WORD_BYTES_MAX: usize = 45;

/// A value in a form fit for a header: unchanged if it is printable ASCII that no reader takes for encoded words, else
/// as encoded words in base64.
pub fn encode(value: &str) -> Cow<'_, str> {
    if value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
        && (!value.contains("=?") || decode(value) == value)
    {
        return Cow::Borrowed(value);
    }
    let mut out = String::new();
    let mut rest = value;
    while !rest.is_empty() {
        let mut at = rest.len().min(WORD_BYTES_MAX);
        while !rest.is_char_boundary(at) {
            at -= 1;
        }
        let (word, after) = rest.split_at(at);
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str("=?UTF-8?B?");
        STANDARD.encode_string(word, &mut out);
        out.push_str("?=");
        rest = after;
    }
    Cow::Owned(out)
}

/// Decodes the encoded words of a value. White space between two of them is not part of the value. A word that cannot
/// be decoded stays as it is.
pub fn decode(value: &str) -> String {
    if !value.contains("=?") {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (between, candidate) = rest.split_at(start);
        let decoded = split_word(candidate);
        if !(after_word && decoded.is_some() && between.bytes().all(|b| b == b' ' || b == b'\t')) {
            out.push_str(between);
        }
        match decoded {
            Some((text, used)) => {
                out.push_str(&text);
                rest = &candidate[used..];
                after_word = true;
            }
            None => {
                out.push_str("=?");
                rest = &candidate[2..];
                after_word = false;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Decodes the word at the start of `text`; also returns its length.
fn split_word(text: &str) -> Option<(String, usize)> {
    let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let end = rest.find("?=")?;
    let body = &rest[..end];
    if body.contains(' ') {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(body).ok()?,
        "Q" | "q" => quoted(body.as_bytes())?,
        _ => return None,
    };
    // A charset may be followed by '*' and a language (RFC 2231).
    let charset = charset.split('*').next().unwrap_or_default();
    let decoded = if charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii") {
        String::from_utf8(bytes).ok()?
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        bytes.into_iter().map(|b| b as char).collect()
    } else {
        return None;
    };
    Some((decoded, text.len() - rest.len() + end + 2))
}

fn quoted(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        match body[at] {
            b'=' => {
                let mut byte = [0];
                hex::decode_to_slice(body.get(at + 1..at + 3)?, &mut byte).ok()?;
                out.push(byte[0]);
                at += 2;
            }
            b'_' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoded_words_are_decoded_and_the_rest_is_unchanged() {
        for (value, want) in [
            ("plain", "plain"),
            ("=?UTF-8?B?w7w=?=", "ü"),
            ("=?utf-8?q?=C3=BC_x?=", "ü x"),
            ("=?ISO-8859-1?Q?=FC?=", "ü"),
            ("a =?UTF-8?B?w7w=?= =?UTF-8?B?w7w=?= b", "a üü b"),
            ("=?UTF-8?B?w7w=?= b =?UTF-8?B?w7w=?=", "ü b ü"),
            ("=?UTF-8?B?!!?=", "=?UTF-8?B?!!?="),
            ("=?KOI8-R?B?w7w=?=", "=?KOI8-R?B?w7w=?="),
            ("=?UTF-8?Q?=F?=", "=?UTF-8?Q?=F?="),
            ("=?x", "=?x"),
            ("=?=?UTF-8?B?w7w=?=", "=?ü"),
        ] {
            assert_eq!(decode(value), want, "{value}");
        }
    }

    #[test]
    fn values_that_are_not_ascii_are_encoded() {
        assert_eq!(encode("a b~"), "a b~");
        assert_eq!(encode("ü"), "=?UTF-8?B?w7w=?=");
        // These very characters, not the word that they look like.
        assert_eq!(encode("=?UTF-8?B?w7w=?="), "=?UTF-8?B?PT9VVEYtOD9CP3c3dz0/PQ==?=");
        assert_eq!(encode("=?x"), "=?x");
        assert_eq!(encode("a\r\nb"), "=?UTF-8?B?YQ0KYg==?=");
        assert!(encode(&"ü🐹".repeat(100)).split(' ').all(|word| word.len() <= 75));
    }

    proptest! {
        #[test]
        fn any_value_survives_a_round_trip(value in "\\PC{0,120}|(=\\?UTF-8\\?[BQ]\\?[a-z0-9=]{0,8}\\?= ?){1,3}") {
            prop_assert_eq!(decode(&encode(&value)), value);
        }

        #[test]
        fn no_text_makes_it_panic(value in "[=?UTF8BQbq a-c_üß-]{0,60}") {
            decode(&value);
        }
    }
}
