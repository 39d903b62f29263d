//! Delete (of many objects): however the document is written, it says the same, and what was accepted is bounded
//! and the same when written plainly.
#![no_main]

use futures_lite::future::block_on;
use hamster_fuzz::xml::{Writer, escaped, text};
use hamster_fuzz::{Source, bounded};
use libfuzzer_sys::fuzz_target;
use s3::error::S3Result;
use s3::time::{LAST_SECOND, iso8601_string};
use s3::xml::request::{self, Delete, DeleteObject};

fn delete(document: &[u8]) -> S3Result<Delete> {
    block_on(request::delete(document))
}

fn plainly(delete: &Delete) -> String {
    let mut out = format!("<Delete><Quiet>{}</Quiet>", delete.quiet);
    for object in &delete.objects {
        let fields = [
            ("Key", Some(object.key.clone())),
            ("VersionId", object.version_id.clone()),
            ("ETag", object.etag.as_ref().map(|etag| format!("\"{etag}\""))),
            ("Size", object.size.map(|size| size.to_string())),
            ("LastModifiedTime", object.modified_s.map(|second| iso8601_string(second * 1000))),
        ];
        out += "<Object>";
        for (name, text) in fields {
            out += &text.map_or(String::new(), |text| format!("<{name}>{}</{name}>", escaped(&text)));
        }
        out += "</Object>";
    }
    out + "</Delete>"
}

fn raw(document: &[u8]) {
    let Ok(found) = bounded(64 * document.len() + 65_536, || delete(document)) else { return };
    assert!((1..=1000).contains(&found.objects.len()));
    assert_eq!(delete(plainly(&found).as_bytes()).ok().as_ref(), Some(&found));
    for object in &found.objects {
        if let Ok(key) = object.checked_key() {
            assert!((1..=1024).contains(&key.as_str().len()) && !key.as_str().contains('\0'));
        }
    }
}

/// Trimmed text, which the reader takes as it is.
fn token(bytes: &[u8]) -> Option<String> {
    Some(text(bytes).trim().to_owned()).filter(|text| !text.is_empty())
}

fn made(plan: &mut Source<'_>) {
    let quiet = plan.flag();
    let mut objects = Vec::new();
    for _ in 0..=plan.byte() % 6 {
        let fields = plan.byte();
        objects.push(DeleteObject {
            key: text(plan.short()),
            version_id: token(plan.short()).filter(|_| fields & 1 == 1),
            etag: token(plan.short()).filter(|_| fields & 2 == 2).map(|tag| tag.replace('"', "'")),
            size: (fields & 4 == 4).then(|| plan.u64()),
            modified_s: (fields & 8 == 8).then(|| plan.u64() % (LAST_SECOND + 1)),
        });
    }
    let wanted = Delete { objects, quiet };
    let document = Writer::new(plan).root("Delete", |out| {
        for object in &wanted.objects {
            out.element("Object", |out| {
                if let Some(second) = object.modified_s {
                    out.text("LastModifiedTime", &iso8601_string(second * 1000));
                }
                if let Some(size) = object.size {
                    out.text("Size", &size.to_string());
                }
                for (name, text) in [("ETag", &object.etag), ("VersionId", &object.version_id)] {
                    if let Some(text) = text {
                        out.text(name, text);
                    }
                }
                out.text("Key", &object.key);
            });
        }
        out.text("Quiet", if quiet { "true" } else { "false" });
    });
    let found = delete(document.as_bytes());
    assert_eq!(found.ok().as_ref(), Some(&wanted), "{document}");
}

fuzz_target!(|data: &[u8]| {
    let mut source = Source(data);
    if source.flag() { raw(source.rest()) } else { made(&mut source) }
});
