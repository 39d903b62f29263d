//! CompleteMultipartUpload: however the document is written, it says the same, and what was accepted is ordered,
//! bounded, and the same when written plainly.
#![no_main]

use futures_lite::future::block_on;
use hamster_fuzz::xml::{Writer, escaped, text};
use hamster_fuzz::{Source, bounded};
use libfuzzer_sys::fuzz_target;
use raft::record::ChecksumType;
use s3::error::{Code, S3Result};
use s3::xml::request::{self, CompletePart};

fn complete(document: &[u8]) -> S3Result<Vec<CompletePart>> {
    block_on(request::complete(document))
}

fn plainly(parts: &[CompletePart]) -> String {
    let mut out = String::from("<CompleteMultipartUpload>");
    for part in parts {
        let etag = escaped(&format!("\"{}\"", part.etag));
        out += &format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag>", u32::from(part.number));
        if let Some(checksum) = &part.checksum {
            let name = s3::checksum::element(checksum.algorithm());
            out += &format!("<{name}>{}</{name}>", s3::checksum::text(checksum, ChecksumType::FullObject, 0));
        }
        out += "</Part>";
    }
    out + "</CompleteMultipartUpload>"
}

fn raw(document: &[u8]) {
    let Ok(parts) = bounded(64 * document.len() + 65_536, || complete(document)) else { return };
    assert!((1..=10_000).contains(&parts.len()));
    assert!(parts.is_sorted_by(|a, b| a.number < b.number));
    assert!(parts.iter().all(|part| (1..=10_000).contains(&u32::from(part.number))));
    assert_eq!(complete(plainly(&parts).as_bytes()).ok().as_ref(), Some(&parts));
}

fn made(plan: &mut Source<'_>) {
    let mut wanted = Vec::new();
    for _ in 0..plan.byte() % 8 {
        let number = u32::from(plan.u16());
        wanted.push((number, text(plan.short())));
    }
    let document = Writer::new(plan).root("CompleteMultipartUpload", |out| {
        for (number, etag) in &wanted {
            out.element("Part", |out| {
                out.text("PartNumber", &number.to_string());
                out.text("ETag", etag);
            });
        }
    });
    let expected = if wanted.is_empty() {
        Err(Code::MalformedXML)
    } else if wanted.iter().any(|(number, _)| !(1..=10_000).contains(number)) {
        Err(Code::InvalidArgument)
    } else if !wanted.is_sorted_by(|a, b| a.0 < b.0) {
        Err(Code::InvalidPartOrder)
    } else {
        let etag = |etag: &str| etag.trim().trim_matches('"').to_owned();
        Ok(wanted.iter().map(|(number, tag)| (*number, etag(tag))).collect::<Vec<_>>())
    };
    let found = complete(document.as_bytes()).map_err(|error| error.code());
    let found = found.map(|parts| parts.into_iter().map(|part| (part.number.into(), part.etag)).collect());
    assert_eq!(found, expected, "{document}");
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    if source.flag() { raw(source.rest()) } else { made(&mut source) }
});
