use super::*;
use crate::http::response::DateCache;
use crate::test_support::head;

fn written(stored: &ObjectHeaders, query: &str) -> String {
    let mut out = Vec::new();
    let mut response = ResponseHead::start(&mut out, 200, DateCache::default().at(0), "1");
    let overrides = Overrides::from_query(Query::new(query.as_bytes())).unwrap();
    write_headers(stored, &overrides, &mut response);
    let text = String::from_utf8(out).unwrap();
    text.split_once("x-amz-request-id: 1\r\n").unwrap().1.to_owned()
}

#[test]
fn stored_headers_come_back() {
    let stored = stored_headers(&head(
        "Content-Type: text/plain\r\nCache-Control: no-cache\r\nContent-Encoding: aws-chunked, gzip\r\n\
         Content-Disposition: attachment; filename=\"ü\"\r\nContent-Language: de\r\nExpires: soon\r\n\
         X-Amz-Meta-Name: =?UTF-8?B?w7w=?=\r\nx-amz-meta-raw: ü\r\nx-amz-meta-a: 1\r\nX-AMZ-META-A: 2\r\n",
    ))
    .unwrap();
    let user: Vec<_> = stored.user_metadata.iter().map(|e| (e.name.as_str(), e.value.as_str())).collect();
    assert_eq!(user, [("name", "ü"), ("raw", "ü"), ("a", "1,2")]);
    assert_eq!(
        written(&stored, ""),
        "Content-Type: text/plain\r\nCache-Control: no-cache\r\nContent-Disposition: attachment; filename=\"ü\"\r\n\
         Content-Encoding: gzip\r\nContent-Language: de\r\nExpires: soon\r\nx-amz-meta-name: =?UTF-8?B?w7w=?=\r\n\
         x-amz-meta-raw: =?UTF-8?B?w7w=?=\r\nx-amz-meta-a: 1,2\r\n"
    );
}

#[test]
fn overrides_replace_stored_values_and_cannot_inject_headers() {
    let stored = ObjectHeaders { cache_control: Some("a".into()), ..ObjectHeaders::default() };
    let query = "response-content-type=text%2Fcss&response-cache-control=no%0d%0aX:%20y&response-expires=e";
    assert_eq!(
        written(&stored, query),
        "Content-Type: text/css\r\nCache-Control: no  X: y\r\nExpires: e\r\n"
    );
    assert_eq!(written(&ObjectHeaders::default(), ""), "Content-Type: binary/octet-stream\r\n");
}

/// "gzip, br" came back as "gzip,br": the codings were joined again.
#[test]
fn a_content_encoding_comes_back_as_it_was_sent_without_aws_chunked() {
    for (sent, kept) in [
        ("gzip, br", Some("gzip, br")),
        ("gzip ,br", Some("gzip ,br")),
        ("GZIP", Some("GZIP")),
        ("gzip;q=1,, x", Some("gzip;q=1,, x")),
        ("aws-chunked", None),
        ("AWS-Chunked,aws-chunked", None),
        ("aws-chunked,gzip, br", Some("gzip, br")),
        ("gzip, aws-chunked", Some("gzip")),
        ("gzip, aws-chunked, br", Some("gzip, br")),
        ("aws-chunked\r\nContent-Encoding: gzip", Some("gzip")),
        ("gzip\r\nContent-Encoding: br", Some("gzip,br")),
        ("", None),
    ] {
        let stored = stored_headers(&head(&format!("Content-Encoding: {sent}\r\n"))).unwrap();
        assert_eq!(stored.content_encoding.as_deref(), kept, "{sent:?}");
    }
}

#[test]
fn metadata_is_bounded() {
    let code = |headers: String| stored_headers(&head(&headers)).map_err(|e| e.code());
    assert!(code(format!("x-amz-meta-a: {}\r\n", "v".repeat(2047))).is_ok());
    assert_eq!(code(format!("x-amz-meta-a: {}\r\n", "v".repeat(2048))), Err(Code::MetadataTooLarge));
    assert_eq!(code(format!("Cache-Control: {}\r\n", "v".repeat(8193))), Err(Code::MetadataTooLarge));
}

const ME: Owner<'static> = Owner { id: "me", account_id: "123456789012" };

/// Only the canonical user id was compared, which no client sends: the header names an account by its twelve digits.
#[test]
fn the_expected_owner_is_an_account() {
    for header in ["x-amz-expected-bucket-owner", "X-Amz-Source-Expected-Bucket-Owner"] {
        let of = |value: &str| {
            refuse_unsupported(&head(&format!("{header}: {value}\r\n")), &[], ME)
                .map_err(|error| error.code())
        };
        assert_eq!(of("123456789012"), Ok(()));
        assert_eq!(of("me"), Ok(()));
        assert_eq!(of("123456789013"), Err(Code::AccessDenied));
        for no_account in ["", "you", "12345678901", "1234567890123", "12345678901x"] {
            assert_eq!(of(no_account), Err(Code::InvalidBucketOwnerAWSAccountID), "{no_account}");
        }
    }
}

/// Every class except STANDARD was refused, although backup programs are configured with others.
#[test]
fn storage_classes_keep_their_name_and_standard_is_not_stored() {
    let of = |class: &str| {
        let head = head(&format!("x-amz-storage-class: {class}\r\n"));
        assert_eq!(refuse_unsupported(&head, &[], ME).is_ok(), storage_class(&head).is_ok(), "{class}");
        storage_class(&head).map_err(|error| error.code())
    };
    assert_eq!((storage_class(&head("")), of("STANDARD")), (Ok(None), Ok(None)));
    for class in ["STANDARD_IA", "GLACIER", "DEEP_ARCHIVE", "REDUCED_REDUNDANCY"] {
        assert_eq!(of(class), Ok(Some(class.to_owned())));
    }
    for class in ["", "standard", "OUTPOSTS", "STANDARD,GLACIER"] {
        assert_eq!(of(class), Err(Code::InvalidStorageClass), "{class}");
    }
}

#[test]
fn no_op_headers_pass() {
    for headers in [
        "x-amz-acl: private\r\nx-amz-storage-class: STANDARD\r\n",
        "x-amz-acl: bucket-owner-full-control\r\n",
        "x-amz-tagging-directive: COPY\r\nx-amz-bucket-object-lock-enabled: false\r\n",
        "x-amz-object-ownership: BucketOwnerEnforced\r\nx-amz-bypass-governance-retention: true\r\n",
        "x-amz-date: 1\r\nx-amz-meta-tagging: 1\r\nx-amz-content-sha256: x\r\n",
    ] {
        assert_eq!(refuse_unsupported(&head(headers), &[], ME), Ok(()), "{headers}");
    }
}

#[test]
fn headers_that_ask_for_a_missing_feature_are_refused() {
    for (headers, code) in [
        ("x-amz-acl: public-read", Code::NotImplemented),
        ("x-amz-acl: x", Code::InvalidArgument),
        ("x-amz-grant-read: id=1", Code::NotImplemented),
        ("X-Amz-Grant-Full-Control: id=1", Code::NotImplemented),
        ("x-amz-storage-class: OUTPOSTS", Code::InvalidStorageClass),
        ("x-amz-storage-class: standard", Code::InvalidStorageClass),
        ("x-amz-server-side-encryption: AES256", Code::NotImplemented),
        ("x-amz-server-side-encryption-customer-algorithm: AES256", Code::NotImplemented),
        ("x-amz-copy-source-server-side-encryption-customer-algorithm: AES256", Code::NotImplemented),
        ("x-amz-tagging: a=b", Code::NotImplemented),
        ("x-amz-tagging-directive: REPLACE", Code::NotImplemented),
        ("x-amz-object-lock-mode: GOVERNANCE", Code::NotImplemented),
        ("x-amz-object-lock-legal-hold: ON", Code::NotImplemented),
        ("x-amz-bucket-object-lock-enabled: true", Code::NotImplemented),
        ("x-amz-website-redirect-location: /", Code::NotImplemented),
        ("x-amz-write-offset-bytes: 5", Code::NotImplemented),
        ("x-amz-if-match-size: 1", Code::NotImplemented),
        ("x-amz-mfa: 1 2", Code::NotImplemented),
    ] {
        let error = refuse_unsupported(&head(&format!("{headers}\r\n")), &[], ME).unwrap_err();
        assert_eq!(error.code(), code, "{headers}");
    }
}

#[test]
fn the_directive_of_a_copy_is_parsed() {
    let of = |headers: &str| metadata_directive(&head(headers)).map_err(|e| e.code());
    assert_eq!(of(""), Ok(MetadataDirective::Copy));
    assert_eq!(of("x-amz-metadata-directive: REPLACE\r\n"), Ok(MetadataDirective::Replace));
    assert_eq!(of("x-amz-metadata-directive: replace\r\n"), Err(Code::InvalidArgument));
}

#[test]
fn a_header_of_a_feature_that_the_operation_supports_passes() {
    let tags = head("x-amz-tagging: a=b\r\n");
    assert_eq!(refuse_unsupported(&tags, &[Feature::Tags], ME), Ok(()));
    assert_eq!(refuse_unsupported(&tags, &[Feature::Acl], ME).unwrap_err().code(), Code::NotImplemented);
}
