//! Request heads: byte by byte they parse as they do whole, what was accepted is what a plain reader sees, and
//! nothing is accepted that two readers could understand differently.
#![no_main]

use hamster_fuzz::{bounded, percent_decode, percent_encode};
use libfuzzer_sys::fuzz_target;
use s3::copy_source::CopySource;
use s3::error::S3Error;
use s3::http::head::{HEAD_BYTES_MAX, HEADERS_MAX, RequestHead};
use s3::meta;
use s3::route::Route;
use s3::xml::Owner;

type Parsed = Result<Option<usize>, (u16, String)>;

fn plain(result: Result<Option<usize>, S3Error>) -> Parsed {
    result.map_err(|error| (error.code() as u16, error.message().to_owned()))
}

/// The same bytes, `step` more at a time, until there is an answer.
fn in_pieces(input: &[u8], step: usize) -> (RequestHead, Parsed) {
    let mut head = RequestHead::new();
    let mut given = 0;
    loop {
        given = (given + step).min(input.len());
        let result = plain(head.parse(&input[..given]));
        if given == input.len() || !matches!(result, Ok(None)) {
            return (head, result);
        }
    }
}

fn parts(head: &RequestHead) -> impl PartialEq + std::fmt::Debug + use<> {
    let headers: Vec<(Vec<u8>, Vec<u8>)> =
        head.sent_headers().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
    let texts = [head.method_text(), head.path(), head.query().raw(), head.host()].map(<[u8]>::to_vec);
    (texts, headers, head.content_length(), head.is_chunked(), head.keep_alive(), head.expect_continue())
}

/// Reads an accepted head again, line by line, and compares.
fn plain_reader(head: &RequestHead, bytes: &[u8]) {
    let text = bytes.strip_suffix(b"\r\n\r\n").expect("it ends with an empty line");
    let start = text.iter().position(|byte| !b"\r\n".contains(byte)).expect("it has a request line");
    let mut lines: Vec<&[u8]> = text[start..].split(|byte| *byte == b'\n').collect();
    let last = lines.len() - 1;
    for line in &mut lines[..last] {
        *line = line.strip_suffix(b"\r").expect("each line ends with CR LF");
    }
    assert!(lines.iter().all(|line| !line.contains(&b'\r') && !line.contains(&0)), "a stray CR or a NUL");

    let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { panic!("a request line of {} words", words.len()) };
    assert_eq!(head.method_text(), method);
    assert!(matches!(version, b"HTTP/1.1" | b"HTTP/1.0"));
    let rebuilt = [head.path(), b"?", head.query().raw()].concat();
    assert!([&rebuilt[..], head.path(), b""].iter().any(|end| target.ends_with(end)), "not the target's");

    assert!(lines.len() - 1 <= HEADERS_MAX);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let mut seen = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|byte| *byte == b':').expect("a header has a colon");
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        assert!(!name.is_empty() && name.iter().all(token), "not the name of a header");
        assert!(value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()), "a control character");
        seen.push((name.to_ascii_lowercase(), value));
    }
    let ours: Vec<_> = head.sent_headers().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    assert_eq!(ours, seen);

    let all =
        |name: &str| seen.iter().filter(|(n, _)| n == name.as_bytes()).map(|(_, v)| *v).collect::<Vec<_>>();
    for name in ["host", "content-length", "transfer-encoding", "x-amz-date", "range", "not-there"] {
        assert_eq!(head.header_all(name).collect::<Vec<_>>(), all(name));
    }
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "two readers could find different ends of the body");
    assert_eq!(head.is_chunked(), !codings.is_empty());
    let length = lengths.first().map(|text| std::str::from_utf8(text).expect("digits"));
    assert!(length.is_none_or(|text| text.bytes().all(|byte| byte.is_ascii_digit())));
    assert_eq!(head.content_length(), length.map(|text| text.parse().expect("a number")));
    assert!(all("host").len() <= 1 && (version == b"HTTP/1.0" || all("host").len() == 1));
}

/// Uses an accepted head: there is no panic, and a key that is encoded again names the same object.
fn use_it(head: &RequestHead) {
    let domains = ["s3.example.com".to_owned(), "h".to_owned()];
    if let Ok(Route { bucket: Some(bucket), key: Some(key), virtual_host, .. }) = Route::of(head, &domains) {
        let key = percent_encode(key.as_str().as_bytes(), b"/");
        let path = if virtual_host { format!("/{key}") } else { format!("/{}/{key}", bucket.as_str()) };
        assert_eq!(percent_decode(head.path(), false), percent_decode(path.as_bytes(), false));
    }
    if let Ok(source) = CopySource::from_head(head) {
        assert!(!source.key.as_str().is_empty() && source.version_id.as_deref() != Some(""));
    }
    if let Ok(stored) = meta::stored_headers(head) {
        let bytes: usize = stored.user_metadata.iter().map(|e| e.name.len() + e.value.len()).sum();
        assert!(bytes <= meta::USER_METADATA_BYTES_MAX);
        assert!(stored.content_encoding.is_none_or(|coding| !coding.eq_ignore_ascii_case("aws-chunked")));
    }
    let owner = Owner { id: "owner", account_id: "123456789012" };
    let _ = meta::refuse_unsupported(head, &[], owner);
}

fuzz_target!(|input: &[u8]| {
    let mut whole = RequestHead::new();
    let result = bounded(2 * HEAD_BYTES_MAX + 16_384, || plain(whole.parse(input)));
    let steps = if input.len() < 2000 { [1, 3, 100] } else { [61, 997, 4096] };
    for step in steps {
        let (head, again) = in_pieces(input, step);
        assert_eq!(again, result, "in pieces of {step}");
        if matches!(result, Ok(Some(_))) {
            assert_eq!(parts(&head), parts(&whole));
        }
    }
    if let Ok(Some(end)) = result {
        assert!(end <= input.len());
        plain_reader(&whole, &input[..end]);
        use_it(&whole);
        // What follows a head does not change it; nor does an earlier head of the connection.
        let again = plain(whole.parse(&input[..end]));
        assert_eq!(again, Ok(Some(end)));
        assert_eq!(parts(&whole), parts(&in_pieces(&input[..end], end).0));
    }
});
