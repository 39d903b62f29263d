//! Golden texts of the answers: their elements and order are what clients parse.

use super::list::{Bucket, Continuation, Entry, Object, Page, Version, VersionMarkers};
use super::multipart::{Part, PartsPage, Upload, UploadsPage};
use super::object::Deleted;
use super::*;
use crate::checksum::{Algorithm, ChecksumType};
use crate::error::Code;

const OWNER: Owner<'static> = Owner { id: "o", display_name: "n" };
const CRC: Checksum<'static> =
    Checksum { algorithm: Algorithm::Crc32, text: "AAAAAA==", kind: Some(ChecksumType::FullObject) };

/// Writes an answer, checks its head and its root's name, and gives what the root holds.
fn inner(root: &str, write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).unwrap();
    let head = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
    );
    text.strip_prefix(&head).unwrap().strip_suffix(&format!("</{root}>")).unwrap().to_owned()
}

fn object(key: &str) -> Object<'_> {
    Object { key, modified_ms: 0, etag: "e", size: 3, owner: None, checksum: None }
}

#[test]
fn buckets_are_listed_and_located() {
    let bucket = Bucket { name: "b", created_ms: 1, region: Some("r") };
    assert_eq!(
        inner("ListAllMyBucketsResult", |out| list::buckets(OWNER, Some("p"), [bucket], Some("t"), out)),
        "<Owner><ID>o</ID><DisplayName>n</DisplayName></Owner><Buckets><Bucket><Name>b</Name>\
         <CreationDate>1970-01-01T00:00:00.001Z</CreationDate><BucketRegion>r</BucketRegion></Bucket></Buckets>\
         <Prefix>p</Prefix><ContinuationToken>t</ContinuationToken>"
    );
    assert_eq!(inner("LocationConstraint", |out| list::location("us-east-1", out)), "");
    assert_eq!(inner("LocationConstraint", |out| list::location("eu", out)), "eu");
}

#[test]
fn objects_are_listed_before_prefixes() {
    let page =
        Page { bucket: "b", prefix: "a ", delimiter: Some("/"), max_keys: 2, url: true, truncated: true };
    let rows = [Entry::CommonPrefix("a /"), Entry::Object(object("a k&"))];
    let continuation = Continuation { start_after: Some("a"), token: Some("t"), next_token: Some("n") };
    assert_eq!(
        inner("ListBucketResult", |out| list::objects_v2(page, continuation, rows, out)),
        "<Name>b</Name><Prefix>a+</Prefix><StartAfter>a</StartAfter><ContinuationToken>t</ContinuationToken>\
         <NextContinuationToken>n</NextContinuationToken><Delimiter>/</Delimiter><MaxKeys>2</MaxKeys>\
         <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>a+k%26</Key>\
         <LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size>\
         <StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>a+/</Prefix></CommonPrefixes>\
         <KeyCount>2</KeyCount>"
    );
    let page = Page { url: false, delimiter: None, truncated: false, ..page };
    let row = Entry::Object(Object { owner: Some(OWNER), checksum: Some(CRC), ..object("a k&\u{1}") });
    assert_eq!(
        inner("ListBucketResult", |out| list::objects_v1(page, "m", Some("x"), [row], out)),
        "<Name>b</Name><Prefix>a </Prefix><Marker>m</Marker><NextMarker>x</NextMarker><MaxKeys>2</MaxKeys>\
         <IsTruncated>false</IsTruncated><Contents><Key>a k&amp;&#x1;</Key>\
         <LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>\
         <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>3</Size>\
         <Owner><ID>o</ID><DisplayName>n</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>"
    );
}

#[test]
fn versions_are_listed_with_their_ids() {
    let page = Page { bucket: "b", max_keys: 9, ..Page::default() };
    let markers =
        VersionMarkers { next_key: Some("k"), next_version_id: Some("null"), ..VersionMarkers::default() };
    let rows = [
        Version::Object { object: object("k"), version_id: "null", latest: true },
        Version::DeleteMarker {
            key: "d",
            version_id: "v",
            latest: false,
            modified_ms: 0,
            owner: Some(OWNER),
        },
        Version::CommonPrefix("p/"),
    ];
    assert_eq!(
        inner("ListVersionsResult", |out| list::versions(page, markers, rows, out)),
        "<Name>b</Name><Prefix></Prefix><KeyMarker></KeyMarker><VersionIdMarker></VersionIdMarker>\
         <NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker><MaxKeys>9</MaxKeys>\
         <IsTruncated>false</IsTruncated><Version><Key>k</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>\
         <LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size>\
         <StorageClass>STANDARD</StorageClass></Version><DeleteMarker><Key>d</Key><VersionId>v</VersionId>\
         <IsLatest>false</IsLatest><LastModified>1970-01-01T00:00:00.000Z</LastModified>\
         <Owner><ID>o</ID><DisplayName>n</DisplayName></Owner></DeleteMarker>\
         <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
    );
}

#[test]
fn multipart_answers_have_their_shape() {
    assert_eq!(
        inner("InitiateMultipartUploadResult", |out| multipart::initiated("b", "k<", "u", out)),
        "<Bucket>b</Bucket><Key>k&lt;</Key><UploadId>u</UploadId>"
    );
    assert_eq!(
        inner("CompleteMultipartUploadResult", |out| multipart::completed(
            "http://l",
            "b",
            "k",
            "e-2",
            Some(CRC),
            out
        )),
        "<Location>http://l</Location><Bucket>b</Bucket><Key>k</Key><ETag>&quot;e-2&quot;</ETag>\
         <ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>"
    );
    let copied = "<LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>";
    let crc = "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>";
    assert_eq!(
        inner("CopyPartResult", |out| multipart::part_copied("e", 0, Some(CRC), out)),
        format!("{copied}{crc}")
    );
    assert_eq!(inner("CopyObjectResult", |out| object::copied("e", 0, None, out)), copied);
}

#[test]
fn parts_and_uploads_are_listed() {
    let kind = Some((Algorithm::Crc32, ChecksumType::FullObject));
    let page = PartsPage {
        bucket: "b",
        key: "k",
        upload_id: "u",
        owner: OWNER,
        marker: 0,
        next_marker: 1,
        max_parts: 1,
        truncated: true,
        url: false,
        checksum: kind,
    };
    let part = Part { number: 1, modified_ms: 0, etag: "e", size: 3, checksum: Some(CRC) };
    let who = "<Initiator><ID>o</ID><DisplayName>n</DisplayName></Initiator><Owner><ID>o</ID>\
        <DisplayName>n</DisplayName></Owner><StorageClass>STANDARD</StorageClass>";
    let named = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>";
    assert_eq!(
        inner("ListPartsResult", |out| multipart::parts(page, [part], out)),
        format!(
            "<Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>{who}<PartNumberMarker>0</PartNumberMarker>\
             <NextPartNumberMarker>1</NextPartNumberMarker><MaxParts>1</MaxParts><IsTruncated>true</IsTruncated>{named}\
             <Part><PartNumber>1</PartNumber><LastModified>1970-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;e&quot;</ETag><Size>3</Size><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>"
        )
    );
    let page = UploadsPage {
        bucket: "b",
        owner: OWNER,
        key_marker: "",
        upload_id_marker: "",
        next_key_marker: None,
        next_upload_id_marker: None,
        prefix: "",
        delimiter: Some("/"),
        max_uploads: 5,
        truncated: false,
        url: false,
    };
    let upload = Upload::Upload { key: "k", upload_id: "u", initiated_ms: 0, checksum: kind };
    assert_eq!(
        inner("ListMultipartUploadsResult", |out| multipart::uploads(
            page,
            [Upload::CommonPrefix("p/"), upload],
            out
        )),
        format!(
            "<Bucket>b</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker><Prefix></Prefix>\
             <Delimiter>/</Delimiter><MaxUploads>5</MaxUploads><IsTruncated>false</IsTruncated><Upload><Key>k</Key>\
             <UploadId>u</UploadId>{who}<Initiated>1970-01-01T00:00:00.000Z</Initiated>{named}</Upload>\
             <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
        )
    );
}

#[test]
fn deletes_are_answered_one_by_one() {
    let error = Code::AccessDenied.into();
    let rows = || {
        [
            Deleted::Done { key: "a", version_id: Some("null"), delete_marker: None },
            Deleted::Done { key: "b", version_id: None, delete_marker: Some("m") },
            Deleted::Failed { key: "c", version_id: None, error: &error },
        ]
    };
    let failed = "<Error><Key>c</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    assert_eq!(inner("DeleteResult", |out| object::deleted(true, rows(), out)), failed);
    assert_eq!(
        inner("DeleteResult", |out| object::deleted(false, rows(), out)),
        format!(
            "<Deleted><Key>a</Key><VersionId>null</VersionId></Deleted><Deleted><Key>b</Key>\
             <DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId></Deleted>{failed}"
        )
    );
}
