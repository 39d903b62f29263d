//! CreateBucketConfiguration: however the document is written, it names the same location.
#![no_main]

use futures_lite::future::block_on;
use hamster_fuzz::xml::{Writer, escaped, text};
use hamster_fuzz::{Source, bounded};
use libfuzzer_sys::fuzz_target;
use s3::error::S3Result;
use s3::limits::CREATE_BUCKET_XML_BYTES_MAX;
use s3::xml::request;

fn create_bucket(document: &[u8]) -> S3Result<Option<String>> {
    block_on(request::create_bucket(document))
}

fn plainly(location: &str) -> String {
    let location = escaped(location);
    format!(
        "<CreateBucketConfiguration><LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
    )
}

fn raw(document: &[u8]) {
    let Ok(Some(location)) = bounded(64 * document.len() + 16_384, || create_bucket(document)) else {
        return;
    };
    assert!(!location.is_empty() && location.trim() == location);
    let plain = plainly(&location);
    if plain.len() <= CREATE_BUCKET_XML_BYTES_MAX {
        assert_eq!(create_bucket(plain.as_bytes()).ok().flatten(), Some(location));
    }
}

fn made(plan: &mut Source<'_>) {
    let wanted = plan.flag().then(|| text(plan.short()));
    let document = Writer::new(plan).root("CreateBucketConfiguration", |out| {
        if let Some(location) = &wanted {
            out.text("LocationConstraint", location);
        }
    });
    let found = create_bucket(document.as_bytes());
    if document.len() > CREATE_BUCKET_XML_BYTES_MAX {
        assert!(found.is_err());
        return;
    }
    let wanted = wanted.map(|location| location.trim().to_owned()).filter(|location| !location.is_empty());
    assert_eq!(found.map_err(|error| error.code()), Ok(wanted), "{document}");
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    if source.flag() { raw(source.rest()) } else { made(&mut source) }
});
