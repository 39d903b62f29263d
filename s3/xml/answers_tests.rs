//! Golden texts of the responses: clients parse their elements in this order.

use engine::hash;
use raft::list::{Entry, ListedObject, ListedVersion, Page, PartsPage, VersionMarker};
use raft::record::{
    BlobRef, BucketRecord, Bytes16, CurrentRecord, PartRecord, UploadRecord, VersionKind, VersionRecord,
};

use super::list::{Continuation, ListEcho};
use super::multipart::PartsEcho;
use super::object::{Attributes, Deleted};
use super::*;
use crate::error::Code;

const OWNER: Owner<'static> = Owner { id: "o", account_id: "n" };
const TIME: &str = "<LastModified>1970-01-01T00:00:00.000Z</LastModified>";

fn spec() -> Option<ChecksumSpec> {
    Some(ChecksumSpec::new(ChecksumAlgorithm::Crc32, ChecksumType::FullObject))
}

/// Sixteen bytes, and an ETag: `0e` sixteen times over.
fn e() -> (Bytes16, String) {
    ([0x0e; 16].into(), "0e".repeat(16))
}

/// Writes a response, checks its declaration and the name of its root, and returns the root's content.
fn inner(root: &str, write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).unwrap();
    let head = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
    );
    text.strip_prefix(&head).unwrap().strip_suffix(&format!("</{root}>")).unwrap().to_owned()
}

fn object(key: &str, checksum: Option<ChecksumSpec>) -> Entry<ListedObject> {
    let current = CurrentRecord { md5: e().0, size: 3, checksum, ..CurrentRecord::default() };
    Entry::Row(ListedObject { key: key.to_owned(), current })
}

#[test]
fn buckets_are_listed_and_located() {
    let bucket = BucketRecord { name: "b".into(), created_ms: 1, ..BucketRecord::default() };
    assert_eq!(
        inner("ListAllMyBucketsResult", |out| list::buckets(
            OWNER,
            Some("p"),
            "r",
            &[bucket],
            Some("t"),
            out
        )),
        "<Owner><ID>o</ID><DisplayName>n</DisplayName></Owner><Buckets><Bucket><Name>b</Name>\
         <CreationDate>1970-01-01T00:00:00.001Z</CreationDate><BucketRegion>r</BucketRegion></Bucket></Buckets>\
         <Prefix>p</Prefix><ContinuationToken>t</ContinuationToken>"
    );
    assert_eq!(inner("LocationConstraint", |out| list::location("us-east-1", out)), "");
    assert_eq!(inner("LocationConstraint", |out| list::location("eu", out)), "eu");
}

#[test]
fn objects_are_listed_before_prefixes() {
    let echo = ListEcho { bucket: "b", prefix: "a ", delimiter: Some("/"), max: 2, url: true };
    let found = [Entry::CommonPrefix("a /".into()), object("a k&", None)];
    let continuation = Continuation { start_after: Some("a"), token: Some("t"), next_token: Some("n") };
    let etag = e().1;
    assert_eq!(
        inner("ListBucketResult", |out| list::objects_v2(echo, continuation, &found, None, out)),
        format!(
            "<Name>b</Name><Prefix>a%20</Prefix><StartAfter>a</StartAfter><ContinuationToken>t</ContinuationToken>\
             <NextContinuationToken>n</NextContinuationToken><Delimiter>/</Delimiter><MaxKeys>2</MaxKeys>\
             <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>a%20k%26</Key>{TIME}\
             <ETag>&quot;{etag}&quot;</ETag><Size>3</Size><StorageClass>STANDARD</StorageClass></Contents>\
             <CommonPrefixes><Prefix>a%20/</Prefix></CommonPrefixes><KeyCount>2</KeyCount>"
        )
    );
    let echo = ListEcho { url: false, delimiter: None, ..echo };
    let page = |next| Page { entries: vec![object("a k&\u{1}", spec())], next };
    let rest = format!(
        "<Contents><Key>a k&amp;\u{fffd}</Key>{TIME}<ETag>&quot;{etag}&quot;</ETag>\
         <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>3</Size>\
         <Owner><ID>o</ID><DisplayName>n</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>"
    );
    assert_eq!(
        inner("ListBucketResult", |out| list::objects_v1(echo, "m", &page(None), OWNER, out)),
        format!(
            "<Name>b</Name><Prefix>a </Prefix><Marker>m</Marker><MaxKeys>2</MaxKeys>\
             <IsTruncated>false</IsTruncated>{rest}"
        )
    );
    assert_eq!(
        inner("ListBucketResult", |out| list::objects_v1(echo, "m", &page(Some("x".into())), OWNER, out)),
        format!(
            "<Name>b</Name><Prefix>a </Prefix><Marker>m</Marker><MaxKeys>2</MaxKeys>\
             <IsTruncated>true</IsTruncated>{rest}"
        )
    );
    let echo = ListEcho { delimiter: Some("/"), ..echo };
    assert_eq!(
        inner("ListBucketResult", |out| list::objects_v1(echo, "m", &page(Some("x".into())), OWNER, out)),
        format!(
            "<Name>b</Name><Prefix>a </Prefix><Marker>m</Marker><NextMarker>x</NextMarker><Delimiter>/</Delimiter>\
             <MaxKeys>2</MaxKeys><IsTruncated>true</IsTruncated>{rest}"
        )
    );
}

#[test]
fn versions_are_listed_with_their_ids() {
    let echo = ListEcho { bucket: "b", max: 9, ..ListEcho::default() };
    let (id, etag) = e();
    let version = VersionRecord { null_version: true, md5: id, size: 3, ..VersionRecord::default() };
    let marker =
        VersionRecord { version_id: id, kind: VersionKind::DeleteMarker.into(), ..VersionRecord::default() };
    let row =
        |key: &str, version, is_latest| Entry::Row(ListedVersion { key: key.to_owned(), version, is_latest });
    let page = Page {
        entries: vec![row("k", version, true), row("d", marker, false), Entry::CommonPrefix("p/".into())],
        next: Some(("k".to_owned(), Some(VersionMarker::Null))),
    };
    let owner = "<Owner><ID>o</ID><DisplayName>n</DisplayName></Owner>";
    assert_eq!(
        inner("ListVersionsResult", |out| list::versions(echo, ("", ""), &page, OWNER, out)),
        format!(
            "<Name>b</Name><Prefix></Prefix><KeyMarker></KeyMarker><VersionIdMarker></VersionIdMarker>\
             <NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker><MaxKeys>9</MaxKeys>\
             <IsTruncated>true</IsTruncated><Version><Key>k</Key><VersionId>null</VersionId>\
             <IsLatest>true</IsLatest>{TIME}<ETag>&quot;{etag}&quot;</ETag><Size>3</Size>\
             <StorageClass>STANDARD</StorageClass>{owner}</Version><DeleteMarker><Key>d</Key>\
             <VersionId>{etag}</VersionId><IsLatest>false</IsLatest>{TIME}{owner}</DeleteMarker>\
             <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
        )
    );
}

#[test]
fn multipart_responses_have_the_shape_of_aws() {
    let whole = Checksum {
        algorithm: ChecksumAlgorithm::Crc32,
        text: "AAAAAA==".into(),
        kind: ChecksumType::FullObject,
    };
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
            Some(&whole),
            out
        )),
        "<Location>http://l</Location><Bucket>b</Bucket><Key>k</Key><ETag>&quot;e-2&quot;</ETag>\
         <ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>"
    );
    let copied = format!("{TIME}<ETag>&quot;e&quot;</ETag>");
    let part = hash::Checksum::of(ChecksumAlgorithm::Crc32, b"");
    let crc = "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>";
    assert_eq!(
        inner("CopyPartResult", |out| multipart::part_copied("e", 0, Some(&part), out)),
        format!("{copied}{crc}")
    );
    assert_eq!(inner("CopyObjectResult", |out| object::copied("e", 0, None, out)), copied);
}

#[test]
fn parts_and_uploads_are_listed() {
    let (id, text) = e();
    let upload =
        || UploadRecord { upload_id: id, key: "k".into(), checksum: spec(), ..UploadRecord::default() };
    let echo = PartsEcho { bucket: "b", key: "k", marker: 0, max: 1, url: false };
    let part = PartRecord { number: 1, md5: id, size: 3, checksum: vec![0; 4], ..PartRecord::default() };
    let page = PartsPage { upload: upload(), parts: vec![part], next: Some(1) };
    let who = "<Initiator><ID>o</ID><DisplayName>n</DisplayName></Initiator><Owner><ID>o</ID>\
        <DisplayName>n</DisplayName></Owner><StorageClass>STANDARD</StorageClass>";
    let named = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>";
    assert_eq!(
        inner("ListPartsResult", |out| multipart::parts(echo, &page, OWNER, out)),
        format!(
            "<Bucket>b</Bucket><Key>k</Key><UploadId>{text}</UploadId>{who}<PartNumberMarker>0</PartNumberMarker>\
             <NextPartNumberMarker>1</NextPartNumberMarker><MaxParts>1</MaxParts><IsTruncated>true</IsTruncated>{named}\
             <Part><PartNumber>1</PartNumber>{TIME}<ETag>&quot;{text}&quot;</ETag><Size>3</Size>\
             <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>"
        )
    );
    let echo = ListEcho { bucket: "b", delimiter: Some("/"), max: 5, ..ListEcho::default() };
    let page = Page { entries: vec![Entry::CommonPrefix("p/".into()), Entry::Row(upload())], next: None };
    assert_eq!(
        inner("ListMultipartUploadsResult", |out| multipart::uploads(echo, ("", ""), &page, OWNER, out)),
        format!(
            "<Bucket>b</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker><Prefix></Prefix>\
             <Delimiter>/</Delimiter><MaxUploads>5</MaxUploads><IsTruncated>false</IsTruncated><Upload><Key>k</Key>\
             <UploadId>{text}</UploadId>{who}<Initiated>1970-01-01T00:00:00.000Z</Initiated>{named}</Upload>\
             <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
        )
    );
}

#[test]
fn only_the_requested_attributes_are_sent() {
    let (md5, etag) = e();
    let sum = hash::Checksum::of(ChecksumAlgorithm::Crc32, b"");
    let blob = |part_number, size| BlobRef {
        part_number,
        size,
        checksum: sum.as_bytes().to_vec(),
        ..BlobRef::default()
    };
    let version = VersionRecord {
        md5,
        size: 12,
        part_count: 3,
        blobs: vec![blob(1, 5), blob(4, 5), blob(7, 2)],
        ..VersionRecord::default()
    };
    let whole = Checksum {
        algorithm: ChecksumAlgorithm::Crc32,
        text: "AAAAAA==-3".into(),
        kind: ChecksumType::Composite,
    };
    let of = |checksum, wanted| {
        inner("GetObjectAttributesResponse", |out| object::attributes(&version, checksum, &wanted, out))
    };
    let none = Attributes { max_parts: 1, marker: 1, ..Attributes::default() };
    let checksum = "<ChecksumCRC32>AAAAAA==-3</ChecksumCRC32><ChecksumType>COMPOSITE</ChecksumType>";
    let all = Attributes { etag: true, checksum: true, storage_class: true, size: true, ..none };
    assert_eq!(
        of(Some(&whole), all),
        format!(
            "<ETag>{etag}-3</ETag><Checksum>{checksum}</Checksum><StorageClass>STANDARD</StorageClass>\
             <ObjectSize>12</ObjectSize>"
        )
    );
    let parts = Attributes { parts: true, ..none };
    assert_eq!(of(None, parts), "<ObjectParts><PartsCount>3</PartsCount></ObjectParts>");
    assert_eq!(
        of(Some(&whole), parts),
        "<ObjectParts><PartNumberMarker>1</PartNumberMarker><NextPartNumberMarker>4</NextPartNumberMarker>\
         <MaxParts>1</MaxParts><IsTruncated>true</IsTruncated><Part><PartNumber>4</PartNumber><Size>5</Size>\
         <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part><PartsCount>3</PartsCount></ObjectParts>"
    );
    assert!(of(Some(&whole), Attributes { marker: 4, ..parts }).contains("<IsTruncated>false</IsTruncated>"));
    assert!(of(Some(&whole), Attributes { marker: 7, ..parts }).contains("</IsTruncated><PartsCount>3"));
}

#[test]
fn each_delete_has_its_own_result() {
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
