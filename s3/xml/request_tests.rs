use super::*;
use engine::hash::ChecksumAlgorithm;
use futures_lite::future::{block_on, poll_once};
use proptest::prelude::*;

fn create_bucket(document: &[u8]) -> Result<Option<String>, S3Error> {
    block_on(super::create_bucket(document))
}

fn delete(document: &[u8]) -> Result<Delete, S3Error> {
    block_on(super::delete(document))
}

fn complete(document: &[u8]) -> Result<Vec<CompletePart>, S3Error> {
    block_on(super::complete(document))
}

fn code<T: std::fmt::Debug>(result: Result<T, S3Error>) -> Code {
    result.unwrap_err().code()
}

#[test]
fn a_bucket_configuration_yields_its_location() {
    let of = |inner: &str| {
        create_bucket(format!("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</CreateBucketConfiguration>").as_bytes())
    };
    assert_eq!(of("<LocationConstraint>eu-west-1</LocationConstraint>").unwrap(), Some("eu-west-1".into()));
    assert_eq!(of("").unwrap(), None);
    assert_eq!(of("<LocationConstraint/>").unwrap(), None);
    assert_eq!(create_bucket(b"").unwrap(), None);
    assert_eq!(code(of("<Location><Name>x</Name></Location>")), Code::NotImplemented);
    assert_eq!(code(of("<Tags/>")), Code::NotImplemented);
    assert_eq!(code(of("<Other/>")), Code::MalformedXML);
    assert_eq!(
        code(of("<LocationConstraint>a</LocationConstraint><LocationConstraint>b</LocationConstraint>")),
        Code::MalformedXML
    );
    assert_eq!(
        code(create_bucket(&vec![b' '; CREATE_BUCKET_XML_BYTES_MAX + 1])),
        Code::MaxMessageLengthExceeded
    );
}

#[test]
fn a_delete_yields_its_objects() {
    let document = "\u{feff}<?xml version=\"1.0\"?><!-- c --><s3:Delete xmlns:s3='x'>\n <Quiet>true</Quiet>\n\
        <Object><Key> a&amp;b&#x20;<![CDATA[<c>]]>&#128057; </Key><VersionId>null</VersionId></Object>\
        <Object><Key>k</Key><ETag>&quot;abc&quot;</ETag><Size>5</Size>\
        <LastModifiedTime>1994-11-06T08:49:37.000Z</LastModifiedTime></Object></s3:Delete>\n";
    let delete = delete(document.as_bytes()).unwrap();
    assert!(delete.quiet);
    assert_eq!(
        (delete.objects[0].key.as_str(), delete.objects[0].version_id.as_deref()),
        (" a&b <c>🐹 ", Some("null"))
    );
    let second = &delete.objects[1];
    assert_eq!(
        (second.etag.as_deref(), second.size, second.modified_s),
        (Some("abc"), Some(5), Some(784_111_777))
    );
}

#[test]
fn a_delete_has_limits_and_must_be_complete() {
    let many = |n: usize| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(n));
    assert_eq!(delete(many(1000).as_bytes()).unwrap().objects.len(), 1000);
    assert_eq!(code(delete(many(1001).as_bytes())), Code::MalformedXML);
    assert_eq!(code(delete(many(0).as_bytes())), Code::MalformedXML);
    for wrong in [
        "",
        "x",
        "<Delete>",
        "<Delete><Object><Key>k</Key></Object>",
        "<Delete><Object><Key>k</Key></Object></Delete><Delete/>",
        "<Delete><Object><Key>k</Key></Object></Delete>x",
        "<Delete><Object></Object></Delete>",
        "<Delete><Object><Key>k</Key><Key>k</Key></Object></Delete>",
        "<Delete><Object><Key>k<b/></Key></Object></Delete>",
        "<Delete><Object>text<Key>k</Key></Object></Delete>",
        "<Delete><Object><Key>k</Key></Objekt></Delete>",
        "<Delete><Object><Key>k</Key><Size>x</Size></Object></Delete>",
        "<Delete><Quiet>maybe</Quiet><Object><Key>k</Key></Object></Delete>",
        "<Delete><Object><Key>&unknown;</Key></Object></Delete>",
        "<Delete><Object><Key>&#xFFFFFFFF;</Key></Object></Delete>",
        "<Delete><Object><Key>a & b</Key></Object></Delete>",
        "<Other><Object><Key>k</Key></Object></Other>",
    ] {
        assert_eq!(code(delete(wrong.as_bytes())), Code::MalformedXML, "{wrong}");
    }
    assert_eq!(code(delete(b"<Delete>\xff</Delete>")), Code::MalformedXML);
}

/// Keys with control characters were deleted if the document named them, although XML 1.0 has no way to write them. The
/// response then repeated them in a form that no parser accepts.
#[test]
fn characters_that_xml_forbids_are_refused() {
    for key in
        ["&#x1;", "&#1;", "a&#0;", "&#xB;", "&#x1F;", "&#xFFFE;", "&#65535;", "&#xD800;", "\u{1}", "\u{fffe}"]
    {
        for key in [key.to_owned(), format!("<![CDATA[{key}]]>")] {
            let document = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
            let written_out = key.starts_with("<!") && key.contains('&');
            let result = delete(document.as_bytes()).map_err(|error| error.code());
            assert_eq!(result.is_ok(), written_out, "{document:?}");
            assert!(written_out || result == Err(Code::MalformedXML), "{document:?}");
        }
    }
    let allowed = "<Delete><Object><Key>&#x9;&#xA;&#xD;&#x20;&#x7F;&#xFFFD;&#x10000;</Key></Object></Delete>";
    assert_eq!(delete(allowed.as_bytes()).unwrap().objects[0].key, "\t\n\r \u{7f}\u{fffd}\u{10000}");
}

#[test]
fn bombs_are_refused() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]>\
        <Delete><Object><Key>&lol2;</Key></Object></Delete>";
    assert_eq!(code(delete(bomb.as_bytes())), Code::MalformedXML);
    let external = "<!DOCTYPE foo [<!ENTITY xxe SYSTEM \"file:///etc/passwd\">]><Delete/>";
    assert_eq!(code(delete(external.as_bytes())), Code::MalformedXML);
    let deep = "<Delete>".repeat(200_000);
    assert_eq!(code(delete(deep.as_bytes())), Code::MalformedXML);
    let deep = format!("<Delete><Object><Key>{}", "<a>".repeat(500_000));
    assert_eq!(code(delete(deep.as_bytes())), Code::MalformedXML);
}

#[test]
fn a_completion_yields_its_parts_in_order() {
    let of = |inner: &str| {
        complete(format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>").as_bytes())
    };
    let parts = of(
        "<Part><ETag>\"a\"</ETag><PartNumber>1</PartNumber><ChecksumCRC32C>4waSgw==</ChecksumCRC32C></Part>\
        <Part><PartNumber>10000</PartNumber><ETag>b</ETag></Part>",
    )
    .unwrap();
    assert_eq!((u32::from(parts[0].number), parts[0].etag.as_str()), (1, "a"));
    assert_eq!(parts[0].checksum, Some(checksum::parse(ChecksumAlgorithm::Crc32c, b"4waSgw==").unwrap()));
    assert_eq!((u32::from(parts[1].number), parts[1].etag.as_str(), parts[1].checksum), (10_000, "b", None));

    let part = |number: &str| format!("<Part><ETag>a</ETag><PartNumber>{number}</PartNumber></Part>");
    assert_eq!(code(of(&format!("{}{}", part("2"), part("1")))), Code::InvalidPartOrder);
    assert_eq!(code(of(&format!("{}{}", part("2"), part("2")))), Code::InvalidPartOrder);
    assert_eq!(code(of(&part("0"))), Code::InvalidArgument);
    assert_eq!(code(of(&part("-1"))), Code::InvalidArgument);
    assert_eq!(code(of(&part("10001"))), Code::InvalidArgument);
    assert_eq!(code(of(&part("x"))), Code::MalformedXML);
    assert_eq!(code(of("")), Code::MalformedXML);
    assert_eq!(code(of("<Part><PartNumber>1</PartNumber></Part>")), Code::MalformedXML);
    assert_eq!(code(of("<Part><ETag>a</ETag><PartNumber>1</PartNumber><X/></Part>")), Code::MalformedXML);
    let bad = "<Part><ETag>a</ETag><PartNumber>1</PartNumber><ChecksumSHA1>x</ChecksumSHA1></Part>";
    assert_eq!(code(of(bad)), Code::InvalidRequest);
    let all: String = (1..=10_000).map(|n| part(&n.to_string())).collect();
    assert_eq!(of(&all).unwrap().len(), 10_000);
}

/// A document of 10,000 parts kept its core busy for 10 ms, one that was made for it for 50.
#[test]
fn a_long_document_lets_other_tasks_run() {
    let part = |number: usize| format!("<Part><ETag>a</ETag><PartNumber>{number}</PartNumber></Part>");
    for (inner, at_once) in [
        ((1..=100).map(part).collect::<String>(), true),
        ((1..=10_000).map(part).collect(), false),
        ("<!---->".repeat(10_000) + &part(1), false),
        (format!("<Part><ETag>{}</ETag><PartNumber>1</PartNumber></Part>", "&lt;".repeat(10_000)), false),
    ] {
        let document = format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>");
        let polled = block_on(poll_once(super::complete(document.as_bytes())));
        assert_eq!(polled.is_some(), at_once, "{} bytes", document.len());
        assert!(complete(document.as_bytes()).is_ok());
    }
}

/// Clients that write an element for each algorithm, empty if they have no value, could complete no upload.
#[test]
fn an_empty_checksum_of_a_completed_part_is_ignored() {
    let of = |inner: &str| {
        let part = format!("<Part><ETag>a</ETag><PartNumber>1</PartNumber>{inner}</Part>");
        complete(format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>").as_bytes())
            .map(|parts| parts[0].checksum)
    };
    for none in [
        "<ChecksumCRC32/>",
        "<ChecksumCRC32></ChecksumCRC32>",
        "<ChecksumSHA1> \n</ChecksumSHA1>",
        "<ChecksumCRC32/><ChecksumCRC32C/>",
    ] {
        assert_eq!(of(none), Ok(None), "{none}");
    }
    let one = "<ChecksumSHA1/><ChecksumCRC32C>4waSgw==</ChecksumCRC32C><ChecksumCRC32/>";
    assert_eq!(of(one), Ok(Some(checksum::parse(ChecksumAlgorithm::Crc32c, b"4waSgw==").unwrap())));
    let two = "<ChecksumCRC32C>4waSgw==</ChecksumCRC32C><ChecksumCRC32>4waSgw==</ChecksumCRC32>";
    assert_eq!(code(of(two)), Code::MalformedXML);
    assert_eq!(code(of("<ChecksumX/>")), Code::MalformedXML);
}

proptest! {
    #[test]
    fn any_key_that_xml_allows_survives_our_writer_and_our_reader(key in "[\t\n\r -\u{fffd}\u{10000}-\u{10ffff}]{1,40}") {
        let mut out = b"<Delete><Object>".to_vec();
        out.extend_from_slice(b"<Key>");
        crate::xml::write::escape(&key, &mut out);
        out.extend_from_slice(b"</Key></Object></Delete>");
        prop_assert_eq!(&delete(&out).unwrap().objects[0].key, &key);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[<>/&;!a-c\\[\\]\"= ?-]{0,60}") {
        let _ = delete(&bytes);
        let _ = delete(format!("<Delete>{text}</Delete>").as_bytes());
        let _ = complete(&bytes);
        let _ = create_bucket(text.as_bytes());
    }
}
