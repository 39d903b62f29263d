use super::*;
use crate::test_support::head;

#[test]
fn values_are_base64_and_composite_ones_carry_the_number_of_parts() {
    let crc = Checksum::of(ChecksumAlgorithm::Crc32c, b"123456789");
    assert_eq!(text(&crc, ChecksumType::FullObject, 3), "4waSgw==");
    assert_eq!(text(&crc, ChecksumType::Composite, 3), "4waSgw==-3");
    assert_eq!(split_composite("AAAAAA==-3"), ("AAAAAA==", Some(3)));
    assert_eq!(split_composite("AAAAAA=="), ("AAAAAA==", None));
    for algorithm in ChecksumAlgorithm::ALL {
        let value = Checksum::of(algorithm, b"x");
        let base64 = text(&value, ChecksumType::FullObject, 0);
        assert_eq!(parse(algorithm, base64.as_bytes()).unwrap(), value);
        assert_eq!(algorithm_named(&name(algorithm).to_lowercase()), Some(algorithm));
        assert_eq!(algorithm_of_element(element(algorithm)), Some(algorithm));
        assert_eq!(checksum_suffix(header(algorithm).as_bytes()).and_then(algorithm_named), Some(algorithm));
    }
}

#[test]
fn a_request_may_carry_one_checksum_as_header_or_trailer() {
    let wanted = DeclaredDigests::from_head(&head(
        "x-amz-checksum-crc32c: 4waSgw==\r\nx-amz-sdk-checksum-algorithm: crc32c\r\n",
    ));
    assert_eq!(wanted.unwrap().value, Some(Checksum::of(ChecksumAlgorithm::Crc32c, b"123456789")));
    let wanted = DeclaredDigests::from_head(&head("x-amz-trailer: x-amz-checksum-crc64nvme\r\n")).unwrap();
    assert_eq!(
        (wanted.trailer, wanted.algorithm()),
        (Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumAlgorithm::Crc64Nvme))
    );
    assert_eq!(
        DeclaredDigests::from_head(&head("x-amz-checksum-mode: ENABLED\r\n")).unwrap(),
        DeclaredDigests::default()
    );
    let wanted = DeclaredDigests::from_head(&head("Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n")).unwrap();
    assert_eq!(hex::encode(wanted.content_md5.unwrap()), "d41d8cd98f00b204e9800998ecf8427e");
}

#[test]
fn contradictions_and_malformed_values_are_refused() {
    for (headers, code) in [
        ("x-amz-checksum-crc32: AAAAAA==\r\nx-amz-checksum-sha1: AAAA\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: AAAAAA==\r\nx-amz-checksum-crc32: AAAAAA==\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: AAAAAA==\r\nx-amz-trailer: x-amz-checksum-crc32\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: AAAA\r\n", Code::InvalidRequest),
        ("x-amz-checksum-crc32: \r\n", Code::InvalidRequest),
        ("x-amz-checksum-md5: AAAA\r\n", Code::NotImplemented),
        ("x-amz-sdk-checksum-algorithm: CRC32\r\n", Code::InvalidRequest),
        ("x-amz-sdk-checksum-algorithm: CRC32\r\nx-amz-checksum-crc32c: 4waSgw==\r\n", Code::InvalidRequest),
        ("x-amz-sdk-checksum-algorithm: MD4\r\n", Code::InvalidRequest),
        ("Content-MD5: nonsense\r\n", Code::InvalidDigest),
        ("Content-MD5: AAAA\r\n", Code::InvalidDigest),
    ] {
        assert_eq!(DeclaredDigests::from_head(&head(headers)).unwrap_err().code(), code, "{headers:?}");
    }
}

#[test]
fn a_multipart_upload_names_algorithm_and_type() {
    let of = |headers: &str| multipart_from_head(&head(headers));
    assert_eq!(of("").unwrap(), None);
    let crc64 = Some(ChecksumSpec::new(ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject));
    assert_eq!(of("x-amz-checksum-algorithm: CRC64NVME\r\n").unwrap(), crc64);
    let composite = Some(ChecksumSpec::new(ChecksumAlgorithm::Sha1, ChecksumType::Composite));
    assert_eq!(of("x-amz-checksum-algorithm: SHA1\r\n").unwrap(), composite);
    let full = Some(ChecksumSpec::new(ChecksumAlgorithm::Crc32, ChecksumType::FullObject));
    assert_eq!(of("x-amz-checksum-algorithm: CRC32\r\nx-amz-checksum-type: FULL_OBJECT\r\n").unwrap(), full);
    for refused in [
        "x-amz-checksum-type: COMPOSITE\r\n",
        "x-amz-checksum-algorithm: CRC64NVME\r\nx-amz-checksum-type: COMPOSITE\r\n",
        "x-amz-checksum-algorithm: SHA256\r\nx-amz-checksum-type: FULL_OBJECT\r\n",
        "x-amz-checksum-algorithm: SHA256\r\nx-amz-checksum-type: HALF\r\n",
        "x-amz-checksum-algorithm: X\r\n",
    ] {
        assert_eq!(of(refused).unwrap_err().code(), Code::InvalidRequest, "{refused}");
    }
}
