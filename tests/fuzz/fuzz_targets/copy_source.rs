//! `x-amz-copy-source`: a plain reader finds the same object, and an object's name reaches the handler however a client
//! encodes it.
#![no_main]

use hamster_fuzz::{Source, bounded, percent_decode, percent_encode};
use libfuzzer_sys::fuzz_target;
use s3::copy_source::CopySource;
use s3::http::head::RequestHead;
use s3::name::{BucketName, ObjectKey};

type Named = (String, String, Option<String>);

/// What the product takes the header for; `None` if no head can carry it.
fn parsed(source: &[u8]) -> Option<Result<Named, u16>> {
    let bytes = [b"PUT /b/k HTTP/1.1\r\nHost: h\r\nx-amz-copy-source: ", source, b"\r\n\r\n"].concat();
    let mut head = RequestHead::new();
    // Line feeds in `source` may end the head early or add a second header.
    let whole = head.parse(&bytes).ok().flatten() == Some(bytes.len());
    (whole && head.sent_headers().count() == 2).then(|| {
        let source = bounded(8 * bytes.len() + 4096, || CopySource::from_head(&head));
        source
            .map(|source| (source.bucket.into_string(), source.key.into_string(), source.version_id))
            .map_err(|error| error.status())
    })
}

fn text(raw: &[u8], plus_is_space: bool) -> Option<String> {
    String::from_utf8(percent_decode(raw, plus_is_space)?).ok()
}

/// Bucket, key and version, cut out from the back; `None` if the source names no object.
fn twin(source: &[u8]) -> Option<Named> {
    const QUERY: &[u8] = b"?versionId=";
    let source = source.trim_ascii();
    let query = (0..source.len()).rev().find(|at| source[*at..].starts_with(QUERY));
    let version = match query {
        Some(at) => {
            let value = source[at + QUERY.len()..].split(|byte| *byte == b'&').next().unwrap_or_default();
            Some(text(value, true).filter(|version| !version.is_empty())?)
        }
        None => None,
    };
    let path = text(&source[..query.unwrap_or(source.len())], false)?;
    let start = usize::from(path.starts_with('/'));
    let slash = start + path[start..].find('/')?;
    let (bucket, key) = (&path[start..slash], &path[slash + 1..]);
    let valid = BucketName::parse(bucket).is_ok() && ObjectKey::parse(key).is_ok();
    (valid && !source.starts_with(b"arn:")).then(|| (bucket.to_owned(), key.to_owned(), version))
}

/// The forms in which clients write the source.
fn written(named: &Named) -> Vec<String> {
    let (bucket, key, version) = named;
    let query = match version {
        Some(version) => format!("?versionId={}", percent_encode(version.as_bytes(), b"")),
        None => String::new(),
    };
    let path = format!("{bucket}/{key}");
    let (open, closed) = (percent_encode(path.as_bytes(), b"/"), percent_encode(path.as_bytes(), b""));
    vec![
        format!("{open}{query}"),
        format!("/{open}{query}"),
        format!("{closed}{query}"),
        format!("%2F{closed}{query}"),
    ]
}

fuzz_target!(|data: &[u8]| {
    let mut plan = Source(data);
    if plan.flag() {
        let source = plan.rest();
        let Some(result) = parsed(source) else { return };
        assert_eq!(result.clone().ok(), twin(source), "{}", source.escape_ascii());
        match result {
            Ok(named) => {
                for source in written(&named) {
                    assert_eq!(parsed(source.as_bytes()), Some(Ok(named.clone())), "{source}");
                }
            }
            Err(status) => assert!((400..=501).contains(&status) && status != 500, "{status}"),
        }
        return;
    }
    let version = String::from_utf8_lossy(plan.short()).into_owned();
    let key = String::from_utf8_lossy(plan.rest()).into_owned();
    if ObjectKey::parse(key.as_str()).is_err() {
        return;
    }
    let named = ("bucket".to_owned(), key, (!version.is_empty()).then_some(version));
    for source in written(&named) {
        assert_eq!(parsed(source.as_bytes()), Some(Ok(named.clone())), "{source}");
    }
});
